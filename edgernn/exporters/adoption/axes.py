"""Find the axes of a graph by trial: which axis is the batch, and which sizes the other axes accept."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

from edgernn.errors import ExportError
from edgernn.exporters.adoption.attempts import Attempts
from edgernn.exporters.adoption.confirmation import STREAMS, Axes, confirmed
from edgernn.exporters.adoption.sizes import of_weights, ones, usual
from edgernn.exporters.adoption.symbols import Group, Sizes, Symbols
from edgernn.exporters.adoption.trial import MisfitError, Trial

__all__ = ["Axes", "find_axes"]

_MIXED = 4  # sizes to try for a group of axes whose rows are not independent

Ladder = Callable[[Sequence[str]], Iterator[Sizes]]


def find_axes(trial: Trial, example: Mapping[str, int], *, forced: bool, deadline: float) -> Axes:
    """Find the axes by trial.

    example: sizes of named axes to try first. forced: whether the caller called the axes that count streams "batch".
    deadline: the end of the search, on the monotonic clock. Raises ExportError, with the reason, for a graph that runs
    with none of the sizes.
    """
    return _Search(trial, example, forced=forced, deadline=deadline).find()


class _Search:
    def __init__(self, trial: Trial, example: Mapping[str, int], *, forced: bool, deadline: float) -> None:
        self.trial, self.example, self.forced, self.deadline = trial, example, forced, deadline
        self.symbols = Symbols.of(trial.graph, [pair.given for pair in trial.pairs], example)
        self.attempts = Attempts(trial, self.symbols)
        self.groups = self.symbols.forced_groups() if forced else self.symbols.groups()
        self.mixing: list[MisfitError] = []  # why rows are not independent streams
        self.mixed: Counter[Group] = Counter()  # the number of sizes for which they are not

    def find(self) -> Axes:
        """Return the axes.

        Those for which outputs are as the file declares are preferred; its declaration may be wrong.
        """
        for strict, ladders in (
            (True, [self._usual, self._of_weights]),
            (False, [self._usual, self._of_weights]),
            (False, [ones]),
        ):
            self.attempts.strict = strict
            found = self._with_streams(ladders) or self._alone(ladders)
            if found is not None:
                return found
        raise self._failure()

    def _with_streams(self, ladders: Sequence[Ladder]) -> Axes | None:
        """Return the axes with a batch axis, or None if there is no such axis."""
        for ladder in ladders:
            for group in self.groups:
                running = self._running(dict.fromkeys(group, 1), ladder)
                for sizes in itertools.islice(running, _MIXED - self.mixed[group]):
                    if self._are_streams(group, sizes):
                        return confirmed(self.attempts, sizes, group)
        return None

    def _alone(self, ladders: Sequence[Ladder]) -> Axes | None:
        """Return the axes for a single stream, or None if it does not run."""
        if self.forced:
            return None
        groups = [*self.groups, *self.symbols.singles()]
        # An axis of a state has a fixed size. If its rows are not independent, a single stream has one row.
        of_states = [group for group in groups if group & self.symbols.held]
        for ladder in ladders:
            for fixed in dict.fromkeys([*of_states, Group(), *groups]):
                for sizes in self._running(dict.fromkeys(fixed, 1), ladder):
                    return confirmed(self.attempts, sizes, Group(), fixed, self.mixing)
        return None

    def _are_streams(self, group: Group, sizes: Sizes) -> bool:
        """Return whether the rows along the axes of `group` are independent streams."""
        try:
            for count in STREAMS:
                self.trial.rows(sizes, group, count)
            self.trial.distant_rows(sizes, group)
        except MisfitError as error:
            if error.kind == "rows":
                self.mixing.append(error)
            self.mixed[group] += 1
            return False
        return True

    def _running(self, known: Sizes, ladder: Ladder) -> Iterator[Sizes]:
        """Yield sizes of all named axes with which one stream runs. known: sizes that are not varied."""
        free = [axis for axis in self.symbols.names if axis not in known]
        given = {axis: self.example[axis] for axis in free if axis in self.example}
        for tried in ladder(free):
            if time.monotonic() > self.deadline:
                return
            for sizes in self.attempts.completed({**tried, **given, **known}):
                if self.attempts.one(sizes) is not None:
                    yield sizes

    def _usual(self, free: Sequence[str]) -> Iterator[Sizes]:
        return usual(free, halved=not self.symbols.unsaid.isdisjoint(free))

    def _of_weights(self, free: Sequence[str]) -> Iterator[Sizes]:
        """Yield sizes that occur among the axes of outputs and among the weights."""
        outputs = self.trial.graph.outputs.values()
        said = {axis for port in outputs for axis in port.axes or () if isinstance(axis, int)}
        return of_weights(free, list(dict.fromkeys([*sorted(said - {0, 1}), *self.trial.shapes.likely_sizes])))

    def _failure(self) -> ExportError:
        name, failed = self.trial.graph.name, self.attempts.failed
        if self.forced and self.mixing:
            return ExportError(f"graph {name}: the axes that --axes calls batch count no streams: {self.mixing[0]}")
        for kind in ("state", "values"):
            for error in failed:
                if error.kind == kind:
                    return ExportError(f"graph {name}: {error}")
        reason = failed[0] if failed else "no sizes were found in time; say them with --axes"
        hint = ""
        whole = any(port.dtype.startswith(("int", "uint")) for port in self.symbols.ports.values())
        if whole and not self.example:
            hint = "; if it needs other values than random ones, give some with --example"
        return ExportError(f"graph {name} runs neither with one stream nor with several; {reason}{hint}")
