/**
 * Points of a pen: how the next one is drawn from the mixture that a network predicts, as CONTRACT.md says.
 *
 * A point is five numbers: its offset x and y from the point before, and its state, of which one number is 1: the pen
 * draws on from here, it lifts here, or the drawing has ended.
 */
import type { Elements } from "./arrays.ts";
import { ConfigError, FormatError, SamplingError } from "./errors.ts";
import { integer, number, record, type Json } from "./records.ts";
import { Sampler, type Generator } from "./sampling.ts";

export const SIZE = 5; // numbers of a point
export const [LIFTS, ENDS] = [1, 2]; // of the states; in the first, the pen draws on
const FIGURES = 6; // numbers of a component of the mixture
const STATES = 3;

/** What a network reads before the first point. */
export const START: readonly number[] = [0, 0, 0, 1, 0];

/** The units of a model's drawings. scale: offsets are divided by it. longest: the points of the longest drawing in the data. */
export interface StrokeUnits {
  readonly scale: number;
  readonly longest: number;
}

/** The content of `strokes.json`. Throws FormatError for anything else. */
export function unitsFromJson(value: Json): StrokeUnits {
  const values = record(value, "strokes.json", ["scale", "longest"]);
  const units = { scale: number(values["scale"], "strokes.json: scale"), longest: integer(values["longest"], "strokes.json: longest") };
  if (!(units.scale > 0 && units.longest > 0)) throw new FormatError("strokes.json: the scale or the longest drawing is not a number above 0");
  return units;
}

/**
 * Draws the next point, five numbers, from what a network predicts (6 · components + 3).
 *
 * Throws ConfigError for a temperature of 0, SamplingError for a prediction that is not made of numbers.
 */
export function drawPoint(prediction: Elements, temperature: number, generator: Generator): Float32Array<ArrayBuffer> {
  if (temperature === 0) throw new ConfigError("at temperature 0 no point is drawn: choose one of at least 0.001");
  const wide = Float64Array.from(prediction as Float32Array);
  if (!wide.every(Number.isFinite)) throw new SamplingError("no point can be drawn: the mixture is not made of numbers");
  const sampler = new Sampler({ temperature });
  const count = componentsOf(wide.length);
  const point = new Float32Array(SIZE);
  const state = sampler.draw(wide.subarray(FIGURES * count), generator);
  point[2 + state] = 1;
  if (state === ENDS) return point;
  const component = sampler.draw(wide.subarray(0, count), generator);
  const [x, y, across, down, correlation] = [1, 2, 3, 4, 5].map((figure) => wide[figure * count + component]);
  const [a, b] = [generator.normal(), generator.normal()];
  const spread = Math.sqrt(temperature);
  const rest = Math.sqrt(Math.max(0, 1 - correlation * correlation));
  point[0] = x + spread * (across * a);
  point[1] = y + spread * (down * (correlation * a + rest * b));
  return point;
}

/** Of how many components a mixture of so many numbers consists; not a whole number if it is none. */
export function componentsOf(numbers: number): number {
  return (numbers - STATES) / FIGURES;
}
