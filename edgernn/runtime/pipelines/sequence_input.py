"""Files, and a microphone, as inputs of networks that label sequences: sound, text, rows of numbers, and clips."""

from __future__ import annotations

import csv
import io
import math
from abc import abstractmethod
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from edgernn.contract import BATCH, Array
from edgernn.errors import ConfigError, CorpusError, StreamError, counted
from edgernn.media.audio import microphone, mono, read_wav, resample
from edgernn.media.channels import channel_places
from edgernn.media.frames import PICTURES, read_frames
from edgernn.media.steps import live_sound_steps, number_steps, sound_steps
from edgernn.runtime import Model
from edgernn.runtime.pipelines.class_scores import label_output
from edgernn.runtime.pipelines.pipeline import Pipeline, Result, Show, ignore
from edgernn.settings import Settings, option

__all__ = ["NUMBERS", "SOUND", "TEXT", "VIDEO", "SequenceInput", "SequenceOptions", "SequencePipeline"]

SOUND, TEXT, NUMBERS, VIDEO = "sound", "text", "numbers", "video"
_KINDS = {"audio": SOUND, "token": TEXT, "image": VIDEO, "": NUMBERS}
_AXES = {SOUND: 2, TEXT: 1, NUMBERS: 3, VIDEO: 4}  # of one step, with the batch
_SUFFIXES = {SOUND: (".wav",), TEXT: (".txt",), NUMBERS: (".csv", ".npy"), VIDEO: (".gif",)}
_WHAT = {
    SOUND: "sound files (WAV)",
    TEXT: "a text",
    NUMBERS: "rows of numbers (CSV or .npy)",
    VIDEO: "clips (GIF, or directories of numbered pictures)",
}


@dataclass(frozen=True, kw_only=True)
class SequenceOptions(Settings):
    """How sequences are read."""

    microphone: bool = option(
        False, "Listen to the microphone, in place of INPUT, until Ctrl-C; for bundles that read sound."
    )


class SequenceInput:
    """The one input of a model's graph `step`, and how a file becomes its values, one after the other.

    kind: "sound", "text", "numbers" or "video". name: of the input. rate: steps per second of sound, else None.
    """

    def __init__(self, model: Model) -> None:
        """Raise StreamError for a model whose step takes no such input."""
        inputs = next((graph.inputs for graph in model.contract.graphs if graph.name == "step"), ())
        spec = inputs[0] if len(inputs) == 1 else None
        kind = None if spec is None else _KINDS.get(spec.kind)
        if spec is None or kind is None or len(spec.axes) != _AXES[kind] or spec.axes[0] != BATCH:
            raise StreamError(
                f"the bundle's task is {model.manifest.task}, but its step does not read one sequence of sound, text, "
                "numbers or pictures: drive it step by step, with Model.stream and Stream.step"
            )
        if kind == TEXT and model.tokenizer is None:
            raise StreamError("the bundle reads text and has no tokenizer")
        if model.channels is not None and (kind != NUMBERS or len(model.channels) != spec.axes[2]):
            raise StreamError(
                f"the bundle names {counted(len(model.channels), 'channel')}, which its step does not read"
            )
        self.kind, self.name, self._spec, self._tokenizer = kind, spec.name, spec, model.tokenizer
        self._channels = model.channels

    @property
    def rate(self) -> float | None:
        """Steps per second of sound, or None."""
        return None if self._spec.rate is None else self._spec.rate / self._hop

    @property
    def sample_rate(self) -> int | None:
        """Samples per second of sound, or None."""
        return self._spec.rate

    @property
    def suffixes(self) -> tuple[str, ...]:
        """The suffixes of files that can be read."""
        return _SUFFIXES[self.kind]

    @property
    def what(self) -> str:
        """What the model reads, in words."""
        return _WHAT[self.kind]

    def is_clip(self, directory: Path) -> bool:
        """Whether the model reads clips, and a directory holds the pictures of one."""
        return self.kind == VIDEO and any(each.suffix.lower() in PICTURES for each in directory.iterdir())

    def listen(self) -> Generator[Array]:
        """Return the steps (samples,) of what the microphone records, without end.

        Raises ConfigError for a model that does not read sound, AudioError for a microphone that cannot record.
        """
        if self.kind != SOUND or self._spec.rate is None:
            raise ConfigError(f"--microphone records sound, and the bundle reads {self.what}: leave it out")
        return live_sound_steps(microphone(self._spec.rate), self._hop)

    def read(self, source: str | Path | bytes) -> Array:
        """Return the steps in a file, or in its bytes: (steps, ...).

        Raises AudioError, ImageError or CorpusError for a file that cannot be read or does not fit the model.
        """
        name = "standard input" if isinstance(source, bytes) else str(source)
        if self.kind == SOUND:
            audio = read_wav(source if isinstance(source, bytes) else Path(source))
            samples, rate = mono(audio), self._spec.rate
            assert rate is not None
            return self.steps(samples if audio.rate == rate else resample(samples, audio.rate, rate), name)
        if self.kind == VIDEO:
            return self.steps(read_frames(source), name)
        if self.kind == TEXT:
            return self.steps(_text(source), name)
        names, rows = _numbers(source, name)
        if names and self._channels is not None:
            rows = rows[:, channel_places(names, self._channels, name, "the model reads")]
        return self.steps(rows, name)

    def steps(self, value: Array | str, name: str = "the sequence") -> Array:
        """Return a sequence as steps (steps, ...): text, tokens, samples (samples,), rows (rows, channels), frames.

        name: what errors call the sequence. Spaces around a text are left out, as in training.
        Raises CorpusError for an empty sequence, or one that does not fit the model.
        """
        if isinstance(value, str):
            assert self._tokenizer is not None
            steps = self._tokenizer.encode(value.strip(), unknown="replace").astype(self._spec.numpy_dtype)
        elif self.kind == TEXT:
            steps = value.astype(self._spec.numpy_dtype)
        elif self.kind == SOUND:
            steps = sound_steps(value, self._hop)
        elif self.kind == NUMBERS:
            steps = self._rows(value, name)
        else:
            steps = self._frames(value, name)
        if not len(steps):
            raise CorpusError(f"{name} is empty: there is nothing to label")
        return steps

    @property
    def _hop(self) -> int:
        hop = self._spec.axes[1]
        assert isinstance(hop, int)
        return hop

    def _rows(self, rows: Array, name: str) -> Array:
        channels = self._spec.axes[2]
        if rows.ndim != 2 or rows.shape[1] != channels:
            raise CorpusError(f"{name} has numbers of shape {list(rows.shape)}, and the model reads rows of {channels}")
        return number_steps(rows.astype(np.float32), self._hop)

    def _frames(self, frames: Array, name: str) -> Array:
        if frames.shape[1:] != self._spec.axes[1:]:
            size = " × ".join(map(str, frames.shape[2:0:-1]))
            height, width = self._spec.axes[1:3]
            raise CorpusError(f"{name} has frames of {size} pixels, and the model reads {width} × {height}")
        if frames.dtype != self._spec.numpy_dtype:
            raise CorpusError(f"{name} has frames of type {frames.dtype}, and the model reads {self._spec.dtype}")
        return frames


