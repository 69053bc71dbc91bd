/** A stream: one running sequence, which owns its state. */
import { copies, copy, tensor, type Tensor, type Tensors } from "./arrays.ts";
import { BATCH, check, checkTensor, shapeOf, type GraphSpec, type TensorSpec } from "./contract.ts";
import type { Cursor } from "./engine.ts";
import { ConfigError, ContractError, SamplingError, SnapshotError, StreamError } from "./errors.ts";
import type { Model, TextTensors } from "./model.ts";
import { START, drawPoint } from "./points.ts";
import { Generator, Sampler, logProbabilities } from "./sampling.ts";
import { fromSnapshot, toBytes } from "./snapshot.ts";
import { StopCriteria, type Limits, type Reason } from "./stopping.ts";
import type { TokenDecoder, Tokenizer, Unknown } from "./tokenizer.ts";

/** A decoded token, the text that it completes, and the logarithm of the probability that the model gave it. */
export interface SampledToken {
  readonly token: number;
  readonly text: string;
  readonly logProbability: number;
}

/** One running sequence of a model, created by `Model.stream`. Its methods must be awaited one after another. */
export class Stream {
  readonly model: Model;
  readonly graph: string;
  readonly spec: GraphSpec;
  /** Why the last decoding ended. */
  ended: Reason | null = null;
  readonly #text: TextTensors;
  readonly #scores: TensorSpec | null; // the output that predicts the next token or point
  #conditions: Tensors;
  #initial: Tensors;
  #cursor: Cursor;
  #logits: Tensor | null = null;
  #sampler: Sampler;
  #seed: bigint;
  #generator: Generator;
  #recent: number[] = [];
  #steps = 0;
  #decoder: TokenDecoder | null;
  #busy = false;

  private constructor(model: Model, sampler: Sampler, graph: string, conditions: Tensors, initial: Tensors) {
    this.model = model;
    this.graph = graph;
    this.spec = model.contract.graph(graph);
    this.#text = model.textOf(graph);
    this.#scores = this.#text.nextToken ?? this.spec.outputOf("next-point");
    this.#conditions = conditions;
    this.#initial = initial;
    this.#cursor = this.#newCursor(initial);
    this.#sampler = this.#fitting(sampler);
    this.#seed = sampler.seed ?? randomSeed();
    this.#generator = new Generator(this.#seed);
    this.#decoder = this.#text.tokenizer?.decoder() ?? null;
  }

  /** A new stream. `Model.stream` calls this. */
  static begin(model: Model, sampler: Sampler, graph: string, conditions: Tensors, initial: Tensors): Stream {
    return new Stream(model, sampler, graph, conditions, initial);
  }

  /** A copy of the state after the last step. The stream continues from another state if it is set. */
  get state(): Tensors {
    this.#checkIdle();
    return this.#cursor.state();
  }

  /** Throws ContractError for a state that does not fit. */
  set state(state: Tensors) {
    this.#checkIdle();
    check("state", this.spec.states, state, new Map([[BATCH, 1]]));
    this.#cursor = this.#newCursor(copies(state));
  }

  /** The conditions of the stream, which must not be changed. */
  get conditions(): Tensors {
    return this.#conditions;
  }

  /** The number of steps taken since the beginning. */
  get steps(): number {
    return this.#steps;
  }

  /**
   * A copy of what predicts the next token, its scores (vocabulary), or the next point, the mixture (6 · components + 3);
   * null before the first step or without such an output.
   */
  get logits(): Tensor | null {
    this.#checkIdle();
    return this.#logits && copy(this.#logits);
  }

  /** The seed with which the random generator began. */
  get seed(): bigint {
    return this.#seed;
  }

  /** The sampler. When another is set, the random generator continues, unless it has another seed. */
  get sampler(): Sampler {
    return this.#sampler;
  }

