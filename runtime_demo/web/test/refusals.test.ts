/** What the runtime refuses, each in a sentence. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import {
  BundleError,
  ConfigError,
  ContractError,
  EngineError,
  Model,
  Sampler,
  SnapshotError,
  StreamError,
  Tokenizer,
  TokenizerError,
  UnknownTokenError,
  fromNpy,
  hexadecimal,
  sha256,
  tensor,
  type Files,
  type Settings,
} from "../src/index.ts";
import { FormatError } from "../src/errors.ts";
import { equal, throws } from "./conformance.ts";

const folder = process.env["EDGERNN_WEB"] ?? "../../build/web";
type Manifest = Record<string, unknown> & { files: Record<string, { bytes: number; sha256: string }> };

/** The files of a bundle with some of them changed; null for a missing one. Digests fit if `resealed`. */
function changed(bundle: string, changes: Record<string, (data: Buffer) => Buffer | null>, resealed = false): Files {
  const read = async (name: string): Promise<Buffer> => {
    const data = await readFile(join(folder, bundle, name));
    const made = changes[name] ? changes[name](data) : data;
    if (!made) throw new Error("404 Not Found");
    return made;
  };
  return async (name) => {
    const data = await read(name);
    if (name !== "bundle.json" || !resealed) return new Uint8Array(data);
    const manifest = JSON.parse(data.toString()) as Manifest;
    for (const each of Object.keys(changes).filter((each) => each !== name)) {
      const made = await read(each);
      manifest.files[each] = { bytes: made.length, sha256: hexadecimal(sha256(made)) };
    }
    return new TextEncoder().encode(JSON.stringify(manifest));
  };
}

const flipped = (data: Buffer): Buffer => {
  const made = Buffer.from(data);
  made[made.length >> 1] ^= 1;
  return made;
};

const manifest = (change: (values: Manifest) => void) => (data: Buffer): Buffer => {
  const values = JSON.parse(data.toString()) as Manifest;
  change(values);
  return Buffer.from(JSON.stringify(values));
};

test("a changed, cut or missing file is named", async () => {
  for (const name of ["model.wasm", "model.bin", "tokenizer.json"]) {
    await throws(BundleError, () => Model.load(changed("texts/int8", { [name]: flipped })), `${name} was changed: its SHA-256 is not`);
    await throws(BundleError, () => Model.load(changed("texts/int8", { [name]: (data) => data.subarray(1) })), "it was cut or changed");
    await throws(BundleError, () => Model.load(changed("texts/int8", { [name]: () => null })), `the file ${name} cannot be read: 404`);
  }
});

test("a manifest that is none, or of another format, is refused", async () => {
  const loads = (change: (data: Buffer) => Buffer): Promise<Model> => Model.load(changed("texts/int8", { "bundle.json": change }));
  await throws(BundleError, () => loads(() => Buffer.from("<!doctype html>")), "bundle.json is not JSON");
  await throws(BundleError, () => loads(() => Buffer.from("[]")), "bundle.json is not an object");
  await throws(BundleError, () => loads(manifest((values) => (values["format"] = 2))), "has format 2; this runtime reads format 1");
  await throws(BundleError, () => loads(manifest((values) => (values["new"] = 2))), "has an unknown 'new'");
  await throws(BundleError, () => loads(manifest((values) => delete values["task"])), "lacks 'task'");
  await throws(BundleError, () => loads(manifest((values) => (values["target"] = "onnx"))), "the bundle is for onnx, and here is what runs wasm");
  const outside = manifest((values) => (values.files["../secret"] = { bytes: 1, sha256: "" }));
  await throws(BundleError, () => loads(outside), "'../secret' is not a path inside the bundle");
  await throws(BundleError, () => loads(manifest((values) => (values["graphs"] = {}))), "are not those of the contract");
});

