/** The output of a model that scores classes, and probabilities from its scores. */
import type { Tensor } from "./arrays.ts";
import type { TensorSpec } from "./contract.ts";
import { SamplingError, StreamError } from "./errors.ts";
import { STEP, type Model } from "./model.ts";

/** A guess: the likeliest class. probabilities: of all classes, in the order of the labels. */
export interface Guess {
  readonly label: string;
  readonly probability: number;
  readonly probabilities: readonly number[];
}

/** The output of a model's step that scores its classes. Throws StreamError for a model without one. */
export function labelOutput(model: Model): TensorSpec {
  const output = model.contract.graphs.find(({ name }) => name === STEP)?.outputOf("label");
  if (output && model.labels) return output;
  throw new StreamError(`the bundle's task is ${model.manifest.task}, but it scores no classes: that takes an output of the kind label, and the names of the classes in labels.json`);
}

/** The guess of scores (…, classes). Throws SamplingError for scores that are not numbers. */
export function guess(scores: Tensor, labels: readonly string[]): Guess {
  const probabilities = softmax(scores);
  const probability = Math.max(...probabilities);
  return { label: labels[probabilities.indexOf(probability)], probability, probabilities };
}

function softmax({ data }: Tensor): number[] {
  const scores = Array.from(data, Number);
  if (!scores.every(Number.isFinite)) throw new SamplingError("the scores of the classes are not numbers");
  const highest = Math.max(...scores);
  const parts = scores.map((score) => Math.exp(score - highest));
  const sum = parts.reduce((total, part) => total + part, 0);
  return parts.map((part) => part / sum);
}