  set sampler(sampler: Sampler) {
    this.#sampler = this.#fitting(sampler);
    this.#recent = this.#remembered(this.#recent);
    if (sampler.seed === null || sampler.seed === this.#seed) return;
    this.#seed = sampler.seed;
    this.#generator = new Generator(sampler.seed);
  }

  /** One step: carries the state, and returns the outputs by name. Throws ContractError for inputs that do not fit. */
  async step(inputs: Tensors): Promise<Record<string, Tensor>> {
    check("input", this.spec.inputs, inputs, new Map([[BATCH, 1]]));
    const outputs = copies(await this.#step(inputs));
    const { token } = this.#text;
    this.#count(token ? Number(inputs[token.name].data[0]) : null);
    return outputs;
  }

  /**
   * Draws the inputs of the kind noise of the next step: normal deviates, multiplied by the sampler's temperature.
   *
   * They come from the stream's random generator, so that snapshots and forks go on with the same ones.
   * Throws StreamError for a graph without such an input of the type float32.
   */
  noise(): Record<string, Tensor> {
    const specs = this.spec.inputs.filter((spec) => spec.kind === "noise" && spec.dtype === "float32");
    if (specs.length === 0) throw new StreamError(`graph ${this.graph} has no input of the kind noise and the type float32`);
    this.#checkIdle();
    const drawn = (spec: TensorSpec): Tensor => {
      const made = tensor(spec.dtype, shapeOf(spec, new Map([[BATCH, 1]])));
      for (let place = 0; place < made.data.length; place++) made.data[place] = this.#generator.normal() * this.#sampler.temperature;
      return made;
    };
    return Object.fromEntries(specs.map((spec) => [spec.name, drawn(spec)]));
  }

  /**
   * Draws the input of the kind point of the next step from what the last step predicted; at first, it is the start.
   *
   * The random numbers come from the stream's generator, so that snapshots and forks go on with the same ones.
   * Throws StreamError for a graph that does not read and predict points, ConfigError and SamplingError as `drawPoint`.
   */
  nextPoint(): Record<string, Tensor> {
    const spec = this.spec.inputOf("point");
    if (spec?.dtype !== "float32" || !this.spec.outputOf("next-point")) {
      throw new StreamError(`graph ${this.graph} does not read and predict points of a pen, of the type float32`);
    }
    this.#checkIdle();
    const found = this.#logits ? drawPoint(this.#logits.data, this.#sampler.temperature, this.#generator) : START;
    return { [spec.name]: tensor(spec.dtype, [1, found.length], found) };
  }

  /**
   * Consumes a prompt, text or token ids, whole: a prompt that is refused changes nothing.
   *
   * unknown: what becomes of characters that are outside the vocabulary, as `Tokenizer.encode` says. Throws
   * UnknownTokenError if they are refused, ContractError for ids outside the vocabulary, StreamError for a graph that
   * does not read one token at each step.
   */
  async prefill(prompt: string | Iterable<number>, { unknown = "refuse" }: { unknown?: Unknown } = {}): Promise<void> {
    const token = this.#requireToken();
    const tokenizer = this.#requireTokenizer();
    const ids = typeof prompt === "string" ? tokenizer.encode(prompt, { unknown }) : [...prompt];
    const outside = ids.find((id) => !(Number.isInteger(id) && id >= 0 && id < tokenizer.size));
    if (outside !== undefined) throw new ContractError(`token ${outside} is outside the vocabulary, 0..${tokenizer.size - 1}`);
    this.#checkIdle();
    this.#decoder = tokenizer.decoder();
    for (const id of ids) await this.#consume(token, id);
  }

  /**
   * Samples tokens and yields their text, in whole characters, as it is decoded.
   *
   * Decoding ends after `maxTokens`, before a stop string, which is not yielded, or at the end token; `ended` says
   * which. Each token is read before its text is yielded, so a caller that breaks off can fork, save or continue the
   * stream; only text that was held back as the possible beginning of a stop string is lost.
   * Throws StreamError before the first prefill or for a graph that predicts no next token, SamplingError for logits
   * that are not numbers.
   */
  async *decode(limits: Limits = {}): AsyncGenerator<string, void, undefined> {
    for await (const { text } of this.#decode(limits, false)) if (text) yield text;
  }

  /** Decodes like `decode`, but yields tokens with probabilities; the last token of a character has its text. */
  tokens(limits: Limits = {}): AsyncGenerator<SampledToken, void, undefined> {
    return this.#decode(limits, true);
  }

  /** Consumes a prompt and decodes to the end. Returns the text that follows it. */
  async complete(prompt: string, { unknown = "refuse", ...limits }: Limits & { unknown?: Unknown } = {}): Promise<string> {
    await this.prefill(prompt, { unknown });
    let text = "";
    for await (const piece of this.decode(limits)) text += piece;
    return text;
  }

  /** Returns to the initial state, without any text, and with the random generator at its seed. */
  reset(): void {
    this.#checkIdle();
    this.#cursor = this.#newCursor(this.#initial);
    this.#logits = null;
    this.#generator = new Generator(this.#seed);
    this.#recent = [];
    this.#steps = 0;
    this.#decoder = this.#text.tokenizer?.decoder() ?? null;
  }

  /** An independent copy of the stream. */
  fork(): Stream {
    this.#checkIdle();
    const twin = new Stream(this.model, this.#sampler, this.graph, this.#conditions, this.#initial);
    twin.#continue(this.#cursor.state(), this.#logits && copy(this.#logits), this.#seed, this.#generator.state);
    twin.#remember(this.#recent, this.#steps, this.#decoder?.tail ?? []);
    twin.ended = this.ended;
    return twin;
  }

  /** The stream as bytes, from which `restore` continues exactly, here or in Python. */
  snapshot(): Uint8Array<ArrayBuffer> {
    this.#checkIdle();
    const { digest, precision } = this.model.manifest;
    return toBytes({
      digest,
      precision,
      graph: this.graph,
      sampler: this.#sampler,
      seed: this.#seed,
      generator: this.#generator.state,
      steps: this.#steps,
      recent: this.#recent,
      tail: this.#decoder?.tail ?? [],
      state: this.#cursor.state(),
      conditions: this.#conditions,
      initial: this.#initial,
      logits: this.#logits,
    });
  }

  /**
   * Continues from a snapshot. If it is refused, nothing is changed.
   *
   * Throws SnapshotError if it is damaged, was taken with other weights, or was taken at another precision and
   * `anyPrecision` is not set.
   */
  restore(data: Uint8Array, { anyPrecision = false }: { anyPrecision?: boolean } = {}): void {
    this.#checkIdle();
    const saved = fromSnapshot(data);
    const { digest, precision } = this.model.manifest;
    if (saved.digest !== digest || saved.graph !== this.graph) {
      throw new SnapshotError("the snapshot was taken from a model of another run: load a bundle of the run that it was taken from");
    }
    if (saved.precision !== precision && !anyPrecision) {
      throw new SnapshotError(`the snapshot was taken at ${saved.precision} and the model is ${precision}: load a bundle at ${saved.precision}`);
    }
    try {
      for (const state of [saved.state, saved.initial]) {
        const sizes = new Map([[BATCH, 1]]);
        check("condition", this.spec.conditions, saved.conditions, sizes);
        check("state", this.spec.states, state, sizes);
      }
      if (saved.logits && this.#scores) checkTensor(this.#scores, { ...saved.logits, shape: [1, ...saved.logits.shape] }, new Map());
      this.#fitting(saved.sampler);
    } catch (error) {
      throw new SnapshotError(`the snapshot does not fit the contract: ${(error as Error).message}`);
    }
    const size = this.#text.tokenizer?.size ?? Infinity;
    if ([...saved.tail, ...saved.recent].some((token) => token >= size)) {
      throw new SnapshotError(`the snapshot's text has tokens outside the vocabulary, 0..${size - 1}`);
    }
    this.#conditions = saved.conditions;
    this.#initial = saved.initial;
    this.#sampler = saved.sampler;
    this.#continue(saved.state, this.#scores && saved.logits, saved.seed, saved.generator);
    this.#remember(saved.recent, saved.steps, saved.tail);
  }

  async *#decode(limits: Limits, scored: boolean): AsyncGenerator<SampledToken, void, undefined> {
    const input = this.#requireToken();
    if (!this.#text.nextToken) throw new StreamError(`graph ${this.graph} predicts no next token, so it cannot decode: call step`);
    const criteria = new StopCriteria(limits, this.#requireTokenizer().endId);
    this.ended = criteria.reason;
    while (criteria.reason === null) {
      this.#checkIdle();
      const token = this.#draw();
      const logProbability = scored ? logProbabilities(this.#logits!.data)[token] : NaN;
      await this.#consume(input, token);
      const text = criteria.push(token, this.#decoder!.push(token));
      this.ended = criteria.reason;
      yield { token, text, logProbability };
    }
  }

  #draw(): number {
    if (!this.#logits) throw new StreamError("there are no logits yet: prefill a prompt first");
    try {
      return this.#sampler.draw(this.#logits.data, this.#generator, this.#recent, this.#text.tokenizer?.neverSampled);
    } catch (error) {
      throw error instanceof SamplingError ? new SamplingError(`after step ${this.#steps}: ${error.message}`) : error;
    }
  }

  async #consume(input: TensorSpec, token: number): Promise<void> {
    await this.#step({ [input.name]: tensor(input.dtype, [1], [token]) });
    this.#count(token);
  }

  /** One step. The cursor is not called again before it is done. */
  async #step(inputs: Tensors): Promise<Tensors> {
    this.#checkIdle();
    const made = this.#cursor.step(inputs);
    let outputs: Tensors;
    if (made instanceof Promise) {
      this.#busy = true;
      try {
        outputs = await made;
      } finally {
        this.#busy = false;
      }
    } else outputs = made;
    if (this.#scores) {
      const scores = outputs[this.#scores.name];
      this.#logits ??= tensor(scores.dtype, scores.shape.slice(1));
      (this.#logits.data as Float32Array).set(scores.data as Float32Array);
    }
    return outputs;
  }

  #count(token: number | null): void {
    this.#steps++;
    if (token === null || this.#sampler.repetitionWindow === 0) return;
    this.#recent.push(token);
    if (this.#recent.length > this.#sampler.repetitionWindow) this.#recent.shift();
  }

  #continue(state: Tensors, logits: Tensor | null, seed: bigint, generator: bigint): void {
    this.#cursor = this.#newCursor(state);
    this.#logits = logits;
    this.#seed = seed;
    this.#generator = new Generator(generator);
  }

  #remember(recent: readonly number[], steps: number, tail: readonly number[]): void {
    this.#recent = this.#remembered(recent);
    this.#steps = steps;
    this.#decoder = this.#text.tokenizer?.decoder(tail) ?? null;
  }

  /** The last of some tokens, as many as the sampler looks back. */
  #remembered(tokens: readonly number[]): number[] {
    const window = this.#sampler.repetitionWindow;
    return window === 0 ? [] : tokens.slice(-window);
  }

  #newCursor(state: Tensors): Cursor {
    return this.model.cursor(this.#conditions, state, { graph: this.graph });
  }

  /** The sampler. Throws ConfigError for a bias of a token outside the vocabulary. */
  #fitting(sampler: Sampler): Sampler {
    const size = this.#text.tokenizer?.size ?? Infinity;
    for (const token of sampler.bias.keys()) {
      if (token >= size) throw new ConfigError(`a bias is given for token ${token}, and the vocabulary ends at ${size - 1}`);
    }
    return sampler;
  }

  #requireTokenizer(): Tokenizer {
    const { tokenizer } = this.#text;
    if (tokenizer) return tokenizer;
    throw new StreamError(`the bundle, of the task ${this.model.manifest.task}, has no tokenizer and so reads no text: call step`);
  }

  #requireToken(): TensorSpec {
    this.#requireTokenizer();
    const { token } = this.#text;
    if (!token) throw new StreamError(`graph ${this.graph} reads no token ids: call step with its own inputs`);
    if (this.spec.inputs.length > 1) {
      throw new StreamError(`graph ${this.graph} reads more than a token at each step: call step with all of its inputs`);
    }
    return token;
  }

  #checkIdle(): void {
    if (this.#busy) throw new StreamError("the stream is in use: await each step before the next");
  }
}

function randomSeed(): bigint {
  return crypto.getRandomValues(new BigUint64Array(1))[0];
}
