"""Quantising weights: to 8 bits with a scale for each index of an axis, to 4 bits with a scale for each block."""

from __future__ import annotations

import math

import numpy as np

from edgernn.contract import Array

__all__ = ["STEPS", "TINY", "harm", "pack", "round_blocks", "round_channels", "round_closest"]

STEPS = 127  # of 8 bits, on either side of zero
TINY = 1e-30  # the scale of weights that are all zeros
_LARGEST_HALF = float(np.finfo(np.float16).max)
_OVERFLOW = 1e18  # of single precision, once it is squared
_HUGE, _RATIO, _FEW = 1e3, 1e4, 0.01  # see `harm`
_SHRINKS = np.linspace(0.75, 1.0, 11)  # of a block's range, among which the best is taken


def harm(array: Array, *, half: bool = False) -> str:
    """Why the values of `array` would not survive in fewer bits, or nothing where they do.

    half: in half precision, whose numbers each have an exponent of their own. Otherwise values share scales, and beside
    a huge one, such as those that masks are made of, the others become zeros.
    """
    sizes = np.abs(array[array != 0])
    if not np.all(np.isfinite(array)):
        return "it holds values that are not finite"
    if not sizes.size:
        return ""
    largest = float(sizes.max())
    if half:
        return f"its values reach {largest:.3g}, beyond half precision" if largest > _LARGEST_HALF else ""
    if largest > _OVERFLOW or any(_drowned(array, axis) > _FEW for axis in _axes(array)):
        return f"its values reach {largest:.3g}, and sharing a scale with these would lose the others"
    return ""


def round_closest(array: Array) -> tuple[int, Array, Array]:
    """The axis whose indices have scales, of all axes the one of the smallest squared error; levels and scales."""
    choices = {axis: round_channels(array, axis) for axis in _axes(array)}
    axis = min(choices, key=lambda axis: float(np.sum(np.square(choices[axis][0] * choices[axis][1] - array))))
    return axis, *choices[axis]


def round_channels(array: Array, axis: int = -1, steps: int = STEPS) -> tuple[Array, Array]:
    """int8 levels within ±`steps`, and for each index of `axis` the scale that its levels are to be multiplied with.

    The scales broadcast: they have one element along every other axis.
    """
    others = tuple(other for other in range(array.ndim) if other != axis % array.ndim)
    scales = np.maximum(np.abs(array).max(axis=others, keepdims=True) / steps, TINY).astype(np.float32)
    return np.rint(array / scales).astype(np.int8), scales


def round_blocks(rows: Array, block: int) -> tuple[Array, Array]:
    """int8 levels of rows (rows, columns) from -8 to 7, and scales (rows, blocks) of so many columns each.

    Columns are filled up with zeros to whole blocks. The range of 4 bits is not symmetric, so a block's largest element
    becomes -8; of several ranges a little smaller the one with the smallest squared error is taken.
    """
    count, columns = rows.shape
    padded = np.zeros((count, math.ceil(columns / block) * block), np.float32)
    padded[:, :columns] = rows
    blocks = padded.reshape(count, -1, block)
    largest = np.take_along_axis(blocks, np.abs(blocks).argmax(axis=2)[..., None], axis=2)
    full = np.where(largest == 0, np.float32(TINY), largest / -8).astype(np.float32)
    best, error = full, np.full(full.shape, np.inf)
    for shrink in _SHRINKS:
        scale = (full * shrink).astype(np.float32)
        off = np.sum((_levels(blocks, scale) * scale - blocks) ** 2, axis=2, keepdims=True)
        best, error = np.where(off < error, scale, best), np.minimum(off, error)
    return _levels(blocks, best).reshape(count, -1), best.reshape(count, -1)


def pack(levels: Array) -> Array:
    """Two numbers from -8 to 7 in each byte, as 0 to 15, the first in its low half."""
    numbers = (levels + 8).astype(np.uint8)
    return numbers[..., 0::2] | numbers[..., 1::2] << 4


def _levels(blocks: Array, scale: Array) -> Array:
    return np.clip(np.rint(blocks / scale), -8, 7).astype(np.int8)


def _axes(array: Array) -> list[int]:
    return [axis for axis, size in enumerate(array.shape) if size > 1]


def _drowned(array: Array, axis: int) -> float:
    """The share of values other than zero in whose channel one is huge, and more than 10,000 times as large."""
    sizes = np.abs(array)
    others = tuple(other for other in range(array.ndim) if other != axis)
    largest = sizes.max(axis=others, keepdims=True)
    return float(np.sum((sizes > 0) & (sizes * _RATIO < largest) & (largest > _HUGE)) / np.sum(sizes > 0))
