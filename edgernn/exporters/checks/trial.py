"""Call a module once, and check its results against the contract."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from edgernn.contract import Array, GraphSpec, TensorSpec
from edgernn.errors import ExportError
from edgernn.exporters.target import root_cause
from edgernn.models import Graph

__all__ = ["Arrays", "Trial", "differs"]

_ROUNDING = 1.00001  # tolerance of the check of bounds

Arrays = dict[str, Array]  # by the names in the graph


class Trial:
    """Calls the module of a graph with arrays that its contract allows."""

    def __init__(self, graph: Graph) -> None:
        self.module, self.spec = graph.module, graph.spec

    @torch.no_grad()
    def call(self, feeds: Arrays) -> Arrays:
        """Return results by name.

        Raises ExportError if the module fails on `feeds`, changes them in place, or returns results that differ from
        the contract or exceed its limits.
        """
        tensors = {name: torch.from_numpy(np.array(feeds[name])) for name in self.spec.input_names}
        try:
            results = self.module(*tensors.values())
        except Exception as error:  # a module's own code may raise anything
            raise ExportError(f"graph {self.spec.name} refuses {_shapes(feeds)}: {self._cause(error)}") from error
        results = results if isinstance(results, tuple) else (results,)
        if len(results) != len(self.spec.results) or not all(isinstance(result, Tensor) for result in results):
            kinds = ", ".join(type(result).__name__ for result in results)
            raise ExportError(
                f"graph {self.spec.name} returns {kinds or 'nothing'}; its contract says "
                f"{', '.join(self.spec.results)}, as a tuple of tensors in that order"
            )
        self._check_inputs(tensors, feeds)
        named = dict(zip(self.spec.results, results, strict=True))
        sizes = _sizes(self.spec, feeds)
        for name, result in named.items():
            self._check_type(name, result, sizes)
        arrays = {name: result.detach().numpy().copy() for name, result in named.items()}
        for name, array in arrays.items():
            self._check_limits(name, array)
        return arrays

    def _cause(self, error: Exception) -> str:
        """Return the reason, with the type of the parameters if a mixture of types may be the cause."""
        cause = root_cause(error)
        types = sorted({str(p.dtype).removeprefix("torch.") for p in self.module.parameters() if p.is_floating_point()})
        given = {tensor.dtype for tensor in self.spec.feeds.values() if tensor.numpy_dtype.kind == "f"}
        if "dtype" in cause and types and set(types) != given:
            cause += f"; the module's parameters are {' and '.join(types)}, its inputs {' and '.join(sorted(given))}"
        return cause

    def _check_inputs(self, tensors: dict[str, Tensor], feeds: Arrays) -> None:
        for name, tensor in tensors.items():
            if differs(tensor.numpy(), feeds[name]):
                own = self.spec.feeds[name].name
                raise ExportError(
                    f"graph {self.spec.name}: the module changes its input {own} in place; let it work on a copy, "
                    f"{own}.clone()"
                )

    def _check_type(self, name: str, result: Tensor, sizes: dict[str, int]) -> None:
        tensor: TensorSpec = self.spec.results[name]
        expected = [sizes.get(axis) if isinstance(axis, str) else axis for axis in tensor.axes]
        fits = len(expected) == result.ndim and all(e in (None, a) for e, a in zip(expected, result.shape, strict=True))
        dtype = str(result.dtype).removeprefix("torch.")
        if not fits or dtype != tensor.dtype:
            raise ExportError(
                f"graph {self.spec.name}: {name} is {dtype}{list(result.shape)}; "
                f"its contract says {tensor.dtype}[{', '.join(map(str, tensor.axes))}]"
            )

    def _check_limits(self, name: str, array: Array) -> None:
        tensor = self.spec.results[name]
        low, limit = tensor.limits
        if not array.size or (low is None and limit is None):
            return
        least, largest = float(array.min()), float(array.max())
        slack = (_ROUNDING - 1) * max(abs(low or 0), abs(limit or 0)) if tensor.numpy_dtype.kind == "f" else 0
        top = None if limit is None else limit if tensor.numpy_dtype.kind == "f" else limit - 1
        if (low is not None and least < low - slack) or (top is not None and largest > top + slack):
            wrong = least if low is not None and least < low - slack else largest
            between = f"from {low:g} up" if top is None else f"up to {top:g}" if low is None else f"{low:g} to {top:g}"
            raise ExportError(f"graph {self.spec.name}: {name} reaches {wrong:.6g}; its contract says {between}")


def differs(one: Array, other: Array) -> bool:
    """Return whether two arrays differ in any element; NaN equals NaN."""
    return not np.array_equal(one, other, equal_nan=one.dtype.kind == "f")


def _sizes(spec: GraphSpec, feeds: Arrays) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for name, tensor in spec.feeds.items():
        sizes |= tensor.named_sizes(feeds[name])
    return sizes


def _shapes(feeds: Arrays) -> str:
    return ", ".join(f"{name} {array.dtype}{list(array.shape)}" for name, array in feeds.items())
