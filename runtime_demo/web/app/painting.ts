/** What the worker does for the view of paintings. */
import { Painter, addStroke, ground, pictureOf, resized, shrunk, strokeOf, tensor, type Model, type Stream, type Tensor, type Tensors } from "../src/index.ts";
import type { Pixels } from "./protocol.ts";
import { pixelsOf, type Session } from "./sessions.ts";

const SIDE = 512; // pixels of the longer side of what is shown, as in Python
const SMALL = 192; // the same of the photograph beside it
const BYTE = 255;

export class Painting implements Session {
  readonly painter: Painter;
  readonly timedInputs: Tensors = {};
  readonly timedSteps = 4; // steps are slow
  stream: Stream | null = null;
  #canvas: Tensor | null = null; // as it is shown, with the proportions of the photograph

  constructor(model: Model) {
    this.painter = new Painter(model);
  }

  /** Begins to paint a photograph, and returns it, small. */
  async begin(photograph: Tensor): Promise<Pixels> {
    const [height, width] = photograph.shape;
    const factor = SIDE / Math.max(height, width);
    this.stream = await this.painter.stream(photograph);
    const colour = Array.from(this.painter.canvas(this.stream).data.subarray(0, 3), Number);
    this.#canvas = ground(Math.max(1, Math.round(factor * height)), Math.max(1, Math.round(factor * width)), colour);
    return pixelsOf(shrunk(photograph, SMALL));
  }

  async restore(bytes: Uint8Array): Promise<void> {
    const stream = await this.painter.stream(tensor("uint8", [1, 1, 3]));
    stream.restore(bytes);
    this.stream = stream;
    const { shape, data } = resized(pictureOf(this.painter.canvas(stream)), SIDE, SIDE);
    this.#canvas = { dtype: "float32", shape, data: Float32Array.from(data as Uint8Array, (level) => level / BYTE) };
  }

  /** The photograph as the network sees it, which is square. */
  get seen(): Pixels {
    return pixelsOf(this.painter.photograph(this.stream!));
  }

  async paint(): Promise<void> {
    const stroke = await this.painter.step(this.stream!);
    if (this.stream!.steps <= this.painter.strokes) addStroke(this.#canvas!, strokeOf(stroke), this.painter.side);
  }

  /** The painting as it is shown. */
  get shown(): Pixels {
    return pixelsOf(pictureOf(this.#canvas!));
  }
}
