"""Drawn clips: short sequences of small pictures in which one event happens, with a label for every frame.

Coloured shapes, or handwritten digits, drift over a noisy background. In each clip, one event happens to one of them:

enters     it comes in through the border: the frames in which between 4 % and 96 % of its area are visible
leaves     it goes out through the border: likewise
bounces    it hits the border and turns back: `MOMENT` frames from the first one after the contact
collides   it hits another one, and the two exchange their velocities: likewise
changes    its shape (or the digit), its colour or both change from one frame to the next: likewise

All other things move straight on and touch neither the border nor each other. A contact lies half-way between two
frames, so the first frame of an event differs visibly from a motion that goes straight on, and a model that sees no
later frame can recognise it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from edgernn.contract import Array
from edgernn.data.captions import DEV, TEST, TRAIN
from edgernn.data.digits import DIGITS_SIDE, Digits, read_digits
from edgernn.errors import CorpusError
from edgernn.media.events import BACKGROUND

__all__ = [
    "CLIP_CLASSES",
    "FRAMES",
    "FRAME_CLASSES",
    "MOMENT",
    "SIDE",
    "Clip",
    "DrawnClips",
    "Handwriting",
    "MovingScene",
    "Thing",
    "draw_clip",
    "draw_scene",
    "draw_shapes",
]

SIDE = 32  # pixels
FRAMES = 24
MOMENT = 5  # frames: how long the label of a bounce, a collision or a change lasts
CLIP_CLASSES = ("enters", "bounces", "collides", "leaves", "changes")
FRAME_CLASSES = ("nothing", *CLIP_CLASSES)

_SPLITS = (TRAIN, DEV, TEST)
_COLOURS = np.array(
    [(225, 45, 45), (50, 185, 70), (70, 120, 255), (245, 215, 45), (180, 70, 205), (245, 245, 245)], np.float32
)
_SHAPES = ("square", "triangle", "cross", "ring")  # any two of them differ in at least 36 % of their area
_SMALLEST, _LARGEST = 6, 8  # widths of shapes, in pixels
_DIGIT = 0.4  # the size of a digit, as a part of the handwriting's
_INK = 0.25  # the opacity from which a pixel belongs to a digit, as a part of the highest
_FINE = 8  # a shape is drawn this many times finer and averaged, for anti-aliasing
_COARSE = 4  # the brightness of the background is drawn at random at this many places along each side
_EARLIEST, _LATEST = 7, 13  # the first frame of an event; as late as every event still ends within the clip
_SLOWEST, _FASTEST = 1.0, 2.0  # speeds through the border or towards it, in pixels per frame
_CLOSING = 0.7, 1.6  # speeds of two things towards each other
_DRIFT = 0.5  # the largest speed along other directions
_MOST_THINGS = 3
_SOME, _ALMOST_ALL = 0.04, 0.96  # of the area of a thing: less, or more, cannot be told from nothing, or from all
_MARGIN = 1.5  # smallest distance from the border and from other things, in pixels
_TRIES = 20  # to place things without an event

Random = np.random.Generator
DrawMasks = Callable[[Random, int], list[Array]]  # draws the opacities of things of different kinds


class Clip(NamedTuple):
    """frames: uint8 (frames, height, width, 3). label: of the clip, in CLIP_CLASSES. frame_labels: int64 (frames,)."""

    frames: Array
    label: int
    frame_labels: Array


@dataclass(frozen=True)
class Thing:
    """A moving shape or digit. Vectors are (y, x), in pixels from the top left corner.

    masks: its opacities (height, width) before and after the moment of the event. colours: (2, 3), likewise.
    at: its centre at the moment. velocities: (2, 2), in pixels per frame, before and after the moment.
    """

    masks: tuple[Array, Array]
    colours: Array
    at: Array
    velocities: Array
    moment: float

    @cached_property
    def half(self) -> Array:
        """Half of height and width."""
        return _half(self.masks)

    @cached_property
    def path(self) -> Array:
        """The centre in every frame: (frames, 2)."""
        return np.asarray(self.at + _offsets(self.velocities, self.moment))

    @cached_property
    def opacity(self) -> Array:
        """How much of the background it covers: float32 (frames, SIDE, SIDE), from 0 to 1."""
        cut = int(np.ceil(self.moment))
        return np.concatenate([_placed(self.masks[0], self.path[:cut]), _placed(self.masks[1], self.path[cut:])])

    @property
    def visible(self) -> Array:
        """The part of its area that is within the picture, in every frame, from 0 to 1: (frames,)."""
        areas = [float(mask.sum()) for mask in self.masks]
        return np.asarray(self.opacity.sum(axis=(1, 2)) / np.where(np.arange(FRAMES) < self.moment, *areas))

    def clear_of(self, other: Thing, gap: float = _MARGIN) -> bool:
        """Return whether the boxes around the two are at least `gap` pixels apart in every frame."""
        distances = np.abs(self.path - other.path) - self.half - other.half
        return bool((distances.max(axis=1) >= gap).all())

    def paint(self, canvas: Array) -> None:
        """Draw over `canvas`, float32 (frames, SIDE, SIDE, 3)."""
        first = np.arange(FRAMES)[:, None, None, None] < self.moment
        canvas += self.opacity[..., None] * (np.where(first, *self.colours) - canvas)


@dataclass(frozen=True)
class MovingScene:
    """The things of a clip; the event happens to the first. start: the first frame of the event."""

    label: int
    start: int
    things: tuple[Thing, ...]

    @property
    def frame_labels(self) -> Array:
        """The labels, in FRAME_CLASSES: int64 (frames,)."""
        frames, thing = np.arange(FRAMES), self.things[0]
        if CLIP_CLASSES[self.label] in ("enters", "leaves"):
            happening = (thing.visible > _SOME) & (thing.visible < _ALMOST_ALL)
        else:
            happening = (frames >= self.start) & (frames < self.start + MOMENT)
        return np.where(happening, 1 + self.label, BACKGROUND)

    def draw(self, random: Random) -> Array:
        """Return uint8 (frames, SIDE, SIDE, 3). random: of the background and its noise."""
        canvas = np.repeat(_background(random)[None], FRAMES, axis=0)
        for thing in self.things:
            thing.paint(canvas)
        most = int(random.integers(4, 13))
        canvas += random.integers(-most, most, canvas.shape, np.int8, endpoint=True)
        return np.clip(canvas, 0, 255, out=canvas).astype(np.uint8)


def draw_clip(seed: int, index: int, split: str = TRAIN, digits: Path | None = None) -> Clip:
    """Return clip `index` of the endless series of `split` and `seed`.

    digits: a folder with MNIST's files; the things are then digits: for training, of the first eleven twelfths of the
    images; for the other splits, of the last. By default they are shapes.
    Raises CorpusError if the digits cannot be read.
    """
    random = np.random.default_rng((seed, _SPLITS.index(split), index))
    scene = draw_scene(random, _masks(digits, split))
    return Clip(scene.draw(random), scene.label, scene.frame_labels)


@dataclass(frozen=True)
class DrawnClips:
    """The first `count` clips of a series. Each is drawn when it is read; see `draw_clip`."""

    count: int
    seed: int = 0
    split: str = TRAIN
    digits: Path | None = None

    def __post_init__(self) -> None:
        """Raise CorpusError for a split that does not exist."""
        if self.split not in _SPLITS:
            raise CorpusError(f"the drawn clips have no part {self.split}; they have {', '.join(_SPLITS)}")

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Clip:
        """Return a clip. Raises IndexError outside of the series, and CorpusError if the digits cannot be read."""
        if not 0 <= index < self.count:
            raise IndexError(f"there are {self.count:,} clips, and {index} is none of them")
        return draw_clip(self.seed, index, self.split, self.digits)

    def __iter__(self) -> Iterator[Clip]:
        return (self[index] for index in range(self.count))


def draw_scene(random: Random, masks: DrawMasks) -> MovingScene:
    """Return a random scene, whose class is each with the same probability. masks: draws the opacities of things."""
    label, start = int(random.integers(len(CLIP_CLASSES))), int(random.integers(_EARLIEST, _LATEST + 1))
    things = _EVENTS[CLIP_CLASSES[label]](random, masks, start - 0.5)
    wanted = int(random.integers(1, _MOST_THINGS + 1))
    for _ in range(_TRIES):
        if len(things) >= wanted:
            break
        other = _drifting(random, masks, start - 0.5)
        if all(other.clear_of(each) for each in things):
            things.append(other)
    return MovingScene(label, start, tuple(things))


def _enters(random: Random, masks: DrawMasks, moment: float) -> list[Thing]:
    return [_at_border(random, masks, moment, before=-1, after=-1)]


def _bounces(random: Random, masks: DrawMasks, moment: float) -> list[Thing]:
    return [_at_border(random, masks, moment, before=1, after=-1)]


def _leaves(random: Random, masks: DrawMasks, moment: float) -> list[Thing]:
    return [_at_border(random, masks, moment, before=1, after=1)]


def _at_border(random: Random, masks: DrawMasks, moment: float, before: int, after: int) -> Thing:
    """Return a thing that touches the border at the moment. before, after: 1 for outwards, -1 for inwards."""
    look = _look(random, masks)
    half, axis, side = _half(look), int(random.integers(2)), int(random.choice((-1, 1)))
    across = SIDE - 2 * half[axis] - _MARGIN  # the way from border to border
    limits = [_FASTEST]
    if before > 0:
        limits.append(across / moment)
    if after < 0:
        limits.append((across if before > 0 else SIDE - _MARGIN) / (FRAMES - 1 - moment))
    velocities = np.repeat(random.uniform(-_DRIFT, _DRIFT, (1, 2)), 2, axis=0)
    at = random.uniform(*_room(half, velocities, moment))
    at[axis] = SIDE / 2 + side * (SIDE / 2 - before * half[axis])
    velocities[:, axis] = side * random.uniform(_SLOWEST, min(limits)) * np.array((before, after))
    return Thing(look, _colours(random, 1)[[0, 0]], at, velocities, moment)


def _collides(random: Random, masks: DrawMasks, moment: float) -> list[Thing]:
    """Return two things that touch at the moment and exchange their velocities along the axis of the contact."""
    looks = [_look(random, masks) for _ in range(2)]
    halves = [_half(each) for each in looks]
    axis, side, rest = int(random.integers(2)), int(random.choice((-1, 1))), FRAMES - 1 - moment
    part = random.uniform(0.3, 0.7)  # of the first one in the closing speed
    way = max(part * moment, (1 - part) * rest) + max((1 - part) * moment, part * rest)
    room = SIDE - 2 * (halves[0][axis] + halves[1][axis] + _MARGIN)
    slowest, fastest = np.minimum(_CLOSING, room / way)
    closing = side * random.uniform(slowest, fastest)
    velocities = np.repeat(random.uniform(-_DRIFT, _DRIFT, (2, 1, 2)) / 2, 2, axis=1)
    velocities[0, :, axis] = closing * part, closing * (part - 1)
    velocities[1, :, axis] = velocities[0, ::-1, axis]
    apart = random.uniform(-1, 1, 2)
    apart[axis] = side * (halves[0][axis] + halves[1][axis])
    (low, high), (other_low, other_high) = map(_room, halves, velocities, (moment, moment))
    low, high = np.maximum(low, other_low - apart), np.minimum(high, other_high - apart)
    at = random.uniform(low, np.maximum(low, high))  # at the highest speed, the two are equal but for rounding
    colours, places = _colours(random, 2), (at, at + apart)
    return [Thing(looks[i], colours[[i, i]], places[i], velocities[i], moment) for i in range(2)]


def _changes(random: Random, masks: DrawMasks, moment: float) -> list[Thing]:
    kinds, colours = random.choice([(1, 2), (2, 1), (2, 2)])
    return [_drifting(random, masks, moment, int(kinds), int(colours))]


_EVENTS: dict[str, Callable[[Random, DrawMasks, float], list[Thing]]] = dict(
    zip(CLIP_CLASSES, (_enters, _bounces, _collides, _leaves, _changes), strict=True)
)


def _drifting(random: Random, masks: DrawMasks, moment: float, kinds: int = 1, colours: int = 1) -> Thing:
    """Return a thing that moves straight on within the picture. kinds, colours: 2 if they change at the moment."""
    look = _look(random, masks, kinds)
    velocities = np.repeat(random.uniform(-_DRIFT, _DRIFT, (1, 2)), 2, axis=0)
    at = random.uniform(*_room(_half(look), velocities, moment))
    return Thing(look, _colours(random, colours)[[0, -1]], at, velocities, moment)


def _room(half: Array, velocities: Array, moment: float) -> tuple[Array, Array]:
    """Return the lowest and the highest places (y, x) at the moment for which the whole path is within the picture."""
    offsets = _offsets(velocities, moment)
    low, high = half + _MARGIN, SIDE - half - _MARGIN
    return low - offsets.min(axis=0), high - offsets.max(axis=0)


def _offsets(velocities: Array, moment: float) -> Array:
    """Return the way from the place at the moment, in every frame: (frames, 2)."""
    times = np.arange(FRAMES)[:, None] - moment
    return np.asarray(np.where(times < 0, *velocities) * times)


def _look(random: Random, masks: DrawMasks, kinds: int = 1) -> tuple[Array, Array]:
    """Return the opacities before and after the moment, which differ if there are two kinds."""
    drawn = masks(random, kinds)
    return drawn[0], drawn[-1]


def _half(masks: tuple[Array, Array]) -> Array:
    return np.maximum(masks[0].shape, masks[1].shape) / 2


def _colours(random: Random, count: int) -> Array:
    """Return different colours: float32 (count, 3)."""
    return _COLOURS[random.permutation(len(_COLOURS))[:count]]


def draw_shapes(random: Random, count: int) -> list[Array]:
    """Return the opacities of different shapes of the same size: float32 (size, size), from 0 to 1, each."""
    size = int(random.integers(_SMALLEST, _LARGEST + 1))
    return [_shape(_SHAPES[kind], size) for kind in random.permutation(len(_SHAPES))[:count]]


@cache
def _shape(kind: str, size: int) -> Array:
    fine = np.linspace(-1, 1, size * _FINE)
    y, x = fine[:, None], fine[None]
    radius = x**2 + y**2
    inside = {
        "square": np.full(radius.shape, True),
        "triangle": 2 * np.abs(x) <= y + 1,
        "cross": np.minimum(np.abs(x), np.abs(y)) <= 0.35,
        "ring": (radius <= 1) & (radius >= 0.3),
    }[kind]
    return np.asarray(inside.reshape(size, _FINE, size, _FINE).mean(axis=(1, 3), dtype=np.float32))


@dataclass(frozen=True)
class Handwriting:
    """Draws the opacities of handwritten digits, as `draw_shapes` does those of shapes."""

    digits: Digits

    def __call__(self, random: Random, count: int) -> list[Array]:
        """Return the opacities of digits of different classes, without empty rows and columns at the sides."""
        found: dict[int, Array] = {}
        while len(found) < count:
            index = int(random.integers(len(self.digits.labels)))
            found.setdefault(int(self.digits.labels[index]), self.digits.images[index])
        return [_shrunk(image) for image in found.values()]


def _shrunk(image: Array) -> Array:
    """Return the opacities of a digit that is not blank, scaled down and cut out."""
    reduce = _reduction()
    opacity = np.minimum(reduce @ (image / np.float32(255)) @ reduce.T * 1.6, 1)
    inked = opacity > _INK * opacity.max()
    rows, columns = (np.flatnonzero(inked.any(axis=axis)) for axis in (1, 0))
    return opacity[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


@cache
def _reduction() -> Array:
    """Return the matrix that averages the rows of a digit to fewer: float32 (small, large)."""
    small = round(DIGITS_SIDE * _DIGIT)
    edges = np.linspace(0, DIGITS_SIDE, small + 1)
    pixel = np.arange(DIGITS_SIDE)
    overlap = np.minimum(edges[1:, None], pixel + 1) - np.maximum(edges[:-1, None], pixel)
    return np.asarray(np.maximum(overlap, 0) * small / DIGITS_SIDE, np.float32)


@cache
def _masks(digits: Path | None, split: str) -> DrawMasks:
    """Return what draws the things of a split."""
    if digits is None:
        return draw_shapes
    train, held_out = read_digits(digits).parts()
    return Handwriting(train if split == TRAIN else held_out)


def _placed(mask: Array, path: Array) -> Array:
    """Return opacities (frames, SIDE, SIDE) of a thing whose centre is at `path` (frames, 2)."""
    rows, columns = (_weights(path[:, axis], mask.shape[axis]) for axis in (0, 1))
    return np.asarray(rows @ mask @ columns.transpose(0, 2, 1))


def _weights(centres: Array, size: int) -> Array:
    """Return how `size` pixels around each centre are spread over SIDE pixels: float32 (centres, SIDE, size)."""
    places = centres[:, None] + np.arange(size) - (size - 1) / 2
    distances = np.abs(np.arange(SIDE)[:, None] + 0.5 - places[:, None])
    return np.asarray(np.maximum(0, 1 - distances), np.float32)


def _background(random: Random) -> Array:
    """Return a dark background with smooth differences in brightness and colour: float32 (SIDE, SIDE, 3)."""
    coarse = random.uniform(20, 80) + random.normal(0, 10, (_COARSE, _COARSE, 1)) + random.normal(0, 5, (1, 1, 3))
    spread = _spread()
    smooth = (spread @ coarse.transpose(2, 0, 1) @ spread.T).transpose(1, 2, 0)
    return np.asarray(smooth + random.normal(0, 3, (SIDE, SIDE, 1)), np.float32)


@cache
def _spread() -> Array:
    """Return the weights of linear interpolation from _COARSE values to SIDE pixels: (SIDE, _COARSE)."""
    places = np.linspace(0, _COARSE - 1, SIDE)[:, None]
    return np.asarray(np.maximum(0, 1 - np.abs(places - np.arange(_COARSE))))
