"""Options that are shared by the bundles that draw from random numbers: the number of drawings, and their seeds."""

from __future__ import annotations

from dataclasses import dataclass

from edgernn.settings import Settings, option

__all__ = ["DrawingOptions"]

_SEEDS = 2**64


@dataclass(frozen=True, kw_only=True)
class DrawingOptions(Settings):
    """How many drawings there are, and the seeds of their random numbers."""

    count: int = option(1, "The number of drawings.", low=1, high=1024)
    seed: int | None = option(
        None,
        "The seed of the random numbers of the first drawing; each further drawing has the next seed.",
        low=0,
        below=_SEEDS,
        unset="random for each drawing",
    )

    def seed_of(self, number: int) -> int | None:
        """Return the seed of the drawing `number`, counted from 0, or None if seeds are random.

        The seed after the largest one is 0.
        """
        return None if self.seed is None else (self.seed + number) % _SEEDS
