/**
 * Sampling: how the next token is drawn from logits, as CONTRACT.md says.
 *
 * Each operation is rounded by itself, in double precision, as JavaScript's are: so the same seed draws the same tokens
 * as in Python and in C.
 */
import type { Elements } from "./arrays.ts";
import { ConfigError, SamplingError } from "./errors.ts";

const MASK = (1n << 64n) - 1n;
const RATIO = 1.7155277699214135; // sqrt(8 / e)
const COLDEST = 0.001; // smaller temperatures could overflow when logits are divided by them
const LARGEST_BIAS = 1e6;
const LARGEST_COUNT = 2 ** 31;

/** The random generator SplitMix64 (Steele, Lea and Flood 2014). */
export class Generator {
  state: bigint;

  constructor(state: bigint) {
    this.state = state & MASK;
  }

  /** The next number in [0, 1), a multiple of 2^-53. */
  uniform(): number {
    this.state = (this.state + 0x9e3779b97f4a7c15n) & MASK;
    let z = this.state;
    z = ((z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n) & MASK;
    z = ((z ^ (z >> 27n)) * 0x94d049bb133111ebn) & MASK;
    return Number((z ^ (z >> 31n)) >> 11n) * 2 ** -53;
  }

  /** The next standard normal deviate, by the ratio of two uniform numbers (Kinderman and Monahan 1977). */
  normal(): number {
    for (;;) {
      const u = 1 - this.uniform();
      const x = (RATIO * (this.uniform() - 0.5)) / u;
      if (u <= exponential(x * x * -0.25)) return x;
    }
  }
}

/** The settings of a sampler; all may be left out. */
export interface Settings {
  /** Logits are divided by it; 0 is greedy. */
  temperature?: number;
  /** Draw from the k likeliest tokens; 0 for all. */
  topK?: number;
  /** Draw from the likeliest tokens whose probabilities add up to it; 1 for all. */
  topP?: number;
  /** Draw from tokens at least this fraction as likely as the likeliest; 0 for all. */
  minP?: number;
  /** Positive logits of the last `repetitionWindow` tokens are divided by it, negative ones multiplied; 1 for none. */
  repetitionPenalty?: number;
  repetitionWindow?: number;
  /** What is added to the logits of some tokens; -Infinity forbids a token. */
  bias?: ReadonlyMap<number, number> | Iterable<readonly [number, number]>;
  /** Equal seeds draw equal tokens; null takes a seed from the operating system. */
  seed?: bigint | number | null;
}

/** How the tokens of a stream are drawn. Immutable; the random generator belongs to the stream. */
export class Sampler {
  readonly temperature: number;
  readonly topK: number;
  readonly topP: number;
  readonly minP: number;
  readonly repetitionPenalty: number;
  readonly repetitionWindow: number;
  readonly bias: ReadonlyMap<number, number>;
  readonly seed: bigint | null;

  /** Throws ConfigError for impossible settings. */
  constructor(settings: Settings = {}) {
    this.temperature = settings.temperature ?? 1;
    this.topK = settings.topK ?? 0;
    this.topP = settings.topP ?? 1;
    this.minP = settings.minP ?? 0;
    this.repetitionPenalty = settings.repetitionPenalty ?? 1;
    this.repetitionWindow = settings.repetitionWindow ?? 64;
    this.bias = new Map(settings.bias ?? []);
    const seed = settings.seed ?? null;
    if (typeof seed === "number" && !Number.isSafeInteger(seed)) throw new ConfigError(`seed ${seed} is not a whole number`);
    this.seed = seed === null ? null : BigInt(seed);
    this.#check();
  }

  /** The sampler with some settings changed. */
  with(settings: Settings): Sampler {
    return new Sampler({ ...this, ...settings });
  }

