"""Draw a comparison of cells."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from edgernn.comparison.report import Row, artifact_names
from edgernn.comparison.results import Artifact

__all__ = ["plot_comparison"]


def plot_comparison(rows: Sequence[Row], out: Path) -> None:
    """Draw the losses, rates of training, step times and sizes of contenders, the first at the top.

    The line at a loss reaches from the lowest to the highest of the trainings.
    """
    names = artifact_names(rows)
    grid = (2, 2) if names else (1, 2)
    figure = Figure(figsize=(10, grid[0] * (1.2 + 0.35 * len(rows))), layout="constrained")
    panels: list[Axes] = list(figure.subplots(*grid, sharey=True, squeeze=False).flat)
    _draw_losses(panels[0], rows)
    _draw_rates(panels[1], rows)
    if names:
        _draw_artifacts(panels[2], rows, names, lambda each: each.micros, "µs per step of one stream")
        _draw_artifacts(panels[3], rows, names, lambda each: each.bytes / 1000, "kB")
        panels[3].legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize="small")
    panels[0].set_yticks(range(len(rows)), [row.name for row in rows])
    panels[0].invert_yaxis()  # of all panels, which share the axis
    for axes in panels:
        axes.grid(alpha=0.3)
    for axes in panels[1:]:
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    figure.savefig(out, dpi=120)


def _draw_losses(axes: Axes, rows: Sequence[Row]) -> None:
    for place, row in enumerate(rows):
        if row.loss is not None:
            axes.hlines(place, min(row.losses), max(row.losses), color="C0")
            axes.plot(row.losses, [place] * len(row.losses), "|", color="C0")
            axes.plot([row.loss], [place], "o", color="C0")
    axes.set_xlabel("nats per character, held out")


def _draw_rates(axes: Axes, rows: Sequence[Row]) -> None:
    axes.barh(range(len(rows)), [row.rate for row in rows])
    axes.set_xlabel("characters per second in training")


def _draw_artifacts(
    axes: Axes, rows: Sequence[Row], names: Sequence[str], value: Callable[[Artifact], float | None], title: str
) -> None:
    """Draw a value of the artifacts, in one colour for each target and precision."""
    for number, name in enumerate(names):
        points = [(value(row.artifacts[name]), place) for place, row in enumerate(rows) if name in row.artifacts]
        shown = [(x, y) for x, y in points if x is not None]
        axes.plot([x for x, _ in shown], [y for _, y in shown], "o", color=f"C{number % 10}", label=name)
    axes.set_xlim(left=0)
    axes.set_xlabel(title)
