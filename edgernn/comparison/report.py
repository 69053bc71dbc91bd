"""The rows of a comparison, and the table that shows them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from edgernn.comparison.plan import Plan
from edgernn.comparison.results import Artifact, Results, Training
from edgernn.errors import counted

__all__ = ["Row", "artifact_names", "rows_of", "table"]


@dataclass(frozen=True)
class Row:
    """What was found out about one contender.

    losses: of the trainings that ended well, in nats per character of the whole held-out text. diverged: the number of
    trainings that diverged. steps, rate: medians of all trainings; the rate is in characters per second, without
    evaluations. artifacts: by target and precision, such as "onnx int8".
    """

    name: str
    hidden: int
    parameters: int
    losses: tuple[float, ...] = ()
    diverged: int = 0
    steps: float = 0
    rate: float = 0.0
    artifacts: dict[str, Artifact] = field(default_factory=dict)

    @property
    def loss(self) -> float | None:
        """The median of the losses; None if there is none."""
        return statistics.median(self.losses) if self.losses else None

    def to_json(self) -> dict[str, Any]:
        """Return the row as plain JSON values, with the median and the spread of the losses."""
        spread = (min(self.losses), max(self.losses)) if self.losses else (None, None)
        return {
            **asdict(self),
            "losses": list(self.losses),
            "loss": self.loss,
            "lowest": spread[0],
            "highest": spread[1],
        }


def rows_of(plan: Plan, results: Results) -> list[Row]:
    """Return a row for each contender, the one with the lowest median loss first, those without a loss last."""
    rows = [_row(each.name, plan, results) for each in plan.contenders]
    return sorted(rows, key=lambda row: math.inf if row.loss is None else row.loss)


def artifact_names(rows: Iterable[Row]) -> list[str]:
    """Return the targets and precisions of all artifacts, such as "onnx int8", in their order."""
    return list(dict.fromkeys(name for row in rows for name in row.artifacts))


def table(plan: Plan, results: Results, left_out: Sequence[str] = ()) -> str:
    """Return the comparison as Markdown: how it was made, and tables of trainings, step times and sizes."""
    rows = rows_of(plan, results)
    names = artifact_names(rows)
    parts = [_about(plan, results), _trainings(rows)]
    if names:
        parts += [_of_artifacts("µs a step", rows, names, _micros), _of_artifacts("kB", rows, names, _kilobytes)]
    return "\n\n".join([*parts, *left_out]) + "\n"


def _row(name: str, plan: Plan, results: Results) -> Row:
    size = results.sizes[name]
    trainings = [results.trainings[name, seed] for seed in range(plan.seeds) if (name, seed) in results.trainings]
    ended = [each for each in trainings if each.ended]
    rates = [each.rate for each in ended if each.measured]
    return Row(
        name,
        size.hidden,
        size.parameters,
        tuple(each.loss for each in ended if each.loss is not None),
        sum(bool(each.diverged) for each in ended),
        statistics.median(each.steps for each in ended) if ended else 0,
        statistics.median(rates) if rates else 0.0,
        {
            f"{target} {precision}": each
            for (cell, target, precision), each in results.artifacts.items()
            if cell == name
        },
    )


def _about(plan: Plan, results: Results) -> str:
    largest = max(size.parameters for size in results.sizes.values())
    sentences = [
        f"Each cell was trained {'once' if plan.seeds == 1 else f'with {plan.seeds} seeds'} on "
        f"{', '.join(plan.sources)} with {plan.limits}, in a network of at most {largest:,} parameters.",
        "The loss is measured on the whole held-out text, in nats per character; median, lowest and highest.",
        f"Trained on {_machines(results.trainings.values())}.",
    ]
    if measured := [each for each in results.artifacts.values() if each.micros is not None]:
        sentences.append(f"Steps of one stream, medians, on {_machines(measured)}.")
    return "\n".join(sentences)


def _machines(measured: Iterable[Training | Artifact]) -> str:
    return " and ".join(dict.fromkeys(each.machine for each in measured if each.machine))


def _trainings(rows: Sequence[Row]) -> str:
    titles = ("cell", "units", "parameters", "loss", "lowest", "highest", "steps", "characters/s")
    return _markdown(titles, map(_training, rows))


def _training(row: Row) -> Iterator[str]:
    yield row.name
    yield f"{row.hidden:,}"
    yield f"{row.parameters:,}"
    yield _loss(row)
    yield f"{min(row.losses):.4f}" if row.losses else ""
    yield f"{max(row.losses):.4f}" if row.losses else ""
    yield f"{row.steps:,.0f}"
    yield f"{row.rate:,.0f}"


def _loss(row: Row) -> str:
    parts = [f"{row.loss:.4f}"] if row.loss is not None else []
    parts += [f"{counted(row.diverged, 'training')} diverged"] if row.diverged else []
    return "; ".join(parts)


def _of_artifacts(title: str, rows: Sequence[Row], names: Sequence[str], text: Callable[[Artifact], str]) -> str:
    """Return a table with a column for each target and precision."""
    cells = ([row.name, *(text(row.artifacts[n]) if n in row.artifacts else "" for n in names)] for row in rows)
    return _markdown([title, *names], cells)


def _micros(artifact: Artifact) -> str:
    return "" if artifact.micros is None else f"{artifact.micros:.0f}"


def _kilobytes(artifact: Artifact) -> str:
    return f"{artifact.bytes / 1000:,.0f}"


def _markdown(titles: Sequence[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [titles, ["---", *["--:"] * (len(titles) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
