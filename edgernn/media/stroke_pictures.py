"""Show drawings of strokes: in a text, as SVG, as pictures, or as an animation in which they grow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgernn.atomic import replace_file
from edgernn.contract import Array
from edgernn.errors import ImageError, MissingExtraError
from edgernn.media.animation import is_animated, side_by_side, write_frames
from edgernn.media.image import SUFFIXES
from edgernn.media.strokes import strokes_json, to_lines

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["OUT_SUFFIXES", "draw_strokes", "stroke_text"]

_SVG, _JSON = ".svg", ".json"
OUT_SUFFIXES = (_SVG, _JSON, *SUFFIXES)
_SIDE, _MARGIN, _WIDTH = 120, 10, 2.4  # of the picture of a drawing, in pixels or units of SVG, and of its lines
_FINER = 4  # pixels in which a pixel is drawn
_GIVEN, _DRAWN = "#2563eb", "#111111"  # what the drawing began with, blue, and what the network drew
_FRAMES = 80  # of an animation, at most about
_SECONDS, _LAST_SECONDS = 0.1, 2.5  # of a frame of an animation
_TEXT_SIDE = 40  # pixels of the raster that a text shows
_SHADES = " ▀▄█"


def stroke_text(points: Array) -> str:
    """Return a drawing (points, 3) in block characters, each for two pixels of a column, 20 lines high at most.

    Each line ends with a line break.
    """
    pixels = np.zeros((_TEXT_SIDE, _TEXT_SIDE), int)
    for line in _fitted(points, points, _TEXT_SIDE - 1, 0):
        for begin, end in pairwise([*line, line[-1]]):
            count = 2 + int(2 * np.abs(end - begin).max())
            columns, rows = np.rint(np.linspace(begin, end, count)).astype(int).T
            pixels[rows, columns] = 1
    pairs = pixels[::2] + 2 * pixels[1::2]
    lines = ["".join(_SHADES[each] for each in row).rstrip() for row in pairs]
    return "\n".join(lines).strip("\n") + "\n"


def draw_strokes(drawings: Sequence[Array], given: int, out: Path) -> None:
    """Write drawings, each points (points, 3), side by side as SVG, as JSON, as an image, or as they grow as a GIF.

    given: the number of points with which each drawing began, whose strokes are blue.
    Raises ImageError if `out` cannot be written.
    """
    across = int(np.ceil(np.sqrt(len(drawings))))
    if is_animated(out):
        finished = [_picture(each, each, given) for each in drawings]
        sheets = []
        for step in _growing(drawings):
            grown = zip(step, finished, strict=True)
            pictures = [
                last if len(part) == len(whole) else _picture(part, whole, given) for (part, whole), last in grown
            ]
            sheets.append(side_by_side(pictures, across))
        write_frames(sheets, out, seconds=_SECONDS, last=_LAST_SECONDS, across=1)
    elif out.suffix.lower() in (_SVG, _JSON):
        data = strokes_json(drawings) if out.suffix.lower() == _JSON else _svg(drawings, given, across)
        try:
            replace_file(out, data)
        except OSError as error:
            raise ImageError(f"{out} cannot be written: {error.strerror or error}") from None
    else:
        pictures = [_picture(each, each, given) for each in drawings]
        write_frames(pictures, out, seconds=0, last=0, across=across)


def _growing(drawings: Sequence[Array]) -> Iterator[list[tuple[Array, Array]]]:
    """Yield each drawing up to some point, beside all of it, for the frames of an animation."""
    longest = max(1, *map(len, drawings))
    apart = -(-longest // _FRAMES)
    for count in range(apart, longest + apart, apart):
        yield [(each[:count], each) for each in drawings]


def _fitted(part: Array, whole: Array, side: float, margin: float) -> list[Array]:
    """Return the strokes of a part of a drawing, each (points, 2), so that all of it fits into a square in its middle.

    What begins at the first point of the drawing is not moved when the drawing grows.
    """
    if not len(whole):
        return []
    everything = np.concatenate(to_lines(whole))
    least, most = everything.min(axis=0), everything.max(axis=0)
    scale = (side - 2 * margin) / max(float((most - least).max()), 1e-9)
    shift = side / 2 - scale * (least + most) / 2
    return [scale * line + shift for line in to_lines(part)]


def _colours(part: Array, given: int) -> list[str]:
    """Return the colour of each stroke of a drawing."""
    begins = [0, *(np.flatnonzero(part[:, 2] == 1) + 1).tolist()]
    return [_GIVEN if begin < given else _DRAWN for begin in begins if begin < len(part)]


def _svg(drawings: Sequence[Array], given: int, across: int) -> bytes:
    down = -(-len(drawings) // across)
    paths = []
    for place, points in enumerate(drawings):
        corner = _SIDE * np.array([place % across, place // across])
        for line, colour in zip(_fitted(points, points, _SIDE, _MARGIN), _colours(points, given), strict=True):
            dots = np.repeat(line, 2, axis=0) if len(line) == 1 else line  # a dot is a line of no length
            steps = " ".join(f"{x:.2f},{y:.2f}" for x, y in dots + corner)
            paths.append(f'<polyline stroke="{colour}" points="{steps}"/>')
    text = "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_SIDE * across} {_SIDE * down}">',
            '<rect width="100%" height="100%" fill="white"/>',
            f'<g fill="none" stroke-width="{_WIDTH}" stroke-linecap="round" stroke-linejoin="round">',
            *paths,
            "</g>",
            "</svg>",
        ]
    )
    return text.encode() + b"\n"


def _picture(part: Array, whole: Array, given: int) -> Image:
    """Return the picture of a part of a drawing, which is where it is in the picture of the whole drawing."""
    try:
        from PIL import Image, ImageDraw
    except ImportError:
        raise MissingExtraError("PIL", "image") from None
    large = Image.new("RGB", (_SIDE * _FINER,) * 2, "white")
    canvas, width = ImageDraw.Draw(large), round(_WIDTH * _FINER)
    for line, colour in zip(_fitted(part, whole, _SIDE, _MARGIN), _colours(part, given), strict=True):
        dots = [tuple(dot) for dot in (_FINER * line).tolist()]
        canvas.line(dots, colour, width, joint="curve")
        for x, y in dots:
            canvas.circle((x, y), width / 2, fill=colour)
    return large.resize((_SIDE, _SIDE), Image.Resampling.BOX)
