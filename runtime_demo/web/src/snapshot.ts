/** A stream as bytes, in the format of CONTRACT.md, which is the same on every machine and for every target. */
import { ARRAYS, bytes, elements, fromBytes, type DType, type Tensor, type Tensors } from "./arrays.ts";
import { ConfigError, FormatError, SnapshotError } from "./errors.ts";
import { integer, items, number, parse, record, text, type Json } from "./records.ts";
import { Sampler } from "./sampling.ts";
import { sha256 } from "./sha256.ts";

const MAGIC = new TextEncoder().encode("edgernn\0");
const VERSION = 1;
const PREFIX = 16; // bytes
const DIGEST = 32; // bytes
const KEYS = ["digest", "precision", "graph", "sampler", "seed", "generator", "steps", "recent", "tail", "tensors"];
const GROUPS = ["state", "conditions", "initial", "logits"] as const;
const NUMBERS = ["temperature", "top_k", "top_p", "min_p", "repetition_penalty", "repetition_window"];

/** Everything that is needed to continue a stream exactly. */
export interface Snapshot {
  readonly digest: string;
  readonly precision: string;
  readonly graph: string;
  readonly sampler: Sampler;
  readonly seed: bigint;
  readonly generator: bigint;
  readonly steps: number;
  readonly recent: readonly number[];
  readonly tail: readonly number[];
  readonly state: Tensors;
  readonly conditions: Tensors;
  readonly initial: Tensors;
  /** Scores (vocabulary,) of the next token, if there are any yet. */
  readonly logits: Tensor | null;
}

/** The bytes of a snapshot. */
export function toBytes(saved: Snapshot): Uint8Array<ArrayBuffer> {
  const groups = { ...saved, logits: saved.logits ? { logits: saved.logits } : {} };
  const tensors = GROUPS.flatMap((group) => Object.entries(groups[group]).map(([name, each]) => ({ group, name, each })));
  const header = new TextEncoder().encode(
    JSON.stringify({
      digest: saved.digest,
      precision: saved.precision,
      graph: saved.graph,
      sampler: settings(saved.sampler),
      seed: word(saved.seed),
      generator: word(saved.generator),
      steps: saved.steps,
      recent: saved.recent,
      tail: saved.tail,
      tensors: tensors.map(({ group, name, each }) => ({ group, name, dtype: each.dtype, shape: each.shape })),
    }),
  );
  const prefix = new Uint8Array(PREFIX);
  prefix.set(MAGIC);
  new DataView(prefix.buffer).setUint32(8, VERSION, true);
  new DataView(prefix.buffer).setUint32(12, header.length, true);
  const body = joined([prefix, header, ...tensors.map(({ each }) => bytes(each))]);
  return joined([body, sha256(body)]);
}

/** The snapshot in some bytes. Throws SnapshotError for anything else. */
export function fromSnapshot(data: Uint8Array): Snapshot {
  if (data.length < PREFIX + DIGEST || MAGIC.some((byte, place) => data[place] !== byte)) {
    throw new SnapshotError("these bytes are not a snapshot");
  }
  const view = new DataView(data.buffer, data.byteOffset);
  const body = data.subarray(0, data.length - DIGEST);
  if (view.getUint32(8, true) !== VERSION) {
    throw new SnapshotError(`the snapshot has format ${view.getUint32(8, true)}; this runtime reads format ${VERSION}`);
  }
  if (sha256(body).some((byte, place) => data[body.length + place] !== byte)) {
    throw new SnapshotError("the snapshot was cut or changed: its SHA-256 does not fit");
  }
  const start = PREFIX + view.getUint32(12, true);
  try {
    return fromHeader(record(parse(body.subarray(PREFIX, start), "its header"), "its header", KEYS), body.subarray(start));
  } catch (error) {
    if (!(error instanceof FormatError || error instanceof ConfigError)) throw error;
    throw new SnapshotError(`the snapshot is damaged: ${error.message}`);
  }
}

