"""The confusion matrix of a classifier or tagger, and the figures that follow from it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgernn.contract import Array

__all__ = ["Confusion"]

_NAMED = 3  # confusions in the text
_SHOWN, _LETTERS = 20, 4  # classes of a matrix as text, and the letters of a name above a column


@dataclass(frozen=True)
class Confusion:
    """How often each class was given for each true class.

    classes: names. confusion: counts (true class, given class).
    """

    classes: tuple[str, ...]
    confusion: Array

    @property
    def count(self) -> int:
        """The number of labels."""
        return int(self.confusion.sum())

    @property
    def accuracy(self) -> float:
        """The share of labels that are right."""
        return float(self.confusion.trace() / self.confusion.sum())

    @property
    def balanced_accuracy(self) -> float:
        """The mean over the classes that occur of the share of their labels that are right."""
        counts = self.confusion.sum(axis=1)
        there = counts > 0
        return float((self.confusion.diagonal()[there] / counts[there]).mean())

    @property
    def confusions(self) -> list[tuple[str, str, int]]:
        """The true class, the given class and the count of each confusion, the most frequent first."""
        pairs = [
            (self.classes[right], self.classes[wrong], int(count))
            for (right, wrong), count in np.ndenumerate(self.confusion)
            if right != wrong and count
        ]
        return sorted(pairs, key=lambda pair: -pair[2])

    @property
    def most_confused(self) -> str:
        """The most frequent confusions in words, after a semicolon; "" without any."""
        named = [f"{right} taken for {wrong} ({count:,})" for right, wrong, count in self.confusions[:_NAMED]]
        return f"; most confused: {', '.join(named)}" if named else ""

    @property
    def table(self) -> str:
        """The confusion matrix as text: a row for each true class, and columns in the same order; "" above 20 classes.

        Names above the columns are cut to four letters, or to the width of the counts.
        """
        if len(self.classes) > _SHOWN:
            return ""
        width = max(_LETTERS, len(f"{self.confusion.max():,}"))
        title = "true class"
        margin = max(map(len, (*self.classes, title)))
        rows = [(title, [name[:width] for name in self.classes])]
        rows += [
            (name, [f"{n:,}" if n else "·" for n in row])
            for name, row in zip(self.classes, self.confusion, strict=True)
        ]
        return "\n".join(
            " ".join([f"{name:{margin}}", *(f"{cell:>{width}}" for cell in cells)]) for name, cells in rows
        )
