/** The worker, in which the model runs: one queue of requests, of which those of older generations are dropped. */
import { AudioError, EdgeRNNError, SnapshotError, WHOLE, fromRgba, fromSnapshot, hasSimd, integers, isClipped, Model, mono, onnxLoader, readWav, wasmLoader, type EngineLoader, type Files, type Ort, type Reason, type Samples, type Stream, type Tensor } from "../src/index.ts";
import { Undecodable, decoded } from "./images.ts";
import { Listening } from "./listening.ts";
import { downloaded } from "./measures.ts";
import { Painting } from "./painting.ts";
import type { Answer, Body, Picture, Pixels, Point, Recording, Request, Site } from "./protocol.ts";
import { Describing, Drawing, Looking, cellsOf, timeOf, type Session } from "./sessions.ts";
import { Stroking } from "./stroking.ts";
import { Writing } from "./writing.ts";

const SLICE = 12; // milliseconds, after which requests that have arrived are looked at
const PIECE = 0.05; // seconds of a recording, after each of which the page is told
const BASE = ".base.wasm"; // the module of machines without SIMD
const SPOKEN = 1 << 20; // bytes of a file, after each of which the page is told

/** The work of each view but the text. */
const SESSIONS = { photo: Describing, draw: Drawing, look: Looking, strokes: Stroking, paint: Painting, listen: Listening } as const;

class Superseded extends Error {}
class Lost extends Error {}

const queue: Request[] = [];
const models = new Map<number, Promise<Model>>();
const channel = new MessageChannel();
let site: Site;
let folder: string;
let bundle = 0;
let writing: Writing | null = null;
let ort: Ort | null = null; // once a bundle has needed it
let session: Session | null = null; // of a view that shows no text
let latest = 0; // the newest generation
let found: Restored | null = null; // what a snapshot goes on as, which the page has been told
let running = false;

/** A session that a snapshot has begun. generation: in which it was opened. */
interface Restored {
  readonly generation: number;
  readonly bundle: number;
  readonly next: Writing | Session;
}

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
    writing = session = found = null;
  } else if (request.kind === "restore") {
    await restore(request, new Uint8Array(request.bytes), request.name);
  } else if (request.kind === "adopt") {
    adopt();
  } else if (request.generation === latest) {
    if (request.kind === "write") writing ??= await newText(request);
    if (writing !== null) await write(request, writing);
    else await show(request);
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
      return measured(request, await text.measure(turns(request)));
    case "save":
      return save(request, text.stream);
  }
}

async function show(request: Request): Promise<void> {
  switch (request.kind) {
    case "describe":
      return describe(request, await sessionOf(request, Describing), request.picture, request.beam);
    case "draw": {
      const { label, seed, temperature, over } = request;
      const drawing = await sessionOf(request, Drawing);
      canvas(request, drawing, null);
      if (label === null && drawing.drawer.labels.length > 0) return; // the page has yet to choose one
      return drawing.begin(label, BigInt(seed), temperature, over);
    }
    case "stroke":
      return stroke(request, await sessionOf(request, Drawing));
    case "ink":
      return (await sessionOf(request, Drawing)).ink(request.levels);
    case "look":
      return look(request, await sessionOf(request, Looking), request.picture, request.invert);
    case "sketch": {
      const stroking = await sessionOf(request, Stroking);
      await stroking.begin(BigInt(request.seed), request.temperature, request.given);
      return sketched(request, stroking);
    }
    case "points":
      return points(request, await sessionOf(request, Stroking), request.count);
    case "line": {
      const stroking = await sessionOf(request, Stroking);
      await stroking.read(request.line);
      return sketched(request, stroking);
    }
    case "paint":
      return paint(request, await sessionOf(request, Painting), request.picture);
    case "strokes":
      return strokes(request, await sessionOf(request, Painting), request.count);
    case "listen": {
      const listening = await sessionOf(request, Listening);
      introduce(request, listening);
      return listening.begin(request.rate, { level: request.level });
    }
    case "sound":
      return tell(request, (await sessionOf(request, Listening)).hear(integers(request.samples), Infinity));
    case "hush":
      await tell(request, (await sessionOf(request, Listening)).end(false));
      return answer(request, { kind: "silence", clipped: false });
    case "hear":
      return hear(request, await sessionOf(request, Listening), request.recording);
    case "resume":
      return session === null ? undefined : resume(request, session);
    case "save":
      return session?.stream ? save(request, session.after?.(request.shown ?? NaN) ?? session.stream) : undefined;
    case "measure": {
      const time = session && (await timeOf(session, turns(request)));
      if (time !== null) measured(request, time);
    }
  }
}

