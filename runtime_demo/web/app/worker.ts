/** The worker, in which the model runs: one queue of requests, of which those of older generations are dropped. */
import { EdgeRNNError, fromSnapshot, hasSimd, Model, type Reason } from "../src/index.ts";
import { downloaded } from "./measures.ts";
import type { Answer, Request, Site } from "./protocol.ts";
import { Writing } from "./writing.ts";

const SLICE = 12; // milliseconds, after which requests that have arrived are looked at
const SPOKEN = 1 << 20; // bytes of a file, after each of which the page is told

type Body<T> = T extends unknown ? Omit<T, "generation"> : never;
class Superseded extends Error {}
class Lost extends Error {}

const queue: Request[] = [];
const models = new Map<number, Promise<Model>>();
const channel = new MessageChannel();
let site: Site;
let folder: string;
let bundle = 0;
let writing: Writing | null = null;
let latest = 0; // the newest generation
let running = false;

self.onmessage = (event: MessageEvent<Request>) => {
  latest = event.data.generation;
  queue.push(event.data);
  if (!running) void run();
};

async function run(): Promise<void> {
  running = true;
  for (let request = queue.shift(); request !== undefined; request = queue.shift()) {
    try {
      await handle(request);
    } catch (error) {
      if (!(error instanceof Superseded)) answer(request, { kind: "failed", ...inWords(error) });
    }
  }
  running = false;
}

async function handle(request: Request): Promise<void> {
  if (request.kind === "start") {
    ({ site, folder } = request);
  } else if (request.kind === "open") {
    bundle = request.bundle;
    writing = null;
  } else if (request.kind === "restore") {
    await restore(request, new Uint8Array(request.bytes), request.name);
  } else if (request.generation === latest) {
    if (request.kind === "write") writing ??= await newText(request);
    if (writing !== null) await write(request, writing);
  }
}

async function write(request: Request, text: Writing): Promise<void> {
  switch (request.kind) {
    case "write":
      return answer(request, { kind: "read", ...(await text.begin(request.wish, turns(request))) });
    case "frame":
      return frame(request, text, request.tokens);
    case "suggest":
      return answer(request, { kind: "suggestions", words: await text.words() });
    case "measure":
      return answer(request, { kind: "measured", microseconds: await text.measure(turns(request)), simd: hasSimd(), bytes: downloaded() });
    case "save": {
      const { bytes, steps } = text.snapshot();
      return answer(request, { kind: "saved", bytes: bytes.buffer, steps }, [bytes.buffer]);
    }
  }
}

function answer(request: Request, body: Body<Answer>, transfer: Transferable[] = []): void {
  postMessage({ ...body, generation: request.generation }, { transfer });
}

async function newText(request: Request): Promise<Writing> {
  const model = await loaded(request, bundle);
  return new Writing(model, await model.stream(), site.sampler);
}

/** Write as many tokens as are asked for, unless the text ends before. */
async function frame(request: Request, writing: Writing, tokens: number): Promise<void> {
  const turn = turns(request);
  let text = "";
  let ended: Reason | null = null;
  for (let count = 0; count < tokens && ended === null; count++) {
    const next = await writing.next();
    text += next.text;
    ended = next.ended;
    await turn();
  }
  const cells = writing.cells();
  answer(request, { kind: "frame", text, cells, ended }, [cells.buffer]);
}

/** Go on from a snapshot, in the bundle that it was taken from. */
async function restore(request: Request, bytes: Uint8Array, name: string): Promise<void> {
  try {
    const { digest, precision, seed, steps, sampler } = fromSnapshot(bytes);
    const own = site.bundles.filter((each) => each.digest === digest);
    const chosen = own.find((each) => each.precision === precision) ?? own[0] ?? site.bundles[bundle];
    const place = site.bundles.indexOf(chosen);
    const model = await loaded(request, place);
    const stream = await model.stream();
    stream.restore(bytes); // refuses a snapshot of another model
    [bundle, writing] = [place, new Writing(model, stream, site.sampler)];
    answer(request, { kind: "restored", name, bundle, steps, seed: String(seed), temperature: sampler.temperature });
  } catch (error) {
    if (!(error instanceof EdgeRNNError)) throw error;
    answer(request, { kind: "refused", message: `${name}: ${error.message}.` });
  }
}

/** The model of a bundle, which is loaded once. */
function loaded(request: Request, place: number): Promise<Model> {
  let model = models.get(place);
  if (model !== undefined) return model;
  let lost = false;
  const files = (name: string): Promise<Uint8Array> =>
    fetched(request, place, name).catch((error: unknown) => {
      lost ||= error instanceof TypeError; // fetch has no other sign of a lost connection
      throw error;
    });
  model = Model.load(files).catch((error: unknown) => {
    models.delete(place);
    throw lost ? new Lost() : error;
  });
  models.set(place, model);
  return model;
}

/** A file of a bundle. While it arrives, the page is told how much is there. */
async function fetched(request: Request, place: number, name: string): Promise<Uint8Array> {
  const { files } = site.bundles[place];
  const response = await fetch(new URL(files[name], folder));
  if (!response.ok || response.body === null) throw new Error(`${response.status} ${response.statusText}`);
  const reader = response.body.getReader();
  const parts: Uint8Array[] = [];
  let [size, spoken] = [0, 0];
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    parts.push(part.value);
    size += part.value.length;
    if (size - spoken < SPOKEN) continue;
    spoken = size;
    answer(request, { kind: "loading", loaded: size, name });
  }
  const whole = new Uint8Array(size);
  for (let [at, each] = [0, 0]; each < parts.length; at += parts[each++].length) whole.set(parts[each], at);
  return whole;
}

/** What is awaited between pieces of long work, and ends it when a new generation has begun. */
function turns(request: Request): () => Promise<void> {
  let begun = performance.now();
  return async () => {
    if (performance.now() - begun < SLICE) return;
    await new Promise<void>((resolve) => {
      channel.port1.onmessage = () => resolve(); // a timer would wait for at least 4 ms
      channel.port2.postMessage(null);
    });
    if (request.generation !== latest) throw new Superseded();
    begun = performance.now();
  };
}

function inWords(error: unknown): { message: string; lost: boolean } {
  if (error instanceof Lost) return { message: "The connection was lost while the model was on its way.", lost: true };
  if (error instanceof RangeError) {
    return { message: "The model is too large for the memory that this device gives a page.", lost: false };
  }
  return { message: `This model cannot be run here: ${error instanceof Error ? error.message : error}.`, lost: false };
}
