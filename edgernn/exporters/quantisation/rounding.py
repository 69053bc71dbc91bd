"""Quantise weights: to 8 bits with per-channel scales, to 4 bits with a scale for each block."""

from __future__ import annotations

import math

import numpy as np

from edgernn.contract import Array

__all__ = ["STEPS", "TINY", "harm", "pack", "round_blocks", "round_channels", "round_closest"]

STEPS = 127  # levels of 8 bits on either side of zero
TINY = 1e-30  # the scale if all weights are zero
_LARGEST_HALF = float(np.finfo(np.float16).max)
_OVERFLOW = 1e18  # squares of larger values would overflow single precision
_HUGE, _RATIO, _FEW = 1e3, 1e4, 0.01  # see `harm`
_SHRINKS = np.linspace(0.75, 1.0, 11)  # candidate factors of a block's range, of which the best is chosen


def harm(array: Array, *, half: bool = False) -> str:
    """Return why quantisation would destroy the values of `array`, or "" if it would not.

    half: for half precision, in which each value has its own exponent. Otherwise values share scales, and a huge value,
    as in masks, would turn the others into zeros.
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
    """Quantise to int8 along the axis with the smallest squared error; return that axis, the levels and the scales."""
    choices = {axis: round_channels(array, axis) for axis in _axes(array)}
    axis = min(choices, key=lambda axis: float(np.sum(np.square(choices[axis][0] * choices[axis][1] - array))))
    return axis, *choices[axis]


def round_channels(array: Array, axis: int = -1, steps: int = STEPS) -> tuple[Array, Array]:
    """Quantise to int8 levels within ±`steps`, with a scale for each index of `axis`; return levels and scales.

    The scales have size 1 along all other axes, so that they broadcast.
    """
    others = tuple(other for other in range(array.ndim) if other != axis % array.ndim)
    scales = np.maximum(np.abs(array).max(axis=others, keepdims=True) / steps, TINY).astype(np.float32)
    return np.rint(array / scales).astype(np.int8), scales


def round_blocks(rows: Array, block: int) -> tuple[Array, Array]:
    """Quantise rows (rows, columns) to levels from -8 to 7, with scales (rows, blocks) for `block` columns each.

    Columns are padded with zeros to whole blocks. The 4-bit range is asymmetric, so a block's largest element becomes
    -8; of several slightly smaller ranges the one with the smallest squared error is chosen.
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
    """Pack two levels from -8 to 7 into each byte, as 0 to 15, the first one in the low half."""
    numbers = (levels + 8).astype(np.uint8)
    return numbers[..., 0::2] | numbers[..., 1::2] << 4


def _levels(blocks: Array, scale: Array) -> Array:
    return np.clip(np.rint(blocks / scale), -8, 7).astype(np.int8)


def _axes(array: Array) -> list[int]:
    return [axis for axis, size in enumerate(array.shape) if size > 1]


def _drowned(array: Array, axis: int) -> float:
    """Return the fraction of nonzero values that are over 10,000 times smaller than a huge value in their channel."""
    sizes = np.abs(array)
    others = tuple(other for other in range(array.ndim) if other != axis)
    largest = sizes.max(axis=others, keepdims=True)
    return float(np.sum((sizes > 0) & (sizes * _RATIO < largest) & (largest > _HUGE)) / np.sum(sizes > 0))
