/** The conformance test of bundles in ONNX, in onnxruntime for the web. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import * as ort from "onnxruntime-web/wasm";
import { EngineError, Model, hexadecimal, onnxLoader, sha256, type Files } from "../src/index.ts";
import { fromDirectory } from "../src/node.ts";
import { golden, texts, throws, type Expected, type Load, type World } from "./conformance.ts";

const folder = process.env["EDGERNN_WEB"] ?? "../../build/web";
const exported = fileURLToPath(new URL("../../../../export", import.meta.url));

ort.env.wasm.numThreads = 1;

const engines = [onnxLoader(ort)];
const load: Load = (world, path) => Model.load((name) => world.read(`${path}/${name}`), { engines });

function worldOf(root: string): World {
  return {
    read: async (path) => new Uint8Array(await readFile(join(root, path))),
    write: () => Promise.reject(new Error("nothing is written")),
  };
}

for (const { name, run } of golden(load)) test(`onnx: ${name}`, () => run(worldOf(exported)));

test("onnx: 300 tokens are those of Python over onnxruntime at fp32, fp16 and int8", async () => {
  const world = worldOf(folder);
  const { onnx } = JSON.parse(new TextDecoder().decode(await world.read("expected.json"))) as Expected;
  await texts(world, load, onnx, 1e-3);
});

test("a graph that is none is refused", async () => {
  const text = new TextEncoder();
  const whole = fromDirectory(join(exported, "golden", "looker"));
  const damaged: Files = async (name) => (name === "look.onnx" ? text.encode("no graph") : whole(name));
  const sealed: Files = async (name) => {
    if (name !== "bundle.json") return damaged(name);
    const manifest = JSON.parse(new TextDecoder().decode(await whole(name))) as { files: Record<string, object> };
    manifest.files["look.onnx"] = { bytes: 8, sha256: hexadecimal(sha256(text.encode("no graph"))) };
    return text.encode(JSON.stringify(manifest));
  };
  await throws(EngineError, () => Model.load(sealed, { engines }), "graph look cannot be loaded");
});
