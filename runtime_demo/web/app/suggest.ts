/** The likeliest next words, as CONTRACT.md says under "Suggestions". */
import { logProbabilities, type Stream, type Tokenizer } from "../src/index.ts";

const LONGEST = 32; // tokens of a word; longer words are not suggested
const BREADTH = 4; // beginnings that are followed for each suggestion
const HALF = "\ufffd";
const OF_A_WORD = /[\p{L}\p{N}_'’]/u;

interface Beginning {
  score: number; // the sum of the natural logarithms of its tokens' probabilities
  tokens: number[];
  stream: Stream; // before the last token
}

/**
 * Returns the `k` likeliest next words after what a stream has read, or ends of the word that it is in.
 *
 * The stream is not changed. turn: is awaited after each step, so that other work can come in between.
 */
export async function suggest(stream: Stream, tokenizer: Tokenizer, k: number, turn: () => Promise<void>): Promise<string[]> {
  const found = new Map<string, number>();
  let begun: Beginning[] = [{ score: 0, tokens: [], stream }];
  for (let round = 0; round < LONGEST && begun.length > 0; round++) {
    const longer = begun.flatMap((beginning) => extended(beginning, tokenizer, BREADTH * k, found));
    longer.sort((one, other) => other.score - one.score);
    const least = [...found.values()].sort((one, other) => other - one)[k - 1] ?? 0;
    begun = [];
    for (const each of longer.slice(0, BREADTH * k)) {
      if (Math.exp(each.score) <= least) break;
      const twin = each.stream.fork();
      await twin.prefill(each.tokens.slice(-1));
      begun.push({ ...each, stream: twin });
      await turn();
    }
  }
  return [...found].sort((one, other) => other[1] - one[1]).slice(0, k).map(([word]) => word);
}

/** The beginnings that are one token longer; words that have ended are added to `found`, with their probabilities. */
function extended(beginning: Beginning, tokenizer: Tokenizer, breadth: number, found: Map<string, number>): Beginning[] {
  const scores = logProbabilities(beginning.stream.logits!.data);
  for (const token of [...tokenizer.neverSampled, tokenizer.endId]) if (token !== null) scores[token] = -Infinity;
  const likeliest = [...scores.keys()].sort((one, other) => scores[other] - scores[one]).slice(0, breadth);
  const longer: Beginning[] = [];
  for (const token of likeliest) {
    const tokens = [...beginning.tokens, token];
    const score = beginning.score + scores[token];
    const word = firstWord(tokenizer.decode(tokens));
    if (word === null) longer.push({ score, tokens, stream: beginning.stream });
    else if (word !== "" && !word.includes(HALF) && score > -Infinity) found.set(word, (found.get(word) ?? 0) + Math.exp(score));
  }
  return longer;
}

/** The first word of a text and what precedes it, null while it is incomplete, "" if there is no word. */
function firstWord(text: string): string | null {
  let begun = false;
  let place = 0;
  for (const character of text.replace(/\ufffd+$/, "")) {
    if (OF_A_WORD.test(character)) begun = true;
    else if (begun || place > 0) return begun ? text.slice(0, place) : "";
    place += character.length;
  }
  return null;
}
