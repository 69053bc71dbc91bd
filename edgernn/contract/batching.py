"""Join, split and reorder the states and conditions of several streams, along their batch axes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from edgernn.contract.checks import check_tensor
from edgernn.contract.declaration import BATCH, Array, ConditionSpec, TensorSpec
from edgernn.errors import ContractError

__all__ = ["State", "select", "stack", "unstack"]


class State(Mapping[str, Array]):
    """The values of all states of one graph, by name. Immutable: a step returns a new one."""

    __slots__ = ("_arrays",)

    def __init__(self, arrays: Mapping[str, Array]) -> None:
        self._arrays = arrays

    def __getitem__(self, name: str) -> Array:
        return self._arrays[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def __repr__(self) -> str:
        return f"State({', '.join(f'{name}: {array.dtype}{list(array.shape)}' for name, array in self.items())})"


def stack(specs: Sequence[TensorSpec], parts: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
    """Join the tensors of several streams along their batch axes: the inverse of `unstack`.

    Conditions that are the steps of another graph are padded with zeros to the length of the longest.
    """
    if not parts:
        raise ContractError("there are no streams to stack")
    return {
        spec.name: np.concatenate(_padded(spec, [part[spec.name] for part in parts]), _batch_axis(spec))
        for spec in specs
    }


def unstack(specs: Sequence[TensorSpec], whole: Mapping[str, Array]) -> list[dict[str, Array]]:
    """Split stacked tensors into one mapping per stream, each with a batch of one."""
    if not specs:
        raise ContractError("the graph has no such tensors, so there is nothing to unstack")
    sizes: dict[str, int] = {}
    for spec in specs:
        _batch_axis(spec)
        check_tensor(spec, whole[spec.name], sizes)
    return [select(specs, whole, [row]) for row in range(sizes[BATCH])]


def select(specs: Sequence[TensorSpec], whole: Mapping[str, Array], rows: Sequence[int]) -> dict[str, Array]:
    """Select the streams `rows` of stacked tensors, in that order; a row may be repeated, as in beam search."""
    return {spec.name: np.take(whole[spec.name], rows, axis=_batch_axis(spec)) for spec in specs}


def _padded(spec: TensorSpec, arrays: Sequence[Array]) -> Sequence[Array]:
    """Return arrays of one size along the axis of `spec` that a batch pads, if it has one."""
    axis = spec.padded_axis if isinstance(spec, ConditionSpec) else None
    if axis is None or len({array.shape[axis] for array in arrays}) == 1:
        return arrays
    longest = max(array.shape[axis] for array in arrays)
    missing = [
        [(0, longest - array.shape[axis] if place == axis else 0) for place in range(array.ndim)] for array in arrays
    ]
    return [np.pad(array, widths) for array, widths in zip(arrays, missing, strict=True)]


def _batch_axis(spec: TensorSpec) -> int:
    if spec.batch_axis is None:
        raise ContractError(f"{spec.name} declares no batch axis, so streams cannot be batched")
    return spec.batch_axis
