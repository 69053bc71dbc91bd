/** A model: a loaded bundle, with which to step and to begin streams. */
import { copies, copy, fromNpy, type Tensor, type Tensors } from "./arrays.ts";
import { Bundle, initialFiles, type Files, type Manifest } from "./bundle.ts";
import { BATCH, check, checkTensor, firstState, withKinds, type Contract, type GraphSpec, type TensorSpec } from "./contract.ts";
import type { Cursor, Engine, EngineLoader } from "./engine.ts";
import { BundleError, ContractError, FormatError, StreamError } from "./errors.ts";
import { unitsFromJson, type StrokeUnits } from "./points.ts";
import { Reading } from "./reading.ts";
import { Sampler } from "./sampling.ts";
import { Stream } from "./stream.ts";
import { Tokenizer } from "./tokenizer.ts";
import { wasmLoader } from "./wasm.ts";

/** The graph that streams step unless another is named. */
export const STEP = "step";

/** With what a stream begins. inputs: those of the graphs that compute conditions and initial states, and conditions. */
export interface Beginning {
  inputs?: Tensors;
  graph?: string;
  readings?: readonly Reading[];
}

/** The tensors of a graph that read and predict tokens, and its tokenizer. */
export interface TextTensors {
  readonly tokenizer: Tokenizer | null;
  /** The input that reads token ids, (batch). */
  readonly token: TensorSpec | null;
  /** The output that scores the next token, (batch, vocabulary). */
  readonly nextToken: TensorSpec | null;
}

/** The graphs of one bundle, ready to run. Streams share it. */
export class Model {
  readonly manifest: Manifest;
  /** The manifest's contract; in old bundles that declare no kinds, with the kinds that the names of tensors imply. */
  readonly contract: Contract;
  readonly tokenizer: Tokenizer | null;
  /** The names of the classes, in order, or null for a task without classes. */
  readonly labels: readonly string[] | null;
  /** The names of the channels of the numbers that the model reads, or null if they have none. */
  readonly channels: readonly string[] | null;
  /** The units of the strokes that the model draws, or null for another task. */
  readonly strokes: StrokeUnits | null;
  /** The bundle, whose further files, such as golden vectors, are read when they are asked for. */
  readonly bundle: Bundle;
  readonly #engines: ReadonlyMap<string, Engine>;
  readonly #tokenizers: ReadonlyMap<string, Tokenizer>;
  readonly #initial: ReadonlyMap<string, Tensor>;

  private constructor(bundle: Bundle, contract: Contract, engines: ReadonlyMap<string, Engine>, parts: Parts) {
    this.bundle = bundle;
    this.manifest = bundle.manifest;
    this.contract = contract;
    this.#engines = engines;
    this.#tokenizers = parts.tokenizers;
    this.#initial = parts.initial;
    this.tokenizer = parts.tokenizer;
    this.labels = parts.labels;
    this.channels = parts.channels;
    this.strokes = parts.strokes;
  }

  /**
   * Loads a bundle.
   *
   * engines: what runs the bundles of each target; the engine of `wasm` unless it is given.
   * Throws BundleError or EngineError, which say what is wrong with the bundle.
   */
  static async load(files: Files, { engines = [wasmLoader()] }: { engines?: readonly EngineLoader[] } = {}): Promise<Model> {
    const bundle = await Bundle.load(files);
    const { target } = bundle.manifest;
    const loader = engines.find((each) => each.target === target);
    if (!loader) {
      const known = engines.map((each) => each.target).join(", ");
      throw new BundleError(`the bundle is for ${target}, and here is what runs ${known}: export it with --to ${engines[0]?.target}`);
    }
    const contract = withKinds(bundle.manifest.contract, bundle.manifest.task);
    return new Model(bundle, contract, await loader.load(bundle), await parts(bundle, contract));
  }

