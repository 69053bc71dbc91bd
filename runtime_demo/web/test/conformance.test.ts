/** The conformance test in Node, with each of the two modules of every bundle. */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { cases, type World } from "./conformance.ts";

const folder = process.env["EDGERNN_WEB"] ?? "../../build/web";

const world: World = {
  read: async (path) => new Uint8Array(await readFile(join(folder, path))),
  async write(path, data) {
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await writeFile(join(folder, path), data);
  },
};

for (const simd of [true, false]) {
  const machine = simd ? "node" : "node-base";
  for (const { name, run } of cases(machine, simd)) test(`${machine}: ${name}`, () => run(world));
}
