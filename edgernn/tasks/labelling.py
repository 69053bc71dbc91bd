"""Settings that the tasks which label sequences share. Importing this module does not import torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgernn.errors import ConfigError
from edgernn.settings import Settings, option, redefault
from edgernn.tasks.settings import CellSettings, EvaluationSettings

__all__ = ["CLIPS", "LabellerConfig", "LabellerData", "LabellerEvaluation"]

CLIPS = "clips"  # the name of the data set of drawn clips
_LARGEST = 1_000_000  # upper bound of counts and sizes


@dataclass(frozen=True, kw_only=True)
class LabellerData(Settings):
    """The settings of data that is sound or drawn clips; data of other kinds ignore them."""

    rate: int | None = option(
        None,
        "The sample rate of sound in samples per second; other recordings are resampled.",
        low=1000,
        high=_LARGEST,
        unset="that of most recordings",
    )
    digits: Path | None = option(
        None, "A directory of MNIST's IDX files, whose handwritten digits the drawn clips show in place of shapes."
    )

    def check_source(self, source: str) -> None:
        """Raise ConfigError for digits with data that is not the drawn clips."""
        if self.digits is not None and source != CLIPS:
            raise ConfigError(f"--digits belongs to the drawn clips, and {source} is no such data: leave it out")


@dataclass(frozen=True, kw_only=True)
class LabellerEvaluation(EvaluationSettings):
    """The data on which a network that labels sequences is evaluated."""

    digits: Path | None = option(
        None, "A directory of MNIST's IDX files, for drawn clips (--data clips) of handwritten digits."
    )


@dataclass(frozen=True)
class LabellerConfig(CellSettings):
    """The configuration of a network that labels sequences: a front end, recurrent layers, and scores of classes.

    The data decides these fields: kind, one of "sound", "text", "numbers" and "video"; classes: the number of classes;
    rate: of sound, in samples per second; vocabulary: of text; channels: of numbers; height, width: of video, in
    pixels.
    """

    kind: str = ""
    classes: int = 0
    rate: int = 0
    vocabulary: int = 0
    channels: int = 0
    height: int = 0
    width: int = 0
    cell: str = redefault(CellSettings, "cell", "gru")
    features: int = option(
        40,
        "The number of features that the front end, the first part of the network, computes in each step: of sound, "
        "the mel bands; of text, the size of the embedding.",
        low=1,
        high=_LARGEST,
    )
    hidden: int = option(128, "The size of the state of each recurrent layer.", low=1, high=_LARGEST)
    layers: int = option(2, "The number of recurrent layers.", low=1, high=_LARGEST)
    dropout: float = option(
        0.3, "The dropout probability after the front end, between layers and before the output.", low=0, below=1
    )
    hop: int | None = option(
        None,
        "The number of rows of numbers that the network reads in one step.",
        low=1,
        high=_LARGEST,
        unset="8 if the median sequence has at least 200 rows, otherwise 1",
    )
    window: int | None = option(
        None,
        "The number of rows of numbers that the front end sees in one step: those of the step and those before it.",
        low=1,
        high=_LARGEST,
        unset="4 times --hop, or 1 if --hop is 1",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.hop is not None and self.window is not None and self.window < self.hop:
            raise ConfigError(f"--window {self.window} is smaller than --hop {self.hop}: rows would be left out")
        for name in ("classes", "rate", "vocabulary", "channels", "height", "width"):
            value = getattr(self, name)
            if type(value) is not int or not 0 <= value <= _LARGEST:
                raise ConfigError(f"a network with {name} of {str(value)[:40]} is not possible")