  /** Task, target, precision and the beginning of the digest, as in "language wasm int8 4d5363ea". */
  get title(): string {
    const { task, target, precision, digest } = this.manifest;
    return `${task} ${target} ${precision} ${digest.slice(0, 8)}`;
  }

  /** The tensors of a graph that read and predict tokens. */
  textOf(graph: string): TextTensors {
    const spec = this.contract.graph(graph);
    const tokenizer = this.#tokenizers.get(graph) ?? this.tokenizer;
    if (!tokenizer) return { tokenizer: null, token: null, nextToken: null };
    return { tokenizer, token: spec.inputOf("token"), nextToken: spec.outputOf("next-token") };
  }

  /**
   * One step of a graph for one stream: outputs and next state. Pure: the arguments are not changed.
   *
   * The first state and the conditions come from `begin`. Throws ContractError for tensors that do not fit.
   */
  async step(
    inputs: Tensors,
    state: Tensors = {},
    { conditions = {}, graph = STEP }: { conditions?: Tensors; graph?: string } = {},
  ): Promise<{ outputs: Tensors; state: Tensors }> {
    const spec = this.contract.graph(graph);
    const sizes = new Map([[BATCH, 1]]);
    check("input", spec.inputs, inputs, sizes);
    check("condition", spec.conditions, conditions, sizes);
    check("state", spec.states, state, sizes);
    const cursor = this.cursor(conditions, state, { graph });
    const outputs = copies(await cursor.step(inputs));
    return { outputs, state: cursor.state() };
  }

  /** A cursor: one stream of a graph, for callers that step it very often. Nothing is checked. */
  cursor(conditions: Tensors, state: Tensors, { graph = STEP }: { graph?: string } = {}): Cursor {
    const engine = this.#engines.get(this.contract.graph(graph).name);
    if (!engine) throw new BundleError(`the graph ${graph} has no engine`);
    return engine.cursor(conditions, state);
  }

  /** A reading of a graph, from which streams of other graphs begin: for inputs that arrive in pieces. */
  async reading(graph: string): Promise<Reading> {
    const { conditions, state } = await this.begin({ graph });
    return new Reading(this.contract.graph(graph), this.cursor(conditions, state, { graph }));
  }

  /**
   * Conditions and initial state of a stream, which the first `step` is called with.
   *
   * The inputs of a graph with states are those of its successive steps, stacked along a new first axis.
   * Throws ContractError for inputs that are missing, unknown or do not fit.
   */
  async begin({ inputs = {}, graph = STEP, readings = [] }: Beginning = {}): Promise<{ conditions: Tensors; state: Tensors }> {
    const spec = this.contract.graph(graph);
    const read = new Map(readings.map((reading) => [reading.spec.name, reading]));
    const unread = [...new Set([...spec.sources.values()].map((source) => source.graph))].filter((name) => !read.has(name));
    for (const name of unread) read.set(name, await this.#readSource(name, inputs));
    const given = spec.conditions.filter((condition) => condition.source === null).map((condition) => condition.name);
    this.#checkGiven(inputs, spec, given, unread);
    const sizes = new Map([[BATCH, 1]]);
    const held: Record<string, Tensor> = {};
    for (const [name, tensor] of spec.held) {
      const source = spec.sources.get(name);
      if (source) held[name] = read.get(source.graph)!.value(tensor);
      else if (given.includes(name)) held[name] = copy(inputs[name]); // the caller may change its arrays later
      if (held[name]) checkTensor(tensor, held[name], sizes);
    }
    for (const state of spec.states) held[state.name] ??= firstState(state, sizes, this.#initial);
    const pick = (specs: readonly TensorSpec[]) => Object.fromEntries(specs.map(({ name }) => [name, held[name]]));
    return { conditions: pick(spec.conditions), state: pick(spec.states) };
  }

  /** A new stream at its initial state. sampler: how tokens are drawn. */
  async stream(sampler: Sampler = new Sampler(), beginning: Beginning = {}): Promise<Stream> {
    if (!(sampler instanceof Sampler)) throw new StreamError("a stream takes a Sampler: write new Sampler({ temperature: 0.8 })");
    const { conditions, state } = await this.begin(beginning);
    return Stream.begin(this, sampler, beginning.graph ?? STEP, conditions, state);
  }

  async #readSource(graph: string, inputs: Tensors): Promise<Reading> {
    const spec = this.contract.graph(graph);
    const missing = spec.inputs.find((tensor) => !Object.hasOwn(inputs, tensor.name));
    if (missing) {
      throw new ContractError(`a stream of this model begins with '${missing.name}': give it with inputs: { ${missing.name}: … }`);
    }
    const reading = await this.reading(graph);
    const once = (tensor: Tensor): Tensor => ({ ...tensor, shape: [1, ...tensor.shape] });
    const steps = spec.inputs.map(({ name }) => [name, spec.states.length > 0 ? inputs[name] : once(inputs[name])]);
    await reading.push(Object.fromEntries(steps));
    return reading;
  }

  #checkGiven(inputs: Tensors, spec: GraphSpec, given: readonly string[], sources: readonly string[]): void {
    const missing = given.find((name) => !Object.hasOwn(inputs, name));
    if (missing) throw new ContractError(`a stream of ${spec.name} needs the condition '${missing}': give it with inputs`);
    const known = [...given, ...sources.flatMap((source) => this.contract.graph(source).inputs.map((tensor) => tensor.name))];
    const unknown = Object.keys(inputs).filter((name) => !known.includes(name));
    if (unknown.length > 0) {
      throw new ContractError(`a stream of ${spec.name} does not take ${unknown.map((name) => `'${name}'`).join(", ")}`);
    }
  }
}

