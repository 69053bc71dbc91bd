/** What the worker does for the views of pictures: it describes, draws, and looks. */
import { BATCH } from "../src/contract.ts";
import { Captioner, Drawer, LENGTH_PENALTY, Looker, Sampler, inverted, shrunk, tensor, toRgba, type Glimpse, type Model, type Stream, type Tensor, type Tensors } from "../src/index.ts";
import { medianTime } from "./measures.ts";
import type { CaptionPart, Pixels } from "./protocol.ts";

const TIMED = 64; // steps that are timed together, since clocks of pages are coarse

/** The state of the cells of a stream's first recurrent layers, or else its first state that holds real numbers. */
export function cellsOf(stream: Stream): Float32Array<ArrayBuffer> {
  const real = stream.spec.states.filter(({ dtype }) => dtype === "float32");
  const shown = real.find(({ axes }) => axes.indexOf(BATCH) === 1) ?? real[0]; // layers come first
  return Float32Array.from(shown ? (stream.state[shown.name].data as Float32Array) : []);
}

/** A picture for a canvas. */
export function pixelsOf(picture: Tensor): Pixels {
  return { data: toRgba(picture), height: picture.shape[0], width: picture.shape[1] };
}

/** A view's work: a model, and the stream that stepped last. */
export interface Session {
  readonly stream: Stream | null;
  /** The inputs of a step that is timed. */
  readonly timedInputs: Tensors;
  /** The picture that the stream sees; sessions without it see none. */
  readonly seen?: Pixels;
  /** How many steps are timed together, unless it is the usual number. */
  readonly timedSteps?: number;
  /** Go on from a snapshot. Throws SnapshotError if it is refused; sessions without it go on from none. */
  restore?(bytes: Uint8Array): Promise<void>;
  /** The stream after so many steps, if it was kept. */
  after?(steps: number): Stream | undefined;
}

/** The time of a step of a session in microseconds, or null before its first stream. */
export async function timeOf({ stream, timedInputs, timedSteps = TIMED }: Session, turn: () => Promise<void>): Promise<number | null> {
  if (stream === null) return null;
  const twin = stream.fork();
  const batch = async (): Promise<void> => {
    for (let count = 0; count < timedSteps; count++) await twin.step(timedInputs);
  };
  return (await medianTime(batch, turn)) / timedSteps;
}

export class Describing implements Session {
  readonly captioner: Captioner;
  picture: Tensor | null = null;
  stream: Stream | null = null;

  constructor(model: Model) {
    this.captioner = new Captioner(model);
  }

  get timedInputs(): Tensors {
    return this.stream ? this.captioner.read(0) : {};
  }

  /** Takes a picture, which is described from now on. */
  take(picture: Tensor): void {
    this.picture = shrunk(picture, this.captioner.largestSide);
  }

  /** The picture as it is shown: not larger than the model takes it. */
  get shown(): Pixels {
    return pixelsOf(this.picture!);
  }

  /** Yields the parts of the caption with the state of the network; returns the candidates. */
  async *parts(beam: number, maxTokens: number): AsyncGenerator<{ part: CaptionPart; cells: Float32Array<ArrayBuffer> }, { text: string; score: number }[]> {
    const picture = this.picture!;
    const candidates = beam > 1 ? await this.captioner.candidates(picture, { width: beam, maxTokens }) : [];
    const made = beam > 1 ? this.captioner.reread(picture, candidates[0].tokens) : this.captioner.tokens(picture, { maxTokens });
    let [text, total, count] = ["", 0, 0];
    for await (const each of made) {
      [text, total, count] = [text + each.text, total + each.logProbability, count + 1];
      this.stream = each.stream;
      const attention = each.attention && Float32Array.from(each.attention.data, Number);
      yield { part: { text: each.text, attention }, cells: cellsOf(each.stream) };
    }
    return beam > 1 ? candidates.map(({ text, score }) => ({ text, score })) : [{ text, score: total / Math.max(1, count) ** LENGTH_PENALTY }];
  }
}

export class Drawing implements Session {
  readonly drawer: Drawer;
  stream: Stream | null = null;

  constructor(model: Model) {
    this.drawer = new Drawer(model);
  }

  get timedInputs(): Tensors {
    return this.stream?.fork().noise() ?? {};
  }

  async begin(label: string | null, seed: bigint, temperature: number, over: boolean): Promise<void> {
    const canvas = over && this.stream !== null ? this.drawer.canvas(this.stream) : {};
    this.stream = await this.drawer.stream(new Sampler({ seed, temperature }), label);
    this.stream.state = { ...this.stream.state, ...canvas };
  }

  async restore(bytes: Uint8Array): Promise<void> {
    const stream = await this.drawer.stream(new Sampler(), this.drawer.labels[0] ?? null);
    stream.restore(bytes);
    this.stream = stream;
  }

  ink(levels: Float32Array): void {
    if (this.stream !== null && this.drawer.takesInk) this.drawer.ink(this.stream, levels);
  }
}

export class Looking implements Session {
  readonly looker: Looker;
  readonly timedInputs: Tensors = {};
  stream: Stream | null = null;
  #taken = new Map<number, Stream>(); // copies of the stream, by the number of glimpses that it has taken

  constructor(model: Model) {
    this.looker = new Looker(model);
  }

  /** A picture of the levels (height · width) that a user has drawn. */
  drawn(levels: Float32Array): Tensor {
    const data = Uint8Array.from({ length: 3 * levels.length }, (_, place) => Math.round(255 * levels[Math.floor(place / 3)]));
    return { dtype: "uint8", shape: [this.looker.height, this.looker.width, 3], data };
  }

  /** Begins to look at a picture, and returns it as the network sees it. */
  async begin(picture: Tensor, invert: boolean): Promise<Pixels> {
    const stream = await this.looker.stream(this.looker.fit(invert ? inverted(picture) : picture));
    return this.#beginWith(stream);
  }

  async restore(bytes: Uint8Array): Promise<void> {
    const { height, width } = this.looker;
    const stream = await this.looker.stream(tensor("uint8", [height, width, 3]));
    stream.restore(bytes);
    this.#beginWith(stream);
  }

  /** The picture as the network sees it. */
  get seen(): Pixels {
    return pixelsOf(this.looker.picture(this.stream!));
  }

  /** The next glimpse, with its number. */
  async look(): Promise<Glimpse & { number: number; last: boolean }> {
    const glimpse = await this.looker.look(this.stream!);
    const number = this.stream!.steps;
    this.#taken.set(number, this.stream!.fork());
    return { ...glimpse, number, last: number >= this.looker.glimpses };
  }

  after(steps: number): Stream | undefined {
    return this.#taken.get(steps);
  }

  #beginWith(stream: Stream): Pixels {
    this.stream = stream;
    this.#taken = new Map([[stream.steps, stream.fork()]]);
    return this.seen;
  }
}
