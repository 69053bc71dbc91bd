/** What a browser runs of the conformance test: `conformance(machine, simd)` returns what went wrong, by case. */
import { cases, type World } from "./conformance.ts";

const world: World = {
  async read(path) {
    const response = await fetch(`/files/${path}`);
    if (!response.ok) throw new Error(`${path}: ${response.status}`);
    return new Uint8Array(await response.arrayBuffer());
  },
  async write(path, data) {
    const response = await fetch(`/files/${path}`, { method: "PUT", body: data as Uint8Array<ArrayBuffer> });
    if (!response.ok) throw new Error(`${path}: ${response.status}`);
  },
};

async function conformance(machine: string, simd: boolean): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for (const { name, run } of cases(machine, simd)) {
    found[name] = await run(world).then(() => "", (error: Error) => error.message || String(error));
  }
  return found;
}

Object.assign(globalThis, { conformance });
