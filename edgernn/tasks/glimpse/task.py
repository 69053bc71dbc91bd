"""The task `glimpse`: the class of a picture, by a few glimpses. Importing this module does not import torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from edgernn.drawn_names import DIGITS, SCENES
from edgernn.settings import Settings
from edgernn.tasks.glimpse.settings import (
    PRESETS,
    GlimpseConfig,
    GlimpseData,
    GlimpseEvaluation,
    GlimpseTraining,
)
from edgernn.tasks.score import Evaluation, Progress, RunData
from edgernn.tasks.task import Task

if TYPE_CHECKING:
    from edgernn.runtime import Model
    from edgernn.tasks.learner import Learner

__all__ = ["GLIMPSE"]

_DATA = (
    "Labelled pictures: a folder of IDX files, such as those of MNIST; the word digits for digits that edgernn draws; "
    "or the word scenes for drawn scenes of one coloured shape each. The last two need no files."
)


def _preset_for(sources: Sequence[str], options: Mapping[str, Any]) -> str:
    if list(sources) == [SCENES]:
        return "scenes"
    if options.get("canvas") is None:
        return "digits"
    return "cluttered" if options.get("clutter") else "translated"


def _learner() -> type[Learner]:
    from edgernn.tasks.glimpse.learner import GlimpseLearner

    return GlimpseLearner


def _evaluate(model: Model, settings: Settings, progress: Progress, own: RunData | None = None) -> Evaluation:
    from edgernn.tasks.glimpse.score import evaluate

    assert isinstance(settings, GlimpseEvaluation)
    return evaluate(model, settings, progress, own)


GLIMPSE = Task(
    name="glimpse",
    help="Train a network that classifies a picture by a few glimpses, whose places it chooses.",
    example="edgernn train glimpse mnist/ --out runs/glimpses",
    sources=("DATA", _DATA),
    extra="train",
    data=GlimpseData,
    model=GlimpseConfig,
    training=GlimpseTraining,
    evaluation=GlimpseEvaluation,
    presets=PRESETS,
    preset_for=_preset_for,
    metric="error",
    higher_is_better=False,
    learner=_learner,
    evaluate=_evaluate,
    default_sources=(DIGITS,),
    tunable=("canvas", "clutter", "held_out"),
)
