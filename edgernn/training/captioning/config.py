"""How a captioner is trained."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from edgernn import records
from edgernn.errors import ConfigError
from edgernn.training.config import progress_of
from edgernn.training.device import AUTOCASTS, DEVICES

__all__ = ["CaptionTraining"]

_MAX = 1_000_000
_LIMITS = ("steps", "passes", "minutes")


@dataclass(frozen=True)
class CaptionTraining:
    """Settings of one training; the names are those of the command line's options.

    images: at a step, each with all its captions. flips: mirror every other one.
    steps, passes, minutes: training ends at whichever comes first.
    reward: the last part of the training, in which captions are drawn and those of a higher CIDEr-D than the others of
    their picture are made likelier (self-critical training, Rennie et al. 2017; the baseline is Luo's of 2020).
    learning_rate: the peak of one cycle that rises over the first `warmup` part and falls as a cosine; reward_rate:
    where it begins to fall again in the last part.
    freeze: the first part of the training, in which a pretrained encoder stays as it is; 1 for all of it.
    encoder_rate: that of the encoder, as a part of the learning rate.
    smoothing: of labels. word_dropout: probability that a word before is not shown, so that the picture has to tell.
    average, reward_average: decay of the averaged weights, which are what is kept, in the first and in the last part.
    min_count: how often a word occurs at least, to be learned.
    evaluations: how many times the pictures of the split "dev" are described, by a `beam` of so many, and a checkpoint
    written; the weights of the highest CIDEr-D are kept.
    patience: training ends after so many of them without a better one; None for never.
    """

    images: int = 32
    flips: bool = True
    steps: int | None = None
    passes: float | None = 18.0
    minutes: float | None = 18.0
    reward: float = 0.12
    learning_rate: float = 2e-3
    reward_rate: float = 2e-4
    warmup: float = 0.05
    freeze: float = 1.0
    encoder_rate: float = 0.1
    weight_decay: float = 0.01
    smoothing: float = 0.1
    word_dropout: float = 0.0
    average: float = 0.999
    reward_average: float = 0.99
    clip: float = 1.0
    min_count: int = 5
    evaluations: int = 8
    beam: int = 3
    patience: int | None = None
    device: str = "auto"
    autocast: str = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        for option in ("images", "min_count", "evaluations", "beam"):
            size = getattr(self, option)
            self._require(option, type(size) is int and 1 <= size <= _MAX, "a whole number from 1 to a million")
        patient = self.patience is None or (type(self.patience) is int and 1 <= self.patience <= _MAX)
        self._require("patience", patient, "a whole number from 1 to a million")
        for option, choices in (("device", DEVICES), ("autocast", AUTOCASTS)):
            self._require(option, getattr(self, option) in choices, f"one of {', '.join(choices)}")
        limits = [option for option in _LIMITS if getattr(self, option) is not None]
        if not limits:
            raise ConfigError("training needs an end: --steps, --passes or --minutes")
        for option in limits:
            self._require(option, 0 < getattr(self, option) <= 10**12, "above 0 and at most 10^12")
        self._require("steps", self.steps is None or type(self.steps) is int, "a whole number")
        for option in ("learning_rate", "reward_rate", "clip"):
            self._require(option, 0 < getattr(self, option) <= _MAX, "above 0 and at most a million")
        for option in ("encoder_rate", "weight_decay"):
            self._require(option, 0 <= getattr(self, option) <= _MAX, "from 0 to a million")
        for option in ("reward", "freeze"):
            self._require(option, 0 <= getattr(self, option) <= 1, "within 0..1")
        for option in ("warmup", "smoothing", "word_dropout", "average", "reward_average"):
            self._require(option, 0 <= getattr(self, option) < 1, "at least 0 and below 1")
        self._require("seed", type(self.seed) is int and 0 <= self.seed < 2**63, "a whole number of at least 0")

    def but(self, settings: Mapping[str, Any]) -> CaptionTraining:
        """These settings but for some; a limit takes the place of those that are here.

        Raises ConfigError for a setting that does not exist.
        """
        if unknown := sorted(settings.keys() - self.__dataclass_fields__.keys()):
            raise ConfigError(f"there is no training setting {unknown[0]!r}")
        if set(_LIMITS) & settings.keys():
            settings = {**dict.fromkeys(_LIMITS), **settings}
        return replace(self, **settings)

    def progress(self, step: int, seconds: float, steps_per_pass: int) -> float:
        """How much of the training is done after `step` steps and `seconds`: it ends at 1."""
        return progress_of(self, step, seconds, steps_per_pass)

    def rewards(self, progress: float) -> bool:
        """Whether captions are drawn and rewarded at `progress`."""
        return progress >= 1 - self.reward

    def learning_rate_at(self, progress: float) -> float:
        """The learning rate at `progress`, 0 to 1: one cycle over each of the two parts."""
        begun = 1 - self.reward
        if self.rewards(progress):
            return _falling(self.reward_rate, (progress - begun) / max(self.reward, 1e-9))
        done = progress / begun
        if done < self.warmup:
            return self.learning_rate * (0.04 + 0.96 * done / self.warmup)
        return _falling(self.learning_rate, (done - self.warmup) / (1 - self.warmup))

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Any) -> CaptionTraining:
        """Read what `to_json` wrote. Raises FormatError or ConfigError for anything else."""
        return records.construct(cls, value, "the training")

    def _require(self, option: str, holds: bool, bound: str) -> None:
        if not holds:
            raise ConfigError(f"--{option.replace('_', '-')} {str(getattr(self, option))[:40]} is not {bound}")


def _falling(rate: float, done: float) -> float:
    return rate * (0.01 + 0.99 * (1 + math.cos(math.pi * min(done, 1.0))) / 2)
