"""Language models on the device: a stream reads a prompt and continues it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from edgernn.contract import Array
from edgernn.errors import ConfigError, StreamError, UnknownTokenError, counted
from edgernn.media.text import TextFormat, as_read, read_text
from edgernn.runtime import Model, Sampler, Stream
from edgernn.runtime.pipelines.pipeline import Conversation, Pipeline, Result, Show, ignore, text_graph
from edgernn.runtime.units.shading import Shading
from edgernn.runtime.units.unit import Units
from edgernn.settings import option
from edgernn.tokenizer import UNKNOWN_CHOICES

__all__ = ["LanguageOptions", "LanguagePipeline", "LanguageResult"]


@dataclass(frozen=True, kw_only=True)
class LanguageOptions(TextFormat):
    """How a prompt is read, and how it is continued."""

    max_tokens: int = option(400, "The maximum number of tokens to generate.", low=1)
    temperature: float = option(
        0.8,
        "The sampling temperature: 0 is greedy, 0.001 the least above it; higher values give more varied text.",
        low=0,
        high=1e6,
    )
    top_k: int = option(40, "Sample from this number of most likely tokens; 0 samples from all.", low=0, high=2**31)
    top_p: float = option(
        1.0,
        "Sample from the most likely tokens whose probabilities add up to this value; 1 samples from all.",
        above=0,
        high=1,
    )
    min_p: float = option(
        0.0,
        "Sample from tokens that are at least this fraction as likely as the most likely one; 0 samples from all.",
        low=0,
        high=1,
    )
    repetition_penalty: float = option(
        1.0,
        "The penalty on recent tokens: values above 1 make repetitions less likely; 1 disables it.",
        above=0,
        high=1e6,
    )
    stop: tuple[str, ...] = option(
        (), "A stop string: the text ends before it. Can be given more than once. A line break is $'\\n' in bash."
    )
    seed: int | None = option(
        None,
        "The seed of the random number generator; the same seed gives the same text.",
        low=0,
        below=2**64,
        unset="random",
    )
    unknown: str = option(
        "refuse",
        "What to do with characters or words of the prompt that are not in the vocabulary: refuse the prompt, skip "
        "them, or replace each with the unknown token.",
        choices=UNKNOWN_CHOICES,
    )
    echo: bool = option(True, "Print the prompt before the text.")
    cells: str | None = option(
        None,
        "Colour the text by this unit, from blue (-1) to red (1), on a terminal: a number or a name such as c.1.56, as "
        "edgernn cells shows them.",
    )


@dataclass(frozen=True)
class LanguageResult(Result):
    """A generated text.

    prompt: printed before the text. ended: "length", "stop" or "end"; None if it was interrupted.
    """

    text: str
    tokens: int
    ended: str | None
    prompt: str
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Return the text without the prompt, the number of tokens, and why the text ended."""
        return {"text": self.text, "tokens": self.tokens, "ended": self.ended}

    def __str__(self) -> str:
        """Return the text, preceded by the prompt if that is to be printed."""
        return self.prompt + self.text

    @property
    def note(self) -> str:
        """The speed."""
        return f"{counted(self.tokens, 'token')}, {self.tokens / max(self.seconds, 1e-9):,.0f} tokens/s"


