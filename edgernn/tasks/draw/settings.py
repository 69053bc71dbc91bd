"""Settings of networks that draw. Importing this module does not import torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgernn.errors import ConfigError
from edgernn.settings import Settings, option, redefault
from edgernn.tasks.settings import CellSettings, EvaluationSettings, TrainingSettings
from edgernn.tasks.task import Preset

__all__ = ["PRESETS", "DrawConfig", "DrawData", "DrawEvaluation", "DrawTraining"]

_LARGEST = 1_000_000  # upper bound of counts and sizes


@dataclass(frozen=True, kw_only=True)
class DrawData(Settings):
    """The settings of the data: what is held out."""

    held_out: float = option(
        0.05,
        "The fraction of the training pictures, chosen at random, that is held out to evaluate the model.",
        above=0,
        below=1,
    )


@dataclass(frozen=True)
class DrawConfig(CellSettings):
    """The configuration of the network.

    height, width: of the pictures, in pixels. classes: the number of classes that can be asked for. The data determines
    all three.
    """

    height: int = 0
    width: int = 0
    classes: int = 0
    labels: bool = option(True, "Train with the labels of the pictures, so that the network can draw a given class.")
    writes: int = option(8, "The number of steps in which a picture is drawn.", low=1, high=1000)
    window: int = option(10, "The side of the windows for reading and writing, in points.", low=2, high=512)
    latents: int = option(12, "The number of latent variables that are sampled at each step.", low=1, high=_LARGEST)
    hidden: int = option(184, "The size of the hidden states of the encoder and the decoder.", low=1, high=_LARGEST)


@dataclass(frozen=True, kw_only=True)
class DrawTraining(TrainingSettings):
    """How a network that draws is trained: by the variational bound on the log-likelihood of binary pictures."""

    batch_size: int = option(128, "The number of pictures in a batch.", low=1, high=_LARGEST)
    minutes: float | None = redefault(TrainingSettings, "minutes", 25.0)
    passes: float | None = redefault(TrainingSettings, "passes", 100.0)
    learning_rate: float = redefault(TrainingSettings, "learning_rate", 2e-3)
    average: float = redefault(TrainingSettings, "average", 0.999)
    autocast: str = redefault(TrainingSettings, "autocast", "off")  # bfloat16 does not pay for such small products


@dataclass(frozen=True, kw_only=True)
class DrawEvaluation(EvaluationSettings):
    """The data on which the network is evaluated, the bundle that draws, and the bundle that judges its drawings."""

    decoder: Path | None = option(
        None,
        "A bundle that was exported from the run. The bound is computed with the decoder in this bundle, and with the "
        "encoder of the run.",
        unset="the network of the run",
    )
    judge: Path | None = option(
        None,
        "A bundle of the task glimpse, which classifies new drawings. The figure asked_for is the fraction of drawings "
        "that it assigns to the class that was asked for.",
        unset="no drawings are judged",
    )
    drawings: int = option(1000, "The number of new drawings that --judge classifies.", low=1, high=1e6)

    def refuse_without_judge(self) -> None:
        """Raise ConfigError if the number of drawings is set, and nothing judges them."""
        if self.judge is None and self.drawings != DrawEvaluation.drawings:
            raise ConfigError("--drawings is about those that --judge classifies: name one, or leave out --drawings")


PRESETS = {"digits": Preset()}
