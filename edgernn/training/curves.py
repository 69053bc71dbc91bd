"""Figures as pictures: learning curves, and bars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from edgernn.errors import ConfigError, RunError
from edgernn.training.run import Run

__all__ = ["FORMATS", "check_picture", "labels", "plot_bars", "plot_curves"]

FORMATS = (".png", ".svg")


def check_picture(out: Path) -> None:
    """Raise ConfigError for a name that is no picture's, or leads nowhere."""
    if out.suffix not in FORMATS:
        raise ConfigError(f"--out {out}: a picture's name ends in {' or '.join(FORMATS)}")
    if not out.parent.is_dir():
        raise ConfigError(f"--out {out}: there is no directory {out.parent}")


def labels(runs: Sequence[Path]) -> list[str]:
    """What each of `runs` is called in a picture: as much of its path as tells it from the others."""
    paths = [run.resolve() for run in runs]
    length = 1
    while len({path.parts[-length:] for path in paths}) < len(set(paths)):
        length += 1
    names = ("/".join(path.parts[-length:]).replace("$", r"\$") for path in paths)
    return [f"run {name}" if name.startswith("_") else name for name in names]  # which matplotlib would leave out


def plot_curves(runs: Sequence[Path], out: Path) -> None:
    """Draw the task's metric of each run over the optimizer's steps, and beside it, thin, the training figure.

    Raises RunError for a run without evaluations, and ConfigError for runs of several tasks, whose metrics cannot share
    an axis, or for a name that is no picture's.
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
    for run, name in zip(loaded, labels(runs), strict=True):
        lines = run.metrics()
        if not lines:
            raise RunError(f"{run.path} has no evaluations yet: continue it with edgernn {run.resume}")
        values = [line[task.metric] for line in lines]
        best = max(values) if task.higher_is_better else min(values)
        (drawn,) = axes.plot([line["step"] for line in lines], values, marker=".", label=f"{name}: best {best:.4f}")
        trained = next((key for line in lines for key in line if key.startswith("train_")), None)
        points = [(line["step"], line[trained]) for line in lines if trained in line]
        if trained and points:
            thin.plot(*zip(*points, strict=True), color=drawn.get_color(), linewidth=0.7, alpha=0.6)
            thin_label = f"thin: {_words(trained)}"
    axes.set_xlabel("optimizer steps")
    metric = f"{_words(task.metric)}, held out"
    axes.set_ylabel(metric if thin is not axes else f"{metric} ({thin_label})")
    if thin is not axes:
        thin.set_ylabel(thin_label)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(out, dpi=120)


def _words(figure: str) -> str:
    return figure.replace("_", " ")


def plot_bars(values: Mapping[str, float], title: str, out: Path) -> None:
    """Draw one bar for each value, the first on top. Raises ConfigError for a name that is no picture's."""
    check_picture(out)
    figure = Figure(figsize=(8, 1 + 0.4 * len(values)), layout="constrained")
    axes = figure.subplots()
    names = [name.replace("$", r"\$") for name in values]
    bars = axes.barh(names, list(values.values()))
    axes.bar_label(bars, fmt="%.0f", padding=3)
    axes.invert_yaxis()
    axes.set_xlabel(title)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(out, dpi=120)
