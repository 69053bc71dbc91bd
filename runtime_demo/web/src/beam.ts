/** The likeliest continuations of a stream: beam search, and greedy search as a beam of width 1. */
import { ConfigError, StreamError } from "./errors.ts";
import { logProbabilities } from "./sampling.ts";
import type { Stream } from "./stream.ts";
import type { Tokenizer } from "./tokenizer.ts";

/** A continuation. score: the log-probability, divided by the number of tokens to the power of the length penalty. */
export interface Candidate {
  readonly tokens: readonly number[];
  readonly text: string;
  readonly logProbability: number;
  readonly score: number;
}

/** A beginning of a continuation, the sum of its log-probabilities, and the stream that has read it. */
interface Live {
  readonly tokens: readonly number[];
  readonly total: number;
  readonly stream: Stream;
}

/**
 * The best continuations found with a beam of a width, best first. The stream is not changed.
 *
 * A continuation ends at the end token, which its text omits, or after `maxTokens`. A width of 1 is greedy decoding.
 * Throws ConfigError for impossible settings, StreamError before the first prefill.
 */
export async function beamSearch(
  stream: Stream,
  { width = 5, maxTokens = 50, lengthPenalty = 0.7 }: { width?: number; maxTokens?: number; lengthPenalty?: number } = {},
): Promise<Candidate[]> {
  if (!(Number.isInteger(width) && width >= 1 && Number.isInteger(maxTokens) && maxTokens >= 1 && lengthPenalty >= 0)) {
    throw new ConfigError("a beam needs a width and max_tokens of at least 1, and a length penalty of at least 0");
  }
  const { tokenizer, nextToken } = stream.model.textOf(stream.graph);
  if (!tokenizer || !nextToken) throw new StreamError(`graph ${stream.graph} predicts no next token, so it cannot decode: call step`);
  if (!stream.logits) throw new StreamError("there are no logits yet: prefill a prompt first");
  const score = (total: number, length: number): number => total / Math.max(1, length) ** lengthPenalty;
  const ended: Candidate[] = [];
  let live: Live[] = [{ tokens: [], total: 0, stream: stream.fork() }];
  for (let length = 1; live.length > 0 && !settled(ended, live, width, (total) => score(total, maxTokens)); length++) {
    const next: Live[] = [];
    for (const { tokens, total, stream: before } of extensions(live, tokenizer, width > 1 ? 2 * width : 1)) {
      if (next.length === width) break;
      if (tokens.at(-1) === tokenizer.endId || length === maxTokens) {
        ended.push({ tokens, text: textOf(tokens, tokenizer), logProbability: total, score: score(total, length) });
      } else next.push({ tokens, total, stream: before });
    }
    live = await Promise.all(next.map(read));
  }
  return ended.sort((a, b) => b.score - a.score).slice(0, width);
}

/** The likeliest extensions of live candidates by one token, best first; of equal ones the first of the first. */
function extensions(live: readonly Live[], tokenizer: Tokenizer, count: number): Live[] {
  const found = live.flatMap(({ tokens, total, stream }) => {
    const scores = logProbabilities(stream.logits!.data);
    for (const token of tokenizer.neverSampled) scores[token] = -Infinity;
    const each = Array.from(scores, (score, token) => ({ token, total: total + score }));
    const best = each.sort((a, b) => b.total - a.total).slice(0, count);
    return best.map((extension) => ({ tokens: [...tokens, extension.token], total: extension.total, stream }));
  });
  return found.filter(({ total }) => total > -Infinity).sort((a, b) => b.total - a.total).slice(0, count);
}

async function read({ tokens, total, stream }: Live): Promise<Live> {
  const twin = stream.fork();
  await twin.prefill([tokens.at(-1)!]);
  return { tokens, total, stream: twin };
}

/** Whether no live candidate can become one of the best, even if all its further tokens have probability 1. */
function settled(ended: readonly Candidate[], live: readonly Live[], width: number, most: (total: number) => number): boolean {
  if (ended.length < width) return false;
  const worst = ended.map((candidate) => candidate.score).sort((a, b) => b - a)[width - 1];
  return live.every(({ total }) => most(total) <= worst);
}

/** The text of a continuation, without the end token and an incomplete character at the end. */
function textOf(tokens: readonly number[], tokenizer: Tokenizer): string {
  const decoder = tokenizer.decoder();
  return tokens.filter((token) => token !== tokenizer.endId).map((token) => decoder.push(token)).join("");
}
