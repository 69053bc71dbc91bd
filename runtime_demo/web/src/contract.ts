/** The step contract: the tensors of each graph, as `bundle.json` declares them, and checks of tensors against it. */
import { ARRAYS, elements, tensor, type DType, type Tensor, type Tensors } from "./arrays.ts";
import { ContractError } from "./errors.ts";
import { items, mapping, number, record, text, type Json } from "./records.ts";

export const BATCH = "batch";

export type Axis = string | number;
export interface FromFile {
  readonly file: string;
}
export interface FromGraph {
  readonly graph: string;
  readonly output: string;
}
export interface FromSteps extends FromGraph {
  readonly axis: string;
}

/** One tensor: see the table in CONTRACT.md. */
export interface TensorSpec {
  readonly name: string;
  readonly dtype: DType;
  readonly axes: readonly Axis[];
  readonly bound?: number;
  readonly low?: number;
  readonly largest: Readonly<Record<string, number>>;
  readonly kind: string;
  readonly rate?: number;
  readonly delay: number;
}

/** An input that stays the same for the life of a stream. source: null if the caller gives it. */
export interface ConditionSpec extends TensorSpec {
  readonly source: FromGraph | FromSteps | null;
}

/** A tensor carried from step to step. */
export interface StateSpec extends TensorSpec {
  readonly input: string;
  readonly output: string;
  readonly initial: "zeros" | FromFile | FromGraph;
}

/** The tensors of one graph. */
export class GraphSpec {
  readonly name: string;
  readonly inputs: readonly TensorSpec[];
  readonly conditions: readonly ConditionSpec[];
  readonly states: readonly StateSpec[];
  readonly outputs: readonly TensorSpec[];

  constructor(
    name: string,
    inputs: readonly TensorSpec[],
    conditions: readonly ConditionSpec[],
    states: readonly StateSpec[],
    outputs: readonly TensorSpec[],
  ) {
    this.name = name;
    this.inputs = inputs;
    this.conditions = conditions;
    this.states = states;
    this.outputs = outputs;
  }

  /** What the graph is called with, in order: inputs, conditions and states, by the names of its inputs. */
  get feeds(): [string, TensorSpec][] {
    const given = [...this.inputs, ...this.conditions].map((spec): [string, TensorSpec] => [spec.name, spec]);
    return [...given, ...this.states.map((state): [string, TensorSpec] => [state.input, state])];
  }

  /** What the graph returns, in order: outputs and next states, by the names of its outputs. */
  get results(): [string, TensorSpec][] {
    const made = this.outputs.map((spec): [string, TensorSpec] => [spec.name, spec]);
    return [...made, ...this.states.map((state): [string, TensorSpec] => [state.output, state])];
  }

  /** The source of each condition and state that another graph computes, by name. */
  get sources(): Map<string, FromGraph | FromSteps> {
    const found = new Map<string, FromGraph | FromSteps>();
    for (const each of this.conditions) if (each.source) found.set(each.name, each.source);
    for (const each of this.states) if (isFromGraph(each.initial)) found.set(each.name, each.initial);
    return found;
  }

  /** The conditions and states by name: what a stream of the graph consists of. */
  get held(): Map<string, ConditionSpec | StateSpec> {
    return new Map([...this.conditions, ...this.states].map((spec) => [spec.name, spec]));
  }

  /** The input of a kind, or null unless there is exactly one. */
  inputOf(kind: string): TensorSpec | null {
    return only(kind, this.inputs);
  }

  /** The output of a kind, or null unless there is exactly one. */
  outputOf(kind: string): TensorSpec | null {
    return only(kind, this.outputs);
  }
}

/** The graphs of one bundle. */
export class Contract {
  readonly graphs: readonly GraphSpec[];

  constructor(graphs: readonly GraphSpec[]) {
    this.graphs = graphs;
  }

  /** The graph of this name. Throws ContractError if there is none. */
  graph(name: string): GraphSpec {
    const found = this.graphs.find((graph) => graph.name === name);
    if (found) return found;
    throw new ContractError(`there is no graph '${name}'; there is ${this.graphs.map((graph) => graph.name).join(", ")}`);
  }
}

