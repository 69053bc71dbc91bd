/** A reading: the steps of a graph from which streams of other graphs begin, such as the encoder of a translator. */
import { copies, copy, elements, row, tensor, type Tensor, type Tensors } from "./arrays.ts";
import { BATCH, check, isFromGraph, type ConditionSpec, type GraphSpec, type StateSpec } from "./contract.ts";
import type { Cursor } from "./engine.ts";
import { ContractError } from "./errors.ts";

/**
 * Steps one graph over inputs that may arrive piece by piece, and keeps its outputs. Created by `Model.reading`.
 *
 * The streams that begin from it depend only on the inputs, however they are cut. It can read on after a stream has
 * begun from it.
 */
export class Reading {
  readonly spec: GraphSpec;
  readonly #cursor: Cursor;
  readonly #outputs: Tensors[] = [];

  constructor(spec: GraphSpec, cursor: Cursor) {
    this.spec = spec;
    this.#cursor = cursor;
  }

  /** The number of steps taken. */
  get steps(): number {
    return this.#outputs.length;
  }

  /**
   * Takes further steps. inputs: by name, those of successive steps stacked along a new first axis.
   *
   * Throws ContractError for inputs that are missing, unknown, of different lengths, or do not fit.
   */
  async push(inputs: Tensors): Promise<void> {
    const counts = new Set(Object.values(inputs).map((each) => each.shape[0]));
    const [count] = counts;
    if (counts.size !== 1 || count === undefined) {
      const names = this.spec.inputs.map((spec) => spec.name).join(", ");
      throw new ContractError(`graph ${this.spec.name} reads ${names}: give each with one first axis, which counts steps`);
    }
    const steps = Array.from({ length: count }, (_, place) =>
      Object.fromEntries(Object.entries(inputs).map(([name, each]) => [name, row(each, place)])),
    );
    for (const step of steps) check("input", this.spec.inputs, step, new Map([[BATCH, 1]]));
    for (const step of steps) this.#outputs.push(copies(await this.#cursor.step(step)));
  }

  /** A condition or an initial state that comes from this graph. Throws ContractError before the first step. */
  value(spec: ConditionSpec | StateSpec): Tensor {
    const source = "source" in spec ? spec.source : spec.initial;
    const last = this.#outputs.at(-1);
    if (!last || !isFromGraph(source)) {
      throw new ContractError(`${spec.name} comes from graph ${this.spec.name}, which has read nothing yet`);
    }
    if ("axis" in source) return stacked(this.#outputs.map((made) => made[source.output]), spec.axes.indexOf(source.axis));
    const state = this.spec.states.find((each) => each.output === source.output);
    return state ? this.#cursor.state()[state.name] : copy(last[source.output]);
  }
}

/** Tensors of one shape, stacked along a new axis. */
function stacked(parts: readonly Tensor[], axis: number): Tensor {
  const { dtype, shape } = parts[0];
  const made = tensor(dtype, [...shape.slice(0, axis), parts.length, ...shape.slice(axis)]);
  const inner = elements(shape.slice(axis));
  parts.forEach((part, place) => {
    for (let outer = 0; outer * inner < part.data.length; outer++) {
      const values = part.data.subarray(outer * inner, (outer + 1) * inner);
      (made.data as Float32Array).set(values as Float32Array, (outer * parts.length + place) * inner);
    }
  });
  return made;
}
