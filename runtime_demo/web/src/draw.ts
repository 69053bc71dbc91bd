/** Drawings: a stream writes to its canvas at each step, and the stream's random numbers say what it draws. */
import { tensor, type Tensor, type Tensors } from "./arrays.ts";
import type { ConditionSpec, StateSpec, TensorSpec } from "./contract.ts";
import { ConfigError, StreamError, few } from "./errors.ts";
import { STEP, type Model } from "./model.ts";
import type { Sampler } from "./sampling.ts";
import type { Stream } from "./stream.ts";

const COUNTER = "step"; // the state that counts steps; its bound is their number in a drawing
const CANVAS = "canvas"; // the state of the logits of the pixels
const RANK = 3; // axes of a canvas, and of boxes

/** A drawing after a step. picture: from 0 to 1, (height, width). box: left, top, right and bottom of the window, in pixels. */
export interface Drawn {
  readonly picture: Tensor;
  readonly box: readonly number[];
}

/** A model that draws. */
export class Drawer {
  readonly model: Model;
  /** The number of steps of a drawing. */
  readonly steps: number;
  readonly height: number;
  readonly width: number;
  /** The names of the classes that can be asked for; none for a model that was trained without them. */
  readonly labels: readonly string[];
  readonly #picture: TensorSpec;
  readonly #boxes: TensorSpec;
  readonly #asked: ConditionSpec | null;
  readonly #logits: StateSpec | null;

  /** Throws StreamError for a model that does not draw, ContractError for one without a graph `step`. */
  constructor(model: Model) {
    const graph = model.contract.graph(STEP);
    const [picture, boxes] = [graph.outputOf("canvas"), graph.outputOf("boxes")];
    const counter = graph.states.find((state) => state.name === COUNTER && state.bound);
    const asked = graph.conditions.find((each) => each.kind === "class" && each.source === null) ?? null;
    const fits = picture?.axes.length === RANK && boxes?.axes.length === RANK && counter && graph.inputOf("noise");
    if (!fits || (asked && !model.labels)) {
      throw new StreamError(`the bundle's task is ${model.manifest.task}, and it does not draw as CONTRACT.md describes it`);
    }
    this.model = model;
    [this.#picture, this.#boxes, this.#asked] = [picture, boxes, asked];
    [this.height, this.width] = picture.axes.slice(1).map(Number);
    this.steps = Number(counter.bound);
    this.labels = asked ? model.labels! : [];
    this.#logits = graph.states.find((state) => state.name === CANVAS && String(state.axes) === String(picture.axes)) ?? null;
  }

  /** Whether `ink` can write on the canvas. */
  get takesInk(): boolean {
    return this.#logits !== null;
  }

  /**
   * A stream that draws, step by step, with `step`. label: the name of the class to draw, for a model with labels.
   *
   * Throws ConfigError for a class that the model does not have.
   */
  async stream(sampler: Sampler, label: string | null = null): Promise<Stream> {
    if (!this.#asked) {
      if (label !== null) throw new ConfigError("the model was trained without labels, so it cannot draw a given class: leave out the label");
      return this.model.stream(sampler);
    }
    const place = label === null ? -1 : this.labels.indexOf(label);
    if (place < 0) throw new ConfigError(`there is no class ${label} to draw: there is ${few(this.labels)}`);
    const { name, dtype } = this.#asked;
    return this.model.stream(sampler, { inputs: { [name]: tensor(dtype, [1], [place]) } });
  }

  /** The class that a stream draws, or null for a model without labels. */
  label(stream: Stream): string | null {
    return this.#asked && this.labels[Number(stream.conditions[this.#asked.name].data[0])];
  }

  /** One step of a drawing. */
  async step(stream: Stream): Promise<Drawn> {
    const outputs = await stream.step(stream.noise());
    const { dtype, data } = outputs[this.#picture.name];
    return { picture: { dtype, shape: [this.height, this.width], data }, box: Array.from(outputs[this.#boxes.name].data, Number).slice(0, 4) };
  }

  /** The logits of the canvas (1, height, width), as a part of the state of a stream. */
  canvas(stream: Stream): Tensors {
    return { [this.#ink.name]: stream.state[this.#ink.name] };
  }

  /** What is on the canvas of a stream, from 0 to 1, (height · width); nothing if the model does not keep it as a state. */
  levels(stream: Stream): Float32Array<ArrayBuffer> {
    if (!this.#logits) return new Float32Array(this.height * this.width);
    return Float32Array.from(this.canvas(stream)[this.#logits.name].data as Float32Array, (logit) => 1 / (1 + Math.exp(-logit)));
  }

  /**
   * Makes pixels at least as bright as `levels` (height · width), from 0 to 1: the stream goes on from there.
   *
   * Throws StreamError for another number of levels, and for levels that are not from 0 to 1.
   */
  ink(stream: Stream, levels: Float32Array): void {
    if (levels.length !== this.height * this.width || !levels.every((level) => level >= 0 && level <= 1)) {
      throw new StreamError(`ink takes ${this.height * this.width} levels from 0 to 1, one for each pixel`);
    }
    const state = stream.state;
    const logits = state[this.#ink.name].data as Float32Array;
    const bound = this.#ink.bound ?? Infinity;
    levels.forEach((level, place) => {
      const logit = Math.log(level) - Math.log1p(-level);
      logits[place] = Math.max(logits[place], Math.min(logit, bound));
    });
    stream.state = state;
  }

  get #ink(): StateSpec {
    if (this.#logits) return this.#logits;
    throw new StreamError(`the model has no state ${CANVAS} with the size of its pictures, so nobody can draw on its canvas`);
  }
}
