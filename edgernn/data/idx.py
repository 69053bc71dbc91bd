"""Labelled pictures in files of the IDX format, in which MNIST is published."""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from edgernn.contract import Array
from edgernn.data.captions import DEV, TEST, TRAIN
from edgernn.errors import CorpusError

__all__ = ["LabelledPictures", "idx_parts", "read_idx", "read_pictures"]

_GZIP = b"\x1f\x8b"  # the first bytes of what is gzipped
_BYTES = 8  # the code of unsigned bytes in an IDX header
_MOST = 1_000_000  # arrays in a file: a header of a hostile file can claim billions
_LARGEST_SIDE = 512  # pixels
_MOST_BYTES = 1 << 30  # of the pictures of a file
_IMAGES = re.compile(r"(?P<part>.*?)[-.]?images[-.]idx3-ubyte(\.gz)?")
_PARTS = {"train": TRAIN, "val": DEV, "dev": DEV, "test": TEST, "t10k": TEST}  # by the beginning of a word of the name


class LabelledPictures(NamedTuple):
    """images: uint8 (pictures, height, width). labels: uint8 (pictures,)."""

    images: Array
    labels: Array


def idx_parts(folder: Path) -> tuple[str, ...]:
    """Return the parts that a folder of IDX files has, in the order train, dev, test; () if it has none.

    A word in the names of the files of a part begins with train, val or dev, and test or t10k, as in
    emnist-digits-train-images-idx3-ubyte. Raises CorpusError if the folder has no IDX files of images.
    """
    found = {_part(path) for path in _image_files(folder)}
    return tuple(part for part in (TRAIN, DEV, TEST) if part in found)


def read_pictures(folder: Path, part: str | None) -> LabelledPictures:
    """Read the IDX files of images of a part, gzipped or not, and the files of labels beside them; all for None.

    Raises CorpusError if there are none, a file is damaged or of another format, labels are missing or are not as many
    as the images, or the images are not of one size.
    """
    files = [path for path in _image_files(folder) if part is None or _part(path) == part]
    if not files:
        raise CorpusError(
            f"{folder} has no part {part}; it has {', '.join(idx_parts(folder)) or 'no parts'}: add files whose names "
            f"begin with {part}"
        )
    read = [_read_pair(path) for path in files]
    for path, pictures in zip(files, read, strict=True):
        if pictures.images.shape[1:] != read[0].images.shape[1:]:
            raise CorpusError(f"{path} has pictures of another size than {files[0].name}: bring them to one size")
    return LabelledPictures(*(np.concatenate(arrays) for arrays in zip(*read, strict=True)))


def read_idx(path: Path, shape: Sequence[int | None]) -> Array:
    """Read an IDX file of unsigned bytes (count, *shape), gzipped or not, whatever its name; a size of None may be any.

    Raises CorpusError if the file is missing, damaged, too large or of another format.
    """
    try:
        with path.open("rb") as raw:
            zipped = raw.read(len(_GZIP)) == _GZIP
        with gzip.open(path) if zipped else path.open("rb") as file:
            sizes = _sizes(path, file.read(4 + 4 * (1 + len(shape))), shape)
            size = int(np.prod(sizes, dtype=np.int64))
            data = file.read(size + 1)
    except FileNotFoundError:
        raise CorpusError(f"{path} is missing") from None
    except (OSError, EOFError, zlib.error) as error:
        damaged = "it is gzipped and damaged: get the file again"
        raise CorpusError(f"{path} cannot be read: {getattr(error, 'strerror', None) or damaged}") from None
    if len(data) != size:
        has = "surplus data after" if len(data) > size else f"{len(data):,} of"
        raise CorpusError(f"{path} has {has} the {size:,} bytes that its header announces: get the file again")
    return np.frombuffer(data, np.uint8).reshape(sizes)


def _sizes(path: Path, header: bytes, shape: Sequence[int | None]) -> list[int]:
    """Return the sizes that a header declares. Raises CorpusError if they are not as `shape` says, or too large."""
    magic, *sizes = np.frombuffer(header[: len(header) // 4 * 4], ">u4").tolist() or [0]
    if magic != (_BYTES << 8 | 1 + len(shape)) or len(sizes) != 1 + len(shape):
        what = "images" if shape else "labels"
        raise CorpusError(f"{path} is not an IDX file of {what} whose values are unsigned bytes")
    has = " × ".join(f"{size:,}" for size in sizes)
    if any(wanted not in (None, size) for size, wanted in zip(sizes[1:], shape, strict=True)):
        raise CorpusError(f"{path} has {has} values, and not {' × '.join(['any', *map(str, shape)])}")
    sides = [size for size, wanted in zip(sizes[1:], shape, strict=True) if wanted is None]
    if not all(1 <= side <= _LARGEST_SIDE for side in sides):
        raise CorpusError(
            f"{path} has images of {' × '.join(map(str, sides[::-1]))} pixels, and sides may have 1 to {_LARGEST_SIDE}"
        )
    if sizes[0] > _MOST or np.prod(sizes, dtype=np.float64) > _MOST_BYTES:
        raise CorpusError(
            f"{path} has {has} values, and at most {_MOST:,} arrays and {_MOST_BYTES >> 30} GiB are read: split it"
        )
    return sizes


def _image_files(folder: Path) -> list[Path]:
    """Return the IDX files of images in a folder, the gzipped ones only where the same file is not there unpacked."""
    if not folder.is_dir():
        raise CorpusError(f"there is no {folder}" if not folder.exists() else f"{folder} is not a folder of IDX files")
    files = sorted(path for path in folder.iterdir() if _IMAGES.fullmatch(path.name))
    names = {path.name for path in files}
    files = [path for path in files if path.name.removesuffix(".gz") == path.name or path.stem not in names]
    if not files:
        raise CorpusError(f"{folder} has no IDX files of images, such as train-images-idx3-ubyte.gz")
    return files


def _part(path: Path) -> str:
    """Return the part to which a file of images belongs; "" for none."""
    match = _IMAGES.fullmatch(path.name)
    assert match is not None
    words = re.split(r"[-_. ]", match["part"].lower())
    return next((part for word in words for begin, part in _PARTS.items() if word.startswith(begin)), "")


def _read_pair(path: Path) -> LabelledPictures:
    plain = path.name.removesuffix(".gz").replace("images", "labels").replace("idx3", "idx1")
    labels = next((each for each in (path.with_name(plain), path.with_name(f"{plain}.gz")) if each.exists()), None)
    if labels is None:
        raise CorpusError(f"the labels of {path} are missing: there is no {plain} or {plain}.gz beside it")
    pictures = LabelledPictures(read_idx(path, (None, None)), read_idx(labels, ()))
    if len(pictures.images) != len(pictures.labels):
        have = f"{len(pictures.images):,} images, but {labels.name} has {len(pictures.labels):,} labels"
        raise CorpusError(f"{path} has {have}")
    if not len(pictures.images):
        raise CorpusError(f"{path} has no images")
    return pictures
