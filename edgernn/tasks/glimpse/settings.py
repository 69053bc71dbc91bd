"""Settings of networks that classify pictures by glimpses. Importing this module does not import torch."""

from __future__ import annotations

from dataclasses import dataclass

from edgernn.settings import Settings, option, redefault
from edgernn.tasks.settings import CellSettings, EvaluationSettings, TrainingSettings
from edgernn.tasks.task import Preset

__all__ = [
    "BOTH",
    "CROP",
    "PRESETS",
    "REINFORCE",
    "GlimpseConfig",
    "GlimpseData",
    "GlimpseEvaluation",
    "GlimpseTraining",
]

# How the places of the glimpses are trained.
CROP, REINFORCE, BOTH = "crop", "reinforce", "both"

_LARGEST = 1_000_000  # upper bound of counts and sizes
_LARGEST_SIDE = 512  # pixels


@dataclass(frozen=True, kw_only=True)
class GlimpseData(Settings):
    """The settings of the data: what the pictures are placed on, and what is held out."""

    canvas: int | None = option(
        None,
        "The side of a square black canvas, in pixels, on which each picture is placed at random.",
        low=1,
        high=_LARGEST_SIDE,
        unset="no canvas: the pictures as they are",
    )
    clutter: int = option(
        0,
        "The number of pieces of other pictures, 8 × 8 pixels each, that are added to each canvas.",
        low=0,
        high=100,
    )
    held_out: float = option(
        0.05,
        "The fraction of the training pictures, chosen at random, that is held out to evaluate the model.",
        above=0,
        below=1,
    )


@dataclass(frozen=True)
class GlimpseConfig(CellSettings):
    """The configuration of the network.

    height, width, channels: of the pictures, in pixels; 1 channel for grey ones. classes: their number. The data
    determines all four.
    """

    height: int = 0
    width: int = 0
    channels: int = 0
    classes: int = 0
    cell: str = redefault(CellSettings, "cell", "gru")
    glimpses: int = option(6, "The number of glimpses at a picture.", low=1, high=1000)
    side: int = option(8, "The side of each patch of a glimpse, in points.", low=1, high=_LARGEST_SIDE)
    scales: int = option(
        3,
        "The number of patches in a glimpse, all with the same centre and number of points. The points of the first "
        "are a pixel apart; those of each further patch are twice as far apart as those of the one before it.",
        low=1,
        high=8,
    )
    features: int = option(128, "The number of features of a glimpse.", low=1, high=_LARGEST)
    hidden: int = option(240, "The size of the hidden state.", low=1, high=_LARGEST)


@dataclass(frozen=True, kw_only=True)
class GlimpseTraining(TrainingSettings):
    """How a network that looks by glimpses is trained."""

    batch_size: int = option(128, "The number of pictures in a batch.", low=1, high=_LARGEST)
    minutes: float | None = redefault(TrainingSettings, "minutes", 10.0)
    passes: float | None = redefault(TrainingSettings, "passes", 100.0)
    learning_rate: float = redefault(TrainingSettings, "learning_rate", 2e-3)
    average: float = redefault(TrainingSettings, "average", 0.999)
    autocast: str = redefault(TrainingSettings, "autocast", "off")  # bfloat16 does not pay for such small products
    augment: bool = option(
        True,
        "Turn, slant, scale, shift and bend (--bend) the training pictures a little at random, before they are placed "
        "on a canvas.",
    )
    bend: float = option(
        0.03,
        "The strength of the elastic distortions that bend the training pictures: the standard deviation of the shifts "
        "of their points, as a fraction of the side; 0 disables them.",
        low=0,
        high=1,
    )
    smoothing: float = option(
        0.0,
        "Label smoothing: this fraction of the target probability is spread over all classes; 0 disables it.",
        low=0,
        below=1,
    )
    running: float = option(
        0.5,
        "The weight of the auxiliary loss, which is the mean of the losses after all glimpses but the last. It is "
        "added to the loss after the last glimpse; 0 disables it.",
        low=0,
        high=1e6,
    )
    places: str = option(
        CROP,
        "How the network learns where to look: crop uses the gradient with respect to the places, through the "
        "differentiable crop of the patches; reinforce uses REINFORCE, with glimpses at random places near those that "
        "the network chooses; both uses the sum of the two gradients.",
        choices=(CROP, REINFORCE, BOTH),
    )
    exploration: float = option(
        0.03,
        "The standard deviation of the random places with --places reinforce or both: in x as a fraction of half the "
        "width of the picture, in y of half its height.",
        above=0,
        high=1,
    )


@dataclass(frozen=True, kw_only=True)
class GlimpseEvaluation(EvaluationSettings):
    """The data on which the network is evaluated, and when it may stop looking."""

    certainty: float = option(
        0.99,
        "The probability of a class at which early stopping takes no further glimpse of a picture. The error and the "
        "mean number of glimpses with early stopping are printed too.",
        low=0,
        high=1,
    )
    clutter: int | None = option(
        None,
        "The number of pieces of other pictures on each canvas. It applies to pictures that are smaller than those of "
        "the model, which are placed on a canvas.",
        low=0,
        high=100,
        unset="as in training",
    )


_WIDE = {"side": 12, "glimpses": 8, "hidden": 192}
_STRAIGHT = {"bend": 0.0}  # bent digits on a canvas, and bent shapes, took longer to learn
_SLOWER = {**_STRAIGHT, "minutes": 25.0, "learning_rate": 1e-3}  # at 2e-3, trainings on a canvas diverged
PRESETS = {
    "digits": Preset(),
    "translated": Preset(_WIDE, _SLOWER, {"canvas": 60}),
    "cluttered": Preset(_WIDE, _SLOWER, {"canvas": 60, "clutter": 4}),
    "scenes": Preset({**_WIDE, "glimpses": 6, "features": 96}, {**_STRAIGHT, "minutes": 15.0}),
}
