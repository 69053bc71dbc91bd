/**
 * The speed of a bundle in Node and in Chromium, and the memory that 100,000 tokens take, as a JSON object.
 *
 *     node --expose-gc dist/test/speed.js FOLDER    FOLDER holds a bundle, `bundle`
 *
 * Times are microseconds, the smallest of many bursts.
 */
import { build } from "esbuild";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Model, Sampler } from "../src/index.ts";
import { fromDirectory } from "../src/node.ts";
import { missing, open, serve } from "./browsers.ts";
import { measure, type Times } from "./timing.ts";

const TOKENS = 100_000;

async function inChromium(folder: string): Promise<Times> {
  const entry = fileURLToPath(new URL("../../test/timing.ts", import.meta.url));
  const bundled = await build({ entryPoints: [entry], bundle: true, format: "iife", write: false, target: "es2022" });
  const { server, url } = await serve(bundled.outputFiles[0].text, folder);
  const page = await open("chromium", url);
  try {
    return await page.evaluate<Times>("measureBundle('/files/bundle/')");
  } finally {
    await page.close();
    server.close();
  }
}

/** By how many bytes the heap grows while so many tokens are decoded, after as many before. */
async function growth(model: Model): Promise<number> {
  const stream = await model.stream(new Sampler({ temperature: 0.8, topK: 40, seed: 1 }));
  await stream.prefill([1]);
  const used: number[] = [];
  for (let round = 0; round < 2; round++) {
    for await (const _ of stream.decode({ maxTokens: TOKENS }));
    globalThis.gc?.();
    const { heapUsed, external, arrayBuffers } = process.memoryUsage();
    used.push(heapUsed + external + arrayBuffers);
  }
  return used[1] - used[0];
}

const folder = process.argv[2] ?? ".";
const files = fromDirectory(join(folder, "bundle"));
const figures = {
  node: await measure(files),
  chromium: missing("chromium").length > 0 ? null : await inChromium(folder),
  growth: await growth(await Model.load(files)),
};
console.log(JSON.stringify(figures));
