"""Settings of a comparison of cells. Importing this module does not import torch."""

from __future__ import annotations

from dataclasses import dataclass

from edgernn.cell_names import CELLS
from edgernn.settings import Settings, option

__all__ = ["DIFFERING", "MINUTES", "ComparisonSettings"]

DIFFERING = ("cell", "hidden", "seed")  # the settings in which the trainings of a comparison differ
MINUTES = 4.0  # of a training without another limit


@dataclass(frozen=True, kw_only=True)
class ComparisonSettings(Settings):
    """Which cells are compared, and on which targets."""

    cells: str = option(
        ",".join(CELLS),
        "The cells to compare, separated by commas: names, or FILE.py:CLASS for a class in a Python file of yours, "
        "which is executed. The suffix +ln adds layer normalisation to a cell, as in lstm+ln.",
    )
    seeds: int = option(
        3, "The number of trainings of each cell; they have the seeds 0, 1, 2 and so on.", low=1, high=1000
    )
    parameters: int | None = option(
        None,
        "The largest number of parameters of a network; each cell gets the largest state that keeps within it.",
        low=1,
        high=10**8,
        unset="those of an LSTM of the preset's size",
    )
    targets: str = option(
        "onnx,torchscript,executorch,c",
        "The targets to which each cell is exported, separated by commas; those whose packages are missing are left "
        "out.",
    )
    precisions: str = option(
        "fp32,int8",
        "The precisions of the exports, separated by commas; a target leaves out those that it does not support.",
    )
