"""The axes of a graph: which of them counts streams, and which sizes the others take, found by trial."""

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

_MIXED = 4  # sizes with which the rows along some axes are tried, if they turn out to be no streams

Ladder = Callable[[Sequence[str]], Iterator[Sizes]]


def find_axes(trial: Trial, example: Mapping[str, int], *, forced: bool, deadline: float) -> Axes:
    """Find out by trial what the axes are.

    example: sizes of named axes that are to be tried first. forced: whether the caller said which axes count streams,
    by calling them "batch". deadline: by the monotonic clock, when the search ends. Raises ExportError, with the
    reason, for a graph that runs with no sizes that were tried.
    """
    return _Search(trial, example, forced=forced, deadline=deadline).find()


class _Search:
    def __init__(self, trial: Trial, example: Mapping[str, int], *, forced: bool, deadline: float) -> None:
        self.trial, self.example, self.forced, self.deadline = trial, example, forced, deadline
        self.symbols = Symbols.of(trial.graph, [pair.given for pair in trial.pairs], example)
        self.attempts = Attempts(trial, self.symbols)
        self.groups = self.symbols.forced_groups() if forced else self.symbols.groups()
        self.mixing: list[MisfitError] = []  # why rows were no streams
        self.mixed: Counter[Group] = Counter()  # with how many sizes

    def find(self) -> Axes:
        """The axes; those with which the outputs are as the file says come first, since the file may be wrong."""
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
        """The axes with a batch, or None where none is found."""
        for ladder in ladders:
            for group in self.groups:
                running = self._running(dict.fromkeys(group, 1), ladder)
                for sizes in itertools.islice(running, _MIXED - self.mixed[group]):
                    if self._are_streams(group, sizes):
                        return confirmed(self.attempts, sizes, group)
        return None

    def _alone(self, ladders: Sequence[Ladder]) -> Axes | None:
        """The axes with one stream, or None where it does not run."""
        if self.forced:
            return None
        groups = [*self.groups, *self.symbols.singles()]
        # An axis of a state has one size, and where its rows are no streams, one stream has a single row.
        of_states = [group for group in groups if group & self.symbols.held]
        for ladder in ladders:
            for fixed in dict.fromkeys([*of_states, Group(), *groups]):
                for sizes in self._running(dict.fromkeys(fixed, 1), ladder):
                    return confirmed(self.attempts, sizes, Group(), fixed, self.mixing)
        return None

    def _are_streams(self, group: Group, sizes: Sizes) -> bool:
        """Whether the rows along the axes of `group` are streams of their own."""
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
        """Sizes of all named axes with which one stream runs. known: those that are not to be tried."""
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
        """Sizes that occur among those of outputs, and among the weights."""
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
