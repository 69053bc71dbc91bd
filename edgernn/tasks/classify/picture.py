"""Draw a confusion matrix."""

from __future__ import annotations

from pathlib import Path

from edgernn.errors import ConfigError, MissingExtraError
from edgernn.tasks.classify.score import ClassifyScore

__all__ = ["draw_confusion"]

_INCHES = 0.45  # for each class
_LEAST = 4.0  # inches
_DARK = 0.5  # the share from which a count is written in white


def draw_confusion(score: ClassifyScore, out: Path) -> None:
    """Write a picture of the confusion matrix: a row for each true class, coloured by its share of the row.

    Raises MissingExtraError without matplotlib, ConfigError for a file that cannot be written.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError("matplotlib", "--confusion") from None
    count = len(score.classes)
    side = max(_LEAST, _INCHES * count + 2)
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.add_subplot()
    shares = score.confusion / score.confusion.sum(axis=1, keepdims=True).clip(1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row in range(count):
        for column in range(count):
            if score.confusion[row, column]:
                colour = "white" if shares[row, column] > _DARK else "black"
                text = f"{score.confusion[row, column]:,}"
                axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=8)
    axes.set_xticks(range(count), score.classes, rotation=90)
    axes.set_yticks(range(count), score.classes)
    axes.set_xlabel("given class")
    axes.set_ylabel("true class (colour: share of the row)")
    axes.set_title(f"accuracy {100 * score.accuracy:.1f} % on {score.count:,} sequences")
    try:
        figure.savefig(out, dpi=100)
    except (OSError, ValueError) as error:
        raise ConfigError(f"--confusion {out} cannot be written: {error}") from None
