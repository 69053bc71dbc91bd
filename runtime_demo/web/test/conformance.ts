/**
 * The conformance test: what every machine that runs this runtime must compute.
 *
 * `tests/web/conformance.py` writes the bundles and what Python computes with them. Node and browsers run the cases.
 */
import {
  AudioError,
  Captioner,
  ConfigError,
  ContractError,
  Drawer,
  EventStream,
  FormatError,
  Generator,
  Listener,
  Looker,
  Model,
  Painter,
  Pen,
  Resampler,
  Sampler,
  SamplingError,
  StreamError,
  Tokenizer,
  WHOLE,
  addStroke,
  beamSearch,
  drawPoint,
  fitted,
  fromNpy,
  fromRgba,
  fromLines,
  fromSnapshot,
  ground,
  hearing,
  hexadecimal,
  integers,
  inverted,
  isClipped,
  mono,
  pictureOf,
  readStrokes,
  readWav,
  resample,
  resized,
  sha256,
  shrunk,
  strokeOf,
  suggest,
  tensor,
  toLines,
  verify,
  wasmLoader,
  type CaptionToken,
  type Event,
  type Heard,
  type Pauses,
  type Point,
  type SampledToken,
  type Samples,
  type Settings,
  type Stream,
  type Tensor,
  type Tensors,
} from "../src/index.ts";
import type { JsonObject } from "../src/records.ts";
import { samplerFrom } from "../src/snapshot.ts";

/** Where a case finds its files, and where it leaves what Python then reads. Paths are relative to one folder. */
export interface World {
  read(path: string): Promise<Uint8Array>;
  write(path: string, data: Uint8Array): Promise<void>;
}

export interface Case {
  readonly name: string;
  run(world: World): Promise<void>;
}

/** The cases. simd: which of the two modules of a bundle runs. machine: a word for what runs them. */
export function cases(machine: string, simd: boolean): Case[] {
  const loaded = new Map<string, Promise<Model>>();
  const load = (world: World, path: string): Promise<Model> => {
    const model = loaded.get(path) ?? Model.load((name) => world.read(`${path}/${name}`), { engines: [wasmLoader(simd)] });
    loaded.set(path, model);
    return model;
  };
  const expected = async (world: World): Promise<Expected> => json(await world.read("expected.json"));
  return [
    { name: "SHA-256 of FIPS 180-4", run: digests },
    { name: "the generator's first numbers", run: generator },
    { name: "draws of golden/", run: draws },
    { name: "normal deviates of golden/", run: normals },
    { name: "points of golden/", run: points },
    ...golden(load),
    { name: "300 tokens are Python's at every precision", run: async (world) => texts(world, load, (await expected(world)).texts) },
    { name: "snapshots from Python are continued", run: async (world) => continued(world, load, await expected(world), machine) },
    { name: "beams and suggestions are Python's", run: async (world) => searches(world, load, await expected(world)) },
    { name: "pictures have Python's bytes at every size", run: async (world) => pictures(world, (await expected(world)).pictures) },
    { name: "captions and attention are Python's", run: async (world) => captions(world, load, await expected(world)) },
    { name: "drawings are Python's to the bit", run: async (world) => drawings(world, load, await expected(world)) },
    { name: "ink is kept, and the drawing goes on", run: (world) => ink(world, load) },
    { name: "glimpses are Python's", run: async (world) => looks(world, load, await expected(world)) },
    { name: "strokes are Python's to the bit", run: async (world) => strokes(world, load, await expected(world)) },
    { name: "drawings of strokes are read as Python reads them", run: strokeFiles },
    { name: "paintings are Python's to the bit", run: async (world) => paintings(world, load, await expected(world)) },
    { name: "sound has Python's samples", run: async (world) => sounds(world, (await expected(world)).sounds) },
    { name: "scores and labels of sound are Python's", run: async (world) => listening(world, load, (await expected(world)).sounds) },
    { name: "events are Python's", run: async (world) => eventStreams((await expected(world)).events) },
    { name: "snapshots of pictures and strokes go from Python and back", run: async (world) => resumed(world, load, await expected(world), machine) },
    { name: "tokenizers are Python's", run: async (world) => tokenizers(await expected(world)) },
    { name: "streams of one model do not see each other", run: (world) => interleaved(world, load) },
  ];
}

