"""What a training reports while it goes on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edgernn.tasks.score import Score

__all__ = ["Evaluated", "Stepped"]


@dataclass(frozen=True)
class Stepped:
    """One step of the optimizer.

    progress: the fraction of training that is done, from 0 to 1. figures: means over the batch. learning_rate: of the
    step. rate: examples per second in this call of `fit`, evaluations not counted. seconds: of the whole training.
    """

    step: int
    progress: float
    figures: Mapping[str, float]
    learning_rate: float
    rate: float
    seconds: float


@dataclass(frozen=True)
class Evaluated:
    """One evaluation on the held-out data; the checkpoint that belongs to it is on disk.

    best: whether no evaluation before it was as good. samples: outputs of the network to look at, by name.
    """

    step: int
    progress: float
    score: Score
    best: bool
    seconds: float
    samples: Mapping[str, str]
