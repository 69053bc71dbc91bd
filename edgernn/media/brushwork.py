"""Strokes of oil paint: rendered at any size, as an animation, as SVG or as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from edgernn.atomic import replace_file
from edgernn.contract import Array
from edgernn.errors import ImageError, MissingExtraError
from edgernn.media.animation import is_animated, write_frames
from edgernn.media.image import SUFFIXES, write_picture

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = [
    "COARSE",
    "EDGE",
    "END",
    "FINE",
    "NUMBERS",
    "WRITTEN",
    "Painted",
    "Stroke",
    "add_stroke",
    "strokes_json",
    "strokes_svg",
    "write_painting",
]

NUMBERS = 12  # of a stroke
_SVG, _JSON = ".svg", ".json"
WRITTEN = (*SUFFIXES, _SVG, _JSON)  # of the files that `write_painting` writes
EDGE, END = 0.6, 1.2  # pixels over which the sides and the ends of a stroke fade
COARSE, FINE = 1.7, 2.9  # stripes of the bristles in half a width
_FADED = 12.0  # widths of an edge, beyond which nothing is seen
_SIDE, _ANIMATED_SIDE = 512, 256  # pixels of the longer side of a picture
_FRAMES = 40  # of an animation
_SECONDS, _LAST_SECONDS = 0.12, 2.5  # of a frame
_BYTE = 255
_MITRE = 4.0 / 3.0  # of a bend: how far the control point of the parabola lies beyond its centre


class Stroke(NamedTuple):
    """The shape of a stroke, as `edgernn.tasks.paint.strokes.Stroke` has it."""

    x: float
    y: float
    cos: float
    sin: float
    length: float
    width: float
    bend: float
    opacity: float
    bristles: float

    @classmethod
    def of(cls, numbers: Array) -> Stroke:
        """Return the shape of a stroke from its numbers (12,)."""
        x, y, across, down, width, bend_x, bend_y, opacity, bristles = (float(each) for each in numbers[:9])
        angle = 0.5 * math.atan2(down, across)
        cos, sin = math.cos(angle), math.sin(angle)
        return cls(x, y, cos, sin, math.hypot(across, down), width, bend_y * cos - bend_x * sin, opacity, bristles)


class Painted(NamedTuple):
    """Strokes on a canvas of one colour, in the order in which they were added.

    strokes: (strokes, 12), each with x and y of its centre; half of the length times cosine and sine of the doubled
    angle; half of the width; the bend as a vector (x, y); opacity, bristles, red, green and blue. Lengths are in pixels
    of the canvas, whose `height` and `width` are. ground: the colour of the canvas, (3,), from 0 to 1. ratio: the
    height of the photograph divided by its width.
    """

    strokes: Array
    ground: Array
    height: int
    width: int
    ratio: float

    def size(self, longer: int) -> tuple[int, int]:
        """Return height and width of a picture with the proportions of the photograph and this longer side."""
        factor = longer / max(1.0, self.ratio)
        return max(1, round(factor * self.ratio)), max(1, round(factor))

    def rendered(self, height: int, width: int) -> Iterator[Array]:
        """Yield the canvas (height, width, 3), from 0 to 1, after each stroke; always the same array."""
        canvas = np.empty((height, width, 3), np.float32)
        canvas[:] = self.ground
        scale = (height / self.height, width / self.width)
        for stroke in self.strokes:
            add_stroke(canvas, stroke, scale)
            yield canvas


def add_stroke(canvas: Array, stroke: Array, scale: tuple[float, float] = (1.0, 1.0)) -> None:
    """Add a stroke, (12,) as in `Painted`, to a canvas (height, width, 3), in place.

    scale: pixels of the canvas for each pixel of the stroke's, down and across. On a finer canvas, its edges are
    sharper. The formula is that of `edgernn.tasks.paint.strokes.coverage`, by which networks are trained.
    """
    x, y, cos, sin, length, half, bend, opacity, bristles = Stroke.of(stroke)
    sharp = min(1.0, 1.0 / np.sqrt(scale[0] * scale[1]))
    edge, end = sharp * EDGE, sharp * END
    far = length + _FADED * end
    wide = half + abs(bend) * (far / length) ** 2 + _FADED * edge
    rows = _range(y, abs(sin) * far + abs(cos) * wide, scale[0], canvas.shape[0])
    columns = _range(x, abs(cos) * far + abs(sin) * wide, scale[1], canvas.shape[1])
    down = ((np.arange(rows.start, rows.stop, dtype=np.float32) + 0.5) / scale[0] - y)[:, None]
    across = (np.arange(columns.start, columns.stop, dtype=np.float32) + 0.5) / scale[1] - x
    along = across * cos + down * sin
    u = along / length
    v = down * cos - across * sin - bend * (u * u - 1.0 / 3.0)
    inside = _sigmoid((half - np.abs(v)) / edge) * _sigmoid((length - np.abs(along)) / end)
    stripes = _triangle(v * (COARSE / half)) + _triangle(v * (FINE / half))
    covered = (opacity * inside * (1.0 - 0.5 * bristles * stripes))[..., None]
    part = canvas[rows, columns]
    part += covered * (stroke[9:].astype(np.float32) - part)


def write_painting(painted: Painted, out: Path, side: int | None) -> None:
    """Write a painting: a .gif of it being made, its strokes as .svg or .json, or an image file.

    side: the longer side of a picture in pixels; None for 512, or 256 of a .gif. Raises ImageError if `out` cannot be
    written.
    """
    suffix = out.suffix.lower()
    if suffix in (_SVG, _JSON):
        text = strokes_svg(painted) if suffix == _SVG else json.dumps(strokes_json(painted), indent=1)
        try:
            replace_file(out, f"{text}\n".encode())
        except OSError as error:
            raise ImageError(f"{out} cannot be written: {error.strerror or error}") from None
        return
    height, width = painted.size(side or (_ANIMATED_SIDE if is_animated(out) else _SIDE))
    count = len(painted.strokes)
    shown = {count}
    if is_animated(out):  # more often at the beginning, when each stroke changes more
        shown |= {max(1, round(count * (place / _FRAMES) ** 2)) for place in range(1, _FRAMES)}
    frames = [_picture(canvas) for number, canvas in enumerate(painted.rendered(height, width), 1) if number in shown]
    if is_animated(out):
        write_frames(frames, out, seconds=_SECONDS, last=_LAST_SECONDS, across=1)
    else:
        write_picture(frames[-1], out)


def strokes_json(painted: Painted) -> dict[str, Any]:
    """Return a painting as plain JSON values: the size and colour of the canvas, and its strokes in order.

    Angles are in degrees, clockwise from the x axis; lengths in pixels of the canvas.
    """
    names = ("x", "y", "angle", "length", "width", "bend", "opacity", "bristles")
    strokes = []
    for numbers in painted.strokes:
        stroke = Stroke.of(numbers)
        angle = math.degrees(math.atan2(stroke.sin, stroke.cos))
        values = (stroke.x, stroke.y, angle, 2 * stroke.length, 2 * stroke.width, *stroke[6:])
        strokes.append({**_rounded(names, values), "colour": _hex(numbers[9:])})
    size = {"width": painted.width, "height": painted.height, "ratio": round(painted.ratio, 4)}
    return {**size, "ground": _hex(painted.ground), "strokes": strokes}


def strokes_svg(painted: Painted) -> str:
    """Return a painting as SVG: each stroke is a bent line, without the stripes of its bristles."""
    height, width = painted.size(1000)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {painted.width} {painted.height}" preserveAspectRatio="none">',
        f'<rect width="100%" height="100%" fill="{_hex(painted.ground)}"/>',
    ]
    for numbers in painted.strokes:
        x, y, cos, sin, length, half, bend, opacity, bristles = Stroke.of(numbers)
        points = ((-length, 2 / 3 * bend), (0.0, -_MITRE * bend), (length, 2 / 3 * bend))
        begin, control, end = (f"{x + a * cos - b * sin:.2f} {y + a * sin + b * cos:.2f}" for a, b in points)
        lines.append(
            f'<path d="M{begin}Q{control} {end}" fill="none" stroke="{_hex(numbers[9:])}" '
            f'stroke-width="{2 * half:.2f}" stroke-opacity="{opacity * (1 - bristles / 2):.3f}"/>'
        )
    return "\n".join([*lines, "</svg>"])


def _range(centre: float, reach: float, scale: float, size: int) -> slice:
    """Return the pixels of an axis within `reach` of a centre; at least one."""
    begin = min(max(0, int(np.floor((centre - reach) * scale))), size - 1)
    return slice(begin, max(begin + 1, min(size, int(np.ceil((centre + reach) * scale)))))


def _sigmoid(x: Array) -> Array:
    return 0.5 + 0.5 * np.tanh(0.5 * x)


def _triangle(phase: Array) -> Array:
    return np.abs(2.0 * (phase - np.floor(phase)) - 1.0)


def _picture(canvas: Array) -> Image:
    try:
        from PIL import Image
    except ImportError:
        raise MissingExtraError("PIL", "image") from None
    return Image.fromarray(np.rint(_BYTE * canvas.clip(0, 1)).astype(np.uint8))


def _hex(colour: Array) -> str:
    red, green, blue = np.rint(_BYTE * np.asarray(colour, np.float64).clip(0, 1)).astype(int)
    return f"#{red:02x}{green:02x}{blue:02x}"


def _rounded(names: tuple[str, ...], values: tuple[Any, ...]) -> dict[str, float]:
    return {name: round(float(value), 3) for name, value in zip(names, values, strict=True)}
