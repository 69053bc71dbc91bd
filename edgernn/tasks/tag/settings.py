"""Settings of taggers. Importing this module does not import torch."""

from __future__ import annotations

from dataclasses import dataclass

from edgernn.settings import option, redefault
from edgernn.tasks.labelling import LabellerConfig, LabellerData, LabellerEvaluation
from edgernn.tasks.settings import TrainingSettings
from edgernn.tasks.task import Preset

__all__ = ["PRESETS", "TagConfig", "TagData", "TagEvaluation", "TagTraining"]

_LARGEST = 1_000_000  # upper bound of counts and sizes


@dataclass(frozen=True, kw_only=True)
class TagData(LabellerData):
    """The settings of the data: what is read, and what is held out."""

    held_out: float = option(
        0.1,
        "The fraction of the data to hold out, on which the model is evaluated: recordings of each class, or whole "
        "sequences of frames. A part named dev or val is used in its place.",
        above=0,
        below=1,
    )


@dataclass(frozen=True)
class TagConfig(LabellerConfig):
    """The configuration of the network, which reads one frame in each step."""

    hop: int | None = 1
    window: int | None = redefault(LabellerConfig, "window", 1)
    delay: int = option(
        0,
        "The number of steps after a frame that the network reads before it labels the frame. The label is late by "
        "this number of steps.",
        low=0,
        high=1000,
    )


@dataclass(frozen=True, kw_only=True)
class TagTraining(TrainingSettings):
    """How a tagger is trained."""

    batch_size: int = option(32, "The number of sequences in a batch.", low=1, high=_LARGEST)
    excerpt: int = option(
        200,
        "The number of steps of each training sequence, which is an excerpt of a longer sequence or, for sound, joined "
        "from recordings.",
        low=1,
        high=_LARGEST,
    )
    minutes: float | None = redefault(TrainingSettings, "minutes", 10.0)
    learning_rate: float = redefault(TrainingSettings, "learning_rate", 3e-3)
    average: float = redefault(TrainingSettings, "average", 0.99)


@dataclass(frozen=True, kw_only=True)
class TagEvaluation(LabellerEvaluation):
    """The data on which a tagger is evaluated."""


PRESETS = {
    "sound": Preset({"delay": 16, "dropout": 0.2}),
    "numbers": Preset({"features": 64, "hidden": 96}),
    "video": Preset({"features": 96, "hidden": 128, "layers": 1, "dropout": 0.1, "delay": 2}),
}
