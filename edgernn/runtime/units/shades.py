"""Shades of the values of a unit, from blue over white to red, and the colours of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from edgernn.contract import Array
from edgernn.runtime.units.finding import Finding

__all__ = ["STEPS", "Scale", "colour", "level", "runs", "window"]

STEPS = 12  # shades on either side of white
_BLUE, _WHITE, _RED = (92, 140, 240), (255, 255, 255), (240, 100, 90)
_OUTER = 0.02  # the fraction of values at either end that have the full colour


@dataclass(frozen=True)
class Scale:
    """What becomes of values: `blue` and beyond -1, `white` 0, `red` and beyond 1, and linear between."""

    blue: float
    white: float
    red: float

    @classmethod
    def of(cls, values: Array, finding: Finding | None = None) -> Scale:
        """A scale for the values (tokens,) of a unit: red is high and white the middle.

        With a finding, red is where the unit tells that its property holds, or is large, and white is its threshold.
        """
        low, high = (float(value) for value in np.quantile(values, (_OUTER, 1 - _OUTER)))
        middle = (low + high) / 2
        if finding is not None and finding.threshold is not None:
            middle = finding.threshold
            low, high = min(low, middle, finding.low, finding.high), max(high, middle, finding.low, finding.high)
        return cls(low, middle, high) if finding is None or finding.sign > 0 else cls(high, middle, low)

    def __call__(self, values: Array) -> Array:
        """Return shades from -1, blue, to 1, red."""
        towards_red = 1.0 if self.red >= self.blue else -1.0
        about = towards_red * (values.astype(np.float64) - self.white)
        width = np.where(about >= 0, abs(self.red - self.white), abs(self.blue - self.white))
        return np.clip(np.divide(about, width, out=np.sign(about), where=width > 0), -1, 1)


def level(shade: float) -> int:
    """The shade as a whole number from -STEPS, blue, to STEPS, red."""
    return round(min(max(shade, -1.0), 1.0) * STEPS)


def colour(level: int) -> str:
    """The colour of a level, as in "#ff8080". Black text is legible on all of them."""
    end, part = (_RED if level > 0 else _BLUE), abs(level) / STEPS
    mixed = (round(white + (full - white) * part) for white, full in zip(_WHITE, end, strict=True))
    return "#" + "".join(f"{value:02x}" for value in mixed)


def runs(text: str, shades: Array, holds: Array | None = None) -> Iterator[tuple[str, int, bool]]:
    """Split a text into runs of equal level, within lines: the run, its level, and whether a property holds in it.

    A line break is a run of its own.
    """
    levels = [level(shade) for shade in shades.tolist()]
    marks = [False] * len(text) if holds is None or holds.dtype != bool else holds.tolist()
    keyed = zip(text, levels, marks, strict=True)
    for (found, mark, is_break), group in groupby(keyed, lambda each: (each[1], each[2], each[0] == "\n")):
        run = "".join(character for character, _, _ in group)
        yield from ((part, found, mark) for part in (run if is_break else [run]))


def window(text: str, property: Array, start: int, length: int) -> slice:
    """The lines of about `length` characters, from `start` on, in which a property varies most."""
    begins = [place + 1 for place in range(start, len(text) - length) if text[place] == "\n"]
    first = np.array(begins or [start])
    last = np.minimum(first + length, len(text))
    sums = np.append(0, np.cumsum(property, dtype=np.float64))
    squares = np.append(0, np.cumsum(np.square(property, dtype=np.float64)))
    counts = last - first
    spread = (squares[last] - squares[first]) / counts - ((sums[last] - sums[first]) / counts) ** 2
    chosen = int(first[spread.argmax()])
    return slice(chosen, text.rfind("\n", chosen, chosen + length) + 1 or min(chosen + length, len(text)))
