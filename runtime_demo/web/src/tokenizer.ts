/** Tokenizers, which encode text as token ids and decode it, in the format of the `tokenizers` library. */
import { ConfigError, TokenizerError, UnknownTokenError } from "./errors.ts";

const UNKNOWN = "<unk>";
const START = "<start>"; // precedes the first token of a text, in vocabularies that have it
const END = "<end>";
const HALF = "\ufffd";
const MOST_NAMED = 8;

/** What becomes of the parts of a text that the vocabulary lacks. */
export type Unknown = "refuse" | "skip" | "replace";

/** A vocabulary and the rules that split text into its tokens. Immutable. */
export class Tokenizer {
  /** The number of tokens, including the unknown one. */
  readonly size: number;
  readonly unknownId: number | null;
  readonly startId: number | null;
  readonly endId: number | null;
  /** The unknown and the start token, which are never part of a generated text. */
  readonly neverSampled: readonly number[];
  readonly #splitter: Splitter;
  readonly #joiner: Joiner;

  private constructor(vocabulary: ReadonlyMap<string, number>, splitter: Splitter, joiner: Joiner) {
    this.size = vocabulary.size;
    this.unknownId = vocabulary.get(UNKNOWN) ?? null;
    this.startId = vocabulary.get(START) ?? null;
    this.endId = vocabulary.get(END) ?? null;
    this.neverSampled = [this.unknownId, this.startId].filter((token) => token !== null);
    this.#splitter = splitter;
    this.#joiner = joiner;
  }

  /** Reads the content of a `tokenizer.json`. Throws TokenizerError for anything else. */
  static async fromJson(text: string): Promise<Tokenizer> {
    try {
      const described = JSON.parse(text) as Described;
      if (described.truncation || described.padding) throw new Error("it truncates or pads texts");
      const vocabulary = new Map(Object.entries(described.model.vocab));
      const ids = [...vocabulary.values()].sort((a, b) => a - b);
      if (ids.length === 0 || ids.some((id, place) => id !== place)) {
        throw new Error(`its ids are not all the numbers from 0 to ${ids.length - 1}`);
      }
      const texts = new Array<string>(ids.length);
      for (const [token, id] of vocabulary) texts[id] = token;
      const library = isPlain(described) ? null : await libraryOf(described);
      return new Tokenizer(vocabulary, splitterOf(described, vocabulary, library), joinerOf(described, texts, library));
    } catch (error) {
      throw new TokenizerError(`the tokenizer cannot be read: ${(error as Error).message}`);
    }
  }

  /**
   * The token ids of a text.
   *
   * unknown: "refuse" throws UnknownTokenError, which names the parts that the vocabulary lacks; "skip" leaves them out;
   * "replace" puts the unknown token in their place. A vocabulary of bytes lacks nothing.
   */
  encode(text: string, { unknown = "refuse" }: { unknown?: Unknown } = {}): number[] {
    if (!["refuse", "skip", "replace"].includes(unknown)) {
      throw new ConfigError(`unknown is one of refuse, skip, replace, not '${String(unknown).slice(0, 40)}'`);
    }
    const halves = text.match(SURROGATE);
    if (halves && unknown === "refuse") {
      throw new UnknownTokenError(`${named(halves)} cannot be written in UTF-8, so no vocabulary has it`);
    }
    if (halves) text = text.replace(SURROGATE, unknown === "skip" ? "" : HALF);
    const missing: string[] = [];
    const ids: number[] = [];
    for (const [part, id] of this.#splitter(text)) {
      if (id !== null && id !== this.unknownId) ids.push(id);
      else if (unknown === "replace" && this.unknownId !== null) ids.push(this.unknownId);
      else if (unknown === "refuse") missing.push(part);
    }
    if (missing.length > 0) throw new UnknownTokenError(`the vocabulary has no ${named(missing)}`);
    return ids;
  }

  /** The text of some tokens. */
  decode(ids: Iterable<number>): string {
    return this.#joiner.join([...ids]);
  }

  /** A decoder for a stream of tokens that continues after the tokens `tail`. */
  decoder(tail: Iterable<number> = []): TokenDecoder {
    return new TokenDecoder(this.#joiner, tail);
  }
}

/** Decodes tokens as they arrive, and holds back incomplete characters. */
export class TokenDecoder {
  readonly #joiner: Joiner;
  #held: number[] = []; // the tokens that are decoded together
  #shown = ""; // the text of the first of them, which was returned before
  #first = 0; // their number
  #decided: number[] = [];
  #pending: number[] = [];

  constructor(joiner: Joiner, tail: Iterable<number> = []) {
    this.#joiner = joiner;
    for (const token of tail) this.push(token);
  }

