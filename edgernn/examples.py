"""Random tensors that fit a contract, to try graphs with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from edgernn.contract import BATCH, Array, GraphSpec, TensorSpec

__all__ = ["OTHER_AXIS", "axis_sizes", "example", "extremes", "random_inputs"]

OTHER_AXIS = 7  # size given to the first of the named axes other than the batch


def axis_sizes(*specs: GraphSpec, smallest: int = OTHER_AXIS) -> dict[str, int]:
    """A size for every named axis of these graphs except the batch, each a different one, from `smallest` on.

    An axis with a largest size has at most that.
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
    """Random tensors that fit `specs`: uniform within their bounds, other floats normally distributed.

    sizes: of the named axes other than the batch; those that are missing have the size 7.
    """
    return {name: _example(spec, {**(sizes or {}), BATCH: batch}, random) for name, spec in specs.items()}


def random_inputs(
    spec: GraphSpec, batch: int, random: np.random.Generator, sizes: Mapping[str, int] | None = None
) -> Iterator[dict[str, Array]]:
    """Random inputs of one step after the other, without end."""
    tensors = {tensor.name: tensor for tensor in spec.inputs}
    sizes = axis_sizes(spec) if sizes is None else sizes
    while True:
        yield example(tensors, batch, random, sizes)


def extremes(specs: Mapping[str, TensorSpec], batch: int, sizes: Mapping[str, int], *, high: bool) -> dict[str, Array]:
    """Tensors at the upper or the lower end of what `specs` allow; floats whose end is not declared are zeros."""
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
    """The least and the largest value to be drawn: without limits, integers other than bytes and samples are 0 or 1."""
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
