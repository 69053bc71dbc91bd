/** What the worker does for the view that listens. */
import { Listener, hearing, levelOf, type Guess, type Heard, type Hearing, type Model, type Pauses, type Samples, type SoundSteps, type Stream, type Tensors } from "../src/index.ts";
import type { Answer, Body } from "./protocol.ts";
import { cellsOf, type Session } from "./sessions.ts";

type Piece = Extract<Body<Answer>, { kind: "heard" }>;

export class Listening implements Session {
  readonly listener: Listener;
  #hearing: Hearing | null = null;
  #steps: SoundSteps | null = null; // of the sound that is heard
  #heard = 0; // steps
  #guess: Guess | null = null; // the last

  constructor(model: Model) {
    this.listener = new Listener(model);
  }

  get stream(): Stream | null {
    return this.#hearing?.stream ?? null;
  }

  get timedInputs(): Tensors {
    const { hop, model } = this.listener;
    const [{ name }] = model.contract.graph("step").inputs;
    return { [name]: { dtype: "int16", shape: [1, hop], data: new Int16Array(hop) } };
  }

  /** Begins with a new sound. Throws AudioError for a rate that cannot be changed. */
  async begin(rate: number, pauses: Pauses): Promise<void> {
    this.#steps = this.listener.steps(rate);
    this.#hearing = await hearing(this.listener, pauses);
    this.#heard = 0;
  }

  /** Hears samples, and yields what is known after every `piece` steps. */
  async *hear(samples: Samples, piece: number): AsyncGenerator<Piece> {
    yield* this.#read(this.#steps?.push(samples) ?? [], piece);
  }

  /** Hears what is left. recording: whether nothing follows, so that what was heard last is labelled too. */
  async *end(recording: boolean): AsyncGenerator<Piece> {
    if (this.#hearing === null) return;
    const { delay, tags } = this.listener;
    yield* this.#read(this.#steps?.finish(recording && tags ? delay : 0) ?? [], Infinity);
    yield this.#piece(0, recording ? this.#guess : null, [], this.#hearing.end());
    this.#steps = null;
  }

  async *#read(steps: readonly Samples[], piece: number): AsyncGenerator<Piece> {
    let [level, ended]: [number, Heard[]] = [0, []];
    for (const [place, step] of steps.entries()) {
      const known = await this.#hearing!.hear(step);
      this.#heard++;
      this.#guess = known.guess;
      level = Math.max(level, levelOf(step));
      ended.push(...known.ended);
      if ((place + 1) % piece !== 0 && place + 1 < steps.length) continue;
      yield this.#piece(level, known.guess, known.begun, ended);
      [level, ended] = [0, []];
    }
  }

  #piece(level: number, guess: Guess | null, begun: readonly Heard[], ended: readonly Heard[]): Piece {
    const time = this.#heard / this.listener.rate;
    return { kind: "heard", time, level, guess, begun, ended, cells: cellsOf(this.#hearing!.stream) };
  }
}