function fromHeader(header: { [key: string]: Json }, payload: Uint8Array): Snapshot {
  const groups = tensorsOf(header["tensors"], payload);
  const seed = wordFrom(header["seed"]);
  return {
    digest: text(header["digest"], "digest"),
    precision: text(header["precision"], "precision"),
    graph: text(header["graph"], "graph"),
    sampler: samplerFrom(header["sampler"], seed),
    seed,
    generator: wordFrom(header["generator"]),
    steps: integer(header["steps"], "steps"),
    recent: items(header["recent"], "recent").map((token) => integer(token, "recent")),
    tail: items(header["tail"], "tail").map((token) => integer(token, "tail")),
    state: groups.state,
    conditions: groups.conditions,
    initial: groups.initial,
    logits: groups.logits["logits"] ?? null,
  };
}

function tensorsOf(entries: Json, payload: Uint8Array): Record<(typeof GROUPS)[number], Record<string, Tensor>> {
  const groups = { state: {}, conditions: {}, initial: {}, logits: {} } as ReturnType<typeof tensorsOf>;
  let offset = 0;
  for (const entry of items(entries, "tensors")) {
    const values = record(entry, "a tensor", ["group", "name", "dtype", "shape"]);
    const group = text(values["group"], "group") as (typeof GROUPS)[number];
    const dtype = text(values["dtype"], "dtype") as DType;
    if (!Object.hasOwn(groups, group) || !Object.hasOwn(ARRAYS, dtype)) {
      throw new FormatError(`there is no group '${group.slice(0, 40)}' or dtype '${dtype.slice(0, 40)}'`);
    }
    const shape = items(values["shape"], "shape").map((size) => integer(size, "shape"));
    const size = elements(shape) * ARRAYS[dtype].BYTES_PER_ELEMENT;
    if (!(offset + size <= payload.length)) throw new FormatError("its tensors are cut short");
    groups[group][text(values["name"], "a tensor's name")] = fromBytes(dtype, shape, payload.subarray(offset, offset + size), "a tensor");
    offset += size;
  }
  if (offset !== payload.length) throw new FormatError("bytes follow its tensors");
  return groups;
}

function settings(sampler: Sampler): Json {
  return {
    temperature: sampler.temperature,
    top_k: sampler.topK,
    top_p: sampler.topP,
    min_p: sampler.minP,
    repetition_penalty: sampler.repetitionPenalty,
    repetition_window: sampler.repetitionWindow,
    bias: [...sampler.bias].map(([token, value]) => [token, Number.isFinite(value) ? value : null]),
  };
}

/** The sampler of settings as snapshots and `golden/` hold them. */
export function samplerFrom(value: Json | undefined, seed: bigint): Sampler {
  const values = record(value, "sampler", [...NUMBERS, "bias"]);
  const [temperature, topK, topP, minP, repetitionPenalty, repetitionWindow] = NUMBERS.map((name) => number(values[name], name));
  const bias = items(values["bias"], "bias").map((pair): [number, number] => {
    const [token, added = null, ...rest] = items(pair, "a bias");
    if (rest.length > 0) throw new FormatError("a bias is not a pair");
    return [integer(token, "a token"), added === null ? -Infinity : number(added, "a bias")];
  });
  return new Sampler({ temperature, topK, topP, minP, repetitionPenalty, repetitionWindow, bias, seed });
}

function word(value: bigint): string {
  return value.toString(16).padStart(16, "0");
}

function wordFrom(value: Json | undefined): bigint {
  const digits = text(value, "a 64-bit word");
  if (!/^[0-9a-f]{16}$/.test(digits)) throw new FormatError(`'${digits.slice(0, 20)}' is not 16 hexadecimal digits`);
  return BigInt(`0x${digits}`);
}

function joined(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const made = new Uint8Array(parts.reduce((size, part) => size + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    made.set(part, offset);
    offset += part.length;
  }
  return made;
}
