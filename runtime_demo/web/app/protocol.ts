/** What the page and its worker say to each other. */
import type { Guess, Heard, Line, Point, Reason } from "../src/index.ts";

export type { Line, Point };

/** What the page is told about the site, in index.html. */
export interface Site {
  title: string;
  /** The address of the worker's code. */
  worker: string;
  /** The address of the code that takes samples from the microphone; null if no bundle listens. */
  microphone: string | null;
  /** The addresses of onnxruntime and its module; null if no bundle needs it. */
  onnx: { code: string; module: string } | null;
  /** How texts are sampled unless the user chooses otherwise; the values are those of `edgernn run`. */
  sampler: SamplerDefaults;
  /** How pictures are described, and with which temperatures is drawn, unless the user chooses otherwise. */
  caption: { beam: number; max_tokens: number };
  drawing: { temperature: number };
  strokes: { temperature: number };
  bundles: BundleInfo[];
}

/** What the page shows of a bundle. */
export type ViewName = "text" | "photo" | "draw" | "look" | "strokes" | "paint" | "listen";

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
  view: ViewName;
  target: "wasm" | "onnx";
  /** Of the source network's weights and contract, by which a snapshot finds its bundle. */
  digest: string;
  precision: string;
  /** What its text begins with on the first visit; empty for other bundles. */
  prompt: string;
  /** The seed of its first text or drawing, a decimal number of 64 bits. */
  seed: string;
  /** The address of the picture that it describes or looks at first, or null. */
  example: string | null;
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
  /** Take a snapshot. shown: the number of steps that the user has seen; by default all that were taken. */
  | { kind: "save"; shown?: number }
  | { kind: "restore"; bytes: ArrayBuffer; name: string }
  /** What has been restored takes the place of what was there. */
  | { kind: "adopt" }
  /** Go on in the view of the bundle of the snapshot that has been restored. */
  | { kind: "resume" }
  | { kind: "measure" }
  /** Describe a picture; null is the one that was given last, or else the example. */
  | { kind: "describe"; picture: Blob | null; beam: number }
  /** Begin a drawing. label: null for a model without classes. over: on the present canvas. */
  | { kind: "draw"; label: string | null; seed: string; temperature: number; over: boolean }
  | { kind: "stroke" }
  /** Make pixels at least as bright as these levels (height · width), from 0 to 1. */
  | { kind: "ink"; levels: Float32Array }
  /** Look at a picture, at the levels (height · width) of what the user has drawn, or, for null, at the example. */
  | { kind: "look"; picture: Picture | Float32Array | null; invert: boolean }
  /** Begin a drawing of strokes, with the points that it has already. */
  | { kind: "sketch"; seed: string; temperature: number; given: readonly Point[] }
  /** Draw the next points: so many, unless the drawing ends before. */
  | { kind: "points"; count: number }
  /** Read a line that somebody drew. */
  | { kind: "line"; line: Line }
  /** Begin to paint a picture; null is the example. */
  | { kind: "paint"; picture: Picture | null }
  | { kind: "strokes"; count: number }
  /** Begin to listen to samples with this rate, of which each request "sound" brings some. level: of silence. */
  | { kind: "listen"; rate: number; level: number }
  | { kind: "sound"; samples: Float32Array }
  /** No further samples come. */
  | { kind: "hush" }
  /** Hear a recording; for null, only load the model. */
  | { kind: "hear"; recording: Recording | null }
);

/** What was recorded: a WAV file, or the samples of each channel with their rate, which the browser has decoded. */
export type Recording = { name: string } & ({ wav: Blob } | { channels: Float32Array<ArrayBuffer>[]; rate: number });

/** Left, top, right and bottom. */
export type Box = readonly [number, number, number, number];

/**
 * How far a drawing of strokes is. at: where the pen is, from the beginning of the drawing. draws: whether it draws on
 * from there. ahead: the box of all that the network will add. points, longest: the number of points, and of the longest
 * drawing. finished: whether nothing follows. scale: of the offsets.
 */
