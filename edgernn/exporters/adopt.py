"""Bundles from ONNX files that somebody else exported: which output feeds which input is written down once."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

import edgernn
from edgernn.bundle import Manifest, new_bundle
from edgernn.contract import BATCH, Array, ConditionSpec, Contract, GraphSpec, StateSpec, TensorSpec, canonical_json
from edgernn.errors import ConfigError, EngineError, ExportError, few
from edgernn.examples import example
from edgernn.exporters.onnx import operators, parse
from edgernn.exporters.target import write_files
from edgernn.exporters.vectors import record
from edgernn.runtime import OnnxEngine
from edgernn.runtime.parity import tolerance_of

__all__ = ["AdoptSpec", "adopt", "infer_states"]

_LONGEST_CARRY = 1 << 20
_BATCHES = (2, 3)  # that a graph is tried with
_SIZES = (7, 263, 521, 1607)  # of named axes: primes, since an output of the same size then follows that axis
_NAME = re.compile(r"[^A-Za-z0-9_.]")
_PART_OF_A_NAME = re.compile(r"[^a-z0-9]+|(?<=[a-z])(?=[0-9])")
_DIRECTIONS = {"in", "out", "next", "new", "prev", "n", "input", "output", "onnx"}


@dataclass(frozen=True)
class AdoptSpec:
    """How the graphs are to be driven, by names in the files; `GRAPH.NAME` where another graph has the name too.

    states: input to output. conditions: inputs that stay the same for a stream. constants: inputs that always have one
    value. carries: inputs whose last samples precede the next ones, and how many.

    Raises ConfigError for an input that is to be two of these, and for an output that is to feed two states.
    """

    states: Mapping[str, str] = field(default_factory=dict)
    conditions: Sequence[str] = ()
    constants: Mapping[str, float] = field(default_factory=dict)
    carries: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        kinds = {"state": self.states, "condition": self.conditions, "constant": self.constants, "carry": self.carries}
        seen: dict[str, str] = {}
        for kind, names in kinds.items():
            for name in names:
                if name in seen:
                    raise ConfigError(f"{name} is in --{seen[name]} and in --{kind}: an input is one thing")
                seen[name] = kind

    def of(self, graph: str, model: onnx.ModelProto) -> AdoptSpec:
        """The part that is about one graph, by the names in its file."""
        inputs = {node.name for node in _inputs(model)}
        outputs = {node.name for node in model.graph.output}

        def own(name: str) -> str | None:
            bare = name.removeprefix(f"{graph}.")
            return bare if bare in inputs else None

        def mine(named: Mapping[str, Any]) -> dict[str, Any]:
            return {here: value for name, value in named.items() if (here := own(name)) is not None}

        states = mine(self.states)
        for given, made in states.items():
            if made not in outputs:
                known = few(sorted(outputs))
                raise ConfigError(f"--state {given}:{made}: there is no such output of {graph}; there is {known}")
            if list(states.values()).count(made) > 1:
                raise ConfigError(f"--state {given}:{made}: an output feeds one state")
        held = tuple(here for name in self.conditions if (here := own(name)) is not None)
        return AdoptSpec(states, held, mine(self.constants), mine(self.carries))


def adopt(files: Sequence[Path], adopt_spec: AdoptSpec, out: Path, *, overwrite: bool = False) -> Contract:
    """Make a bundle of ONNX files; one is called `step`, several are called like their files.

    Raises ConfigError for an option that fits none of the files, EngineError for a file that is no ONNX file, and
    ExportError for a graph that does not run as its contract says.
    """
    models = _models(files)
    _check_names(models, adopt_spec)
    graphs = {name: _Adopted.of(name, model, adopt_spec.of(name, model)) for name, model in models.items()}
    contract = Contract(tuple(graph.spec for graph in graphs.values()))
    with new_bundle(out, overwrite=overwrite) as writer:
        golden, digest = {}, hashlib.sha256()
        for name, graph in graphs.items():
            data = graph.model.SerializeToString()
            digest.update(data)
            convolutions = any("Conv" in operator for operator in operators(graph.model))
            tolerance = tolerance_of("fp32", convolutions=convolutions)
            recorder = record(OnnxEngine(data, graph.spec), graph.spec, graph.sizes, tolerance)
            golden[name] = recorder.about
            write_files(writer.directory, {f"{name}.onnx": data, **recorder.files()})
        digest.update(canonical_json(contract).encode())
        sources = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
        writer.finish(
            Manifest(
                task="adopted",
                target="onnx",
                precision="fp32",
                digest=digest.hexdigest(),
                contract=contract,
                graphs={name: f"{name}.onnx" for name in graphs},
                provenance={"edgernn": edgernn.__version__, "files": sources},
                parity={},
                golden=golden,
            )
        )
    return contract


def infer_states(files: Sequence[Path], other: Collection[str] = ()) -> dict[str, str]:
    """Pairs of inputs and outputs that are states by name, shape and type.

    other: inputs that are something else. Raises ConfigError, listing what could be one, where names do not tell.
    """
    proposed: dict[str, str] = {}
    doubtful: list[str] = []
    for graph, model in _models(files).items():
        prefix = f"{graph}." if len(files) > 1 else ""
        inputs = [node for node in _inputs(model) if not {node.name, f"{graph}.{node.name}"} & {*other}]
        fitting = {node.name: [each.name for each in model.graph.output if _could_feed(each, node)] for node in inputs}
        alike = {name: [each for each in made if _stem(each) == _stem(name) != ""] for name, made in fitting.items()}
        sure = {name: made[0] for name, made in alike.items() if len(made) == 1}
        proposed |= {f"{prefix}{name}": made for name, made in sure.items()}
        twice = len({*sure.values()}) < len(sure)
        if any(len(made) > 1 for made in alike.values()) or not sure or twice or len(sure) == len(list(_inputs(model))):
            known = {node.name for node in inputs if _is_known(node)} | sure.keys()
            doubtful += [f"{prefix}{name}:{each}" for name, made in fitting.items() if name in known for each in made]
    if doubtful:
        raise ConfigError(f"which of these are states? say so with --state: {', '.join(doubtful)}")
    return proposed


def _models(files: Sequence[Path]) -> dict[str, onnx.ModelProto]:
    """The files by the names of their graphs."""
    models = {("step" if len(files) == 1 else _name(file.stem)): _read(file) for file in files}
    if len(models) < len(files):
        raise ConfigError("two of the files have one name: their graphs could not be told apart")
    return models


@dataclass(frozen=True)
class _Adopted:
    """One graph, changed so that every state is an input and an output of its own, and how it is driven."""

    model: onnx.ModelProto
    spec: GraphSpec
    sizes: Mapping[str, int]  # of its named axes, with which it runs

    @classmethod
    def of(cls, name: str, model: onnx.ModelProto, adopt_spec: AdoptSpec) -> _Adopted:
        for given in list(_inputs(model)):
            if given.name in adopt_spec.constants:
                _fix(model, given, adopt_spec.constants[given.name])
        carried = {
            given.name: adopt_spec.carries[given.name] for given in _inputs(model) if given.name in adopt_spec.carries
        }
        for overlapping, size in carried.items():
            _carry(model, overlapping, size)
        pairs = {
            given.name: adopt_spec.states[given.name] for given in _inputs(model) if given.name in adopt_spec.states
        }
        pairs |= {f"{given}_carry": f"{given}_carry_next" for given in carried}
        declared = _spec(name, model, pairs, adopt_spec.conditions)
        for spec, batches in ((declared, _BATCHES), (_alone(declared), (1,))):
            for size in _SIZES:
                if (found := _tried(model, spec, batches, size)) is not None:
                    return cls(_with_signature(model, found), found, _all(declared, size))
        raise ExportError(f"graph {name} runs neither with one stream nor with several; look at it with inspect")


def _spec(name: str, model: onnx.ModelProto, pairs: Mapping[str, str], conditions: Sequence[str]) -> GraphSpec:
    """The contract of a graph as its file declares it: an unknown first axis, or any of a state, is the batch."""
    inputs, held, states = [], [], []
    for node in _inputs(model):
        dtype = _dtype(node)
        if node.name in pairs:
            axes = tuple(size if isinstance(size, int) else BATCH for size in _sizes(node))
            states.append(StateSpec(node.name, dtype, axes, input=node.name, output=pairs[node.name]))
            continue
        axes = tuple(_axis(node.name, place, size) for place, size in enumerate(_sizes(node)))
        if node.name in conditions:
            held.append(ConditionSpec(node.name, dtype, axes))
        else:
            inputs.append(TensorSpec(node.name, dtype, axes))
    fed = set(pairs.values())
    outputs = [TensorSpec(n.name, _dtype(n), (1,) * len(_sizes(n))) for n in model.graph.output if n.name not in fed]
    return GraphSpec(name, tuple(inputs), tuple(outputs), tuple(states), tuple(held))


def _axis(name: str, place: int, size: int | str) -> int | str:
    if isinstance(size, int):
        return size
    return BATCH if place == 0 else f"{_name(name)}_{place}"


def _alone(spec: GraphSpec) -> GraphSpec:
    """The same for one stream."""

    def fixed(tensors: Sequence[Any]) -> tuple[Any, ...]:
        return tuple(replace(t, axes=tuple(1 if axis == BATCH else axis for axis in t.axes)) for t in tensors)

    return replace(spec, inputs=fixed(spec.inputs), conditions=fixed(spec.conditions), states=fixed(spec.states))


def _tried(model: onnx.ModelProto, spec: GraphSpec, batches: Sequence[int], size: int) -> GraphSpec | None:
    """`spec` with the outputs' axes as runs show them, or None if the graph does not run so."""
    if len(batches) > 1 and any(state.batch_axis is None for state in spec.states):
        return None
    loose = replace(spec, outputs=tuple(replace(o, axes=tuple("any" for _ in o.axes)) for o in spec.outputs))
    shapes = []
    for batch in batches:
        try:
            engine = OnnxEngine(_with_signature(model, loose).SerializeToString(), loose)
            feeds = example(spec.feeds, batch, np.random.default_rng(0), _all(spec, size))
            results = engine.run(feeds)
            if batch > 1 and not _is_apart(engine, spec, feeds, results):
                return None
        except EngineError:
            return None
        for state, array in zip(spec.states, results[len(spec.outputs) :], strict=True):
            if array.shape != state.shape({BATCH: batch}):
                return None
        shapes.append([array.shape for array in results[: len(spec.outputs)]])
    named = [axis for tensor in spec.feeds.values() for axis in tensor.axes if isinstance(axis, str) and axis != BATCH]
    axes = (
        tuple(_shown(sizes, size, named) for sizes in zip(*seen, strict=True)) for seen in zip(*shapes, strict=True)
    )
    return replace(spec, outputs=tuple(replace(o, axes=a) for o, a in zip(spec.outputs, axes, strict=True)))


