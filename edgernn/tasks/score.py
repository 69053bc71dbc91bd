"""The result of an evaluation of any task. Importing this module does not import torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from edgernn.models import Network

__all__ = ["Evaluation", "Progress", "RunData", "Score", "note_held_out"]

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


class RunData(NamedTuple):
    """What a run keeps and a bundle does not: data, and the parts of its network that are not deployed.

    record: the run's record of its data, as in `Prepared`. folder: where `Learner.prepare` wrote it; `evaluate` scores
    the run on the held-out part where no other data is named. network: loads the network, as `Run.network` does.
    """

    record: Mapping[str, Any]
    folder: Path
    network: Callable[[], Network]


def note_held_out(what: str, flag: str = "--data") -> str:
    """Return the note on a score of the held-out part of a run. what: its size. flag: the option for other data."""
    return (
        f"scored on {what} that the training held out, and on which it chose the best weights: "
        f"name other data with {flag}"
    )
