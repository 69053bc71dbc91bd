"""The result of an evaluation of any task. Importing this module does not import torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

__all__ = ["Evaluation", "Progress", "Score"]

Progress = Callable[[float, str], None]  # called with the fraction that is done, and figures to show


class Score(Protocol):
    """The result of an evaluation; `str(score)` is the text for people."""

    @property
    def figures(self) -> Mapping[str, float]:
        """The figures for `metrics.jsonl`, TensorBoard and plots, by name."""

    def to_json(self) -> dict[str, Any]:
        """Return the figures as `evaluate --json` prints them."""


class Evaluation(NamedTuple):
    """A score, with what the user should know about the data, such as files that were omitted.

    table: what `evaluate` prints under the score, such as a confusion matrix.
    """

    score: Score
    notes: Sequence[str] = ()
    table: str = ""