export interface Progress {
  at: readonly [number, number];
  draws: boolean;
  ahead: Box;
  points: number;
  longest: number;
  finished: boolean;
  scale: number;
}

/** A picture for a canvas: RGBA bytes. */
export interface Pixels {
  data: Uint8ClampedArray<ArrayBuffer>;
  height: number;
  width: number;
}

/** A picture in a file, or as a network has seen it. */
export type Picture = Blob | Pixels;

/** A part of a caption. attention: of the cells of a square grid, from which the part was predicted, or null. */
export interface CaptionPart {
  text: string;
  attention: Float32Array | null;
}

export type Answer = { generation: number } & (
  | { kind: "loading"; loaded: number; name: string }
  /** The prompt has been read. lacking: what the vocabulary lacks of it, in words. empty: whether nothing was left. */
  | { kind: "read"; lacking: string; empty: boolean }
  /** A piece of text, and the state of the network after it. ended: why the text ends here, or null. */
  | { kind: "frame"; text: string; cells: Float32Array; ended: Reason | null }
  | { kind: "suggestions"; words: string[] }
  | { kind: "saved"; name: string; bytes: ArrayBuffer; steps: number }
  /** A snapshot can be gone on from. seen: the picture that its network sees, or null. */
  | { kind: "restored"; name: string; bundle: number; steps: number; seed: string; temperature: number; seen: Pixels | null }
  | { kind: "picture"; pixels: Pixels }
  /** The next part of the caption of the picture. */
  | { kind: "captioned"; part: CaptionPart; cells: Float32Array }
  /** The caption has ended. candidates: of a beam, the best first; a single one without it. */
  | { kind: "described"; candidates: { text: string; score: number }[] }
  /** Can draw: the size of the canvas, the classes, that of the present drawing, the steps of one, and whether ink is taken. */
  | { kind: "canvas"; height: number; width: number; labels: readonly string[]; label: string | null; steps: number; takesInk: boolean }
  /** The canvas (height · width) after a step, and the window, which is null when a drawing is resumed. */
  | { kind: "drawn"; levels: Float32Array; box: readonly number[] | null; step: number; cells: Float32Array }
  /** The picture that the network sees, on a canvas of its size. */
  | { kind: "seen"; pixels: Pixels }
  | { kind: "glimpse"; boxes: readonly (readonly number[])[]; label: string; probability: number; number: number; last: boolean; cells: Float32Array }
  /** A drawing of strokes has begun, has been resumed, or has been added to. */
  | ({ kind: "sketched" } & Progress)
  | { kind: "points"; points: readonly Point[]; finished: boolean; cells: Float32Array }
  /** A painting has begun, or has been resumed. photo: small. strokes: their number in training. */
  | { kind: "canvassed"; photo: Pixels; strokes: number }
  /** error: the squared error, as a share of that of the mean colour. */
  | { kind: "painted"; pixels: Pixels; strokes: number; error: number; cells: Float32Array }
  /** Can listen. tags: every moment has a label, and not each sound as a whole. */
  | { kind: "listener"; labels: readonly string[]; tags: boolean }
  /** A piece of sound was read, which ended at `time` in seconds. level: its loudest step's. guess: null for none. */
  | { kind: "heard"; time: number; level: number; guess: Guess | null; begun: readonly Heard[]; ended: readonly Heard[]; cells: Float32Array<ArrayBuffer> }
  /** The sound has ended. clipped: a recording is too loud for its file. */
  | { kind: "silence"; clipped: boolean }
  /** refused: something that the user gave cannot be used, and all is as before. */
  | { kind: "refused"; message: string }
  | { kind: "measured"; microseconds: number; simd: boolean; bytes: number }
  /** failed: the model cannot run. lost: because the connection was lost, so that a later try may succeed. */
  | { kind: "failed"; message: string; lost: boolean }
);

/** A message before it has its generation. */
export type Body<Message> = Message extends unknown ? Omit<Message, "generation"> : never;
