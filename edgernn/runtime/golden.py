"""Golden vectors: steps that the source took, kept in the bundle, against which any runtime can check itself.

golden/GRAPH/inputs.NAME.npy       what each step is given, one after the other on a new first axis
golden/GRAPH/conditions.NAME.npy   what is given throughout
golden/GRAPH/outputs.NAME.npy      outputs of the chosen steps, which the manifest counts from 1; of one with more than
                                   4,096 elements the first 4,096, in C order
golden/GRAPH/states.NAME.npy       every state after the last step

One stream, from its initial state on.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import islice, takewhile
from typing import Any

import numpy as np

from edgernn import records
from edgernn.arrays import from_npy
from edgernn.bundle import Bundle
from edgernn.contract import BATCH, Array, FeedCheck, FromFile, GraphSpec, check_tensor
from edgernn.errors import BundleError, ContractError, FormatError
from edgernn.runtime.engine import BundleEngine, Engine
from edgernn.runtime.parity import (
    TOLERANCES,
    Inputs,
    Parity,
    Step,
    axis_sizes,
    chain,
    example,
    measure,
    random_inputs,
    tolerance_of,
    worst,
)

__all__ = ["record", "replay", "verify"]

_STEPS = 256
_KEPT = 4096  # elements of an output
_BYTES = 24 << 10  # of all inputs of a graph, and of all its outputs


def record(
    source: Engine,
    spec: GraphSpec,
    initial: Mapping[str, Array],
    inputs: Inputs | None = None,
    sizes: Mapping[str, int] | None = None,
) -> tuple[dict[str, Any], dict[str, Array]]:
    """Let `source` take some steps: what the manifest says of them, and the arrays by file name.

    initial: tensors of the bundle's files, for states that start from one. inputs: as for `compare`. sizes: as for
    `example`.
    """
    random = np.random.default_rng(0)
    sizes = axis_sizes(spec) if sizes is None else sizes
    held = example({tensor.name: tensor for tensor in spec.conditions}, 1, random, sizes)
    endless = iter(random_inputs(spec, 1, random, sizes) if inputs is None else inputs(1))
    first = next(endless)
    held |= {name: first[name] for name in held if name in first}
    steps = max(1, min(_STEPS, _BYTES // max(1, _size({tensor.name: first[tensor.name] for tensor in spec.inputs}))))
    alike = takewhile(lambda one: _shapes(one) == _shapes(first), islice(endless, steps - 1))
    given = [{**held, **one} for one in (first, *alike)]
    steps = len(given)
    taken = list(chain(source, spec, given, _begin(spec, initial, held)))
    count = max(1, _BYTES // max(1, _size({name: _cut(array) for name, array in taken[0].outputs.items()})))
    chosen = sorted({steps, *(1 << power for power in range(min(count - 1, (steps - 1).bit_length())))})
    arrays = {f"conditions.{name}": array for name, array in held.items()}
    arrays |= {f"inputs.{t.name}": np.stack([step[t.name] for step in given]) for t in spec.inputs}
    arrays |= {
        f"outputs.{t.name}": np.stack([_cut(taken[n - 1].outputs[t.name]) for n in chosen]) for t in spec.outputs
    }
    arrays |= {f"states.{state.name}": taken[-1].states[state.input] for state in spec.states}
    return {"steps": steps, "chosen": chosen}, {f"golden/{spec.name}/{name}.npy": a for name, a in arrays.items()}


def replay(artifact: Engine, spec: GraphSpec, about: Any, files: Mapping[str, bytes], precision: str) -> Parity:
    """Drive `artifact` through the recorded steps of its source.

    Raises ParityError beyond the tolerance of `precision`, FormatError or ContractError for files that are no record.
    """
    about = records.record(about, f"the golden vectors of {spec.name}", {"steps", "chosen"})
    steps = records.integer(about["steps"], "steps")
    chosen = [records.integer(number, "a chosen step") for number in records.items(about["chosen"], "chosen")]
    if not chosen or chosen != sorted(set(chosen)) or chosen[0] < 1 or chosen[-1] != steps:
        raise FormatError(f"the golden vectors of {spec.name} choose impossible steps")

    def read(kind: str, name: str) -> Array:
        file = f"golden/{spec.name}/{kind}.{name}.npy"
        if file not in files:
            raise FormatError(f"{file} is missing")
        return from_npy(files[file], file)

    held = {tensor.name: read("conditions", tensor.name) for tensor in spec.conditions}
    inputs = {tensor.name: read("inputs", tensor.name) for tensor in spec.inputs}
    outputs = {tensor.name: read("outputs", tensor.name) for tensor in spec.outputs}
    last = {state.input: read("states", state.name) for state in spec.states}
    if any(len(array) != steps for array in inputs.values()) or any(len(a) != len(chosen) for a in outputs.values()):
        raise FormatError(f"the golden vectors of {spec.name} are not of {steps} steps, {len(chosen)} of them chosen")

    rows = {number: row for row, number in enumerate(chosen)}

    def taken() -> Iterator[Step]:
        for number in range(1, steps + 1):
            given = {**held, **{name: array[number - 1] for name, array in inputs.items()}}
            known = {name: array[rows[number]] for name, array in outputs.items()} if number in rows else {}
            yield Step(given, known, last)

    initial = {file: from_npy(files[file], file) for file in _files(spec)}
    states = _begin(spec, initial, held)
    check_feeds = FeedCheck(spec)
    for step in taken():
        check_feeds(
            {name: step.given[name] for name in inputs},
            held,
            {state.name: states[state.input] for state in spec.states},
        )
    return measure(taken(), states, _Cut(artifact, len(outputs)), spec, tolerance_of(precision, spec))


def verify(bundle: Bundle, engine: type[BundleEngine]) -> Parity:
    """Check the graphs of `bundle` against its golden vectors; only its engine is needed.

    Raises ParityError beyond tolerance, BundleError for a bundle without golden vectors or with damaged ones.
    """
    manifest = bundle.manifest
    if manifest.precision not in TOLERANCES:
        raise BundleError(f"no tolerance is known for {manifest.precision}")
    if not manifest.golden:
        raise BundleError("the bundle has no golden vectors: verify it against what it was exported from")
    try:
        return worst(
            [
                replay(
                    engine(bundle.graph(spec.name), spec),
                    spec,
                    manifest.golden.get(spec.name),
                    bundle.files,
                    manifest.precision,
                )
                for spec in manifest.contract.graphs
            ]
        )
    except (FormatError, ContractError) as error:
        raise BundleError(str(error)) from None


class _Cut:
    """An engine of whose outputs, the first so many results, only what the record keeps comes out."""

    def __init__(self, engine: Engine, outputs: int) -> None:
        self._engine, self._outputs = engine, outputs

    def run(self, feeds: Mapping[str, Array]) -> list[Array]:
        results = list(self._engine.run(feeds))
        return [*map(_cut, results[: self._outputs]), *results[self._outputs :]]


def _cut(array: Array) -> Array:
    return array if array.size <= _KEPT else array.ravel()[:_KEPT]


def _begin(spec: GraphSpec, initial: Mapping[str, Array], held: Mapping[str, Array]) -> dict[str, Array]:
    """The first states of one stream, by the inputs that they feed; zeros where another graph would make them."""
    sizes = {BATCH: 1}
    tensors = {tensor.name: tensor for tensor in spec.conditions}
    for name, array in held.items():
        check_tensor(tensors[name], array, sizes)
    return {state.input: state.first(sizes, initial) for state in spec.states}


def _files(spec: GraphSpec) -> list[str]:
    return [state.initial.file for state in spec.states if isinstance(state.initial, FromFile)]


def _shapes(arrays: Mapping[str, Array]) -> dict[str, tuple[int, ...]]:
    return {name: array.shape for name, array in arrays.items()}


def _size(arrays: Mapping[str, Array]) -> int:
    return sum(math.prod(array.shape) * array.dtype.itemsize for array in arrays.values())
