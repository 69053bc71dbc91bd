/** A bundle: its manifest, and its files, which are checked against the manifest before they are used. */
import { contractFromJson, isFromFile, type Contract } from "./contract.ts";
import { BundleError, ContractError, FormatError } from "./errors.ts";
import { integer, items, mapping, parse, record, text, type Json, type JsonObject } from "./records.ts";
import { digestOf, hexadecimal } from "./sha256.ts";

const FORMAT = 1;
const MANIFEST = "bundle.json";
const KEYS = ["format", "task", "target", "precision", "digest", "contract", "graphs", "files", "golden"];
const FOR_PEOPLE = ["parity", "weights", "provenance"];
const FILE = /^(?=.{1,200}$)\w[\w.-]*(\/\w[\w.-]*)*$/;

/** Returns the content of a file of a bundle, by its name. It rejects if there is none. */
export type Files = (name: string) => Promise<Uint8Array>;

/** The files of the bundle in a folder of a web server. */
export function fromUrl(folder: string | URL): Files {
  const base = new URL(folder, globalThis.location?.href);
  if (!base.pathname.endsWith("/")) base.pathname += "/";
  return async (name) => {
    const response = await fetch(new URL(name, base));
    if (!response.ok) throw new Error(`${response.status} ${response.statusText}`);
    return new Uint8Array(await response.arrayBuffer());
  };
}

/** The content of `bundle.json`, as far as a runtime reads it. */
export interface Manifest {
  readonly task: string;
  readonly target: string;
  readonly precision: string;
  readonly digest: string;
  readonly contract: Contract;
  /** The file of each graph. */
  readonly graphs: Readonly<Record<string, string>>;
  /** The size and the SHA-256 of each file. */
  readonly files: Readonly<Record<string, { readonly bytes: number; readonly sha256: string }>>;
  readonly golden: JsonObject;
}

/** A bundle whose manifest is read, and whose files are read and checked when they are asked for. */
export class Bundle {
  readonly manifest: Manifest;
  #files: Files;

  private constructor(manifest: Manifest, files: Files) {
    this.manifest = manifest;
    this.#files = files;
  }

  /** Reads the manifest. Throws BundleError for a missing or malformed one, or another format. */
  static async load(files: Files): Promise<Bundle> {
    try {
      return new Bundle(manifestFromJson(await read(files, MANIFEST)), files);
    } catch (error) {
      if (error instanceof FormatError || error instanceof ContractError) throw new BundleError(error.message);
      throw error;
    }
  }

  /** Whether the bundle has a file. */
  has(name: string): boolean {
    return Object.hasOwn(this.manifest.files, name);
  }

  /** The content of a file. Throws BundleError if it is missing, or its size or SHA-256 is another. */
  async file(name: string): Promise<Uint8Array> {
    if (!this.has(name)) throw new BundleError(`${MANIFEST} does not list ${name}`);
    const expected = this.manifest.files[name];
    const data = await read(this.#files, name);
    if (data.length !== expected.bytes) {
      throw new BundleError(`${name} has ${data.length} bytes, but ${MANIFEST} says ${expected.bytes}: it was cut or changed`);
    }
    if (hexadecimal(await digestOf(data)) !== expected.sha256) {
      throw new BundleError(`${name} was changed: its SHA-256 is not the one in ${MANIFEST}`);
    }
    return data;
  }

  /** The text of a file, or null if the bundle has none of this name. */
  async text(name: string): Promise<string | null> {
    if (!this.has(name)) return null;
    try {
      return new TextDecoder("utf-8", { fatal: true }).decode(await this.file(name));
    } catch (error) {
      throw error instanceof TypeError ? new BundleError(`${name} is not UTF-8`) : error;
    }
  }

  /** The names in a list such as `labels.json`, or null if the bundle has none. Throws BundleError for a damaged list. */
  names(name: string): Promise<readonly string[] | null> {
    return this.json(name, (value) => items(value, name).map((each) => text(each, name)));
  }

  /** What `from` reads in the JSON of a file, or null if the bundle has none of this name. Throws BundleError for a damaged one. */
  async json<Value>(name: string, from: (value: Json) => Value): Promise<Value | null> {
    if (!this.has(name)) return null;
    try {
      return from(parse(await this.file(name), name));
    } catch (error) {
      throw error instanceof FormatError ? new BundleError(error.message) : error;
    }
  }
}

async function read(files: Files, name: string): Promise<Uint8Array> {
  try {
    return await files(name);
  } catch (error) {
    throw new BundleError(`the file ${name} cannot be read: ${(error as Error).message}`);
  }
}

function manifestFromJson(data: Uint8Array): Manifest {
  const version = mapping(parse(data, MANIFEST), MANIFEST)["format"];
  if (version !== FORMAT) {
    throw new FormatError(`${MANIFEST} has format ${JSON.stringify(version)}; this runtime reads format ${FORMAT}: export it again`);
  }
  const values = record(parse(data, MANIFEST), MANIFEST, [...KEYS, ...FOR_PEOPLE]);
  const files = Object.entries(mapping(values["files"], "files")).map(([name, value]) => {
    if (!FILE.test(name)) throw new FormatError(`'${name.slice(0, 100)}' is not a path inside the bundle`);
    const each = record(value, `file ${name}`, ["bytes", "sha256"]);
    return [name, { bytes: integer(each["bytes"], `size of ${name}`), sha256: text(each["sha256"], `digest of ${name}`) }] as const;
  });
  const graphs = Object.entries(mapping(values["graphs"], "graphs"));
  const manifest: Manifest = {
    task: text(values["task"], "task"),
    target: text(values["target"], "target"),
    precision: text(values["precision"], "precision"),
    digest: text(values["digest"], "digest"),
    contract: contractFromJson(values["contract"]),
    graphs: Object.fromEntries(graphs.map(([name, file]) => [name, text(file, `the file of graph ${name}`)])),
    files: Object.fromEntries(files),
    golden: mapping(values["golden"], "golden"),
  };
  const names = manifest.contract.graphs.map((graph) => graph.name);
  if (names.length !== graphs.length || names.some((name) => !Object.hasOwn(manifest.graphs, name))) {
    throw new FormatError("the graphs that have files are not those of the contract");
  }
  return manifest;
}

/** The names of the files with which states of the bundle begin. */
export function initialFiles(contract: Contract): string[] {
  const states = contract.graphs.flatMap((graph) => graph.states);
  return states.flatMap((state) => (isFromFile(state.initial) ? [state.initial.file] : []));
}
