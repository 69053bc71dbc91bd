"""A cache on disk of the output of the encoder's frozen layers for each image; of resized pixels if none is frozen."""

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
from edgernn.data.downloads import IMAGES
from edgernn.errors import CorpusError, FormatError, ImageError, OutputError, TrainingError
from edgernn.models.encoder import ImageEncoder, resize
from edgernn.paths import Kind, cache_directory
from edgernn.tasks.score import Progress

__all__ = ["FeatureCache", "augment", "cache_features"]


_ARRAY, _KEPT = "array.npy", "kept.json"
_TOGETHER = 16  # images that are encoded in a batch
_LEAST_AREA, _MOST_RATIO = 0.6, 0.15  # limits of crops: fraction of the image's area; log of the aspect ratio


@dataclass(frozen=True)
class FeatureCache:
    """The cached features, with one row for each readable image.

    array: the output of the encoder's frozen layers, (images, augmentations, rows, columns, channels) in half
    precision; if no layer is frozen, pixels (images, 1, rows, columns, 3) of bytes, which are augmented when they are
    read.
    kept: the index of each row's image among the images that were requested. damaged: messages about unreadable images.
    """

    array: Array
    kept: Sequence[int]
    damaged: Sequence[str]

    def rows(self, places: Sequence[int], augmentations: Sequence[int]) -> Tensor:
        """Return augmentations of the images `places`: (images, rows, columns, channels)."""
        if self.array.dtype != np.uint8:
            return torch.from_numpy(
                np.stack([self.array[place, number] for place, number in zip(places, augmentations, strict=True)])
            )
        pixels = torch.from_numpy(np.stack([self.array[place, 0] for place in places])).permute(0, 3, 1, 2).float()
        seeds = [self.kept[place] for place in places]
        cut = [
            augment(each[None], seed, number) for each, seed, number in zip(pixels, seeds, augmentations, strict=True)
        ]
        return torch.cat(cut).permute(0, 2, 3, 1)


def augment(pixels: Tensor, seed: int, number: int) -> Tensor:
    """Return an augmented version of an image (1, 3, size, size): 0 is the image itself, 1 its mirror image.

    Numbers from 2 on are random crops, resized to the image's size, with at least 0.6 of its area and an aspect ratio
    of at most 1.16; odd ones are mirrored. The same seed and number give the same crop.
    """
    if number > 1:
        size = pixels.shape[-1]
        draw = np.random.default_rng((seed, number))
        area, ratio = draw.uniform(_LEAST_AREA, 1.0), math.exp(draw.uniform(-_MOST_RATIO, _MOST_RATIO))
        height, width = (max(1, min(size, round(size * math.sqrt(each)))) for each in (area * ratio, area / ratio))
        top, left = draw.integers(0, size - height + 1), draw.integers(0, size - width + 1)
        pixels = resize(pixels[:, :, top : top + height, left : left + width], size)
    return pixels.flip(3) if number % 2 else pixels


def cache_features(
    encoder: ImageEncoder, images: Sequence[CaptionedImage], *, layers: int, augmentations: int, progress: Progress
) -> FeatureCache:
    """Return the output of all but the last `layers` layers of `encoder` for augmented images, cached on disk.

    If `layers` is the number of all layers, it is the images as the encoder resizes them. Raises CorpusError if no
    image can be read.
    """
    size = encoder.config.size
    if layers == encoder.layers:
        name = f"pixels {size} {encoder.config.largest_side}"
        return _cached(_Layout(name, (1, size, size, 3), np.uint8, _bytes), encoder, images, progress)

    def encode(pixels: Tensor, seeds: Sequence[int]) -> Array:
        made = []
        for number in range(augmentations):
            versions = torch.cat([augment(each[None], seed, number) for each, seed in zip(pixels, seeds, strict=True)])
            grid = encoder.lower(versions.to(memory_format=torch.channels_last), layers)  # twice as fast on a CPU
            made.append(grid.permute(0, 2, 3, 1))
        return torch.stack(made, 1).cpu().numpy().astype(np.float16)

    with torch.no_grad():
        _, channels, rows, columns = encoder.lower(
            torch.zeros(1, 3, size, size, device=encoder.mean.device), layers
        ).shape
    name = f"augmentations {augmentations} {layers} {_digest(encoder)}"
    return _cached(
        _Layout(name, (augmentations, rows, columns, channels), np.float16, encode), encoder, images, progress
    )


