"""Handwritten digits from a folder with MNIST's training files in the IDX format."""

from __future__ import annotations

import gzip
import zlib
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from edgernn.contract import Array
from edgernn.errors import CorpusError

__all__ = ["DIGITS_SIDE", "Digits", "read_digits"]

DIGITS_SIDE = 28  # pixels
_IMAGES, _LABELS = "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"
_BYTES = 8  # the code of unsigned bytes in an IDX header
_CLASSES = 10
_MOST = 1_000_000  # images: a header of a hostile file can claim billions
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
    images = _read_idx(folder / _IMAGES, (DIGITS_SIDE, DIGITS_SIDE))
    labels = _read_idx(folder / _LABELS, ())
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


def _read_idx(path: Path, shape: tuple[int, ...]) -> Array:
    """Read an IDX file of unsigned bytes (count, *shape)."""
    try:
        with gzip.open(path) as file:
            header = file.read(4 + 4 * (1 + len(shape)))
            magic, *sizes = np.frombuffer(header[: len(header) // 4 * 4], ">u4").tolist() or [0]
            if magic != (_BYTES << 8 | 1 + len(shape)) or tuple(sizes[1:]) != shape or not sizes or sizes[0] > _MOST:
                wanted = " x ".join(["count", *map(str, shape)])
                raise CorpusError(f"{path} is not an IDX file of unsigned bytes, {wanted}")
            size = int(np.prod(sizes))
            data = file.read(size + 1)
    except FileNotFoundError:
        raise CorpusError(f"{path} is missing: a folder of digits has {_IMAGES} and {_LABELS}") from None
    except (OSError, EOFError, zlib.error) as error:
        raise CorpusError(f"{path} cannot be read: {error}") from None
    if len(data) != size:
        raise CorpusError(f"{path} is cut off or has surplus data: its header announces {size:,} bytes")
    return np.frombuffer(data, np.uint8).reshape(sizes)
