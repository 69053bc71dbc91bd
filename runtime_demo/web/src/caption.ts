/** Captions of pictures: a stream that begins with a picture writes its description. */
import { tensor, type Tensor, type Tensors } from "./arrays.ts";
import { beamSearch, type Candidate } from "./beam.ts";
import { BATCH, type GraphSpec, type TensorSpec } from "./contract.ts";
import { StreamError } from "./errors.ts";
import type { Model } from "./model.ts";
import { LARGEST_SIDE, resized, shrunk } from "./pictures.ts";
import { Generator, Sampler, logProbabilities } from "./sampling.ts";
import type { SampledToken, Stream } from "./stream.ts";

export const MAX_TOKENS = 20; // of a caption, by default
export const LENGTH_PENALTY = 0.7;

/**
 * A token of a caption. attention: the weights (rows · columns) of the cells of a square grid over the picture from which
 * the token was predicted, or null. stream: has read all tokens before this one.
 */
export interface CaptionToken extends SampledToken {
  readonly attention: Tensor | null;
  readonly stream: Stream;
}

/** A model that describes pictures, which are tensors of bytes (height, width, 3). */
export class Captioner {
  readonly model: Model;
  /** The largest side of a picture, in pixels, that the model takes. */
  readonly largestSide: number;
  /** Rows and columns of the grid of the attention; null for a model without it. */
  readonly grid: number | null;
  readonly #image: TensorSpec;
  readonly #text: GraphSpec;
  readonly #token: TensorSpec;
  readonly #attention: TensorSpec | null;
  readonly #start: number;

  /** Throws StreamError for a model that does not describe pictures. */
  constructor(model: Model) {
    const images = model.contract.graphs.flatMap((graph) => graph.inputOf("image") ?? []);
    const text = model.contract.graphs.find((graph) => graph.inputOf("token") && graph.outputOf("next-token"));
    const start = model.tokenizer?.startId ?? null;
    if (images.length === 0 || !text || start === null) {
      throw new StreamError(`the bundle's task is ${model.manifest.task}, and it does not describe pictures`);
    }
    this.model = model;
    [this.#image, this.#text, this.#token, this.#start] = [images[0], text, text.inputOf("token")!, start];
    const limits = Object.values(this.#image.largest);
    this.largestSide = limits.length > 0 ? Math.min(...limits) : LARGEST_SIDE;
    const attention = text.outputOf("attention");
    const side = attention ? Math.sqrt(Number(attention.axes.at(-1))) : NaN;
    this.grid = Number.isInteger(side) ? side : null;
    this.#attention = this.grid === null ? null : attention;
  }

  /** A picture that the model takes, as CONTRACT.md says: not too large, and resized if the model takes one size only. */
  prepared(picture: Tensor): Tensor {
    const small = shrunk(picture, this.largestSide);
    const [height, width] = this.#image.axes.filter((axis) => axis !== BATCH);
    return typeof height === "number" && typeof width === "number" ? resized(small, height, width) : small;
  }

  /** A stream that describes a picture, before its first token. sampler: by default, the likeliest token is taken. */
  async stream(picture: Tensor, sampler: Sampler = new Sampler({ temperature: 0 })): Promise<Stream> {
    const stream = await this.#begin(picture, sampler);
    await stream.prefill([this.#start]);
    return stream;
  }

  /** Yields the likeliest caption, token by token. */
  async *tokens(picture: Tensor, { maxTokens = MAX_TOKENS } = {}): AsyncGenerator<CaptionToken, void, undefined> {
    const { neverSampled, endId } = this.model.tokenizer!;
    const [greedy, unused] = [new Sampler({ temperature: 0 }), new Generator(0n)];
    let last: number | null = null;
    const next = (stream: Stream): number => (last = greedy.draw(stream.logits!.data, unused, [], neverSampled));
    for await (const each of this.#follow(picture, next)) {
      yield each;
      if (last === endId || --maxTokens === 0) return;
    }
  }

  /** Yields the tokens of a known caption, as `tokens` does. */
  async *reread(picture: Tensor, tokens: readonly number[]): AsyncGenerator<CaptionToken, void, undefined> {
    let place = 0;
    yield* this.#follow(picture, () => tokens[place++] ?? null);
  }

  /** The best captions that a beam of a width finds, best first. */
  async candidates(picture: Tensor, { width = 1, maxTokens = MAX_TOKENS } = {}): Promise<Candidate[]> {
    return beamSearch(await this.stream(picture), { width, maxTokens, lengthPenalty: LENGTH_PENALTY });
  }

  /** The input with which the stream of a caption reads a token. */
  read(token: number): Tensors {
    const { name, dtype } = this.#token;
    return { [name]: tensor(dtype, [1], [token]) };
  }

  /** Steps over a caption. next: chooses the token that follows what the stream has read; null ends the caption. */
  async *#follow(picture: Tensor, next: (stream: Stream) => number | null): AsyncGenerator<CaptionToken, void, undefined> {
    const tokenizer = this.model.tokenizer!;
    const stream = await this.#begin(picture, new Sampler({ temperature: 0 }));
    const decoder = tokenizer.decoder();
    for (let read: number | null = this.#start; read !== null; ) {
      const attention = this.#weights(await stream.step(this.read(read)));
      read = next(stream);
      if (read === null) return;
      const logProbability = logProbabilities(stream.logits!.data)[read];
      yield { token: read, text: read === tokenizer.endId ? "" : decoder.push(read), logProbability, attention, stream };
    }
  }

  #begin(picture: Tensor, sampler: Sampler): Promise<Stream> {
    const image = this.prepared(picture);
    const inputs: Tensors = { [this.#image.name]: { ...image, shape: [1, ...image.shape] } };
    return this.model.stream(sampler, { inputs, graph: this.#text.name });
  }

  #weights(outputs: Tensors): Tensor | null {
    if (this.#attention === null) return null;
    const { dtype, data } = outputs[this.#attention.name];
    return { dtype, shape: [data.length], data };
  }
}
