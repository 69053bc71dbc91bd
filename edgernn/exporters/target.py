"""What a target is, and the tensors that graphs are tried with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgernn.contract import BATCH, Array, GraphSpec, TensorSpec
from edgernn.models import Graph
from edgernn.runtime import BundleEngine

__all__ = ["GraphReport", "Target", "example"]

_OTHER_AXIS = 7  # size given to a named axis other than the batch


@dataclass(frozen=True)
class GraphReport:
    """What is in a graph file.

    parameters: elements of its constant tensors. operators: how often each occurs. opset, ir_version: of ONNX, else
    None. quantised: whether any weight is stored in integers. contract: what the file itself says of how it is driven.
    """

    parameters: int
    operators: Mapping[str, int]
    opset: int | None = None
    ir_version: int | None = None
    quantised: bool = False
    contract: GraphSpec | None = None


@dataclass(frozen=True)
class Target:
    """One kind of artifact.

    suffix: of its graph files. write: exports a graph as the bytes of such a file. engine: runs it here.
    inspect: looks into it. precisions: what it can be written at.
    legacy: what the user should know before relying on it, or empty.
    """

    name: str
    suffix: str
    write: Callable[[Graph], bytes]
    engine: type[BundleEngine]
    inspect: Callable[[bytes], GraphReport]
    precisions: tuple[str, ...] = ("fp32",)
    legacy: str = ""


def example(specs: Mapping[str, TensorSpec], batch: int, random: np.random.Generator) -> dict[str, Array]:
    """Random tensors that fit `specs`: uniform within their bounds, other floats normally distributed."""
    return {name: _example(spec, batch, random) for name, spec in specs.items()}


def _example(spec: TensorSpec, batch: int, random: np.random.Generator) -> Array:
    names = (axis for axis in spec.axes if isinstance(axis, str))
    shape: Sequence[int] = spec.shape({name: batch if name == BATCH else _OTHER_AXIS for name in names})
    kind = spec.numpy_dtype.kind
    if kind == "f" and spec.bound is not None:
        return random.uniform(-spec.bound, spec.bound, shape).astype(spec.numpy_dtype)
    if kind == "f":
        return random.standard_normal(shape).astype(spec.numpy_dtype)
    highest = 256 if spec.dtype == "uint8" else 2
    return random.integers(0, int(spec.bound or highest), shape).astype(spec.numpy_dtype)
