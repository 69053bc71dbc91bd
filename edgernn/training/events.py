"""The events that a training reports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edgernn.tasks.score import Score

__all__ = ["Evaluated", "Stepped"]


@dataclass(frozen=True)
class Stepped:
    """One optimizer step.

    progress: the fraction of training that is done, from 0 to 1. figures: means over the batch. learning_rate: of this
    step. rate: examples per second in this call of `fit`, without evaluations. seconds: since the beginning of the
    training.
    """

    step: int
    progress: float
    figures: Mapping[str, float]
    learning_rate: float
    rate: float
    seconds: float


@dataclass(frozen=True)
class Evaluated:
    """One evaluation on the held-out data, whose samples the run keeps; unless it is an early one, a checkpoint too.

    best: whether it is the best evaluation so far, among those that are not early. samples: outputs of the network to
    show to the user, by name.
    """

    step: int
    progress: float
    score: Score
    best: bool
    seconds: float
    samples: Mapping[str, str]
