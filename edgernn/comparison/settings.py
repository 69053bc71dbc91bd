"""Settings of a comparison of cells. Importing this module does not import torch."""

from __future__ import annotations

from dataclasses import dataclass

from edgernn.settings import Settings, option, redefault
from edgernn.tasks.language.settings import LanguageConfig, LanguageData, LanguageTraining
from edgernn.tasks.settings import CELLS

__all__ = ["SHARED", "ComparedModel", "ComparedTraining", "ComparisonSettings"]


@dataclass(frozen=True, kw_only=True)
class ComparisonSettings(Settings):
    """Which cells are compared, and on which targets."""

    cells: str = option(
        ",".join(CELLS), "The cells to compare, separated by commas, named as in edgernn train language."
    )
    seeds: int = option(
        3, "The number of trainings of each cell; they have the seeds 0, 1, 2 and so on.", low=1, high=1000
    )
    parameters: int | None = option(
        None,
        "The number of parameters of the networks: each has the largest state with which it has no more.",
        low=1,
        high=10**8,
        unset="those of an LSTM of the default size",
    )
    targets: str = option(
        "onnx,torchscript,executorch,c",
        "The targets to which each cell is exported, separated by commas; those whose packages are missing are left "
        "out.",
    )
    precisions: str = option(
        "fp32,int8", "The precisions of the exports, separated by commas; a target leaves out those that it lacks."
    )


@dataclass(frozen=True)
class ComparedModel(LanguageConfig):
    """The configuration of the networks, without the options that differ between them."""

    cell: str = LanguageConfig.cell
    hidden: int = LanguageConfig.hidden


@dataclass(frozen=True, kw_only=True)
class ComparedTraining(LanguageTraining):
    """How the networks are trained, without the seed, which differs between trainings."""

    passes: float | None = redefault(LanguageTraining, "passes", None)
    minutes: float | None = redefault(LanguageTraining, "minutes", 4.0)
    seed: int = LanguageTraining.seed


SHARED = (LanguageData, ComparedModel, ComparedTraining)  # the settings that all trainings share
