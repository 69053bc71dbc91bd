/** What runs the graphs of a bundle. The engine of `wasm` bundles is in `wasm.ts`. */
import type { Tensors } from "./arrays.ts";
import type { Bundle } from "./bundle.ts";
import type { GraphSpec } from "./contract.ts";

/** A graph with the present states of one stream. */
export interface Cursor {
  /** One step on inputs that were checked before. The next step of any cursor may overwrite the returned outputs. */
  step(inputs: Tensors): Tensors | Promise<Tensors>;

  /** Copies of the states. */
  state(): Tensors;
}

/** A loaded graph. */
export interface Engine {
  readonly spec: GraphSpec;

  /** A cursor for one stream. The conditions and the state were checked before, and are copied. */
  cursor(conditions: Tensors, state: Tensors): Cursor;
}

/** Loads the graphs of the bundles of one target. */
export interface EngineLoader {
  readonly target: string;

  /** The engine of each graph of the bundle. Throws EngineError for a file that cannot be run. */
  load(bundle: Bundle): Promise<ReadonlyMap<string, Engine>>;
}
