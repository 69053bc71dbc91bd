"""Settings of networks that paint. Importing this module does not import torch."""

from __future__ import annotations

from dataclasses import dataclass

from edgernn.errors import ConfigError
from edgernn.settings import Settings, option, redefault
from edgernn.tasks.settings import CellSettings, EvaluationSettings, TrainingSettings
from edgernn.tasks.task import Preset

__all__ = ["CELLS_ACROSS", "PRESETS", "PaintConfig", "PaintData", "PaintEvaluation", "PaintTraining"]

CELLS_ACROSS = 8  # cells in which the network sees the whole picture
_LARGEST = 1_000_000  # upper bound of counts and sizes


@dataclass(frozen=True, kw_only=True)
class PaintData(Settings):
    """The settings of the data: what is held out."""

    held_out: float = option(
        0.05,
        "The fraction of the photographs, chosen at random, that is held out to evaluate the model, if no list names "
        "the photographs of each part.",
        above=0,
        below=1,
    )


@dataclass(frozen=True)
class PaintConfig(CellSettings):
    """The configuration of the network."""

    cell: str = redefault(CellSettings, "cell", "gru")
    side: int = option(
        128,
        f"The side of the canvas in pixels: a multiple of {CELLS_ACROSS}.",
        low=CELLS_ACROSS,
        high=1024,
    )
    strokes: int = option(
        400, "The number of strokes of a painting; fewer can be asked for, but not more.", low=1, high=100_000
    )
    points: int = option(
        8,
        "The side, in points, of the grid in which the network sees the surroundings of each stroke.",
        low=4,
        high=64,
    )
    features: int = option(128, "The number of features of what is seen.", low=1, high=_LARGEST)
    hidden: int = option(192, "The size of the hidden state.", low=1, high=_LARGEST)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.side % CELLS_ACROSS:
            raise ConfigError(f"--side {self.side} is not a multiple of {CELLS_ACROSS}")


@dataclass(frozen=True, kw_only=True)
class PaintTraining(TrainingSettings):
    """How a network that paints is trained: each stroke by how much it reduces the squared error of the canvas."""

    train_side: int = option(
        32,
        f"The side in pixels of the canvases in training, a multiple of {CELLS_ACROSS}: smaller ones train faster, and "
        "lengths are relative to the side.",
        low=CELLS_ACROSS,
        high=1024,
    )
    batch_size: int = option(64, "The number of canvases that are painted at the same time.", low=1, high=_LARGEST)
    unroll: int = option(3, "The number of strokes on each canvas in a batch.", low=1, high=1000)
    minutes: float | None = redefault(TrainingSettings, "minutes", 25.0)
    passes: float | None = redefault(TrainingSettings, "passes", 1000.0)
    learning_rate: float = redefault(TrainingSettings, "learning_rate", 3e-3)
    average: float = redefault(TrainingSettings, "average", 0.998)
    evaluations: int = redefault(TrainingSettings, "evaluations", 12)
    autocast: str = redefault(TrainingSettings, "autocast", "off")  # bfloat16 is no faster, and rounds the canvas

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.train_side % CELLS_ACROSS:
            raise ConfigError(f"--train-side {self.train_side} is not a multiple of {CELLS_ACROSS}")


@dataclass(frozen=True, kw_only=True)
class PaintEvaluation(EvaluationSettings):
    """The photographs on which the network is evaluated, and how."""

    strokes: int | None = option(
        None, "The number of strokes of each painting.", low=1, high=100_000, unset="as in training"
    )
    pictures: int = option(
        200, "The largest number of photographs to paint; of more, the first are taken.", low=1, high=_LARGEST
    )


PRESETS = {"photographs": Preset()}
