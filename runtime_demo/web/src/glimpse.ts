/** Looking at pictures by glimpses: a stream takes one at each step, with a guess after each. */
import type { Tensor } from "./arrays.ts";
import type { ConditionSpec, TensorSpec } from "./contract.ts";
import { StreamError } from "./errors.ts";
import { STEP, type Model } from "./model.ts";
import { fitted, shrunk } from "./pictures.ts";
import { Sampler } from "./sampling.ts";
import { guess, type Guess } from "./scores.ts";
import type { Stream } from "./stream.ts";

const COUNTER = "glimpse"; // the state that counts glimpses; its bound is their number in training

/** One glimpse, and the guess after it. boxes: of its patches, the finest first: left, top, right and bottom, in pixels. */
export interface Glimpse extends Guess {
  readonly boxes: readonly (readonly number[])[];
}

/** A model that looks at pictures by glimpses. */
export class Looker {
  readonly model: Model;
  /** The size of its pictures. */
  readonly height: number;
  readonly width: number;
  readonly labels: readonly string[];
  /** The number of glimpses in training. */
  readonly glimpses: number;
  readonly #image: ConditionSpec;
  readonly #scores: TensorSpec;
  readonly #boxes: TensorSpec;

  /** Throws StreamError for a model that does not look by glimpses, ContractError for one without a graph `step`. */
  constructor(model: Model) {
    const graph = model.contract.graph(STEP);
    const image = graph.conditions.find((each) => each.kind === "image" && each.source === null);
    const [scores, boxes] = [graph.outputOf("label"), graph.outputOf("boxes")];
    const counter = graph.states.find((state) => state.name === COUNTER && state.bound);
    if (!image || image.axes.slice(1).some((axis) => typeof axis === "string") || !scores || !boxes || !counter || !model.labels) {
      throw new StreamError(`the bundle's task is ${model.manifest.task}, and it does not look at pictures as CONTRACT.md describes it`);
    }
    this.model = model;
    [this.#image, this.#scores, this.#boxes, this.labels] = [image, scores, boxes, model.labels];
    [this.height, this.width] = image.axes.slice(-3, -1).map(Number);
    this.glimpses = Number(counter.bound);
  }

  /** A picture of any size, bytes (height, width, 3), on a canvas of the model's size. */
  fit(picture: Tensor): Tensor {
    return fitted(shrunk(picture), this.height, this.width);
  }

  /** A stream that looks at a picture of the model's size. */
  stream(picture: Tensor): Promise<Stream> {
    return this.model.stream(new Sampler(), { inputs: { [this.#image.name]: { ...picture, shape: [1, ...picture.shape] } } });
  }

  /** The picture that a stream looks at, bytes (height, width, 3). */
  picture(stream: Stream): Tensor {
    const { dtype, data } = stream.conditions[this.#image.name];
    return { dtype, shape: [this.height, this.width, 3], data };
  }

  /** The next glimpse. Throws SamplingError for scores that are not numbers. */
  async look(stream: Stream): Promise<Glimpse> {
    const outputs = await stream.step({});
    const edges = Array.from(outputs[this.#boxes.name].data, Number);
    const boxes = Array.from({ length: edges.length / 4 }, (_, place) => edges.slice(4 * place, 4 * place + 4));
    return { boxes, ...guess(outputs[this.#scores.name], this.labels) };
  }
}