/** The session of a view, begun when it is first needed. */
async function sessionOf<Kind extends Session>(request: Request, kind: new (model: Model) => Kind): Promise<Kind> {
  const model = await loaded(request, bundle);
  if (!(session instanceof kind)) session = new kind(model);
  return session as Kind;
}

async function describe(request: Request, describing: Describing, file: Blob | null, beam: number): Promise<void> {
  const turn = turns(request);
  if (file !== null || describing.picture === null) {
    const picture = await opened(request, file);
    if (picture === null) return;
    describing.take(picture);
  }
  picture(request, "picture", describing.shown);
  await turn();
  const parts = describing.parts(beam, site.caption.max_tokens);
  let next = await parts.next();
  for (; !next.done; next = await parts.next()) {
    const { part, cells } = next.value;
    answer(request, { kind: "captioned", part, cells }, [cells.buffer]);
    await turn();
  }
  answer(request, { kind: "described", candidates: next.value });
}

function canvas(request: Request, { drawer }: Drawing, label: string | null): void {
  const { height, width, labels, steps, takesInk } = drawer;
  answer(request, { kind: "canvas", height, width, labels, label, steps, takesInk });
}

async function stroke(request: Request, drawing: Drawing): Promise<void> {
  if (drawing.stream === null) return;
  const { picture, box } = await drawing.drawer.step(drawing.stream);
  drawn(request, drawing.stream, Float32Array.from(picture.data, Number), box);
}

function drawn(request: Request, stream: Stream, levels: Float32Array<ArrayBuffer>, box: readonly number[] | null): void {
  const cells = cellsOf(stream);
  answer(request, { kind: "drawn", levels, box, step: stream.steps, cells }, [levels.buffer, cells.buffer]);
}

async function look(request: Request, looking: Looking, given: Picture | Float32Array | null, invert: boolean): Promise<void> {
  const seen = given instanceof Float32Array ? looking.drawn(given) : await opened(request, given);
  if (seen === null) return;
  picture(request, "seen", await looking.begin(seen, invert));
  return glimpses(request, looking);
}

/** The glimpses that are left; one at least. */
async function glimpses(request: Request, looking: Looking): Promise<void> {
  const turn = turns(request);
  for (let last = false; !last; ) {
    const glimpse = await looking.look();
    const cells = cellsOf(looking.stream!);
    answer(request, { kind: "glimpse", ...glimpse, cells }, [cells.buffer]);
    last = glimpse.last;
    await turn();
  }
}

async function sketched(request: Request, stroking: Stroking): Promise<void> {
  answer(request, { kind: "sketched", ...(await stroking.progress()) });
}

async function points(request: Request, stroking: Stroking, count: number): Promise<void> {
  const drawn: Point[] = [];
  for (let point = await stroking.draw(); point !== null; point = await stroking.draw()) {
    if (drawn.push(point) === count) break;
  }
  const cells = cellsOf(stroking.stream!);
  answer(request, { kind: "points", points: drawn, finished: stroking.finished, cells }, [cells.buffer]);
}

async function paint(request: Request, painting: Painting, given: Picture | null): Promise<void> {
  const photograph = await opened(request, given);
  if (photograph === null) return;
  const photo = await painting.begin(photograph);
  canvassed(request, painting, photo);
}

/** A painting can be gone on with, and is as it is. */
function canvassed(request: Request, painting: Painting, photo: Pixels): void {
  answer(request, { kind: "canvassed", photo, strokes: painting.painter.strokes }, [photo.data.buffer]);
  painted(request, painting);
}

async function strokes(request: Request, painting: Painting, count: number): Promise<void> {
  const turn = turns(request);
  for (let number = 0; number < count; number++) {
    await painting.paint();
    await turn();
  }
  painted(request, painting);
}

function painted(request: Request, painting: Painting): void {
  const [pixels, cells, error] = [painting.shown, cellsOf(painting.stream!), painting.painter.error(painting.stream!)];
  answer(request, { kind: "painted", pixels, strokes: painting.stream!.steps, error, cells }, [pixels.data.buffer, cells.buffer]);
}