def _is_apart(engine: OnnxEngine, spec: GraphSpec, feeds: Mapping[str, Array], results: Sequence[Array]) -> bool:
    """Whether the first stream of a batch has the results that it has alone."""
    alone = engine.run(
        {
            name: feeds[name] if tensor.batch_axis is None else np.take(feeds[name], [0], axis=tensor.batch_axis)
            for name, tensor in spec.feeds.items()
        }
    )
    for one, whole in zip(alone, results, strict=True):
        places = [place for place, (a, b) in enumerate(zip(one.shape, whole.shape, strict=True)) if a != b]
        part = np.take(whole, [0], axis=places[0]) if len(places) == 1 else whole
        if part.shape != one.shape or not np.allclose(part, one, rtol=1e-3, atol=1e-3, equal_nan=True):
            return False
    return True


def _all(spec: GraphSpec, size: int) -> dict[str, int]:
    """One size for every named axis."""
    return dict.fromkeys(
        (axis for tensor in spec.feeds.values() for axis in tensor.axes if isinstance(axis, str)), size
    )


def _shown(sizes: Sequence[int], size: int, named: Sequence[str]) -> int | str:
    """The axis that had `sizes` in runs with different batches: the batch, a named axis or a fixed size."""
    if len(set(sizes)) > 1:
        return BATCH
    return named[0] if named and sizes[0] == size else sizes[0]


