/** onnxruntime for the web, which the worker imports if a bundle of the target onnx is opened. */
import * as ort from "onnxruntime-web/wasm";
import type { Ort } from "../src/index.ts";

/** onnxruntime on one thread. module: the content of its WebAssembly file. */
export function ready(module: Uint8Array<ArrayBuffer>): Ort {
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmBinary = module.buffer;
  return ort;
}
