/**
 * Pictures: tensors of bytes (height, width, 3), red, green and blue, brought to the size that a model takes.
 *
 * Every operation is one of CONTRACT.md, in whole numbers or in double precision, so that the same pixels give the same
 * bytes as in Python.
 */
import { tensor, type Tensor } from "./arrays.ts";
import { ContractError } from "./errors.ts";
import { rounded } from "./rounding.ts";

/** The largest side of a picture, in pixels, for models that do not name a smaller one. */
export const LARGEST_SIDE = 1024;

const CHANNELS = 3;
const BITS = 22; // of the fraction of a weight

/** A picture of the pixels of a canvas, bytes (height, width, 4) with an opacity each, on white. */
export function fromRgba(pixels: Uint8Array | Uint8ClampedArray, height: number, width: number): Tensor {
  const made = blank(height, width);
  const { data } = made;
  for (let [from, to] = [0, 0]; to < data.length; from += 4, to += CHANNELS) {
    const opacity = pixels[from + 3];
    for (let channel = 0; channel < CHANNELS; channel++) {
      const mixed = 128 * (pixels[from + channel] * opacity + 255 * (255 - opacity)) + 16384;
      data[to + channel] = opacity === 255 ? pixels[from + channel] : ((mixed >> 8) + mixed) >> 15;
    }
  }
  return made;
}

/** The pixels of a picture for a canvas: bytes (height, width, 4), opaque. */
export function toRgba(picture: Tensor): Uint8ClampedArray<ArrayBuffer> {
  const [height, width] = sizeOf(picture);
  const made = new Uint8ClampedArray(4 * height * width).fill(255);
  for (let [from, to] = [0, 0]; to < made.length; from += CHANNELS, to += 4) {
    for (let channel = 0; channel < CHANNELS; channel++) made[to + channel] = Number(picture.data[from + channel]);
  }
  return made;
}

/** Height and width. Throws ContractError for a tensor that is no picture. */
export function sizeOf({ dtype, shape }: Tensor): [number, number] {
  if (dtype !== "uint8" || shape.length !== 3 || shape[2] !== CHANNELS || shape[0] < 1 || shape[1] < 1) {
    throw new ContractError(`a picture is uint8 (height, width, 3), and not ${dtype} (${shape.join(", ")})`);
  }
  return [shape[0], shape[1]];
}

/** A picture without a side above `largest`: whole blocks of pixels are averaged first, if it is much larger. */
export function shrunk(picture: Tensor, largest: number = LARGEST_SIDE): Tensor {
  const [height, width] = sizeOf(picture);
  const longest = Math.max(height, width);
  if (longest <= largest) return picture;
  const side = (length: number): number => Math.max(1, rounded((length * largest) / longest));
  return resized(reduced(picture, Math.max(1, Math.floor(longest / (2 * largest)))), side(height), side(width));
}

/** A picture at another size, by the triangle filter; its proportions may change. */
export function resized(picture: Tensor, height: number, width: number): Tensor {
  const [rows, columns] = sizeOf(picture);
  const down = (from: Tensor): Tensor => (rows === height ? from : alongColumns(from, height));
  const across = (from: Tensor): Tensor => (columns === width ? from : alongRows(from, width));
  return rows - height > Math.max(0, 2 * (columns - width)) ? across(down(picture)) : down(across(picture));
}

/**
 * A picture on a canvas of another size, with its proportions; a larger one is scaled down.
 *
 * The canvas around it has the median colour of its edge.
 */
export function fitted(picture: Tensor, height: number, width: number): Tensor {
  const [rows, columns] = sizeOf(picture);
  const factor = Math.min(height / rows, width / columns, 1);
  const [inner, across] = [rows, columns].map((side) => Math.max(1, rounded(side * factor)));
  const small = resized(picture, inner, across);
  const made = blank(height, width);
  const colour = edgeColour(picture);
  for (let at = 0; at < made.data.length; at++) made.data[at] = colour[at % CHANNELS];
  const [top, left] = [Math.floor((height - inner) / 2), Math.floor((width - across) / 2)];
  for (let row = 0; row < inner; row++) {
    const line = small.data.subarray(row * across * CHANNELS, (row + 1) * across * CHANNELS) as Uint8Array;
    (made.data as Uint8Array).set(line, ((top + row) * width + left) * CHANNELS);
  }
  return made;
}

/** A picture with each byte subtracted from 255: bright ink for dark ink. */
export function inverted(picture: Tensor): Tensor {
  return { ...picture, data: (picture.data as Uint8Array).map((level) => 255 - level) };
}

