"""Choosing the next token from logits."""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass

import numpy as np

from edgernn.contract import Array
from edgernn.errors import ConfigError, SamplingError

__all__ = ["Generator", "Sampler"]

_MASK = (1 << 64) - 1
_COLDEST = 0.001  # below it, quotients of logits could overflow


class Generator:
    """SplitMix64 (Steele, Lea and Flood 2014): 64 bits of state, a few lines in any language."""

    __slots__ = ("state",)

    def __init__(self, state: int) -> None:
        self.state = state & _MASK

    def uniform(self) -> float:
        """The next number in [0, 1), a multiple of 2**-53."""
        self.state = (self.state + 0x9E3779B97F4A7C15) & _MASK
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
        return ((z ^ (z >> 31)) >> 11) * 2.0**-53


@dataclass(frozen=True)
class Sampler:
    """How a stream draws its tokens; each stream owns the random generator that goes with it.

    temperature: logits are divided by it; 0 takes the likeliest token (the lowest id among equals).
    top_k: only the k likeliest tokens, and those level with the k-th, can be drawn; 0 for all.
    seed: equal seeds draw equal tokens; None for a seed from the operating system.
    """

    temperature: float = 1.0
    top_k: int = 0
    seed: int | None = None

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "temperature", float(self.temperature))
            object.__setattr__(self, "top_k", operator.index(self.top_k))
            object.__setattr__(self, "seed", None if self.seed is None else operator.index(self.seed))
        except (TypeError, ValueError, OverflowError) as error:
            raise ConfigError(f"temperature, top_k and seed are numbers: {error}") from None
        if self.temperature != 0 and not _COLDEST <= self.temperature < math.inf:
            raise ConfigError(f"temperature {self.temperature} is neither 0 nor a number of at least {_COLDEST}")
        if self.top_k < 0:
            raise ConfigError(f"top_k {self.top_k} is below 0")
        if self.seed is not None and not 0 <= self.seed <= _MASK:
            raise ConfigError(f"seed {self.seed} is outside 0..2**64-1")

    def __call__(self, logits: Array, generator: Generator) -> int:
        """Draw a token id from `logits` (vocabulary,). Raises SamplingError if they are not numbers."""
        best = int(logits.argmax())
        highest = float(logits[best])
        if not math.isfinite(highest):
            raise SamplingError(f"no token can be drawn: the highest logit is {highest}")
        if self.temperature == 0:
            return best
        weights = np.subtract(logits, highest, dtype=np.float64)
        if 0 < self.top_k < len(weights):
            threshold = np.partition(weights, -self.top_k)[-self.top_k]
            weights[weights < threshold] = -np.inf
        weights /= self.temperature
        np.exp(weights, out=weights)
        np.cumsum(weights, out=weights)
        return int(weights.searchsorted(generator.uniform() * weights[-1], side="right"))