async function hear(request: Request, listening: Listening, recording: Recording | null): Promise<void> {
  const { sampleRate, rate } = listening.listener;
  introduce(request, listening);
  if (recording === null) return listening.begin(sampleRate, WHOLE);
  const turn = turns(request);
  try {
    const sound = await soundOf(recording);
    await turn();
    await listening.begin(sound.rate, WHOLE);
    for (let at = 0; at < sound.samples.length; at += sound.rate) {
      await tell(request, listening.hear(sound.samples.slice(at, at + sound.rate), Math.ceil(rate * PIECE)), turn);
    }
    await tell(request, listening.end(true), turn);
    answer(request, { kind: "silence", clipped: isClipped(sound.samples) });
  } catch (error) {
    if (!(error instanceof AudioError)) throw error;
    answer(request, { kind: "refused", message: `${error.message}.` });
  }
}

function introduce(request: Request, { listener: { labels, tags } }: Listening): void {
  answer(request, { kind: "listener", labels, tags });
}

/** A recording as samples of one channel. Throws AudioError if it cannot be read. */
async function soundOf(recording: Recording): Promise<{ samples: Samples; rate: number }> {
  if ("channels" in recording) return { samples: integers(mixed(recording.channels)), rate: recording.rate };
  const bytes = await recording.wav.arrayBuffer().catch(() => {
    throw new AudioError(`${recording.name} cannot be read: open a file that is there`);
  });
  const audio = readWav(new Uint8Array(bytes), recording.name);
  return { samples: mono(audio), rate: audio.rate };
}

/** The mean of channels. */
function mixed(channels: readonly Float32Array[]): Float32Array {
  const mean = new Float32Array(channels[0].length);
  for (const channel of channels) {
    for (let at = 0; at < mean.length; at++) mean[at] += channel[at] / channels.length;
  }
  return mean;
}

async function tell(request: Request, pieces: ReturnType<Listening["hear"]>, turn = turns(request)): Promise<void> {
  for await (const piece of pieces) {
    answer(request, piece, [piece.cells.buffer]);
    await turn();
  }
}

/** Show what a restored stream has made, and go on from there. */
async function resume(request: Request, session: Session): Promise<void> {
  if (session instanceof Drawing) {
    const { drawer, stream } = session;
    canvas(request, session, drawer.label(stream!));
    drawn(request, stream!, drawer.levels(stream!), null);
  } else if (session instanceof Looking) {
    picture(request, "seen", session.seen);
    await glimpses(request, session);
  } else if (session instanceof Stroking) await sketched(request, session);
  else if (session instanceof Painting) canvassed(request, session, session.seen);
}

/** A picture, or the example of the bundle for null; null, which is said, if there is none. */
async function opened(request: Request, given: Picture | null): Promise<Tensor | null> {
  const { example } = site.bundles[bundle];
  if (given === null && example === null) return null;
  if (given !== null && "data" in given) return fromRgba(given.data, given.height, given.width);
  try {
    return await decoded(given ?? new Blob([await download(new URL(example!, folder))]));
  } catch (error) {
    if (!(error instanceof Undecodable)) throw error;
    answer(request, { kind: "refused", message: error.message });
    return null;
  }
}

function picture(request: Request, kind: "picture" | "seen", pixels: Pixels): void {
  answer(request, { kind, pixels }, [pixels.data.buffer]);
}

