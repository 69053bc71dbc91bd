"""Photographs from files, as the bytes that a graph takes."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgernn.contract import Array
from edgernn.errors import ImageError, MissingExtraError

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["LARGEST_SIDE", "SUFFIXES", "draw_attention", "read_image"]

LARGEST_SIDE = 1024
SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
_MOST_PIXELS = 256_000_000  # a file of a few bytes may claim any size
_WHITE = (255, 255, 255, 255)
_TILE, _GAP, _LABEL, _LETTERS = 168, 8, 24, 15  # pixels
_TILES_ACROSS = 6
_DARK = 0.15  # of the light where nobody looked
_WIDE = ("I;16", "I;16L", "I;16B", "I;16N")


def read_image(source: str | Path | bytes, largest_side: int = LARGEST_SIDE) -> Array:
    """The photograph in a file, or in its bytes, as red, green and blue (height, width, 3) of bytes, upright.

    One with a side above `largest_side` is shrunk to it; grey, palette, CMYK and 16-bit images are converted, and what
    is transparent becomes white.
    Raises ImageError for a file that is no image, is cut, or is larger than 256 million pixels.
    """
    try:
        from PIL import Image, ImageOps
    except ImportError:
        raise MissingExtraError("Pillow", "image") from None
    name = "the image" if isinstance(source, bytes) else str(source)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Pillow, about sizes that are checked here
            with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
                if math.prod(image.size) > _MOST_PIXELS:
                    raise ImageError(f"{name} has {image.width} x {image.height} pixels, more than {_MOST_PIXELS:,}")
                image.draft("RGB", (2 * largest_side, 2 * largest_side))  # a JPEG is shrunk while it is read
                image.load()
                upright = ImageOps.exif_transpose(image)
                return np.array(_shrunk(_plain(upright), largest_side))
    except ImageError:
        raise
    except FileNotFoundError:
        raise ImageError(f"{name}: there is no such file") from None
    except Exception as error:  # noqa: BLE001 - a damaged file makes Pillow raise anything
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise ImageError(f"{name} cannot be read as an image: {reason}") from None


def _plain(image: Image) -> Image:
    """In red, green and blue."""
    from PIL import Image

    if image.mode in _WIDE or image.mode == "I":
        levels = np.asarray(image).astype(np.int64)
        return Image.fromarray(np.clip(levels >> 8, 0, 255).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        return Image.fromarray(np.clip(np.nan_to_num(np.asarray(image)), 0, 255).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        whole = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", whole.size, _WHITE), whole).convert("RGB")
    return image.convert("RGB")


def _shrunk(image: Image, largest_side: int) -> Image:
    from PIL import Image

    longest = max(image.size)
    if longest <= largest_side:
        return image
    size = [max(1, round(side * largest_side / longest)) for side in image.size]
    return image.resize((size[0], size[1]), Image.Resampling.BILINEAR, reducing_gap=2.0)


def draw_attention(image: Array, words: Sequence[str], weights: Array, out: Path) -> None:
    """Write a picture of `image` once for each word, bright where it was looked at.

    weights: (words, rows, columns). Raises ImageError if `out` cannot be written.
    """
    from PIL import Image, ImageDraw, ImageFont, ImageOps

    whole = ImageOps.contain(Image.fromarray(image), (_TILE, _TILE))
    columns = min(len(words) + 1, _TILES_ACROSS)
    rows = math.ceil((len(words) + 1) / columns)
    width, height = whole.width + _GAP, whole.height + _LABEL
    sheet = Image.new("RGB", (columns * width + _GAP, rows * height + _GAP), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(_LETTERS)
    for place, word in enumerate(("", *words)):
        tile = whole if place == 0 else _lit(whole, weights[place - 1])
        x, y = _GAP + place % columns * width, _GAP + place // columns * height
        sheet.paste(tile, (x, y))
        pen.text((x + whole.width / 2, y + whole.height + _LABEL / 2), word, fill="black", font=font, anchor="mm")
    try:
        sheet.save(out)
    except (OSError, ValueError) as error:
        raise ImageError(f"{out} cannot be written: {getattr(error, 'strerror', None) or error}") from None


def _lit(whole: Image, weights: Array) -> Image:
    from PIL import Image

    levels = np.uint8(255 * (_DARK + (1 - _DARK) * weights / max(float(weights.max()), 1e-9)))
    light = Image.fromarray(levels).resize(whole.size, Image.Resampling.BICUBIC)
    return Image.composite(whole, Image.new("RGB", whole.size), light)
