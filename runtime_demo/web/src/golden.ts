/** The check of a bundle against its golden vectors: recorded steps of the source network at full precision. */
import { row, type Tensor, type Tensors } from "./arrays.ts";
import { BATCH, checkTensor, firstState, isFromFile, type GraphSpec } from "./contract.ts";
import { BundleError, FormatError, ParityError } from "./errors.ts";
import { npy, type Model } from "./model.ts";
import { integer, items, mapping, number, record, type Json } from "./records.ts";

const STORED = 4096; // elements of an output that are stored
const ROUNDING = 1e-6; // differences with a smaller root mean square satisfy `rms`
const ULPS = 4;

/** The limits of CONTRACT.md. */
interface Tolerance {
  readonly absolute: number;
  readonly relative: number;
  readonly rms: number;
  readonly mismatches: number;
}

const TOLERANCES: Record<string, Tolerance> = {
  fp32: { absolute: 1e-4, relative: 1e-4, rms: 1e-4, mismatches: 0 },
  fp16: { absolute: 0.1, relative: 0.02, rms: 0.005, mismatches: 0.01 },
  int8: { absolute: 3, relative: 0.3, rms: 0.1, mismatches: 0.1 },
  int4: { absolute: 20, relative: 1, rms: 0.5, mismatches: 0.5 },
};

/** What was compared. steps: of the longest graph. share: the largest share of its tolerance that a difference uses. */
export interface Parity {
  readonly steps: number;
  readonly share: number;
}

/**
 * Replays the golden vectors of each graph of a model.
 *
 * Throws ParityError beyond the tolerance, BundleError if the bundle has no golden vectors or damaged ones.
 */
export async function verify(model: Model): Promise<Parity> {
  const { golden, precision } = model.manifest;
  if (Object.keys(golden).length === 0) throw new BundleError("the bundle has no golden vectors");
  const found: Parity[] = [];
  for (const spec of model.contract.graphs) {
    try {
      found.push(await replay(model, spec, golden[spec.name], TOLERANCES[precision]));
    } catch (error) {
      throw error instanceof FormatError ? new BundleError(error.message) : error;
    }
  }
  return { steps: Math.max(...found.map((each) => each.steps)), share: Math.max(...found.map((each) => each.share)) };
}

async function replay(model: Model, spec: GraphSpec, about: Json | undefined, usual: Tolerance | undefined): Promise<Parity> {
  const values = record(about, `the golden vectors of ${spec.name}`, ["steps", "chosen"], ["tolerance"]);
  const steps = integer(values["steps"], "steps");
  const chosen = items(values["chosen"], "chosen").map((step) => integer(step, "a chosen step"));
  const tolerance = "tolerance" in values ? toleranceFrom(values["tolerance"]) : usual;
  if (!tolerance) throw new BundleError(`this runtime knows no precision ${model.manifest.precision}`);
  const read = (kind: string, name: string): Promise<Tensor> => npy(model.bundle, `golden/${spec.name}/${kind}.${name}.npy`);
  const all = async (kind: string, names: readonly string[]): Promise<Tensors> =>
    Object.fromEntries(await Promise.all(names.map(async (name) => [name, await read(kind, name)] as const)));
  const inputs = await all("inputs", spec.inputs.map((each) => each.name));
  const conditions = await all("conditions", spec.conditions.map((each) => each.name));
  const outputs = await all("outputs", spec.outputs.map((each) => each.name));
  const last = await all("states", spec.states.map((each) => each.name));

  const cursor = model.cursor(conditions, await firstStates(model, spec, conditions), { graph: spec.name });
  const comparison = new Comparison(spec, tolerance);
  for (let step = 1; step <= steps; step++) {
    const given = Object.fromEntries(Object.entries(inputs).map(([name, each]) => [name, row(each, step - 1)]));
    const made = await cursor.step(given);
    const place = chosen.indexOf(step);
    if (place < 0) continue;
    for (const [name, each] of Object.entries(outputs)) comparison.add(name, row(each, place), made[name]);
  }
  const state = cursor.state();
  for (const [name, each] of Object.entries(last)) comparison.add(name, each, state[name]);
  return { steps, share: comparison.result() };
}