/** The cases of the bundles in `golden/`, whatever runs them. */
export function golden(load: Load): Case[] {
  return [
    { name: "texts of golden/", run: (world) => goldenTexts(world, load) },
    { name: "streams of golden/", run: (world) => goldenStreams(world, load) },
    { name: "snapshots of golden/", run: (world) => goldenSnapshots(world, load) },
    { name: "golden vectors", run: (world) => goldenVectors(world, load) },
  ];
}

/** Loads the bundle at a path. */
export type Load = (world: World, path: string) => Promise<Model>;

interface Made {
  readonly bundle: string;
  readonly tokens: readonly number[];
  readonly pieces: readonly string[];
}

type Text = Made & { prompt: string; sampler: SavedSampler; scores: number[]; logits: number[] };

/** What Python computed. texts: over the code in C. onnx: over onnxruntime. */
export interface Expected {
  readonly texts: Text[];
  readonly onnx: Text[];
  readonly snapshots: Made[];
  readonly searches: {
    bundle: string;
    prompt: string;
    candidates: { tokens: number[]; text: string; score: number }[];
    suggestions: { text: string; probability: number }[];
  }[];
  /** The names of pictures: their pixels and what Python makes of them are in `pictures`. */
  readonly pictures: string[];
  readonly captions: {
    picture: string;
    text: string;
    tokens: number[];
    attention: number[][];
    candidates: { tokens: number[]; text: string; score: number }[];
  }[];
  readonly drawings: { sampler: SavedSampler; label: string; pictures: number[][]; boxes: number[][] }[];
  /** glimpses: at the picture, and at its negative. */
  readonly looks: { picture: string; glimpses: { boxes: number[][]; label: string; probability: number }[][] }[];
  readonly strokes: {
    sampler: SavedSampler;
    given: Point[];
    points: Point[];
    place: number[];
    ended: boolean;
    lines: number[][][];
    json: string;
    read: Point[];
  }[];
  /** The canvases after each stroke, and the last one rendered at another size, are in `pictures`. */
  readonly paintings: { picture: string; strokes: number[][]; errors: number[] }[];
  /** Of each task, the outputs of the steps that follow its snapshot. */
  readonly resumed: { task: "draw" | "glimpse" | "pens" | "paint"; steps: number; outputs: Record<string, number[]>[] }[];
  /** Recordings. The tasks are those of networks with the rate of the recording; heard: begin, end, label, percent. */
  readonly sounds: {
    name: string;
    rate: number;
    clipped: boolean;
    classify?: { label: string; probabilities: Record<string, number>; scores: number[][] };
    tag?: { labels: string[]; events: { label: string; start_seconds: number; end_seconds: number }[]; scores: number[][] };
    heard?: [number, number, string, string][];
  }[];
  /** events: those that each label completes, and those that have begun; both as start, end and label. */
  readonly events: { merged: number; shortest: number; labels: number[]; events: [number[][], number[][]][] }[];
  readonly tokenizers: {
    json: string;
    texts: [string, "refuse" | "skip" | "replace", number[]][];
    sequences: [number[], string, string[], number[][]][];
  }[];
}

