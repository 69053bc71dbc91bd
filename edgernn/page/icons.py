"""The icons of a page: a square of cells, as the page draws the state of a network, in blue and orange."""

from __future__ import annotations

import numpy as np

from edgernn.contract import Array
from edgernn.page.png import png

__all__ = ["icon"]

_CELLS = (
    *((-3, -1, 2, 3, 1), (-2, 1, 3, 2, -1), (1, 3, 2, -1, -3)),
    *((3, 2, -1, -3, -2), (2, -1, -3, -2, 1)),
)  # from -3, blue, to 3, orange
_GROUND, _BLUE, _ORANGE = (16, 20, 28), (64, 140, 255), (255, 150, 40)
_GAP = 0.16  # of a cell


def icon(side: int, margin: float = 0.1) -> bytes:
    """Return the icon as a PNG of `side` × `side` pixels. margin: the share of the side that stays free at each edge.

    A launcher that cuts icons to its own shape keeps at least the inner circle of 80 % of the side: margin 0.22 fits.
    """
    pixels = np.full((side, side, 3), _GROUND, np.uint8)
    inner = side * (1 - 2 * margin)
    cell = inner / len(_CELLS)
    for row, values in enumerate(_CELLS):
        for column, value in enumerate(values):
            top, left = (round(side * margin + place * cell + cell * _GAP / 2) for place in (row, column))
            size = round(cell * (1 - _GAP))
            pixels[top : top + size, left : left + size] = _colour(value / 3)
    return png(pixels)


def _colour(value: float) -> Array:
    """The colour of a cell from -1, blue, over the ground's colour, to 1, orange."""
    ground, end = (np.array(each, float) for each in (_GROUND, _ORANGE if value > 0 else _BLUE))
    return np.asarray(np.rint(ground + (end - ground) * abs(value)), np.uint8)
