"""Points of a pen: how a network reads them, and how the next one is drawn from the mixture that it predicts.

A point is five numbers: its offset dx, dy from the point before, and its state, of which one number is 1: the pen
draws on from here, it lifts here, or the drawing has ended. A drawing begins at 0, 0, where the pen is put down. The
density of the next point is a mixture of normal densities of the offset (Graves 2013) and probabilities of the state
(Ha and Eck 2018). `export/CONTRACT.md` specifies both for runtimes in other languages.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from edgernn import records
from edgernn.contract import Array
from edgernn.errors import ConfigError, FormatError, SamplingError
from edgernn.sampling import COLDEST, Generator, Sampler

__all__ = ["DRAWS", "ENDS", "LIFTS", "SIZE", "START", "StrokeUnits", "draw_point", "mixture_size", "point_rows"]

DRAWS, LIFTS, ENDS = 0, 1, 2  # the states of the pen at a point
SIZE = 5  # numbers of a point
START = np.array([0, 0, 0, 1, 0], np.float32)  # what a network reads before the first point
_FIGURES = 6  # numbers of a component of the mixture
_STATES = 3


@dataclass(frozen=True)
class StrokeUnits:
    """The units of a model's drawings, as `strokes.json` in its bundle has them.

    scale: the offsets that the network reads and predicts are those of the data, divided by it. longest: the number of
    points of the longest drawing in the data.
    """

    scale: float
    longest: int

    def __post_init__(self) -> None:
        if not (math.isfinite(self.scale) and self.scale > 0 and self.longest > 0):
            raise FormatError("strokes.json: the scale or the longest drawing is not a number above 0")

    def to_json(self) -> dict[str, Any]:
        """Return the units as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Any) -> StrokeUnits:
        """Read what `to_json` returned. Raises FormatError for anything else."""
        values = records.record(value, "strokes.json", {"scale", "longest"})
        scale = records.number(values["scale"], "strokes.json: scale")
        return cls(scale, records.integer(values["longest"], "strokes.json: longest"))


def point_rows(points: Array, scale: float) -> Array:
    """Return points (points, 3) of dx, dy and 1 where the pen lifts, else 0, as a network reads them: (points, 5)."""
    lifts = points[:, 2:] == 1
    return np.hstack([points[:, :2] / scale, ~lifts, lifts, np.zeros_like(lifts)]).astype(np.float32)


def mixture_size(components: int) -> int:
    """Return how many numbers predict the next point from a mixture of this many components."""
    return _FIGURES * components + _STATES


def draw_point(prediction: Array, temperature: float, generator: Generator) -> Array:
    """Draw the next point, float32 (5,), from what a network predicts.

    prediction: (6 components + 3,): the logits of the components, the means of dx and of dy, the standard deviations of
    dx and of dy, the correlations, and the logits of the three states of the pen. temperature: logits are divided by
    it, and variances multiplied. A point that ends the drawing has no offset and takes one number of the generator.
    Raises ConfigError for a temperature of 0 or another that `Sampler` refuses, SamplingError for a prediction that is
    not numbers.
    """
    if temperature == 0:
        raise ConfigError(f"at temperature 0 no point is drawn: choose one of at least {COLDEST:g}")
    wide = prediction.astype(np.float64)
    if not np.isfinite(wide).all():
        raise SamplingError("no point can be drawn: the mixture is not made of numbers")
    logits, *figures = wide[:-_STATES].reshape(_FIGURES, -1)
    point, choose = np.zeros(SIZE), Sampler(temperature)
    state = choose(wide[-_STATES:], generator)
    point[2 + state] = 1
    if state != ENDS:
        component = choose(logits, generator)
        x, y, across, down, correlation = (float(figure[component]) for figure in figures)
        a, b = generator.normal(2).tolist()
        spread, rest = math.sqrt(temperature), math.sqrt(max(0.0, 1.0 - correlation * correlation))
        point[0] = x + spread * (across * a)
        point[1] = y + spread * (down * (correlation * a + rest * b))
    return point.astype(np.float32)
