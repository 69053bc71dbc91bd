"""The task `translate`: write the translation of a sentence. Importing this module does not import torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from edgernn.settings import Settings
from edgernn.tasks.score import Evaluation, Progress, RunData
from edgernn.tasks.task import Task
from edgernn.tasks.translate.settings import (
    DATES,
    PRESETS,
    TranslateConfig,
    TranslateData,
    TranslateEvaluation,
    TranslateTraining,
)

if TYPE_CHECKING:
    from edgernn.runtime import Model
    from edgernn.tasks.learner import Learner

__all__ = ["TRANSLATE"]

_DATA = (
    "Sentences with translations: one directory, or one for each language, with the files train.LANGUAGE and "
    "val.LANGUAGE, which may end in .gz; a CSV file whose header names the languages; a TSV file with such a header, "
    "or without a header and with the language to translate from in its first column; or the word dates for generated "
    "dates in words, which need no files."
)


def _preset_for(sources: Sequence[str], options: Mapping[str, Any]) -> str:
    return "dates" if list(sources) == [DATES] else "sentences"


def _learner() -> type[Learner]:
    from edgernn.tasks.translate.learner import TranslateLearner

    return TranslateLearner


def _evaluate(model: Model, settings: Settings, progress: Progress, own: RunData | None = None) -> Evaluation:
    from edgernn.tasks.translate.score import evaluate

    assert isinstance(settings, TranslateEvaluation)
    return evaluate(model, settings, progress, own)


TRANSLATE = Task(
    name="translate",
    help="Train a translator: an encoder and a decoder, with attention or without.",
    example="edgernn train translate multi30k/ --from de --to en --out runs/german",
    sources=("DATA", _DATA),
    extra="translate",
    data=TranslateData,
    model=TranslateConfig,
    training=TranslateTraining,
    evaluation=TranslateEvaluation,
    presets=PRESETS,
    preset_for=_preset_for,
    metric="bleu",
    higher_is_better=True,
    learner=_learner,
    evaluate=_evaluate,
    default_sources=(DATES,),
    several=True,
    tunable=("dropout",),
)
