"""Draw the glimpses at a picture, as an animation or side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgernn.contract import Array
from edgernn.errors import MissingExtraError
from edgernn.media.animation import write_frames

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["draw_glimpses"]

_SIDE = 224  # pixels of the longer side of a drawn picture, about
_GAP, _LABEL, _LETTERS = 8, 24, 15  # pixels
_SECONDS, _LAST_SECONDS = 0.8, 2.5  # of a frame of an animation
_NOW, _BEFORE, _COARSE = (40, 220, 90), (30, 120, 60), (120, 190, 140)  # green
_ACROSS = 4  # pictures side by side


def draw_glimpses(image: Array, boxes: Sequence[Array], guesses: Sequence[str], out: Path) -> None:
    """Write an image file that shows a green, numbered square for each glimpse and the guess after it.

    image: RGB bytes (height, width, 3). boxes: of each glimpse, those of its patches (boxes, 4): left, top, right and
    bottom in pixels, the finest first. guesses: a text for each glimpse. out: a .gif is animated; any other image file
    shows the pictures after each glimpse side by side.
    Raises ImageError if `out` cannot be written.
    """
    frames = [_frame(image, boxes[:count], guesses[count - 1]) for count in range(1, len(boxes) + 1)]
    write_frames(frames, out, seconds=_SECONDS, last=_LAST_SECONDS, across=_ACROSS)


def _frame(image: Array, boxes: Sequence[Array], guess: str) -> Image:
    """Return the picture with the glimpses so far; the coarser patches of the last one too."""
    try:
        from PIL import Image, ImageDraw, ImageFont
    except ImportError:
        raise MissingExtraError("PIL", "image") from None
    scale = max(1, round(_SIDE / max(image.shape[:2])))
    height, width = image.shape[0] * scale, image.shape[1] * scale
    frame = Image.new("RGB", (max(width, _SIDE) + 2 * _GAP, height + _LABEL + 2 * _GAP), "black")
    left = (frame.width - width) // 2
    picture = Image.fromarray(image).resize((width, height), Image.Resampling.NEAREST)
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(_LETTERS)
    for coarse in boxes[-1][:0:-1]:
        pen.rectangle([scale * float(edge) for edge in coarse], outline=_COARSE)
    for number, glimpse in enumerate(boxes, 1):
        colour = _NOW if number == len(boxes) else _BEFORE
        edges = [scale * float(edge) for edge in glimpse[0]]
        pen.rectangle(edges, outline=colour, width=2)
        pen.text((edges[0] + 4, edges[1] + 2), str(number), fill=colour, font=font)
    frame.paste(picture, (left, _GAP))
    middle = (frame.width / 2, height + _GAP + _LABEL / 2)
    ImageDraw.Draw(frame).text(middle, guess, fill="white", font=font, anchor="mm")
    return frame
