"""The task `paint`: photographs, painted stroke by stroke. Importing this module does not import torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from edgernn.drawn_names import SCENES
from edgernn.settings import Settings
from edgernn.tasks.paint.settings import PRESETS, PaintConfig, PaintData, PaintEvaluation, PaintTraining
from edgernn.tasks.score import Evaluation, Progress, RunData
from edgernn.tasks.task import Task

if TYPE_CHECKING:
    from edgernn.runtime import Model
    from edgernn.tasks.learner import Learner

__all__ = ["PAINT"]

_DATA = (
    "A folder of photographs, which need no labels; or the word scenes for pictures that edgernn draws, which need no "
    "files."
)


def _preset_for(sources: Sequence[str], options: Mapping[str, Any]) -> str:
    return "photographs"


def _learner() -> type[Learner]:
    from edgernn.tasks.paint.learner import PaintLearner

    return PaintLearner


def _evaluate(model: Model, settings: Settings, progress: Progress, own: RunData | None = None) -> Evaluation:
    from edgernn.tasks.paint.score import evaluate

    assert isinstance(settings, PaintEvaluation)
    return evaluate(model, settings, progress, own)


PAINT = Task(
    name="paint",
    help="Train a network that paints photographs in oil, stroke by stroke.",
    example="edgernn train paint photographs/ --out runs/paint",
    sources=("DATA", _DATA),
    extra="train",
    data=PaintData,
    model=PaintConfig,
    training=PaintTraining,
    evaluation=PaintEvaluation,
    presets=PRESETS,
    preset_for=_preset_for,
    metric="squared_error_ratio",
    higher_is_better=False,
    learner=_learner,
    evaluate=_evaluate,
    default_sources=(SCENES,),
    tunable=("held_out",),
)
