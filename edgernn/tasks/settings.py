"""Settings that tasks share. Importing this module does not import torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any, Self

from edgernn.cell_names import CELLS, USER_CELL
from edgernn.errors import ConfigError
from edgernn.settings import Settings, declared_options, option

__all__ = [
    "AUTOCASTS",
    "DEVICES",
    "LIMITS",
    "CellSettings",
    "Chosen",
    "EvaluationSettings",
    "TrainingSettings",
    "one_cycle",
]

DEVICES = ("auto", "cpu", "cuda", "mps")
AUTOCASTS = ("auto", "off", "bf16")

LIMITS = ("steps", "passes", "minutes")  # limits of a training, which ends at the first one that it reaches
_FIRST, _LAST = 0.04, 0.001  # first and last learning rate, as fractions of the peak


@dataclass(frozen=True, kw_only=True)
class TrainingSettings(Settings):
    """Training settings that all tasks share. Training ends at the first limit that it reaches."""

    steps: int | None = option(
        None, "End training after this number of optimizer steps; training ends at the first limit.", low=1
    )
    passes: float | None = option(
        None, "End training after this number of passes (epochs) over the training data.", above=0
    )
    minutes: float | None = option(None, "End training after this number of minutes.", low=1e-4)
    learning_rate: float = option(2e-3, "The peak learning rate.", above=0, high=1e6)
    warmup: float = option(
        0.1, "The fraction of training during which the learning rate rises to its peak.", low=0, below=1
    )
    weight_decay: float = option(
        0.01,
        "The decoupled weight decay (AdamW), which is multiplied by the learning rate.",
        low=0,
        high=1e6,
    )
    clip: float = option(1.0, "Clip the gradient to this norm.", above=0, high=1e6)
    average: float = option(
        0.0, "The decay of the exponential moving average of the weights; 0 disables averaging.", low=0, below=1
    )
    evaluations: int = option(
        24,
        "The number of evaluations on the held-out set during training; each writes a checkpoint.",
        low=1,
        high=1e6,
    )
    patience: int | None = option(
        None,
        "End training early after this number of successive evaluations without an improvement.",
        low=1,
        high=1e6,
    )
    device: str = option("auto", "The device to train on; auto is the fastest one available.", choices=DEVICES)
    autocast: str = option(
        "auto",
        "Mixed precision: bf16 runs matrix products in bfloat16; auto does so where the hardware is fast at it.",
        choices=AUTOCASTS,
    )
    seed: int = option(0, "The seed of the random number generators.", low=0, below=2**63)

    def __post_init__(self) -> None:
        super().__post_init__()
        if all(getattr(self, limit) is None for limit in LIMITS):
            raise ConfigError("training needs a limit: give --steps, --passes or --minutes")

    def but(self, **changes: Any) -> Self:
        """Return a copy of these settings with `changes`; limits among them replace all present limits.

        Raises ConfigError for a setting that does not exist.
        """
        return super().but(**_limited({}, changes))

    @classmethod
    def of(cls, *layers: Mapping[str, Any]) -> Self:
        """Return the defaults, changed by each of `layers` in turn; limits in a layer replace all previous limits.

        Raises ConfigError for a value that is not accepted.
        """
        return cls(**reduce(_limited, layers, dict[str, Any]()))

    def progress(self, step: int, seconds: float, steps_per_pass: int, begun: tuple[int, float] = (0, 0.0)) -> float:
        """Return the fraction of training that is done after `step` steps and `seconds` seconds; training ends at 1.

        begun: the step and the seconds at which the fraction is 0.
        """
        done = []
        if self.minutes is not None:
            done.append(_fraction(seconds, begun[1], 60 * self.minutes))
        if self.steps is not None:
            done.append(_fraction(step, begun[0], self.steps))
        if self.passes is not None:
            done.append(_fraction(step, begun[0], max(1, round(self.passes * steps_per_pass))))
        return max(done)


@dataclass(frozen=True, kw_only=True)
class CellSettings(Settings):
    """The recurrent cell of a network."""

    cell: str = option(
        "lstm",
        "The recurrent cell: its name, or a class in a Python file of yours, which is executed.",
        choices=CELLS,
        pattern=USER_CELL,
        form="FILE.py:CLASS",
    )
    layer_norm: bool = option(False, "Apply layer normalisation to the matrix products of each recurrent layer.")


@dataclass(frozen=True)
class Chosen:
    """The complete settings of one run: the defaults, changed by a preset and by the given options."""

    data: Settings
    model: Settings
    training: TrainingSettings

    def to_json(self) -> dict[str, Any]:
        """Return the settings as plain JSON values."""
        return {part: getattr(self, part).to_json() for part in ("data", "model", "training")}


@dataclass(frozen=True, kw_only=True)
class EvaluationSettings(Settings):
    """The data on which a model is evaluated, for tasks whose data sets have splits."""

    data: str = option(
        "",
        "The data set to evaluate on, named as for `edgernn train`.",
        unset="for a run, the part that its training held out",
    )
    split: str = option(
        "test", "The part of the data set (--data) to evaluate on: train, dev, test, or another that it has."
    )

    def refuse_without_data(self, *names: str) -> None:
        """Raise ConfigError if one of the fields `names`, which are about `data`, is not at its default."""
        declared = {each.field.name: each for each in declared_options(type(self)).values()}
        for name in names:
            if getattr(self, name) != declared[name].field.default:
                flag = declared[name].flag
                raise ConfigError(f"{flag} is about the data set of --data: name one, or leave out {flag}")


def _fraction(now: float, begun: float, end: float) -> float:
    """Return the position of `now` between `begun` (0) and `end` (1)."""
    return (now - begun) / (end - begun) if end > begun else 1.0


def _limited(before: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return `before` with `changes`; limits among the changes replace all previous limits."""
    limits = dict.fromkeys(LIMITS) if set(LIMITS) & changes.keys() else {}
    return {**before, **limits, **changes}


def one_cycle(peak: float, progress: float, warmup: float = 0.0) -> float:
    """Return the learning rate at `progress`, from 0 to 1: a linear warm-up to `peak`, then a cosine decay.

    After Smith and Topin 2017.
    """
    if progress < warmup:
        return peak * (_FIRST + (1 - _FIRST) * progress / warmup)
    rest = min((progress - warmup) / (1 - warmup), 1.0)
    return peak * (_LAST + (1 - _LAST) * (1 + math.cos(math.pi * rest)) / 2)
