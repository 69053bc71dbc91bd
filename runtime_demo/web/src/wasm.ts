/**
 * The engine of `wasm` bundles: the code of the C target, compiled to WebAssembly.
 *
 * All memory is set aside when a bundle is loaded: the weights, and for each graph its tensors and what a step computes
 * in. The states of the stream that steps lie there, and leave only when another stream of the same model steps.
 */
import { ARRAYS, elements, tensor, type Elements, type Tensor, type Tensors } from "./arrays.ts";
import type { Bundle } from "./bundle.ts";
import { BATCH, paddedAxis, shapeOf, type GraphSpec, type TensorSpec } from "./contract.ts";
import type { Cursor, Engine, EngineLoader } from "./engine.ts";
import { EngineError, FormatError } from "./errors.ts";
import { integer, mapping, parse, text, type Json } from "./records.ts";

const PAGE = 1 << 16;
const ALIGNMENT = 64; // bytes, as the weights and the scratch memory of the generated code need
const RECORD = "edgernn"; // the section of a module that describes its graphs
// A module with one function that contains one instruction of SIMD128.
const SIMD = new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0, 1, 4, 1, 96, 0, 0, 3, 2, 1, 0, 10, 9, 1, 7, 0, 65, 0, 253, 15, 26, 11]);

/** Whether this machine runs the faster module of a bundle. */
export function hasSimd(): boolean {
  return WebAssembly.validate(SIMD);
}

/**
 * Loads `wasm` bundles. simd: whether to use the module with SIMD128; by default, where the machine has it. Both give
 * the same bits.
 */
export function wasmLoader(simd: boolean = hasSimd()): EngineLoader {
  return {
    target: "wasm",
    async load(bundle: Bundle): Promise<ReadonlyMap<string, Engine>> {
      const { contract, graphs } = bundle.manifest;
      const file = graphs[contract.graphs[0].name];
      const stem = file.replace(/\.wasm$/, "");
      const [code, blob] = await Promise.all([bundle.file(simd ? file : `${stem}.base.wasm`), bundle.file(`${stem}.bin`)]);
      const module = await Module.load(code, file);
      const weights = module.take(blob.length);
      const places = contract.graphs.map((spec) => reserve(module, spec));
      new Uint8Array(module.buffer).set(blob, weights);
      return new Map(
        places.map((place) => [place.spec.name, new WasmEngine(module, place, module.open(place.spec.name, weights, blob.length))]),
      );
    },
  };
}

type Run = (inputs: number, outputs: number, scratch: number, weights: number, level: number) => void;
type Open = (blob: number, size: number) => number;

/** What a module says of one of its graphs. sizes: of named axes. scratch: the bytes in which a step computes. */
interface Described {
  readonly sizes: ReadonlyMap<string, number>;
  readonly scratch: number;
}

/** A module of WebAssembly, with its functions and its memory, pieces of which are taken and never given back. */
class Module {
  readonly #name: string;
  readonly #graphs: ReadonlyMap<string, Described>;
  readonly #exports: WebAssembly.Exports;
  readonly #memory: WebAssembly.Memory;
  #next: number;

  private constructor(name: string, graphs: ReadonlyMap<string, Described>, exports: WebAssembly.Exports) {
    this.#name = name;
    this.#graphs = graphs;
    this.#exports = exports;
    this.#memory = exports["memory"] as WebAssembly.Memory;
    this.#next = (exports["__heap_base"] as WebAssembly.Global).value as number;
  }

  /** Compiles the content of a file. Throws EngineError for anything but what edgernn wrote. */
  static async load(code: Uint8Array, file: string): Promise<Module> {
    try {
      const module = await WebAssembly.compile(code as Uint8Array<ArrayBuffer>);
      const [section] = WebAssembly.Module.customSections(module, RECORD);
      if (!section) throw new FormatError("edgernn did not write it");
      const record = mapping(parse(new Uint8Array(section), "its record"), "its record");
      const graphs = Object.entries(mapping(record["graphs"], "graphs")).map(([name, value]) => [name, described(value)] as const);
      return new Module(text(record["name"], "name"), new Map(graphs), (await WebAssembly.instantiate(module)).exports);
    } catch (error) {
      throw new EngineError(`${file} cannot be loaded: ${(error as Error).message}`);
    }
  }

  /** The memory. It must not be kept until everything is taken. */
  get buffer(): ArrayBuffer {
    return this.#memory.buffer as ArrayBuffer;
  }

