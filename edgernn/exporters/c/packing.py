"""The layouts in which the kernels read matrices."""

from __future__ import annotations

import numpy as np

from edgernn.contract import Array

__all__ = ["BLOCK", "PANEL", "TILE", "halved", "pack_bytes", "pack_nibbles", "pack_panels", "pack_taps", "padded"]

PANEL = 32  # outputs that a kernel for floating-point matrices, or those of 4 bits, computes at once
TILE = 16  # outputs that a kernel for matrices of 8 bits computes at once, at least
_COLUMN = 64  # outputs whose weights lie side by side in a matrix of 8 bits
GROUP = 4  # inputs whose products with one output lie side by side
BLOCK = 32  # inputs that share a scale at 4 bits


def padded(values: Array, count: int, fill: float = 0) -> Array:
    """Return a vector with `fill` added up to a multiple of `count` elements."""
    return np.pad(values, (0, -len(values) % count), constant_values=fill)


def halved(values: Array) -> Array | None:
    """Return the bits of float32 numbers in half precision, or None if it does not hold all of them exactly."""
    if values.dtype != np.float32:
        return None
    with np.errstate(over="ignore"):
        halves = values.astype(np.float16)
    exact = bool(np.isfinite(halves).all()) and np.array_equal(halves.astype(np.float32), values)
    return halves.view(np.uint16) if exact else None


def pack_panels(matrix: Array) -> Array:
    """Return a matrix (inputs, outputs) in panels: (outputs / 32, inputs, 32)."""
    inputs, outputs = matrix.shape
    wide = np.pad(matrix, ((0, 0), (0, -outputs % PANEL)))
    return np.ascontiguousarray(wide.reshape(inputs, -1, PANEL).transpose(1, 0, 2))


def pack_bytes(matrix: Array) -> Array:
    """Return an int8 matrix (inputs, outputs) in columns of 64 outputs: (inputs / 4, 64, 4) each, one after another.

    The last column has the outputs that are left, up to a multiple of 16.
    """
    columns = [matrix[:, at : at + _COLUMN] for at in range(0, matrix.shape[1], _COLUMN)]
    return np.concatenate([pack_taps(column).ravel() for column in columns])


def pack_taps(matrix: Array) -> Array:
    """Return an int8 matrix (taps, channels) in groups of taps: (taps / 4, channels, 4)."""
    taps, channels = matrix.shape
    wide = np.pad(matrix, ((0, -taps % GROUP), (0, -channels % TILE)))
    return np.ascontiguousarray(wide.reshape(-1, GROUP, wide.shape[1]).transpose(0, 2, 1))


def pack_nibbles(matrix: Array) -> Array:
    """Return a matrix (outputs, inputs) of integers from 0 to 15 in tiles of blocks: (outputs / 32, blocks, 8, 16, 4).

    The low half of a byte belongs to one of the first 16 outputs of a tile, the high half to the one 16 later.
    """
    outputs, inputs = matrix.shape
    wide = np.pad(matrix, ((0, -outputs % PANEL), (0, -inputs % BLOCK)), constant_values=8)
    tiles = wide.reshape(-1, 2, TILE, wide.shape[1] // BLOCK, BLOCK // GROUP, GROUP).transpose(1, 0, 3, 4, 2, 5)
    low, high = tiles
    return np.ascontiguousarray((low | high << 4).astype(np.uint8))
