/**
 * Sound: reads WAV files, mixes to one channel, changes the rate as samples arrive, and cuts into steps.
 *
 * Networks take sound as 16-bit integers of one channel at the rate that their contract states.
 */
import { AudioError } from "./errors.ts";
import { rounded } from "./rounding.ts";

const FULL_SCALE = 32768;
const LOWEST_RATE = 1_000;
const HIGHEST_RATE = 1_000_000;
const [INTEGER, FLOAT, EXTENSIBLE] = [1, 3, 0xfffe];
const SUBFORMAT = 24; // where the format code of WAVE_FORMAT_EXTENSIBLE is
const STREAMED = 0x7fff0000; // from this length on, a length that the file does not have is that of a pipe's writer
const COMPRESSED: Record<number, string> = { 2: "ADPCM", 6: "A-law", 7: "mu-law", 17: "ADPCM", 49: "GSM 6.10", 85: "MP3" };
const CLIPPED_RUN = 3; // samples at full scale, one after the other, that speech and music hardly ever have

/** 16-bit integers of one channel. */
export type Samples = Int16Array<ArrayBuffer>;

/** Sound. samples: from -1 to 1, those of all channels at one time side by side. rate: in samples per second. */
export interface Audio {
  readonly samples: Float32Array;
  readonly channels: number;
  readonly rate: number;
}

/**
 * A WAV file: integers of 8 to 32 bits or floats of 32 or 64, and any number of channels.
 *
 * A length of 0 or of more than the file has, as programs that write to a pipe leave it, means up to the end. name: what
 * errors call the file. Throws AudioError for a file that is not a WAV file, is compressed or cut off, for samples that
 * are not finite, and for a file without samples.
 */
export function readWav(data: Uint8Array, name = "the recording"): Audio {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  if (data.length < 12) throw new AudioError(`${name} is not a WAV file: it has ${data.length} bytes`);
  if (!isWav(data)) throw new AudioError(`${name} is not a WAV file: it does not begin with RIFF and WAVE`);
  const declared = view.getUint32(4, true);
  let layout: Layout | null = null;
  for (let at = 12; at + 8 <= data.length; ) {
    const kind = ascii(data, at);
    let length = view.getUint32(at + 4, true);
    at += 8;
    if (kind === "data") {
      if (layout === null) throw new AudioError(`${name} has samples before their format: it is damaged`);
      const left = data.length - at;
      if (length >= Math.max(left, STREAMED) || (length === 0 && declared + 8 !== data.length)) length = left;
      if (length > left) throw new AudioError(`${name} is cut off: it has ${left} of ${length} bytes of samples`);
      return decoded(view, at, length, layout, name);
    }
    if (kind === "fmt ") layout = layoutOf(view, at, Math.min(length, data.length - at), name);
    at += length + (length % 2);
  }
  throw new AudioError(`${name} is cut off: its header ends before the samples`);
}

/** Whether bytes begin as those of a WAV file. */
export function isWav(data: Uint8Array): boolean {
  return data.length >= 12 && ascii(data, 0) === "RIFF" && ascii(data, 8) === "WAVE";
}

/** The mean of the channels as 16-bit integers. One channel of 16 bits comes as it is in its file. */
export function mono({ samples, channels }: Audio): Samples {
  if (channels === 1) return integers(samples);
  const mean = new Float64Array(samples.length / channels);
  for (let at = 0; at < samples.length; at++) mean[Math.floor(at / channels)] += samples[at];
  return integers(mean.map((sum) => sum / channels));
}

/** Samples from -1 to 1 as 16-bit integers. */
export function integers(values: Float32Array | Float64Array): Samples {
  const made = new Int16Array(values.length); // Int16Array.from would list all values first
  for (let at = 0; at < values.length; at++) made[at] = clipped(values[at] * FULL_SCALE);
  return made;
}

/** Whether samples stay at full scale for three samples or longer. */
export function isClipped(samples: Samples): boolean {
  let run = 0;
  return samples.some((sample) => (run = sample >= FULL_SCALE - 1 || sample <= -FULL_SCALE ? run + 1 : 0) >= CLIPPED_RUN);
}

/* --- the rate ----------------------------------------------------------------------------------------------------- */

// A low-pass filter of a windowed sine: a sinc, times the window of Kaiser. Its response is that of soxr's HQ, which the
// runtime in Python uses, within 0.01 dB up to 0.93 of half of the slower rate, and below -100 dB above that half.
const CUTOFF = 0.9568; // of half of the slower rate: where half of the amplitude is left
const REACH = 97; // samples of the slower rate on either side
const SHAPE = 13;
const MOST_WEIGHTS = 1 << 22; // of all phases

/**
 * Changes the rate of sound as it arrives. The samples do not depend on where the sound is cut. If both rates are equal,
 * samples pass unchanged.
 */
