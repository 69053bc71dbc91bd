"""How a network is trained."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

from edgernn import records
from edgernn.errors import ConfigError
from edgernn.training.device import AUTOCASTS, DEVICES

__all__ = ["Limits", "TrainingConfig", "progress_of"]

OPTIMIZERS = ("muon", "adamw")
_SIZES = ("lanes", "chunk", "evaluations")
_MAX = 1_000_000
_LONGEST = 10**12  # of a limit
_LIMITS = ("steps", "passes", "minutes")


class Limits(Protocol):
    """Where a training ends: at whichever of these comes first, at least one of which there is."""

    @property
    def steps(self) -> int | None:
        """Of the optimiser."""

    @property
    def passes(self) -> float | None:
        """Over what is learned from."""

    @property
    def minutes(self) -> float | None:
        """Of training."""


def progress_of(limits: Limits, step: int, seconds: float, steps_per_pass: int) -> float:
    """How much of a training is done after `step` steps and `seconds`: it ends at 1."""
    done = [seconds / (60 * limits.minutes)] if limits.minutes is not None else []
    if limits.steps is not None:
        done.append(step / limits.steps)
    if limits.passes is not None:
        done.append(step / max(1, round(limits.passes * steps_per_pass)))
    return max(done)


@dataclass(frozen=True)
class TrainingConfig:
    """Settings of one training; the names are those of the command line's options.

    lanes, chunk: parallel readers of the text, and tokens between two detachments of the carried state.
    reset: probability that a lane forgets its state at a chunk, so that the model learns to begin.
    steps, passes, minutes: training ends at whichever comes first.
    optimizer: "muon" for the matrices of recurrent layers and AdamW for the rest, or "adamw" for all.
    learning_rate: the peak of one cycle that rises over the first `warmup` part and falls as a cosine.
    weight_decay: of the matrices of recurrent layers, as a part of the learning rate.
    clip: bound of the gradient's norm.
    patience: training ends after so many evaluations without a better one; None for never.
    device: "cpu", "cuda", "mps", or "auto" for the fastest there is.
    autocast: "bf16" multiplies in bfloat16, "auto" where the hardware is fast at it; weights and sums stay in float32.
    evaluations: how many times the held-out text is looked at and a checkpoint written.
    seed: of weights, dropout and lanes; with steps or passes, equal seeds give equal weights on a CPU.
    """

    lanes: int = 32
    chunk: int = 128
    reset: float = 0.02
    steps: int | None = None
    passes: float | None = 24.0
    minutes: float | None = None
    optimizer: str = "muon"
    learning_rate: float = 6e-3
    warmup: float = 0.1
    weight_decay: float = 0.16
    clip: float = 1.0
    evaluations: int = 24
    patience: int | None = None
    device: str = "auto"
    autocast: str = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        for option in _SIZES:
            size = getattr(self, option)
            self._require(option, type(size) is int and 1 <= size <= _MAX, "a whole number from 1 to a million")
        patient = self.patience is None or (type(self.patience) is int and 1 <= self.patience <= _MAX)
        self._require("patience", patient, "a whole number from 1 to a million")
        for option, choices in (("device", DEVICES), ("autocast", AUTOCASTS), ("optimizer", OPTIMIZERS)):
            self._require(option, getattr(self, option) in choices, f"one of {', '.join(choices)}")
        limits = [option for option in _LIMITS if getattr(self, option) is not None]
        if not limits:
            raise ConfigError("training needs an end: --steps, --passes or --minutes")
        for option in limits:
            self._require(option, 0 < getattr(self, option) <= _LONGEST, "above 0 and at most 10^12")
        self._require("steps", self.steps is None or type(self.steps) is int, "a whole number")
        self._require("learning_rate", 0 < self.learning_rate <= _MAX, "above 0 and at most a million")
        self._require("reset", 0 <= self.reset <= 1, "within 0..1")
        self._require("warmup", 0 <= self.warmup < 1, "at least 0 and below 1")
        self._require("weight_decay", 0 <= self.weight_decay <= _MAX, "from 0 to a million")
        self._require("clip", 0 < self.clip <= _MAX, "above 0 and at most a million")
        self._require("seed", type(self.seed) is int and 0 <= self.seed < 2**63, "a whole number of at least 0")

    def but(self, **settings: Any) -> TrainingConfig:
        """These settings but for some; a limit by steps or minutes takes the place of the one by passes.

        Raises ConfigError for a setting that does not exist.
        """
        if unknown := sorted(settings.keys() - self.__dataclass_fields__.keys()):
            raise ConfigError(f"there is no training setting {unknown[0]!r}")
        if {"steps", "minutes"} & settings.keys():
            settings = {"passes": None, **settings}
        return replace(self, **settings)

    def progress(self, step: int, seconds: float, steps_per_pass: int) -> float:
        """How much of the training is done after `step` steps and `seconds`: it ends at 1."""
        return progress_of(self, step, seconds, steps_per_pass)

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
        return records.construct(cls, value, "the training")

    def _require(self, option: str, holds: bool, bound: str) -> None:
        if not holds:
            raise ConfigError(f"--{option.replace('_', '-')} {str(getattr(self, option))[:40]} is not {bound}")
