"""Cursors: the states of one stream of a graph, held where the engine can use them without copies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
import onnxruntime

from edgernn.contract import BATCH, Array, GraphSpec, State
from edgernn.errors import EngineError, first_line
from edgernn.runtime.compiled import CompiledEngine
from edgernn.runtime.engine import Engine, OnnxEngine

__all__ = ["Cursor", "open_cursor"]


class Cursor(Protocol):
    """A graph with the present states of one stream."""

    def step(self, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        """Run one step on inputs that were checked before. The returned outputs may be overwritten by the next step."""
        ...

    def state(self) -> State:
        """Return copies of the states."""
        ...


def open_cursor(engine: Engine, spec: GraphSpec, conditions: Mapping[str, Array], state: Mapping[str, Array]) -> Cursor:
    """Return a cursor for one stream at `state`, of the type that is fastest with `engine`."""
    if isinstance(engine, OnnxEngine) and _is_fixed(spec):
        return _BoundCursor(engine.session, spec, conditions, state)
    if isinstance(engine, CompiledEngine) and _is_fixed(spec):
        return _CompiledCursor(engine, spec, conditions, state)
    return _PlainCursor(engine, spec, conditions, state)


def _is_fixed(spec: GraphSpec) -> bool:
    tensors = (*spec.feeds.values(), *spec.results.values())
    return all(axis == BATCH for tensor in tensors for axis in tensor.axes if isinstance(axis, str))


class _PlainCursor:
    """Passes arrays to the engine and keeps the returned states."""

    def __init__(
        self, engine: Engine, spec: GraphSpec, conditions: Mapping[str, Array], state: Mapping[str, Array]
    ) -> None:
        self._engine, self._spec, self._conditions = engine, spec, conditions
        self._outputs = [output.name for output in spec.outputs]
        self._carried = {carried.input: state[carried.name] for carried in spec.states}

    def step(self, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        results = self._engine.run({**inputs, **self._conditions, **self._carried})
        count = len(self._outputs)
        self._carried = dict(zip(self._carried, results[count:], strict=True))
        return dict(zip(self._outputs, results[:count], strict=True))

    def state(self) -> State:
        return State({carried.name: self._carried[carried.input].copy() for carried in self._spec.states})


class _BoundCursor:
    """Keeps two sets of states, so that onnxruntime reads one and writes the other, alternately, without any copy."""

    def __init__(
        self,
        session: onnxruntime.InferenceSession,
        spec: GraphSpec,
        conditions: Mapping[str, Array],
        state: Mapping[str, Array],
    ) -> None:
        one = {BATCH: 1}
        self._session, self._spec, self._turn = session, spec, 0
        self._inputs = {tensor.name: np.zeros(tensor.shape(one), tensor.numpy_dtype) for tensor in spec.inputs}
        self._outputs = {tensor.name: np.zeros(tensor.shape(one), tensor.numpy_dtype) for tensor in spec.outputs}
        held = {name: np.array(array, order="C") for name, array in conditions.items()}
        first = {carried.name: np.array(state[carried.name], order="C") for carried in spec.states}
        self._states = first, {name: np.empty_like(array) for name, array in first.items()}
        values = {name: _value(array) for name, array in {**self._inputs, **held, **self._outputs}.items()}
        sets = [{name: _value(array) for name, array in each.items()} for each in self._states]
        self._bindings = [self._bind(values, sets[turn], sets[1 - turn]) for turn in (0, 1)]

    def _bind(
        self,
        values: Mapping[str, onnxruntime.OrtValue],
        read: Mapping[str, onnxruntime.OrtValue],
        written: Mapping[str, onnxruntime.OrtValue],
    ) -> onnxruntime.IOBinding:
        binding = self._session.io_binding()
        for tensor in (*self._spec.inputs, *self._spec.conditions):
            binding.bind_ortvalue_input(tensor.name, values[tensor.name])
        for tensor in self._spec.outputs:
            binding.bind_ortvalue_output(tensor.name, values[tensor.name])
        for carried in self._spec.states:
            binding.bind_ortvalue_input(carried.input, read[carried.name])
            binding.bind_ortvalue_output(carried.output, written[carried.name])
        return binding

    def step(self, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        for name, array in self._inputs.items():
            array[...] = inputs[name]
        try:
            self._session.run_with_iobinding(self._bindings[self._turn])
        except Exception as error:  # noqa: BLE001 - onnxruntime raises bare exceptions
            raise EngineError(f"graph {self._spec.name} failed: {first_line(error)}") from None
        self._turn = 1 - self._turn
        return self._outputs

    def state(self) -> State:
        return State({name: array.copy() for name, array in self._states[self._turn].items()})


class _CompiledCursor:
    """Keeps two sets of states, so that compiled code reads one and writes the other, alternately."""

    def __init__(
        self, engine: CompiledEngine, spec: GraphSpec, conditions: Mapping[str, Array], state: Mapping[str, Array]
    ) -> None:
        one = {BATCH: 1}
        self._spec, self._turn = spec, 0
        self._inputs = {tensor.name: np.zeros(tensor.shape(one), tensor.numpy_dtype) for tensor in spec.inputs}
        self._outputs = {tensor.name: np.zeros(tensor.shape(one), tensor.numpy_dtype) for tensor in spec.outputs}
        held = [np.array(conditions[tensor.name], order="C") for tensor in spec.conditions]
        first = {carried.name: np.array(state[carried.name], order="C") for carried in spec.states}
        self._states = first, {name: np.empty_like(array) for name, array in first.items()}
        fed, made = [*self._inputs.values(), *held], [*self._outputs.values()]
        self._calls = [
            engine.call([*fed, *self._states[turn].values()], [*made, *self._states[1 - turn].values()])
            for turn in (0, 1)
        ]

    def step(self, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        for name, array in self._inputs.items():
            array[...] = inputs[name]
        self._calls[self._turn]()
        self._turn = 1 - self._turn
        return self._outputs

    def state(self) -> State:
        return State({name: array.copy() for name, array in self._states[self._turn].items()})


def _value(array: Array) -> onnxruntime.OrtValue:
    """Return an onnxruntime value that shares the array's memory."""
    return onnxruntime.OrtValue.ortvalue_from_numpy(array)
