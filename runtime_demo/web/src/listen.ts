/** Listening: a stream reads sound step by step, and a classifier or a tagger says what it hears. */
import type { TensorSpec } from "./contract.ts";
import { StreamError } from "./errors.ts";
import { EventStream, smoothing, type Event } from "./events.ts";
import { STEP, type Model } from "./model.ts";
import { rounded } from "./rounding.ts";
import { Sampler } from "./sampling.ts";
import { guess, labelOutput, type Guess } from "./scores.ts";
import { SoundSteps, type Samples } from "./sound.ts";
import type { Stream } from "./stream.ts";

const TAGGER = "tag"; // the task of networks that label every frame
const FULL_SCALE = 32768;
const LEAD_IN = 0.1; // seconds of sound before it becomes loud that belong to it

/** A model that reads sound, one step after the other, and scores classes. */
export class Listener {
  readonly model: Model;
  readonly labels: readonly string[];
  /** Samples per second, and in a step. */
  readonly sampleRate: number;
  readonly hop: number;
  /** How many steps the scores come later than the sound that they describe. */
  readonly delay: number;
  /** Whether the model labels every step; otherwise it labels the whole of what a stream has read. */
  readonly tags: boolean;
  readonly #audio: TensorSpec;
  readonly #scores: TensorSpec;

  /** Throws StreamError for a model that does not label sound. */
  constructor(model: Model) {
    this.#scores = labelOutput(model);
    const { inputs } = model.contract.graph(STEP);
    const [audio] = inputs;
    if (inputs.length !== 1 || audio.kind !== "audio" || audio.dtype !== "int16" || audio.axes.length !== 2 || !audio.rate) {
      throw new StreamError(`the bundle's task is ${model.manifest.task}, and its step does not read sound as CONTRACT.md describes it`);
    }
    this.model = model;
    [this.#audio, this.labels] = [audio, model.labels!];
    [this.sampleRate, this.hop, this.delay] = [audio.rate, Number(audio.axes[1]), this.#scores.delay];
    this.tags = model.manifest.task === TAGGER;
  }

  /** Steps per second. */
  get rate(): number {
    return this.sampleRate / this.hop;
  }

  stream(): Promise<Stream> {
    return this.model.stream(new Sampler());
  }

  /** What makes steps of sound that arrives with `rate` samples per second. */
  steps(rate: number): SoundSteps {
    return new SoundSteps(rate, this.sampleRate, this.hop);
  }

  /** Reads a step, and returns the guess after it. Throws SamplingError for scores that are not numbers. */
  async hear(stream: Stream, step: Samples): Promise<Guess> {
    const outputs = await stream.step({ [this.#audio.name]: { dtype: "int16", shape: [1, this.hop], data: step } });
    return guess(outputs[this.#scores.name], this.labels);
  }
}

/** What was heard. start, end: in seconds; null while it goes on. probability: of a label of a classifier. */
export interface Heard {
  readonly start: number;
  readonly end: number | null;
  readonly label: string;
  readonly probability: number | null;
}

/** What is known after a step. guess: null where there is none yet. begun: what goes on. ended: what ends here. */
export interface Known {
  readonly guess: Guess | null;
  readonly begun: readonly Heard[];
  readonly ended: readonly Heard[];
}

/** Says what a listener hears, step by step. */
export interface Hearing {
  readonly listener: Listener;
  /** The stream that stepped last. */
  readonly stream: Stream;
  hear(step: Samples): Promise<Known>;
  /** What ends with the last step. */
  end(): readonly Heard[];
}

/** Sounds between pauses. level: of silence, from 0 to 1. pause: the seconds of silence after which a sound has ended. */
export interface Pauses {
  readonly level?: number;
  readonly pause?: number;
}

/** A recording is one sound from its beginning to its end. */
export const WHOLE: Pauses = { level: -1, pause: Infinity };

/** What hears with a listener: the events of a tagger, or the sounds between the pauses of a classifier. */
export async function hearing(listener: Listener, pauses: Pauses = {}): Promise<Hearing> {
  const stream = await listener.stream();
  return listener.tags ? new EventHearing(listener, stream) : new SoundHearing(listener, stream, pauses);
}

/** How loud a step is, from 0 to 1: the root of the mean of its squares. */
export function levelOf(step: Samples): number {
  return Math.sqrt(step.reduce((sum, sample) => sum + (sample / FULL_SCALE) ** 2, 0) / step.length);
}

/** Labels what is louder than silence until there is a pause; after each, a new stream begins. */
class SoundHearing implements Hearing {
  readonly listener: Listener;
  readonly stream: Stream;
  readonly #level: number;
  readonly #pause: number; // in steps
  readonly #leadIn: number;
  #before: Samples[] = []; // steps before the sound
  #open = false; // a sound has begun, and not ended
  #guess: Guess | null = null;
  #answer: Guess | null = null; // the guess where it was loud last: the pause is not a part of the sound
  #time = 0; // in steps: now, when the sound began, and when it was loud last
  #begun = 0;
  #loud = 0;

  constructor(listener: Listener, stream: Stream, { level = 0.01, pause = 0.3 }: Pauses) {
    [this.listener, this.stream, this.#level, this.#pause] = [listener, stream, level, pause * listener.rate];
    this.#leadIn = rounded(LEAD_IN * listener.rate);
  }

  async hear(step: Samples): Promise<Known> {
    this.#time++;
    const loud = levelOf(step) > this.#level;
    if (loud) this.#loud = this.#time;
    if (loud && !this.#open) await this.#begin();
    if (!this.#open) {
      this.#before = [...this.#before, step].slice(-this.#leadIn);
      return { guess: null, begun: [], ended: [] };
    }
    this.#guess = await this.listener.hear(this.stream, step);
    if (loud) this.#answer = this.#guess;
    const ended = this.#time - this.#loud >= this.#pause ? this.end() : [];
    return { guess: this.#guess, begun: this.#open ? [this.#sound(null)] : [], ended };
  }

  end(): readonly Heard[] {
    if (!this.#open) return [];
    this.#open = false;
    return [this.#sound(this.#loud / this.listener.rate)];
  }

  async #begin(): Promise<void> {
    this.stream.reset();
    [this.#open, this.#begun] = [true, this.#time - this.#before.length - 1];
    for (const step of this.#before) await this.listener.hear(this.stream, step);
    this.#before = [];
  }

  #sound(end: number | null): Heard {
    const { label, probability } = (end === null ? this.#guess : this.#answer)!;
    return { start: this.#begun / this.listener.rate, end, label, probability };
  }
}

/** Finds the events of a network that labels every step. */
class EventHearing implements Hearing {
  readonly listener: Listener;
  readonly stream: Stream;
  readonly #events: EventStream;

  constructor(listener: Listener, stream: Stream) {
    [this.listener, this.stream, this.#events] = [listener, stream, new EventStream(smoothing(listener.rate))];
  }

  async hear(step: Samples): Promise<Known> {
    const found = await this.listener.hear(this.stream, step);
    if (this.stream.steps <= this.listener.delay) return { guess: null, begun: [], ended: [] };
    const ended = this.#events.push(found.probabilities.indexOf(found.probability));
    return { guess: found, begun: this.#events.begun.map((each) => this.#heard(each, null)), ended: ended.map((each) => this.#heard(each)) };
  }

  end(): readonly Heard[] {
    return this.#events.finish().map((each) => this.#heard(each));
  }

  #heard({ start, end, label }: Event, last: number | null = end / this.listener.rate): Heard {
    return { start: start / this.listener.rate, end: last, label: this.listener.labels[label], probability: null };
  }
}