function measured(request: Request, microseconds: number): void {
  answer(request, { kind: "measured", microseconds, simd: hasSimd(), bytes: downloaded() });
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

function save(request: Request, stream: Stream): void {
  const bytes = stream.snapshot();
  answer(request, { kind: "saved", name: site.bundles[bundle].name, bytes: bytes.buffer, steps: stream.steps }, [bytes.buffer]);
}

/** Read a snapshot, in the bundle that it was taken from. All goes on as before until the page, which is told, adopts it. */
async function restore(request: Request, bytes: Uint8Array, name: string): Promise<void> {
  if (found?.generation === request.generation) return; // the page goes on from another one
  try {
    const { digest, precision, seed, steps, sampler } = fromSnapshot(bytes);
    const own = site.bundles.filter((each) => each.digest === digest);
    const chosen = own.find((each) => each.precision === precision) ?? own[0] ?? site.bundles[bundle];
    const place = site.bundles.indexOf(chosen);
    const model = await loaded(request, place);
    const next = chosen.view === "text" ? await continued(model, bytes) : await restored(new SESSIONS[chosen.view](model), bytes);
    if (request.generation !== latest) return;
    found = { generation: request.generation, bundle: place, next };
    const seen = next instanceof Writing ? null : (next.seen ?? null);
    answer(request, { kind: "restored", name, bundle: place, steps, seed: String(seed), temperature: sampler.temperature, seen });
  } catch (error) {
    if (!(error instanceof EdgeRNNError)) throw error;
    answer(request, { kind: "refused", message: `${name}: ${error.message}.` });
  }
}

/** Go on from the snapshot of which the page has been told. */
function adopt(): void {
  if (found === null) return;
  const { next } = found;
  [bundle, found] = [found.bundle, null];
  [writing, session] = next instanceof Writing ? [next, null] : [null, next];
}

/** A text that goes on from a snapshot. Throws SnapshotError for one of another model. */
async function continued(model: Model, bytes: Uint8Array): Promise<Writing> {
  const stream = await model.stream();
  stream.restore(bytes);
  return new Writing(model, stream, site.sampler);
}

async function restored(session: Session, bytes: Uint8Array): Promise<Session> {
  if (session.restore === undefined) throw new SnapshotError("this view opens no snapshots");
  await session.restore(bytes);
  return session;
}

/** The model of a bundle, which is loaded once. */
function loaded(request: Request, place: number): Promise<Model> {
  let model = models.get(place);
  if (model !== undefined) return model;
  let lost = false;
  const fetched: Fetched = (address, name) =>
    download(new URL(address, folder), (size) => answer(request, { kind: "loading", loaded: size, name })).catch((error: unknown) => {
      lost ||= error instanceof TypeError; // fetch has no other sign of a lost connection
      throw error;
    });
  const { files, target } = site.bundles[place];
  const engine = target === "onnx" ? onnxruntime(site.onnx!, fetched) : wasmLoader();
  const take = together(Object.keys(files), (name) => fetched(files[name], name));
  model = Model.load(take, { engines: [engine] }).catch((error: unknown) => {
    models.delete(place);
    throw lost ? new Lost() : error;
  });
  models.set(place, model);
  return model;
}

/** What gives files, each once, that are all asked for at the same time, since the first to be read names the others. */
function together(names: readonly string[], fetched: Files): Files {
  const needed = names.filter((name) => !hasSimd() || !name.endsWith(BASE));
  const arriving = new Map(needed.map((name) => [name, fetched(name)]));
  for (const file of arriving.values()) file.catch(() => undefined); // what fails is said when the file is read
  return (name) => {
    const file = arriving.get(name);
    arriving.delete(name); // so that it is not kept in memory
    return file ?? fetched(name);
  };
}

/** The content of a file of the site. While it arrives, the page is told how much is there. name: what the page calls it. */
type Fetched = (address: string, name: string) => Promise<Uint8Array<ArrayBuffer>>;

/** What runs bundles of the target onnx: it is large, and is fetched when the first of them is opened. */
function onnxruntime({ code, module }: NonNullable<Site["onnx"]>, fetched: Fetched): EngineLoader {
  return {
    target: "onnx",
    async load(bundle) {
      const imported = import(new URL(code, folder).href) as Promise<typeof import("./onnx.ts")>;
      ort ??= (await imported).ready(await fetched(module, "onnxruntime"));
      return onnxLoader(ort).load(bundle);
    },
  };
}

/** The content at an address. arrived: is told now and then how many bytes are there. */
async function download(url: URL, arrived: (size: number) => void = () => undefined): Promise<Uint8Array<ArrayBuffer>> {
  const response = await fetch(url);
  if (!response.ok || response.body === null) throw new Error(`${response.status} ${response.statusText}`);
  const reader = response.body.getReader();
  const parts: Uint8Array[] = [];
  let [size, spoken] = [0, 0];
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    parts.push(part.value);
    size += part.value.length;
    if (size - spoken < SPOKEN) continue;
    spoken = size;
    arrived(size);
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
  if (error instanceof Lost) return { message: "The connection was lost while the model was downloading.", lost: true };
  if (error instanceof RangeError) {
    return { message: "The model is too large for the memory that this device gives a page.", lost: false };
  }
  return { message: `This model cannot be run here: ${error instanceof Error ? error.message : error}.`, lost: false };
}
