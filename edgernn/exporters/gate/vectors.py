"""Record golden vectors; `edgernn.runtime.golden` describes and replays them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from edgernn.arrays import to_npy
from edgernn.contract import Array, GraphSpec
from edgernn.runtime.golden import first_elements, vector_file
from edgernn.runtime.parity import Step, Tolerance

__all__ = ["RECORDED", "Recorder"]

RECORDED = 256  # largest number of recorded steps
_BYTES = 24 << 10  # limit for all inputs of a graph, and for all its outputs


class Recorder:
    """Records the golden vectors of one graph while its source takes steps with one stream.

    tolerance: the tolerance that the bundle records for replays. most: the largest number of steps.
    """

    def __init__(self, spec: GraphSpec, tolerance: Tolerance, most: int = RECORDED) -> None:
        self._spec, self._tolerance, self._most = spec, tolerance, most
        self._inputs: list[dict[str, Array]] = []
        self._chosen: dict[int, dict[str, Array]] = {}  # outputs by the number of the step
        self._steps = self._outputs = 0  # how many steps, and how many outputs, may be recorded
        self._last: Step | None = None
        self.complete = False  # whether further steps are ignored

    def add(self, step: Step) -> None:
        """Record `step`, unless the recording is full, or the inputs have other shapes than the first ones."""
        if self.complete:
            return
        inputs = {tensor.name: step.given[tensor.name] for tensor in self._spec.inputs}
        outputs = {name: first_elements(array).copy() for name, array in step.outputs.items()}
        if self._last is None:
            self._steps = max(1, min(self._most, _BYTES // max(1, _bytes(inputs))))
            self._outputs = max(1, _BYTES // max(1, _bytes(outputs)))
        elif _shapes(inputs) != _shapes(self._inputs[0]):
            self.complete = True
            return
        self._inputs.append(inputs)
        number = len(self._inputs)
        power = number.bit_length() - 1
        if number == 1 << power and power < self._outputs - 1:
            self._chosen[number] = outputs
        self._last = Step(step.given, outputs, step.states)
        self.complete = number == self._steps

    @property
    def about(self) -> dict[str, Any]:
        """Return the manifest's record of the vectors. Outputs are stored of steps 1, 2, 4, … and of the last step."""
        steps = len(self._inputs)
        return {"steps": steps, "chosen": sorted({*self._chosen, steps}), "tolerance": asdict(self._tolerance)}

    def files(self) -> dict[str, bytes]:
        """Return the vectors, by file name."""
        assert self._last is not None
        chosen = {**self._chosen, len(self._inputs): self._last.outputs}
        spec, last = self._spec, self._last
        arrays: dict[tuple[str, str], Array] = {
            **{("conditions", tensor.name): last.given[tensor.name] for tensor in spec.conditions},
            **{("inputs", t.name): np.stack([inputs[t.name] for inputs in self._inputs]) for t in spec.inputs},
            **{("outputs", t.name): np.stack([chosen[n][t.name] for n in sorted(chosen)]) for t in spec.outputs},
            **{("states", state.name): last.states[state.input] for state in spec.states},
        }
        return {vector_file(spec.name, *place): to_npy(array) for place, array in arrays.items()}


def _shapes(arrays: Mapping[str, Array]) -> dict[str, tuple[int, ...]]:
    return {name: array.shape for name, array in arrays.items()}


def _bytes(arrays: Mapping[str, Array]) -> int:
    return sum(math.prod(array.shape) * array.dtype.itemsize for array in arrays.values())
