"""Read and write arrays as `.npy` files, and read several from an `.npz` file, without pickle."""

from __future__ import annotations

import io
import math
import zipfile
import zlib
from collections.abc import Collection
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
import numpy.typing as npt

from edgernn.errors import FormatError

__all__ = ["from_npy", "read_npz", "to_npy"]

_PLAIN = "biuf"  # the kinds of numbers, as numpy abbreviates them
_MOST_BYTES = 4 << 30  # of the arrays of a file: a few compressed bytes can hold any number of zeros


def to_npy(array: npt.NDArray[Any]) -> bytes:
    """Return the content of a `.npy` file that stores `array`."""
    file = io.BytesIO()
    np.save(file, np.asarray(array, order="C"), allow_pickle=False)
    return file.getvalue()


def read_npz(path: Path, names: Collection[str]) -> dict[str, npt.NDArray[Any]]:
    """Return those arrays of an `.npz` file that are called `names`, as far as it has them, by name.

    Raises FormatError for a damaged file, for arrays of anything but numbers or texts, and for more than 4 GiB of them.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = {each.filename.removesuffix(".npy"): each for each in archive.infolist()}
            members = {name: members[name] for name in names if name in members}
            if sum(each.file_size for each in members.values()) > _MOST_BYTES:
                raise FormatError(f"{path} takes more than {_MOST_BYTES >> 30} GiB of memory: divide it")
            files = {name: archive.read(each) for name, each in members.items()}
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise FormatError(f"{path} is not an .npz file: {str(error)[:200]}") from None
    except OSError as error:
        raise FormatError(f"{path} cannot be read: {error.strerror or error}") from None
    return {name: _array(data, f"{name} in {path}", f"{_PLAIN}U", fortran=True) for name, data in files.items()}


def from_npy(data: bytes, name: str) -> npt.NDArray[Any]:
    """Return the array that the content `data` of a `.npy` file stores.

    name: the name of the file in error messages.
    Raises FormatError for anything but one plain tensor. A header that declares a larger array allocates no memory.
    """
    return _array(data, name, _PLAIN)


def _array(data: bytes, name: str, kinds: str, *, fortran: bool = False) -> npt.NDArray[Any]:
    """kinds: those of dtypes that are accepted. fortran: accept an array whose first axis varies fastest."""
    file = io.BytesIO(data)
    try:
        if np.lib.format.read_magic(file) != (1, 0):
            raise FormatError(f"{name} is a .npy file of another version than 1.0")
        shape, transposed, dtype = np.lib.format.read_array_header_1_0(file)
    except (ValueError, TypeError, SyntaxError, TokenError, RecursionError, MemoryError, OverflowError) as error:
        raise FormatError(f"{name} is not a .npy file: {str(error)[:200]}") from None
    start = file.tell()
    if dtype.kind == "O":
        raise FormatError(f"{name} holds Python objects: save an array of numbers or texts, for example with dtype=str")
    if dtype.kind not in kinds:
        raise FormatError(f"{name} holds {dtype}, and not real numbers{' or texts' if 'U' in kinds else ''}")
    if (transposed and not fortran) or any(size < 0 for size in shape):
        raise FormatError(f"{name} holds no plain tensor")
    if math.prod(shape) * dtype.itemsize != len(data) - start:
        raise FormatError(f"{name} has {len(data) - start} bytes of elements, which are not {dtype}{list(shape)}")
    try:
        elements = np.frombuffer(data, dtype, offset=start)
        if dtype.kind == "U":
            elements.tobytes().decode("utf-32-be" if dtype.str.startswith(">") else "utf-32-le")  # raises ValueError
        return (elements.reshape(shape[::-1]).T if transposed else elements.reshape(shape)).copy()
    except (ValueError, OverflowError):  # no character, elements of no bytes, or an axis longer than memory
        raise FormatError(f"{name} holds no plain tensor") from None
