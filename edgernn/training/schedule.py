"""What every training has, whatever its task: an end, a learning rate on the way there, evaluations, a place."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

from edgernn import records
from edgernn.errors import ConfigError
from edgernn.training.device import AUTOCASTS, DEVICES

__all__ = ["Schedule", "one_cycle"]

_MAX = 1_000_000
_LONGEST = 10**12  # of a limit
_LIMITS = ("steps", "passes", "minutes")
_FIRST, _LAST = 0.04, 0.001  # learning rates, as parts of the peak


def one_cycle(peak: float, progress: float, warmup: float = 0.0) -> float:
    """The learning rate at `progress`, 0 to 1: it rises to `peak` over the first `warmup` part, and falls as a cosine.

    Smith and Topin 2017, with a straight rise.
    """
    if progress < warmup:
        return peak * (_FIRST + (1 - _FIRST) * progress / warmup)
    rest = min((progress - warmup) / (1 - warmup), 1.0)
    return peak * (_LAST + (1 - _LAST) * (1 + math.cos(math.pi * rest)) / 2)


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Settings that trainings of all tasks share; the names are those of the command line's options.

    steps, passes, minutes: training ends at whichever comes first.
    learning_rate: the peak of one cycle that rises over the first `warmup` part and falls as a cosine.
    weight_decay: as a part of the learning rate. clip: bound of the gradient's norm.
    evaluations: how many times what was held out is looked at and a checkpoint written.
    patience: training ends after so many evaluations without a better one; None for never.
    device: "cpu", "cuda", "mps", or "auto" for the fastest there is.
    autocast: "bf16" multiplies in bfloat16, "auto" where the hardware is fast at it; weights and sums stay in float32.
    seed: of weights, dropout and order; with steps or passes, equal seeds give equal weights on a CPU.
    """

    steps: int | None = None
    passes: float | None = None
    minutes: float | None = None
    learning_rate: float
    warmup: float
    weight_decay: float
    clip: float = 1.0
    evaluations: int
    patience: int | None = None
    device: str = "auto"
    autocast: str = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        limits = [option for option in _LIMITS if getattr(self, option) is not None]
        if not limits:
            raise ConfigError("training needs an end: --steps, --passes or --minutes")
        self._hold(limits, lambda value: 0 < value <= _LONGEST, "above 0 and at most 10^12")
        self._hold(["steps"], lambda value: value is None or type(value) is int, "a whole number")
        self._counts("evaluations", *(["patience"] if self.patience is not None else []))
        self._positive("learning_rate", "clip")
        self._parts("warmup")
        self._hold(["weight_decay"], lambda value: 0 <= value <= _MAX, "from 0 to a million")
        self._choices("device", DEVICES)
        self._choices("autocast", AUTOCASTS)
        self._hold(["seed"], lambda value: type(value) is int and 0 <= value < 2**63, "a whole number of at least 0")

    def but(self, **settings: Any) -> Self:
        """These settings but for some; the limits among them take the place of all that are here.

        Raises ConfigError for a setting that does not exist.
        """
        if unknown := sorted(settings.keys() - self.__dataclass_fields__.keys()):
            raise ConfigError(f"there is no training setting {unknown[0]!r}")
        if set(_LIMITS) & settings.keys():
            settings = {**dict.fromkeys(_LIMITS), **settings}
        return replace(self, **settings)

    def progress(self, step: int, seconds: float, steps_per_pass: int) -> float:
        """How much of the training is done after `step` steps and `seconds`: it ends at 1."""
        done = [seconds / (60 * self.minutes)] if self.minutes is not None else []
        if self.steps is not None:
            done.append(step / self.steps)
        if self.passes is not None:
            done.append(step / max(1, round(self.passes * steps_per_pass)))
        return max(done)

    def learning_rate_at(self, progress: float) -> float:
        """The learning rate once `progress`, 0 to 1, of the training is done."""
        return one_cycle(self.learning_rate, progress, self.warmup)

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """Read what `to_json` wrote. Raises FormatError or ConfigError for anything else."""
        return records.construct(cls, value, "the training")

    def _hold(self, options: Sequence[str], holds: Callable[[Any], bool], bound: str) -> None:
        """Raise ConfigError, naming the bound, unless it holds for these settings."""
        for option in options:
            if not holds(value := getattr(self, option)):
                raise ConfigError(f"--{option.replace('_', '-')} {str(value)[:40]} is not {bound}")

    def _counts(self, *options: str) -> None:
        self._hold(
            options, lambda value: type(value) is int and 1 <= value <= _MAX, "a whole number from 1 to a million"
        )

    def _positive(self, *options: str) -> None:
        self._hold(options, lambda value: 0 < value <= _MAX, "above 0 and at most a million")

    def _parts(self, *options: str) -> None:
        self._hold(options, lambda value: 0 <= value < 1, "at least 0 and below 1")

    def _choices(self, option: str, choices: Sequence[str]) -> None:
        self._hold([option], lambda value: value in choices, f"one of {', '.join(choices)}")
