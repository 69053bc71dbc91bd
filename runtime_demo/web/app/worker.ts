/** The worker, in which the model runs: one queue of requests, of which those of older generations are dropped. */
import { EdgeRNNError, hasSimd, Model, Snapshot } from "../src/index.ts";
import { downloaded } from "./loaded.ts";
import type { Answer, BundleInfo, Request, Site } from "./protocol.ts";
import { Writing } from "./writing.ts";

const SLICE = 12; // milliseconds, after which requests that have arrived are looked at
const SLOW = 500; // milliseconds, after which a download is spoken of

type Body<T> = T extends unknown ? Omit<T, "generation"> : never;
class Superseded extends Error {}
class Lost extends Error {}

const queue: Request[] = [];
const models = new Map<number, Promise<Model>>();
let site: Site;
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

function answer(request: Request, body: Body<Answer>, transfer: Transferable[] = []): void {
  postMessage({ ...body, generation: request.generation }, { transfer });
}

async function handle(request: Request): Promise<void> {
  switch (request.kind) {
    case "start":
      site = request.site;
      return;
    case "open":
      bundle = request.bundle;
      writing = null;
      return;
    case "write":
      writing ??= await written(request);
      return answer(request, { kind: "read", ...(await writing.begin(request.wish, turns(request))) });
    case "frame":
      return frame(request, request.tokens);
    case "suggest":
      return answer(request, { kind: "suggestions", words: (await writing?.words(turns(request))) ?? [] });
    case "save":
      return save(request);
    case "restore":
      return restore(request, new Uint8Array(request.bytes), request.name);
    case "measure":
      if (writing === null) return;
      return answer(request, { kind: "measured", microseconds: await writing.measure(), simd: hasSimd(), bytes: downloaded() });
  }
}

/** A new text of the chosen bundle. */
async function written(request: Request): Promise<Writing> {
  const model = await loaded(request, bundle);
  return new Writing(model, model.stream(), site.sampler);
}

/** As many tokens as are asked for, or as a slice of time allows. */
async function frame(request: Request, tokens: number): Promise<void> {
  if (writing === null || request.generation !== latest) return;
  const end = performance.now() + SLICE;
  let text = "";
  for (let count = 0; count < tokens && performance.now() < end; count++) {
    const next = await writing.next();
    text += next.text;
    if (next.ended !== null) return send(request, text, next.ended);
  }
  send(request, text, null);
}

function send(request: Request, text: string, ended: "length" | "end" | null): void {
  const cells = writing!.cells();
  answer(request, { kind: "frame", text, cells, ended }, [cells.buffer]);
}

function save(request: Request): void {
  if (writing === null) return;
  const { bytes, steps } = writing.snapshot();
  const copy = bytes.slice().buffer;
  answer(request, { kind: "saved", bytes: copy, steps }, [copy]);
}

/** Go on from a snapshot, in the bundle that it was taken from. */
async function restore(request: Request, bytes: Uint8Array, name: string): Promise<void> {
  try {
    const { digest, precision, seed, steps, sampler } = Snapshot.fromBytes(bytes);
    const same = site.bundles.findIndex((each) => each.digest === digest && each.precision === precision);
    const found = same < 0 ? site.bundles.findIndex((each) => each.digest === digest) : same;
    const chosen = found < 0 ? bundle : found; // the model refuses a snapshot of another
    const model = await loaded(request, chosen);
    const stream = model.stream();
    stream.restore(bytes);
    [bundle, writing] = [chosen, new Writing(model, stream, site.sampler)];
    const { temperature } = sampler;
    answer(request, { kind: "restored", name, bundle, steps, seed: String(seed), temperature });
  } catch (error) {
    if (!(error instanceof EdgeRNNError)) throw error;
    answer(request, { kind: "refused", message: `${name}: ${error.message}.` });
  }
}

/** The model of a bundle. It is loaded once. */
function loaded(request: Request, place: number): Promise<Model> {
  let model = models.get(place);
  if (model === undefined) {
    model = Model.load((file) => fetched(request, site.bundles[place], file));
    models.set(place, model);
    model.catch(() => models.delete(place));
  }
  return model;
}