function blank(height: number, width: number): Tensor {
  return tensor("uint8", [height, width, CHANNELS]);
}

/** The median of each channel over the first and last row and the first and last column, rounded down. */
function edgeColour(picture: Tensor): number[] {
  const [height, width] = sizeOf(picture);
  const row = (at: number): number[] => Array.from({ length: width }, (_, column) => at * width + column);
  const column = (at: number): number[] => Array.from({ length: height }, (_, line) => line * width + at);
  const places = [...row(0), ...row(height - 1), ...column(0), ...column(width - 1)];
  return Array.from({ length: CHANNELS }, (_, channel) => {
    const levels = places.map((place) => Number(picture.data[place * CHANNELS + channel])).sort((a, b) => a - b);
    const middle = levels.length / 2; // their number is even
    return Math.floor((levels[middle - 1] + levels[middle]) / 2);
  });
}

/** A picture whose pixels are the means of blocks of `factor` × `factor` pixels, fewer at the right and lower edge. */
function reduced(picture: Tensor, factor: number): Tensor {
  if (factor === 1) return picture;
  const [height, width] = sizeOf(picture);
  const [rows, columns] = [Math.ceil(height / factor), Math.ceil(width / factor)];
  const made = blank(rows, columns);
  for (let row = 0; row < rows; row++) {
    const bottom = Math.min((row + 1) * factor, height);
    for (let column = 0; column < columns; column++) {
      const right = Math.min((column + 1) * factor, width);
      const count = (bottom - row * factor) * (right - column * factor);
      const multiplier = Math.floor(Math.fround(2 ** 24 / count));
      for (let channel = 0; channel < CHANNELS; channel++) {
        let sum = count >> 1;
        for (let y = row * factor; y < bottom; y++) {
          for (let x = column * factor; x < right; x++) sum += Number(picture.data[(y * width + x) * CHANNELS + channel]);
        }
        made.data[(row * columns + column) * CHANNELS + channel] = Math.floor((sum * multiplier) / 2 ** 24);
      }
    }
  }
  return made;
}

/** How much the pixels `first`, `first` + 1, … of a line count for one pixel of the line at another length. */
interface Weights {
  readonly first: number;
  readonly weights: Int32Array;
}

function triangle(length: number, made: number): Weights[] {
  const scale = length / made;
  const reach = Math.max(scale, 1);
  return Array.from({ length: made }, (_, place) => {
    const centre = (place + 0.5) * scale;
    const first = Math.max(Math.trunc(centre - reach + 0.5), 0);
    const end = Math.min(Math.trunc(centre + reach + 0.5), length);
    const heights = Float64Array.from({ length: end - first }, (_, at) => {
      const away = Math.abs((at + first - centre + 0.5) * (1 / reach));
      return away < 1 ? 1 - away : 0;
    });
    let sum = 0;
    for (const height of heights) sum += height;
    return { first, weights: Int32Array.from(heights, (height) => Math.trunc(0.5 + (height / sum) * 2 ** BITS)) };
  });
}

function alongRows(picture: Tensor, width: number): Tensor {
  const [height, columns] = sizeOf(picture);
  const made = blank(height, width);
  for (const [column, { first, weights }] of triangle(columns, width).entries()) {
    for (let row = 0; row < height; row++) {
      mix(picture, (row * columns + first) * CHANNELS, CHANNELS, weights, made, (row * width + column) * CHANNELS);
    }
  }
  return made;
}

function alongColumns(picture: Tensor, height: number): Tensor {
  const [rows, width] = sizeOf(picture);
  const made = blank(height, width);
  for (const [row, { first, weights }] of triangle(rows, height).entries()) {
    for (let column = 0; column < width; column++) {
      mix(picture, (first * width + column) * CHANNELS, width * CHANNELS, weights, made, (row * width + column) * CHANNELS);
    }
  }
  return made;
}

/** One pixel of `made` at `to` from those of `picture` that begin at `from`, `step` bytes apart. */
function mix(picture: Tensor, from: number, step: number, weights: Int32Array, made: Tensor, to: number): void {
  const [source, target] = [picture.data as Uint8Array, made.data as Uint8Array];
  for (let channel = 0; channel < CHANNELS; channel++) {
    let sum = 1 << (BITS - 1);
    for (let place = 0, at = from + channel; place < weights.length; place++, at += step) sum += source[at] * weights[place];
    target[to + channel] = Math.min(sum >> BITS, 255);
  }
}
