"""The task `classify`: one label for a whole sequence. Importing this module does not import torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgernn.settings import Settings
from edgernn.tasks.classify.settings import (
    PRESETS,
    ClassifyConfig,
    ClassifyData,
    ClassifyEvaluation,
    ClassifyTraining,
)
from edgernn.tasks.labelling import CLIPS
from edgernn.tasks.score import Evaluation, Progress, RunData
from edgernn.tasks.task import Task

if TYPE_CHECKING:
    from edgernn.runtime import Model
    from edgernn.tasks.learner import Learner

__all__ = ["CLASSIFY"]

_DATA = (
    "Labelled sequences: a directory of WAV files, named CLASS_NAME.wav or in a directory for each class; a text file "
    "for each class, with an example in each line; CSV files with the columns text and label, or with the columns "
    "sequence, label and one for each channel of numbers; .npz files; a directory for each class, with GIF files or "
    "with directories of frames; or the word clips for drawn clips, which need no files."
)


def _preset_for(sources: Sequence[str], options: Mapping[str, Any]) -> str:
    """Return the kind of the data, which `options` may state; "sound" for data that cannot be read."""
    if options.get("kind") in PRESETS:
        return str(options["kind"])
    if list(sources) == [CLIPS]:
        return "video"
    if len(sources) != 1:
        return "sound"
    from edgernn.data.sequences import kind_of

    return kind_of(Path(sources[0])) or "sound"


def _learner() -> type[Learner]:
    from edgernn.tasks.classify.learner import ClassifyLearner

    return ClassifyLearner


def _evaluate(model: Model, settings: Settings, progress: Progress, own: RunData | None = None) -> Evaluation:
    from edgernn.tasks.classify.score import evaluate

    assert isinstance(settings, ClassifyEvaluation)
    return evaluate(model, settings, progress, own)


CLASSIFY = Task(
    name="classify",
    help="Train a classifier: one label for a whole recording, text, movement or clip.",
    example="edgernn train classify recordings/ --out runs/digits",
    sources=("DATA", _DATA),
    extra="train",
    data=ClassifyData,
    model=ClassifyConfig,
    training=ClassifyTraining,
    evaluation=ClassifyEvaluation,
    presets=PRESETS,
    preset_for=_preset_for,
    metric="nats",
    higher_is_better=False,
    learner=_learner,
    evaluate=_evaluate,
    default_sources=(CLIPS,),
    tunable=("kind", "held_out", "rate", "digits", "dropout"),
)
