"""What the lower layers of an encoder see of pictures, kept on disk; where all layers learn, resized pixels."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from edgernn import records
from edgernn.atomic import new_directory
from edgernn.contract import Array
from edgernn.data.captions import CaptionedImage
from edgernn.data.downloads import cache_directory
from edgernn.errors import CorpusError, FormatError, ImageError, TrainingError
from edgernn.models.encoder import ImageEncoder, resize

__all__ = ["FeatureCache", "Progress", "cache_features", "view_of"]

Progress = Callable[[float, str], None]  # how much is done, 0 to 1, and of what

_ARRAY, _KEPT = "array.npy", "kept.json"
_TOGETHER = 16  # pictures
_LEAST_AREA, _MOST_RATIO = 0.6, 0.15  # of a part, of a picture's area; logarithm of its height by its width


@dataclass(frozen=True)
class FeatureCache:
    """One row for each picture that could be read.

    array: (pictures, views, rows, columns, channels), what the lower layers of an encoder make of each view in half
    precision; or (pictures, 1, rows, columns, 3) of bytes, of which the views are cut when they are asked for.
    kept: places of its pictures among those that were asked for. damaged: what was wrong with the others.
    """

    array: Array
    kept: Sequence[int]
    damaged: Sequence[str]

    def rows(self, places: Sequence[int], views: Sequence[int]) -> Tensor:
        """Views of some pictures (pictures, rows, columns, channels)."""
        if self.array.dtype != np.uint8:
            return torch.from_numpy(
                np.stack([self.array[place, view] for place, view in zip(places, views, strict=True)])
            )
        pixels = torch.from_numpy(np.stack([self.array[place, 0] for place in places])).permute(0, 3, 1, 2).float()
        seeds = [self.kept[place] for place in places]
        cut = [view_of(each[None], seed, view) for each, seed, view in zip(pixels, seeds, views, strict=True)]
        return torch.cat(cut).permute(0, 2, 3, 1)


def view_of(pixels: Tensor, seed: int, view: int) -> Tensor:
    """A view of a picture (1, 3, size, size): 0 is the picture itself, and those after it parts of it.

    Odd ones are mirrored, and 1 is whole. A part has at least 0.6 of the area, sides whose ratio is at most 1.35, and
    the picture's size. The same seed and view give the same part.
    """
    if view > 1:
        size = pixels.shape[-1]
        draw = np.random.default_rng((seed, view))
        area, ratio = draw.uniform(_LEAST_AREA, 1.0), math.exp(draw.uniform(-_MOST_RATIO, _MOST_RATIO))
        height, width = (max(1, min(size, round(size * math.sqrt(each)))) for each in (area * ratio, area / ratio))
        top, left = draw.integers(0, size - height + 1), draw.integers(0, size - width + 1)
        pixels = resize(pixels[:, :, top : top + height, left : left + width], size)
    return pixels.flip(3) if view % 2 else pixels


def cache_features(
    encoder: ImageEncoder, pictures: Sequence[CaptionedImage], *, layers: int, views: int, progress: Progress
) -> FeatureCache:
    """What all but the last `layers` layers of `encoder` make of views of pictures, from the cache or made now.

    Where no layer is left, it is the pictures as the encoder resizes them. Raises CorpusError if none can be read.
    """
    size = encoder.config.size
    if layers == encoder.layers:
        name = f"pixels {size} {encoder.config.largest_side}"
        return _store(_Kind(name, (1, size, size, 3), np.uint8, _bytes), encoder, pictures, progress)

    def look(pixels: Tensor, seeds: Sequence[int]) -> Array:
        made = []
        for view in range(views):
            seen = torch.cat([view_of(each[None], seed, view) for each, seed in zip(pixels, seeds, strict=True)])
            grid = encoder.lower(seen.to(memory_format=torch.channels_last), layers)  # twice as fast on a processor
            made.append(grid.permute(0, 2, 3, 1))
        return torch.stack(made, 1).cpu().numpy().astype(np.float16)

    with torch.no_grad():
        _, channels, rows, columns = encoder.lower(
            torch.zeros(1, 3, size, size, device=encoder.mean.device), layers
        ).shape
    name = f"views {views} {layers} {_digest(encoder)}"
    return _store(_Kind(name, (views, rows, columns, channels), np.float16, look), encoder, pictures, progress)


def _bytes(pixels: Tensor, seeds: Sequence[int]) -> Array:
    return pixels.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)[:, None].cpu().numpy()


def _digest(encoder: ImageEncoder) -> str:
    digest = hashlib.sha256(json.dumps(encoder.config.to_json()).encode())
    for name, tensor in sorted(encoder.state_dict().items()):
        digest.update(name.encode() + tensor.cpu().numpy().tobytes())
    return digest.hexdigest()


@dataclass(frozen=True)
class _Kind:
    """What is kept of a picture: rows of this shape and type.

    look: makes them of resized pictures, and of where these stand among all.
    """

    name: str
    shape: tuple[int, ...]
    dtype: type[np.generic]
    look: Callable[[Tensor, Sequence[int]], Array]

    @property
    def bytes(self) -> int:
        """Of a picture."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