/** What a bundle contains beside its graphs. */
interface Parts {
  readonly tokenizer: Tokenizer | null;
  readonly tokenizers: ReadonlyMap<string, Tokenizer>;
  readonly labels: readonly string[] | null;
  readonly channels: readonly string[] | null;
  readonly strokes: StrokeUnits | null;
  readonly initial: ReadonlyMap<string, Tensor>;
}

async function parts(bundle: Bundle, contract: Contract): Promise<Parts> {
  const tokenizers = new Map<string, Tokenizer>();
  for (const graph of contract.graphs) {
    const own = await bundle.text(`tokenizer.${graph.name}.json`);
    if (own !== null) tokenizers.set(graph.name, await Tokenizer.fromJson(own));
  }
  const common = await bundle.text("tokenizer.json");
  const tokenizer = common === null ? null : await Tokenizer.fromJson(common);
  if (tokenizer) contract.graphs.forEach((graph) => checkText(graph, tokenizers.get(graph.name) ?? tokenizer));
  const initial = new Map<string, Tensor>();
  for (const file of initialFiles(contract)) initial.set(file, await npy(bundle, file));
  const [labels, channels] = [await bundle.names("labels.json"), await bundle.names("channels.json")];
  const strokes = await bundle.json("strokes.json", unitsFromJson);
  return { tokenizer, tokenizers, labels, channels, strokes, initial };
}

/** The tensor in a `.npy` file of a bundle. Throws BundleError for a damaged one. */
export async function npy(bundle: Bundle, file: string): Promise<Tensor> {
  try {
    return fromNpy(await bundle.file(file), file);
  } catch (error) {
    throw error instanceof FormatError ? new BundleError(error.message) : error;
  }
}

function checkText(graph: GraphSpec, tokenizer: Tokenizer): void {
  for (const { kind, name, axes, bound } of [...graph.inputs, ...graph.outputs]) {
    const fits =
      kind === "token" ? axes.length === 1 && axes[0] === BATCH && bound === tokenizer.size
      : kind === "next-token" ? axes.length === 2 && axes[0] === BATCH && axes[1] === tokenizer.size
      : true;
    if (!fits) throw new BundleError(`${name} of graph ${graph.name} does not fit the ${tokenizer.size} tokens of the tokenizer`);
  }
}
