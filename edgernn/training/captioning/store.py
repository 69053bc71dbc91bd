"""What an encoder sees of pictures, kept on disk: features where it is frozen, resized pixels where it learns."""

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
from edgernn.errors import CorpusError, FormatError, ImageError, TrainingError
from edgernn.models.encoder import ImageEncoder
from edgernn.training.captioning.pictures import Picture
from edgernn.training.texts import cache_directory

__all__ = ["Progress", "Store", "features_of", "pixels_of"]

Progress = Callable[[float, str], None]  # how much is done, 0 to 1, and of what

_ARRAY, _KEPT = "array.npy", "kept.json"
_TOGETHER = 16  # pictures


@dataclass(frozen=True)
class Store:
    """One row for each picture that could be read.

    array: features (pictures, ways, cells, channels) in half precision, where way 1 is the picture mirrored, or pixels
    (pictures, 1, size, size, 3) of bytes. kept: places of its pictures among those that were asked for.
    damaged: what was wrong with the others.
    """

    array: Array
    kept: Sequence[int]
    damaged: Sequence[str]

    def rows(self, places: Sequence[int], ways: Sequence[int]) -> Tensor:
        """Of some pictures, each as it is (way 0) or mirrored (way 1); pixels are (pictures, size, size, 3)."""
        if self.array.dtype == np.uint8:
            pictures = [self.array[place, 0] for place in places]
            turned = [picture[:, ::-1] if way else picture for picture, way in zip(pictures, ways, strict=True)]
            return torch.from_numpy(np.stack(turned))
        chosen = [self.array[place, min(way, self.array.shape[1] - 1)] for place, way in zip(places, ways, strict=True)]
        return torch.from_numpy(np.stack(chosen)).float()


def features_of(encoder: ImageEncoder, pictures: Sequence[Picture], *, flips: bool, progress: Progress) -> Store:
    """The features of pictures, from the cache or made now. Raises CorpusError if no picture can be read."""
    digest = hashlib.sha256(json.dumps(encoder.config.to_json()).encode())
    for name, tensor in sorted(encoder.state_dict().items()):
        digest.update(name.encode() + tensor.cpu().numpy().tobytes())
    ways = 2 if flips else 1

    def look(pixels: Tensor) -> Array:
        pixels = pixels.to(memory_format=torch.channels_last)  # twice as fast on a processor
        turned = [pixels, pixels.flip(3)][:ways]
        return torch.stack([encoder.features(each) for each in turned], 1).cpu().numpy().astype(np.float16)

    shape = (ways, encoder.config.grid**2, encoder.config.channels)
    return _store(_Kind(f"features {ways} {digest.hexdigest()}", shape, np.float16, look), encoder, pictures, progress)


def pixels_of(encoder: ImageEncoder, pictures: Sequence[Picture], *, progress: Progress) -> Store:
    """Pictures as `encoder` resizes them. Raises CorpusError if none can be read."""
    size = encoder.config.size

    def keep(pixels: Tensor) -> Array:
        return pixels.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)[:, None].cpu().numpy()

    name = f"pixels {size} {encoder.config.largest_side}"
    return _store(_Kind(name, (1, size, size, 3), np.uint8, keep), encoder, pictures, progress)


@dataclass(frozen=True)
class _Kind:
    """What is kept of a picture: rows of this shape and type, which `look` makes of resized pictures."""

    name: str
    shape: tuple[int, ...]
    dtype: type[np.generic]
    look: Callable[[Tensor], Array]

    @property
    def bytes(self) -> int:
        """Of a picture."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


def _store(kind: _Kind, encoder: ImageEncoder, pictures: Sequence[Picture], progress: Progress) -> Store:
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
def _fill(directory: Path, kind: _Kind, encoder: ImageEncoder, pictures: Sequence[Picture], progress: Progress) -> None:
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
            array[len(kept) - len(resized) : len(kept)] = kind.look(torch.cat(resized))
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


def _load(path: Path) -> Store | None:
    """The store at `path`, if it is whole."""
    try:
        about = records.record(records.parse((path / _KEPT).read_bytes(), _KEPT), _KEPT, {"kept", "damaged"})
        return Store(np.load(path / _ARRAY, mmap_mode="r"), about["kept"], about["damaged"])
    except (OSError, ValueError, FormatError):
        return None


def _owns(path: Path) -> bool:
    return {file.name for file in path.iterdir()} <= {_ARRAY, _KEPT}