def _store(kind: _Kind, encoder: ImageEncoder, pictures: Sequence[CaptionedImage], progress: Progress) -> FeatureCache:
    digest = hashlib.sha256(kind.name.encode())
    for picture in pictures:
        digest.update(os.fsencode(picture.key) + b"\n")
    path = cache_directory() / "pictures" / digest.hexdigest()
    store = _load(path)
    if store is None:
        try:
            with new_directory(path, overwrite=True, owns=_owns) as directory:
                _fill(directory, kind, encoder, pictures, progress)
        except OSError as error:
            raise TrainingError(
                f"the cache {path.parent} cannot be written: {error.strerror}: make room for "
                f"{len(pictures) * kind.bytes >> 20:,} MB, or name another directory by EDGERNN_CACHE"
            ) from None
        store = _load(path)
    if store is None or not store.kept:
        raise CorpusError("none of the pictures can be read" + (f": {store.damaged[0]}" if store else ""))
    return store


@torch.no_grad()
def _fill(
    directory: Path, kind: _Kind, encoder: ImageEncoder, pictures: Sequence[CaptionedImage], progress: Progress
) -> None:
    array = np.lib.format.open_memmap(directory / _ARRAY, "w+", kind.dtype, (len(pictures), *kind.shape))
    _take_room(directory / _ARRAY)
    device = encoder.mean.device
    encoder.eval()
    kept: list[int] = []
    damaged: list[str] = []
    for begun in range(0, len(pictures), _TOGETHER):
        group = range(begun, min(begun + _TOGETHER, len(pictures)))
        resized = []
        for place in group:
            try:
                image = torch.from_numpy(pictures[place].read(encoder.config.largest_side)).to(device)
            except ImageError as error:
                damaged.append(str(error))
                continue
            resized.append(encoder.resize(image[None]))
            kept.append(place)
        if resized:
            new = slice(len(kept) - len(resized), len(kept))
            array[new] = kind.look(torch.cat(resized), kept[new])
        progress(group.stop / len(pictures), f"{group.stop:,} of {len(pictures):,} pictures")
    array.flush()
    (directory / _KEPT).write_text(json.dumps({"kept": kept, "damaged": damaged}), encoding="utf-8")


def _take_room(path: Path) -> None:
    """Raise OSError now if the disk has no room, where a write to the mapped file would kill the process."""
    with path.open("r+b") as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
        elif shutil.disk_usage(path).free < path.stat().st_size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _load(path: Path) -> FeatureCache | None:
    """The store at `path`, if it is whole."""
    try:
        about = records.record(records.parse((path / _KEPT).read_bytes(), _KEPT), _KEPT, {"kept", "damaged"})
        array = np.load(path / _ARRAY, mmap_mode="r")
        kept = [records.integer(place, _KEPT) for place in records.items(about["kept"], _KEPT)]
        whole = kept == sorted(set(kept)) and all(place < len(array) for place in kept)
        return FeatureCache(array, kept, records.items(about["damaged"], _KEPT)) if whole else None
    except (OSError, ValueError, FormatError):
        return None


def _owns(path: Path) -> bool:
    return {file.name for file in path.iterdir()} <= {_ARRAY, _KEPT}