async function firstStates(model: Model, spec: GraphSpec, conditions: Tensors): Promise<Tensors> {
  const sizes = new Map([[BATCH, 1]]);
  for (const each of spec.conditions) checkTensor(each, conditions[each.name], sizes);
  const files = new Map<string, Tensor>();
  for (const { initial } of spec.states) if (isFromFile(initial)) files.set(initial.file, await npy(model.bundle, initial.file));
  return Object.fromEntries(spec.states.map((state) => [state.name, firstState(state, sizes, files)]));
}

function toleranceFrom(value: Json | undefined): Tolerance {
  const values = mapping(value, "a tolerance");
  const limit = (name: string): number => number(values[name], name);
  return { absolute: limit("absolute"), relative: limit("relative"), rms: limit("rms"), mismatches: limit("mismatches") };
}

/** The differences of one output or state over all compared steps. */
interface Sums {
  differences: number;
  values: number;
  count: number;
  mismatches: number;
}

class Comparison {
  readonly #spec: GraphSpec;
  readonly #tolerance: Tolerance;
  readonly #sums = new Map<string, Sums>();
  #share = 0;

  constructor(spec: GraphSpec, tolerance: Tolerance) {
    this.#spec = spec;
    this.#tolerance = tolerance;
  }

  /** Compares an output or a state with what is recorded, which may be its first elements alone. */
  add(name: string, recorded: Tensor, made: Tensor): void {
    const stored = Math.min(made.data.length, STORED);
    if (recorded.data.length !== stored && recorded.data.length !== made.data.length) {
      throw new ParityError(`graph ${this.#spec.name}, ${name}: it has ${made.data.length} elements, and ${recorded.data.length} are recorded`);
    }
    const sums = this.#sums.get(name) ?? { differences: 0, values: 0, count: 0, mismatches: 0 };
    this.#sums.set(name, sums);
    const compare = made.dtype.startsWith("float") ? this.#compareReal : this.#compareWhole;
    for (let place = 0; place < recorded.data.length; place++) compare.call(this, name, sums, recorded.data[place], made.data[place]);
  }

  /** The largest share of its tolerance that an element uses. Throws ParityError for what only sums can show. */
  result(): number {
    for (const [name, { differences, values, count, mismatches }] of this.#sums) {
      const share = this.#tolerance.mismatches;
      if (share > 0 && mismatches > Math.ceil(share * count) + 1) {
        throw new ParityError(`graph ${this.#spec.name}, ${name}: ${mismatches} of ${count} elements differ from the recorded ones`);
      }
      const ratio = differences > ROUNDING ** 2 * count ? Math.sqrt(differences / values) : 0;
      if (!(ratio <= this.#limit("rms"))) {
        throw new ParityError(`graph ${this.#spec.name}, ${name}: it differs by ${ratio.toPrecision(3)} in the root mean square`);
      }
    }
    return this.#share;
  }

  #limit(name: "relative" | "rms"): number {
    return Math.max(this.#tolerance[name], ULPS * 2 ** -23);
  }

  #compareReal(name: string, sums: Sums, recorded: number | bigint, made: number | bigint): void {
    const [v, w] = [Number(recorded), Number(made)];
    const apart = v === w ? 0 : Math.abs(w - v);
    const value = Number.isFinite(v) ? v : 0;
    const allowed = Math.max(this.#tolerance.absolute, this.#limit("relative") * Math.abs(value));
    if (!(apart <= allowed)) {
      throw new ParityError(`graph ${this.#spec.name}, ${name}: it is ${w} where ${v} is recorded, beyond ${allowed.toPrecision(3)}`);
    }
    if (apart > 0) this.#share = Math.max(this.#share, apart / allowed);
    sums.differences += apart ** 2;
    sums.values += value ** 2;
    sums.count++;
  }

  #compareWhole(name: string, sums: Sums, recorded: number | bigint, made: number | bigint): void {
    sums.count++;
    if (recorded === made) return;
    sums.mismatches++;
    if (this.#tolerance.mismatches === 0) {
      throw new ParityError(`graph ${this.#spec.name}, ${name}: it is ${made} where ${recorded} is recorded`);
    }
  }
}
