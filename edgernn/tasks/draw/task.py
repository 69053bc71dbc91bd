"""The task `draw`: pictures, drawn step by step. Importing this module does not import torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from edgernn.drawn_names import DIGITS
from edgernn.settings import Settings
from edgernn.tasks.draw.settings import PRESETS, DrawConfig, DrawData, DrawEvaluation, DrawTraining
from edgernn.tasks.score import Evaluation, Progress, RunData
from edgernn.tasks.task import Task

if TYPE_CHECKING:
    from edgernn.runtime import Model
    from edgernn.tasks.learner import Learner

__all__ = ["DRAW"]

_DATA = (
    "Labelled grey pictures: a folder of IDX files, such as those of MNIST; or the word digits for digits that edgernn "
    "draws, which need no files."
)


def _preset_for(sources: Sequence[str], options: Mapping[str, Any]) -> str:
    return "digits"


def _learner() -> type[Learner]:
    from edgernn.tasks.draw.learner import DrawLearner

    return DrawLearner


def _evaluate(model: Model, settings: Settings, progress: Progress, own: RunData | None = None) -> Evaluation:
    from edgernn.tasks.draw.score import evaluate

    assert isinstance(settings, DrawEvaluation)
    return evaluate(model, settings, progress, own)


DRAW = Task(
    name="draw",
    help="Train a network (DRAW) that draws pictures step by step, such as a given digit.",
    example="edgernn train draw mnist/ --out runs/draw",
    sources=("DATA", _DATA),
    extra="train",
    data=DrawData,
    model=DrawConfig,
    training=DrawTraining,
    evaluation=DrawEvaluation,
    presets=PRESETS,
    preset_for=_preset_for,
    metric="nats",
    higher_is_better=False,
    learner=_learner,
    evaluate=_evaluate,
    default_sources=(DIGITS,),
    tunable=("held_out",),
)