class LanguagePipeline(Pipeline[LanguageOptions]):
    """Continues a prompt."""

    task = "language"
    inputs = ("PROMPT", "the text to continue")
    suffixes = ()
    options = LanguageOptions
    example = 'bundles/shakespeare "ROMEO:" --max-tokens 200'
    takes_text = True

    def __init__(self, model: Model) -> None:
        """Raise StreamError for a model that needs other inputs than text, or does not predict text."""
        super().__init__(model)
        graph = text_graph(model)
        asks_for_more = any(contract.input_of("image") for contract in model.contract.graphs)
        if model.tokenizer is None or graph is None or graph.conditions or asks_for_more:
            raise StreamError(
                f"the bundle's task is {model.manifest.task}, but it does not continue a text: that takes a tokenizer, "
                "and a graph without conditions that reads tokens and predicts the next one"
            )
        (token,) = (tensor for tensor in graph.inputs if tensor.kind == "token")
        self._tokenizer, self._graph, self._token = model.tokenizer, graph.name, token.name

    def read(self, source: str | Path | bytes) -> Mapping[str, Array]:
        """Return the prompt in a UTF-8 file, or in its bytes, as token ids (tokens,).

        Texts are normalised as for training.
        Raises CorpusError for a file that is not text, UnknownTokenError for characters outside the vocabulary.
        """
        return self._read(source, LanguageOptions(), "the prompt")

    def read_as(self, source: str | Path | bytes, options: LanguageOptions) -> Mapping[str, Array]:
        """As `read`, with the encoding, the field and the treatment of unknown characters that `options` set.

        Bytes are standard input.
        """
        return self._read(source, options, "standard input")

    def read_typed(self, text: str, options: LanguageOptions) -> Mapping[str, Array]:
        """The prompt `text`. Raises ConfigError for options that say how files are read; otherwise as `read`."""
        options.refuse_for("a prompt on the command line")
        return self._encode(as_read(text, "the prompt"), options.unknown)

    def conversation(self, options: LanguageOptions) -> Conversation:
        """Return a stream that continues what the user types.

        Raises ConfigError for options that apply to files only.
        """
        options.refuse_for("what is typed")
        return Conversation(
            *(self._stream(options), options.max_tokens, options.stop, options.unknown, options.echo),
            self._shading(options),
        )

    def __call__(self, inputs: Mapping[str, Array], options: LanguageOptions, show: Show = ignore) -> LanguageResult:
        """Continue the prompt. Raises ConfigError for settings that the sampler refuses."""
        ids, shading = inputs[self._token], self._shading(options)
        stream = self._stream(options)
        prompt = self._prefill(stream, ids, shading, show if options.echo else ignore)
        pieces: list[str] = []
        begun, before = time.perf_counter(), stream.steps
        decode = stream.decode if shading is None else partial(shading.decode, stream)
        for text in decode(options.max_tokens, options.stop):
            pieces.append(text)
            if show(text) is False:
                break
        seconds = time.perf_counter() - begun
        return LanguageResult(
            "".join(pieces), stream.steps - before, stream.ended, prompt if options.echo else "", seconds
        )

    def _prefill(self, stream: Stream, ids: Array, shading: Shading | None, show: Show) -> str:
        """Consume the prompt, show it, and return its text."""
        if shading is not None:
            pieces = []
            for piece in shading.prefill(stream, ids):
                pieces.append(str(piece))
                show(piece)
            return "".join(pieces)
        stream.prefill(ids)
        prompt = self._tokenizer.decode(ids)
        if prompt:
            show(prompt)
        return prompt

    def _shading(self, options: LanguageOptions) -> Shading | None:
        if options.cells is None:
            return None
        return Shading(Units(self.model.contract[self._graph]), options.cells)

    def _stream(self, options: LanguageOptions) -> Stream:
        sampler = Sampler(
            options.temperature,
            options.top_k,
            options.seed,
            top_p=options.top_p,
            min_p=options.min_p,
            repetition_penalty=options.repetition_penalty,
        )
        return self.model.stream(sampler, graph=self._graph)

    def _read(self, source: str | Path | bytes, options: LanguageOptions, name: str) -> Mapping[str, Array]:
        if source == b"":
            return self._encode("", options.unknown)
        if isinstance(source, bytes):
            return self._encode(read_text(source, name, options), options.unknown)
        return self._encode(read_text(Path(source), format=options), options.unknown)

    def _encode(self, prompt: str, unknown: str) -> Mapping[str, Array]:
        try:
            ids = self._tokenizer.encode(prompt, unknown=unknown)
        except UnknownTokenError as error:
            raise UnknownTokenError(f"{error}; --unknown skip leaves out what the vocabulary lacks") from None
        if not prompt:
            raise ConfigError('the prompt is empty: give a text, as in edgernn run BUNDLE "Once", or standard input')
        if not len(ids):
            raise ConfigError("the prompt has no character of the vocabulary, so nothing of it is left to continue")
        return {self._token: ids}