Options = TypeVar("Options", bound=SequenceOptions)


class SequencePipeline(Pipeline[Options]):
    """A pipeline that labels sequences, which come from files or from a microphone."""

    def __init__(self, model: Model) -> None:
        """Raise StreamError for a model that does not label sequences."""
        super().__init__(model)
        self._output = label_output(model)
        self._input = SequenceInput(model)

    def is_input(self, directory: Path) -> bool:
        """Whether a directory holds the frames of a clip, and the model reads clips."""
        return self._input.is_clip(directory)

    def live(self, options: Options) -> Callable[[Show], Result] | None:
        """Return what labels all sound from the microphone as it goes by, if `options` ask for it."""
        if not options.microphone:
            return None
        self.check(options, ())

        def run(show: Show) -> Result:
            with closing(self._input.listen()) as steps:
                return self({self._input.name: steps}, options, show)

        return run

    @abstractmethod
    def __call__(self, inputs: Mapping[str, Iterable[Array]], options: Options, show: Show = ignore) -> Result:
        """As that of `Pipeline`, also over steps (...) that arrive one by one."""


def _text(source: str | Path | bytes) -> str:
    try:
        data = source if isinstance(source, bytes) else Path(source).read_bytes()
        return data.decode("utf-8").strip()
    except OSError as error:
        raise CorpusError(f"{source!s} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise CorpusError(f"the text is not UTF-8, at byte {error.start}") from None


def _numbers(source: str | Path | bytes, name: str) -> tuple[list[str], Array]:
    """Return rows (rows, channels) of a `.npy` or CSV file, and the names in the first line of CSV, if it has them."""
    data = source if isinstance(source, bytes) else _bytes(Path(source))
    if data.startswith(b"\x93NUMPY"):
        try:
            rows: Array = np.load(io.BytesIO(data), allow_pickle=False)
        except ValueError as error:
            raise CorpusError(f"{name} is damaged: {error}") from None
        if rows.dtype.kind not in "biuf" or not np.isfinite(rows).all():
            raise CorpusError(f"{name} has values that are not finite numbers")
        return [], rows[:, None] if rows.ndim == 1 else rows
    try:
        lines = [line for line in csv.reader(io.StringIO(data.decode("utf-8-sig"))) if line]
    except (UnicodeDecodeError, csv.Error) as error:
        raise CorpusError(f"{name} is neither CSV nor .npy: {error}") from None
    names: list[str] = []
    if lines and not any(map(_is_number, lines[0])):
        names, lines = [cell.strip().lower() for cell in lines[0]], lines[1:]
    if not lines:
        raise CorpusError(f"{name} has no rows of numbers")
    if names and len(names) != len(lines[0]):
        raise CorpusError(f"{name} names {counted(len(names), 'channel')}, and its rows have {len(lines[0])}")
    for number, line in enumerate(lines, 1):
        if len(line) != len(lines[0]) or not all(map(_is_number, line)):
            raise CorpusError(
                f"{name}: row {number} is not {len(lines[0])} finite numbers, separated by commas; the columns are the "
                "channels alone"
            )
    return names, np.array(lines, np.float32)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CorpusError(f"{path} cannot be read: {error.strerror}") from None


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