test("a module that is none, another's weights, and too much memory are refused", async () => {
  const loads = (name: string, change: (data: Buffer) => Buffer): Promise<Model> => Model.load(changed("texts/int8", { [name]: change }, true));
  await throws(EngineError, () => loads("model.wasm", () => Buffer.from("no module")), "model.wasm cannot be loaded");
  const empty = Buffer.from([0, 97, 115, 109, 1, 0, 0, 0]);
  await throws(EngineError, () => loads("model.wasm", () => empty), "edgernn did not write it");
  await throws(EngineError, () => loads("model.bin", flipped), "the weights is not the one that the module was written with");
  const scratch = (bytes: string) => (data: Buffer): Buffer => {
    const written = data.toString("latin1").replace(/"scratch": \d+, "weights": \d+/, (found) => `"scratch": ${bytes}`.padEnd(found.length));
    return Buffer.from(written, "latin1");
  };
  await throws(EngineError, () => loads("model.wasm", scratch("-1")), "scratch: -1 is not a whole number");
  await throws(EngineError, () => loads("model.wasm", scratch("8000000000")), "MiB of memory that the model needs");
});

test("a damaged or foreign snapshot is refused, and changes nothing", async () => {
  const model = await Model.load(changed("texts/int8", {}));
  const stream = await model.stream(new Sampler({ seed: 1 }));
  await stream.prefill("The fox");
  const before = stream.snapshot();
  const other = async (name: string): Promise<Uint8Array> => (await (await Model.load(changed(name, {}))).stream()).snapshot();
  for (const [data, words] of [
    [new Uint8Array(100), "these bytes are not a snapshot"],
    [before.slice(0, -1), "was cut or changed"],
    [Uint8Array.from(before, (byte, place) => (place === 300 ? byte ^ 1 : byte)), "was cut or changed"],
    [await other("texts/fp32"), "was taken at fp32 and the model is int8"],
    [await other("texts/bpe"), "was taken from a model of another run"],
  ] as const) {
    await throws(SnapshotError, () => stream.restore(data), words);
  }
  equal(stream.snapshot(), before);
  stream.restore(await other("texts/fp32"), { anyPrecision: true });
  equal(stream.steps, 0);
});

test("impossible settings are refused", async () => {
  const impossible: [Settings, string][] = [
    [{ temperature: 1e-9 }, "temperature 1e-9 is neither 0 nor"],
    [{ temperature: NaN }, "temperature NaN"],
    [{ topK: -1 }, "top_k -1"],
    [{ topP: 0 }, "top_p 0 is not above 0"],
    [{ minP: 2 }, "min_p 2"],
    [{ repetitionPenalty: 0 }, "repetition_penalty 0"],
    [{ seed: -1n }, "seed -1 is outside"],
    [{ seed: 0.5 }, "seed 0.5 is not a whole number"],
    [{ bias: [[0, Infinity]] }, "the bias Infinity for token 0"],
  ];
  for (const [settings, words] of impossible) await throws(ConfigError, () => new Sampler(settings), words);
  const model = await Model.load(changed("texts/int8", {}));
  await throws(ConfigError, () => model.stream(new Sampler({ bias: [[9999, 1]] })), "a bias is given for token 9999");
  const stream = await model.stream();
  await stream.prefill("The");
  await throws(ConfigError, () => stream.complete("", { maxTokens: -1 }), "max_tokens -1");
  await throws(ConfigError, () => stream.complete("", { stop: "" }), "a stop string is empty");
});

test("tensors, texts and tokens that do not fit are refused", async () => {
  const stream = await (await Model.load(changed("texts/int8", {}))).stream();
  await throws(StreamError, () => stream.decode().next(), "prefill a prompt first");
  await throws(UnknownTokenError, () => stream.prefill("ж"), 'the vocabulary has no "ж" (U+0436)');
  await throws(UnknownTokenError, () => stream.prefill("\ud800"), "cannot be written in UTF-8");
  await throws(ContractError, () => stream.prefill([9999]), "token 9999 is outside the vocabulary");
  await throws(ContractError, () => stream.step({}), "the input 'token' is missing");
  await throws(ContractError, () => stream.step({ token: tensor("int64", [1], [999]) }), "token holds 999, outside 0..");
  await throws(ContractError, () => stream.step({ token: tensor("int32", [1], [0]) }), "token has dtype int32");
  await throws(ContractError, () => stream.step({ token: tensor("int64", [2], [0, 0]) }), "token has shape (2)");
  equal(stream.steps, 0);
  await throws(TokenizerError, () => Tokenizer.fromJson("{}"), "the tokenizer cannot be read");
  await throws(FormatError, () => fromNpy(new Uint8Array(200), "x.npy"), "x.npy is not a .npy file");
});
