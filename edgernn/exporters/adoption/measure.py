"""Observe the steps of a graph: equal calls must agree and sizes must not change; report states without effect."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress

import numpy as np

from edgernn.contract import Array
from edgernn.errors import ExportError
from edgernn.exporters.adoption.trial import MisfitError, Trial

__all__ = ["check_equal_calls", "check_lengths", "nan_outputs", "state_notes"]

_CALLS = 3
_DRAWS = 8
_STEPS = 4


def check_equal_calls(trial: Trial, sizes: Mapping[str, int]) -> None:
    """Raise ExportError if calls with equal inputs give different results."""
    feeds = trial.draws.feeds(sizes, 0)
    first = trial.run(feeds)
    for _ in range(_CALLS):
        for name, array in trial.run(feeds).items():
            if not _same(array, first[name]):
                raise ExportError(
                    f"graph {trial.graph.name}: two calls with equal inputs give different values of "
                    f"{trial.graph.own(name)}: something in it draws random numbers or keeps a state of its own"
                )


def check_lengths(trial: Trial, sizes: Mapping[str, int]) -> None:
    """Raise ExportError if the size of an output changes from one step of a stream to the next."""
    states: dict[str, Array] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    for step in range(_STEPS):
        feeds = trial.draws.feeds(sizes, step)
        zeros = {pair.given: np.zeros_like(feeds[pair.given]) for pair in trial.pairs}
        results = trial.run({**feeds, **zeros, **states})
        states = {pair.given: results[pair.made] for pair in trial.pairs}
        for name, array in results.items():
            if shapes.setdefault(name, array.shape) != array.shape:
                raise ExportError(
                    f"graph {trial.graph.name}: output {trial.graph.own(name)} changes its size from step to step: "
                    f"{list(shapes[name])} at first, {list(array.shape)} at step {step + 1}"
                )


def nan_outputs(trial: Trial, sizes: Mapping[str, int]) -> list[str]:
    """Return the results that have NaN after the first step of a stream."""
    feeds = next(trial.draws.stream(sizes, {}))
    results = trial.run({**feeds, **{pair.given: np.zeros_like(feeds[pair.given]) for pair in trial.pairs}})
    return [name for name, array in results.items() if array.dtype.kind == "f" and np.isnan(array).any()]


def state_notes(trial: Trial, sizes: Mapping[str, int], free: Collection[str]) -> Iterator[str]:
    """Yield sentences about states that seem to be useless, which random values cannot prove.

    free: named axes whose size can vary. Size 1 is tried too, since a state may be forgotten over many samples.
    """
    kept, unread = _useless(trial, sizes)
    if unread and free:
        with suppress(MisfitError):  # some graphs need a larger size
            unread &= _useless(trial, {**sizes, **dict.fromkeys(free, 1)})[1]
    for pair in trial.pairs:
        given, made = trial.graph.own(pair.given), trial.graph.own(pair.made)
        if pair.given in kept:
            yield f"the state {given} never changed: {made} was equal to it in all of {_DRAWS} random trials"
        if pair.given in unread and len(trial.graph.outputs) > 1:
            yield f"the state {given} had no effect on outputs and other states in any of {_DRAWS} random trials"


def _useless(trial: Trial, sizes: Mapping[str, int]) -> tuple[set[str], set[str]]:
    """Return the states that never changed in random trials, and those that affected nothing but themselves."""
    kept, unread = ({pair.given for pair in trial.pairs} for _ in range(2))
    counts = list(itertools.islice(_counts(trial, sizes), _DRAWS + 1))
    for seed in range(_DRAWS):
        feeds = trial.draws.feeds(sizes, seed) | counts[seed]
        others = trial.draws.feeds(sizes, seed + _DRAWS) | counts[seed + 1]
        results = trial.run(feeds)
        for pair in trial.pairs:
            if not _same(results[pair.made], feeds[pair.given]):
                kept.discard(pair.given)
            if pair.given in unread:
                changed = trial.run({**feeds, pair.given: others[pair.given]})
                if any(not _same(changed[name], results[name]) for name in results if name != pair.made):
                    unread.discard(pair.given)
    return kept, unread


def _counts(trial: Trial, sizes: Mapping[str, int]) -> Iterator[dict[str, Array]]:
    """Yield the integer states of a stream, step by step: counters, which cannot have random values."""
    feeds = trial.draws.feeds(sizes, 0)
    states = {pair.given: np.zeros_like(feeds[pair.given]) for pair in trial.pairs}
    for step in itertools.count():
        yield {name: array for name, array in states.items() if array.dtype.kind != "f"}
        results = trial.run({**trial.draws.feeds(sizes, step), **states})
        states = {pair.given: results[pair.made] for pair in trial.pairs}


def _same(one: Array, other: Array) -> bool:
    return np.array_equal(one, other, equal_nan=one.dtype.kind == "f")
