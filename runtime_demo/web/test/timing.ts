/** The speed of a language model's bundle, where this runs. */
import { Model, Sampler, fromUrl, tensor, wasmLoader, type Files } from "../src/index.ts";

const BURSTS = 100;
const BURST = 200; // steps

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
  const decode = async (): Promise<void> => {
    for await (const _ of stream.decode({ maxTokens: BURST }));
  };
  return { step: await smallest(await stepping(fast)), base: await smallest(await stepping(plain)), decode: await smallest(decode) };
}

async function stepping(model: Model): Promise<() => Promise<void>> {
  const { conditions, state } = await model.begin();
  const cursor = model.cursor(conditions, state);
  const inputs = { token: tensor("int64", [1], [1]) };
  return async () => {
    for (let step = 0; step < BURST; step++) cursor.step(inputs);
  };
}

async function smallest(burst: () => Promise<void>): Promise<number> {
  let least = Infinity;
  for (let round = 0; round < BURSTS; round++) {
    const begun = performance.now();
    await burst();
    least = Math.min(least, performance.now() - begun);
  }
  return (1000 * least) / BURST;
}

Object.assign(globalThis, { measureBundle: (folder: string) => measure(fromUrl(folder)) });
