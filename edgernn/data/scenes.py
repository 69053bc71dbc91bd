"""Drawn scenes with true captions: a data set that needs no download, with captions that can be checked automatically.

A scene has one coloured shape, two shapes in a spatial relation, or several equal shapes. Some combinations of colour
and shape occur only in the split "novel", not in training, which shows whether a model generalises to them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import product

import numpy as np

from edgernn.contract import Array
from edgernn.data.captions import DEV, TEST, TRAIN, CaptionDataset
from edgernn.errors import MissingExtraError
from edgernn.media.image import LARGEST_SIDE

__all__ = ["NOVEL", "SIDE", "Scene", "Thing", "draw_scenes"]

NOVEL = "novel"
SIDE = 64  # pixels
COLOURS = {
    "red": (214, 40, 40),
    "green": (44, 160, 60),
    "blue": (40, 80, 210),
    "yellow": (240, 210, 40),
    "purple": (140, 50, 170),
    "white": (245, 245, 245),
}
SHAPES = ("circle", "square", "triangle", "cross")
SIZES = {"small": 5, "large": 10}  # half the width, in pixels
COUNTS = {2: "two", 3: "three", 4: "four"}
UNSEEN = frozenset({("red", "triangle"), ("green", "circle"), ("blue", "cross"), ("yellow", "square")})
_COLUMNS, _ROWS = ("left", "", "right"), ("top", "", "bottom")
_COUNT = {TRAIN: 12_000, DEV: 500, TEST: 1000, NOVEL: 1000}
_FINE = 4  # the canvas is this many times finer than the image, for anti-aliasing
_APART = 3  # smallest gap between two things, in pixels
_CLEARLY = 8  # smallest distance, in pixels, for "left of" and "above"
_TRIES = 100


@dataclass(frozen=True)
class Thing:
    """A shape. x, y: its centre, in pixels from the left and from the top."""

    size: str
    colour: str
    shape: str
    x: int
    y: int

    @property
    def kind(self) -> str:
        """Size, colour and shape in words, such as "small red circle"."""
        return f"{self.size} {self.colour} {self.shape}"

    @property
    def place(self) -> str:
        """The ninth of the image in which the thing is, in words."""
        row, column = _ROWS[3 * self.y // SIDE], _COLUMNS[3 * self.x // SIDE]
        if row and column:
            return f"in the {row} {column}"
        return f"at the {row}" if row else f"on the {column}" if column else "in the centre"


_THING = rf"(?:{'|'.join(SIZES)}) (?:{'|'.join(COLOURS)}) (?:{'|'.join(SHAPES)})"
_SOME = rf"a {_THING}|(?:{'|'.join(COUNTS.values())}) {_THING}(?:e?s)"
_RELATION = "to the left of|to the right of|above|below"
_PLACE = "(?:in|at|on) the [a-z]+(?: [a-z]+)?"
_SENTENCE = re.compile(
    rf"(?:there (?P<verb>is|are) )?(?P<one>{_SOME})"
    rf"(?: (?P<place>{_PLACE})|(?: is)? (?P<relation>{_RELATION}) (?P<other>{_SOME})| and (?P<more>{_SOME}))?"
)


@dataclass(frozen=True)
class Scene:
    """A scene. ground: the grey level of the background. seed: of the noise and of the order of its captions."""

    things: tuple[Thing, ...]
    ground: int
    seed: int

    @property
    def name(self) -> str:
        """The name of the scene in messages."""
        return f"scene {self.seed}"

    @property
    def key(self) -> str:
        """A text that changes when the image changes."""
        return repr(self)

    @cached_property
    def captions(self) -> tuple[str, ...]:
        """Five true captions."""
        first, last = self.things[0], self.things[-1]
        if first.kind == last.kind and len(self.things) > 1:
            said = self._several(self.things)
            sentences = [said, f"there are {said}"]
        elif len(self.things) == 1:
            a = f"a {first.kind}"
            sentences = [f"{a} {first.place}", f"there is {a} {first.place}", a, f"there is {a}"]
        elif len(self.things) > 2:
            some, a = self._several([each for each in self.things if each.kind == first.kind]), f"a {last.kind}"
            sentences = [f"{some} and {a}", f"{a} and {some}", f"there are {some} and {a}"]
        else:
            sentences = _relations(first, last)
        return tuple(sentences[place % len(sentences)] for place in range(self.seed, self.seed + 5))

    @staticmethod
    def _several(things: Sequence[Thing]) -> str:
        return f"{COUNTS[len(things)]} {_plural(things[0].kind)}"

    def read(self, largest_side: int = LARGEST_SIDE) -> Array:
        """Return the image (SIDE, SIDE, 3), whatever `largest_side` is."""
        try:
            from PIL import Image, ImageDraw
        except ImportError:
            raise MissingExtraError("PIL", "image") from None
        canvas = Image.new("RGB", (SIDE * _FINE, SIDE * _FINE), (self.ground,) * 3)
        pen = ImageDraw.Draw(canvas)
        for thing in self.things:
            _draw(pen, thing)
        pixels = np.asarray(canvas.reduce(_FINE)).astype(np.int16)
        noise = np.random.default_rng(self.seed).normal(0, 4, pixels.shape)
        return np.clip(pixels + noise, 0, 255).astype(np.uint8)

    def allows(self, caption: str) -> bool:
        """Return whether a caption follows the grammar and is true of the image."""
        match = _SENTENCE.fullmatch(" ".join(caption.lower().split()))
        if match is None:
            return False
        some = [match[name] for name in ("one", "other", "more") if match[name]]
        groups = [self._meant(each) for each in some]
        if not all(groups) or (len(some) > 1 and some[0] == some[1]):
            return False
        if match["verb"] and match["verb"] != ("is" if len(groups[0]) == 1 else "are"):
            return False
        first = groups[0][0]
        if match["place"]:
            return len(groups[0]) == 1 and first.place == match["place"]
        if match["relation"]:
            other = groups[1][0]
            return len(groups[0]) == len(groups[1]) == 1 and match["relation"] in _standing(first, other)
        return True

    def _meant(self, some: str) -> list[Thing]:
        """Return the things that a phrase such as "two small red circles" describes, or [] if it is not true."""
        count, _, kind = some.partition(" ")
        plural = count != "a"
        found = [each for each in self.things if kind == (_plural(each.kind) if plural else each.kind)]
        return found if count == COUNTS.get(len(found), "a" if len(found) == 1 else "") else []


@cache  # a training opens its data several times
def draw_scenes(seed: int = 0) -> CaptionDataset:
    """Return the scenes of every split, which depend only on the seed."""
    return CaptionDataset({split: _scenes(split, count, seed) for split, count in _COUNT.items()})


def _scenes(split: str, count: int, seed: int) -> list[Scene]:
    random = np.random.default_rng((seed, list(_COUNT).index(split)))
    scenes: list[Scene] = []
    while len(scenes) < count:
        scene = _scene(random)
        unseen = any((thing.colour, thing.shape) in UNSEEN for thing in scene.things)
        if unseen == (split == NOVEL):
            scenes.append(scene)
    return scenes


def _scene(random: np.random.Generator) -> Scene:
    kinds = list(product(SIZES, COLOURS, SHAPES))
    first, second = (kinds[place] for place in random.choice(len(kinds), 2, replace=False))
    chosen = random.random()
    if chosen < 0.3:
        wanted = [first]
    elif chosen < 0.6:
        wanted = [first, second]
    elif chosen < 0.85:
        wanted = [first] * int(random.integers(2, 5))
    else:
        wanted = [*[first] * int(random.integers(2, 4)), second]
    things = _placed(wanted, random)
    return Scene(things, int(random.integers(20, 120)), int(random.integers(1 << 31)))


def _placed(wanted: Sequence[tuple[str, str, str]], random: np.random.Generator) -> tuple[Thing, ...]:
    """Place the wanted things without overlap; of two, one is clearly beside or above the other."""
    while True:
        things: list[Thing] = []
        for size, colour, shape in wanted:
            radius = SIZES[size]
            for _ in range(_TRIES):
                x, y = (int(each) for each in random.integers(radius + 1, SIDE - radius - 1, 2))
                thing = Thing(size, colour, shape, x, y)
                if all(_clear(thing, other) for other in things):
                    things.append(thing)
                    break
        if len(things) == len(wanted) and (len(wanted) != 2 or _standing(things[0], things[1])):
            return tuple(things)


def _clear(one: Thing, other: Thing) -> bool:
    return max(abs(one.x - other.x), abs(one.y - other.y)) > SIZES[one.size] + SIZES[other.size] + _APART


def _standing(one: Thing, other: Thing) -> list[str]:
    """Return the spatial relations of `one` to `other` in words, if they are clear."""
    beside = "to the left of" if one.x < other.x else "to the right of"
    over = "above" if one.y < other.y else "below"
    return [
        words for words, distance in ((beside, one.x - other.x), (over, one.y - other.y)) if abs(distance) >= _CLEARLY
    ]


def _relations(one: Thing, other: Thing) -> list[str]:
    """Return the relation along the axis of the larger distance; the left or upper thing is named first."""
    wide = abs(one.x - other.x) >= abs(one.y - other.y)
    first, last = sorted((one, other), key=lambda thing: thing.x if wide else thing.y)
    words = _standing(first, last)[0 if wide else -1]
    return [f"a {first.kind} {words} a {last.kind}", f"a {first.kind} is {words} a {last.kind}"]


def _plural(kind: str) -> str:
    return f"{kind}es" if kind.endswith("s") else f"{kind}s"


def _draw(pen: object, thing: Thing) -> None:
    from PIL.ImageDraw import ImageDraw

    assert isinstance(pen, ImageDraw)
    radius, colour = SIZES[thing.size] * _FINE, COLOURS[thing.colour]
    x, y = thing.x * _FINE, thing.y * _FINE
    box = (x - radius, y - radius, x + radius, y + radius)
    if thing.shape == "circle":
        pen.ellipse(box, fill=colour)
    elif thing.shape == "square":
        pen.rectangle(box, fill=colour)
    elif thing.shape == "triangle":
        pen.polygon([(x, y - radius), (x - radius, y + radius), (x + radius, y + radius)], fill=colour)
    else:
        arm = radius // 3
        pen.rectangle((x - arm, y - radius, x + arm, y + radius), fill=colour)
        pen.rectangle((x - radius, y - arm, x + radius, y + arm), fill=colour)
