"""Labelled pictures, in files or drawn, and the part of them that is held out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from edgernn.contract import Array
from edgernn.data.captions import DEV, TEST, TRAIN
from edgernn.data.drawn_digits import draw_digits
from edgernn.data.idx import LabelledPictures, idx_parts, read_pictures
from edgernn.data.parts import choose_part, held_out_at_random
from edgernn.data.scenes import COLOURS, SHAPES, SIDE, SIZES, Scene, Thing
from edgernn.data.sequences import PackedSequences
from edgernn.drawn_names import DIGITS, SCENES
from edgernn.errors import CorpusError, few

__all__ = [
    "HELD_OUT",
    "TRAIN",
    "Pictures",
    "in_colour",
    "open_part",
    "open_training",
    "part_to_evaluate",
]

HELD_OUT = "held-out"  # the part of a run that TRAIN leaves
_SCENES = {TRAIN: 6_000, DEV: 600, TEST: 1_000}
_FEWEST = 2  # pictures, of which one is held out


class Pictures(NamedTuple):
    """images: uint8, (pictures, height, width) if they are grey, else (pictures, height, width, 3).

    labels: int64 (pictures,), the place of the class among `classes`.
    """

    images: Array
    labels: Array
    classes: tuple[str, ...]

    def at(self, places: Array) -> Pictures:
        """Return some of the pictures."""
        return Pictures(self.images[places], self.labels[places], self.classes)

    def among(self, classes: Sequence[str], source: str) -> Pictures:
        """Return the pictures with their labels as places in `classes`. Raises CorpusError for one that is missing."""
        there = [self.classes[label] for label in np.unique(self.labels)]
        if strange := [name for name in there if name not in classes]:
            raise CorpusError(f"{source} has the class {strange[0]}, which is not among {few(classes)}")
        places = np.array([classes.index(name) if name in classes else -1 for name in self.classes])
        return Pictures(self.images, places[self.labels], tuple(classes))

    def write(self, folder: Path, name: str) -> dict[str, object]:
        """Write the pictures as packed sequences of one step, and return the record of them."""
        images = [image[None] for image in self.images]
        return PackedSequences.write(folder, name, images, self.labels.tolist()).to_json()


def open_training(source: str, held_out: float, seed: int) -> tuple[Pictures, Pictures]:
    """Return the pictures to train on, and those to evaluate on: a part dev, or else some that are chosen at random.

    source: a folder of IDX files, or the name of a drawn data set. held_out: the fraction of those that are chosen.
    Raises CorpusError for data that is missing, damaged or too small.
    """
    if source in (DIGITS, SCENES):
        return open_part(source, TRAIN), open_part(source, DEV)
    parts = idx_parts(Path(source))
    train = open_part(source, TRAIN if parts else None)
    if DEV in parts:
        return train, open_part(source, DEV).among(train.classes, source)
    count = len(train.labels)
    if count < _FEWEST:
        raise CorpusError(f"{source} has one picture to train on, and one must be held out: add more")
    own, kept = held_out_at_random(count, held_out, seed)
    return train.at(own), train.at(kept)


def open_part(source: str, part: str | None) -> Pictures:
    """Return the pictures of a part of a data set, or of all of it for None.

    Raises CorpusError for data that is missing or damaged, and a part that the drawn data does not have.
    """
    if source not in (DIGITS, SCENES):
        return _labelled(read_pictures(Path(source), part))
    if part not in _SCENES:
        raise CorpusError(f"there is no part {part} of the drawn {source}: there is {', '.join(_SCENES)}")
    return _scenes(part) if source == SCENES else _labelled(draw_digits(part))


def part_to_evaluate(source: str, split: str) -> tuple[str | None, list[str]]:
    """Return the part of the data to evaluate on, None for all of it, and what the user should know about it.

    Raises CorpusError for a part that the data does not have.
    """
    if source in (DIGITS, SCENES):
        return split, []
    return choose_part(source, idx_parts(Path(source)), split)


def in_colour(images: Array) -> Array:
    """Return pictures, grey (pictures, height, width) or not, as RGB (pictures, height, width, 3)."""
    return images if images.ndim > 3 else np.repeat(images[..., None], 3, axis=3)


def _labelled(pictures: LabelledPictures) -> Pictures:
    labels = pictures.labels.astype(np.int64)
    return Pictures(pictures.images, labels, tuple(map(str, range(int(labels.max()) + 1))))


def _scenes(part: str) -> Pictures:
    """Return drawn scenes of one thing each, whose class is its colour and shape."""
    random = np.random.default_rng((1, list(_SCENES).index(part)))
    kinds = [(colour, shape) for shape in SHAPES for colour in COLOURS]
    labels = random.integers(0, len(kinds), _SCENES[part])
    images = [_scene(colour, shape, random).read() for colour, shape in (kinds[label] for label in labels)]
    return Pictures(np.stack(images), labels, tuple(f"{colour} {shape}" for colour, shape in kinds))


def _scene(colour: str, shape: str, random: np.random.Generator) -> Scene:
    size = tuple(SIZES)[random.integers(len(SIZES))]
    x, y = (int(each) for each in random.integers(SIZES[size] + 1, SIDE - SIZES[size] - 1, 2))
    return Scene((Thing(size, colour, shape, x, y),), int(random.integers(20, 120)), int(random.integers(1 << 31)))
