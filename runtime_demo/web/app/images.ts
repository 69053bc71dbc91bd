/** Image files as pixels, decoded by the browser: in the worker, so that the page stays responsive. */
import { fromRgba, type Tensor } from "../src/index.ts";

const MOST = 150_000_000; // pixels, as in Python
const BAND = 4_000_000; // pixels that are read at a time, since canvases of phones are small

export class Undecodable extends Error {}

/** The picture (height, width, 3) in an image file, on white. Throws Undecodable for a file that the browser cannot decode. */
export async function decoded(file: Blob): Promise<Tensor> {
  const bitmap = await bitmapOf(file);
  const { height, width } = bitmap;
  if (height * width > MOST) throw new Undecodable(`The picture has more than ${MOST.toLocaleString("en")} pixels: shrink it first.`);
  const rows = Math.max(1, Math.min(height, Math.floor(BAND / width)));
  const context = new OffscreenCanvas(width, rows).getContext("2d", { willReadFrequently: true });
  if (context === null) throw new Undecodable("This browser gives the page no canvas to read the picture from.");
  const whole = new Uint8Array(height * width * 3);
  for (let top = 0; top < height; top += rows) {
    const count = Math.min(rows, height - top);
    context.clearRect(0, 0, width, rows);
    context.drawImage(bitmap, 0, -top);
    const { data } = context.getImageData(0, 0, width, count);
    whole.set(fromRgba(data, count, width).data as Uint8Array, top * width * 3);
  }
  bitmap.close();
  return { dtype: "uint8", shape: [height, width, 3], data: whole };
}

/** The levels as they are in the file, turned as its metadata says. */
async function bitmapOf(file: Blob): Promise<ImageBitmap> {
  try {
    return await createImageBitmap(file, { colorSpaceConversion: "none", premultiplyAlpha: "none", imageOrientation: "from-image" });
  } catch {
    throw new Undecodable("This file is not a picture that the browser can open.");
  }
}
