/** What the page and its worker say to each other. */
import type { Reason } from "../src/index.ts";

/** What the page is told about the site, in index.html. */
export interface Site {
  title: string;
  /** The address of the worker's code. */
  worker: string;
  /** How texts are sampled unless the user chooses otherwise; the values are those of `edgernn run`. */
  sampler: SamplerDefaults;
  bundles: BundleInfo[];
}

export interface SamplerDefaults {
  temperature: number;
  top_k: number;
  top_p: number;
  min_p: number;
  repetition_penalty: number;
  /** How many tokens are written before the text pauses. */
  max_tokens: number;
}

export interface BundleInfo {
  name: string;
  /** Of the source network's weights and contract, by which a snapshot finds its bundle. */
  digest: string;
  precision: string;
  /** What its text begins with on the first visit, and the seed of that text, a decimal number of 64 bits. */
  prompt: string;
  seed: string;
  /** The address of each file of the bundle, by its name there. */
  files: Record<string, string>;
}

/** What is to be written. The sampler is null for a restored stream, which goes on with its own. */
export interface Wish {
  prompt: string;
  sampler: { seed: string; temperature: number } | null;
}

/**
 * Every request has a generation. A request of a new generation ends the work on all older ones, and answers of older
 * generations are dropped.
 */
export type Request = { generation: number } & (
  | { kind: "start"; site: Site; folder: string }
  | { kind: "open"; bundle: number }
  | { kind: "write"; wish: Wish }
  | { kind: "frame"; tokens: number }
  | { kind: "suggest" }
  | { kind: "save" }
  | { kind: "restore"; bytes: ArrayBuffer; name: string }
  | { kind: "measure" }
);

export type Answer = { generation: number } & (
  | { kind: "loading"; loaded: number; name: string }
  /** The prompt has been read. lacking: what the vocabulary lacks of it, in words. empty: whether nothing was left. */
  | { kind: "read"; lacking: string; empty: boolean }
  /** A piece of text, and the state of the network after it. ended: why the text ends here, or null. */
  | { kind: "frame"; text: string; cells: Float32Array; ended: Reason | null }
  | { kind: "suggestions"; words: string[] }
  | { kind: "saved"; bytes: ArrayBuffer; steps: number }
  | { kind: "restored"; name: string; bundle: number; steps: number; seed: string; temperature: number }
  /** refused: something that the user gave cannot be used, and all is as before. */
  | { kind: "refused"; message: string }
  | { kind: "measured"; microseconds: number; simd: boolean; bytes: number }
  /** failed: the model cannot run. lost: because the connection was lost, so that a later try may succeed. */
  | { kind: "failed"; message: string; lost: boolean }
);