def _fix(model: onnx.ModelProto, node: onnx.ValueInfoProto, value: float) -> None:
    """Turn an input into a constant."""
    dtype = np.dtype(_dtype(node))
    if any(not isinstance(size, int) for size in _sizes(node)):
        raise ConfigError(f"--constant {node.name}: its shape is not known")
    with np.errstate(all="ignore"):
        array: Array = np.full([int(size) for size in _sizes(node)], value, dtype)
    if not np.all(array == value):
        raise ConfigError(f"--constant {node.name}={value:g} is no {dtype}")
    model.graph.input.remove(node)
    model.graph.initializer.append(numpy_helper.from_array(array, node.name))


def _carry(model: onnx.ModelProto, name: str, size: int) -> None:
    """Let the last `size` samples of an input precede its next ones: a state that the graph did not show."""
    node = next(node for node in _inputs(model) if node.name == name)
    sizes = _sizes(node)
    if not sizes or not 1 <= size <= _LONGEST_CARRY:
        raise ConfigError(f"--carry {name}:{size} needs an input with an axis of samples, and at least one of them")
    whole, carry, following = f"{name}_whole", f"{name}_carry", f"{name}_carry_next"
    _rename(model.graph, name, whole)
    bounds = {f"{name}_carry_{key}": np.array([value]) for key, value in (("from", -size), ("to", 2**62), ("axis", -1))}
    model.graph.initializer.extend(numpy_helper.from_array(array, key) for key, array in bounds.items())
    model.graph.node.insert(0, helper.make_node("Concat", [carry, name], [whole], axis=len(sizes) - 1))
    model.graph.node.append(helper.make_node("Slice", [whole, *bounds], [following]))
    kind = node.type.tensor_type.elem_type
    shape = [*(None if isinstance(each, str) else each for each in sizes[:-1]), size]
    model.graph.input.append(helper.make_tensor_value_info(carry, kind, shape))
    model.graph.output.append(helper.make_tensor_value_info(following, kind, shape))
    if isinstance(sizes[-1], int):
        if sizes[-1] <= size:
            raise ConfigError(f"--carry {name}:{size}: the graph takes only {sizes[-1]} samples")
        node.type.tensor_type.shape.dim[-1].dim_value = sizes[-1] - size