  /** The address of so many bytes. Throws EngineError if the device has no more memory. */
  take(bytes: number): number {
    const address = Math.ceil(this.#next / ALIGNMENT) * ALIGNMENT;
    this.#next = address + bytes;
    const pages = Math.ceil((this.#next - this.#memory.buffer.byteLength) / PAGE);
    try {
      if (pages > 0) this.#memory.grow(pages);
    } catch {
      const size = Math.ceil(this.#next / 2 ** 20);
      throw new EngineError(`this device does not have the ${size} MiB of memory that the model needs`);
    }
    return address;
  }

  /** What the module says of a graph. */
  described(graph: string): Described {
    const found = this.#graphs.get(graph);
    if (!found) throw new EngineError(`graph ${graph} is not in the module, which has ${[...this.#graphs.keys()].join(", ")}`);
    return found;
  }

  /** The address of the weights of a graph in the content of the file of all weights. */
  open(graph: string, blob: number, size: number): number {
    const address = (this.#exports[`${this.#name}_${graph}_open`] as Open)(blob, size);
    if (address === 0) throw new EngineError("the file of the weights is not the one that the module was written with");
    return address;
  }

  /** The function that computes a step of a graph. */
  run(graph: string): Run {
    return this.#exports[`${this.#name}_${graph}_run`] as Run;
  }
}

function described(value: Json): Described {
  const values = mapping(value, "a graph");
  const sizes = Object.entries(mapping(values["sizes"], "sizes")).map(([axis, size]) => [axis, integer(size, axis)] as const);
  return { sizes: new Map([...sizes, [BATCH, 1]]), scratch: integer(values["scratch"], "scratch") };
}

/** A tensor of a graph in the memory of its module. */
interface Place {
  readonly spec: TensorSpec;
  readonly shape: readonly number[];
  readonly address: number;
}

/** Where a graph has its tensors. states: two sets, of which a step reads one and writes the other. */
interface Places {
  readonly spec: GraphSpec;
  readonly inputs: readonly Place[];
  readonly conditions: readonly Place[];
  readonly outputs: readonly Place[];
  readonly states: readonly [readonly Place[], readonly Place[]];
  /** The addresses of two tables of pointers, for what a step reads and for what it writes, for each set of states. */
  readonly tables: readonly [readonly [number, number], readonly [number, number]];
  readonly scratch: number;
}

function reserve(module: Module, spec: GraphSpec): Places {
  const { sizes, scratch } = module.described(spec.name);
  const place = (each: TensorSpec): Place => {
    const shape = shapeOf(each, sizes);
    return { spec: each, shape, address: module.take(elements(shape) * ARRAYS[each.dtype].BYTES_PER_ELEMENT) };
  };
  const table = (...groups: (readonly Place[])[]): number => {
    const addresses = groups.flat().map((each) => each.address);
    const address = module.take(4 * addresses.length);
    new Uint32Array(module.buffer, address, addresses.length).set(addresses);
    return address;
  };
  const [inputs, conditions, outputs] = [spec.inputs, spec.conditions, spec.outputs].map((specs) => specs.map(place));
  const states: [Place[], Place[]] = [spec.states.map(place), spec.states.map(place)];
  const tables = (turn: 0 | 1): [number, number] => [table(inputs, conditions, states[turn]), table(outputs, states[1 - turn])];
  return { spec, inputs, conditions, outputs, states, tables: [tables(0), tables(1)], scratch: module.take(scratch) };
}

class WasmEngine implements Engine {
  readonly spec: GraphSpec;
  readonly #places: Places;
  readonly #weights: number;
  readonly #run: Run;
  readonly #inputs: readonly Elements[];
  readonly #conditions: readonly Elements[];
  readonly #states: readonly [readonly Elements[], readonly Elements[]];
  readonly #outputs: Tensors;
  #turn: 0 | 1 = 0;
  #resident: WasmCursor | null = null; // whose states and conditions lie in the memory

  constructor(module: Module, places: Places, weights: number) {
    const view = ({ spec, shape, address }: Place): Elements => new ARRAYS[spec.dtype](module.buffer, address, elements(shape));
    this.spec = places.spec;
    this.#places = places;
    this.#weights = weights;
    this.#run = module.run(places.spec.name);
    this.#inputs = places.inputs.map(view);
    this.#conditions = places.conditions.map(view);
    this.#states = [places.states[0].map(view), places.states[1].map(view)];
    const outputs = places.outputs.map((each) => [each.spec.name, { dtype: each.spec.dtype, shape: each.shape, data: view(each) }]);
    this.#outputs = Object.fromEntries(outputs);
  }

  cursor(conditions: Tensors, state: Tensors): Cursor {
    const { conditions: places, outputs } = this.#places;
    const sizes = new Map<string, number>();
    for (const { spec, shape } of places) {
      conditions[spec.name].shape.forEach((size, place) => {
        const axis = spec.axes[place];
        if (typeof axis === "string") sizes.set(axis, size);
        if (size > shape[place] || (size < shape[place] && place !== paddedAxis(spec))) {
          throw new EngineError(
            `${spec.name} has ${size} ${axis}, and graph ${this.spec.name} was generated for ${shape[place]}: ` +
              `export it with --size ${axis}=${size}`,
          );
        }
      });
    }
    const held = places.map(({ spec, shape }) => resized(conditions[spec.name], shape).data);
    const first = this.spec.states.map((spec) => state[spec.name].data);
    const shapes = outputs.map(({ spec, shape }) => spec.axes.map((axis, place) => sizes.get(String(axis)) ?? shape[place]));
    const whole = outputs.every(({ shape }, place) => String(shape) === String(shapes[place]));
    return new WasmCursor(this, held, first, whole ? null : shapes);
  }

  /** One step of a cursor. shapes: of the outputs, if they are smaller than those of the graph. */
  step(cursor: WasmCursor, inputs: Tensors, shapes: readonly number[][] | null): Tensors {
    if (this.#resident !== cursor) this.#admit(cursor);
    this.spec.inputs.forEach((spec, place) => fill(this.#inputs[place], inputs[spec.name].data, spec.name));
    const [read, written] = this.#places.tables[this.#turn];
    try {
      this.#run(read, written, this.#places.scratch, this.#weights, 0);
    } catch (error) {
      throw new EngineError(`graph ${this.spec.name} failed: ${(error as Error).message}`);
    }
    this.#turn = this.#turn === 0 ? 1 : 0;
    if (!shapes) return this.#outputs;
    return Object.fromEntries(this.spec.outputs.map(({ name }, place) => [name, resized(this.#outputs[name], shapes[place])]));
  }

  /** Copies of the states of a cursor, in order. */
  stateOf(cursor: WasmCursor): Elements[] {
    const states = this.#resident === cursor ? this.#states[this.#turn] : cursor.absent;
    return states.map((each) => each.slice());
  }

  #admit(cursor: WasmCursor): void {
    if (this.#resident) this.#resident.absent = this.stateOf(this.#resident);
    this.#resident = cursor;
    this.#turn = 0;
    this.#conditions.forEach((view, place) => fill(view, cursor.conditions[place], this.spec.conditions[place].name));
    this.#states[0].forEach((view, place) => fill(view, cursor.absent[place], this.spec.states[place].name));
    cursor.absent = [];
  }
}

class WasmCursor implements Cursor {
  readonly #engine: WasmEngine;
  readonly #shapes: readonly number[][] | null;
  readonly conditions: readonly Elements[];
  absent: readonly Elements[]; // the states, while those of another cursor lie in the memory of the module

  constructor(engine: WasmEngine, conditions: readonly Elements[], states: readonly Elements[], shapes: readonly number[][] | null) {
    this.#engine = engine;
    this.#shapes = shapes;
    this.conditions = conditions;
    this.absent = states;
  }

  step(inputs: Tensors): Tensors {
    return this.#engine.step(this, inputs, this.#shapes);
  }

  state(): Tensors {
    const { spec } = this.#engine;
    const sizes = new Map([[BATCH, 1]]);
    const states = this.#engine.stateOf(this);
    return Object.fromEntries(
      spec.states.map((each, place) => [each.name, { dtype: each.dtype, shape: shapeOf(each, sizes), data: states[place] }]),
    );
  }
}

function fill(view: Elements, data: Elements, name: string): void {
  if (view.length !== data.length) throw new EngineError(`${name} has ${data.length} elements, and the graph takes ${view.length}`);
  (view as Float32Array).set(data as Float32Array);
}

/** A tensor cut, or padded with zeros, at the end of each axis. */
function resized(given: Tensor, shape: readonly number[]): Tensor {
  if (String(given.shape) === String(shape)) return given;
  const made = tensor(given.dtype, shape);
  const copyRows = (axis: number, from: number, to: number): void => {
    if (axis === shape.length) {
      made.data[to] = given.data[from];
      return;
    }
    for (let place = 0; place < Math.min(shape[axis], given.shape[axis]); place++) {
      copyRows(axis + 1, from * given.shape[axis] + place, to * shape[axis] + place);
    }
  };
  copyRows(0, 0, 0);
  return made;
}
