"""Score taggers: the accuracy of frames, and the events that are found and how late."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgernn.contract import Array
from edgernn.data.frame_labels import UNKNOWN, read_frame_labels
from edgernn.data.sequences import SOUND, VIDEO, part_to_evaluate, read_sequences
from edgernn.errors import CheckFailedError, ConfigError, CorpusError, counted, few
from edgernn.media.events import BACKGROUND, events
from edgernn.media.steps import followed
from edgernn.runtime import Model
from edgernn.runtime.pipelines.class_scores import label_output
from edgernn.runtime.pipelines.sequence_input import SequenceInput
from edgernn.runtime.pipelines.tag import smoothing
from edgernn.tasks.confusion import Confusion
from edgernn.tasks.labelling import CLIPS
from edgernn.tasks.score import Evaluation, Progress, RunData, note_held_out
from edgernn.tasks.tag.data import Tagged, drawn_frames, open_held_out, strung
from edgernn.tasks.tag.settings import TagEvaluation

__all__ = ["TagScore", "evaluate", "score_labels"]

_BATCH = 32  # sequences that are stepped together


@dataclass(frozen=True)
class TagScore(Confusion):
    """The score of the labels of frames.

    classes: the background first. confusion: of the frames with known labels.
    delays: for each true event, the number of steps from its first frame to the step after which a frame of it first
    has its label; infinite for events of which no frame has it.
    found: the number of true events that overlap with a reported event of their class. reported, right: the number of
    reported events, and of those that overlap with a true event of their class. rate: steps per second, or None.
    """

    delays: Array
    found: int
    reported: int
    right: int
    rate: float | None = None

    @property
    def frames(self) -> int:
        """The number of frames with a known label."""
        return self.count

    @property
    def frame_accuracy(self) -> float:
        """The share of frames whose label is right."""
        return self.accuracy

    @property
    def delay(self) -> float | None:
        """The median delay in steps, or None if no event has one: there are none, or half of them are missed."""
        if not len(self.delays) or not np.isfinite(median := np.median(self.delays)):
            return None
        return float(median)

    @property
    def delay_ms(self) -> float | None:
        """The median delay in milliseconds, or None where the time of a step is unknown or `delay` is None."""
        return None if self.delay is None or self.rate is None else 1000 * self.delay / self.rate

    @property
    def event_recall(self) -> float | None:
        """The share of true events that are found, or None without any."""
        return self.found / len(self.delays) if len(self.delays) else None

    @property
    def event_precision(self) -> float | None:
        """The share of reported events that are right, or None without any."""
        return self.right / self.reported if self.reported else None

    @property
    def figures(self) -> dict[str, float]:
        """The figures to log, by name."""
        known = {"event_recall": self.event_recall, "event_precision": self.event_precision, "delay": self.delay}
        given = {name: value for name, value in known.items() if value is not None}
        return {"frame_accuracy": self.frame_accuracy, "balanced_accuracy": self.balanced_accuracy, **given}

    def to_json(self) -> dict[str, Any]:
        """Return the figures as `evaluate --json` prints them."""
        return {
            "frame_accuracy": self.frame_accuracy,
            "balanced_accuracy": self.balanced_accuracy,
            "frames": self.frames,
            "delay_ms": self.delay_ms,
            "delay_frames": self.delay,
            "events": len(self.delays),
            "event_recall": self.event_recall,
            "event_precision": self.event_precision,
            "classes": list(self.classes),
            "confusion": self.confusion.tolist(),
        }

    def __str__(self) -> str:
        """Return the figures in words, with the most frequent confusions."""
        text = (
            f"{100 * self.frame_accuracy:.1f} % of {counted(self.frames, 'frame')} right, "
            f"balanced {100 * self.balanced_accuracy:.1f} %"
        )
        if self.event_recall is not None:
            text += f"; {100 * self.event_recall:.1f} % of {counted(len(self.delays), 'event')} found"
        if self.event_precision is not None:
            text += f", {100 * self.event_precision:.1f} % of reported events right"
        if self.delay is not None:
            text += f", median delay {self.delay:g} frames"
            text += "" if self.delay_ms is None else f" ({self.delay_ms:.0f} ms)"
        elif len(self.delays):
            text += ", no median delay, since half of the events have no right frame"
        return text + self.most_confused


def score_labels(
    pairs: Iterable[tuple[Array, Array]], classes: Sequence[str], delay: int = 0, rate: float | None = None
) -> TagScore:
    """Return the score of sequences, each as its true labels (time,), below 0 where unknown, and those given (time,).

    delay: the number of steps by which each label came later than its frame. rate: steps per second.
    Reported events are those of `smoothing`; delays are those of the labels themselves.
    """
    confusion = np.zeros((len(classes), len(classes)), np.int64)
    delays: list[float] = []
    found = reported = right = 0
    merged, shortest = smoothing(rate)
    for true, given in pairs:
        known = true > UNKNOWN
        np.add.at(confusion, (true[known], given[known]), 1)
        given = np.where(known, given, BACKGROUND)
        for event in (whole := events(true)):
            hits = np.flatnonzero(given[event.start : event.end] == event.label)
            delays.append(float(hits[0] + delay) if len(hits) else np.inf)
        told = events(given, merged, shortest)
        found += _overlapping(whole, told)
        right += _overlapping(told, whole)
        reported += len(told)
    return TagScore(tuple(classes), confusion, np.array(delays), found, reported, right, rate)


def _overlapping(these: Sequence[Any], those: Sequence[Any]) -> int:
    """Return how many of these events overlap with one of those of the same label."""
    return sum(
        any(one.label == other.label and one.start < other.end and other.start < one.end for other in those)
        for one in these
    )


def evaluate(model: Model, settings: TagEvaluation, progress: Progress, own: RunData | None = None) -> Evaluation:
    """Return the score of `model` on labelled frames.

    Without --data, they are those that its run, with the data `own`, held out.
    Raises ConfigError if there are none of either, CorpusError for data that is missing, of another kind or of other
    classes.
    """
    source, output = SequenceInput(model), label_output(model)
    assert model.labels is not None
    sequences, notes = _open(settings, source, model.labels, progress, own)
    if not any((each.labels > UNKNOWN).any() for each in sequences):
        raise CorpusError(f"{settings.data or own} has no frame with a known label")
    steps = [followed(each.steps, output.delay) for each in sequences]
    given: dict[int, Array] = {}
    order = sorted(range(len(steps)), key=lambda place: len(steps[place]))
    for begun in range(0, len(order), _BATCH):
        rows = order[begun : begun + _BATCH]
        labels = _labels(model, source.name, output.name, [steps[row] for row in rows])
        given |= {row: each[output.delay :] for row, each in zip(rows, labels, strict=True)}
        progress((begun + len(rows)) / len(order), f"{begun + len(rows):,} of {len(order):,} sequences")
    pairs = [(each.labels, given[place]) for place, each in enumerate(sequences)]
    return Evaluation(score_labels(pairs, model.labels, output.delay, source.rate), notes)


def _open(
    settings: TagEvaluation, source: SequenceInput, classes: Sequence[str], progress: Progress, own: RunData | None
) -> tuple[list[Tagged], Sequence[str]]:
    """Return the sequences to evaluate on, and notes about them."""
    if not settings.data:
        if own is None:
            raise ConfigError("a tagger is evaluated on frames with labels: name them with --data")
        settings.refuse_without_data("split", "digits")
        kept = open_held_out(own.folder, own.record)
        return kept, [note_held_out(counted(len(kept), "sequence"))]
    path, kind = Path(settings.data), source.kind
    if kind == SOUND and settings.data != CLIPS:
        split, notes = part_to_evaluate(path, kind, settings.split)
        spoken = read_sequences(
            path, kind, split=split, classes=classes[1:], rate=source.sample_rate, progress=progress
        )
        return strung(spoken, settings.split), (*spoken.notes, *notes)
    if settings.data == CLIPS:
        frames = drawn_frames(settings.split, settings.digits)
        if kind != VIDEO or frames.classes != tuple(classes):
            raise CorpusError(f"the drawn clips have the classes {few(frames.classes)}, which the model does not know")
    else:
        split, notes = part_to_evaluate(path, "numbers", settings.split)
        frames = read_frame_labels(path, split, progress, classes)
        frames = replace(frames, notes=(*frames.notes, *notes))
    return [Tagged(source.steps(each.frames), each.labels) for each in frames.sequences], frames.notes


def _labels(model: Model, name: str, output: str, sequences: Sequence[Array]) -> list[Array]:
    """Return the class with the best score after each step of each sequence, (steps,)."""
    if not model.contract["step"].batched and len(sequences) > 1:
        return [_labels(model, name, output, [each])[0] for each in sequences]
    longest = max(map(len, sequences))
    padded = np.stack([np.resize(each, (longest, *each.shape[1:])) for each in sequences])
    conditions, state = model.begin(batch=len(sequences))
    best = np.empty((longest, len(sequences)), np.int64)
    for place in range(longest):
        outputs, state = model.step({name: padded[:, place]}, state, conditions=conditions)
        if not np.isfinite(scores := outputs[output]).all():
            raise CheckFailedError("the scores of the classes are not numbers")
        best[place] = scores.argmax(axis=1)
    return [best[: len(each), row] for row, each in enumerate(sequences)]
