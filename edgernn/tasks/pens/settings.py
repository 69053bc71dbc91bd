"""Settings of networks that draw strokes. Importing this module does not import torch."""

from __future__ import annotations

from dataclasses import dataclass

from edgernn.settings import Settings, option, redefault
from edgernn.tasks.settings import CellSettings, EvaluationSettings, TrainingSettings
from edgernn.tasks.task import Preset

__all__ = ["PRESETS", "PensConfig", "PensData", "PensEvaluation", "PensTraining"]

_LARGEST = 1_000_000  # upper bound of counts and sizes


@dataclass(frozen=True, kw_only=True)
class PensData(Settings):
    """The settings of the data: what is held out."""

    held_out: float = option(
        0.05,
        "The fraction of the drawings, chosen at random, that is held out to evaluate the model, if the data has no "
        "part val.",
        above=0,
        below=1,
    )


@dataclass(frozen=True)
class PensConfig(CellSettings):
    """The configuration of the network.

    scale: the standard deviation of the offsets, by which they are divided. longest: the points of the longest drawing.
    The data determines both.
    """

    scale: float = 0.0
    longest: int = 0
    components: int = option(
        20, "The number of normal densities whose mixture predicts the next point.", low=1, high=1000
    )
    features: int = option(64, "The number of features of a point that the recurrent cell reads.", low=1, high=_LARGEST)
    hidden: int = option(256, "The size of the hidden state.", low=1, high=_LARGEST)
    layers: int = option(1, "The number of recurrent layers.", low=1, high=64)
    dropout: float = option(0.1, "The dropout probability after each recurrent layer.", low=0, below=1)


@dataclass(frozen=True, kw_only=True)
class PensTraining(TrainingSettings):
    """How a network that draws strokes is trained: by the negative log-likelihood of the points of drawings."""

    batch_size: int = option(64, "The number of drawings in a batch.", low=1, high=_LARGEST)
    stretch: float = option(
        0.1,
        "Augmentation: the width and the height of each drawing are multiplied by random factors that differ from 1 by "
        "at most this.",
        low=0,
        below=1,
    )
    drop_points: float = option(
        0.1, "Augmentation: the probability with which a point within a stroke is left out.", low=0, below=1
    )
    minutes: float | None = redefault(TrainingSettings, "minutes", 20.0)
    passes: float | None = redefault(TrainingSettings, "passes", 60.0)
    learning_rate: float = redefault(TrainingSettings, "learning_rate", 4e-3)
    average: float = redefault(TrainingSettings, "average", 0.998)


@dataclass(frozen=True, kw_only=True)
class PensEvaluation(EvaluationSettings):
    """The data on which the network is evaluated."""


PRESETS = {"strokes": Preset()}
