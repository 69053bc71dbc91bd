/** Drawings as strokes: what a pen does from point to point. */
import { FormatError } from "./errors.ts";
import { items, mapping, number, parse, type Json } from "./records.ts";

/** The offset x and y from the point before, y downwards, and 1 where the pen lifts after the point, else 0. */
export type Point = readonly [number, number, number];

/** A stroke: the places x and y of its points. */
export type Line = readonly (readonly [number, number])[];

const MOST_POINTS = 5_000; // of a drawing
const LARGEST = 1e6; // of a coordinate

/** Strokes as points after the first, which becomes 0, 0. A first stroke of one point is one of no offset, where the pen lifts. */
export function fromLines(lines: readonly Line[]): Point[] {
  const places = lines.flatMap((line) => line.map(([x, y], place) => [x, y, place === line.length - 1 ? 1 : 0] as const));
  const points = places.map(([x, y, lifts], place): Point => {
    const [beforeX, beforeY] = places[Math.max(0, place - 1)];
    return [x - beforeX, y - beforeY, lifts];
  });
  return points[0]?.[2] === 1 ? points : points.slice(1);
}

/** The strokes of points; the first one begins at 0, 0. */
export function toLines(points: readonly Point[]): [number, number][][] {
  const lines: [number, number][][] = points.length > 0 ? [[[0, 0]]] : [];
  let [x, y, lifted] = [0, 0, 0];
  for (const [across, down, lifts] of points) {
    [x, y] = [x + across, y + down];
    if (lifted === 1) lines.push([]);
    lines.at(-1)!.push([x, y]);
    lifted = lifts;
  }
  return lines;
}

/**
 * One drawing in a JSON file, as points: a list of strokes, each a list of its points [x, y], or an object whose
 * `drawings` is a list of one such list.
 *
 * The first point becomes 0, 0, and the pen lifts after each stroke; not after the last one if `lifted` is [false].
 * Throws FormatError for anything else, and for a drawing that is empty or too large.
 */
export function readStrokes(data: Uint8Array): Point[] {
  const what = "the drawing";
  let value = parse(data, what);
  let lifts = true;
  if (!Array.isArray(value)) {
    const values = mapping(value, what);
    const drawings = items(values["drawings"], `${what}: drawings`);
    if (drawings.length !== 1) throw new FormatError(`the file has ${drawings.length} drawings: name a file of one`);
    lifts = JSON.stringify(values["lifted"]) !== "[false]";
    value = drawings[0];
  }
  const lines = items(value, `${what}: the strokes`).map((stroke) => items(stroke, `${what}: a stroke`).map((point) => pair(point, what)));
  const count = lines.reduce((sum, line) => sum + line.length, 0);
  if (lines.length === 0 || lines.some((line) => line.length === 0)) throw new FormatError(`${what} or a stroke is empty: it needs a point at least`);
  if (count > MOST_POINTS) throw new FormatError(`${what} has ${count} points, more than ${MOST_POINTS}: simplify it`);
  const points = fromLines(lines);
  return lifts ? points : [...points.slice(0, -1), ...points.slice(-1).map(([x, y]): Point => [x, y, 0])];
}

function pair(value: Json, what: string): [number, number] {
  const numbers = items(value, `${what}: a point`).map((each) => number(each, `${what}: a coordinate`));
  if (numbers.length !== 2 || numbers.some((each) => Math.abs(each) > LARGEST)) {
    throw new FormatError(`${what}: a point is not two numbers x, y within ${LARGEST}`);
  }
  return [numbers[0], numbers[1]];
}
