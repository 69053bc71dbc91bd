"""Read image files as arrays, and draw attention maps as images."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgernn.atomic import replace_file
from edgernn.contract import Array
from edgernn.errors import ImageError, MissingExtraError

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = [
    "LARGEST_SIDE",
    "SUFFIXES",
    "draw_alignment",
    "draw_attention",
    "fitted",
    "read_image",
    "resized",
    "shrunk",
    "write_picture",
]

LARGEST_SIDE = 1024
SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")  # decoders of others, such as PostScript, run programs
_MOST_PIXELS = 150_000_000  # protects the memory: a file of a few bytes can declare any size
_BAND = 4_000_000  # pixels that are converted at a time
_WHITE = (255, 255, 255, 255)
_TILE, _GAP, _LABEL, _LETTERS = 168, 8, 24, 15  # pixels
_TILES_ACROSS = 6
_CELL = 28  # pixels, of a square of an alignment
_DARK = 0.15  # brightness where the attention is 0
_BYTE = 255
_LARGEST_SIDES = {"JPEG": 65_500, "WEBP": 16_383}  # pixels, in the libraries that write them
_WHITES = {"F": (1.0, 255.0), "I": (255.0, 65535.0)}  # candidate levels of white, in modes that do not define it
_DEEP = ("I", "I;16", "I;16L", "I;16B", "I;16N")  # modes with levels up to 65,535


def read_image(source: str | Path | bytes, largest_side: int = LARGEST_SIDE) -> Array:
    """Return an image as RGB bytes (height, width, 3), rotated as its metadata says.

    source: the path of an image file, or its bytes.
    An image with a side above `largest_side` pixels is scaled down to it. Greyscale, palette, CMYK and 16-bit images
    are converted; transparent pixels become white. In floating-point images white is 1 if no pixel is above 1, else
    255; in 32-bit integer images it is 255 if no pixel is above 255, else 65,535.
    Raises ImageError for a file that is not an image, is truncated, or has more than 150 million pixels.
    """
    try:
        from PIL import Image, ImageOps
    except ImportError:
        raise MissingExtraError("PIL", "image") from None
    name = "the image" if isinstance(source, bytes) else str(source)
    try:
        if not isinstance(source, bytes) and Path(source).exists() and not Path(source).is_file():
            raise ImageError(f"{name} is not a file")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns about large images, which are refused below
            with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=_FORMATS) as image:
                if math.prod(image.size) > _MOST_PIXELS:
                    raise Image.DecompressionBombError
                image.draft("RGB", (2 * largest_side, 2 * largest_side))  # JPEG files are scaled down during decoding
                image.load()
                return np.array(ImageOps.exif_transpose(shrunk(image, largest_side)))
    except ImageError:
        raise
    except Image.DecompressionBombError:
        raise ImageError(f"{name} has more than {_MOST_PIXELS:,} pixels: shrink it first") from None
    except FileNotFoundError:
        raise ImageError(f"there is no {name}") from None
    except Exception as error:  # noqa: BLE001 - a damaged file makes Pillow raise anything
        reason = f": {error.strerror}" if isinstance(error, OSError) and error.strerror else ""
        raise ImageError(f"{name} cannot be read as an image{reason}") from None


def shrunk(image: Image, largest_side: int) -> Image:
    """Return a Pillow image as RGB with no side above `largest_side`; converted in bands, to save memory."""
    from PIL import ExifTags, Image

    longest = max(image.size)
    factor = max(1, longest // (2 * largest_side))
    white = 65535.0 if image.mode in _DEEP else 255.0
    if image.mode in _WHITES:
        brightest = np.max(image.getextrema())
        white = next((each for each in _WHITES[image.mode] if brightest <= each), _WHITES[image.mode][-1])
    height = max(1, _BAND // image.width // factor) * factor
    whole = Image.new("RGB", (-(-image.width // factor), -(-image.height // factor)))
    for top in range(0, image.height, height):
        band = image.crop((0, top, image.width, min(top + height, image.height)))
        whole.paste(_plain(band, white).reduce(factor), (0, top // factor))
    if longest > largest_side:
        width, height = (max(1, round(side * largest_side / longest)) for side in image.size)
        whole = whole.resize((width, height), Image.Resampling.BILINEAR)
    whole.getexif()[ExifTags.Base.Orientation] = image.getexif().get(ExifTags.Base.Orientation, 1)
    return whole


def resized(image: Array, height: int, width: int) -> Array:
    """Return an image, RGB bytes (height, width, 3), at another size; its proportions may change.

    The filter is the triangle filter, with which captioners resize images themselves.
    """
    if image.shape[:2] == (height, width):
        return image
    try:
        from PIL import Image
    except ImportError:
        raise MissingExtraError("PIL", "image") from None
    return np.array(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))


def fitted(image: Array, height: int, width: int) -> Array:
    """Return an image, RGB bytes (height, width, 3), on a canvas of another size, with its proportions.

    An image that is larger than the canvas is scaled down. The canvas around it has the median colour of its edge.
    """
    factor = min(height / image.shape[0], width / image.shape[1], 1.0)
    rows, columns = (max(1, round(side * factor)) for side in image.shape[:2])
    edge = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    canvas = np.empty((height, width, 3), np.uint8)
    canvas[:] = np.median(edge, axis=0)
    top, left = (height - rows) // 2, (width - columns) // 2
    canvas[top : top + rows, left : left + columns] = resized(image, rows, columns)
    return canvas


def _plain(image: Image, white: float) -> Image:
    """Return `image` as RGB. white: the level of white, in modes whose levels have no fixed range."""
    from PIL import Image

    if image.mode in _DEEP and white > _BYTE:
        return Image.fromarray(np.uint8(np.clip(np.asarray(image), 0, 65535) >> 8)).convert("RGB")
    if image.mode in _WHITES:
        levels = np.nan_to_num(np.asarray(image)) * (255 / white)
        return Image.fromarray(np.uint8(np.clip(levels, 0, 255))).convert("RGB")
    if image.has_transparency_data:
        whole = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", whole.size, _WHITE), whole).convert("RGB")
    return image.convert("RGB")


def draw_attention(image: Array, words: Sequence[str], weights: Array, out: Path) -> None:
    """Write an image file that shows `image` once for each word, brighter where the attention weights are larger.

    weights: attention maps (words, rows, columns). Raises ImageError if `out` cannot be written.
    """
    from PIL import Image, ImageDraw, ImageFont

    height, width = (max(1, round(side * _TILE / max(image.shape[:2]))) for side in image.shape[:2])
    whole = Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC)
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
    write_picture(sheet, out)


def write_picture(picture: Image, out: Path) -> None:
    """Write an image file of the format that its name tells. Raises ImageError if `out` cannot be written."""
    from PIL import Image

    data = io.BytesIO()
    try:
        format = Image.registered_extensions()[out.suffix.lower()]
        if max(picture.size) > _LARGEST_SIDES.get(format, math.inf):  # the libraries would not name a remedy
            size = f"{picture.width:,} × {picture.height:,} pixels"
            raise ImageError(f"{out} cannot be written: {size} are too many for {format}: write a .png")
        picture.save(data, format)
        replace_file(out, data.getvalue())
    except KeyError:
        raise ImageError(f"{out}: the name of an image file must end in {', '.join(SUFFIXES)}") from None
    except (OSError, ValueError) as error:
        raise ImageError(f"{out} cannot be written: {getattr(error, 'strerror', None) or error}") from None


def _lit(whole: Image, weights: Array) -> Image:
    from PIL import Image

    levels = np.uint8(255 * (_DARK + (1 - _DARK) * weights / max(float(weights.max()), 1e-9)))
    light = Image.fromarray(levels).resize(whole.size, Image.Resampling.BICUBIC)
    return Image.composite(whole, Image.new("RGB", whole.size), light)


def draw_alignment(columns: Sequence[str], rows: Sequence[str], weights: Array, out: Path) -> None:
    """Write an image file with a grid of squares, darker where a weight is larger, and a word at each column and row.

    weights: from 0 to 1, (rows, columns). Raises ImageError if `out` cannot be written.
    """
    try:
        from PIL import Image, ImageDraw, ImageFont
    except ImportError:
        raise MissingExtraError("PIL", "image") from None
    font = ImageFont.load_default(_LETTERS)
    across, down = (math.ceil(max((font.getlength(word) for word in words), default=0)) for words in (columns, rows))
    left, top = down + 2 * _GAP, across + 2 * _GAP
    picture = Image.new("RGB", (left + len(columns) * _CELL + _GAP, top + len(rows) * _CELL + _GAP), "white")
    pen = ImageDraw.Draw(picture)
    for place, word in enumerate(columns):  # written upwards
        label = Image.new("RGB", (across + _GAP, _CELL), "white")
        ImageDraw.Draw(label).text((0, _CELL / 2), word, "black", font, anchor="lm")
        picture.paste(label.rotate(90, expand=True), (left + place * _CELL, _GAP // 2))
    for row, word in enumerate(rows):
        y = top + row * _CELL
        pen.text((left - _GAP, y + _CELL / 2), word, "black", font, anchor="rm")
        for place, weight in enumerate(weights[row]):
            x = left + place * _CELL
            level = round(_BYTE * (1 - float(np.clip(weight, 0, 1))))
            pen.rectangle((x, y, x + _CELL, y + _CELL), fill=(level,) * 3, outline="lightgrey")
    write_picture(picture, out)