def _rename(graph: onnx.GraphProto, old: str, new: str) -> None:
    """Let all nodes read `new` in place of `old`, those of branches and loops too."""
    for node in graph.node:
        node.input[:] = [new if name == old else name for name in node.input]
        for entry in node.attribute:
            for inner in (entry.g, *entry.graphs):
                _rename(inner, old, new)


def _with_signature(model: onnx.ModelProto, spec: GraphSpec) -> onnx.ModelProto:
    """A copy whose inputs and outputs are the contract's, in its order."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for nodes, declared in ((copy.graph.input, spec.feeds), (copy.graph.output, spec.results)):
        del nodes[:]
        for name, tensor in declared.items():
            kind = helper.np_dtype_to_tensor_dtype(tensor.numpy_dtype)
            shape = None if "any" in tensor.axes else list(tensor.axes)
            nodes.append(helper.make_tensor_value_info(name, kind, shape or [None] * len(tensor.axes)))
    return copy


def _check_names(models: Mapping[str, onnx.ModelProto], adopt_spec: AdoptSpec) -> None:
    """Raise ConfigError for an option about an input that no file has."""
    inputs = {node.name for model in models.values() for node in _inputs(model)}
    qualified = {f"{graph}.{node.name}" for graph, model in models.items() for node in _inputs(model)}
    wanted = [("state", name) for name in adopt_spec.states]
    wanted += [("condition", name) for name in adopt_spec.conditions]
    wanted += [("constant", name) for name in adopt_spec.constants]
    wanted += [("carry", name) for name in adopt_spec.carries]
    for option, name in wanted:
        if name not in inputs | qualified:
            raise ConfigError(f"--{option} {name}: there is no such input; there is {', '.join(sorted(inputs))}")


def _read(path: Path) -> onnx.ModelProto:
    try:
        model = parse(path.read_bytes())
    except OSError as error:
        raise EngineError(f"{path}: cannot be read: {error.strerror}") from None
    except EngineError as error:
        raise EngineError(f"{path}: {error}") from None
    for node in (*_inputs(model), *model.graph.output):
        if _NAME.search(node.name) or node.name[:1].isdigit():
            raise ExportError(f"{path}: {node.name[:100]!r} is no name that a contract could have")
    return model


def _inputs(model: onnx.ModelProto) -> Iterator[onnx.ValueInfoProto]:
    """Inputs but for the constants, which old files list among them."""
    constants = {tensor.name for tensor in model.graph.initializer}
    return (node for node in model.graph.input if node.name not in constants)


def _sizes(node: onnx.ValueInfoProto) -> list[int | str]:
    """Each axis's size, or a name where it is unknown."""
    return [dim.dim_value if dim.dim_value > 0 else (dim.dim_param or "?") for dim in node.type.tensor_type.shape.dim]


def _dtype(node: onnx.ValueInfoProto) -> str:
    return str(helper.tensor_dtype_to_np_dtype(node.type.tensor_type.elem_type))


def _could_feed(output: onnx.ValueInfoProto, given: onnx.ValueInfoProto) -> bool:
    ours, theirs = _sizes(given), _sizes(output)
    if _dtype(output) != _dtype(given) or len(ours) != len(theirs) or not ours:
        return False
    return all(a == b or isinstance(a, str) or isinstance(b, str) for a, b in zip(ours, theirs, strict=True))


def _is_known(node: onnx.ValueInfoProto) -> bool:
    return all(isinstance(size, int) for size in _sizes(node))


def _stem(name: str) -> str:
    """A name without its direction: `state`, `state_in`, `stateN` and `next_state` have the same."""
    lower = re.sub(r"N$", "", name).lower()
    parts = [part for part in _PART_OF_A_NAME.split(lower) if part and part not in _DIRECTIONS]
    return "_".join(parts)


def _name(text: str) -> str:
    return _NAME.sub("_", text)
