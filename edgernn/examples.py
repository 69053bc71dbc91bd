"""Generate random tensors that fit a contract, to run graphs with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from edgernn.contract import BATCH, Array, GraphSpec, TensorSpec

__all__ = ["OTHER_AXIS", "axis_sizes", "example", "extremes", "random_inputs"]

OTHER_AXIS = 7  # size of the first named axis other than the batch


def axis_sizes(*specs: GraphSpec, smallest: int = OTHER_AXIS) -> dict[str, int]:
    """Return a different size for each named axis of these graphs except the batch, counting up from `smallest`.

    The size of an axis does not exceed the largest size that its contract declares.
    """
    tensors = [tensor for spec in specs for tensor in (*spec.feeds.values(), *spec.results.values())]
    names = dict.fromkeys(axis for tensor in tensors for axis in tensor.axes if isinstance(axis, str) and axis != BATCH)
    sizes = {name: smallest + 2 * place for place, name in enumerate(names)}
    for tensor in tensors:
        sizes.update((axis, min(sizes[axis], largest)) for axis, largest in tensor.max_sizes.items())
    return sizes


def example(
    specs: Mapping[str, TensorSpec], batch: int, random: np.random.Generator, sizes: Mapping[str, int] | None = None
) -> dict[str, Array]:
    """Return random tensors that fit `specs`: uniform within bounds; floats without bounds are normally distributed.

    sizes: the sizes of the named axes other than the batch; an axis that is missing has size 7.
    """
    return {name: _example(spec, {**(sizes or {}), BATCH: batch}, random) for name, spec in specs.items()}


def random_inputs(
    spec: GraphSpec, batch: int, random: np.random.Generator, sizes: Mapping[str, int] | None = None
) -> Iterator[dict[str, Array]]:
    """Yield random inputs for one step after another, without end."""
    tensors = {tensor.name: tensor for tensor in spec.inputs}
    sizes = axis_sizes(spec) if sizes is None else sizes
    while True:
        yield example(tensors, batch, random, sizes)


def extremes(specs: Mapping[str, TensorSpec], batch: int, sizes: Mapping[str, int], *, high: bool) -> dict[str, Array]:
    """Return tensors at the upper or lower limit of `specs`; a floating-point tensor without such a limit is zeros."""
    shapes = {name: spec.shape({**sizes, BATCH: batch}) for name, spec in specs.items()}
    return {name: np.full(shapes[name], _ends(spec)[high], spec.numpy_dtype) for name, spec in specs.items()}


def _example(spec: TensorSpec, sizes: Mapping[str, int], random: np.random.Generator) -> Array:
    shape = spec.shape({axis: sizes.get(axis, OTHER_AXIS) for axis in spec.axes if isinstance(axis, str)})
    low, limit = spec.limits
    if spec.numpy_dtype.kind != "f":
        first, last = _ends(spec)
        return random.integers(int(first), int(last), shape, endpoint=True).astype(spec.numpy_dtype)
    if low is not None and limit is not None:
        return random.uniform(low, limit, shape).astype(spec.numpy_dtype)
    drawn = random.standard_normal(shape)
    return (drawn if low is None else low + np.abs(drawn)).astype(spec.numpy_dtype)


def _ends(spec: TensorSpec) -> tuple[int | float, int | float]:
    """Return the smallest and the largest value to draw; integers without limits, uint8 and int16 apart, are 0 or 1."""
    low, limit = spec.limits
    if spec.numpy_dtype.kind == "f":
        return low or 0.0, limit or 0.0
    if limit is not None:
        return low or 0, limit - 1
    if spec.dtype == "uint8":
        return low or 0, 255
    if spec.kind == "audio":
        return -32768 if low is None else low, 32767
    return low or 0, (low or 0) + 1
