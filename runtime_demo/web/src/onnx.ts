/**
 * The engine of `onnx` bundles: onnxruntime for the web, which the caller imports, since it is large.
 *
 *     import * as ort from "onnxruntime-web/wasm";
 *     const model = await Model.load(files, { engines: [wasmLoader(), onnxLoader(ort)] });
 */
import { copies, type DType, type Elements, type Tensor, type Tensors } from "./arrays.ts";
import type { Bundle } from "./bundle.ts";
import type { GraphSpec } from "./contract.ts";
import type { Cursor, Engine, EngineLoader } from "./engine.ts";
import { EngineError } from "./errors.ts";

/** A tensor of onnxruntime. */
interface OrtTensor {
  readonly type: string;
  readonly dims: readonly number[];
  readonly data: unknown;
}

interface Session {
  run(feeds: Record<string, OrtTensor>): Promise<Record<string, OrtTensor>>;
}

/** What is needed of the packages `onnxruntime-web` and `onnxruntime-node`. */
export interface Ort {
  readonly InferenceSession: { create(graph: Uint8Array, options?: object): Promise<unknown> };
  readonly Tensor: new (type: never, data: never, dims: readonly number[]) => unknown;
}

/** Loads `onnx` bundles in onnxruntime, on one thread of the processor. */
export function onnxLoader(ort: Ort): EngineLoader {
  return {
    target: "onnx",
    async load(bundle: Bundle): Promise<ReadonlyMap<string, Engine>> {
      const engines = new Map<string, Engine>();
      for (const spec of bundle.manifest.contract.graphs) {
        const data = await bundle.file(bundle.manifest.graphs[spec.name]);
        try {
          const session = await ort.InferenceSession.create(data, { executionProviders: ["cpu"], logSeverityLevel: 4 });
          engines.set(spec.name, new OnnxEngine(ort, session as Session, spec));
        } catch (error) {
          throw new EngineError(`graph ${spec.name} cannot be loaded: ${(error as Error).message}`);
        }
      }
      return engines;
    },
  };
}

class OnnxEngine implements Engine {
  readonly spec: GraphSpec;
  readonly #ort: Ort;
  readonly #session: Session;

  constructor(ort: Ort, session: Session, spec: GraphSpec) {
    this.#ort = ort;
    this.#session = session;
    this.spec = spec;
  }

  cursor(conditions: Tensors, state: Tensors): Cursor {
    return new OnnxCursor(this, conditions, state);
  }

  /** The results of the graph, by the names of its outputs. feeds: by the names of its inputs. */
  async run(feeds: Tensors): Promise<Tensors> {
    const given = Object.entries(feeds).map(([name, each]) => [name, this.#given(each)] as const);
    try {
      const made = await this.#session.run(Object.fromEntries(given));
      return Object.fromEntries(this.spec.results.map(([name]) => [name, taken(made[name])]));
    } catch (error) {
      throw new EngineError(`graph ${this.spec.name} failed: ${(error as Error).message}`);
    }
  }

  #given({ dtype, shape, data }: Tensor): OrtTensor {
    return new this.#ort.Tensor(dtype as never, data as never, shape) as OrtTensor;
  }
}

class OnnxCursor implements Cursor {
  readonly #engine: OnnxEngine;
  readonly #conditions: Tensors;
  #state: Tensors;

  constructor(engine: OnnxEngine, conditions: Tensors, state: Tensors) {
    this.#engine = engine;
    this.#conditions = conditions;
    this.#state = state;
  }

  async step(inputs: Tensors): Promise<Tensors> {
    const { spec } = this.#engine;
    const carried = spec.states.map((each) => [each.input, this.#state[each.name]] as const);
    const made = await this.#engine.run({ ...inputs, ...this.#conditions, ...Object.fromEntries(carried) });
    this.#state = Object.fromEntries(spec.states.map((each) => [each.name, made[each.output]]));
    return Object.fromEntries(spec.outputs.map(({ name }) => [name, made[name]]));
  }

  state(): Tensors {
    return copies(this.#state);
  }
}

function taken({ type, dims, data }: OrtTensor): Tensor {
  return { dtype: type as DType, shape: dims, data: data as Elements };
}
