// Builds the code of the page into the folder that is named: `make web` names edgernn/page/app.
import { copyFileSync, mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const app = dirname(fileURLToPath(import.meta.url));
const out = process.argv[2];
mkdirSync(out, { recursive: true });
await build({
  entryPoints: ["main.ts", "worker.ts", "worklet.ts", "onnx.ts", "sw.ts", "page.css"].map((name) => join(app, name)),
  outdir: out,
  bundle: true,
  minify: true,
  format: "esm",
  target: ["chrome111", "safari16.4", "firefox114"], // SIMD128, module workers and service workers
  legalComments: "eof", // the licence of onnxruntime
  logLevel: "warning",
});
copyFileSync(join(app, "index.html"), join(out, "index.html"));
copyFileSync(fileURLToPath(import.meta.resolve("onnxruntime-web/ort-wasm-simd-threaded.wasm")), join(out, "onnx.wasm"));
