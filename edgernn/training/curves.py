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
    """Draw the held-out loss of each run, and beside it the training loss, thin, over the optimiser's steps.

    Raises RunError for a run without evaluations, and ConfigError for a name that is no picture's.
    """
    check_picture(out)
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    for path, name in zip(runs, labels(runs), strict=True):
        lines = Run.load(path).metrics()
        if not lines:
            raise RunError(f"{path} has no evaluations yet")
        steps = [line["step"] for line in lines]
        held_out = [line["nats_per_char"] for line in lines]
        (drawn,) = axes.plot(steps, held_out, marker=".", label=f"{name}: best {min(held_out):.4f}")
        axes.plot(steps, [line["train_nats"] for line in lines], color=drawn.get_color(), linewidth=0.7, alpha=0.6)
    axes.set_xlabel("optimiser steps")
    axes.set_ylabel("nats per character, held out (thin: nats per token in training)")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(out, dpi=120)


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
