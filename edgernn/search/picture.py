"""A picture of a search: the loss of each candidate, and the best so far."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

from matplotlib.figure import Figure

from edgernn.errors import ConfigError
from edgernn.search.evolution import OUTCOMES, Candidate
from edgernn.search.known import GRU, KNOWN, LSTM
from edgernn.training.curves import check_picture

__all__ = ["plot_search"]


def plot_search(candidates: Sequence[Candidate], out: Path) -> None:
    """Draw the last loss of each candidate in the order of trials, by outcome, with lines for LSTM and GRU.

    Raises ConfigError for an unsuitable file name, or if no candidate finished.
    """
    check_picture(out)
    finished = [(n, each.trial.loss) for n, each in enumerate(candidates, start=1) if each.trial.loss is not None]
    if not finished:
        raise ConfigError("no candidate of the search finished, so there is nothing to draw")
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    for outcome in OUTCOMES:
        own = [(n, _last(each)) for n, each in enumerate(candidates, start=1) if each.trial.outcome == outcome]
        points = [(number, loss) for number, loss in own if loss is not None]
        if points:
            axes.plot(*zip(*points, strict=True), linestyle="", marker=".", label=f"{outcome} ({len(own)})")
    numbers, losses = zip(*finished, strict=True)
    axes.step(numbers, list(accumulate(losses, min)), where="post", label="best so far")
    for name, style in ((LSTM, "--"), (GRU, ":")):
        known = next((each.trial.loss for each in candidates if each.trial.formula == str(KNOWN[name])), None)
        if known is not None:
            axes.axhline(known, linestyle=style, linewidth=1, color="gray", label=name)
    axes.set_xlabel("candidates")
    axes.set_ylabel("nats per character")
    axes.set_title("Candidates of a search; those that were stopped with their loss at that time")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(out, dpi=120)


def _last(candidate: Candidate) -> float | None:
    """The last loss of a candidate that was measured."""
    trial = candidate.trial
    return trial.loss if trial.loss is not None else trial.rungs[-1] if trial.rungs else None
