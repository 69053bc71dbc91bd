"""Find states that seem to be ignored, or never to change. Trials cannot prove either."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from edgernn.contract import BATCH, Array, StateSpec
from edgernn.errors import ExportError
from edgernn.examples import example
from edgernn.exporters.checks.trial import Arrays, Trial, differs

__all__ = ["Taken", "find_idle_states"]

_TRIES = 12  # values of a state to try, until one has an effect


@dataclass(frozen=True)
class Taken:
    """One step of a module: its inputs and its results."""

    feeds: Arrays
    results: Arrays


def find_idle_states(trial: Trial, taken: Sequence[Taken]) -> Iterator[tuple[str, str]]:
    """Yield the names of states that no step shows to be carried, with what was observed."""
    for state in trial.spec.states:
        unchanged = all(not differs(step.results[state.output], step.feeds[state.input]) for step in taken)
        others = _others(trial, taken, state)
        unused = not any(_matters(trial, step, state, value, handed_on=unchanged) for step, value in others)
        seen = []
        if unchanged:
            seen.append("it did not change")
        if unused:
            seen.append("no output and no other state depended on it")
        if seen:
            yield state.name, f"in {len(taken)} steps {' and '.join(seen)}"


def _matters(trial: Trial, step: Taken, state: StateSpec, value: Array, *, handed_on: bool) -> bool:
    """Return whether another value of a state changes any result.

    handed_on: whether to ignore the state itself, if it is returned unchanged.
    """
    try:
        changed = trial.call({**step.feeds, state.input: value})
    except ExportError:
        return True  # a value that makes the step fail is used by it
    own = handed_on and np.array_equal(changed[state.output], value)
    return any(
        differs(array, step.results[name]) for name, array in changed.items() if not (own and name == state.output)
    )


def _others(trial: Trial, taken: Sequence[Taken], state: StateSpec) -> Iterator[tuple[Taken, Array]]:
    """Yield steps with other values of the state: those of other steps, then random ones of its type."""
    for number in range(_TRIES):
        step = taken[number % len(taken)]
        array = step.feeds[state.input]
        seen = [each.feeds[state.input] for each in taken]
        seen = [value for value in seen if value.shape == array.shape and differs(value, array)]
        if seen:
            yield step, seen[number % len(seen)]
        sizes = state.named_sizes(array)
        drawn = example({state.name: state}, sizes.get(BATCH, 1), np.random.default_rng((number, 1)), sizes)
        if differs(drawn[state.name], array):
            yield step, drawn[state.name]