export class Resampler {
  readonly #up: number;
  readonly #down: number;
  readonly #scale: number; // samples of the slower rate in one that arrives
  readonly #half: number; // samples on either side from which one is computed
  readonly #phases = new Map<number, Float64Array>();
  #held: Samples; // the samples that are still needed, at first silence
  #first: number; // the place of the first of them in the sound
  #arrived = 0;
  #made = 0;
  #base = 0; // the last sample that is not later than the next that is made
  #phase = 0; // by how much that one is later, in parts of a sample

  /** Rates in samples per second. Throws AudioError for one that no recording has, or rates without a common measure. */
  constructor(rateIn: number, rateOut: number) {
    for (const rate of [rateIn, rateOut]) {
      if (Number.isInteger(rate) && rate >= LOWEST_RATE && rate <= HIGHEST_RATE) continue;
      throw new AudioError(`a rate of ${rate} samples per second is not a whole number within ${LOWEST_RATE} and ${HIGHEST_RATE}`);
    }
    const common = divisor(rateIn, rateOut);
    [this.#up, this.#down] = [rateOut / common, rateIn / common];
    this.#scale = Math.min(1, rateOut / rateIn);
    this.#half = rateIn === rateOut ? 0 : Math.ceil(REACH / this.#scale);
    if (this.#up * (2 * this.#half + 2) > MOST_WEIGHTS) {
      throw new AudioError(`sound of ${rateIn} samples per second cannot be changed to ${rateOut} here: convert it first`);
    }
    this.#held = new Int16Array(this.#half);
    this.#first = -this.#half;
  }

  /** Takes samples, any number, and returns those that can be computed now. */
  push(samples: Samples): Samples {
    if (this.#half === 0) return samples;
    this.#arrived += samples.length;
    this.#held = joined(this.#held, samples);
    return this.#compute(Infinity);
  }

  /** The last samples. Nothing can be pushed afterwards. */
  finish(): Samples {
    if (this.#half === 0) return new Int16Array(0);
    this.#held = joined(this.#held, new Int16Array(this.#half + 2));
    return this.#compute(Math.floor((this.#arrived * this.#up) / this.#down + 0.5));
  }

  /** Compute what the held samples allow, up to a number of samples in all. */
  #compute(most: number): Samples {
    const made: number[] = [];
    const end = this.#first + this.#held.length;
    for (; this.#base + this.#half + 1 < end && this.#made < most; this.#made++) {
      made.push(clipped(this.#sum(this.#base - this.#half - this.#first)));
      this.#phase += this.#down;
      this.#base += Math.floor(this.#phase / this.#up);
      this.#phase %= this.#up;
    }
    const unneeded = Math.max(0, Math.min(this.#base - this.#half - this.#first, this.#held.length));
    this.#held = this.#held.slice(unneeded);
    this.#first += unneeded;
    return Int16Array.from(made);
  }

  #sum(from: number): number {
    const weights = this.#weights();
    let sum = 0;
    for (let place = 0; place < weights.length; place++) sum += weights[place] * this.#held[from + place];
    return sum;
  }

  /** How much each sample counts for one at the present phase. */
  #weights(): Float64Array {
    let weights = this.#phases.get(this.#phase);
    if (weights !== undefined) return weights;
    const later = this.#half + this.#phase / this.#up;
    weights = Float64Array.from({ length: 2 * this.#half + 2 }, (_, place) => this.#scale * lowPass((place - later) * this.#scale));
    this.#phases.set(this.#phase, weights);
    return weights;
  }
}

/** Samples at another rate, as a Resampler returns them. */
export function resample(samples: Samples, rateIn: number, rateOut: number): Samples {
  const resampler = new Resampler(rateIn, rateOut);
  return joined(resampler.push(samples), resampler.finish());
}

/** Cuts sound that arrives in pieces of any size into steps of `hop` samples, at another rate. */
export class SoundSteps {
  readonly #resampler: Resampler;
  readonly #hop: number;
  #rest: Samples = new Int16Array(0);

  /** Rates in samples per second. Throws AudioError for rates that cannot be changed. */
  constructor(rateIn: number, rateOut: number, hop: number) {
    this.#resampler = new Resampler(rateIn, rateOut);
    this.#hop = hop;
  }

  /** Takes samples, and returns the steps that they complete. */
  push(samples: Samples): Samples[] {
    return this.#cut(this.#resampler.push(samples));
  }

  /**
   * The last steps, of which silence completes the last, and `following` more of silence, so that a network whose labels
   * come that much later labels all of the sound. Nothing can be pushed afterwards.
   */
  finish(following = 0): Samples[] {
    const steps = this.#cut(this.#resampler.finish());
    if (this.#rest.length > 0) steps.push(...this.#cut(new Int16Array(this.#hop - this.#rest.length)));
    return [...steps, ...Array.from({ length: following }, () => new Int16Array(this.#hop))];
  }

  #cut(samples: Samples): Samples[] {
    const all = joined(this.#rest, samples);
    const count = Math.floor(all.length / this.#hop);
    this.#rest = all.slice(count * this.#hop);
    return Array.from({ length: count }, (_, place) => all.slice(place * this.#hop, (place + 1) * this.#hop));
  }
}

/** The impulse response of the filter. time: in samples of the slower rate. */
function lowPass(time: number): number {
  const share = time / REACH;
  if (Math.abs(share) >= 1) return 0;
  const angle = Math.PI * CUTOFF * time;
  const sinc = time === 0 ? 1 : Math.sin(angle) / angle;
  return (CUTOFF * sinc * bessel(SHAPE * Math.sqrt(1 - share * share))) / bessel(SHAPE);
}

/** The modified Bessel function of the first kind, of order 0. */
function bessel(x: number): number {
  let [sum, term] = [1, 1];
  for (let k = 1; term > sum * 1e-17; k++) sum += term *= (x / (2 * k)) ** 2;
  return sum;
}

function divisor(one: number, other: number): number {
  return other === 0 ? one : divisor(other, one % other);
}

function joined(one: Samples, other: Samples): Samples {
  if (one.length === 0) return other;
  const made = new Int16Array(one.length + other.length);
  made.set(one);
  made.set(other, one.length);
  return made;
}

function clipped(value: number): number {
  return Math.max(-FULL_SCALE, Math.min(FULL_SCALE - 1, rounded(value)));
}

/* --- WAV files ---------------------------------------------------------------------------------------------------- */

/** How samples are stored. width: bytes of a sample. */
interface Layout {
  readonly floating: boolean;
  readonly channels: number;
  readonly rate: number;
  readonly width: number;
}

function layoutOf(view: DataView, at: number, length: number, name: string): Layout {
  if (length < 16) throw new AudioError(`${name} is cut off: its format has ${length} bytes`);
  const [channels, rate, frame, bits] = [view.getUint16(at + 2, true), view.getUint32(at + 4, true), view.getUint16(at + 12, true), view.getUint16(at + 14, true)];
  let code = view.getUint16(at, true);
  if (code === EXTENSIBLE && length >= SUBFORMAT + 2) code = view.getUint16(at + SUBFORMAT, true);
  if (code !== INTEGER && code !== FLOAT) {
    throw new AudioError(`${name} is compressed (${COMPRESSED[code] ?? `format ${code}`}): convert it to 16-bit PCM`);
  }
  const width = Math.ceil(bits / 8);
  if (channels === 0 || !(code === INTEGER ? [1, 2, 3, 4] : [4, 8]).includes(width) || frame !== channels * width) {
    throw new AudioError(`${name} declares ${channels} channels of ${bits} bits in ${frame} bytes, which no WAV file has: it is damaged`);
  }
  if (rate < LOWEST_RATE || rate > HIGHEST_RATE) throw new AudioError(`${name} declares a rate of ${rate} samples per second: it is damaged`);
  return { floating: code === FLOAT, channels, rate, width };
}

/** The samples of a file. An incomplete last frame is left out. */
function decoded(view: DataView, at: number, length: number, { floating, channels, rate, width }: Layout, name: string): Audio {
  const samples = new Float32Array(Math.floor(length / (channels * width)) * channels);
  const read = reader(view, floating, width);
  for (let place = 0; place < samples.length; place++) samples[place] = read(at + place * width);
  if (samples.length === 0) throw new AudioError(`${name} has no samples: record it again, or remove it`);
  if (!floating) return { samples, channels, rate };
  if (!samples.every(Number.isFinite)) throw new AudioError(`${name} has samples that are not finite: it is damaged`);
  return { samples: samples.map((sample) => Math.max(-1, Math.min(1, sample))), channels, rate };
}

/** What reads the sample at a place of a file. */
function reader(view: DataView, floating: boolean, width: number): (at: number) => number {
  if (floating) return width === 4 ? (at) => view.getFloat32(at, true) : (at) => view.getFloat64(at, true);
  switch (width) {
    case 1:
      return (at) => (view.getUint8(at) - 128) / 128; // bytes have no sign
    case 2:
      return (at) => view.getInt16(at, true) / FULL_SCALE;
    case 3:
      return (at) => (view.getUint16(at, true) + view.getInt8(at + 2) * 65536) / 2 ** 23;
    default:
      return (at) => view.getInt32(at, true) / 2 ** 31;
  }
}

function ascii(data: Uint8Array, at: number): string {
  return String.fromCharCode(...data.subarray(at, at + 4));
}