  #check(): void {
    const { temperature, topP, minP, repetitionPenalty, seed } = this;
    if (temperature !== 0 && !(temperature >= COLDEST && temperature < Infinity)) {
      throw new ConfigError(`temperature ${temperature} is neither 0 nor a number of at least ${COLDEST}`);
    }
    for (const [name, value] of Object.entries({ top_k: this.topK, repetition_window: this.repetitionWindow })) {
      if (!Number.isInteger(value) || value < 0 || value > LARGEST_COUNT) {
        throw new ConfigError(`${name} ${value} is no whole number from 0 to ${LARGEST_COUNT}`);
      }
    }
    if (!(topP > 0 && topP <= 1)) throw new ConfigError(`top_p ${topP} is not above 0 and at most 1`);
    if (!(minP >= 0 && minP <= 1)) throw new ConfigError(`min_p ${minP} is not from 0 to 1`);
    if (!(repetitionPenalty > 0 && repetitionPenalty < Infinity)) {
      throw new ConfigError(`repetition_penalty ${repetitionPenalty} is not a number above 0`);
    }
    if (seed !== null && (seed < 0n || seed > MASK)) throw new ConfigError(`seed ${seed} is outside 0..2**64-1`);
    for (const [token, value] of this.bias) {
      if (!Number.isInteger(token) || token < 0 || !(Math.abs(value) <= LARGEST_BIAS || value === -Infinity)) {
        throw new ConfigError(`the bias ${value} for token ${token} is neither -Infinity nor within 1e6, or there is no such token`);
      }
    }
  }

  /**
   * A token drawn from logits (vocabulary,).
   *
   * recent: the preceding tokens, in order. forbidden: tokens that are never drawn.
   * Throws SamplingError if a logit is NaN or infinite, or all tokens are forbidden.
   */
  draw(logits: Elements, generator: Generator, recent: readonly number[] = [], forbidden: readonly number[] = []): number {
    const weights = Float64Array.from(logits as Float32Array);
    this.#adjust(weights, recent, forbidden);
    const highest = largest(weights);
    if (!Number.isFinite(highest)) throw new SamplingError(`no token can be drawn: the highest logit is ${highest}`);
    if (this.temperature === 0) return weights.indexOf(highest);
    const least = this.topK > 0 && this.topK < weights.length ? kthLargest(weights, this.topK) : -Infinity;
    for (let token = 0; token < weights.length; token++) {
      weights[token] = weights[token] < least ? 0 : exponential((weights[token] - highest) / this.temperature);
    }
    if (this.topP < 1) dropBelow(weights, leastOfTopP(weights, this.topP));
    if (this.minP > 0) dropBelow(weights, this.minP); // the likeliest token has a weight of 1
    return place(weights, generator.uniform());
  }

  #adjust(weights: Float64Array, recent: readonly number[], forbidden: readonly number[]): void {
    const penalty = this.repetitionPenalty;
    if (penalty !== 1 && this.repetitionWindow > 0) {
      for (const token of new Set(recent.slice(-this.repetitionWindow))) {
        weights[token] = weights[token] > 0 ? weights[token] / penalty : weights[token] * penalty;
      }
    }
    for (const [token, value] of this.bias) {
      if (token >= weights.length) {
        throw new SamplingError(`a bias is given for token ${token}, and the vocabulary ends at ${weights.length - 1}`);
      }
      weights[token] += value;
    }
    for (const token of forbidden) weights[token] = -Infinity;
  }
}

/** The largest weight; NaN if any is. */
function largest(weights: Float64Array): number {
  let highest = -Infinity;
  for (const weight of weights) highest = weight > highest || Number.isNaN(weight) ? weight : highest;
  return weights.some(Number.isNaN) ? NaN : highest;
}

/** The k-th largest weight, by a heap of the k largest. */
function kthLargest(weights: Float64Array, k: number): number {
  const heap = weights.slice(0, k).sort(); // a sorted array is a heap with the least on top
  for (let at = k; at < weights.length; at++) {
    if (weights[at] > heap[0]) replaceTop(heap, weights[at]);
  }
  return heap[0];
}

function replaceTop(heap: Float64Array, value: number): void {
  let at = 0;
  for (;;) {
    let child = 2 * at + 1;
    if (child + 1 < heap.length && heap[child + 1] < heap[child]) child++;
    if (child >= heap.length || heap[child] >= value) break;
    heap[at] = heap[child];
    at = child;
  }
  heap[at] = value;
}

/** The smallest of the weights that top-p keeps. */
function leastOfTopP(weights: Float64Array, topP: number): number {
  const falling = weights.slice().sort().reverse();
  let total = 0;
  for (const weight of falling) total += weight;
  let at = 0;
  for (let sum = falling[0]; sum < topP * total; sum += falling[at]) at++;
  return falling[at];
}

