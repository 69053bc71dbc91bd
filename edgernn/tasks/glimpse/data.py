"""The data of networks that look by glimpses: open labelled pictures, vary them, and place them on a canvas."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional

from edgernn.contract import Array
from edgernn.data.captions import DEV, TEST, TRAIN
from edgernn.data.drawn_digits import draw_digits
from edgernn.data.idx import LabelledPictures, idx_parts, read_pictures
from edgernn.data.scenes import COLOURS, SHAPES, SIDE, SIZES, Scene, Thing
from edgernn.errors import ConfigError, CorpusError, few
from edgernn.tasks.glimpse.settings import DIGITS, SCENES, GlimpseData

__all__ = ["HELD_OUT", "TRAIN", "Canvas", "Pictures", "in_colour", "open_part", "open_training", "vary"]

HELD_OUT = "held-out"  # the part of a run that TRAIN leaves
_SCENES = {TRAIN: 6_000, DEV: 600, TEST: 1_000}
_PIECE = 8  # pixels, the side of a piece of clutter
_TURN, _SLANT, _SCALE = 0.18, 0.15, 0.1  # radians, shift of the top by the height, relative change; at most
_SHIFT = 0.07  # of the side, at most
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


def open_training(source: str, settings: GlimpseData, seed: int) -> tuple[Pictures, Pictures]:
    """Return the pictures to train on, and those to evaluate on: a part dev, or else some that are chosen at random.

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
    order = np.random.default_rng(seed).permutation(count)
    cut = min(max(1, round(settings.held_out * count)), count - 1)
    return train.at(np.sort(order[cut:])), train.at(np.sort(order[:cut]))


def open_part(source: str, part: str | None) -> Pictures:
    """Return the pictures of a part of a data set, or of all of it for None.

    Raises CorpusError for data that is missing or damaged, and a part that the drawn data does not have.
    """
    if source not in (DIGITS, SCENES):
        return _labelled(read_pictures(Path(source), part))
    if part not in _SCENES:
        raise CorpusError(f"there is no part {part} of the drawn {source}: there is {', '.join(_SCENES)}")
    return _scenes(part) if source == SCENES else _labelled(draw_digits(part))


def _labelled(pictures: LabelledPictures) -> Pictures:
    labels = pictures.labels.astype(np.int64)
    return Pictures(pictures.images, labels, tuple(map(str, range(int(labels.max()) + 1))))


@dataclass(frozen=True)
class Canvas:
    """A square black canvas of a side in pixels, on which a picture is placed at random.

    clutter: the number of pieces of other pictures, 8 x 8 pixels, that are added at random.
    """

    side: int
    clutter: int

    def check(self, images: Array, source: str) -> None:
        """Raise ConfigError unless images (pictures, height, width) can be placed."""
        if images.ndim > 3:
            raise ConfigError(f"--canvas places grey pictures, and those of {source} are coloured: leave it out")
        height, width = images.shape[1:]
        if max(height, width) > self.side:
            raise ConfigError(
                f"--canvas {self.side} is smaller than the pictures of {source}, {width} × {height} pixels"
            )

    def place(self, images: Array, others: Array, random: np.random.Generator) -> Array:
        """Return images (pictures, height, width) on canvases (pictures, side, side). others: of which pieces are."""
        placed = np.zeros((len(images), self.side, self.side), np.uint8)
        for canvas, image in zip(placed, images, strict=True):
            self._add(canvas, image, random)
            for which in random.integers(0, len(others), self.clutter):
                self._add(canvas, _piece(others[which], random), random)
        return placed

    def _add(self, canvas: Array, image: Array, random: np.random.Generator) -> None:
        """Add an image (height, width) to a canvas at a random place; the brighter pixel wins."""
        top, left = (int(random.integers(0, self.side - size + 1)) for size in image.shape)
        there = canvas[top : top + len(image), left : left + image.shape[1]]
        np.maximum(there, image, out=there)


def _piece(image: Array, random: np.random.Generator) -> Array:
    """Return a random piece of an image (height, width)."""
    top, left = (int(random.integers(0, max(1, size - _PIECE + 1))) for size in image.shape)
    return image[top : top + _PIECE, left : left + _PIECE]


def vary(images: Array, random: np.random.Generator) -> Array:
    """Return images (pictures, height, width, ...), bytes, turned, slanted, scaled and shifted a little at random."""
    count = len(images)
    turn, slant = random.uniform(-_TURN, _TURN, count), random.uniform(-_SLANT, _SLANT, count)
    across, down = 1 + random.uniform(-_SCALE, _SCALE, (2, count))
    moved = 2 * random.uniform(-_SHIFT, _SHIFT, (2, count))
    cos, sin = np.cos(turn), np.sin(turn)
    # Each map is a rotation, times a shear, times a scaling, and a shift.
    rows = [[across * cos, down * (slant * cos - sin), moved[0]], [across * sin, down * (slant * sin + cos), moved[1]]]
    maps = torch.from_numpy(np.array(rows, np.float32).transpose(2, 0, 1).copy())
    pixels = torch.from_numpy(images.reshape(*images.shape[:3], -1)).permute(0, 3, 1, 2).float()
    grid = functional.affine_grid(maps, list(pixels.shape), align_corners=False)
    varied = functional.grid_sample(pixels, grid, padding_mode="border", align_corners=False)
    return varied.round().to(torch.uint8).permute(0, 2, 3, 1).reshape(images.shape).numpy()


def in_colour(images: Array) -> Array:
    """Return pictures, grey (pictures, height, width) or not, as RGB (pictures, height, width, 3)."""
    return images if images.ndim > 3 else np.repeat(images[..., None], 3, axis=3)


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
