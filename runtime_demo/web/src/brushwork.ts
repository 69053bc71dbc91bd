/** Strokes of oil paint, rendered at any size, by the formula of CONTRACT.md. */
import { tensor, type Tensor } from "./arrays.ts";
import { rounded } from "./rounding.ts";

export const NUMBERS = 12; // of a stroke
const CHANNELS = 3;
const EDGE = 0.6; // pixels over which the sides of a stroke fade,
const END = 1.2; // and its ends
const COARSE = 1.7; // stripes of the bristles in half a width
const FINE = 2.9;
const FADED = 12; // widths of an edge, beyond which nothing is seen
const FLAT = 1 / 3; // the mean of the square of the place along a stroke, which keeps a bent one where it is
const LEVELS = 255;

/**
 * A stroke. x, y: its centre. cos, sin: of its angle from the x axis. length, width: half of them. bend: how far its ends
 * lie to one side. Lengths are shares of the side of the canvas.
 */
export interface Brushstroke {
  readonly x: number;
  readonly y: number;
  readonly cos: number;
  readonly sin: number;
  readonly length: number;
  readonly width: number;
  readonly bend: number;
  readonly opacity: number;
  readonly bristles: number;
  /** Red, green and blue, from 0 to 1. */
  readonly colour: readonly number[];
}

/** The stroke of the twelve numbers of an output of the kind `stroke`. */
export function strokeOf(numbers: readonly number[]): Brushstroke {
  const [x, y, across, down, width, bendX, bendY, opacity, bristles, ...colour] = numbers;
  const angle = 0.5 * Math.atan2(down, across);
  const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
  return { x, y, cos, sin, length: Math.hypot(across, down), width, bend: bendY * cos - bendX * sin, opacity, bristles, colour };
}

/** An empty canvas of one colour, float32 (height, width, 3). */
export function ground(height: number, width: number, colour: readonly number[]): Tensor {
  const made = tensor("float32", [height, width, CHANNELS]);
  for (let at = 0; at < made.data.length; at++) made.data[at] = colour[at % CHANNELS];
  return made;
}

/**
 * Adds a stroke to a canvas (height, width, 3), in place.
 *
 * side: of the canvas of the network in pixels. On a finer canvas, the edges of the stroke are sharper.
 */
export function addStroke(canvas: Tensor, stroke: Brushstroke, side: number): void {
  const [height, width] = canvas.shape;
  const [perRow, perColumn] = [height / side, width / side];
  const { cos, sin, opacity, bristles, colour } = stroke;
  const [x, y, length, half, bend] = [stroke.x, stroke.y, stroke.length, stroke.width, stroke.bend].map((share) => share * side);
  const sharp = Math.min(1, 1 / Math.sqrt(perRow * perColumn));
  const [edge, end] = [sharp * EDGE, sharp * END];
  const far = length + FADED * end;
  const wide = half + Math.abs(bend) * (far / length) ** 2 + FADED * edge;
  const [top, bottom] = range(y, Math.abs(sin) * far + Math.abs(cos) * wide, perRow, height);
  const [left, right] = range(x, Math.abs(cos) * far + Math.abs(sin) * wide, perColumn, width);
  const data = canvas.data as Float32Array;
  for (let row = top; row < bottom; row++) {
    const down = (row + 0.5) / perRow - y;
    for (let column = left; column < right; column++) {
      const across = (column + 0.5) / perColumn - x;
      const along = across * cos + down * sin;
      const v = down * cos - across * sin - bend * ((along / length) ** 2 - FLAT);
      const inside = sigmoid((half - Math.abs(v)) / edge) * sigmoid((length - Math.abs(along)) / end);
      const stripes = triangle((v * COARSE) / half) + triangle((v * FINE) / half);
      const covered = opacity * inside * (1 - 0.5 * bristles * stripes);
      for (let channel = 0, at = CHANNELS * (row * width + column); channel < CHANNELS; channel++, at++) {
        data[at] += covered * (colour[channel] - data[at]);
      }
    }
  }
}

/** A canvas as a picture, bytes (height, width, 3). */
export function pictureOf(canvas: Tensor): Tensor {
  const made = tensor("uint8", canvas.shape);
  const data = canvas.data as Float32Array;
  for (let at = 0; at < data.length; at++) {
    made.data[at] = rounded(Math.fround(LEVELS * Math.min(Math.max(data[at], 0), 1)));
  }
  return made;
}

/** The first pixel of an axis within `reach` of a centre, and the one after the last; at least one pixel. */
function range(centre: number, reach: number, scale: number, size: number): [number, number] {
  const begin = Math.min(Math.max(0, Math.floor((centre - reach) * scale)), size - 1);
  return [begin, Math.max(begin + 1, Math.min(size, Math.ceil((centre + reach) * scale)))];
}

function sigmoid(x: number): number {
  return 1 / (1 + Math.exp(-x));
}

function triangle(phase: number): number {
  return Math.abs(2 * (phase - Math.floor(phase)) - 1);
}
