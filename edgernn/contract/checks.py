"""Check arrays against a contract: names, element types, shapes and bounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from edgernn.contract.declaration import BATCH, Array, GraphSpec, TensorSpec
from edgernn.errors import ContractError

__all__ = ["FeedCheck", "check", "check_tensor"]

_BATCHES_KEPT = 64  # batch sizes for which a `FeedCheck` keeps the expected shapes
_GROUPS = ("input", "condition", "state")


def check_tensor(spec: TensorSpec, array: Array, sizes: dict[str, int]) -> None:
    """Raise ContractError unless `array` fits `spec`.

    sizes: the sizes of named axes, which the array must match; the sizes of its other named axes are added.
    """
    if not isinstance(array, np.ndarray):
        raise ContractError(f"{spec.name} is {type(array).__name__}, not a numpy array")
    if array.dtype != spec.numpy_dtype:
        raise ContractError(f"{spec.name} has dtype {array.dtype}; the contract says {spec.dtype}")
    if array.ndim != len(spec.axes):
        raise _misfit(spec, array, "")
    for size, axis in zip(array.shape, spec.axes, strict=True):
        expected = sizes.setdefault(axis, size) if isinstance(axis, str) else axis
        if size != expected:
            raise _misfit(spec, array, f" with {axis} = {expected}" if isinstance(axis, str) else "")
    for axis, largest in spec.max_sizes.items():
        if not 1 <= sizes[axis] <= largest:
            raise _misfit(spec, array, f" with {axis} from 1 to {largest}")
    if spec.is_checked and array.size and not _is_within(array, *spec.limits):
        least, limit = spec.limits
        wrong = array.min() if least is not None and array.min() < least else array.max()
        allowed = f"below {least}" if limit is None else f"outside {'' if least is None else least}..{limit - 1}"
        raise ContractError(f"{spec.name} holds {wrong}, {allowed}")


def check(kind: str, specs: Sequence[TensorSpec], arrays: Mapping[str, Array], sizes: dict[str, int]) -> None:
    """Raise ContractError unless `arrays` fit `specs`, with none missing and none in excess.

    kind: the noun for these tensors in messages. sizes: as for `check_tensor`.
    """
    for spec in specs:
        if spec.name not in arrays:
            raise ContractError(f"the {kind} {spec.name!r} is missing")
        check_tensor(spec, arrays[spec.name], sizes)
    if len(arrays) > len(specs):
        extra = sorted(arrays.keys() - {spec.name for spec in specs})
        raise ContractError(f"there is no {kind} {', '.join(map(repr, extra))}")


class _Expected(NamedTuple):
    """The expected shape and type of one tensor for a batch size. limits: None for a tensor without checked limits."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    limits: tuple[int | float | None, int | float | None] | None


class FeedCheck:
    """Checks the arrays that one graph is called with, step after step.

    The fast path of the check: if the batch is the only named axis, the shapes of arrays that passed are kept for each
    batch size, and the next arrays are compared with them. Arrays that differ go through the full check, `check`, which
    names the error.
    """

    def __init__(self, spec: GraphSpec) -> None:
        self._groups: tuple[tuple[TensorSpec, ...], ...] = (spec.inputs, spec.conditions, spec.states)
        tensors = (*spec.inputs, *spec.conditions, *spec.states)
        named = {axis for tensor in tensors for axis in tensor.axes if isinstance(axis, str)}
        first = spec.inputs[0] if spec.inputs else None
        # The first input gives the batch size; None disables the fast path: no input, or named axes other than the
        # batch.
        self._batch_axis = None if first is None or not named <= {BATCH} else first.batch_axis
        self._first = "" if first is None else first.name
        self._expected: dict[int, tuple[list[_Expected], ...]] = {}  # by batch size

    def __call__(
        self, inputs: Mapping[str, Array], conditions: Mapping[str, Array], state: Mapping[str, Array]
    ) -> None:
        """Raise ContractError unless the arrays fit the graph's specification."""
        if self._match(inputs, conditions, state):
            return
        sizes: dict[str, int] = {}
        for kind, specs, arrays in zip(_GROUPS, self._groups, (inputs, conditions, state), strict=True):
            check(kind, specs, arrays, sizes)
        if self._batch_axis is not None and len(self._expected) < _BATCHES_KEPT:
            self._expected[sizes[BATCH]] = tuple(
                [
                    _Expected(spec.name, spec.numpy_dtype, spec.shape(sizes), spec.limits if spec.is_checked else None)
                    for spec in specs
                ]
                for specs in self._groups
            )

    def _match(self, inputs: Mapping[str, Array], conditions: Mapping[str, Array], state: Mapping[str, Array]) -> bool:
        """Return whether the arrays have kept shapes and valid values: the fast path. False: run the full check."""
        try:
            groups = self._expected[inputs[self._first].shape[self._batch_axis or 0]]
            for arrays, expected in zip((inputs, conditions, state), groups, strict=True):
                if len(arrays) != len(expected):
                    return False
                for name, dtype, shape, limits in expected:
                    array = arrays[name]
                    if type(array) is not np.ndarray or array.shape != shape or array.dtype != dtype:
                        return False
                    if limits is not None and not _is_within(array, *limits):
                        return False
        except (KeyError, IndexError, AttributeError, TypeError):
            return False
        return True


def _is_within(array: Array, low: int | float | None, limit: int | float | None) -> bool:
    """Return whether all elements are at least `low` and below `limit`; None means no limit.

    False for an empty array.
    """
    if array.size == 1:
        value = array.item()
        return (low is None or value >= low) and (limit is None or value < limit)
    return bool(array.size and (low is None or array.min() >= low) and (limit is None or array.max() < limit))


def _misfit(spec: TensorSpec, array: Array, detail: str) -> ContractError:
    axes = ", ".join(map(str, spec.axes))
    return ContractError(f"{spec.name} has shape {array.shape}; the contract says ({axes}){detail}")
