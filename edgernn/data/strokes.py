"""Drawings as strokes, in files or drawn by edgernn, and the part of them that is held out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edgernn.contract import Array
from edgernn.data.captions import DEV, TEST, TRAIN
from edgernn.data.drawn_digits import digit_stroke
from edgernn.data.parts import choose_part, held_out_at_random
from edgernn.data.sequences.layouts import NUMBERS, Source, find_files
from edgernn.drawn_names import DIGITS
from edgernn.errors import CorpusError
from edgernn.media.strokes import from_lines, read_npz_drawings

__all__ = ["drawn_numbers", "open_drawings", "open_training", "part_to_evaluate"]

_DRAWN = {TRAIN: 5_000, DEV: 500, TEST: 1_000}
_SUFFIX = ".npz"
_FEWEST = 2  # drawings, of which one is held out
_MOST_DIGITS = 3
_UNITS = 100  # the height of a drawn digit, about
_APART = 0.9  # the distance of neighbouring digits, in parts of their height


def open_training(source: str, held_out: float, seed: int) -> tuple[list[Array], list[Array]]:
    """Return the drawings to train on, and those to evaluate on: a part dev, or else some that are chosen at random.

    source: a folder of `.npz` files or one such file, or the word digits. held_out: the fraction of those that are
    chosen. Each drawing is int16 (points, 3): dx, dy, and 1 where the pen lifts, else 0.
    Raises CorpusError for data that is missing, damaged or too small.
    """
    if DEV in _parts(source):
        return open_drawings(source, TRAIN), open_drawings(source, DEV)
    drawings = open_drawings(source, TRAIN if _parts(source) else None)
    if len(drawings) < _FEWEST:
        raise CorpusError(f"{source} has one drawing to train on, and one must be held out: add more")
    train, kept = (
        [drawings[place] for place in places] for places in held_out_at_random(len(drawings), held_out, seed)
    )
    return train, kept


def open_drawings(source: str, part: str | None) -> list[Array]:
    """Return the drawings of a part of a data set, or of all of it for None.

    Raises CorpusError for data that is missing or damaged, and a part that the data does not have.
    """
    if source == DIGITS:
        if part not in _DRAWN:
            raise CorpusError(f"there is no part {part} of the drawn {source}: there is {', '.join(_DRAWN)}")
        return drawn_numbers(part)
    return [each for file in _files(source).part(part) for each in read_npz_drawings(file.path)]


def part_to_evaluate(source: str, split: str) -> tuple[str | None, list[str]]:
    """Return the part of the data to evaluate on, None for all of it, and what the user should know about it.

    Raises CorpusError for a part that the data does not have.
    """
    return choose_part(source, _parts(source), split)


def drawn_numbers(part: str) -> list[Array]:
    """Return numbers of one to three digits as int16 (points, 3), each digit a stroke, which depend only on `part`."""
    random = np.random.default_rng((2, list(_DRAWN).index(part)))
    return [_number(random.integers(0, 10, random.integers(1, _MOST_DIGITS + 1)), random) for _ in range(_DRAWN[part])]


def _number(digits: Sequence[int] | Array, random: np.random.Generator) -> Array:
    strokes = [digit_stroke(int(digit), random) + np.array([_APART * at, 0]) for at, digit in enumerate(digits)]
    return from_lines([np.rint(_UNITS * stroke) for stroke in strokes]).astype(np.int16)


def _parts(source: str) -> Sequence[str]:
    if source == DIGITS:
        return list(_DRAWN)
    return _files(source).parts


def _files(source: str) -> Source:
    """Find the `.npz` files at a path. Raises CorpusError if there are none."""
    path = Path(source)
    files = path.rglob("*") if path.is_dir() else [path]
    if path.exists() and not any(each.suffix.lower() == _SUFFIX for each in files):
        raise CorpusError(f"{source} has no npz files: drawings are read from npz files, as docs/pens.md describes")
    return find_files(path, NUMBERS)
