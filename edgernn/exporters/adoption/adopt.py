"""Adopt ONNX files: the sequence of steps from the files to a bundle."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper

import edgernn
from edgernn.bundle import Manifest, new_bundle
from edgernn.contract import (
    BATCH,
    Array,
    Axis,
    ConditionSpec,
    Contract,
    GraphSpec,
    StateSpec,
    TensorSpec,
    canonical_json,
)
from edgernn.errors import ConfigError, ExportError, ParityError, few, first_line
from edgernn.execution import DEFAULT
from edgernn.exporters.adoption.axes import Axes, find_axes
from edgernn.exporters.adoption.draws import Draws, Example, check_example, read_example
from edgernn.exporters.adoption.flow import check_random, index_bounds, restarts
from edgernn.exporters.adoption.graph import OpenGraph
from edgernn.exporters.adoption.lower import compare, lower
from edgernn.exporters.adoption.measure import check_equal_calls, check_lengths, nan_outputs, state_notes
from edgernn.exporters.adoption.names import part_axes
from edgernn.exporters.adoption.options import AdoptSpec, Pair, Wishes
from edgernn.exporters.adoption.reading import check_types, open_graphs
from edgernn.exporters.adoption.shapes import Shapes
from edgernn.exporters.adoption.states import check_pairs, find_states, overlooked
from edgernn.exporters.adoption.surgery import carry, cut, declare_axes, fix
from edgernn.exporters.adoption.trial import MisfitError, Trial
from edgernn.exporters.capture.rewrite import all_nodes
from edgernn.exporters.gate.prove import Proof
from edgernn.exporters.gate.vectors import Recorder
from edgernn.exporters.quantization import Quantization
from edgernn.exporters.report import check_quantised, larger, summary
from edgernn.exporters.target import Artifact, OnnxGraph, Target, write_files
from edgernn.exporters.targets import TARGETS, chosen_target
from edgernn.exporters.targets.onnx import ONNX
from edgernn.runtime import Engine, OnnxEngine
from edgernn.runtime.golden import first_states
from edgernn.runtime.parity import Parity, Step, chain, tolerance_of, worst

__all__ = ["Adoption", "adopt"]


_PATIENCE = 30.0  # seconds; limits the search for the axes of a graph


@dataclass(frozen=True)
class Adoption:
    """The result of an adoption.

    states: the output of each state by its input, by their names in the files, prefixed with the graph's name if there
    are several. renamed: for each graph, the file's names of renamed tensors, by their names in the contract. notes:
    sentences about decisions that the caller should check. warnings: sentences about what is most likely wrong: a
    recurrent graph that carries no state. report: the matrices that a lower precision did not
    quantise.
    """

    contract: Contract
    states: Mapping[str, str]
    renamed: Mapping[str, Mapping[str, str]]
    notes: tuple[str, ...]
    report: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def adopt(
    files: Sequence[Path],
    adopt_spec: AdoptSpec,
    out: Path,
    *,
    target: str | Target = "onnx",
    precision: str | Quantization = "fp32",
    overwrite: bool = False,
) -> Adoption:
    """Make a bundle of ONNX files. A single graph is called `step`; several are named after their files.

    A graph that is quantised, or written for another target than onnx, is compared with its file within the tolerance
    of the precision.
    Raises ConfigError for an option that fits none of the files, for a target that adopts no files, or if it is
    uncertain which inputs are states; EngineError for a file that is not an ONNX file or does not load; ExportError for
    a graph that cannot be adopted; ParityError for a graph that is changed too much.
    """
    quantization = Quantization(precision) if isinstance(precision, str) else precision
    target = chosen_target(target, quantization)
    if target.adopt is None:
        known = ", ".join(each.name for each in TARGETS.values() if each.adopt is not None)
        raise ConfigError(f"the target {target.name} (--to) is not one for which ONNX files are adopted: {known}")
    with new_bundle(out, overwrite=overwrite) as writer:
        adopted = _fixed(_adopted(files, adopt_spec), target)
        contract = Contract(tuple(each.spec for each in adopted))
        written = _written(adopted, target, quantization)
        weights = {name: each.weights for name, each in written.artifacts.items()}
        report = (
            summary(quantization.name, weights),
            larger(quantization.name, *_sizes(written.artifacts)),
            target.unproven(),
        )
        adoption = Adoption(
            contract,
            {given: made for each in adopted for given, made in each.states(several=len(adopted) > 1)},
            {each.graph.name: each.graph.renamed for each in adopted if each.graph.renamed},
            tuple(note for each in adopted for note in each.notes),
            tuple(line for line in report if line),
            tuple(warning for each in adopted for warning in each.warnings),
        )
        write_files(writer.directory, written.files)
        writer.finish(
            Manifest(
                task="adopted",
                target=target.name,
                precision=quantization.name,
                digest=_digest(adopted, contract),
                contract=contract,
                graphs=written.names,
                provenance=_provenance(files, adoption),
                parity=worst(written.parities).to_json() if written.parities else {},
                weights={name: [weight.to_json() for weight in each] for name, each in weights.items() if each},
                golden=written.golden,
            )
        )
    return adoption


def _sizes(artifacts: Mapping[str, Artifact]) -> tuple[int, int | None]:
    """Return the size of some graphs in bytes, and at fp32 if it is known."""
    single = [each.single for each in artifacts.values() if each.single is not None]
    return sum(each.bytes for each in artifacts.values()), sum(single) if len(single) == len(artifacts) else None


def _digest(adopted: Sequence[_Adopted], contract: Contract) -> str:
    """Return the identity of the files as they were adopted, which is the same for all precisions of the bundle."""
    return hashlib.sha256(b"".join(each.data for each in adopted) + canonical_json(contract).encode()).hexdigest()


@dataclass(frozen=True)
class _Written:
    """The graphs of a bundle as a target writes them.

    names: of their files, by graph. files: by name, with those beside them. golden: the manifest's record of the golden
    vectors. parities: the differences that the gate measured, unless the target keeps the files as they are.
    """

    artifacts: Mapping[str, Artifact]
    names: Mapping[str, str]
    files: Mapping[str, bytes]
    golden: Mapping[str, Any]
    parities: Sequence[Parity]


def _written(adopted: Sequence[_Adopted], target: Target, quantization: Quantization) -> _Written:
    """Write graphs for a target, and record golden vectors; they are compared unless the target keeps the files."""
    assert target.adopt is not None
    kept = target is ONNX and quantization.name == "fp32"
    graphs = [OnnxGraph(each.spec, each.data) if kept else each.lowered(quantization) for each in adopted]
    check_quantised(quantization.name, {graph.spec.name: graph.weights for graph in graphs})
    artifacts = target.adopt(graphs)
    names = {name: artifact.name or f"{name}{target.suffix}" for name, artifact in artifacts.items()}
    files = {names[name]: artifact.data for name, artifact in artifacts.items()}
    for artifact in artifacts.values():
        files.update(artifact.files)
    golden: dict[str, Any] = {}
    parities, engines = [], {}
    for each, graph in zip(adopted, graphs, strict=True):
        name = graph.spec.name
        if kept:
            recorder = _record(each)
            golden[name] = recorder.about
            files.update(recorder.files())
            continue
        engines[name] = target.engine(artifacts[name].data, graph.spec, DEFAULT, artifacts[name].files)
        proof = _compared(each, graph, engines[name], quantization.name)
        parities.append(proof.parity)
        golden.update(proof.golden)
        files.update(proof.vectors)
    if target.complete is not None:
        files.update(target.complete([each.spec for each in adopted], engines, golden, files))
    return _Written(artifacts, names, files, golden, parities)


def _compared(adopted: _Adopted, graph: OnnxGraph, engine: Engine, precision: str) -> Proof:
    try:
        return compare(graph, adopted.engine(), engine, adopted.given(), precision)
    except ParityError as error:
        if adopted.draws.example is not None:
            raise
        raise ParityError(f"{error}; the inputs were random: give real ones with --example", error.measured) from None


def _fixed(adopted: Sequence[_Adopted], target: Target) -> Sequence[_Adopted]:
    """Return the graphs with the sizes of a target that has no free axes but the batch.

    Raises ConfigError for the size of an axis that no graph has, and ExportError for an axis without one.
    """
    if target.sizes is None:
        return adopted
    sizes = target.sizes([each.spec for each in adopted], {})
    return [each.fixed(sizes) for each in adopted]


def _adopted(files: Sequence[Path], adopt_spec: AdoptSpec) -> list[_Adopted]:
    """Return the adopted graphs of `files`."""
    graphs = open_graphs(files)
    wishes = adopt_spec.wishes(graphs)
    for graph, wish in zip(graphs, wishes, strict=True):
        _prepare(graph, wish)
    if adopt_spec.example is not None:
        check_example(adopt_spec.example, graphs)
    if adopt_spec.states is None:
        states = find_states(graphs, [wish.other for wish in wishes])
    else:
        states = [wish.states or [] for wish in wishes]
    return [
        _Adopted.of(graph, wish, pairs, adopt_spec.example)
        for graph, wish, pairs in zip(graphs, wishes, states, strict=True)
    ]


def _provenance(files: Sequence[Path], adoption: Adoption) -> dict[str, Any]:
    return {
        "edgernn": edgernn.__version__,
        "files": {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files},
        "names": {graph: dict(names) for graph, names in adoption.renamed.items()},
        "notes": [*adoption.warnings, *adoption.notes],
    }


def _prepare(graph: OpenGraph, wishes: Wishes) -> None:
    """Apply the given axes and constants, and refuse element types that a contract cannot declare."""
    for name, axes in wishes.axes.items():
        declare_axes(graph, name, axes)
    for name, value in wishes.constants.items():
        fix(graph, name, value)
    check_types(graph)
    check_random(graph)
    for name, port in graph.inputs.items():
        if port.axes is None:
            own = graph.own(name)
            raise ExportError(
                f"graph {graph.name}: the file does not say how many axes the input {own} has; --axes {own}=… says it"
            )


@dataclass(frozen=True)
class _Adopted:
    """One graph: its file and its contract. sizes: the sizes of its named axes.

    of_file: the contract of the file, if the axes of `spec` were given sizes.
    """

    graph: OpenGraph
    spec: GraphSpec
    data: bytes
    draws: Draws
    sizes: Mapping[str, int]
    pairs: Sequence[Pair]
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    of_file: GraphSpec | None = None

    def given(self) -> Iterator[dict[str, Array]]:
        """Yield inputs and conditions of one stream, step by step; random ones do not end."""
        first = next(self.draws.stream(self.sizes, {}))
        conditions = {tensor.name: first[tensor.name] for tensor in self.spec.conditions}
        names = {tensor.name for tensor in (*self.spec.inputs, *self.spec.conditions)}
        steps = self.draws.stream(self.sizes, conditions)
        return ({name: array for name, array in step.items() if name in names} for step in steps)

    def fixed(self, sizes: Mapping[str, int]) -> _Adopted:
        """Return the graph with named axes of these sizes, which its file leaves free."""
        return replace(self, spec=self.spec.at(sizes), of_file=self.spec, sizes={**self.sizes, **sizes})

    def engine(self) -> Engine:
        """Return an engine that runs the file."""
        return OnnxEngine(self.data, self.of_file or self.spec)

    def lowered(self, quantization: Quantization) -> OnnxGraph:
        """Return the graph at a precision, with all sizes if some were fixed."""
        fixed = {} if self.of_file is None else {axis: self.sizes[axis] for axis in self.of_file.free_axes} | {BATCH: 1}
        return lower(self.spec, self.data, quantization, fixed)

    def states(self, *, several: bool) -> Iterator[tuple[str, str]]:
        """Return inputs and outputs of states, by their names in the file. several: whether there are other graphs."""
        prefix = f"{self.graph.name}." if several else ""
        return ((f"{prefix}{self.graph.own(pair.given)}", self.graph.own(pair.made)) for pair in self.pairs)

    @classmethod
    def of(cls, graph: OpenGraph, wishes: Wishes, pairs: Sequence[Pair], example: Path | None) -> _Adopted:
        """Find the contract of a graph. Raises ConfigError, EngineError or ExportError as `adopt` does."""
        check_pairs(graph, pairs)
        notes = [
            f"{graph.own(pair.given)} and {graph.own(pair.made)} look like a state too: --state {pair.text(graph)}"
            for pair in (overlooked(graph, pairs, wishes.other) if wishes.states else ())
        ]
        carried = [carry(graph, name, count) for name, count in wishes.carries.items()]
        anew = restarts(graph, [pair.given for pair in (*pairs, *carried)])
        warnings = [] if pairs or wishes.states is not None else _forgetful(graph, anew)
        notes += [] if warnings else anew
        whole = [*(cut(graph, pair) for pair in pairs), *carried]
        states = frozenset(pair.given for pair in whole)
        real = None if example is None else read_example(example, graph, states, wishes.conditions)
        try:
            trial, axes = _tried(graph, whole, real, wishes.axes)
            check_equal_calls(trial, axes.sizes)
            check_lengths(trial, axes.sizes)
            notes += [*axes.notes, *state_notes(trial, axes.sizes, axes.free)]
        except MisfitError as error:
            raise ExportError(f"graph {graph.name} runs with some inputs and fails with others: {error}") from None
        spec = _spec(graph, whole, wishes.conditions, axes, trial.draws.bounds)
        data = _with_signature(graph.model, spec)
        return cls(graph, spec, data, trial.draws, axes.sizes, pairs, notes, warnings)


def _forgetful(graph: OpenGraph, restarts: Sequence[str]) -> list[str]:
    """Return a warning about a graph that carries no state though it is recurrent.

    restarts: sentences about its recurrent operators.
    """
    if not restarts:
        return []
    return [
        f"graph {graph.name} carries no state, so that a stream forgets what it has read: {few(restarts)}; unless each "
        "step is a whole sequence, export the model again with the state as an input and as an output"
    ]


def _tried(
    graph: OpenGraph, pairs: Sequence[Pair], example: Example | None, said: Mapping[str, tuple[Axis, ...]]
) -> tuple[Trial, Axes]:
    """Return the graph, ready to run, and its axes; random inputs are positive if normal ones give NaN.

    said: the axes that the caller declared, by input.
    """
    bounds = index_bounds(graph)
    trial, axes = _found(graph, pairs, Draws(graph.inputs, bounds, example), said)
    if nan_outputs(trial, axes.sizes):
        trial, axes = _found(graph, pairs, Draws(graph.inputs, bounds, example, positive=True), said)
        if wrong := nan_outputs(trial, axes.sizes):
            raise ExportError(
                f"graph {graph.name}: {few(map(graph.own, wrong))} is nan at the first step; give real inputs "
                f"with --example"
            )
    return trial, axes


def _found(
    graph: OpenGraph, pairs: Sequence[Pair], draws: Draws, said: Mapping[str, tuple[Axis, ...]]
) -> tuple[Trial, Axes]:
    """Find the axes by their names in the file; if one name has several sizes there, without these names."""
    deadline = time.monotonic() + _PATIENCE
    forced = any(BATCH in axes for axes in said.values())

    def find() -> tuple[Trial, Axes]:
        trial = Trial(graph, pairs, replace(draws, ports=graph.inputs), Shapes(graph))
        example = {} if draws.example is None else draws.example.sizes(graph)
        return trial, find_axes(trial, example, forced=forced, deadline=deadline)

    try:
        return find()
    except ExportError as error:
        for names in ([pair.given for pair in pairs], graph.inputs):
            if part_axes(graph, [name for name in names if name not in said]):
                with suppress(ExportError):
                    return find()
        raise error from None


def _spec(
    graph: OpenGraph, pairs: Sequence[Pair], conditions: Sequence[str], axes: Axes, bounds: Mapping[str, int]
) -> GraphSpec:
    """Return the contract of a graph, in the order of its file."""
    ports, states = graph.inputs, {pair.given: pair.made for pair in pairs}
    inputs, held, carried = [], [], []
    for name, port in ports.items():
        if name in states:
            carried.append(StateSpec(name, port.dtype, axes.inputs[name], input=name, output=states[name]))
        elif name in conditions:
            held.append(ConditionSpec(name, port.dtype, axes.inputs[name], bounds.get(name)))
        else:
            inputs.append(TensorSpec(name, port.dtype, axes.inputs[name], bounds.get(name)))
    fed = set(states.values())
    outputs = [TensorSpec(n, port.dtype, axes.outputs[n]) for n, port in graph.outputs.items() if n not in fed]
    return GraphSpec(graph.name, tuple(inputs), tuple(outputs), tuple(carried), tuple(held))


def _with_signature(model: onnx.ModelProto, spec: GraphSpec) -> bytes:
    """Return the model as a file, with the contract's inputs and outputs in the contract's order."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    del copy.graph.value_info[:]
    for values, declared in ((copy.graph.input, spec.feeds), (copy.graph.output, spec.results)):
        del values[:]
        for name, tensor in declared.items():
            kind = helper.np_dtype_to_tensor_dtype(tensor.numpy_dtype)
            values.append(helper.make_tensor_value_info(name, kind, list(tensor.axes)))
    try:
        data: bytes = copy.SerializeToString()
    except Exception as error:  # noqa: BLE001 - protobuf's exceptions depend on its implementation
        raise ExportError(f"graph {spec.name} cannot be written: {first_line(error)}") from None
    return data


def _record(graph: _Adopted) -> Recorder:
    """Return golden vectors of a graph: steps of one stream, up to a step whose results are not numbers."""
    spec = graph.spec
    convolutions = any("Conv" in node.op_type for node in all_nodes(graph.graph.model.graph))
    recorder = Recorder(spec, tolerance_of("fp32", convolutions=convolutions))
    conditions = {tensor.name: next(graph.given())[tensor.name] for tensor in spec.conditions}
    states = first_states(spec, {}, conditions)
    for step in chain(graph.engine(), spec, graph.given(), states):
        if _has_nan(step) or recorder.complete:
            break
        recorder.add(step)
    return recorder


def _has_nan(step: Step) -> bool:
    arrays = (*step.outputs.values(), *step.states.values())
    return any(array.dtype.kind == "f" and bool(np.isnan(array).any()) for array in arrays)
