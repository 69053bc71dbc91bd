"""Golden vectors: recorded steps of the source, stored in the bundle, with which any runtime can check itself.

golden/GRAPH/inputs.NAME.npy       inputs of all steps, stacked along a new first axis
golden/GRAPH/conditions.NAME.npy   conditions, which are the same at every step
golden/GRAPH/outputs.NAME.npy      outputs of selected steps, whose numbers (from 1) are in the manifest; of an output
                                   with more than 4,096 elements only the first 4,096, in C order
golden/GRAPH/states.NAME.npy       every state after the last step

They belong to one stream that starts from its initial states. `edgernn.exporters.gate.vectors` writes them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from edgernn import records
from edgernn.arrays import from_npy
from edgernn.bundle import Bundle
from edgernn.contract import BATCH, Array, FeedCheck, FromFile, GraphSpec, check_tensor
from edgernn.errors import BundleError, ConfigError, ContractError, FormatError
from edgernn.execution import DEFAULT, Execution
from edgernn.runtime.engine import BundleEngine, Engine
from edgernn.runtime.parity import TOLERANCES, Comparison, Parity, Step, Tolerance, pairs, worst

__all__ = ["first_elements", "first_given", "first_states", "replay", "vector_file", "verify"]

_KEPT = 4096  # elements of an output that are stored


def replay(artifact: Engine, spec: GraphSpec, about: Any, files: Mapping[str, bytes], precision: str) -> Parity:
    """Drive `artifact` through the recorded steps of its source, and compare.

    about: the manifest's record of the golden vectors of this graph.
    Raises ParityError beyond the recorded tolerance, or that of `precision` if none is recorded; FormatError,
    ContractError or ConfigError for invalid golden vectors.
    """
    about = records.record(about, f"the golden vectors of {spec.name}", {"steps", "chosen"}, {"tolerance"})
    steps = records.integer(about["steps"], "steps")
    chosen = [records.integer(number, "a chosen step") for number in records.items(about["chosen"], "chosen")]
    if not chosen or chosen != sorted(set(chosen)) or chosen[0] < 1 or chosen[-1] != steps:
        raise FormatError(f"the golden vectors of {spec.name} are damaged: they name impossible steps")
    tolerance = _tolerance(about.get("tolerance"), precision)

    def read(kind: str, name: str) -> Array:
        file = vector_file(spec.name, kind, name)
        if file not in files:
            raise FormatError(f"{file} is missing")
        return from_npy(files[file], file)

    held = {tensor.name: read("conditions", tensor.name) for tensor in spec.conditions}
    inputs = {tensor.name: read("inputs", tensor.name) for tensor in spec.inputs}
    outputs = {tensor.name: read("outputs", tensor.name) for tensor in spec.outputs}
    last = {state.input: read("states", state.name) for state in spec.states}
    if any(len(array) != steps for array in inputs.values()) or any(len(a) != len(chosen) for a in outputs.values()):
        raise FormatError(
            f"the golden vectors of {spec.name} are damaged: they do not hold {len(chosen)} of {steps} steps"
        )

    rows = {number: row for row, number in enumerate(chosen)}

    def taken() -> Iterator[Step]:
        for number in range(1, steps + 1):
            given = {**held, **{name: array[number - 1, ...] for name, array in inputs.items()}}
            known = {name: array[rows[number], ...] for name, array in outputs.items()} if number in rows else {}
            yield Step(given, known, last if number == steps else {})

    initial = {state.initial.file for state in spec.states if isinstance(state.initial, FromFile)}
    states = first_states(spec, {file: from_npy(files[file], file) for file in initial}, held)
    by_name = {state.name: states[state.input] for state in spec.states}
    check = FeedCheck(spec)
    for step in taken():
        check({name: step.given[name] for name in inputs}, held, by_name)
    comparison = Comparison(spec, tolerance)
    for expected, actual in pairs(taken(), _FirstElements(artifact, len(outputs)), spec, states):
        comparison.add(expected, actual)
    return comparison.result()


def verify(bundle: Bundle, engine: type[BundleEngine], execution: Execution = DEFAULT) -> Parity:
    """Check the graphs of `bundle` against its golden vectors; only its engine is needed.

    Raises ParityError beyond the tolerance, BundleError if golden vectors are missing or damaged.
    """
    manifest = bundle.manifest
    if manifest.precision not in TOLERANCES:
        raise BundleError(
            f"this edgernn knows no precision {manifest.precision}: verify the bundle with the one that exported it"
        )
    if not manifest.golden:
        raise BundleError(
            "the bundle has no golden vectors: verify it against the run that it was exported from (--against)"
        )
    try:
        return worst(
            [
                replay(
                    engine(bundle.graph(spec.name), spec, execution, bundle.files),
                    spec,
                    manifest.golden.get(spec.name),
                    bundle.files,
                    manifest.precision,
                )
                for spec in manifest.contract.graphs
            ]
        )
    except (FormatError, ContractError, ConfigError) as error:
        raise BundleError(str(error)) from None


def first_given(spec: GraphSpec, files: Mapping[str, bytes]) -> dict[str, Array]:
    """Return the recorded inputs and conditions of the first step of one stream, by name, as far as they are recorded.

    files: the files of a bundle, by name; only the golden inputs and conditions are used.
    """
    given = {}
    for kind, tensors in (("inputs", spec.inputs), ("conditions", spec.conditions)):
        for tensor in tensors:
            file = vector_file(spec.name, kind, tensor.name)
            if file in files:
                array = from_npy(files[file], file)
                given[tensor.name] = array[0, ...] if kind == "inputs" else array
    return given


def vector_file(graph: str, kind: str, name: str) -> str:
    """Return the file name of the golden vectors of one tensor. kind: "inputs", "conditions", "outputs" or "states"."""
    return f"golden/{graph}/{kind}.{name}.npy"


def first_elements(output: Array) -> Array:
    """Return the part of an output that golden vectors store: all of it, or its first 4,096 elements."""
    return output if output.size <= _KEPT else output.ravel()[:_KEPT]


def first_states(spec: GraphSpec, initial: Mapping[str, Array], conditions: Mapping[str, Array]) -> dict[str, Array]:
    """Return the initial states of golden vectors by graph input; zeros for a state that another graph initialises.

    initial: the tensors of the bundle by file name. conditions: those of one stream. Raises ContractError for tensors
    that do not fit.
    """
    sizes = {BATCH: 1}
    tensors = {tensor.name: tensor for tensor in spec.conditions}
    for name, array in conditions.items():
        check_tensor(tensors[name], array, sizes)
    return {state.input: state.first(sizes, initial) for state in spec.states}


def _tolerance(value: Any, precision: str) -> Tolerance:
    """Return the tolerance that a bundle records, or that of its precision."""
    if value is None:
        return TOLERANCES[precision]
    return records.construct(Tolerance, value, "a tolerance")


class _FirstElements:
    """An engine that truncates its outputs, the first results, to the elements that golden vectors store."""

    def __init__(self, engine: Engine, outputs: int) -> None:
        self._engine, self._outputs = engine, outputs

    def run(self, feeds: Mapping[str, Array]) -> list[Array]:
        results = list(self._engine.run(feeds))
        return [*map(first_elements, results[: self._outputs]), *results[self._outputs :]]