function dropBelow(weights: Float64Array, least: number): void {
  for (let token = 0; token < weights.length; token++) if (weights[token] < least) weights[token] = 0;
}

/** The first place at which the running sum of the weights is above u times the whole sum. */
function place(weights: Float64Array, u: number): number {
  let sum = 0;
  for (let token = 0; token < weights.length; token++) weights[token] = sum += weights[token];
  const at = u * sum;
  let [low, high] = [0, weights.length - 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (weights[middle] > at) high = middle;
    else low = middle + 1;
  }
  return low;
}

/* --- the exponential ---------------------------------------------------------------------------------------------- */

const ROOTS = `
  3FF0000000000000 3FEFA7C1819E90D8 3FEF50765B6E4540 3FEEFA1BEE615A27 3FEEA4AFA2A490DA 3FEE502EE78B3FF6
  3FEDFC97337B9B5F 3FEDA9E603DB3285 3FED5818DCFBA487 3FED072D4A07897C 3FECB720DCEF9069 3FEC67F12E57D14B
  3FEC199BDD85529C 3FEBCC1E904BC1D2 3FEB7F76F2FB5E47 3FEB33A2B84F15FB 3FEAE89F995AD3AD 3FEA9E6B5579FDBF
  3FEA5503B23E255D 3FEA0C667B5DE565 3FE9C49182A3F090 3FE97D829FDE4E50 3FE93737B0CDC5E5 3FE8F1AE99157736
  3FE8ACE5422AA0DB 3FE868D99B4492ED 3FE82589994CCE13 3FE7E2F336CF4E62 3FE7A11473EB0187 3FE75FEB564267C9
  3FE71F75E8EC5F74 3FE6DFB23C651A2F 3FE6A09E667F3BCD 3FE6623882552225 3FE6247EB03A5585 3FE5E76F15AD2148
  3FE5AB07DD485429 3FE56F4736B527DA 3FE5342B569D4F82 3FE4F9B2769D2CA7 3FE4BFDAD5362A27 3FE486A2B5C13CD0
  3FE44E086061892D 3FE4160A21F72E2A 3FE3DEA64C123422 3FE3A7DB34E59FF7 3FE371A7373AA9CB 3FE33C08B26416FF
  3FE306FE0A31B715 3FE2D285A6E4030B 3FE29E9DF51FDEE1 3FE26B4565E27CDD 3FE2387A6E756238 3FE2063B88628CD6
  3FE1D4873168B9AA 3FE1A35BEB6FCB75 3FE172B83C7D517B 3FE1429AAEA92DE0 3FE11301D0125B51 3FE0E3EC32D3D1A2
  3FE0B5586CF9890F 3FE0874518759BC8 3FE059B0D3158574 3FE02C9A3E778061`;
const PARTS = 64;
const LAST = 960 * PARTS;
const WHOLE = 1.5 * 2 ** 52; // numbers near it are whole
const POWERS = powers();

/** 2^(-n / 64) for n from 0 to 61440. */
function powers(): Float64Array {
  const roots = ROOTS.trim().split(/\s+/).map((bits) => BigInt(`0x${bits}`));
  const made = new Float64Array(LAST + PARTS);
  made.set(new Float64Array(new BigInt64Array(roots).buffer));
  for (let n = PARTS; n < made.length; n++) made[n] = made[n - PARTS] * 0.5;
  return made;
}

/** The exponential of a number of at most 0, as CONTRACT.md defines it. */
export function exponential(x: number): number {
  const n = -x * 92.33248261689366 + WHOLE - WHOLE;
  if (n > LAST) return 0;
  const r = x + n * 0.010830424696223417 + n * 2.572804622327669e-14;
  const p = r * (1 + r * (0.5 + r * (0.16666666666666666 + r * (0.041666703066666665 + r * 0.008333333333333333))));
  const power = POWERS[n];
  return power + power * p;
}

/** The natural logarithms of the probabilities of logits (vocabulary,), before any sampler. */
export function logProbabilities(logits: Elements): Float64Array {
  const wide = Float64Array.from(logits as Float32Array);
  const highest = largest(wide);
  let sum = 0;
  for (const logit of wide) sum += Math.exp(logit - highest);
  return wide.map((logit) => logit - highest - Math.log(sum));
}
