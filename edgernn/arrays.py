"""Read and write arrays as `.npy` files, and read several from an `.npz` file, without pickle."""

from __future__ import annotations

import io
import math
import zipfile
import zlib
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


def read_npz(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of numbers and texts in an `.npz` file, by name.

    Raises FormatError for a file that is damaged, holds anything else, or takes more than 4 GiB of memory.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(each.file_size for each in archive.infolist()) > _MOST_BYTES:
                raise FormatError(f"{path} takes more than {_MOST_BYTES >> 30} GiB of memory: divide it")
            files = {name.removesuffix(".npy"): archive.read(name) for name in archive.namelist()}
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
    if dtype.kind not in kinds or (transposed and not fortran) or any(size < 0 for size in shape):
        raise FormatError(f"{name} holds no plain tensor")
    if math.prod(shape) * dtype.itemsize != len(data) - start:
        raise FormatError(f"{name} has {len(data) - start} bytes of elements, which are not {dtype}{list(shape)}")
    elements = np.frombuffer(data, dtype, offset=start)
    return (elements.reshape(shape[::-1]).T if transposed else elements.reshape(shape)).copy()
