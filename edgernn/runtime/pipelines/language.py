"""Text: a stream that has read a prompt and continues it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgernn.contract import Array
from edgernn.errors import ConfigError, StreamError, counted
from edgernn.media.text import PLAIN, TextFormat, as_read, read_text
from edgernn.runtime import Model, Sampler, Stream
from edgernn.runtime.pipelines.pipeline import Conversation, Pipeline, Result, Show, ignore, text_graph
from edgernn.settings import option

__all__ = ["LanguageOptions", "LanguagePipeline", "LanguageResult"]


@dataclass(frozen=True, kw_only=True)
class LanguageOptions(TextFormat):
    """How a prompt is read, and how it is continued."""

    prompt: str | None = option(
        None,
        "The text to continue.",
        unset="the files, or standard input; on a terminal, what you type, in turns",
    )
    max_tokens: int = option(400, "The maximum number of tokens to generate.", low=1)
    temperature: float = option(0.8, "The sampling temperature; 0 always takes the most likely token.", low=0, high=1e6)
    top_k: int = option(40, "Sample from the k most likely tokens only; 0 samples from all.", low=0, high=2**31)
    top_p: float = option(
        1.0, "Sample from the most likely tokens that together have this probability.", above=0, high=1
    )
    min_p: float = option(
        0.0, "Sample from tokens that are at least this fraction as likely as the most likely one.", low=0, high=1
    )
    repetition_penalty: float = option(
        1.0,
        "The penalty on recent tokens: above 1 they become less likely, below 1 more likely; 1 disables it.",
        above=0,
        high=1e6,
    )
    stop: tuple[str, ...] = option((), "End the text before this string. Can be given more than once.")
    seed: int | None = option(
        None,
        "Seed of the random number generator; the same seed gives the same text.",
        low=0,
        below=2**64,
        unset="random",
    )
    echo: bool = option(False, "Print the prompt before the text.")


@dataclass(frozen=True)
class LanguageResult(Result):
    """A text. prompt: what is printed before it. ended: "length", "stop" or "end"; None if it was interrupted."""

    text: str
    tokens: int
    ended: str | None
    prompt: str
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """The text without the prompt, the number of tokens, and why the text ended."""
        return {"text": self.text, "tokens": self.tokens, "ended": self.ended}

    def __str__(self) -> str:
        """The text, after the prompt if that is printed."""
        return self.prompt + self.text

    @property
    def note(self) -> str:
        """The speed."""
        return f"{counted(self.tokens, 'token')}, {self.tokens / max(self.seconds, 1e-9):,.0f} tokens/s"


class LanguagePipeline(Pipeline[LanguageOptions]):
    """Continues prompts. Each input is a text that is a prompt."""

    task = "language"
    inputs = ("TEXT", "text files, each of them a prompt")
    suffixes = (".txt",)
    options = LanguageOptions
    example = 'bundles/shakespeare --prompt "ROMEO:" --max-tokens 200'
    standard_input = True

    def __init__(self, model: Model) -> None:
        """Raises StreamError for a model that needs more than text, or does not predict text."""
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
        """The prompt in a UTF-8 file, or in its bytes, as token ids (tokens,); it is read as training reads texts.

        Raises CorpusError for a file that is not text, UnknownTokenError for characters outside the vocabulary.
        """
        return self._read(source, PLAIN, "the prompt")

    def read_as(self, source: str | Path | bytes, options: LanguageOptions) -> Mapping[str, Array]:
        """As `read`, in the encoding that the options name, or from a field of JSON lines; bytes are standard input."""
        return self._read(source, options, "standard input")

    def inputs_from(self, options: LanguageOptions) -> Mapping[str, Array] | None:
        """The prompt, if it is given as an option."""
        return None if options.prompt is None else self._encode(as_read(options.prompt, "the prompt"))

    def check(self, options: LanguageOptions, sources: Sequence[Path]) -> None:
        """Raise ConfigError for a prompt beside files, or in place of one."""
        if sources and options.prompt is not None:
            raise ConfigError("--prompt cannot be combined with text files: give one or the other")
        if options.prompt is not None:
            options.refuse_for("--prompt")
        if len(sources) == 1 and not sources[0].exists():
            raise ConfigError(f'{sources[0]}: there is no such file; a prompt is given with --prompt "TEXT"')

    def suffixes_for(self, options: LanguageOptions) -> Sequence[str]:
        """Those of JSON lines where a field of them is read."""
        return self.suffixes if options.field is None else (".jsonl",)

    def conversation(self, options: LanguageOptions) -> Conversation:
        """A stream that continues what the user types. Raises ConfigError for a format, which is that of files."""
        options.refuse_for("what is typed")
        return Conversation(self._stream(options), options.max_tokens, options.stop)

    def __call__(self, inputs: Mapping[str, Array], options: LanguageOptions, show: Show = ignore) -> LanguageResult:
        """Continue the prompt. Raises ConfigError for settings that the sampler refuses."""
        ids = inputs[self._token]
        stream = self._stream(options)
        stream.prefill(ids)
        prompt = self._tokenizer.decode(ids) if options.echo else ""
        if prompt:
            show(prompt)
        pieces: list[str] = []
        begun, before = time.perf_counter(), stream.steps
        for text in stream.decode(options.max_tokens, options.stop):
            pieces.append(text)
            if show(text) is False:
                break
        seconds = time.perf_counter() - begun
        return LanguageResult("".join(pieces), stream.steps - before, stream.ended, prompt, seconds)

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

    def _read(self, source: str | Path | bytes, format: TextFormat, name: str) -> Mapping[str, Array]:
        if source == b"":
            return self._encode("")
        if isinstance(source, bytes):
            return self._encode(read_text(source, name, format))
        return self._encode(read_text(Path(source), format=format))

    def _encode(self, prompt: str) -> Mapping[str, Array]:
        ids = self._tokenizer.encode(prompt)
        if not len(ids):
            raise ConfigError('the prompt is empty: give it with --prompt "TEXT", in a file or on standard input')
        return {self._token: ids}
