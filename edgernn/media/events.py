"""Events: the spans of a sequence of labels in which one label lasts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from edgernn.contract import Array

__all__ = ["BACKGROUND", "Event", "events", "labels_of"]

BACKGROUND = 0  # the label of frames in which nothing happens


class Event(NamedTuple):
    """The frames from `start` up to, but not including, `end`, which all have the label `label`."""

    start: int
    end: int
    label: int


def events(labels: Array | Sequence[int], merged: int = 0, shortest: int = 1) -> list[Event]:
    """Return the runs of equal labels (frames,), in order, without those of the background and of unknown labels (< 0).

    merged: two successive events with the same label become one if fewer than `merged` frames lie between them.
    shortest: events of fewer frames are dropped. Events are merged before and after that, so that neither a gap of a
    few frames nor a short event of another label splits a long event.
    """
    values = np.asarray(labels)
    if values.ndim != 1:
        raise ValueError(f"labels have the shape {values.shape}, not (frames,)")
    edges = np.flatnonzero(np.diff(values)) + 1
    bounds = [0, *edges.tolist(), len(values)] if len(values) else []
    runs = [Event(start, end, int(values[start])) for start, end in pairwise(bounds) if values[start] > BACKGROUND]
    long = [each for each in _merge(runs, merged) if each.end - each.start >= shortest]
    return _merge(long, merged)


def labels_of(events: Iterable[Event], frames: int) -> Array:
    """Return int64 labels (frames,) with the label of each event in its frames and the background elsewhere.

    It is the inverse of `events`. Of events that overlap, the later in the list wins.
    """
    labels = np.full(frames, BACKGROUND, np.int64)
    for start, end, label in events:
        labels[start:end] = label
    return labels


def _merge(runs: Iterable[Event], merged: int) -> list[Event]:
    """Join successive events of one label with fewer than `merged` frames between them."""
    joined: list[Event] = []
    for run in runs:
        if joined and joined[-1].label == run.label and run.start - joined[-1].end < merged:
            joined[-1] = Event(joined[-1].start, run.end, run.label)
        else:
            joined.append(run)
    return joined
