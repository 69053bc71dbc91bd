"""The task `pens`: drawings, stroke by stroke. Importing this module does not import torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from edgernn.drawn_names import DIGITS
from edgernn.settings import Settings
from edgernn.tasks.pens.settings import PRESETS, PensConfig, PensData, PensEvaluation, PensTraining
from edgernn.tasks.score import Evaluation, Progress, RunData
from edgernn.tasks.task import Task

if TYPE_CHECKING:
    from edgernn.runtime import Model
    from edgernn.tasks.learner import Learner

__all__ = ["PENS"]

_DATA = (
    "Drawings as strokes: a folder with train.npz and val.npz, or one .npz file; or the word digits for numbers that "
    "edgernn draws, which need no files."
)


def _preset_for(sources: Sequence[str], options: Mapping[str, Any]) -> str:
    return "strokes"


def _learner() -> type[Learner]:
    from edgernn.tasks.pens.learner import PensLearner

    return PensLearner


def _evaluate(model: Model, settings: Settings, progress: Progress, own: RunData | None = None) -> Evaluation:
    from edgernn.tasks.pens.score import evaluate

    assert isinstance(settings, PensEvaluation)
    return evaluate(model, settings, progress, own)


PENS = Task(
    name="pens",
    help="Train a network (the decoder of sketch-rnn) that draws strokes with a pen, such as characters.",
    example="edgernn train pens kanji/ --out runs/pens",
    sources=("DATA", _DATA),
    extra="train",
    data=PensData,
    model=PensConfig,
    training=PensTraining,
    evaluation=PensEvaluation,
    presets=PRESETS,
    preset_for=_preset_for,
    metric="nats",
    higher_is_better=False,
    learner=_learner,
    evaluate=_evaluate,
    default_sources=(DIGITS,),
    tunable=("held_out", "dropout"),
)
