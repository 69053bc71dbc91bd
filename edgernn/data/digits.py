"""Handwritten digits from a folder with MNIST's training files in the IDX format."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from edgernn.contract import Array
from edgernn.data.idx import read_idx
from edgernn.errors import CorpusError

__all__ = ["DIGITS_SIDE", "Digits", "read_digits"]

DIGITS_SIDE = 28  # pixels
_IMAGES, _LABELS = "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"
_CLASSES = 10
_HELD_OUT = 12  # the last twelfth is held out: 5,000 of 60,000


class Digits(NamedTuple):
    """images: uint8 (digits, 28, 28), 255 for ink. labels: uint8 (digits,), 0 to 9."""

    images: Array
    labels: Array

    def parts(self) -> tuple[Digits, Digits]:
        """Return the digits for training, and the last twelfth, which is held out."""
        cut = len(self.labels) - len(self.labels) // _HELD_OUT
        return Digits(self.images[:cut], self.labels[:cut]), Digits(self.images[cut:], self.labels[cut:])


@cache  # a training opens its data several times
def read_digits(folder: Path) -> Digits:
    """Read `train-images-idx3-ubyte.gz` and `train-labels-idx1-ubyte.gz`.

    Raises CorpusError if a file is missing, damaged or of another format, if the files do not belong together, if an
    image is blank, or if one of the parts lacks a second kind of digit.
    """
    for name in (_IMAGES, _LABELS):
        if not (folder / name).exists():
            raise CorpusError(f"{folder / name} is missing: a folder of digits has {_IMAGES} and {_LABELS}")
    images = read_idx(folder / _IMAGES, (DIGITS_SIDE, DIGITS_SIDE))
    labels = read_idx(folder / _LABELS, ())
    if len(images) != len(labels):
        raise CorpusError(f"{folder / _IMAGES} has {len(images):,} images, but {_LABELS} has {len(labels):,} labels")
    if labels.max(initial=0) >= _CLASSES:
        raise CorpusError(f"{folder / _LABELS} has the label {labels.max()}, which is no digit")
    if not (inked := images.any(axis=(1, 2))).all():
        raise CorpusError(f"{folder / _IMAGES}: image {int(inked.argmin())} is blank")
    digits = Digits(images, labels)
    if any(len(np.unique(part.labels)) < 2 for part in digits.parts()):
        raise CorpusError(f"{folder} has too few digits: at least two kinds are needed, also among the last twelfth")
    return digits
