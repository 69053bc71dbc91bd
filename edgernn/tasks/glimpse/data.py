"""Place pictures on a larger canvas, and vary them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from edgernn.contract import Array
from edgernn.errors import ConfigError

__all__ = ["Canvas", "coloured", "vary"]

_PIECE = 8  # pixels, the side of a piece of clutter
_TURN, _SLANT, _SCALE = 0.18, 0.15, 0.1  # radians, shift of the top by the height, relative change; at most
_SHIFT = 0.07  # of the side, at most
_KNOTS = 5  # places in a row and in a column at which a picture is bent


def coloured(source: str) -> ConfigError:
    """Return the error for pictures in colour, which are not placed on a canvas."""
    return ConfigError(f"--canvas places grey pictures, and those of {source} are coloured: leave it out")


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
            raise coloured(source)
        height, width = images.shape[1:]
        if max(height, width) > self.side:
            raise ConfigError(
                f"--canvas {self.side} is smaller than the pictures of {source}, {width} × {height} pixels"
            )

    def place(self, images: Array, others: Array, random: np.random.Generator, spread: float = 1.0) -> Array:
        """Return images (pictures, height, width) on canvases (pictures, side, side).

        others: of which pieces are. spread: how far from the middle images lie, at most; at 1, they lie anywhere.
        """
        placed = np.zeros((len(images), self.side, self.side), np.uint8)
        for canvas, image in zip(placed, images, strict=True):
            self._add(canvas, image, random, spread)
            for which in random.integers(0, len(others), self.clutter):
                self._add(canvas, _piece(others[which], random), random)
        return placed

    def _add(self, canvas: Array, image: Array, random: np.random.Generator, spread: float = 1.0) -> None:
        """Add an image (height, width) to a canvas at a random place; the brighter pixel wins."""
        rooms = [self.side - size for size in image.shape]
        top, left = (round(room / 2 + spread * (int(random.integers(0, room + 1)) - room / 2)) for room in rooms)
        there = canvas[top : top + len(image), left : left + image.shape[1]]
        np.maximum(there, image, out=there)


def _piece(image: Array, random: np.random.Generator) -> Array:
    """Return a random piece of an image (height, width)."""
    top, left = (int(random.integers(0, max(1, size - _PIECE + 1))) for size in image.shape)
    return image[top : top + _PIECE, left : left + _PIECE]


def vary(images: Array, random: np.random.Generator, bend: float) -> Array:
    """Return images (pictures, height, width, ...), bytes, varied a little at random.

    They are turned, slanted, scaled, shifted, and bent (the elastic distortions of Simard et al. 2003, with shifts that
    are interpolated between a few places). bend: the standard deviation of these shifts, as a fraction of the side.
    """
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
    if bend:
        shifts = torch.from_numpy(np.float32(2 * bend) * random.standard_normal((count, 2, _KNOTS, _KNOTS), np.float32))
        bends = functional.interpolate(shifts, images.shape[1:3], mode="bicubic", align_corners=True)
        grid = grid + bends.permute(0, 2, 3, 1)
    varied = functional.grid_sample(pixels, grid, padding_mode="border", align_corners=False)
    return varied.round().to(torch.uint8).permute(0, 2, 3, 1).reshape(images.shape).numpy()