  /** The tokens that another decoder needs to continue: those of the last complete text and those held back. */
  get tail(): number[] {
    return [...this.#decided, ...this.#pending];
  }

  /** The text that a token completes; empty while a character is incomplete. */
  push(token: number): string {
    const { texts, join } = this.#joiner;
    if (texts) return texts[token];
    this.#pending.push(token);
    this.#held.push(token);
    const text = join(this.#held);
    if (text.length <= this.#shown.length || text.endsWith(HALF)) return "";
    const made = text.slice(this.#shown.length);
    this.#held = this.#held.slice(this.#first);
    this.#shown = join(this.#held);
    this.#first = this.#held.length;
    this.#decided = this.#pending;
    this.#pending = [];
    return made;
  }
}

/* --- the kinds of tokenizers -------------------------------------------------------------------------------------- */

const SURROGATE = /[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g;

/** A `tokenizer.json`, as far as it is looked into. */
interface Described {
  readonly truncation: unknown;
  readonly padding: unknown;
  readonly added_tokens?: readonly unknown[];
  readonly normalizer?: unknown;
  readonly post_processor?: unknown;
  readonly pre_tokenizer?: {
    readonly type: string;
    readonly pattern?: { Regex?: string };
    readonly use_regex?: boolean;
    readonly add_prefix_space?: boolean;
  } | null;
  readonly decoder?: { readonly type: string } | null;
  readonly model: { readonly type: string; readonly vocab: Record<string, number>; readonly merges?: readonly unknown[] };
}

/** The parts of a text, each with its token, or null for one that the vocabulary lacks. */
type Splitter = (text: string) => Iterable<readonly [string, number | null]>;

/** How token ids become text. texts: the text of each token, if each is made of whole characters. */
interface Joiner {
  readonly texts: readonly string[] | null;
  readonly join: (ids: readonly number[]) => string;
}

const isCharacters = (described: Described): boolean =>
  described.model.type === "WordLevel" && described.pre_tokenizer?.pattern?.Regex === "(?m)." && isUntouched(described);

const isBytes = (described: Described): boolean =>
  described.model.type === "BPE" && described.model.merges?.length === 0 && Object.keys(described.model.vocab).length === 256 &&
  described.pre_tokenizer?.type === "ByteLevel" && !described.pre_tokenizer.add_prefix_space && isUntouched(described);

const isUntouched = (described: Described): boolean =>
  !described.normalizer && !described.post_processor && (described.added_tokens ?? []).length === 0;

const isPlain = (described: Described): boolean => (isCharacters(described) || isBytes(described)) && joins(described);

const joins = (described: Described): boolean =>
  (described.decoder?.type === "Fuse" && described.model.type === "WordLevel") || described.decoder?.type === "ByteLevel";

function splitterOf(described: Described, vocabulary: ReadonlyMap<string, number>, library: Library | null): Splitter {
  if (library) return library.split;
  if (isBytes(described)) {
    const ids = byteSigns().map((sign) => vocabulary.get(sign) ?? null);
    return (text) => Array.from(new TextEncoder().encode(text), (byte) => ["", ids[byte]] as const);
  }
  return (text) => Array.from(text, (character) => [character, vocabulary.get(character) ?? null] as const);
}

function joinerOf(described: Described, texts: readonly string[], library: Library | null): Joiner {
  if (library && !joins(described)) return { texts: null, join: library.join };
  if (described.decoder?.type !== "ByteLevel") return { texts, join: (ids) => ids.map((id) => texts[id]).join("") };
  const values = new Map(byteSigns().map((sign, byte) => [sign, byte]));
  const pieces = texts.map((text) => Array.from(text, (sign) => values.get(sign)));
  if (!pieces.every((piece): piece is number[] => piece.every((byte) => byte !== undefined))) {
    throw new Error("a token is not made of the characters that stand for bytes");
  }
  const utf8 = new TextDecoder("utf-8", { ignoreBOM: true });
  return { texts: null, join: (ids) => utf8.decode(Uint8Array.from(ids.flatMap((id) => pieces[id]))) };
}

interface Library {
  readonly split: Splitter;
  readonly join: (ids: readonly number[]) => string;
}

/** The tokenizers of words and of byte pairs, by the library of Hugging Face, which is loaded for them alone. */
async function libraryOf(described: Described): Promise<Library> {
  const { Tokenizer: Backend } = await import("@huggingface/tokenizers");
  const backend = new Backend(described, {});
  return {
    split(text) {
      const { ids, tokens } = backend.encode(text, { add_special_tokens: false });
      return ids.map((id: number | undefined, place: number) => [tokens[place], id ?? null] as const);
    },
    join: (ids) => backend.decode([...ids], { skip_special_tokens: false, clean_up_tokenization_spaces: false }),
  };
}

/** The character by which the library writes each byte: itself if it can be printed, else one from U+0100. */
function byteSigns(): string[] {
  let others = 0;
  return Array.from({ length: 256 }, (_, byte) => {
    const printable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xff && byte !== 0xad);
    return String.fromCharCode(printable ? byte : 256 + others++);
  });
}

/** Parts of a text for a message: the first few, characters with their code points. */
function named(parts: readonly string[]): string {
  const distinct = [...new Set(parts)];
  const listed = distinct.slice(0, MOST_NAMED).map((part) => {
    const points = [...part];
    const code = points.length === 1 ? ` (U+${part.codePointAt(0)!.toString(16).toUpperCase().padStart(4, "0")})` : "";
    return `${JSON.stringify(part.slice(0, 40))}${code}`;
  });
  return listed.join(", ") + (distinct.length > MOST_NAMED ? ` and ${distinct.length - MOST_NAMED} more` : "");
}
