/** Suggestions for a keyboard: the likeliest next words. */
import { ConfigError, StreamError } from "./errors.ts";
import { logProbabilities } from "./sampling.ts";
import type { Stream } from "./stream.ts";

const LONGEST = 32; // tokens of a word; longer words are not suggested
const BREADTH = 4; // beginnings that are followed for each suggestion
const HALF = "\ufffd";
const IN_WORDS = /[\p{L}\p{N}_'\u2019]/u;

/** A possible continuation of a text, with the probability that the model gives it. */
export interface Suggestion {
  readonly text: string;
  readonly probability: number;
}

/** A list of tokens that may begin a word, its log-probability, and the stream before the last of them. */
interface Beginning {
  readonly score: number;
  readonly tokens: readonly number[];
  readonly stream: Stream;
}

/**
 * The k likeliest next words after what a stream has read, or ends of the word that it is in; the best first.
 *
 * A word ends before the first character that is no letter, digit, apostrophe or underscore. The stream is not changed.
 * Throws ConfigError for a k below 1, StreamError before the first prefill or for a model that predicts no next token.
 */
export async function suggest(stream: Stream, k: number = 3): Promise<Suggestion[]> {
  if (!(Number.isInteger(k) && k >= 1)) throw new ConfigError(`the number of suggestions, ${k}, is below 1`);
  if (!stream.logits) throw new StreamError("suggestions follow at least one token: prefill a prompt first");
  const { tokenizer } = stream.model.textOf(stream.graph);
  if (!tokenizer) throw new StreamError("the bundle has no tokenizer");
  const never = [...tokenizer.neverSampled, ...(tokenizer.endId === null ? [] : [tokenizer.endId])];
  const found = new Map<string, number>();
  let begun: Beginning[] = [{ score: 0, tokens: [], stream }];
  for (let round = 0; round < LONGEST && begun.length > 0; round++) {
    const longer: Beginning[] = [];
    for (const each of begun) {
      for (const { token, score } of likeliest(each.stream, never, BREADTH * k)) {
        const tokens = [...each.tokens, token];
        const word = firstWord(tokenizer.decode(tokens));
        if (word === null) longer.push({ score: each.score + score, tokens, stream: each.stream });
        else if (word && !word.includes(HALF)) found.set(word, (found.get(word) ?? 0) + Math.exp(each.score + score));
      }
    }
    const kept = longer.sort((a, b) => b.score - a.score).slice(0, BREADTH * k);
    const least = [...found.values()].sort((a, b) => b - a)[k - 1] ?? 0;
    begun = [];
    for (const each of kept) if (Math.exp(each.score) > least) begun.push(await stepped(each));
  }
  const best = [...found].sort(([, a], [, b]) => b - a).slice(0, k);
  return best.map(([text, probability]) => ({ text, probability }));
}

async function stepped(beginning: Beginning): Promise<Beginning> {
  const twin = beginning.stream.fork();
  await twin.prefill([beginning.tokens.at(-1)!]);
  return { ...beginning, stream: twin };
}

/** The likeliest next tokens of a stream, with their log-probabilities. */
function likeliest(stream: Stream, never: readonly number[], count: number): { token: number; score: number }[] {
  const scores = logProbabilities(stream.logits!.data);
  for (const token of never) scores[token] = -Infinity;
  const order = Array.from(scores, (score, token) => ({ token, score })).filter(({ score }) => score > -Infinity);
  return order.sort((a, b) => b.score - a.score).slice(0, count);
}

/** The first word of a text and what precedes it, null while it is incomplete, "" if there is no word. */
function firstWord(text: string): string | null {
  let begun = false;
  let at = 0;
  for (const character of text.replace(/\ufffd+$/, "")) {
    if (IN_WORDS.test(character)) begun = true;
    else if (begun || at > 0) return begun ? text.slice(0, at) : "";
    at += character.length;
  }
  return null;
}
