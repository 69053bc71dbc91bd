"""Show drawings as they grow: in a text, as an animation, or side by side."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgernn.contract import Array
from edgernn.errors import MissingExtraError
from edgernn.media.animation import is_animated, side_by_side, write_frames

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["block_text", "draw_drawings"]

_SHADES = " ░▒▓█"
_SIDE = 112  # pixels of the longer side of a drawing, about
_GAP = 4  # pixels
_SECONDS, _LAST_SECONDS = 0.4, 2.5  # of a frame of an animation
_WINDOW = (40, 220, 90)  # green
_BYTE = 255


def block_text(pictures: Iterable[Array]) -> str:
    """Return pictures (height, width), from 0 to 1, side by side in block characters, each for two pixels of a column.

    Each line ends with a line break.
    """
    rows = []
    for picture in pictures:
        even = np.pad(picture, [(0, len(picture) % 2), (0, 0)])
        levels = even.reshape(len(even) // 2, 2, -1).mean(axis=1)
        places = np.rint(levels * (len(_SHADES) - 1)).astype(int).clip(0, len(_SHADES) - 1)
        rows.append(["".join(_SHADES[place] for place in row) for row in places])
    return "".join("  ".join(parts).rstrip() + "\n" for parts in zip(*rows, strict=True))


def draw_drawings(pictures: Array, boxes: Array, out: Path) -> None:
    """Write an image file of several drawings.

    A .gif shows how all of them grow, with a green box for the window that is written to. Any other image file shows
    the steps of a single drawing side by side with these boxes, or of several drawings the last step of each.
    pictures: from 0 to 1, (steps, drawings, height, width). boxes: left, top, right and bottom in pixels, (steps,
    drawings, 4). Raises ImageError if `out` cannot be written.
    """
    count = pictures.shape[1]
    across = int(np.ceil(np.sqrt(count)))
    if is_animated(out) or count == 1:
        frames = [
            side_by_side([_frame(*each) for each in zip(*step, strict=True)], across)
            for step in zip(pictures, boxes, strict=True)
        ]
    else:
        frames = [_frame(each, None) for each in pictures[-1]]
    if is_animated(out):
        frames.append(side_by_side([_frame(each, None) for each in pictures[-1]], across))
    write_frames(
        frames, out, seconds=_SECONDS, last=_LAST_SECONDS, across=max(across, len(frames) if count == 1 else 0)
    )


def _frame(picture: Array, box: Array | None) -> Image:
    """Return a picture (height, width), enlarged, with a margin, and with a box if there is one."""
    try:
        from PIL import Image, ImageDraw
    except ImportError:
        raise MissingExtraError("PIL", "image") from None
    scale = max(1, round(_SIDE / max(picture.shape)))
    height, width = (scale * side for side in picture.shape)
    levels = Image.fromarray(np.rint(_BYTE * picture.clip(0, 1)).astype(np.uint8))
    enlarged = levels.resize((width, height), Image.Resampling.NEAREST).convert("RGB")
    if box is not None:
        ImageDraw.Draw(enlarged).rectangle([scale * float(edge) for edge in box], outline=_WINDOW)
    frame = Image.new("RGB", (width + _GAP, height + _GAP), "dimgray")
    frame.paste(enlarged, (_GAP // 2, _GAP // 2))
    return frame
