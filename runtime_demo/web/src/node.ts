/** What the runtime needs in Node alone. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Files } from "./bundle.ts";

/** The files of the bundle in a directory. */
export function fromDirectory(directory: string): Files {
  return async (name) => new Uint8Array(await readFile(join(directory, name)));
}
