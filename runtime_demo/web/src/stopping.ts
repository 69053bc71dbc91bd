/** Stop criteria of decoding: the largest number of tokens, stop strings, and the end token. */
import { ConfigError } from "./errors.ts";

/** Why a text ended. */
export type Reason = "length" | "stop" | "end";

/** Limits of a decoding; without any, it goes on until the end token. */
export interface Limits {
  maxTokens?: number | undefined;
  stop?: string | readonly string[] | undefined;
}

/** Passes text on until it ends, and holds back text that may be the beginning of a stop string. */
export class StopCriteria {
  reason: Reason | null = null;
  readonly #stops: readonly string[];
  readonly #endId: number | null;
  #left: number;
  #held = "";

  /** Throws ConfigError for an empty stop string or a `maxTokens` that is no whole number of at least 0. */
  constructor({ maxTokens = Infinity, stop = [] }: Limits, endId: number | null) {
    this.#stops = typeof stop === "string" ? [stop] : stop;
    if (this.#stops.includes("")) throw new ConfigError("a stop string is empty: it would stop before the first character");
    if (!(maxTokens >= 0 && (Number.isInteger(maxTokens) || maxTokens === Infinity))) {
      throw new ConfigError(`max_tokens ${maxTokens} is no whole number of at least 0`);
    }
    this.#left = maxTokens;
    this.#endId = endId;
    if (maxTokens === 0) this.reason = "length";
  }

  /** The text that is certain after a token, which completes `text`, without any part of a stop string. */
  push(token: number, text: string): string {
    if (token === this.#endId) {
      this.reason = "end";
      return this.#held;
    }
    const shown = this.#stops.length > 0 ? this.#untilStop(text) : text;
    this.#left--;
    if (this.#left > 0 || this.reason) return shown;
    this.reason = "length";
    return shown + this.#held;
  }

  #untilStop(text: string): string {
    const held = this.#held + text;
    const found = this.#stops.map((stop) => held.indexOf(stop)).filter((at) => at >= 0);
    if (found.length > 0) {
      this.reason = "stop";
      return held.slice(0, Math.min(...found));
    }
    const begun = Math.max(...this.#stops.map((stop) => begunWith(held, stop)));
    this.#held = held.slice(held.length - begun);
    return held.slice(0, held.length - begun);
  }
}

/** The length of the longest ending of `text` that begins `stop`. */
function begunWith(text: string, stop: string): number {
  for (let size = Math.min(text.length, stop.length - 1); size > 0; size--) {
    if (text.endsWith(stop.slice(0, size))) return size;
  }
  return 0;
}
