"""Real inputs of a network: the examples that are given to `export_module`, step by step."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from edgernn.contract import BATCH, Array, Contract, GraphSpec, TensorSpec, check_tensor
from edgernn.errors import ConfigError, ContractError, few, first_line

__all__ = ["Examples", "GraphExamples", "RealInputs"]

Step = Mapping[str, Any]  # arrays or tensors by the name of an input or a condition
Examples = Sequence[Step] | Sequence[Sequence[Step]] | Callable[[int], Step]

_COPIES = 4  # of a single stream, in a batch
_WIDEST = 64  # largest batch
_LAG = 3  # steps by which each copy lags behind the previous one


@dataclass(frozen=True)
class _Recording:
    """One stream of examples. length: in steps, after which it repeats; None for an endless one."""

    step: Callable[[int], Step]
    length: int | None

    def at(self, number: int) -> Step:
        """Return the mapping of one step. Raises IndexError or StopIteration if a function ends there."""
        try:
            return self.step(number if self.length is None else number % self.length)
        except (IndexError, StopIteration):
            if number:
                raise
            raise ConfigError("examples: the function gives no step 0") from None
        except ConfigError:
            raise
        except Exception as error:  # the caller's function may raise anything
            raise ConfigError(f"examples: step {number}: {type(error).__name__}: {first_line(error)}") from error

    def having(self, names: Set[str]) -> _Recording | None:
        """Return the part whose steps have all of `names`, or None if there is none."""
        if self.length is None:
            return self if names <= self.at(0).keys() else None
        steps = [number for number in range(self.length) if names <= self.at(number).keys()]
        return _Recording(lambda place: self.at(steps[place]), len(steps)) if steps else None


class RealInputs:
    """Streams of real inputs of the graphs of one contract.

    given: a sequence of mappings from the name of an input (or condition) to its array, one for each step of a stream;
    a sequence of such sequences, for several streams; or a function from the number of a step, from 0, to its mapping.
    The batch axis of an array counts parallel streams, usually one.
    Raises ConfigError for anything else, and for names that are not inputs or conditions of `contract`.
    """

    def __init__(self, given: Examples, contract: Contract) -> None:
        known = {tensor.name for graph in contract.graphs for tensor in (*graph.inputs, *graph.conditions)}
        self._recordings = _recordings(given)
        for recording in self._recordings:
            for number in range(recording.length or 1):
                step = recording.at(number)
                if not isinstance(step, Mapping):
                    raise ConfigError(f"examples: step {number} is {type(step).__name__}, not a mapping by input name")
                if unknown := sorted(step.keys() - known):
                    raise ConfigError(f"examples: there is no input {str(unknown[0])[:40]!r}; there is {few(known)}")

    def of(self, spec: GraphSpec) -> GraphExamples | None:
        """Return the examples of one graph: the steps that have all its inputs. None if there are none."""
        names = {tensor.name for tensor in spec.inputs}
        own = [recording.having(names) for recording in self._recordings]
        found = [(part, whole.at(0)) for part, whole in zip(own, self._recordings, strict=True) if part is not None]
        return GraphExamples(spec, [part for part, _ in found], [first for _, first in found]) if found else None


class GraphExamples:
    """Streams of real inputs of one graph, as single streams or as a batch.

    firsts: the first mapping of each recording, which may have conditions and inputs of other graphs too.
    """

    def __init__(self, spec: GraphSpec, recordings: Sequence[_Recording], firsts: Sequence[Step]) -> None:
        self._spec, self._recordings = spec, recordings
        self._rows = [(place, row) for place, each in enumerate(recordings) for row in range(self._width(each))]
        self._firsts = firsts

    @property
    def longest(self) -> int:
        """The number of steps of the longest finite stream."""
        return max(each.length or 0 for each in self._recordings)

    def __len__(self) -> int:
        return len(self._rows)

    def given(self, number: int, tensors: Sequence[TensorSpec]) -> dict[str, Array]:
        """Return other tensors in the first step of stream `number`, such as conditions, with a batch of one."""
        place, row = self._rows[number]
        first = self._firsts[place]
        known = [tensor for tensor in tensors if tensor.name in first]
        return {tensor.name: _row(tensor, _array(tensor, first[tensor.name], 0), row) for tensor in known}

    def alone(self, number: int, steps: int) -> Iterator[dict[str, Array]]:
        """Yield the inputs of one stream, which repeats after its end."""
        place, row = self._rows[number]
        return (
            {t.name: _row(t, arrays[t.name], row) for t in self._spec.inputs} for arrays in self._steps(place, steps)
        )

    def together(self, steps: int) -> tuple[tuple[int, ...], Iterator[dict[str, Array]]]:
        """Return the numbers of streams that form a batch, and their inputs.

        A single stream is batched with copies of itself that lag a few steps behind. Streams whose inputs have named
        axes are not batched with others, since their sizes may differ at any step.
        """
        if self._has_sizes():
            return (0,) * _COPIES, (_join(self._spec, [arrays] * _COPIES) for arrays in self.alone(0, steps))
        if len(self) == 1:
            return (0,) * _COPIES, self._late(steps)
        rows = tuple(range(min(len(self), _WIDEST)))
        streams = [self.alone(number, steps) for number in rows]
        return rows, (_join(self._spec, parts) for parts in zip(*streams, strict=False))

    def _late(self, steps: int) -> Iterator[dict[str, Array]]:
        recent: deque[dict[str, Array]] = deque(maxlen=_LAG * (_COPIES - 1) + 1)
        for arrays in self.alone(0, steps):
            recent.append(arrays)
            yield _join(self._spec, [recent[max(0, len(recent) - 1 - _LAG * copy)] for copy in range(_COPIES)])

    def _has_sizes(self) -> bool:
        return any(isinstance(axis, str) and axis != BATCH for tensor in self._spec.inputs for axis in tensor.axes)

    def _steps(self, place: int, steps: int) -> Iterator[dict[str, Array]]:
        recording = self._recordings[place]
        for number in range(steps):
            try:
                step = recording.at(number)
            except (IndexError, StopIteration):
                return
            yield self._checked(step, number)

    def _checked(self, step: Step, number: int) -> dict[str, Array]:
        sizes: dict[str, int] = {}
        arrays = {}
        for tensor in self._spec.inputs:
            if tensor.name not in step:
                raise ConfigError(f"examples: step {number} lacks the input {tensor.name}")
            arrays[tensor.name] = _array(tensor, step[tensor.name], number, sizes)
        return arrays

    def _width(self, recording: _Recording) -> int:
        arrays = self._checked(recording.at(0), 0)
        widths = (arrays[t.name].shape[t.batch_axis] for t in self._spec.inputs if t.batch_axis is not None)
        return next(iter(widths), 1) if self._spec.batched else 1


def _recordings(given: Examples) -> list[_Recording]:
    if callable(given):
        return [_Recording(given, None)]
    if isinstance(given, Mapping) or not isinstance(given, Sequence):
        raise ConfigError(
            "examples are a sequence of mappings by input name, several of these, or a function of a step"
        )
    if not given:
        return []
    streams: Sequence[Any] = [given] if isinstance(given[0], Mapping) else given
    for stream in streams:
        if isinstance(stream, str) or not isinstance(stream, Sequence) or not stream:
            raise ConfigError(f"examples: a stream is a sequence of mappings with a step at least, not {stream!r:.40}")
    return [_Recording(stream.__getitem__, len(stream)) for stream in streams]


def _array(tensor: TensorSpec, value: Any, number: int, sizes: dict[str, int] | None = None) -> Array:
    array = value.detach().cpu().numpy() if isinstance(value, Tensor) else np.asarray(value)
    try:
        check_tensor(tensor, array, {} if sizes is None else sizes)
    except ContractError as error:
        raise ConfigError(f"examples: step {number}: {error}") from None
    if array.dtype.kind == "f":
        _check_values(tensor, array, number)
    return np.asarray(array, order="C")


def _check_values(tensor: TensorSpec, array: Array, number: int) -> None:
    """Raise ConfigError for floating-point values that are NaN or outside the limits."""
    if np.isnan(array).any():
        raise ConfigError(f"examples: step {number}: {tensor.name} holds nan")
    low, high = tensor.limits
    outside = array[(array < (-np.inf if low is None else low)) | (array > (np.inf if high is None else high))]
    if outside.size:
        raise ConfigError(
            f"examples: step {number}: {tensor.name} holds {outside.flat[0]:g}, which is outside its limits in the "
            f"contract: {'no least' if low is None else f'{low:g}'} to {'no greatest' if high is None else f'{high:g}'}"
        )


def _row(tensor: TensorSpec, array: Array, row: int) -> Array:
    return array if tensor.batch_axis is None else np.take(array, [row], axis=tensor.batch_axis)


def _join(spec: GraphSpec, rows: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
    def joined(tensor: TensorSpec) -> Array:
        axis = tensor.batch_axis
        return rows[0][tensor.name] if axis is None else np.concatenate([row[tensor.name] for row in rows], axis)

    return {tensor.name: joined(tensor) for tensor in spec.inputs}
