/** What the worker does for the view of strokes. */
import { Pen, Sampler, fromLines, type Model, type Point, type Stream, type Tensors } from "../src/index.ts";
import { around } from "./boxes.ts";
import type { Box, Line, Progress } from "./protocol.ts";
import type { Session } from "./sessions.ts";

export class Stroking implements Session {
  readonly pen: Pen;
  stream: Stream | null = null;
  #before: Stream | null = null; // the stream before the last point
  #last: Point = [0, 0, 0];

  constructor(model: Model) {
    this.pen = new Pen(model);
  }

  get timedInputs(): Tensors {
    return this.stream?.fork().nextPoint() ?? {};
  }

  /** The number of points that the drawing has. */
  get points(): number {
    return this.stream!.steps - 1; // the first step read the start
  }

  /** Whether the drawing has ended, by itself or because no drawing is longer. */
  get finished(): boolean {
    return this.pen.ended(this.stream!) || this.points >= this.pen.units.longest;
  }

  async begin(seed: bigint, temperature: number, given: readonly Point[]): Promise<void> {
    this.stream = await this.pen.stream(new Sampler({ seed, temperature }));
    await this.#read(given);
  }

  async restore(bytes: Uint8Array): Promise<void> {
    const stream = await this.pen.stream(new Sampler());
    stream.restore(bytes);
    [this.stream, this.#before] = [stream, null];
  }

  /** The next point, or null if the drawing has ended. */
  async draw(): Promise<Point | null> {
    const before = this.stream!.fork();
    const point = this.finished ? null : await this.pen.draw(this.stream!);
    if (point !== null) [this.#before, this.#last] = [before, point];
    return point;
  }

  /** Reads a line that somebody drew, after lifting the pen; also where the network had ended the drawing. */
  async read(line: Line): Promise<void> {
    const { pen } = this;
    if (pen.draws(this.stream!) || pen.ended(this.stream!)) await this.#lift();
    await this.#read(this.points === 0 ? fromLines([line]) : fromLines([[pen.place(this.stream!)], line]).slice(1));
  }

  /** Where the drawing is, and the box of all that the network will add to it from there. */
  async progress(): Promise<Progress> {
    const { pen } = this;
    const twin = this.stream!.fork();
    let [x, y] = pen.place(twin);
    const { points, finished } = this;
    const [{ scale, longest }, draws, at] = [pen.units, pen.draws(twin), [x, y] as const];
    let ahead: Box = [x, y, x, y];
    for (let count = points; count < longest; count++) {
      const point = await pen.draw(twin);
      if (point === null) break;
      [x, y] = [x + point[0], y + point[1]];
      ahead = around(ahead, [x, y]);
    }
    return { at, draws, ahead, points, longest, finished, scale };
  }

  /** Lifts the pen at the last point. After a snapshot, which has no stream before that, one more point lifts it there. */
  async #lift(): Promise<void> {
    const [x, y] = this.#before === null ? [0, 0] : this.#last;
    this.stream = this.#before?.fork() ?? this.stream!;
    await this.pen.read(this.stream, [[x, y, 1]]);
  }

  /** Reads points, and keeps the stream before the last. */
  async #read(points: readonly Point[]): Promise<void> {
    await this.pen.read(this.stream!, points.slice(0, -1));
    this.#before = null;
    for (const last of points.slice(-1)) {
      [this.#before, this.#last] = [this.stream!.fork(), last];
      await this.pen.read(this.stream!, [last]);
    }
  }
}
