"""The stages of a training: how the network scored, and what it generated, at each of them."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from edgernn import records

__all__ = ["Stage", "is_early", "side_by_side", "spread"]

_EARLY = ("1", "3")  # the digits of early steps, before any zeros
_EMPTY_LINE = re.compile(r"^[ \t]*$", re.M)


@dataclass(frozen=True)
class Stage:
    """The network at one evaluation.

    passes: over the training data so far. figures: those on the held-out data that are finite, by name. score: the
    same in words. samples: outputs of the network, by name.
    """

    step: int
    passes: float
    figures: Mapping[str, float]
    score: str
    samples: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        """Return the stage as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """Read what `to_json` wrote. Raises FormatError for anything else."""
        stage = records.construct(cls, value, "a stage")
        records.integer(stage.step, "step")
        records.number(stage.passes, "passes")
        records.text(stage.score, "score")
        for name, figure in records.mapping(stage.figures, "figures").items():
            records.number(figure, name)
        for name, sample in records.mapping(stage.samples, "samples").items():
            records.text(sample, name)
        return stage


def is_early(step: int) -> bool:
    """Return whether early samples are drawn after `step`: 1, 3, 10, 30, 100 and so on."""
    return str(step).rstrip("0") in _EARLY


def spread(stages: Sequence[Stage], count: int) -> list[Stage]:
    """Return at most `count` of `stages`: the first, the last, and others by about equal ratios of their steps."""
    if len(stages) <= count:
        return list(stages)
    if count == 1:
        return [stages[-1]]
    places = [math.log(stage.step) for stage in stages]
    gap = (places[-1] - places[0]) / (count - 1)
    wanted = (places[0] + number * gap for number in range(count))
    nearest = {min(range(len(places)), key=lambda at: abs(places[at] - place)) for place in wanted}
    return [stages[at] for at in sorted(nearest)]


def side_by_side(texts: Sequence[tuple[str, str]], columns: int = 2) -> str:
    """Return a table in HTML of titles and the texts below them. It has no empty line, so Markdown takes it whole."""
    rows = [texts[begin : begin + columns] for begin in range(0, len(texts), columns)]
    return "\n".join(["<table>", *(line for row in rows for line in _row(row)), "</table>"])


def _row(texts: Sequence[tuple[str, str]]) -> list[str]:
    titles = "".join(f"<th>{html.escape(title)}</th>" for title, _ in texts)
    cells = "".join(
        f"<td valign='top'><pre>{_EMPTY_LINE.sub('&nbsp;', html.escape(text))}</pre></td>" for _, text in texts
    )
    return [f"<tr>{titles}</tr>", f"<tr>{cells}</tr>"]
