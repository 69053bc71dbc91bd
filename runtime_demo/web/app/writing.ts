/** A text that a model writes, of which any beginning can be gone back to. */
import { Sampler, suggest, UnknownTokenError, type Model, type Reason, type SampledToken, type Stream } from "../src/index.ts";
import { medianTime } from "./measures.ts";
import type { SamplerDefaults, Wish } from "./protocol.ts";
import { cellsOf } from "./sessions.ts";

const SPACING = 32; // tokens between two kept streams
const WORDS = 3;
const BATCH = 128; // steps that are timed together, since clocks of pages are coarse

export class Writing {
  readonly #model: Model;
  readonly #defaults: SamplerDefaults;
  #ids: number[] = []; // all that the stream has read, sampled tokens too
  readonly #kept: Stream[]; // forks of the stream after each multiple of SPACING tokens
  #stream: Stream;
  #after: Stream; // the stream at the end of the prompt
  #tokens: AsyncIterator<SampledToken, void> | null = null;

  /** origin: a new stream, or a restored one, after which the prompt is read. */
  constructor(model: Model, origin: Stream, defaults: SamplerDefaults) {
    this.#model = model;
    this.#defaults = defaults;
    this.#kept = [origin];
    this.#stream = this.#after = origin.fork(); // what is kept is never stepped
  }

  /**
   * Read a prompt, of which the part is kept that was read before, and be ready to continue it.
   *
   * Returns what the vocabulary lacks of the prompt, in words, and whether there is nothing to continue.
   */
  async begin(wish: Wish, turn: () => Promise<void>): Promise<{ lacking: string; empty: boolean }> {
    this.#tokens = null;
    const [ids, lacking] = this.#encode(wish.prompt);
    const common = wish.sampler === null ? 0 : commonLength(ids, this.#ids);
    this.#kept.length = Math.min(Math.floor(common / SPACING) + 1, this.#kept.length);
    const start = (this.#kept.length - 1) * SPACING;
    this.#stream = this.#kept.at(-1)!.fork();
    this.#ids = ids.slice(0, start);
    if (start > 0) await this.#stream.prefill([]); // an incomplete character before it is dropped
    for (const token of ids.slice(start)) {
      await this.#stream.prefill([token]);
      this.#record(token);
      await turn();
    }
    if (wish.sampler !== null) this.#sample(BigInt(wish.sampler.seed), wish.sampler.temperature);
    this.#after = this.#stream.fork();
    return { lacking, empty: this.#stream.logits === null };
  }

  /** The next piece of text, and why it is the last, or null. After the largest length, the text goes on. */
  async next(): Promise<{ text: string; ended: Reason | null }> {
    this.#tokens ??= this.#stream.tokens({ maxTokens: this.#defaults.max_tokens });
    const { value } = await this.#tokens.next();
    if (value) this.#record(value.token);
    const ended = value ? this.#stream.ended : "end";
    if (ended === "length") this.#tokens = null;
    return { text: value?.text ?? "", ended };
  }

  /** The state of the network. */
  cells(): Float32Array<ArrayBuffer> {
    return cellsOf(this.#stream);
  }

  /** The likeliest words after the prompt. */
  async words(): Promise<string[]> {
    return (await suggest(this.#after, WORDS)).map((word) => word.text);
  }

  /** The stream, which has read all that was written. */
  get stream(): Stream {
    return this.#stream;
  }

  /** The time of a step in microseconds: the median over batches of steps. */
  async measure(turn: () => Promise<void>): Promise<number> {
    const stream = this.#stream.fork();
    const tokens = new Array<number>(BATCH).fill(this.#ids.at(-1) ?? 0);
    return (await medianTime(() => stream.prefill(tokens), turn)) / BATCH;
  }

  #encode(prompt: string): [number[], string] {
    const tokenizer = this.#model.tokenizer!;
    try {
      return [tokenizer.encode(prompt), ""];
    } catch (error) {
      if (!(error instanceof UnknownTokenError)) throw error;
      return [tokenizer.encode(prompt, { unknown: "skip" }), error.message];
    }
  }

  #record(token: number): void {
    this.#ids.push(token);
    if (this.#ids.length % SPACING === 0) this.#kept.push(this.#stream.fork());
  }

  /** Draw from the beginning of a seed. A sampler of the same seed would go on with the stream's generator. */
  #sample(seed: bigint, temperature: number): void {
    const { top_k: topK, top_p: topP, min_p: minP, repetition_penalty: repetitionPenalty } = this.#defaults;
    const sampler = new Sampler({ temperature, topK, topP, minP, repetitionPenalty, seed });
    this.#stream.sampler = sampler.with({ seed: seed ^ 1n });
    this.#stream.sampler = sampler;
  }
}

function commonLength(one: readonly number[], other: readonly number[]): number {
  const differs = one.findIndex((token, place) => token !== other[place]);
  return differs < 0 ? one.length : differs;
}
