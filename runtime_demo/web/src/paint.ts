/** Paintings: a stream adds one stroke to its canvas at each step. */
import type { Tensor } from "./arrays.ts";
import { NUMBERS } from "./brushwork.ts";
import type { ConditionSpec, StateSpec, TensorSpec } from "./contract.ts";
import { SamplingError, StreamError } from "./errors.ts";
import { STEP, type Model } from "./model.ts";
import { resized, shrunk } from "./pictures.ts";
import { Sampler } from "./sampling.ts";
import type { Stream } from "./stream.ts";

const COUNTER = "step"; // the state that counts strokes; its bound is their number in training
const RANK = 4; // axes of a canvas of colours
const LARGEST_SIDE = 8192; // pixels of a photograph, as in Python
const BYTE = 255;
const TINY = 1e-9;

/** A model that paints. */
export class Painter {
  readonly model: Model;
  /** The side of its canvas, in pixels. */
  readonly side: number;
  /** The number of strokes in training. */
  readonly strokes: number;
  readonly #image: ConditionSpec;
  readonly #canvas: StateSpec;
  readonly #stroke: TensorSpec;

  /** Throws StreamError for a model that does not paint, ContractError for one without a graph `step`. */
  constructor(model: Model) {
    const graph = model.contract.graph(STEP);
    const image = graph.conditions.find((each) => each.kind === "image" && each.source === null);
    const canvas = graph.states.find((each) => each.kind === "canvas" && each.axes.length === RANK);
    const stroke = graph.outputOf("stroke");
    const counter = graph.states.find((state) => state.name === COUNTER && state.bound);
    const [height, width] = canvas?.axes.slice(1) ?? [];
    const square = typeof height === "number" && height === width && String(image?.axes.slice(1)) === String(canvas?.axes.slice(1));
    if (!image || !canvas || !stroke || !counter || graph.inputs.length > 0 || !square || stroke.axes.at(-1) !== NUMBERS) {
      throw new StreamError(`the bundle's task is ${model.manifest.task}, and it does not paint as CONTRACT.md describes it`);
    }
    this.model = model;
    [this.#image, this.#canvas, this.#stroke] = [image, canvas, stroke];
    [this.side, this.strokes] = [height, Number(counter.bound)];
  }

  /** A photograph of any size, bytes (height, width, 3), at the size of the canvas; its proportions may change. */
  fit(picture: Tensor): Tensor {
    return resized(shrunk(picture, LARGEST_SIDE), this.side, this.side);
  }

  /** A stream that paints a photograph of any size, with a stroke for each `step`. */
  stream(picture: Tensor): Promise<Stream> {
    const fitted = this.fit(picture);
    return this.model.stream(new Sampler(), { inputs: { [this.#image.name]: { ...fitted, shape: [1, ...fitted.shape] } } });
  }

  /** Paints a stroke, and returns its twelve numbers. Throws SamplingError if they are not numbers. */
  async step(stream: Stream): Promise<readonly number[]> {
    const outputs = await stream.step({});
    const stroke = Array.from(outputs[this.#stroke.name].data, Number);
    if (!stroke.every(Number.isFinite)) throw new SamplingError("the stroke is not made of numbers");
    return stroke;
  }

  /** The canvas of a stream, from 0 to 1, float32 (side, side, 3). */
  canvas(stream: Stream): Tensor {
    const { dtype, data } = stream.state[this.#canvas.name];
    return { dtype, shape: [this.side, this.side, 3], data };
  }

  /** The photograph of a stream, bytes (side, side, 3). */
  photograph(stream: Stream): Tensor {
    const { dtype, data } = stream.conditions[this.#image.name];
    return { dtype, shape: [this.side, this.side, 3], data };
  }

  /** The squared error of the canvas of a stream, divided by that of the photograph in its mean colour. */
  error(stream: Stream): number {
    const [painted, given] = [this.canvas(stream).data as Float32Array, this.photograph(stream).data as Uint8Array];
    const means = [0, 1, 2].map((channel) => mean(given, (level, at) => (at % 3 === channel ? (3 * level) / BYTE : 0)));
    const plain = mean(given, (level, at) => (level / BYTE - means[at % 3]) ** 2);
    return mean(given, (level, at) => (level / BYTE - painted[at]) ** 2) / Math.max(plain, TINY);
  }
}

function mean(levels: Uint8Array, of: (level: number, at: number) => number): number {
  let sum = 0;
  for (let at = 0; at < levels.length; at++) sum += of(levels[at], at);
  return sum / levels.length;
}