/** Whether an initial value or a source comes from another graph. */
export function isFromGraph(source: "zeros" | FromFile | FromGraph | FromSteps | null): source is FromGraph | FromSteps {
  return typeof source === "object" && source !== null && "graph" in source;
}

/** Whether an initial value is a file of the bundle. */
export function isFromFile(source: "zeros" | FromFile | FromGraph): source is FromFile {
  return typeof source === "object" && "file" in source;
}

/** The position of a condition's axis along which shorter sequences are padded with zeros, or -1. */
export function paddedAxis(spec: TensorSpec): number {
  const source = (spec as Partial<ConditionSpec>).source;
  return source && "axis" in source ? spec.axes.indexOf(source.axis) : -1;
}

/** The shape of a tensor, given a size for each named axis. Throws ContractError for an axis without one. */
export function shapeOf(spec: TensorSpec, sizes: ReadonlyMap<string, number>): number[] {
  return spec.axes.map((axis) => {
    const size = typeof axis === "number" ? axis : sizes.get(axis);
    if (size === undefined) throw new ContractError(`tensor ${spec.name}: the size of axis '${axis}' is not known`);
    return size;
  });
}

/** The value of a state before the first step, for a state that no other graph initialises. files: by name. */
export function firstState(spec: StateSpec, sizes: ReadonlyMap<string, number>, files: ReadonlyMap<string, Tensor>): Tensor {
  const shape = shapeOf(spec, sizes);
  if (!isFromFile(spec.initial)) return tensor(spec.dtype, shape);
  const file = files.get(spec.initial.file);
  if (!file) throw new ContractError(`the file ${spec.initial.file} of the state ${spec.name} is missing`);
  return broadcast(file, shape, `${spec.initial.file} does not fit state ${spec.name}`);
}

/** A tensor repeated along axes of size 1, as in numpy. */
function broadcast(given: Tensor, shape: readonly number[], what: string): Tensor {
  const offset = shape.length - given.shape.length;
  const fits = offset >= 0 && given.shape.every((size, axis) => size === 1 || size === shape[axis + offset]);
  if (!fits) throw new ContractError(`${what}: (${given.shape.join(", ")}) is not (${shape.join(", ")})`);
  const made = tensor(given.dtype, shape);
  for (let to = 0; to < made.data.length; to++) {
    let rest = to;
    let from = 0;
    let stride = 1;
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      const size = axis >= offset ? given.shape[axis - offset] : 1;
      from += (size === 1 ? 0 : rest % shape[axis]) * stride;
      stride *= size;
      rest = Math.floor(rest / shape[axis]);
    }
    made.data[to] = given.data[from];
  }
  return made;
}

/**
 * Throws ContractError unless a tensor fits its specification.
 *
 * sizes: the sizes of named axes, which it must match; the sizes of its other named axes are added.
 */
export function checkTensor(spec: TensorSpec, given: Tensor, sizes: Map<string, number>): void {
  if (given.dtype !== spec.dtype) {
    throw new ContractError(`${spec.name} has dtype ${given.dtype}; the contract says ${spec.dtype}`);
  }
  if (given.shape.length !== spec.axes.length) throw misfit(spec, given, "");
  given.shape.forEach((size, place) => {
    const axis = spec.axes[place];
    if (typeof axis === "string" && !sizes.has(axis)) sizes.set(axis, size);
    const expected = typeof axis === "string" ? sizes.get(axis) : axis;
    if (size !== expected) throw misfit(spec, given, typeof axis === "string" ? ` with ${axis} = ${expected}` : "");
  });
  for (const [axis, largest] of Object.entries(spec.largest)) {
    const size = sizes.get(axis) ?? 1;
    if (size < 1 || size > largest) throw misfit(spec, given, ` with ${axis} from 1 to ${largest}`);
  }
  if (given.data.length !== elements(given.shape)) throw misfit(spec, given, `, and not ${given.data.length} elements`);
  checkLimits(spec, given);
}

