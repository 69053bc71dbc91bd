/** Drawing strokes: a stream predicts the next point of the pen, and its random numbers choose it. */
import { tensor, type Tensor } from "./arrays.ts";
import { BATCH, type TensorSpec } from "./contract.ts";
import { StreamError } from "./errors.ts";
import { STEP, type Model } from "./model.ts";
import { ENDS, LIFTS, SIZE, componentsOf, type StrokeUnits } from "./points.ts";
import type { Sampler } from "./sampling.ts";
import type { Stream } from "./stream.ts";
import type { Point } from "./strokes.ts";

const PEN = "pen"; // the state that says where the pen is

/** A model that draws strokes. */
export class Pen {
  readonly model: Model;
  readonly units: StrokeUnits;
  readonly #point: TensorSpec;

  /** Throws StreamError for a model that does not draw strokes, ContractError for one without a graph `step`. */
  constructor(model: Model) {
    const graph = model.contract.graph(STEP);
    const [point, mixture] = [graph.inputOf("point"), graph.outputOf("next-point")];
    const pen = graph.states.find((state) => state.name === PEN);
    const shaped = (spec: TensorSpec | undefined | null): boolean => String(spec?.axes) === `${BATCH},${SIZE}`;
    const components = componentsOf(Number(mixture?.axes[1]));
    const alone = graph.inputs.length === 1 && graph.conditions.length === 0;
    if (!point || !alone || !shaped(point) || !shaped(pen) || !(Number.isInteger(components) && components > 0) || !model.strokes) {
      throw new StreamError(`the bundle's task is ${model.manifest.task}, and it does not draw strokes as CONTRACT.md describes it`);
    }
    [this.model, this.units, this.#point] = [model, model.strokes, point];
  }

  /** A stream that has read the start and the points that are given, and draws on with `draw`. */
  async stream(sampler: Sampler, given: readonly Point[] = []): Promise<Stream> {
    const stream = await this.model.stream(sampler);
    await stream.step(stream.nextPoint());
    await this.read(stream, given);
    return stream;
  }

  /**
   * Lets a stream read points that a person drew, as if it had drawn them. Points that are refused change nothing.
   *
   * Throws StreamError for an offset that is not two finite numbers in single precision, and for a pen that neither lifts,
   * 1, nor draws on, 0.
   */
  async read(stream: Stream, points: readonly Point[]): Promise<void> {
    const rows = points.map((point, place) => this.#row(point, place));
    for (const row of rows) await stream.step({ [this.#point.name]: tensor(this.#point.dtype, [1, SIZE], row) });
  }

  /** Draws the next point; null once the drawing has ended. Throws SamplingError for a mixture that is not made of numbers. */
  async draw(stream: Stream): Promise<Point | null> {
    if (this.ended(stream)) return null;
    const drawn = stream.nextPoint();
    await stream.step(drawn);
    const row = numbers(drawn[this.#point.name]);
    return row[2 + ENDS] === 1 ? null : [this.units.scale * row[0], this.units.scale * row[1], row[2 + LIFTS]];
  }

  /** Whether the drawing of a stream has ended. */
  ended(stream: Stream): boolean {
    return this.#state(stream)[2 + ENDS] === 1;
  }

  /** Whether the pen of a stream draws on from where it is: it does not at the beginning, and after the end of a stroke. */
  draws(stream: Stream): boolean {
    return this.#state(stream)[2] === 1;
  }

  /** Where the pen of a stream is, x and y from the beginning of the drawing. */
  place(stream: Stream): [number, number] {
    const [x, y] = this.#state(stream);
    return [this.units.scale * x, this.units.scale * y];
  }

  /** A point as the network reads it. */
  #row([x, y, lifts]: Point, place: number): number[] {
    const row = [x / this.units.scale, y / this.units.scale, 1 - lifts, lifts, 0];
    if (row.every((each) => Number.isFinite(Math.fround(each))) && (lifts === 0 || lifts === 1)) return row;
    throw new StreamError(`point ${place} is ${x}, ${y}, ${lifts}: it takes two finite numbers, and 1 where the pen lifts, else 0`);
  }

  #state(stream: Stream): number[] {
    return numbers(stream.state[PEN]);
  }
}

function numbers({ data }: Tensor): number[] {
  return Array.from(data, Number);
}
