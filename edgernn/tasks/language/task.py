"""The task `language`: predict the next token of a text. Importing this module does not import torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgernn.settings import Settings
from edgernn.tasks.language.settings import PRESETS, LanguageConfig, LanguageData, LanguageEvaluation, LanguageTraining
from edgernn.tasks.score import Evaluation, Progress, RunData
from edgernn.tasks.task import Task

if TYPE_CHECKING:
    from edgernn.runtime import Model
    from edgernn.tasks.learner import Learner

__all__ = ["LANGUAGE"]

_CORPUS = (
    "The text to train on: files, directories, - for standard input, stdlib for the source code of Python's standard "
    "library, or tinyshakespeare, which is downloaded once."
)


def _learner() -> type[Learner]:
    from edgernn.tasks.language.learner import LanguageLearner

    return LanguageLearner


def _evaluate(model: Model, settings: Settings, progress: Progress, own: RunData | None = None) -> Evaluation:
    from edgernn.tasks.language.score import evaluate

    assert isinstance(settings, LanguageEvaluation)
    return evaluate(model, settings, progress, own)


LANGUAGE = Task(
    name="language",
    help="Train a language model on a text.",
    example="edgernn train language shakespeare.txt --out runs/shakespeare --minutes 10",
    sources=("CORPUS", _CORPUS),
    extra="train",
    data=LanguageData,
    model=LanguageConfig,
    training=LanguageTraining,
    evaluation=LanguageEvaluation,
    presets=PRESETS,
    preset_for=lambda sources, options: "small",
    metric="nats_per_char",
    higher_is_better=False,
    learner=_learner,
    evaluate=_evaluate,
    several=True,
    tunable=("encoding", "field", "glob", "held_out", "dropout"),
)
