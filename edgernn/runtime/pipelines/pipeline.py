"""The base class of pipelines: the device side of one task, from a file to a result."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

from edgernn.contract import Array, GraphSpec
from edgernn.errors import ConfigError
from edgernn.runtime import Model, Stream
from edgernn.runtime.units.shading import Shading
from edgernn.settings import Settings

__all__ = ["Conversation", "Pipeline", "Result", "Show", "check_output", "ignore", "text_graph"]

Options = TypeVar("Options", bound=Settings)

Show = Callable[[str], object]  # called with each piece of decoded text; the pipeline ends if it returns False


def ignore(text: str) -> None:
    """Show nothing."""


class Result(ABC):
    """The result of a pipeline for one input."""

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """Return the result as commands print it with --json, without the name of the input."""

    @abstractmethod
    def __str__(self) -> str:
        """Return the result as commands print it for people."""

    @property
    def summary(self) -> str:
        """The result as commands print it in a list, after the name of the input."""
        return str(self)

    @property
    def note(self) -> str:
        """What a terminal shows beside the result, such as the speed; "" for nothing."""
        return ""


class Conversation(NamedTuple):
    """A stream for a user to talk with in turns.

    max_tokens, stop: how each of its answers ends. unknown: what becomes of characters that the vocabulary lacks, as in
    `Stream.prefill`. echo: whether what was typed is shown before each answer. shading: by which the text is coloured.
    """

    stream: Stream
    max_tokens: int
    stop: tuple[str, ...] = ()
    unknown: str = "refuse"
    echo: bool = True
    shading: Shading | None = None


class Pipeline(ABC, Generic[Options]):
    """The device side of one task: reads files, drives a stream to its end, and returns the result.

    task: the task of the bundles. inputs: metavariable of a command's arguments, and what they are, such as "image
    files". suffixes: of the files that are taken from a directory, in lower case.
    options: a settings class whose fields are options of the command. example: the arguments of a command that works.
    input_key: the key of an input's name in JSON.
    takes_text: whether the argument of a command is one text, which `read_typed` reads, in place of names of files;
    without an argument, the text comes from standard input. takes_lines: whether each line of standard input is a text
    of its own, whose result is printed before the next line is read. of_nothing: the JSON keys for an empty line.
    takes_nothing: whether a command has no argument, because the options say everything; the inputs are then empty.
    """

    task: ClassVar[str]
    inputs: tuple[str, str]
    suffixes: tuple[str, ...]
    options: ClassVar[type[Settings]]
    example: ClassVar[str]
    input_key: ClassVar[str] = "input"
    takes_text: bool = False
    takes_lines: bool = False
    takes_nothing: bool = False
    of_nothing: ClassVar[Mapping[str, Any]] = {}

    def __init__(self, model: Model) -> None:
        """Raise StreamError, in subclasses, for a model whose contract does not fit the task."""
        self.model = model

    @abstractmethod
    def read(self, source: str | Path | bytes) -> Mapping[str, Array]:
        """Return the inputs of the model that a file, or its bytes, holds, by the names in its contract.

        They belong to one stream and have no batch axis; inputs of successive steps are stacked along the first axis.
        Raises ImageError, CorpusError or another error for a file that cannot be read.
        """

    def read_as(self, source: str | Path | bytes, options: Options) -> Mapping[str, Array]:
        """Read a file as `read` does; overridden by tasks whose options affect how files are read."""
        return self.read(source)

    @abstractmethod
    def __call__(self, inputs: Mapping[str, Array], options: Options, show: Show = ignore) -> Result:
        """Drive a stream of the model over `inputs`, which `read` returned, to its end.

        Raises ConfigError for options that do not fit the model, SamplingError for outputs that are not numbers.
        """

    def read_typed(self, text: str, options: Options) -> Mapping[str, Array]:
        """As `read_as`, for a text that is an argument of a command. Only tasks that take a text have it."""
        raise NotImplementedError

    def check(self, options: Options, sources: Sequence[Path]) -> None:
        """Raise ConfigError for options that do not fit the files in `sources`, before any file is read."""
        return

    def for_line(self, options: Options, number: int) -> Options:
        """Return the options for line `number` of standard input, from 1: overridden by tasks that write files."""
        return options

    def is_input(self, directory: Path) -> bool:
        """Whether a directory is itself an input, such as one of the frames of a clip, and not a place of files."""
        return False

    def live(self, options: Options) -> Callable[[Show], Result] | None:
        """Return what runs on a microphone until it ends or `show` returns False; None if no option asks for it.

        Raises ConfigError for a model that does not read sound.
        """
        return None

    def conversation(self, options: Options) -> Conversation | None:
        """Return a conversation, for a task in which user and model take turns; None for other tasks."""
        return None


def text_graph(model: Model) -> GraphSpec | None:
    """Return the graph that reads tokens of the model's tokenizer and predicts the next one, or None."""
    if model.tokenizer is None:
        return None
    graphs = model.contract.graphs
    return next((graph for graph in graphs if graph.input_of("token") and graph.output_of("next-token")), None)


def check_output(flag: str, out: Path, sources: Sequence[Path], suffixes: Sequence[str]) -> None:
    """Raise ConfigError unless the file `out`, given as option `flag`, can be written for one input.

    suffixes: the accepted suffixes of `out`.
    """
    if len(sources) > 1:
        raise ConfigError(f"{flag} writes one file: name one input, not {len(sources)}")
    if out.suffix.lower() not in suffixes:
        raise ConfigError(f"{flag} {out}: the name must end in {', '.join(suffixes)}")
    if not out.parent.is_dir():
        raise ConfigError(f"{flag} {out} cannot be written: there is no directory {out.parent}")
    if out.is_dir():
        raise ConfigError(f"{flag} {out} is a directory: name a file")
    if sources and out.exists() and sources[0].exists() and out.samefile(sources[0]):
        raise ConfigError(f"{flag} {out} is the input itself: choose another name")
