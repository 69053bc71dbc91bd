/** A view shows what a bundle does; the shell is the page around it. */
import type { Answer, Body, BundleInfo, Request } from "./protocol.ts";

export interface View {
  /** Where the page says what is wrong. */
  readonly home: HTMLElement;

  /** Begin with a bundle. */
  open(bundle: BundleInfo): void;

  /** Take a file that the user opens or drops onto the page, and that is no snapshot. */
  take(file: File): Promise<void>;

  /** Called at each animation frame. now: a time in milliseconds. */
  frame(now: number): void;

  /** Show an answer of the worker. */
  hear(answer: Answer): void;

  /** Do nothing more by itself. */
  stop(): void;
}

export interface Shell {
  /** Whether the user asks for less motion. */
  readonly calm: boolean;

  ask(request: Body<Request>, transfer?: Transferable[]): void;

  /** From now on, answers to what was asked before are dropped, and the work on it ends. */
  renew(): void;

  /** Begin the present bundle anew. */
  reopen(): void;

  /** Take a file that the user opens or drops onto the page: go on from a snapshot, or hand anything else to the view. */
  take(file: File): Promise<void>;

  showCells(values: Float32Array): void;

  say(text: string): void;

  /** Say what is awaited, until it is there. */
  awaiting(text: string): void;

  /** What was awaited is there: take back what was said about it. */
  loaded(): void;

  /** There is a result: time a step, and keep the site for use offline. */
  settle(): void;
}
