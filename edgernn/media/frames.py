"""Clips: read the frames of a GIF, or of a directory of numbered pictures."""

from __future__ import annotations

import io
import math
import re
import warnings
from collections import Counter
from pathlib import Path

import numpy as np

from edgernn.contract import Array
from edgernn.errors import ImageError, MissingExtraError, counted
from edgernn.media.image import LARGEST_SIDE, SUFFIXES, read_image, shrunk

__all__ = ["PICTURES", "read_frames"]

PICTURES = tuple(suffix for suffix in SUFFIXES if suffix != ".gif")
_MOST_PIXELS = 100_000_000  # of all frames: a file of a few bytes can declare any number
_NUMBER = re.compile(r"\d+(?=\D*$)")


def read_frames(source: str | Path | bytes, largest_side: int = LARGEST_SIDE) -> Array:
    """Return the frames of a clip as RGB bytes (frames, height, width, 3).

    source: a GIF file or its bytes, or a directory of pictures of one size, in the order of the last number in each of
    their names. Its other files are ignored. The frames of a GIF come as they are seen, each drawn over those before
    it; one that is shown for several times the shortest delay counts as often, because writers of GIFs join equal
    frames. Frames with a side above `largest_side` pixels are scaled down to it.
    Raises ImageError for anything else, and for more than 100 million pixels in all frames.
    """
    if not isinstance(source, bytes) and Path(source).is_dir():
        return _pictures(Path(source), largest_side)
    return _gif(source, "the clip" if isinstance(source, bytes) else str(source), largest_side)


def _pictures(folder: Path, largest_side: int) -> Array:
    found = sorted(each for each in folder.iterdir() if each.suffix.lower() in PICTURES and each.is_file())
    numbers = {path: _NUMBER.search(path.stem) for path in found}
    places = {path: int(number[0]) for path, number in numbers.items() if number}
    if not found:
        raise ImageError(f"{folder} has no frames: name a GIF, or a directory of numbered pictures")
    if unnumbered := [path for path in found if path not in places]:
        raise ImageError(f"{unnumbered[0]} has no number in its name, so its place in the clip is unknown")
    place, count = Counter(places.values()).most_common(1)[0]
    if count > 1:
        raise ImageError(f"{folder} has {count} frames of the number {place}: remove all but one")
    first, *others = sorted(found, key=places.__getitem__)
    frame = read_image(first, largest_side)
    _check_pixels(str(folder), len(found), frame.shape[1], frame.shape[0])
    frames = np.empty((len(found), *frame.shape), np.uint8)
    frames[0] = frame
    for index, path in enumerate(others, start=1):
        frame = read_image(path, largest_side)
        if frame.shape != frames.shape[1:]:
            sizes = [f"{width} × {height}" for height, width, _ in (frame.shape, frames.shape[1:])]
            raise ImageError(f"{path} has {sizes[0]} pixels, and {first.name} has {sizes[1]}: frames have one size")
        frames[index] = frame
    return frames


def _gif(source: str | Path | bytes, name: str, largest_side: int) -> Array:
    try:
        from PIL import Image
    except ImportError:
        raise MissingExtraError("PIL", "image") from None
    try:
        if not isinstance(source, bytes) and Path(source).exists() and not Path(source).is_file():
            raise ImageError(f"{name} is not a file")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns about large images, which are refused below
            with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=("GIF",)) as image:
                count = int(getattr(image, "n_frames", 1))
                _check_pixels(name, count, *image.size)
                frames, delays = [], []
                for index in range(count):
                    image.seek(index)
                    frames.append(np.array(shrunk(image, largest_side)))
                    delays.append(float(image.info.get("duration", 0)))
                shown = _shown(delays)
                _check_pixels(name, sum(shown), frames[0].shape[1], frames[0].shape[0])
                return np.repeat(np.stack(frames), shown, axis=0)
    except ImageError:
        raise
    except Image.DecompressionBombError:
        raise ImageError(f"{name} has more than {_MOST_PIXELS:,} pixels: cut or shrink it first") from None
    except FileNotFoundError:
        raise ImageError(f"there is no {name}") from None
    except Exception as error:  # noqa: BLE001 - a damaged file makes Pillow raise anything
        reason = f": {error.strerror}" if isinstance(error, OSError) and error.strerror else ""
        raise ImageError(f"{name} cannot be read as a GIF{reason}") from None


def _shown(delays: list[float]) -> list[int]:
    """Return how many times the shortest delay each frame is shown."""
    shortest = min((each for each in delays if each > 0), default=1.0)
    return [max(1, round(each / shortest)) for each in delays]


def _check_pixels(name: str, frames: int, width: int, height: int) -> None:
    if math.prod((frames, width, height)) > _MOST_PIXELS:
        size = f"{counted(frames, 'frame')} of {width} × {height}"
        raise ImageError(f"{name} has {size}, more than {_MOST_PIXELS:,} pixels: cut or shrink it first")
