/** Events: the spans of a sequence of labels in which one label lasts. */
import { rounded } from "./rounding.ts";

const BACKGROUND = 0; // the label of frames in which nothing happens
const SECONDS = 0.05; // of sound: shorter events are dropped, and shorter gaps within events closed

/** The frames from `start` up to, but not including, `end`, which all have the label `label`. */
export interface Event {
  readonly start: number;
  readonly end: number;
  readonly label: number;
}

/** Gaps of fewer than `merged` frames are closed, and events of fewer than `shortest` frames dropped. */
export interface Smoothing {
  readonly merged: number;
  readonly shortest: number;
}

/** The limits for labels of sound at `rate` frames per second: 50 ms. */
export function smoothing(rate: number): Smoothing {
  return { merged: rounded(SECONDS * rate), shortest: rounded(SECONDS * rate) };
}

/**
 * The runs of equal labels, in order, without those of the background and of unknown labels (below 0).
 *
 * Events are merged before and after the short ones are dropped, so that neither a gap of a few frames nor a short event
 * of another label splits a long event.
 */
export function events(labels: readonly number[], { merged, shortest }: Smoothing = { merged: 0, shortest: 1 }): Event[] {
  const runs: Event[] = [];
  for (let start = 0, end = 0; start < labels.length; start = end) {
    while (end < labels.length && labels[end] === labels[start]) end++;
    if (labels[start] > BACKGROUND) runs.push({ start, end, label: labels[start] });
  }
  return merge(merge(runs, merged).filter(({ start, end }) => end - start >= shortest), merged);
}

/**
 * Finds the events of labels that arrive one by one: in all, the same as `events` finds in all labels. An event comes as
 * soon as no later label can change it.
 */
export class EventStream {
  /** The events that are certain to come, whose ends may still move. */
  begun: readonly Event[] = [];
  readonly #limits: Smoothing;
  #pending: number[] = []; // labels from which events may still come
  #first = 0; // the frame of the first of them

  constructor(limits: Smoothing = { merged: 0, shortest: 1 }) {
    this.#limits = limits;
  }

  /** Takes the label of the next frame, and returns the events that it completes. */
  push(label: number): Event[] {
    this.#pending.push(label);
    const [count, { merged }] = [this.#pending.length, this.#limits];
    const last = events(this.#pending, { merged, shortest: 1 }).at(-1);
    const growing = last && count - last.end < Math.max(merged, 1) ? last : null; // the next label may continue it
    const every = events(this.#pending, this.#limits);
    const open = every.findIndex((each) => !this.#isFinal(each, growing));
    const final = this.#placed(open < 0 ? every : every.slice(0, open));
    this.begun = this.#placed(every.slice(final.length));
    if (growing === null && final.length === every.length) this.#drop(count);
    else if (final.length > 0) this.#drop(final.at(-1)!.end - this.#first);
    return final;
  }

  /** The events that end with the last frame, or were not complete before it. */
  finish(): Event[] {
    const found = this.#placed(events(this.#pending, this.#limits));
    this.#drop(this.#pending.length);
    this.begun = [];
    return found;
  }

  /** Whether no later label can change an event. */
  #isFinal(event: Event, growing: Event | null): boolean {
    const [count, reach] = [this.#pending.length, event.end + this.#limits.merged];
    const joins = growing !== null && growing.label === event.label && growing.start < reach;
    return event.end < count && reach <= count && !joins;
  }

  #placed(found: readonly Event[]): Event[] {
    return found.map(({ start, end, label }) => ({ start: start + this.#first, end: end + this.#first, label }));
  }

  #drop(count: number): void {
    this.#pending = this.#pending.slice(count);
    this.#first += count;
  }
}

/** Joins successive events of one label with fewer than `merged` frames between them. */
function merge(runs: readonly Event[], merged: number): Event[] {
  const joined: Event[] = [];
  for (const run of runs) {
    const last = joined.at(-1);
    if (last && last.label === run.label && run.start - last.end < merged) joined[joined.length - 1] = { ...last, end: run.end };
    else joined.push(run);
  }
  return joined;
}
