"""Draw figures as pictures: learning curves, and bar charts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from edgernn.errors import ConfigError, RunError
from edgernn.training.run import Run

__all__ = ["FORMATS", "check_picture", "labels", "plot_bars", "plot_curves"]

FORMATS = (".png", ".svg")
_LONGEST = 40  # characters of a name in a picture
_RATIO = 10  # between the lengths of runs: above it, the axis of steps is logarithmic


def check_picture(out: Path) -> None:
    """Raise ConfigError for a file name without a suffix of a picture, or in a directory that does not exist."""
    if out.suffix not in FORMATS:
        raise ConfigError(f"{out}: a picture's name ends in {' or '.join(FORMATS)}")
    if not out.parent.is_dir():
        raise ConfigError(f"{out} cannot be written: there is no directory {out.parent}")


def labels(runs: Sequence[Path]) -> list[str]:
    """Return a label for each of `runs`: as much of its path as distinguishes it from the others."""
    paths = [run.resolve() for run in runs]
    length = 1
    while len({path.parts[-length:] for path in paths}) < len(set(paths)):
        length += 1
    names = (_shown("/".join(path.parts[-length:])) for path in paths)
    return [f"run {name}" if name.startswith("_") else name for name in names]  # which matplotlib would leave out


def plot_curves(runs: Sequence[Path], out: Path) -> None:
    """Draw the task's metric of each run over the optimizer steps, with the training figure as a thin line.

    The axis of steps is logarithmic if one run is more than ten times as long as another one.
    Raises RunError for a run without evaluations, and ConfigError for runs of several tasks, whose metrics cannot share
    an axis, or for an unsuitable file name.
    """
    check_picture(out)
    loaded = [Run.load(path) for path in runs]
    task = loaded[0].task
    if other := next((run for run in loaded if run.task.name != task.name), None):
        raise ConfigError(
            f"{other.path} is a run of the task {other.task.name}, and {loaded[0].path} of {task.name}: plot them apart"
        )
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    thin, thin_label = axes.twinx() if task.higher_is_better else axes, "thin: training"
    evaluations = [run.metrics() for run in loaded]
    if empty := next((run for run, lines in zip(loaded, evaluations, strict=True) if not lines), None):
        raise RunError(f"{empty.path} has no evaluations yet: continue it with edgernn {empty.resume}")
    for lines, name in zip(evaluations, labels(runs), strict=True):
        values = [line[task.metric] for line in lines]
        best = max(values) if task.higher_is_better else min(values)
        (drawn,) = axes.plot([line["step"] for line in lines], values, marker=".", label=f"{name}: best {best:.4f}")
        trained = next((key for line in lines for key in line if key.startswith("train_")), None)
        points = [(line["step"], line[trained]) for line in lines if trained in line]
        if trained and points:
            thin.plot(*zip(*points, strict=True), color=drawn.get_color(), linewidth=0.7, alpha=0.6)
            thin_label = f"thin: {_words(trained)}"
    longest = [lines[-1]["step"] for lines in evaluations]
    if max(longest) > _RATIO * min(longest):
        axes.set_xscale("log")
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.set_xlabel("optimizer steps" + (", logarithmic" if axes.get_xscale() == "log" else ""))
    axes.set_title(f"Learning curves of the task {task.name}")
    metric = f"{_words(task.metric)}, held out"
    axes.set_ylabel(metric if thin is not axes else f"{metric} ({thin_label})")
    if thin is not axes:
        thin.set_ylabel(thin_label)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(out, dpi=120)


def _words(figure: str) -> str:
    """The name of a figure as a picture shows it: "nats per char", "training loss"."""
    return figure.replace("train_", "training ", 1).replace("_", " ")


def _shown(name: str) -> str:
    """A name as a picture shows it: the end of a long one, and no sign that matplotlib would read as mathematics."""
    return (name if len(name) <= _LONGEST else f"…{name[1 - _LONGEST :]}").replace("$", r"\$")


def plot_bars(values: Mapping[str, float], title: str, out: Path) -> None:
    """Draw one bar for each value, the first at the top. Raises ConfigError for an unsuitable file name."""
    check_picture(out)
    figure = Figure(figsize=(8, 1 + 0.4 * len(values)), layout="constrained")
    axes = figure.subplots()
    places = range(len(values))
    bars = axes.barh(places, list(values.values()))
    axes.set_yticks(places, [_shown(name) for name in values])
    axes.bar_label(bars, fmt="%.0f", padding=3)
    axes.invert_yaxis()
    axes.set_xlabel(title)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(out, dpi=120)
