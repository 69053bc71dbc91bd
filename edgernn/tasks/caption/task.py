"""The task `caption`: describe an image in a sentence. Importing this module does not import torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from edgernn.drawn_names import SCENES
from edgernn.settings import Settings
from edgernn.tasks.caption.settings import (
    PRESETS,
    CaptionConfig,
    CaptionData,
    CaptionEvaluation,
    CaptionTraining,
)
from edgernn.tasks.score import Evaluation, Progress, RunData
from edgernn.tasks.task import Task

if TYPE_CHECKING:
    from edgernn.runtime import Model
    from edgernn.tasks.learner import Learner

__all__ = ["CAPTION"]

_DATA = (
    "Images with captions: a directory in the layout of Flickr8k, a JSON file in the layout of COCO or Karpathy, a CSV "
    "file, or the word scenes for generated drawings, which need no files."
)


def _preset_for(sources: Sequence[str], options: Mapping[str, Any]) -> str:
    return "drawings" if list(sources) == [SCENES] else "photographs"


def _learner() -> type[Learner]:
    from edgernn.tasks.caption.learner import CaptionLearner

    return CaptionLearner


def _evaluate(model: Model, settings: Settings, progress: Progress, own: RunData | None = None) -> Evaluation:
    from edgernn.tasks.caption.score import evaluate

    assert isinstance(settings, CaptionEvaluation)
    return evaluate(model, settings, progress, own)


CAPTION = Task(
    name="caption",
    help="Train a captioner: an image encoder and a recurrent decoder.",
    example="edgernn train caption flickr8k/ --encoder-weights mobilenet_v2.safetensors --out runs/photos",
    sources=("DATA", _DATA),
    extra="caption",
    data=CaptionData,
    model=CaptionConfig,
    training=CaptionTraining,
    evaluation=CaptionEvaluation,
    presets=PRESETS,
    preset_for=_preset_for,
    metric="cider_d",
    higher_is_better=True,
    learner=_learner,
    evaluate=_evaluate,
    default_sources=(SCENES,),
    tunable=("dropout",),
)
