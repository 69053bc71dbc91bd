"""Find the unit that tells a property of the text best: chosen on the first half of the text, scored on the second."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from edgernn.contract import Array
from edgernn.errors import ConfigError
from edgernn.runtime.units.properties import Property
from edgernn.runtime.units.recording import Recording
from edgernn.runtime.units.unit import Unit

__all__ = ["Finder", "Finding", "is_so"]

_LEVELS = 256  # of the values of a unit: thresholds lie between them
_SHUFFLES = 10  # of the baseline
_PIECES, _FEWEST, _SHORTEST = 50, 4, 100  # of a shuffled text, and tokens in a piece on average


@dataclass(frozen=True)
class Finding:
    """The unit that tells a property best.

    kind: "balanced accuracy" of a property that holds or not: the mean of the fractions of tokens told rightly where it
    holds and where it does not; "correlation" (Pearson's) of one that is a number.
    sign: 1 if the property holds, or is larger, where the unit is high; -1 where it is low.
    score: on the second half of the text. baseline: the mean score of units that are found in the same way for the
    property with its pieces in another order; None where no order leaves both halves with and without it.
    threshold: between the values of the unit that tell the property and the others. line: slope and intercept that
    tell a number from the unit. Each is None for the other kind.
    low, high: the mean of the unit where the property does not hold and where it does; of a number, where it is at most
    its mean and where it is above.
    mean: the mean of the property.
    """

    property: Property
    unit: Unit
    kind: str
    sign: int
    score: float
    baseline: float | None
    threshold: float | None
    line: tuple[float, float] | None
    low: float
    high: float
    mean: float

    def to_json(self) -> dict[str, Any]:
        """Return the finding as commands print it with --json."""
        slope, intercept = self.line or (None, None)
        return {
            "name": self.property.name,
            **self.unit.to_json(),
            "kind": self.kind,
            "score": self.score,
            "baseline": self.baseline,
            "sign": self.sign,
            "threshold": self.threshold,
            "slope": slope,
            "intercept": intercept,
            "low": self.low,
            "high": self.high,
            "mean": self.mean,
        }


class _Choice(NamedTuple):
    """A unit by its column, the sign, the threshold (None for a number), and the score on the second half."""

    column: int
    sign: int
    threshold: float | None
    score: float


class Finder:
    """Finds units in a recording. What all properties need is computed once."""

    def __init__(self, recording: Recording, among: Sequence[Unit] | None = None) -> None:
        """among: the units to choose from; all of them if it is None."""
        self._recording = recording
        self._among = list(recording.units) if among is None else list(among)
        columns = [unit.number for unit in self._among]
        values = recording.values if among is None else recording.values[:, columns]
        self._first, self._second = values[: recording.half], values[recording.half :]
        self._thresholds = [_thresholds(column) for column in self._first.T]
        levels = zip(self._thresholds, self._first.T, strict=True)
        self._levels = np.array([np.searchsorted(edges, column) for edges, column in levels], np.uint8)
        self._below = [_below(each, len(edges)) for each, edges in zip(self._levels, self._thresholds, strict=True)]
        self._spread = np.array([column.std(dtype=np.float64) for column in self._first.T])

    def find(self, property: Property) -> Finding:
        """Return the unit that tells `property` best.

        Raises ConfigError for a property that is the same in all of the text or in one of its halves, and for what
        `property` refuses.
        """
        truth = property(self._recording.text)[self._recording.places]
        half = self._recording.half
        _check_varies(property, truth, half)
        choice = self._choose(truth)
        unit, values = self._among[choice.column], self._first[:, choice.column].astype(np.float64)
        told = is_so(truth[:half])
        return Finding(
            property,
            unit,
            "balanced accuracy" if truth.dtype == bool else "correlation",
            choice.sign,
            choice.score,
            self._baseline(truth),
            choice.threshold,
            None if truth.dtype == bool else _line(values, truth[:half]),
            float(values[~told].mean()),
            float(values[told].mean()),
            float(truth.mean()),
        )

    def _baseline(self, truth: Array) -> float | None:
        """The mean score for the property with its pieces in another order.

        The text is cut at random places. Within a piece, the property changes as often as it does in the text, and only
        the relation between them is lost; single values in a random order would change at every character.
        """
        size, scores = len(truth), []
        pieces = max(_FEWEST, min(_PIECES, size // _SHORTEST))
        random = np.random.default_rng(0)
        for _ in range(_SHUFFLES):
            parts = np.split(truth, np.sort(random.integers(1, size, pieces - 1)))
            shuffled = np.concatenate([parts[place] for place in random.permutation(pieces)])
            if _varies(shuffled[: self._recording.half]) and _varies(shuffled[self._recording.half :]):
                scores.append(self._choose(shuffled).score)
        return float(np.mean(scores)) if scores else None

    def _choose(self, truth: Array) -> _Choice:
        first, second = truth[: self._recording.half], truth[self._recording.half :]
        return self._by_threshold(first, second) if truth.dtype == bool else self._by_line(first, second)

    def _by_threshold(self, first: Array, second: Array) -> _Choice:
        best = (-1.0, 0, 1, float(self._first[0, 0]))
        rarer = bool(2 * first.sum() < len(first))
        rare = np.flatnonzero(first == rarer)
        for column, (edges, levels) in enumerate(zip(self._thresholds, self._levels, strict=True)):
            if not len(edges):
                continue  # a unit that never changes
            of_rare = _below(levels[rare], len(edges))
            others = self._below[column] - of_rare
            apart = (others / (len(first) - len(rare)) - of_rare / len(rare)) / 2  # of the rare ones, above the edge
            at = int(np.abs(apart).argmax())
            if abs(apart[at]) > best[0]:
                best = float(abs(apart[at])), column, 1 if (apart[at] >= 0) == rarer else -1, float(edges[at])
        _, column, sign, threshold = best
        threshold = _exact(self._first[:, column], first, sign, threshold)
        told = (self._second[:, column] > threshold) == (sign > 0)
        return _Choice(column, sign, threshold, float((told[second].mean() + (~told)[~second].mean()) / 2))

    def _by_line(self, first: Array, second: Array) -> _Choice:
        about = (first - first.mean()).astype(np.float32)
        products = (about @ self._first).astype(np.float64)
        slopes = np.divide(products, self._spread, out=np.zeros_like(products), where=self._spread > 0)
        column = int(np.abs(slopes).argmax())
        sign = 1 if slopes[column] >= 0 else -1
        return _Choice(column, sign, None, sign * _correlation(self._second[:, column], second))


def _thresholds(values: Array) -> Array:
    """Up to 255 thresholds between the values (tokens,) of a unit, with about as many values between any two."""
    ordered = np.sort(values)
    distinct = ordered[np.append(True, ordered[1:] != ordered[:-1])]
    if len(distinct) > _LEVELS:
        quantiles = ordered[np.arange(1, _LEVELS) * len(ordered) // _LEVELS]
        at = np.unique(np.searchsorted(distinct, quantiles))
    else:
        at = np.arange(len(distinct))
    at = at[at < len(distinct) - 1]
    return np.asarray((distinct[at] + distinct[at + 1]) / 2)


def _below(levels: Array, edges: int) -> Array:
    """How many of `levels` are below each edge (edges,)."""
    return np.asarray(np.bincount(levels, minlength=edges + 1).cumsum()[:edges])


def _exact(values: Array, truth: Array, sign: int, threshold: float) -> float:
    """The best of all thresholds between the values of one unit; `threshold`, if they are all the same."""
    order = np.argsort(values, kind="stable")
    ordered, so = values[order], truth[order]
    between = np.flatnonzero(ordered[1:] != ordered[:-1])
    if not len(between):
        return threshold
    apart = (~so).cumsum()[between] / (~so).sum() - so.cumsum()[between] / so.sum()
    at = between[(sign * apart).argmax()]
    return float(ordered[at] / 2 + ordered[at + 1] / 2)


def _correlation(values: Array, truth: Array) -> float:
    """Pearson's correlation; 0 for a unit that is the same everywhere."""
    if not _varies(values):
        return 0.0
    return float(np.corrcoef(values.astype(np.float64), truth)[0, 1])


def _line(values: Array, truth: Array) -> tuple[float, float]:
    """Slope and intercept of the line that tells a number from a unit with the least squares."""
    if not _varies(values):
        return 0.0, float(truth.mean())
    slope = float(np.cov(values, truth, bias=True)[0, 1] / values.var())
    return slope, float(truth.mean() - slope * values.mean())


def is_so(truth: Array) -> Array:
    """Where a property holds; of one that is a number, where it is above its mean."""
    return truth if truth.dtype == bool else truth > truth.mean()


def _varies(values: Array) -> bool:
    return bool((values != values[0]).any())


def _check_varies(property: Property, truth: Array, half: int) -> None:
    first, second = (truth[:half], "the first half of the text"), (truth[half:], "the second half of the text")
    for part, where in ((truth, "the text"), first, second):
        if _varies(part):
            continue
        if truth.dtype == bool:
            what = f"holds {'everywhere' if part[0] else 'nowhere'} in {where}"
        else:
            what = f"is {part[0]:g} everywhere in {where}"
        remedy = "" if part is truth else ": take more of the text with --chars"
        raise ConfigError(f"{property.name} {what}, so no unit can tell it{remedy}")
