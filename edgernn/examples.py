"""Random tensors that fit a contract, to try graphs with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from edgernn.contract import BATCH, Array, GraphSpec, TensorSpec

__all__ = ["OTHER_AXIS", "axis_sizes", "example", "random_inputs"]

OTHER_AXIS = 7  # size given to the first of the named axes other than the batch


def axis_sizes(*specs: GraphSpec, smallest: int = OTHER_AXIS) -> dict[str, int]:
    """A size for every named axis of these graphs except the batch, each a different one, from `smallest` on."""
    tensors = (tensor for spec in specs for tensor in (*spec.feeds.values(), *spec.results.values()))
    names = dict.fromkeys(axis for tensor in tensors for axis in tensor.axes if isinstance(axis, str) and axis != BATCH)
    return {name: smallest + 2 * place for place, name in enumerate(names)}


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


def _example(spec: TensorSpec, sizes: Mapping[str, int], random: np.random.Generator) -> Array:
    shape = spec.shape({axis: sizes.get(axis, OTHER_AXIS) for axis in spec.axes if isinstance(axis, str)})
    kind = spec.numpy_dtype.kind
    if kind == "f" and spec.bound is not None:
        return random.uniform(-spec.bound, spec.bound, shape).astype(spec.numpy_dtype)
    if kind == "f":
        return random.standard_normal(shape).astype(spec.numpy_dtype)
    highest = 256 if spec.dtype == "uint8" else 2
    return random.integers(0, int(spec.bound or highest), shape).astype(spec.numpy_dtype)
