"""Digits that edgernn draws itself, each as if by another hand: a data set of pictures that needs no download."""

from __future__ import annotations

import math

import numpy as np

from edgernn.contract import Array
from edgernn.data.captions import DEV, TEST, TRAIN
from edgernn.data.idx import LabelledPictures

__all__ = ["digit_stroke", "draw_digits"]

_SIDE = 28  # pixels
_COUNT = {TRAIN: 10_000, DEV: 1_000, TEST: 2_000}
_SIZE = 20  # pixels of a digit, about
_PEN = (0.8, 1.7)  # half the width of the stroke, in pixels
_TREMBLE = 0.025  # standard deviation of the points of a stroke, in parts of the size
_TURN, _SLANT = 0.2, 0.3  # radians at most, and the shift of the top by the height at most
_SCALE = (0.8, 1.1)
_SMOOTHINGS = 2
_DOTS = 2  # points of the stroke for each pixel of its length
_PIXELS = np.arange(_SIDE) + 0.5
_CORNERS = {1, 4, 7}  # digits whose corners stay sharp

# The points of the stroke of each digit, (x, y) from 0 to 100, y downwards.
_STROKES = (
    ((50, 8), (26, 20), (22, 50), (28, 80), (50, 92), (73, 80), (78, 50), (73, 20), (50, 8)),
    ((34, 26), (52, 8), (52, 92)),
    ((24, 30), (30, 12), (55, 6), (76, 20), (70, 45), (42, 70), (22, 91), (50, 90), (80, 90)),
    ((26, 14), (50, 6), (74, 20), (68, 40), (42, 47), (72, 58), (76, 78), (54, 93), (24, 85)),
    ((62, 92), (62, 8), (20, 62), (82, 62)),
    ((74, 10), (34, 10), (30, 46), (52, 40), (74, 52), (75, 76), (54, 92), (25, 84)),
    ((66, 8), (42, 26), (27, 60), (34, 86), (55, 93), (74, 77), (66, 55), (45, 52), (29, 68)),
    ((22, 10), (78, 10), (44, 92)),
    (
        *((50, 48), (28, 34), (32, 13), (50, 7), (69, 14), (71, 34), (50, 48)),
        *((27, 64), (29, 86), (50, 93), (73, 85), (72, 63), (50, 48)),
    ),
    ((70, 30), (60, 10), (40, 8), (27, 25), (34, 45), (56, 48), (71, 28), (68, 60), (60, 92)),
)  # fmt: skip


def draw_digits(part: str, seed: int = 0) -> LabelledPictures:
    """Return the drawn digits of a part, 28 x 28 pixels, which depend only on the seed; none for an unknown part."""
    count = _COUNT.get(part, 0)
    random = np.random.default_rng((seed, list(_COUNT).index(part) if count else 0))
    labels = random.integers(0, len(_STROKES), count).astype(np.uint8)
    images = [_draw(int(label), random) for label in labels]
    return LabelledPictures(np.array(images, np.uint8).reshape(count, _SIDE, _SIDE), labels)


def _draw(digit: int, random: np.random.Generator) -> Array:
    """Return a drawing of a digit: uint8 (28, 28), 255 for ink."""
    points = digit_stroke(digit, random) * _SIZE
    points = points - (points.min(axis=0) + points.max(axis=0)) / 2 + _SIDE / 2
    ink = random.uniform(*_PEN) - _distances(points) + 0.5
    return np.asarray(255 * np.clip(ink, 0, 1), np.uint8)


def digit_stroke(digit: int, random: np.random.Generator) -> Array:
    """Return the stroke of a digit, float64 (points, 2): x and y around 0, y downwards, about 1 high."""
    points = np.array(_STROKES[digit]) / 100 - 0.5
    points = points + random.normal(0, _TREMBLE, points.shape)
    for _ in range(0 if digit in _CORNERS else _SMOOTHINGS):
        points = _smoothed(points)
    angle = random.uniform(-_TURN, _TURN)
    turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    slant = np.array([[1.0, 0.0], [-random.uniform(-_SLANT, _SLANT), 1.0]])
    return np.asarray(points @ slant @ turn * random.uniform(*_SCALE, 2))


def _smoothed(points: Array) -> Array:
    """Return a stroke with its corners cut (Chaikin 1974)."""
    early, late = 0.75 * points[:-1] + 0.25 * points[1:], 0.25 * points[:-1] + 0.75 * points[1:]
    between = np.stack([early, late], axis=1).reshape(-1, 2)
    return np.concatenate([points[:1], between, points[-1:]])


def _distances(points: Array) -> Array:
    """Return the distance of each pixel from the stroke through points (points, 2): (28, 28)."""
    lengths = np.hypot(*np.diff(points, axis=0).T)
    passed = np.append(0, np.cumsum(lengths))
    places = np.linspace(0, passed[-1], max(2, round(_DOTS * passed[-1])))
    across, down = ((np.interp(places, passed, axis) - _PIXELS[:, None]) ** 2 for axis in points.T)  # (28, dots)
    return np.asarray(np.sqrt((down[:, None] + across[None]).min(axis=-1)))
