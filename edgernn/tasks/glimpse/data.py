"""Place pictures on a larger canvas, and vary them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from edgernn.contract import Array
from edgernn.errors import ConfigError

__all__ = ["Canvas", "vary"]

_PIECE = 8  # pixels, the side of a piece of clutter
_TURN, _SLANT, _SCALE = 0.18, 0.15, 0.1  # radians, shift of the top by the height, relative change; at most
_SHIFT = 0.07  # of the side, at most


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
        count, height, width = images.shape
        placed = np.zeros((count, self.side, self.side), np.uint8)
        tops, lefts = (random.integers(0, self.side - size + 1, count) for size in (height, width))
        for each, image, top, left in zip(placed, images, tops, lefts, strict=True):
            each[top : top + height, left : left + width] = image
        for each, pieces in zip(placed, self._pieces(others, count, random), strict=True):
            for piece, top, left in pieces:
                there = each[top : top + len(piece), left : left + piece.shape[1]]
                np.maximum(there, piece, out=there)
        return placed

    def _pieces(self, others: Array, count: int, random: np.random.Generator) -> list[list[tuple[Array, int, int]]]:
        """Return the pieces on each of `count` canvases, with their upper and left edges."""
        size = np.minimum(_PIECE, others.shape[1:])
        shape = (count, self.clutter)
        chosen = random.integers(0, len(others), shape)
        begin = random.integers(0, others.shape[1:] - size + 1, (*shape, 2))
        put = random.integers(0, self.side - size + 1, (*shape, 2))
        return [
            [
                (others[which, y : y + size[0], x : x + size[1]], top, left)
                for which, (y, x), (top, left) in zip(*each, strict=True)
            ]
            for each in zip(chosen, begin.tolist(), put.tolist(), strict=True)
        ]


def vary(images: Array, random: np.random.Generator) -> Array:
    """Return images (pictures, height, width, ...), bytes, turned, slanted, scaled and shifted a little at random."""
    count = len(images)
    turn, slant = random.uniform(-_TURN, _TURN, count), random.uniform(-_SLANT, _SLANT, count)
    across, down = 1 + random.uniform(-_SCALE, _SCALE, (2, count))
    moved = 2 * random.uniform(-_SHIFT, _SHIFT, (2, count))
    cos, sin = np.cos(turn), np.sin(turn)
    rows = [[across * cos, down * (slant * cos - sin), moved[0]], [across * sin, down * (slant * sin + cos), moved[1]]]
    maps = torch.from_numpy(np.array(rows, np.float32).transpose(2, 0, 1).copy())
    pixels = torch.from_numpy(images.reshape(*images.shape[:3], -1)).permute(0, 3, 1, 2).float()
    grid = functional.affine_grid(maps, list(pixels.shape), align_corners=False)
    varied = functional.grid_sample(pixels, grid, padding_mode="border", align_corners=False)
    return varied.round().to(torch.uint8).permute(0, 2, 3, 1).reshape(images.shape).numpy()
