"""Tagging on the device: a stream labels every frame of a sequence, and reports events as they end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from edgernn.arrays import read_npz
from edgernn.contract import Array
from edgernn.errors import CorpusError, FormatError
from edgernn.media.events import Event, EventStream
from edgernn.media.image import SUFFIXES
from edgernn.media.steps import followed
from edgernn.media.timeline import draw_timeline
from edgernn.runtime import Model
from edgernn.runtime.pipelines.class_scores import label_output, probabilities
from edgernn.runtime.pipelines.pipeline import Pipeline, Result, Show, check_output, ignore
from edgernn.runtime.pipelines.sequence_input import NUMBERS, VIDEO, SequenceInput
from edgernn.settings import Settings, option

__all__ = ["Smoothing", "TagOptions", "TagPipeline", "Tagging", "smoothing"]

_SECONDS = 0.05  # of sound: shorter events are dropped, and shorter gaps within events closed


class Smoothing(NamedTuple):
    """The limits of `events`: gaps of fewer than `merged` frames are closed, events under `shortest` frames dropped."""

    merged: int
    shortest: int


def smoothing(rate: float | None) -> Smoothing:
    """Return the limits for labels at `rate` frames per second: 50 ms; none where the rate is unknown."""
    return Smoothing(0, 1) if rate is None else Smoothing(round(_SECONDS * rate), round(_SECONDS * rate))


@dataclass(frozen=True)
class Tagging(Result):
    """The label of every frame, and the events. rate: frames per second, or None where it is unknown."""

    labels: tuple[str, ...]
    events: tuple[Event, ...]
    names: tuple[str, ...]
    rate: float | None

    def to_json(self) -> dict[str, Any]:
        """Return the labels, and the events with their first frame, the frame after their last, and seconds of both."""
        return {"labels": list(self.labels), "events": [self._event(each) for each in self.events]}

    def __str__(self) -> str:
        """Return a line for each event."""
        return "".join(map(self.line, self.events)).rstrip("\n") or "no event"

    def line(self, event: Event) -> str:
        """Return the start, the end and the name of an event, as a line."""
        return _line(event, self.names, self.rate)

    def _event(self, event: Event) -> dict[str, Any]:
        found: dict[str, Any] = {"label": self.names[event.label], "start": event.start, "end": event.end}
        if self.rate is not None:
            found |= {"start_seconds": event.start / self.rate, "end_seconds": event.end / self.rate}
        return found


@dataclass(frozen=True, kw_only=True)
class TagOptions(Settings):
    """How events are found and shown."""

    shortest: int | None = option(
        None, "The number of frames of the shortest event; shorter ones are dropped.", low=1, unset="50 ms of sound; 1"
    )
    gap: int | None = option(
        None,
        "Events of one label become one if fewer than this number of frames lie between them.",
        low=0,
        unset="50 ms of sound; 0",
    )
    plot: Path | None = option(
        None, "Write a picture of the events, and of the probabilities of all classes over time."
    )


class TagPipeline(Pipeline[TagOptions]):
    """Labels the frames of sound, rows of numbers or clips, as the bundle's contract says."""

    task = "tag"
    inputs = ("SEQUENCE", "files: WAV, GIF, .npz with frames, CSV or .npy")
    suffixes = (".wav", ".gif", ".npz", ".csv", ".npy")
    options = TagOptions
    example = "bundles/spoken numbers.wav --plot numbers.png"

    def __init__(self, model: Model) -> None:
        """Raise StreamError for a model that does not label sequences."""
        super().__init__(model)
        output = label_output(model)
        self._output, self._delay = output.name, output.delay
        self._input = SequenceInput(model)

    def is_input(self, directory: Path) -> bool:
        """Whether a directory holds the frames of a clip, and the model reads clips."""
        return self._input.is_clip(directory)

    def read(self, source: str | Path | bytes) -> Mapping[str, Array]:
        """Return the steps of the sequence in a file, (steps, ...), by the name of the model's input."""
        archive = None if isinstance(source, bytes) else Path(source)
        if archive is None or archive.suffix.lower() != ".npz" or self._input.kind not in (NUMBERS, VIDEO):
            return {self._input.name: self._input.read(source)}
        try:
            frames = read_npz(archive, ("frames",)).get("frames")
        except FormatError as error:
            raise CorpusError(str(error)) from None
        if frames is None or not frames.ndim:
            raise CorpusError(f"{archive} has no frames (time, ...)")
        return {self._input.name: self._input.steps(frames[:, None] if frames.ndim == 1 else frames, str(archive))}

    def check(self, options: TagOptions, sources: Sequence[Path]) -> None:
        """Raise ConfigError for a picture that cannot be written."""
        if options.plot is not None:
            check_output("--plot", options.plot, sources, SUFFIXES)

    def __call__(self, inputs: Mapping[str, Array], options: TagOptions, show: Show = ignore) -> Tagging:
        """Label the sequence to its end. show: called with a line for each event, or for each frame of a clip.

        Raises ImageError if the plot cannot be written, SamplingError for scores that are not numbers.
        """
        names, rate = self.model.labels, self._input.rate
        assert names is not None
        limits = smoothing(rate)
        stream = EventStream(
            limits.merged if options.gap is None else options.gap,
            limits.shortest if options.shortest is None else options.shortest,
        )
        each_frame = self._input.kind == VIDEO
        found: list[Event] = []
        parts: list[Array] = []
        for probability in self._probabilities(inputs[self._input.name]):
            label = int(probability.argmax())
            parts.append(probability)
            ended = stream.push(label)
            found += ended
            lines = (
                [f"frame {len(parts) - 1:4}  {names[label]}\n"]
                if each_frame
                else [_line(e, names, rate) for e in ended]
            )
            if any(show(line) is False for line in lines):
                break
        found += stream.finish()
        if options.plot is not None:
            draw_timeline(np.array(parts), names, found, options.plot, rate)
        return Tagging(tuple(names[int(each.argmax())] for each in parts), tuple(found), names, rate)

    def _probabilities(self, steps: Array) -> Iterator[Array]:
        """Yield the probabilities of the classes (classes,) of each frame, once the steps that follow it are read."""
        stream = self.model.stream()
        for place, step in enumerate(followed(steps, self._delay)):
            scores = stream.step({self._input.name: step[None]})[self._output][0]
            if place >= self._delay:
                yield probabilities(scores)


def _line(event: Event, names: Sequence[str], rate: float | None) -> str:
    if rate is None:
        return f"frames {event.start:4} to {event.end - 1:4}  {names[event.label]}\n"
    return f"{event.start / rate:7.2f} to {event.end / rate:7.2f} s  {names[event.label]}\n"
