"""Draw probabilities of classes and events over time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edgernn.contract import Array
from edgernn.errors import MissingExtraError
from edgernn.media.events import Event
from edgernn.media.image import write_picture

__all__ = ["draw_timeline"]

_WIDEST = 1600  # pixels of the time axis
_NARROWEST = 480
_STEP = 16  # pixels of a step, at most
_ROW, _GAP, _AXIS, _LETTERS = 22, 4, 26, 13  # pixels
_TICKS = 8  # marks on the time axis, about
_COLOURS = (
    "#d1495b",
    "#2e86ab",
    "#3c8d2f",
    "#b5651d",
    "#7a4fa3",
    "#00798c",
    "#c2185b",
    "#8a8d00",
    "#455a64",
    "#e07a1f",
)
_INK = (25, 60, 120)  # of a probability of 1


def draw_timeline(
    probabilities: Array, names: Sequence[str], events: Sequence[Event], out: Path, rate: float | None = None
) -> None:
    """Write a picture over time: the events, and below them a row for each class, darker where it is more probable.

    probabilities: (frames, classes). rate: frames per second; without it, the time axis counts frames.
    Raises MissingExtraError without Pillow, ImageError if `out` cannot be written.
    """
    try:
        from PIL import Image, ImageDraw, ImageFont
    except ImportError:
        raise MissingExtraError("PIL", "image") from None
    font = ImageFont.load_default(_LETTERS)
    left = 2 * _GAP + int(max(font.getlength(name) for name in names)) + _GAP
    width = max(_NARROWEST, min(_WIDEST, _STEP * len(probabilities)))
    scale = width / len(probabilities)
    rows = [_GAP + _ROW + 2 * _GAP + row * (_ROW + _GAP) for row in range(len(names))]
    bottom = rows[-1] + _ROW
    sheet = Image.new("RGB", (left + width + 4 * _GAP, bottom + _AXIS), "white")
    pen = ImageDraw.Draw(sheet)
    for start, end, label in events:
        box = (left + start * scale, _GAP, left + end * scale - 1, _GAP + _ROW)
        pen.rectangle(box, fill=_COLOURS[label % len(_COLOURS)])
        if font.getlength(names[label]) < box[2] - box[0]:
            pen.text(((box[0] + box[2]) / 2, _GAP + _ROW / 2), names[label], fill="white", font=font, anchor="mm")
    for row, top in enumerate(rows):
        pen.text((left - _GAP, top + _ROW / 2), names[row], fill="black", font=font, anchor="rm")
        sheet.paste(Image.fromarray(_shaded(probabilities[:, row], width)), (left, top))
    for place in _ticks(len(probabilities) / (rate or 1)):
        x = left + place * (rate or 1) * scale
        pen.line((x, bottom, x, bottom + _GAP), fill="black")
        pen.text((x, bottom + 2 * _GAP), f"{place:g}{' s' if rate else ''}", fill="black", font=font, anchor="mt")
    write_picture(sheet, out)


def _shaded(row: Array, width: int) -> Array:
    """Return a strip of pixels (height, width, 3), darker where the row's probabilities (frames,) are larger."""
    places = np.arange(width) * len(row) // width
    white = np.array((238, 240, 244))
    pixels = white + row[places, None].clip(0, 1) * (np.array(_INK) - white)
    return np.repeat(np.rint(pixels).astype(np.uint8)[None], _ROW, axis=0)


def _ticks(length: float) -> list[float]:
    """Return round numbers from 0 up to `length`, about eight of them."""
    rough = length / _TICKS
    power = 10.0 ** np.floor(np.log10(rough)) if rough > 0 else 1.0
    distance = float(power * next(each for each in (1, 2, 5, 10) if each * power >= rough))
    return [place * distance for place in range(int(length / distance) + 1)]
