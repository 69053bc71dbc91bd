"""How a network is trained."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from edgernn import records
from edgernn.errors import ConfigError, FormatError

__all__ = ["TrainingConfig"]

_SIZES = ("lanes", "chunk", "evaluations")
_LIMITS = ("steps", "passes", "minutes")


@dataclass(frozen=True)
class TrainingConfig:
    """Settings of one training; the names are those of the command line's options.

    lanes, chunk: parallel readers of the text, and tokens between two detachments of the carried state.
    steps, passes, minutes: exactly one says where training ends.
    learning_rate: the peak of one cycle that rises over the first `warmup` part and falls as a cosine.
    clip: bound of the gradient's norm.
    evaluations: how many times the held-out text is looked at and a checkpoint written.
    seed: of weights, dropout and lanes; with steps or passes, equal seeds give equal weights on a CPU.
    """

    lanes: int = 32
    chunk: int = 128
    steps: int | None = None
    passes: float | None = 28.0
    minutes: float | None = None
    learning_rate: float = 4e-3
    warmup: float = 0.1
    weight_decay: float = 0.01
    clip: float = 1.0
    evaluations: int = 28
    seed: int = 0

    def __post_init__(self) -> None:
        for option in _SIZES:
            self._require(option, isinstance(getattr(self, option), int) and getattr(self, option) >= 1, "at least 1")
        limits = [option for option in _LIMITS if getattr(self, option) is not None]
        if len(limits) != 1:
            raise ConfigError(f"training ends by one of --steps, --passes and --minutes, not by {len(limits)} of them")
        limit = getattr(self, limits[0])
        self._require(limits[0], math.isfinite(limit) and limit > 0, "above 0")
        self._require("learning_rate", 0 < self.learning_rate < math.inf, "above 0")
        self._require("warmup", 0 <= self.warmup < 1, "within 0..1")
        self._require("weight_decay", 0 <= self.weight_decay < math.inf, "at least 0")
        self._require("clip", 0 < self.clip < math.inf, "above 0")
        self._require("seed", isinstance(self.seed, int) and 0 <= self.seed < 2**63, "a whole number of at least 0")

    @classmethod
    def of(cls, **settings: Any) -> TrainingConfig:
        """The default settings but for these; a limit by steps or minutes takes the place of the one by passes."""
        if {"steps", "minutes"} & settings.keys():
            settings = {"passes": None, **settings}
        return cls(**settings)

    def total_steps(self, steps_per_pass: int) -> int | None:
        """Optimiser steps in all, or None where time is the limit."""
        if self.steps is not None:
            return self.steps
        return None if self.passes is None else max(1, round(self.passes * steps_per_pass))

    def learning_rate_at(self, progress: float) -> float:
        """The learning rate once `progress`, 0 to 1, of the training is done."""
        if progress < self.warmup:
            return self.learning_rate * (0.04 + 0.96 * progress / self.warmup)
        rest = (progress - self.warmup) / (1 - self.warmup)
        return self.learning_rate * (0.001 + 0.999 * (1 + math.cos(math.pi * min(rest, 1.0))) / 2)

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Any) -> TrainingConfig:
        """Read what `to_json` wrote. Raises FormatError or ConfigError for anything else."""
        values = records.record(value, "the training", set(cls.__dataclass_fields__))
        try:
            return cls(**values)
        except TypeError as error:
            raise FormatError(f"the training: {error}") from None

    def _require(self, option: str, holds: bool, bound: str) -> None:
        if not holds:
            raise ConfigError(f"--{option.replace('_', '-')} {getattr(self, option)} is not {bound}")
