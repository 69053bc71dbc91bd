/** The speed of a language model's bundle, where this runs. */
import { Model, Sampler, fromUrl, tensor, wasmLoader, type Files } from "../src/index.ts";

const BURSTS = 400;
const BURST = 2; // milliseconds: long for a clock of a page, short enough to be left alone on a busy machine
const TRIED = 10; // steps, from which the number in a burst is estimated

/** Microseconds of a step with SIMD128 and without, and of a decoded token with SIMD128, sampling included. */
export interface Times {
  readonly step: number;
  readonly base: number;
  readonly decode: number;
}

export async function measure(files: Files): Promise<Times> {
  const [fast, plain] = await Promise.all([true, false].map((simd) => Model.load(files, { engines: [wasmLoader(simd)] })));
  const stream = await fast.stream(new Sampler({ temperature: 0.8, topK: 40, seed: 1 }));
  await stream.prefill([1]);
  const decode = async (steps: number): Promise<void> => {
    for await (const _ of stream.decode({ maxTokens: steps }));
  };
  return { step: await smallest(await stepping(fast)), base: await smallest(await stepping(plain)), decode: await smallest(decode) };
}

/** Takes a number of steps. */
type Steps = (count: number) => Promise<void>;

async function stepping(model: Model): Promise<Steps> {
  const { conditions, state } = await model.begin();
  const cursor = model.cursor(conditions, state);
  const inputs = { token: tensor("int64", [1], [1]) };
  return async (count) => {
    for (let step = 0; step < count; step++) cursor.step(inputs);
  };
}

async function smallest(steps: Steps): Promise<number> {
  const rough = await smallestOf(steps, TRIED);
  return smallestOf(steps, Math.max(TRIED, Math.ceil((1000 * BURST) / Math.max(rough, 1))));
}

/** The least time of a step in microseconds, of bursts of so many. */
async function smallestOf(steps: Steps, count: number): Promise<number> {
  let least = Infinity;
  for (let round = 0; round < BURSTS; round++) {
    const begun = performance.now();
    await steps(count);
    least = Math.min(least, performance.now() - begun);
  }
  return (1000 * least) / count;
}

Object.assign(globalThis, { measureBundle: (folder: string) => measure(fromUrl(folder)) });
