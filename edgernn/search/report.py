"""The report of a search: how many candidates there were, and the best beside known cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Any

from edgernn.errors import counted
from edgernn.search.directory import CELLS, Comparison
from edgernn.search.evolution import OUTCOMES, Trial
from edgernn.search.known import GRU, KNOWN, LSTM
from edgernn.search.settings import SearchSettings

__all__ = ["Entry", "Report"]


@dataclass(frozen=True)
class Entry:
    """One formula of the comparison. trials: one for each seed."""

    name: str
    formula: str
    trials: Sequence[Trial]

    @property
    def losses(self) -> list[float]:
        """Nats per character of each seed, on the half of the held-out text that nothing was chosen by."""
        return [each.reported for each in self.trials if each.reported is not None]

    @property
    def loss(self) -> float | None:
        """The mean of `losses`; None if a training did not come to its end."""
        return mean(self.losses) if len(self.losses) == len(self.trials) else None

    @property
    def spread(self) -> float:
        """The difference of the largest and the smallest of `losses`."""
        return max(self.losses) - min(self.losses) if self.losses else 0.0

    @property
    def seconds(self) -> float:
        """The mean seconds of a training."""
        return mean(each.seconds for each in self.trials)

    @property
    def title(self) -> str:
        """The name, and that of the known cell whose formula it has."""
        known = next((name for name, formula in KNOWN.items() if str(formula) == self.formula), self.name)
        return self.name if known == self.name else f"{self.name} ({known})"

    @property
    def file(self) -> str:
        """The cell's file and class, as --cell takes them; empty for a known cell."""
        return "" if self.name in KNOWN else f"{CELLS}/{self.name}.py:{self.name.capitalize()}"


@dataclass(frozen=True)
class Report:
    """The result of a search. outcomes: the number of candidates by outcome. seconds: that these took."""

    settings: SearchSettings
    corpus: Mapping[str, Any]
    comparison: Comparison
    entries: Sequence[Entry]
    outcomes: Mapping[str, int]
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain JSON values."""
        return {
            "candidates": {outcome: self.outcomes.get(outcome, 0) for outcome in OUTCOMES},
            "seconds": round(self.seconds, 1),
            "steps": self.comparison.steps,
            "cells": [
                {
                    "name": entry.title,
                    "nats_per_char": entry.loss,
                    "losses": entry.losses,
                    "parameters": entry.trials[0].parameters,
                    "hidden": entry.trials[0].hidden,
                    "seconds": round(entry.seconds, 1),
                    "formula": entry.formula,
                    "cell": entry.file or None,
                }
                for entry in self.sorted
            ],
        }

    @property
    def sorted(self) -> list[Entry]:
        """The entries, the best first; those without a loss last."""
        return sorted(self.entries, key=lambda entry: (entry.loss is None, entry.loss))

    def __str__(self) -> str:
        """Return the report as lines for a terminal."""
        rows = [("", "nats/char", "parameters", "state", "seconds"), *map(_row, self.sorted)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        table = [
            "  ".join(
                cell.ljust(w) if n == 0 else cell.rjust(w) for n, (cell, w) in enumerate(zip(row, widths, strict=True))
            )
            for row in rows
        ]
        return "\n".join([self._tried, self._compared, "", *table, "", self.verdict])

    def markdown(self) -> str:
        """Return the report as a page."""
        rows = ["| cell | nats per character | parameters | size of the state | seconds |", "|---|---|---|---|---|"]
        rows += [f"| {' | '.join(_row(entry))} |" for entry in self.sorted]
        formulas = [f"## {entry.title}\n\n{_file(entry)}```text\n{entry.formula}\n```" for entry in self.sorted]
        parts = ["# Search", f"{self._tried} {self._compared}", "\n".join(rows), self.verdict, *formulas]
        return "\n\n".join(parts) + "\n"

    def origin(self, entry: Entry) -> str:
        """Return what the file of a cell says about it."""
        loss = "no loss" if entry.loss is None else f"{entry.loss:.4f} nats per character"
        return (
            f"A cell that edgernn search found: {loss} on {self.corpus['name']}, with {self._size(entry)} after "
            f"{counted(self.comparison.steps, 'step')}."
        )

    @property
    def verdict(self) -> str:
        """Return whether the search found something better than the known cells."""
        known = [entry for entry in self.sorted if entry.name in KNOWN and entry.loss is not None]
        new = [entry for entry in self.sorted if entry.name not in KNOWN and entry.loss is not None]
        if not known or not new or known[0].loss is None or new[0].loss is None:
            return "There is nothing to compare."
        less = known[0].loss - new[0].loss
        than = f"{'less' if less > 0 else 'more'} than {known[0].name}"
        said = f"{new[0].title} has {abs(less):.4f} nats per character {than}"
        if self.comparison.seeds == 1:
            return f"{said}, from one training of each; another seed may change the order."
        spread = max(entry.spread for entry in self.entries)
        return f"{said}; the seeds of one cell differ by up to {spread:.4f}."

    @property
    def _tried(self) -> str:
        counts = [f"{self.outcomes.get(each, 0):,} {each}" for each in OUTCOMES]
        total = counted(sum(self.outcomes.values()), "candidate")
        return f"{total} in {self.seconds / 60:.1f} minutes: {', '.join(counts)}."

    @property
    def _compared(self) -> str:
        steps, seeds = counted(self.comparison.steps, "step"), counted(self.comparison.seeds, "seed")
        return (
            f"The best were trained anew for {steps} beside {LSTM} and {GRU}, with {seeds}, and scored on the half of "
            "the held-out text by which no candidate was chosen."
        )

    @staticmethod
    def _size(entry: Entry) -> str:
        return f"{entry.trials[0].parameters:,} parameters"


def _row(entry: Entry) -> tuple[str, ...]:
    trial = entry.trials[0]
    if entry.loss is None:
        loss = next(each.outcome for each in entry.trials if each.reported is None)
    else:
        loss = f"{entry.loss:.4f}" + (f" ± {entry.spread / 2:.4f}" if len(entry.trials) > 1 else "")
    return entry.title, loss, f"{trial.parameters:,}", str(trial.hidden), f"{entry.seconds:.1f}"


def _file(entry: Entry) -> str:
    return f"`--cell {entry.file}`\n\n" if entry.file else ""
