"""What the training loops of all tasks share: what they count, and keep in their checkpoints beside tensors."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any, ClassVar

from torch import Tensor, nn

from edgernn import records
from edgernn.errors import TrainingError
from edgernn.training.run import WEIGHTS, RunDirectory

__all__ = ["Loop", "under"]


class Loop(ABC):
    """A training under way.

    figure: what decides which weights are the best, as logs and checkpoints call it. higher: whether more is better.
    step: of the optimiser, so many were made. seconds: that it took. best: the best figure so far.
    """

    figure: ClassVar[str]
    higher: ClassVar[bool]
    run: RunDirectory
    model: nn.Module

    def __init__(self) -> None:
        self.step = 0
        self.seconds = 0.0
        self.best = self._written = -math.inf if self.higher else math.inf  # _written: that of the weights on disk
        self._evaluations = 0
        self._stale = 0  # evaluations since the best one
        self._losses = (0.0, 0)  # sum and number of them since the last evaluation
        self._stops = False

    @property
    def parameters(self) -> int:
        """Number of weights."""
        return sum(parameter.numel() for parameter in self.model.parameters())

    @property
    def stopped(self) -> bool:
        """Whether `fit` ended because of `stop`, before its end."""
        return self._stops and self._progress() < 1

    def stop(self) -> None:
        """Have `fit` end after the step that is under way."""
        self._stops = True

    @abstractmethod
    def save(self) -> None:
        """Write a checkpoint, from which the training goes on, between two events of `fit`."""

    @abstractmethod
    def _progress(self) -> float:
        """How much of the training is done: it ends at 1."""

    @property
    def _ended(self) -> bool:
        return self._stops or self._progress() >= 1 or self._stale == self.run.training.patience

    def _due(self, progress: float) -> bool:
        """Whether it is time for an evaluation."""
        return progress >= (self._evaluations + 1) / self.run.training.evaluations or progress >= 1

    def _count_loss(self, loss: float) -> None:
        total, count = self._losses
        self._losses = (total + loss, count + 1)

    def _count_evaluation(self, figure: float, progress: float) -> bool:
        """Whether it is the best so far."""
        best = self._better(figure, self.best)
        self._stale = 0 if best else self._stale + 1
        self.best = figure if best else self.best
        self._evaluations = math.floor(progress * self.run.training.evaluations + 1e-9)
        return best

    def _log(self, figures: dict[str, float], mean: str) -> None:
        """Write a line of `figures` and of the mean loss since the last one, under the name `mean`."""
        total, count = self._losses
        self._losses = (0.0, 0)
        line = {"step": self.step, "seconds": round(self.seconds, 3), **figures, mean: total / max(1, count)}
        self.run.write_metrics([each for each in self.run.metrics() if each["step"] < self.step] + [line])

    def _keep(self, model: nn.Module, figure: float) -> None:
        """Write weights, unless those of a checkpoint that was cut off are better."""
        if not self._better(self._written, figure):
            self._written = figure
            self.run.write(WEIGHTS, dict(model.state_dict()), {"step": self.step, self.figure: figure})

    def _counters(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "step": self.step,
            "seconds": self.seconds,
            "evaluations": self._evaluations,
            "stale": self._stale,
            "losses": self._losses,
            self.figure: self.best if math.isfinite(self.best) else None,
        }

    def _count_on(self, about: dict[str, Any]) -> None:
        """Go on from `_counters`. Raises FormatError for anything else."""
        self.step = records.integer(about.get("step"), "step")
        self.seconds = records.number(about.get("seconds"), "seconds")
        self._evaluations = records.integer(about.get("evaluations"), "evaluations")
        self._stale = records.integer(about.get("stale"), "stale")
        total, count = records.items(about.get("losses"), "losses")
        self._losses = (records.number(total, "losses"), records.integer(count, "losses"))
        if (best := about.get(self.figure)) is not None:
            self.best = records.number(best, self.figure)
        if (self.run.path / WEIGHTS).exists():  # of this checkpoint, or of the evaluation that it was cut off from
            self._written = records.number(self.run.read(WEIGHTS)[1].get(self.figure), "best")

    def _better(self, figure: float, other: float) -> bool:
        return figure > other if self.higher else figure < other

    def _diverged(self, where: str) -> TrainingError:
        return TrainingError(
            f"the loss is not a number {where}; the checkpoint before it is kept: "
            "train anew with a smaller --learning-rate or --clip"
        )


def under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Those of `tensors` whose names begin with `prefix`, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
