"""A reading: the steps of a graph from which streams of other graphs begin, such as the encoder of a translator."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from edgernn.contract import Array, ConditionSpec, FromGraph, FromSteps, GraphSpec, State, StateSpec
from edgernn.errors import ContractError

__all__ = ["Reading"]

StepFunction = Callable[[Mapping[str, Array], Mapping[str, Array]], tuple[dict[str, Array], State]]


class Reading:
    """Steps one graph over inputs that may arrive piece by piece, and keeps its outputs.

    Created by `Model.reading`. The streams that begin from it depend only on the inputs, however they are cut. It can
    read on after a stream has begun from it.
    """

    def __init__(self, spec: GraphSpec, step: StepFunction, state: State) -> None:
        self.spec = spec
        self._step, self._state = step, state
        self._outputs: list[dict[str, Array]] = []

    def __repr__(self) -> str:
        return f"<Reading of graph {self.spec.name}: {self.steps:,} step{'' if self.steps == 1 else 's'}>"

    @property
    def steps(self) -> int:
        """The number of steps taken."""
        return len(self._outputs)

    def push(self, inputs: Mapping[str, Array]) -> None:
        """Take further steps. inputs: by name, those of successive steps stacked along a new first axis.

        Raises ContractError for inputs that are missing, unknown, of different lengths, or do not fit; then no step is
        kept.
        """
        arrays = {name: np.asarray(array) for name, array in inputs.items()}
        counts = {array.shape[:1] for array in arrays.values()}
        if len(counts) != 1 or counts == {()}:
            names = ", ".join(tensor.name for tensor in self.spec.inputs)
            raise ContractError(
                f"graph {self.spec.name} reads {names}: give each with one first axis, which counts steps"
            )
        state, outputs = self._state, []
        for place in range(next(iter(counts))[0]):
            made, state = self._step({name: array[place, ...] for name, array in arrays.items()}, state)
            outputs.append(made)
        self._state = state
        self._outputs += outputs

    def value(self, spec: ConditionSpec | StateSpec) -> Array:
        """Return a condition or an initial state that comes from this graph.

        Raises ContractError before the first step.
        """
        if not self._outputs:
            raise ContractError(f"{spec.name} comes from graph {self.spec.name}, which has read nothing yet")
        source = spec.source if isinstance(spec, ConditionSpec) else spec.initial
        if isinstance(source, FromSteps):
            return np.stack([made[source.output] for made in self._outputs], spec.axes.index(source.axis))
        assert isinstance(source, FromGraph)
        return np.array(self._last[source.output])

    @property
    def _last(self) -> Mapping[str, Array]:
        """Outputs and next states of the last step, by the names that the graph gives its results."""
        return self._outputs[-1] | {each.output: self._state[each.name] for each in self.spec.states}