/** Throws ContractError for integers outside the limits; those of floating-point numbers are a promise. */
function checkLimits(spec: TensorSpec, given: Tensor): void {
  if (spec.dtype.startsWith("float")) return;
  const low = spec.low ?? (spec.bound === undefined ? -Infinity : 0);
  const limit = spec.bound ?? Infinity;
  if (low === -Infinity && limit === Infinity) return;
  for (const value of given.data) {
    if (value < low || value >= limit) throw new ContractError(`${spec.name} holds ${value}, outside ${low}..${limit - 1}`);
  }
}

/** Throws ContractError unless tensors fit their specifications, with none missing and none in excess. */
export function check(kind: string, specs: readonly TensorSpec[], given: Tensors, sizes: Map<string, number>): void {
  for (const spec of specs) {
    if (!Object.hasOwn(given, spec.name)) throw new ContractError(`the ${kind} '${spec.name}' is missing`);
    checkTensor(spec, given[spec.name], sizes);
  }
  const names = specs.map((spec) => spec.name);
  const extra = Object.keys(given).filter((name) => !names.includes(name));
  if (extra.length > 0) throw new ContractError(`there is no ${kind} ${extra.map((name) => `'${name}'`).join(", ")}`);
}

function misfit(spec: TensorSpec, given: Tensor, detail: string): ContractError {
  return new ContractError(`${spec.name} has shape (${given.shape.join(", ")}); the contract says (${spec.axes.join(", ")})${detail}`);
}

