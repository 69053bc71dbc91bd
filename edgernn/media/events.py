"""Events: the spans of a sequence of labels in which one label lasts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise, takewhile
from typing import NamedTuple

import numpy as np

from edgernn.contract import Array

__all__ = ["BACKGROUND", "Event", "EventStream", "events", "labels_of"]

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


class EventStream:
    """Finds the events of labels that arrive one by one: in all, the same as `events` finds in all labels.

    An event comes as soon as no later label can change it. begun: the events that are certain to come, whose ends may
    still move.
    """

    def __init__(self, merged: int = 0, shortest: int = 1) -> None:
        """Take the limits that `events` takes."""
        self._merged, self._shortest = merged, shortest
        self._pending: list[int] = []  # labels from which events may still come
        self._begun = 0  # the frame of the first of them
        self.begun: Sequence[Event] = ()

    def push(self, label: int) -> list[Event]:
        """Take the label of the next frame, and return the events that it completes."""
        self._pending.append(label)
        count = len(self._pending)
        runs = events(self._pending, self._merged)
        growing = runs[-1] if runs and count - runs[-1].end < max(self._merged, 1) else None
        every = events(self._pending, self._merged, self._shortest)
        final = self._placed(takewhile(lambda each: self._is_final(each, growing), every))
        self.begun = self._placed(every[len(final) :])
        if growing is None and len(final) == len(every):
            self._drop(count)
        elif final:
            self._drop(final[-1].end - self._begun)
        return final

    def finish(self) -> list[Event]:
        """Return the events that end with the last frame, or were not complete before it."""
        found = self._placed(events(self._pending, self._merged, self._shortest))
        self._drop(len(self._pending))
        self.begun = ()
        return found

    def _is_final(self, event: Event, growing: Event | None) -> bool:
        """Whether no later label can change an event. growing: the run that the next label may still continue."""
        count, reach = len(self._pending), event.end + self._merged
        joins = growing is not None and growing.label == event.label and growing.start < reach
        return event.end < count and reach <= count and not joins

    def _placed(self, found: Iterable[Event]) -> list[Event]:
        return [Event(start + self._begun, end + self._begun, label) for start, end, label in found]

    def _drop(self, count: int) -> None:
        del self._pending[:count]
        self._begun += count


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
