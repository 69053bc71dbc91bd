"""What an evaluation of any task gives. Importing this module imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

__all__ = ["Evaluation", "Progress", "Score"]

Progress = Callable[[float, str], None]  # called with the fraction that is done, and figures to show


class Score(Protocol):
    """The result of an evaluation; its text, `str(score)`, is for people."""

    @property
    def figures(self) -> Mapping[str, float]:
        """What goes into `metrics.jsonl`, TensorBoard and plots, by name."""

    def to_json(self) -> dict[str, Any]:
        """As `evaluate --json` prints it."""


class Evaluation(NamedTuple):
    """A score, and what the user should know of the data, such as files that were left out."""

    score: Score
    notes: Sequence[str] = ()
