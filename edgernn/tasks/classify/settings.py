"""Settings of classifiers. Importing this module does not import torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgernn.settings import option, redefault
from edgernn.tasks.labelling import LabellerConfig, LabellerData, LabellerEvaluation
from edgernn.tasks.settings import TrainingSettings
from edgernn.tasks.task import Preset

__all__ = [
    "PRESETS",
    "ClassifyConfig",
    "ClassifyData",
    "ClassifyEvaluation",
    "ClassifyTraining",
]

KINDS = ("sound", "text", "numbers", "video")  # the names of `data.sequences.KINDS`
TOKENIZERS = ("characters", "bytes", "words")
_LARGEST = 1_000_000  # upper bound of counts and sizes


@dataclass(frozen=True, kw_only=True)
class ClassifyData(LabellerData):
    """The settings of the data: what is read, and what is held out."""

    kind: str | None = option(
        None,
        "The kind of data to read, if a directory contains several kinds.",
        choices=KINDS,
        unset="that of the files that come first in this order: .npz, WAV, GIF or frames, CSV, text",
    )
    held_out: float = option(
        0.1,
        "The fraction of the sequences to hold out, on which the model is evaluated: of each class, or whole groups "
        "where the data names groups or subjects; equal texts stay together. A part named dev or val is used in its "
        "place.",
        above=0,
        below=1,
    )
    tokenizer: str = option("characters", "The unit of texts: characters, UTF-8 bytes, or words.", choices=TOKENIZERS)


@dataclass(frozen=True)
class ClassifyConfig(LabellerConfig):
    """The configuration of the network."""


@dataclass(frozen=True, kw_only=True)
class ClassifyTraining(TrainingSettings):
    """How a classifier is trained."""

    batch_size: int = option(32, "The number of sequences in a batch.", low=1, high=_LARGEST)
    minutes: float | None = redefault(TrainingSettings, "minutes", 10.0)
    passes: float | None = redefault(TrainingSettings, "passes", 100.0)
    learning_rate: float = redefault(TrainingSettings, "learning_rate", 3e-3)
    average: float = redefault(TrainingSettings, "average", 0.99)
    augment: bool = option(
        True,
        "Vary the training sequences at random: loudness, speed and noise of sound; scale, speed, noise and extent of "
        "numbers.",
    )
    smoothing: float = option(
        0.1,
        "Label smoothing: this fraction of the target probability is spread over all classes; 0 disables it.",
        low=0,
        below=1,
    )
    running: float = option(
        0.2,
        "The weight of the loss of the guesses before the last step; 0 trains only the guess of the last step.",
        low=0,
        high=1e6,
    )
    class_weights: bool = option(
        False, "Weight the loss of each class by the inverse of its frequency, for balanced accuracy."
    )


@dataclass(frozen=True, kw_only=True)
class ClassifyEvaluation(LabellerEvaluation):
    """The data on which a classifier is evaluated, and the picture of its confusions."""

    confusion: Path | None = option(None, "Write a picture of the confusion matrix, in a .png or .svg file.")


PRESETS = {
    "sound": Preset(),
    "text": Preset({"features": 64, "layers": 1, "hidden": 256, "dropout": 0.5}, {"batch_size": 64}),
    "numbers": Preset({"features": 64, "hidden": 96}),
    "video": Preset({"features": 96, "hidden": 96, "layers": 1}),
}