function only(kind: string, specs: readonly TensorSpec[]): TensorSpec | null {
  const found = specs.filter((spec) => spec.kind === kind);
  return found.length === 1 ? found[0] : null;
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

const REQUIRED = ["name", "dtype", "axes"];
const OPTIONAL = ["bound", "low", "largest", "kind", "rate", "delay"];
const NAME = /^\w[\w.]{0,99}$/;
const MOST_ELEMENTS = 2 ** 40;

/** The contract of a manifest. Throws FormatError or ContractError for a malformed one. */
export function contractFromJson(value: Json | undefined): Contract {
  const graphs = items(record(value, "a contract", ["graphs"])["graphs"], "graphs").map(graphFromJson);
  if (graphs.length === 0) throw new ContractError("a contract needs at least one graph");
  const contract = new Contract(graphs);
  for (const graph of graphs) {
    for (const [name, source] of graph.sources) checkSource(contract, graph, name, source);
  }
  return contract;
}

function graphFromJson(value: Json): GraphSpec {
  const values = record(value, "a graph", ["name", "inputs", "conditions", "states", "outputs"]);
  const graph = new GraphSpec(
    named(values["name"]),
    items(values["inputs"], "inputs").map((each) => tensorFromJson(record(each, "a tensor", REQUIRED, OPTIONAL))),
    items(values["conditions"], "conditions").map(conditionFromJson),
    items(values["states"], "states").map(stateFromJson),
    items(values["outputs"], "outputs").map((each) => tensorFromJson(record(each, "a tensor", REQUIRED, OPTIONAL))),
  );
  for (const names of [graph.feeds.map(([name]) => name), graph.results.map(([name]) => name)]) {
    const twice = names.find((name, place) => names.indexOf(name) !== place);
    if (twice) throw new ContractError(`graph ${graph.name}: '${twice}' is declared twice`);
  }
  return graph;
}

function tensorFromJson(values: { [key: string]: Json }): TensorSpec {
  const dtype = text(values["dtype"], "dtype") as DType;
  const name = named(values["name"]);
  if (!Object.hasOwn(ARRAYS, dtype)) throw new ContractError(`tensor ${name}: there is no dtype '${dtype.slice(0, 40)}'`);
  const axes = items(values["axes"], "axes").map((axis): Axis => {
    if (typeof axis === "number" && Number.isInteger(axis) && axis >= 1) return axis;
    return named(axis);
  });
  const fixed = elements(axes.filter((axis): axis is number => typeof axis === "number"));
  if (fixed > MOST_ELEMENTS) throw new ContractError(`tensor ${name} has more than ${MOST_ELEMENTS} elements a stream`);
  const largest = Object.entries(mapping(values["largest"] ?? {}, "largest"));
  const optional: { [key: string]: number } = {};
  for (const key of ["bound", "low", "rate"]) if (key in values) optional[key] = number(values[key], key);
  return {
    name,
    dtype,
    axes,
    kind: text(values["kind"] ?? "", "kind"),
    delay: number(values["delay"] ?? 0, "delay"),
    largest: Object.fromEntries(largest.map(([axis, size]) => [axis, number(size, "largest")])),
    ...optional,
  };
}

function conditionFromJson(value: Json): ConditionSpec {
  const { source = null, ...values } = record(value, "a condition", [...REQUIRED, "source"], OPTIONAL);
  return { ...tensorFromJson(values), source: source === null ? null : sourceFromJson(source) };
}

function stateFromJson(value: Json): StateSpec {
  const { initial, input, output, ...values } = record(value, "a state", [...REQUIRED, "initial", "input", "output"], OPTIONAL);
  return { ...tensorFromJson(values), input: named(input), output: named(output), initial: initialFromJson(initial) };
}

function initialFromJson(value: Json): "zeros" | FromFile | FromGraph {
  if (value === "zeros") return value;
  if (typeof value === "object" && value !== null && "file" in value) {
    return { file: text(record(value, "an initial value", ["file"])["file"], "file") };
  }
  const source = sourceFromJson(value);
  if ("axis" in source) throw new ContractError("a state does not start as the steps of a graph");
  return source;
}

function sourceFromJson(value: Json): FromGraph | FromSteps {
  const values = record(value, "an initial value", ["graph", "output"], ["axis"]);
  const source = { graph: text(values["graph"], "graph"), output: text(values["output"], "output") };
  return "axis" in values ? { ...source, axis: text(values["axis"], "axis") } : source;
}

function checkSource(contract: Contract, graph: GraphSpec, name: string, source: FromGraph | FromSteps): void {
  const other = contract.graph(source.graph);
  if (other.conditions.length > 0 || other.sources.size > 0) {
    throw new ContractError(`${name} of graph ${graph.name}: graph ${other.name} needs more than inputs to run`);
  }
  if (!other.results.some(([output]) => output === source.output)) {
    throw new ContractError(`graph ${other.name} has no output '${source.output}'`);
  }
}

function named(value: Json | undefined): string {
  if (typeof value !== "string" || !NAME.test(value)) {
    throw new ContractError(`${(JSON.stringify(value) ?? "nothing").slice(0, 100)} is no name: use letters, digits, '_' and '.'`);
  }
  return value;
}

/* --- kinds of old bundles ----------------------------------------------------------------------------------------- */

const NAMED_KINDS: Record<string, { kind: string; dtypes: readonly DType[]; axes: number }> = {
  token: { kind: "token", dtypes: ["int64", "int32"], axes: 1 },
  image: { kind: "image", dtypes: ["uint8"], axes: 4 },
  logits: { kind: "next-token", dtypes: ["float32", "float16"], axes: 2 },
  attention: { kind: "attention", dtypes: ["float32", "float16"], axes: 2 },
};

/** The contract with the kinds that names imply, in old bundles of the tasks language and caption that declare none. */
export function withKinds(contract: Contract, task: string): Contract {
  const declared = contract.graphs.some((graph) => [...graph.feeds, ...graph.results].some(([, spec]) => spec.kind !== ""));
  if (declared || (task !== "language" && task !== "caption")) return contract;
  const implied = (names: readonly string[]) => (spec: TensorSpec) => {
    const meant = names.includes(spec.name) ? NAMED_KINDS[spec.name] : undefined;
    const fits = meant && meant.dtypes.includes(spec.dtype) && spec.axes.length === meant.axes && spec.axes[0] === BATCH;
    return fits ? { ...spec, kind: meant.kind } : spec;
  };
  return new Contract(
    contract.graphs.map((graph) => {
      const inputs = graph.inputs.map(implied(["token", "image"]));
      const outputs = graph.outputs.map(implied(["logits", "attention"]));
      return new GraphSpec(graph.name, inputs, graph.conditions, graph.states, outputs);
    }),
  );
}
