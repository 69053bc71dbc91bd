"""Write the pictures of successive steps, as an animation or side by side."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgernn.atomic import replace_file
from edgernn.errors import ImageError
from edgernn.media.image import write_picture

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["is_animated", "side_by_side", "write_frames"]

_ANIMATED = ".gif"


def is_animated(out: Path) -> bool:
    """Return whether `write_frames` writes an animation."""
    return out.suffix.lower() == _ANIMATED


def write_frames(frames: Sequence[Image], out: Path, *, seconds: float, last: float, across: int) -> None:
    """Write pictures of one size: a .gif is animated, any other image file shows them side by side.

    seconds: that the animation shows each picture. last: that it shows the last one. across: pictures in a row.
    Raises ImageError if `out` cannot be written.
    """
    if not is_animated(out):
        write_picture(side_by_side(frames, across), out)
        return
    data = io.BytesIO()
    durations = [round(1000 * each) for each in [seconds] * (len(frames) - 1) + [last]]
    frames[0].save(data, "GIF", save_all=True, append_images=frames[1:], duration=durations, loop=0)
    try:
        replace_file(out, data.getvalue())
    except OSError as error:
        raise ImageError(f"{out} cannot be written: {error.strerror or error}") from None


def side_by_side(pictures: Sequence[Image], across: int) -> Image:
    """Return one picture of several of one size, at most `across` in a row."""
    from PIL import Image

    width, height = pictures[0].size
    columns = min(len(pictures), across)
    sheet = Image.new("RGB", (columns * width, -(-len(pictures) // columns) * height), "black")
    for place, picture in enumerate(pictures):
        sheet.paste(picture, (place % columns * width, place // columns * height))
    return sheet
