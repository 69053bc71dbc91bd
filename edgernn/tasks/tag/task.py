"""The task `tag`: a label for every frame. Importing this module does not import torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgernn.settings import Settings
from edgernn.tasks.labelling import CLIPS
from edgernn.tasks.score import Evaluation, Progress, RunData
from edgernn.tasks.tag.settings import PRESETS, TagConfig, TagData, TagEvaluation, TagTraining
from edgernn.tasks.task import Task

if TYPE_CHECKING:
    from edgernn.runtime import Model
    from edgernn.tasks.learner import Learner

__all__ = ["TAG"]

_DATA = (
    "Frames with labels: a directory of WAV files, each of one class, named CLASS_NAME.wav or in a directory for each "
    "class, which training joins to continuous sound; .npz files with the arrays frames, labels and classes; or the "
    "word clips for drawn clips, which need no files."
)


def _preset_for(sources: Sequence[str], options: Mapping[str, Any]) -> str:
    """Return the kind of the data; of npz files, that of their frames."""
    if list(sources) == [CLIPS]:
        return "video"
    if len(sources) != 1:
        return "sound"
    from edgernn.data.frame_labels import kind_of_frames
    from edgernn.data.sequences import kind_of

    if kind_of(path := Path(sources[0])) != "numbers":
        return "sound"
    return kind_of_frames(path) or "numbers"


def _learner() -> type[Learner]:
    from edgernn.tasks.tag.learner import TagLearner

    return TagLearner


def _evaluate(model: Model, settings: Settings, progress: Progress, own: RunData | None = None) -> Evaluation:
    from edgernn.tasks.tag.score import evaluate

    assert isinstance(settings, TagEvaluation)
    return evaluate(model, settings, progress, own)


TAG = Task(
    name="tag",
    help="Train a tagger: a label for every frame of a recording, a movement or a clip, as it arrives.",
    example="edgernn train tag recordings/ --out runs/spoken",
    sources=("DATA", _DATA),
    extra="train",
    data=TagData,
    model=TagConfig,
    training=TagTraining,
    evaluation=TagEvaluation,
    presets=PRESETS,
    preset_for=_preset_for,
    metric="frame_accuracy",
    higher_is_better=True,
    learner=_learner,
    evaluate=_evaluate,
    default_sources=(CLIPS,),
    tunable=("held_out", "rate", "digits", "dropout"),
)