def _bytes(pixels: Tensor, seeds: Sequence[int]) -> Array:
    return pixels.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)[:, None].cpu().numpy()


def _digest(encoder: ImageEncoder) -> str:
    digest = hashlib.sha256(json.dumps(encoder.config.to_json()).encode())
    for name, tensor in sorted(encoder.state_dict().items()):
        digest.update(name.encode() + tensor.cpu().numpy().tobytes())
    return digest.hexdigest()


@dataclass(frozen=True)
class _Layout:
    """The shape and type of an image's row in the cache.

    encode: computes rows from resized images and their indices among all images.
    """

    name: str
    shape: tuple[int, ...]
    dtype: type[np.generic]
    encode: Callable[[Tensor, Sequence[int]], Array]

    @property
    def bytes(self) -> int:
        """The size of a row in bytes."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


def _cached(kind: _Layout, encoder: ImageEncoder, images: Sequence[CaptionedImage], progress: Progress) -> FeatureCache:
    digest = hashlib.sha256(kind.name.encode())
    for image in images:
        digest.update(os.fsencode(image.key) + b"\n")
    path = cache_directory() / IMAGES / digest.hexdigest()
    cache = _load(path)
    if cache is None:
        try:
            with new_directory(path, overwrite=True, kind=Kind.DIRECTORY, strangers=_strangers) as directory:
                _fill(directory, kind, encoder, images, progress)
        except OutputError as error:
            raise TrainingError(
                f"{error}: the cache of the images takes {len(images) * kind.bytes >> 20:,} MB: make room for it, or "
                "name another directory with the environment variable EDGERNN_CACHE"
            ) from None
        cache = _load(path)
    if cache is None or not cache.kept:
        raise CorpusError("none of the images can be read" + (f": {cache.damaged[0]}" if cache else ""))
    return cache


@torch.no_grad()
def _fill(
    directory: Path, kind: _Layout, encoder: ImageEncoder, images: Sequence[CaptionedImage], progress: Progress
) -> None:
    array = np.lib.format.open_memmap(directory / _ARRAY, "w+", kind.dtype, (len(images), *kind.shape))
    _take_room(directory / _ARRAY)
    device = encoder.mean.device
    encoder.eval()
    kept: list[int] = []
    damaged: list[str] = []
    for begun in range(0, len(images), _TOGETHER):
        group = range(begun, min(begun + _TOGETHER, len(images)))
        resized = []
        for place in group:
            try:
                image = torch.from_numpy(images[place].read(encoder.config.largest_side)).to(device)
            except ImageError as error:
                damaged.append(str(error))
                continue
            resized.append(encoder.resize(image[None]))
            kept.append(place)
        if resized:
            new = slice(len(kept) - len(resized), len(kept))
            array[new] = kind.encode(torch.cat(resized), kept[new])
        progress(group.stop / len(images), f"{group.stop:,} of {len(images):,} images")
    array.flush()
    (directory / _KEPT).write_text(json.dumps({"kept": kept, "damaged": damaged}), encoding="utf-8")


def _take_room(path: Path) -> None:
    """Reserve disk space for the file.

    Raises OSError if there is too little, where a later write would kill the process.
    """
    with path.open("r+b") as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
        elif shutil.disk_usage(path).free < path.stat().st_size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _load(path: Path) -> FeatureCache | None:
    """Return the cache at `path`, or None if it is missing or incomplete."""
    try:
        about = records.record(records.parse((path / _KEPT).read_bytes(), _KEPT), _KEPT, {"kept", "damaged"})
        array = np.load(path / _ARRAY, mmap_mode="r")
        kept = [records.integer(place, _KEPT) for place in records.items(about["kept"], _KEPT)]
        whole = kept == sorted(set(kept)) and all(place < len(array) for place in kept)
        return FeatureCache(array, kept, records.items(about["damaged"], _KEPT)) if whole else None
    except (OSError, ValueError, FormatError):
        return None


def _strangers(path: Path) -> list[str]:
    return sorted({file.name for file in path.iterdir()} - {_ARRAY, _KEPT})