async function digests(): Promise<void> {
  const of = (text: string): string => hexadecimal(sha256(new TextEncoder().encode(text)));
  equal(of(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  equal(of("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  equal(of("a".repeat(1_000_000)), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

async function generator(): Promise<void> {
  const numbers = new Generator(0n);
  equal([numbers.uniform(), numbers.uniform(), numbers.uniform()], [0.8833108082136426, 0.43152799704850997, 0.026433771592597743]);
}

async function draws(world: World): Promise<void> {
  const list = json<{ sampler: SavedSampler; logits: number[]; tokens: number[] }[]>(await world.read("golden/draws.json"));
  for (const each of list) {
    const sampler = samplerOf(each.sampler);
    const numbers = new Generator(sampler.seed!);
    const drawn: number[] = [];
    while (drawn.length < each.tokens.length) drawn.push(sampler.draw(Float32Array.from(each.logits), numbers, drawn));
    equal(drawn, each.tokens);
  }
}

async function normals(world: World): Promise<void> {
  const list = json<{ seed: string; normals: number[] }[]>(await world.read("golden/normals.json"));
  for (const each of list) {
    const numbers = new Generator(BigInt(each.seed));
    equal(
      each.normals.map(() => numbers.normal()),
      each.normals,
    );
  }
}

async function points(world: World): Promise<void> {
  const list = json<{ seed: string; temperature: number; mixture: number[]; points: number[][] }[]>(await world.read("golden/points.json"));
  for (const { seed, temperature, mixture, points } of list) {
    const numbers = new Generator(BigInt(seed));
    equal(points.map(() => drawPoint(Float32Array.from(mixture), temperature, numbers)), points);
  }
  if (list.length === 0) throw new Error("there are no points");
  const [{ mixture }] = list;
  await throws(ConfigError, () => drawPoint(Float32Array.from(mixture), 0, new Generator(0n)), "at temperature 0 no point is drawn");
  await throws(SamplingError, () => drawPoint(Float32Array.from(mixture, () => NaN), 1, new Generator(0n)), "not made of numbers");
}

async function goldenTexts(world: World, load: Load): Promise<void> {
  const list = json<{ bundle: string; prompt: string; sampler: SavedSampler; text: string }[]>(await world.read("golden/texts.json"));
  for (const each of list) {
    const stream = await (await load(world, `golden/${each.bundle}`)).stream(samplerOf(each.sampler));
    equal(await stream.complete(each.prompt, { maxTokens: [...each.text].length }), each.text);
  }
}

async function goldenStreams(world: World, load: Load): Promise<void> {
  type Values = Record<string, Nested>;
  const list = json<{ bundle: string; begin: Values; inputs: Values[]; outputs: Values[] }[]>(await world.read("golden/streams.json"));
  for (const each of list) {
    const stream = await (await load(world, `golden/${each.bundle}`)).stream(undefined, { inputs: tensors(each.begin) });
    for (const [place, inputs] of each.inputs.entries()) {
      const outputs = await stream.step(tensors(inputs));
      for (const [name, expected] of Object.entries(tensors(each.outputs[place]))) {
        equal(outputs[name].shape, expected.shape);
        close([...outputs[name].data].map(Number), [...expected.data].map(Number), 1e-5);
      }
    }
  }
}

async function goldenSnapshots(world: World, load: Load): Promise<void> {
  const list = json<{ bundle: string; snapshot: string; text: string }[]>(await world.read("golden/snapshots.json"));
  for (const each of list) {
    const stream = await (await load(world, `golden/${each.bundle}`)).stream();
    stream.restore(await world.read(`golden/${each.snapshot}`));
    let text = "";
    for await (const piece of stream.decode({ maxTokens: [...each.text].length })) text += piece;
    equal(text, each.text);
  }
}

async function goldenVectors(world: World, load: Load): Promise<void> {
  for (const bundle of ["characters-fp32", "characters-int8", "characters-int4", "looker", "attender"]) {
    const { steps, share } = await verify(await load(world, `golden/${bundle}`));
    equal(steps, 256);
    if (!(share <= 1)) throw new Error(`${bundle} uses ${share} of its tolerance`);
  }
}

/** Decodes texts. apart: by how much logits may differ. */
export async function texts(world: World, load: Load, expected: readonly Text[], apart = 0): Promise<void> {
  for (const each of expected) {
    const stream = await (await load(world, `texts/${each.bundle}`)).stream(samplerOf(each.sampler));
    await stream.prefill(each.prompt, { unknown: "skip" });
    const made = await collected(stream.tokens({ maxTokens: 300 }));
    equal(made.map(({ token }) => token), each.tokens);
    equal(made.map(({ text }) => text), each.pieces);
    close(made.map(({ logProbability }) => logProbability), each.scores, apart + 1e-9);
    close([...stream.logits!.data].map(Number), each.logits, apart);
  }
}

async function continued(world: World, load: Load, { snapshots }: Expected, machine: string): Promise<void> {
  for (const each of snapshots) {
    const saved = await world.read(`texts/${each.bundle}.snapshot`);
    const stream = await (await load(world, `texts/${each.bundle}`)).stream();
    stream.restore(saved);
    equal(comparable(stream.snapshot()), comparable(saved));
    const made = await collected(stream.tokens({ maxTokens: each.tokens.length }));
    equal(made.map(({ token }) => token), each.tokens);
    equal(made.map(({ text }) => text), each.pieces);
    const taken = stream.snapshot();
    const later = await collected(stream.fork().tokens({ maxTokens: 40 }));
    stream.restore(taken);
    equal(await collected(stream.tokens({ maxTokens: 40 })), later);
    await world.write(`written/${machine}-${each.bundle}.snapshot`, taken);
    const record = { bundle: each.bundle, tokens: later.map(({ token }) => token), pieces: later.map(({ text }) => text) };
    await world.write(`written/${machine}-${each.bundle}.json`, new TextEncoder().encode(JSON.stringify(record)));
  }
}

async function searches(world: World, load: Load, { searches }: Expected): Promise<void> {
  for (const each of searches) {
    const stream = await (await load(world, `texts/${each.bundle}`)).stream();
    await stream.prefill(each.prompt, { unknown: "skip" });
    const found = await beamSearch(stream, { width: 4, maxTokens: 12 });
    equal(found.map(({ tokens, text }) => [tokens, text]), each.candidates.map(({ tokens, text }) => [tokens, text]));
    close(found.map(({ score }) => score), each.candidates.map(({ score }) => score), 1e-9);
    const words = await suggest(stream, 3);
    equal(words.map(({ text }) => text), each.suggestions.map(({ text }) => text));
    close(words.map(({ probability }) => probability), each.suggestions.map(({ probability }) => probability), 1e-9);
  }
}

async function pixels(world: World, name: string): Promise<Tensor> {
  const { shape, data } = fromNpy(await world.read(`pictures/${name}.npy`), name);
  return fromRgba(data as Uint8Array, shape[0], shape[1]);
}

async function pictures(world: World, names: readonly string[]): Promise<void> {
  for (const name of names) {
    const image = shrunk(await pixels(world, name));
    const made = { shrunk: image, resized: resized(image, 24, 17), enlarged: resized(image, 90, 61), fitted: fitted(image, 28, 24) };
    for (const [what, { shape, data }] of Object.entries(made)) {
      const python = fromNpy(await world.read(`pictures/${name}.${what}.npy`), what);
      equal([shape, hexadecimal(sha256(data as Uint8Array))], [python.shape, hexadecimal(sha256(python.data as Uint8Array))], `${name} ${what}`);
    }
  }
}

async function captions(world: World, load: Load, { captions }: Expected): Promise<void> {
  const captioner = new Captioner(await load(world, "tasks/caption"));
  for (const each of captions) {
    const picture = await pixels(world, each.picture);
    const made = await collected(captioner.tokens(picture, { maxTokens: 8 }));
    equal(made.map(({ text }) => text).join(""), each.text);
    equal(made.map(({ token }) => token), each.tokens);
    equal(made.map(({ attention }) => attention!.data), each.attention.map((weights) => Float32Array.from(weights)));
    const told = ({ stream, ...token }: CaptionToken): unknown => token;
    equal((await collected(captioner.reread(picture, each.tokens))).map(told), made.map(told));
    const found = await captioner.candidates(picture, { width: 3, maxTokens: 8 });
    equal(found.map(({ tokens, text }) => [tokens, text]), each.candidates.map(({ tokens, text }) => [tokens, text]));
    close(found.map(({ score }) => score), each.candidates.map(({ score }) => score), 1e-9);
  }
  await throws(StreamError, async () => new Captioner(await load(world, "tasks/draw")), "does not describe pictures");
}

async function drawings(world: World, load: Load, { drawings }: Expected): Promise<void> {
  const drawer = new Drawer(await load(world, "tasks/draw"));
  for (const { sampler, label, pictures, boxes } of drawings) {
    const stream = await drawer.stream(samplerOf(sampler), label);
    for (const [place, python] of pictures.entries()) {
      const { picture, box } = await drawer.step(stream);
      equal(picture.data, Float32Array.from(python), `step ${place}`);
      equal(box, boxes[place], `step ${place}`);
    }
  }
  await throws(ConfigError, () => drawer.stream(new Sampler(), "7"), "there is no class 7 to draw: there is 0, 1");
  await throws(StreamError, async () => (await (await load(world, "texts/int8")).stream()).noise(), "no input of the kind noise");
  await throws(StreamError, async () => new Drawer(await load(world, "tasks/glimpse")), "does not draw");
}

async function ink(world: World, load: Load): Promise<void> {
  const drawer = new Drawer(await load(world, "tasks/draw"));
  const begin = (): Promise<Stream> => drawer.stream(new Sampler({ seed: 3 }), "1");
  const [plain, inked] = [await begin(), await begin()];
  await drawer.step(inked);
  await drawer.step(plain);
  const levels = new Float32Array(drawer.height * drawer.width);
  levels[5] = 0.9;
  levels[6] = 1;
  const before = (drawer.canvas(inked)["canvas"].data as Float32Array).slice();
  drawer.ink(inked, levels);
  const after = drawer.canvas(inked)["canvas"].data as Float32Array;
  close([after[5], after[6], after[7]], [Math.log(9), 12, before[7]], 1e-6);
  equal(drawer.canvas(plain)["canvas"].data, before);
  const twin = inked.fork();
  const [one, other, without] = [await drawer.step(inked), await drawer.step(twin), await drawer.step(plain)];
  equal(one, other);
  equal(one.box, without.box); // the network does not read its canvas
  if (!(Number(one.picture.data[6]) > Number(without.picture.data[6]))) throw new Error("the ink is gone");
  await throws(ContractError, () => (inked.state = {}), "is missing");
  for (const wrong of [levels.slice(1), levels.fill(NaN)]) await throws(StreamError, () => drawer.ink(inked, wrong), "levels from 0 to 1");
}

async function looks(world: World, load: Load, { looks }: Expected): Promise<void> {
  const looker = new Looker(await load(world, "tasks/glimpse"));
  for (const { picture, glimpses } of looks) {
    const positive = await pixels(world, picture);
    for (const [place, image] of [positive, inverted(positive)].entries()) {
      const stream = await looker.stream(looker.fit(image));
      for (const python of glimpses[place]) {
        const found = await looker.look(stream);
        equal([found.boxes, found.label], [python.boxes, python.label]);
        close([found.probability], [python.probability], 1e-12);
      }
    }
  }
  await throws(StreamError, async () => new Looker(await load(world, "tasks/draw")), "does not look at pictures");
}

const RATE = 8000; // samples per second of the networks that listen
const APART = { faster: 1, slower: 3 }; // of 32,768: by how much a resampled sample may differ from that of soxr in Python

async function samplesOf(world: World, name: string): Promise<Samples> {
  return mono(readWav(await world.read(`sounds/${name}.wav`), name));
}

async function sounds(world: World, list: Expected["sounds"]): Promise<void> {
  for (const { name, rate, clipped } of list) {
    const samples = await samplesOf(world, name);
    const [python, other] = await Promise.all(["mono", "resampled"].map(async (what) => fromNpy(await world.read(`sounds/${name}.${what}.npy`), what).data as Samples));
    equal([readWav(await world.read(`sounds/${name}.wav`)).rate, isClipped(samples)], [rate, clipped], name);
    equal(samples, python, name);
    const made = resample(samples, rate, RATE);
    equal(made.length, other.length, name);
    if (rate === RATE) equal(made, other, name);
    else close([...made], [...other], rate > RATE ? APART.faster : APART.slower);
    const resampler = new Resampler(rate, RATE);
    const pieces: number[] = [];
    for (let [at, size] = [0, 1]; at < samples.length; at += size, size = (7 * size) % 1013) pieces.push(...resampler.push(samples.slice(at, at + size)));
    equal([...pieces, ...resampler.finish()], [...made], `${name} in pieces`);
  }
  equal([...integers(Float32Array.of(-2, -1, 0, 0.5 / 32768, 1.5 / 32768, 1))], [-32768, -32768, 0, 0, 2, 32767]);
  await throws(AudioError, () => new Resampler(44_101, RATE), "cannot be changed to 8000 here");
  await throws(AudioError, () => new Resampler(500, RATE), "a rate of 500 samples per second");
  await throws(AudioError, () => readWav(new Uint8Array(20), "x.wav"), "x.wav is not a WAV file");
  const whole = await world.read("sounds/own.wav");
  await throws(AudioError, () => readWav(whole.subarray(0, -1), "x.wav"), "x.wav is cut off: it has");
  await throws(AudioError, () => readWav(Uint8Array.from(whole, (byte, at) => (at === 20 ? 6 : byte)), "x.wav"), "x.wav is compressed (A-law): convert it to 16-bit PCM");
}

/** What is heard in a recording, with the guess after the last step. */
async function heardIn(listener: Listener, samples: Samples, pauses: Pauses): Promise<{ heard: Heard[]; scores: number[][] }> {
  const [steps, ear] = [listener.steps(RATE), await hearing(listener, pauses)];
  const [heard, scores]: [Heard[], number[][]] = [[], []];
  for (const step of [...steps.push(samples), ...steps.finish(listener.tags ? listener.delay : 0)]) {
    const { guess, ended } = await ear.hear(step);
    if (guess) scores.push([...guess.probabilities]);
    heard.push(...ended);
  }
  return { heard: [...heard, ...ear.end()], scores };
}

async function listening(world: World, load: Load, list: Expected["sounds"]): Promise<void> {
  const [classifier, tagger] = [new Listener(await load(world, "tasks/classify")), new Listener(await load(world, "tasks/tag"))];
  for (const { name, classify, tag, heard } of list.filter(({ rate }) => rate === RATE)) {
    const samples = await samplesOf(world, name);
    for (const [listener, { scores }] of [[classifier, classify!], [tagger, tag!]] as const) {
      const stream = await listener.stream();
      const steps = listener.steps(RATE);
      for (const [place, step] of [...steps.push(samples), ...steps.finish()].entries()) {
        const { shape } = tensor("int16", [1, step.length]);
        const outputs = await stream.step({ [stream.spec.inputs[0].name]: { dtype: "int16", shape, data: step } });
        equal([...outputs["scores"].data], scores[place], `${name}, step ${place}`);
      }
    }
    const whole = await heardIn(classifier, samples, WHOLE);
    equal([whole.heard.length, whole.heard[0].label], [1, classify!.label]);
    close(whole.scores.at(-1)!, classifier.labels.map((label) => classify!.probabilities[label]), 1e-12);
    const tagged = await heardIn(tagger, samples, {});
    equal(tagged.heard.map(({ label, start, end }) => [label, start, end]), tag!.events.map((each) => [each.label, each.start_seconds, each.end_seconds]));
    const labels = tagged.scores.map((shares) => tagger.labels[shares.indexOf(Math.max(...shares))]);
    equal(labels, tag!.labels);
    const told = (await heardIn(classifier, samples, {})).heard;
    equal(told.map(({ start, end, label, probability }) => [start, end, label, `(${Math.round(100 * probability!)}%)`]), heard);
  }
  await throws(StreamError, async () => new Listener(await load(world, "texts/int8")), "scores no classes");
  await throws(StreamError, async () => new Listener(await load(world, "tasks/glimpse")), "does not read sound");
}

async function eventStreams(list: Expected["events"]): Promise<void> {
  for (const { merged, shortest, labels, events } of list) {
    const stream = new EventStream({ merged, shortest });
    const told = (found: readonly Event[]): number[][] => found.map(({ start, end, label }) => [start, end, label]);
    const found = labels.map((label) => [told(stream.push(label)), told(stream.begun)]);
    equal([...found, [told(stream.finish()), []]], events);
  }
}

async function strokes(world: World, load: Load, { strokes }: Expected): Promise<void> {
  const pen = new Pen(await load(world, "tasks/pens"));
  const counts = [];
  for (const { sampler, given, points, place, ended, lines, json, read } of strokes) {
    const stream = await pen.stream(samplerOf(sampler), given);
    const drawn: Point[] = [];
    for (let point: Point | null = null; drawn.length < 40 && (point = await pen.draw(stream)) !== null; ) drawn.push(point);
    equal([drawn, pen.place(stream), pen.ended(stream)], [points, place, ended]);
    equal(toLines([...given, ...drawn]), lines);
    equal(readStrokes(new TextEncoder().encode(json)), read);
    if (ended) equal(await pen.draw(stream), null);
    counts.push(drawn.length);
  }
  if (Math.min(...counts) === 0) throw new Error(`a drawing has no points: ${counts}`);
  const { scale } = pen.units;
  for (const wrong of [[NaN, 0, 0], [0, Infinity, 1], [-Infinity, 0, 0], [1e39 * scale, 0, 0], [0, 0, 0.5], [0, 0, NaN]] as const) {
    const stream = await pen.stream(new Sampler());
    await throws(StreamError, () => pen.read(stream, [[1, 2, 0], wrong]), `point 1 is ${wrong.join(", ")}: it takes two finite numbers`);
    equal(stream.steps, 1);
  }
  await throws(StreamError, async () => new Pen(await load(world, "tasks/paint")), "does not draw strokes");
  await throws(StreamError, async () => (await (await load(world, "texts/int8")).stream()).nextPoint(), "does not read and predict points");
}

async function strokeFiles(): Promise<void> {
  const read = (value: unknown): Point[] => readStrokes(new TextEncoder().encode(JSON.stringify(value)));
  equal(read([[[5, 5], [8, 4]], [[0, 0]]]), [[3, -1, 1], [-8, -4, 1]]);
  equal(read([[[5, 5]], [[6, 6], [7, 7]]]), [[0, 0, 1], [1, 1, 0], [1, 1, 1]]); // the first stroke is a dot
  equal(read({ drawings: [[[[0, 0], [2, 3]]]], lifted: [false] }), [[2, 3, 0]]);
  equal(fromLines([]), []);
  equal(toLines([]), []);
  for (const [value, words] of [
    [{ drawings: [] }, "the file has 0 drawings"],
    [[], "is empty"],
    [[[]], "is empty"],
    [[[[1, 2, 3]]], "not two numbers"],
    [[[[1, 2e6]]], "not two numbers"],
    [[Array.from({ length: 5001 }, () => [0, 0])], "5001 points"],
    ["strokes", "is not an object"],
  ] as const) {
    await throws(FormatError, () => read(value), words);
  }
}

async function paintings(world: World, load: Load, { paintings }: Expected): Promise<void> {
  const painter = new Painter(await load(world, "tasks/paint"));
  for (const { picture, strokes, errors } of paintings) {
    const stream = await painter.stream(await pixels(world, picture));
    const canvases = fromNpy(await world.read(`pictures/${picture}.canvases.npy`), picture);
    const rendered = fromNpy(await world.read(`pictures/${picture}.rendered.npy`), picture);
    const large = ground(rendered.shape[0], rendered.shape[1], [...painter.canvas(stream).data.subarray(0, 3)].map(Number));
    const size = painter.side * painter.side * 3;
    for (const [place, python] of strokes.entries()) {
      const stroke = await painter.step(stream);
      equal(stroke, python, `stroke ${place}`);
      equal(painter.canvas(stream).data, canvases.data.subarray(place * size, (place + 1) * size), `stroke ${place}`);
      close([painter.error(stream)], [errors[place]], 1e-5);
      if (place < painter.strokes) addStroke(large, strokeOf(stroke), painter.side);
    }
    close([...large.data].map(Number), [...rendered.data].map(Number), 1e-4);
    equal(pictureOf(painter.canvas(stream)).data, fromNpy(await world.read(`pictures/${picture}.painted.npy`), picture).data);
  }
  await throws(StreamError, async () => new Painter(await load(world, "tasks/pens")), "does not paint");
}

/** A new stream of a task, with whatever it takes to begin. */
export async function begun(model: Model, task: string): Promise<Stream> {
  const blank = (side: number): Tensor => tensor("uint8", [side, side, 3]);
  if (task === "draw") return new Drawer(model).stream(new Sampler(), "0");
  if (task === "pens") return new Pen(model).stream(new Sampler());
  return task === "glimpse" ? new Looker(model).stream(blank(12)) : new Painter(model).stream(blank(9));
}

/** A step of a stream that is given nothing but what its generator draws: all outputs. */
export async function advance(stream: Stream): Promise<Record<string, number[]>> {
  const kinds = stream.spec.inputs.map(({ kind }) => kind);
  const outputs = await stream.step(kinds.includes("noise") ? stream.noise() : kinds.includes("point") ? stream.nextPoint() : {});
  return Object.fromEntries(Object.entries(outputs).map(([name, { data }]) => [name, Array.from(data, Number)]));
}

async function resumed(world: World, load: Load, { resumed }: Expected, machine: string): Promise<void> {
  for (const { task, steps, outputs } of resumed) {
    const stream = await begun(await load(world, `tasks/${task}`), task);
    const saved = await world.read(`tasks/${task}.snapshot`);
    stream.restore(saved);
    equal([stream.steps, comparable(stream.snapshot())], [steps, comparable(saved)]);
    for (const each of outputs) equal(await advance(stream), each, task);
    await world.write(`written/${machine}-${task}.snapshot`, stream.snapshot());
    const later = [await advance(stream), await advance(stream)];
    await world.write(`written/${machine}-${task}.json`, new TextEncoder().encode(JSON.stringify({ task, outputs: later })));
  }
}

async function tokenizers({ tokenizers }: Expected): Promise<void> {
  for (const each of tokenizers) {
    const tokenizer = await Tokenizer.fromJson(each.json);
    for (const [text, unknown, ids] of each.texts) equal(tokenizer.encode(text, { unknown }), ids, JSON.stringify(text));
    for (const [ids, text, pieces, tails] of each.sequences) {
      equal(tokenizer.decode(ids), text);
      const decoder = tokenizer.decoder();
      const found = ids.map((id) => [decoder.push(id), decoder.tail] as const);
      equal(found.map(([piece]) => piece), pieces);
      equal(found.map(([, tail]) => tail), tails);
    }
  }
}

async function interleaved(world: World, load: Load): Promise<void> {
  const model = await load(world, "texts/int8");
  const settings: Settings[] = [{ seed: 1 }, { seed: 2, temperature: 0.5 }, { seed: 3, topK: 3 }];
  const begin = async (each: Settings) => {
    const stream = await model.stream(new Sampler(each));
    await stream.prefill("The fox");
    return stream;
  };
  const alone = [];
  for (const each of settings) alone.push((await collected((await begin(each)).tokens({ maxTokens: 50 }))).map(({ token }) => token));
  const streams = await Promise.all(settings.map(begin));
  const together = streams.map((stream) => stream.tokens({ maxTokens: 50 }));
  const drawn: number[][] = settings.map(() => []);
  for (let step = 0; step < 50; step++) {
    for (const [place, tokens] of together.entries()) drawn[place].push(((await tokens.next()).value as SampledToken).token);
  }
  equal(drawn, alone);
  streams[0].reset();
  await throws(StreamError, () => collected(streams[0].tokens({ maxTokens: 1 })));
}

/* --- assertions and conversions ----------------------------------------------------------------------------------- */

type SavedSampler = JsonObject & { seed: string };
type Nested = number | boolean | Nested[];

function samplerOf({ seed, ...settings }: SavedSampler): Sampler {
  return samplerFrom(settings, BigInt(seed));
}

async function collected<Token extends SampledToken>(tokens: AsyncIterable<Token>): Promise<Token[]> {
  const made: Token[] = [];
  for await (const each of tokens) made.push(each);
  return made;
}

function tensors(values: Record<string, Nested>): Tensors {
  return Object.fromEntries(Object.entries(values).map(([name, each]) => [name, float32(each)]));
}

function float32(values: Nested): Tensor {
  const shape: number[] = [];
  for (let each = values; Array.isArray(each); each = each[0]) shape.push(each.length);
  return tensor("float32", shape, ([values] as unknown[]).flat(8) as number[]);
}

/** A snapshot without what need not be equal: the text of its header. */
export function comparable(data: Uint8Array): unknown {
  const { sampler, ...saved } = fromSnapshot(data);
  return { ...saved, sampler: { ...sampler, bias: [...sampler.bias] } };
}

function json<T>(data: Uint8Array): T {
  return JSON.parse(new TextDecoder().decode(data)) as T;
}

const plain = (_: string, value: unknown): unknown =>
  typeof value === "bigint" ? `${value}n` : ArrayBuffer.isView(value) ? [...(value as Float32Array)] : value;

/** Throws unless two values are the same; numbers to the bit. */
export function equal(actual: unknown, expected: unknown, what = ""): void {
  const [a, b] = [actual, expected].map((value) => JSON.stringify(value, plain));
  if (a !== b) throw new Error(`${what} ${a?.slice(0, 300)} is not ${b?.slice(0, 300)}`);
}

function close(actual: readonly number[], expected: readonly number[], apart: number): void {
  const far = expected.findIndex((value, place) => !(Math.abs(actual[place] - value) <= apart));
  if (far >= 0 || actual.length !== expected.length) throw new Error(`${actual[far]} is not ${expected[far]} at ${far}`);
}

/** Throws unless a call throws an error of a kind. */
export async function throws(kind: new (message: string) => Error, call: () => unknown, words = ""): Promise<void> {
  try {
    await call();
  } catch (error) {
    if (error instanceof kind && error.message.includes(words)) return;
    throw error;
  }
  throw new Error(`nothing was thrown, and ${kind.name} was expected`);
}
