"""Tagging on the device: a stream labels every frame of a sequence, and reports events as they begin and end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
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
from edgernn.runtime.pipelines.class_scores import probabilities
from edgernn.runtime.pipelines.pipeline import Result, Show, check_output, ignore
from edgernn.runtime.pipelines.sequence_input import NUMBERS, VIDEO, SequenceOptions, SequencePipeline
from edgernn.settings import option

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
    """The label of every frame, and the events. rate: frames per second, or None where it is unknown.

    shown: the lines that were shown of a microphone, a line for the begin and one for the end of each event.
    """

    labels: tuple[str, ...]
    events: tuple[Event, ...]
    names: tuple[str, ...]
    rate: float | None
    shown: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the labels, and the events with their first frame, the frame after their last, and seconds of both."""
        return {"labels": list(self.labels), "events": [self._event(each) for each in self.events]}

    def __str__(self) -> str:
        """Return a line for each event, and of a microphone one for its begin too."""
        return (self.shown or "".join(map(self.line, self.events))).rstrip("\n") or "no event"

    def line(self, event: Event) -> str:
        """Return the start, the end and the name of an event, as a line."""
        return _line(event, self.names, self.rate)

    def _event(self, event: Event) -> dict[str, Any]:
        found: dict[str, Any] = {"label": self.names[event.label], "start": event.start, "end": event.end}
        if self.rate is not None:
            found |= {"start_seconds": event.start / self.rate, "end_seconds": event.end / self.rate}
        return found


@dataclass(frozen=True, kw_only=True)
class TagOptions(SequenceOptions):
    """How events are found and shown."""

    shortest: int | None = option(
        None,
        "The number of frames of the shortest event; shorter ones are dropped.",
        low=1,
        unset="those of 50 ms for sound, otherwise 1",
    )
    gap: int | None = option(
        None,
        "Two events of the same label become one if fewer than this number of frames are between them.",
        low=0,
        unset="those of 50 ms for sound, otherwise 0",
    )
    plot: Path | None = option(
        None, "Write a picture of the events, and of the probabilities of all classes over time."
    )


class TagPipeline(SequencePipeline[TagOptions]):
    """Labels the frames of sound, rows of numbers or clips, as the bundle's contract says."""

    task = "tag"
    inputs = ("SEQUENCE", "files: WAV, GIF, .npz with frames, CSV or .npy")
    suffixes = (".wav", ".gif", ".npz", ".csv", ".npy")
    options = TagOptions
    example = "bundles/spoken numbers.wav --plot numbers.png"

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

    def __call__(self, inputs: Mapping[str, Iterable[Array]], options: TagOptions, show: Show = ignore) -> Tagging:
        """Label the sequence to its end. show: called after each frame, with the lines that are due, or with "".

        There is a line for each event when it ends, and from a microphone also when it begins; of a clip, a line for
        each frame. Raises ImageError if the plot cannot be written, SamplingError for scores that are not numbers.
        """
        names, rate = self.model.labels, self._input.rate
        assert names is not None
        limits = smoothing(rate)
        stream = EventStream(
            limits.merged if options.gap is None else options.gap,
            limits.shortest if options.shortest is None else options.shortest,
        )
        labels: list[int] = []
        found: list[Event] = []
        lines: list[str] = []
        parts: list[Array] = []
        latest = -1  # the first frame of the latest event whose begin is among the lines
        for probability in self._probabilities(inputs[self._input.name]):
            labels.append(int(probability.argmax()))
            if options.plot is not None:
                parts.append(probability)
            ended = stream.push(labels[-1])
            found += ended
            due = [_line(event, names, rate) for event in ended]
            if options.microphone:
                due += [_line(event, names, rate, ended=False) for event in stream.begun if event.start > latest]
                latest = max([latest, *(event.start for event in stream.begun)])
            if self._input.kind == VIDEO:
                due = [f"frame {len(labels) - 1:4}  {names[labels[-1]]}\n"]
            lines += due
            if show("".join(due)) is False:
                break
        last = stream.finish()
        found += last
        lines += [_line(event, names, rate) for event in last]
        if options.plot is not None:
            draw_timeline(np.array(parts), names, found, options.plot, rate)
        shown = "".join(lines) if options.microphone else ""
        return Tagging(tuple(names[each] for each in labels), tuple(found), names, rate, shown)

    def _probabilities(self, steps: Iterable[Array]) -> Iterator[Array]:
        """Yield the probabilities of the classes (classes,) of each frame, once the steps that follow it are read."""
        stream, delay = self.model.stream(), self._output.delay
        for place, step in enumerate(followed(steps, delay) if isinstance(steps, np.ndarray) else steps):
            scores = stream.step({self._input.name: step[None]})[self._output.name][0]
            if place >= delay:
                yield probabilities(scores)


def _line(event: Event, names: Sequence[str], rate: float | None, *, ended: bool = True) -> str:
    """Return a line with the start, the end and the name of an event. ended: False leaves the end open."""
    if rate is None:
        return f"frames {event.start:4} to {event.end - 1:4}  {names[event.label]}\n"
    end = f"{event.end / rate:7.2f}" if ended else "    ..."
    return f"{event.start / rate:7.2f} to {end} s  {names[event.label]}\n"
