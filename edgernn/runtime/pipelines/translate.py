"""Translation on the device: one graph reads a sentence, and a stream that begins from it writes the translation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np

from edgernn.contract import Array, FromSteps, GraphSpec, TensorSpec
from edgernn.errors import ConfigError, StreamError, UnknownTokenError
from edgernn.media.image import SUFFIXES, draw_alignment
from edgernn.media.text import as_read, read_text
from edgernn.runtime import Model, Sampler, Stream, beam_search
from edgernn.runtime.beam import Candidate, greedy_search
from edgernn.runtime.pipelines.pipeline import Pipeline, Result, Show, check_output, ignore, text_graph
from edgernn.runtime.reading import Reading
from edgernn.settings import Settings, option
from edgernn.tokenizer import UNKNOWN_CHOICES, Ids, Tokenizer

__all__ = [
    "BEAM",
    "LENGTH_PENALTY",
    "MAX_TOKENS",
    "SentenceReader",
    "TranslateOptions",
    "TranslatePipeline",
    "Translation",
    "alignment",
    "draw_translation",
    "encode_sentence",
    "start_translation",
    "translate",
]

BEAM = 5
MAX_TOKENS = 100  # of a translation, by default
LENGTH_PENALTY = 1.0
_ONE_WORD = 2  # words, with the end
_LONGER, _FACTOR = 20, 2  # a translation has at most this many tokens more than this multiple of those of the sentence


@dataclass(frozen=True)
class Translation(Result):
    """The translation of a sentence. tokens: its token ids. score: its log-probability per token."""

    source: str
    text: str
    tokens: tuple[int, ...]
    score: float

    def to_json(self) -> dict[str, Any]:
        """Return the sentence, its translation, and the number of tokens of the translation."""
        return {"source": self.source, "text": self.text, "tokens": len(self.tokens), "score": self.score}

    def __str__(self) -> str:
        """Return the translation."""
        return self.text


@dataclass(frozen=True, kw_only=True)
class TranslateOptions(Settings):
    """How sentences are translated."""

    beam: int = option(BEAM, "The beam width; 1 is greedy decoding.", low=1, high=100)
    max_tokens: int = option(MAX_TOKENS, "The maximum number of tokens of a translation.", low=1)
    unknown: str = option(
        "refuse",
        "What to do with characters of a sentence that are not in the vocabulary: refuse the sentence, skip them, or "
        "replace each with the unknown token.",
        choices=UNKNOWN_CHOICES,
    )
    attention: Path | None = option(
        None,
        "Write a picture of the attention: a row for each word of the translation, a column for each word of the "
        "sentence. If standard input has several lines, OUT.png shows the first, OUT-2.png the second, and so on.",
    )


class TranslatePipeline(Pipeline[TranslateOptions]):
    """Translates sentences."""

    task = "translate"
    inputs = ("SENTENCE", "the sentence to translate")
    suffixes = ()
    options = TranslateOptions
    example = 'bundles/german "ein hund läuft am strand ."'
    takes_text = True
    takes_lines = True
    of_nothing: ClassVar[Mapping[str, Any]] = {"text": ""}
    input_key = "source"

    def __init__(self, model: Model) -> None:
        """Raise StreamError for a model that does not translate."""
        super().__init__(model)
        self._source = _parts(model).source.name

    def read(self, source: str | Path | bytes) -> Mapping[str, Array]:
        """Return the sentence in a UTF-8 file, or in its bytes, as token ids (tokens,), beside the sentence itself.

        Raises CorpusError for a file that is not text, UnknownTokenError for characters outside the vocabulary.
        """
        return self.read_as(source, TranslateOptions())

    def read_as(self, source: str | Path | bytes, options: TranslateOptions) -> Mapping[str, Array]:
        """As `read`, with the treatment of unknown characters that `options` set."""
        data = source if isinstance(source, bytes) else Path(source)
        text = read_text(data, "the sentence" if isinstance(data, bytes) else "", None)
        return self._encode(text.rstrip("\n"), options)

    def read_typed(self, text: str, options: TranslateOptions) -> Mapping[str, Array]:
        """The sentence `text`; otherwise as `read_as`."""
        return self._encode(as_read(text, "the sentence"), options)

    def check(self, options: TranslateOptions, sources: Sequence[Path]) -> None:
        """Raise ConfigError for a picture of the attention that cannot be written, StreamError without attention."""
        if options.attention is not None:
            _require_alignment(self.model)
            check_output("--attention", options.attention, sources, SUFFIXES)

    def for_line(self, options: TranslateOptions, number: int) -> TranslateOptions:
        """Return options with a picture for each line: OUT.png, OUT-2.png, OUT-3.png."""
        if options.attention is None or number == 1:
            return options
        return options.but(attention=options.attention.with_stem(f"{options.attention.stem}-{number}"))

    def __call__(self, inputs: Mapping[str, Array], options: TranslateOptions, show: Show = ignore) -> Translation:
        """Translate the sentence. Raises ImageError if the picture of the attention cannot be written."""
        self.check(options, ())
        ids, sentence = inputs[self._source], str(inputs[_SENTENCE])
        best = _best(self.model, ids, options.beam, options.max_tokens, show)
        if options.attention is not None:
            draw_translation(self.model, ids, best.tokens, options.attention)
        return Translation(sentence, best.text, best.tokens, best.score)

    def _encode(self, sentence: str, options: TranslateOptions) -> Mapping[str, Array]:
        ids = encode_sentence(self.model, sentence, unknown=options.unknown)
        return {self._source: ids, _SENTENCE: np.array(sentence)}


_SENTENCE = "sentence"  # the key of the text itself among the inputs of a pipeline


def encode_sentence(model: Model, sentence: str, *, unknown: str = "refuse") -> Ids:
    """Return the token ids (tokens,) of a sentence, with the end token.

    unknown: "refuse", "skip" or "replace", as `Tokenizer.encode` describes it.
    Raises ConfigError for an empty sentence or a too long one, UnknownTokenError for characters outside the vocabulary,
    StreamError for a model that does not translate.
    """
    parts = _parts(model)
    ids = parts.encode(sentence, unknown)
    if not sentence.strip():
        raise ConfigError("the sentence is empty: give one to translate")
    parts.check_length(len(ids))
    return np.append(ids, parts.end_id)


class SentenceReader:
    """Reads a sentence that arrives in pieces, such as while it is typed; its translation can begin at its end.

    The encoder reads each word as soon as the space after it is there. However the sentence is cut, the translation is
    the same.
    """

    def __init__(self, model: Model, *, unknown: str = "refuse") -> None:
        """unknown: as for `encode_sentence`. Raises StreamError for a model that does not translate."""
        self._model, self._parts, self._unknown = model, _parts(model), unknown
        self._reading = model.reading(self._parts.graph)
        self._rest = ""  # the beginning of a word

    def push(self, text: str) -> None:
        """Read on. Raises UnknownTokenError and ConfigError as `encode_sentence` does, and then reads nothing."""
        whole = self._rest + text
        end = max((place for place, character in enumerate(whole, start=1) if character.isspace()), default=0)
        self._read(whole[:end])
        self._rest = whole[end:]

    def begin(self, sampler: Sampler | None = None) -> Stream:
        """End the sentence, and return a stream that writes its translation, before its first token.

        sampler: by default, greedy. Raises ConfigError for an empty sentence, and what `push` raises.
        """
        self._read(self._rest)
        self._parts.check_length(self._reading.steps)
        self._step(np.array([self._parts.end_id]))
        return start_translation(self._model, self._reading, sampler)

    def _read(self, words: str) -> None:
        ids = self._parts.encode(words, self._unknown)
        if len(ids):
            self._parts.check_length(self._reading.steps + len(ids))
            self._step(ids)

    def _step(self, ids: Ids) -> None:
        source = self._parts.source
        self._reading.push({source.name: ids[:, None].astype(source.numpy_dtype)})


def start_translation(model: Model, sentence: Ids | Reading, sampler: Sampler | None = None) -> Stream:
    """Return a stream that writes the translation of a sentence, before its first token.

    sentence: token ids (tokens,) as `encode_sentence` returns them, or a reading of them. sampler: by default, greedy.
    Raises ContractError for a sentence that does not fit, StreamError for a model that does not translate.
    """
    parts, sampler = _parts(model), Sampler(temperature=0) if sampler is None else sampler
    if isinstance(sentence, Reading):
        stream = model.stream(sampler, readings=[sentence], graph=parts.text.name)
    else:
        ids = sentence.astype(parts.source.numpy_dtype)
        stream = model.stream(sampler, inputs={parts.source.name: ids[:, None]}, graph=parts.text.name)
    stream.prefill(np.array([parts.start_id]))
    return stream


def translate(
    model: Model,
    sentence: str,
    beam: int = BEAM,
    max_tokens: int = MAX_TOKENS,
    *,
    unknown: str = "refuse",
    show: Show = ignore,
) -> Translation:
    """Return the translation of a sentence, found with a beam of width `beam`.

    The score of a translation is its log-probability per token. show: called with each piece of text if `beam` is 1
    (greedy); with a wider beam, no word is certain before the end.
    Raises what `encode_sentence` and `beam_search` raise.
    """
    best = _best(model, encode_sentence(model, sentence, unknown=unknown), beam, max_tokens, show)
    return Translation(sentence, best.text, best.tokens, best.score)


def alignment(model: Model, sentence: Ids, tokens: Sequence[int]) -> Array:
    """Return the attention weights of each token of a translation over those of the sentence: (tokens, sentence).

    Raises StreamError for a model without attention.
    """
    parts, weights = _parts(model), _require_alignment(model)
    stream = start_translation(model, sentence)
    stream.reset()
    token = parts.text.input_of("token")
    assert token is not None
    read = (parts.start_id, *tokens)[: len(tokens)]  # a token is predicted after the previous one was read
    found = [stream.step({token.name: np.array([each], token.numpy_dtype)})[weights.name][0] for each in read]
    return np.array(found, np.float32).reshape(len(tokens), len(sentence))


def _require_alignment(model: Model) -> TensorSpec:
    """Return the output of the attention weights. Raises StreamError for a model without attention."""
    weights = _parts(model).text.output_of("alignment")
    if weights is None:
        raise StreamError("the model has no attention: it was trained with --attention none")
    return weights


def draw_translation(model: Model, sentence: Ids, tokens: Sequence[int], out: Path) -> None:
    """Write a picture of the attention of a translation: a row for each of its words, a column for each that was read.

    A translation of one word, such as a date, has a row for each of its tokens. The weights of the tokens of a word
    that was read are added, those of a word that was written are averaged. Raises StreamError for a model without
    attention, ImageError if `out` cannot be written.
    """
    parts = _parts(model)
    columns, across = _words(parts.reads, sentence.tolist())
    rows, down = _words(parts.writes, tokens)
    if len(rows) <= _ONE_WORD:
        rows, down = _words(parts.writes, tokens, apart=True)
    weights = alignment(model, sentence, tokens) @ across.T
    draw_alignment(columns, rows, down @ weights / down.sum(axis=1, keepdims=True), out)


def _words(tokenizer: Tokenizer, ids: Sequence[int], *, apart: bool = False) -> tuple[list[str], Array]:
    """Return the words of a sentence, and which tokens each consists of: (words, tokens) of zeros and ones.

    apart: take each token as a word.
    """
    decoder = tokenizer.decoder()
    words: list[str] = []
    places: list[int] = []
    for token in ids:
        text = decoder.push(token)
        if apart or not words or text.startswith(" ") or token == tokenizer.end_id:
            words.append("")
        words[-1] += text.strip()
        places.append(len(words) - 1)
    members = np.zeros((len(words), len(places)), np.float32)
    members[places, range(len(places))] = 1
    return words, members


class _Parts(NamedTuple):
    """The parts of a model that translate.

    graph: the name of the graph that reads the sentence. source: its input for the tokens. text: the graph that writes
    the translation. longest: the largest number of tokens of a sentence, with the end token, or None for no limit.
    reads, writes: the tokenizers of the two languages, which may be one. end_id: the token after a sentence. start_id:
    the token before a translation.
    """

    graph: str
    source: TensorSpec
    text: GraphSpec
    longest: int | None
    reads: Tokenizer
    writes: Tokenizer
    end_id: int
    start_id: int

    def encode(self, text: str, unknown: str) -> Ids:
        """Return the token ids (tokens,) of a part of a sentence, without words of which nothing is left to read.

        Raises UnknownTokenError.
        """
        if unknown == "skip":
            text = " ".join(word for word in text.split() if self._is_known(word))
        try:
            return self.reads.encode(text, unknown=unknown)
        except UnknownTokenError as error:
            raise UnknownTokenError(
                f"{error}: is the sentence in the language that the model translates from? "
                "--unknown skip leaves out what the vocabulary lacks"
            ) from None

    def _is_known(self, word: str) -> bool:
        """Whether the vocabulary has a character of `word`; the token that begins a word is not enough."""
        return bool(self.reads.decode(self.reads.encode(word, unknown="skip")).strip())

    def check_length(self, tokens: int) -> None:
        """Raise ConfigError unless the model reads a sentence of so many tokens, without the end token."""
        if not tokens:
            raise ConfigError("the sentence has no character of the vocabulary, so there is nothing to translate")
        if self.longest is not None and tokens >= self.longest:
            raise ConfigError(
                f"the sentence has {tokens:,} tokens, and the model reads at most {self.longest - 1:,}: "
                "translate its parts one by one"
            )


def _parts(model: Model) -> _Parts:
    """Return the parts of `model` that translate. Raises StreamError for a model without them."""
    text = text_graph(model)
    sources = {} if text is None else text.sources
    graphs = {source.graph: model.contract[source.graph].input_of("token") for source in sources.values()}
    graph, token = next(iter(graphs.items()), ("", None))
    reads = None if token is None else model.text_of(graph).tokenizer
    writes = None if text is None else model.text_of(text.name).tokenizer
    end_id, start_id = (None if reads is None else reads.end_id), (None if writes is None else writes.start_id)
    if text is None or token is None or reads is None or writes is None or end_id is None or start_id is None:
        raise StreamError(
            f"the bundle's task is {model.manifest.task}, and it does not translate: that takes a tokenizer with a "
            "start and an end token, a graph that reads tokens, and one that begins from it and predicts tokens"
        )
    axes = {source.axis for source in sources.values() if isinstance(source, FromSteps)}
    sizes = [size for each in text.conditions for axis, size in each.max_sizes.items() if axis in axes]
    return _Parts(graph, token, text, min(sizes, default=None), reads, writes, end_id, start_id)


def _best(model: Model, sentence: Ids, beam: int, max_tokens: int, show: Show) -> Candidate:
    """Return the best translation that a beam finds, or the greedy one, which is shown as it is decoded."""
    stream = start_translation(model, sentence)
    max_tokens = min(max_tokens, _FACTOR * len(sentence) + _LONGER)
    if beam > 1:
        return beam_search(stream, beam, max_tokens, length_penalty=LENGTH_PENALTY)[0]
    return greedy_search(stream, max_tokens, show, length_penalty=LENGTH_PENALTY)
