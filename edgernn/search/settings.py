"""Settings of the search. Importing this module does not import torch."""

from __future__ import annotations

from dataclasses import dataclass

from edgernn.settings import Settings, option, redefault
from edgernn.tasks.language.settings import LanguageConfig, LanguageData, LanguageTraining
from edgernn.tasks.settings import Chosen

__all__ = ["CHANGEABLE", "SearchSettings"]

# What a later call may change, because no candidate's loss depends on it.
CHANGEABLE = ("minutes", "candidates", "processes", "final_steps", "best")
_EMBEDDING = 32
_WEIGHT_DECAY = 0.16  # for trainings that are too short to overfit


@dataclass(frozen=True, kw_only=True)
class SearchSettings(Settings):
    """How long the search lasts, how its candidates are trained, and what is written."""

    minutes: float = option(
        30.0,
        "The minutes of the whole search; the last two fifths are for the comparison of the best formulas.",
        low=1e-3,
    )
    candidates: int | None = option(
        None,
        "End the search after this number of candidates, and compare the best formulas.",
        low=1,
        unset="as the minutes allow",
    )
    processes: int = option(
        1, "The number of candidates that are trained in parallel, each on one thread.", low=1, high=1024
    )
    parameters: int = option(
        30_000,
        "The number of parameters of every network; the state has the size that comes closest to it.",
        low=1,
        high=10**9,
    )
    steps: int = option(400, "The number of optimizer steps that a candidate is trained for.", low=4)
    final_steps: int | None = option(
        None,
        "The number of optimizer steps of each training in the comparison of the best formulas.",
        low=1,
        unset="as the minutes allow",
    )
    best: int = option(3, "The number of best formulas to compare and to write as cells.", low=1, high=100)
    formula: tuple[str, ...] = option(
        (),
        'A formula to begin with, in addition to those of known cells, such as "h\' = tanh(linear(x, h))". Can be '
        "given more than once.",
    )
    batch_size: int = redefault(LanguageTraining, "batch_size", 16)
    bptt: int = redefault(LanguageTraining, "bptt", 32)
    learning_rate: float = redefault(LanguageTraining, "learning_rate", 0.02)
    seed: int = redefault(LanguageTraining, "seed", 0)

    def chosen(self, data: LanguageData) -> Chosen:
        """The settings of the language models that are trained; their cell and the size of its state are free."""
        training = LanguageTraining(
            steps=self.steps,
            passes=None,
            batch_size=self.batch_size,
            bptt=self.bptt,
            learning_rate=self.learning_rate,
            weight_decay=_WEIGHT_DECAY,
            device="cpu",
            autocast="off",
            seed=self.seed,
        )
        return Chosen(data, LanguageConfig(embedding=_EMBEDDING, layers=1, dropout=0.0), training)
