"""Read and write arrays as `.npy` files, without pickle."""

from __future__ import annotations

import io
import math
from tokenize import TokenError
from typing import Any

import numpy as np
import numpy.typing as npt

from edgernn.errors import FormatError

__all__ = ["from_npy", "to_npy"]


def to_npy(array: npt.NDArray[Any]) -> bytes:
    """Return the content of a `.npy` file that stores `array`."""
    file = io.BytesIO()
    np.save(file, np.asarray(array, order="C"), allow_pickle=False)
    return file.getvalue()


def from_npy(data: bytes, name: str) -> npt.NDArray[Any]:
    """Return the array that the content `data` of a `.npy` file stores.

    name: the name of the file in error messages.
    Raises FormatError for anything but one plain tensor. A header that declares a larger array allocates no memory.
    """
    file = io.BytesIO(data)
    try:
        if np.lib.format.read_magic(file) != (1, 0):
            raise FormatError(f"{name} is a .npy file of another version than 1.0")
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
    except (ValueError, TypeError, SyntaxError, TokenError, RecursionError, MemoryError, OverflowError) as error:
        raise FormatError(f"{name} is not a .npy file: {str(error)[:200]}") from None
    start = file.tell()
    if dtype.kind not in "biuf" or fortran or any(size < 0 for size in shape):
        raise FormatError(f"{name} holds no plain tensor")
    if math.prod(shape) * dtype.itemsize != len(data) - start:
        raise FormatError(f"{name} has {len(data) - start} bytes of elements, which are not {dtype}{list(shape)}")
    return np.frombuffer(data, dtype, offset=start).reshape(shape).copy()
