"""The step contract: how a graph with explicit state must be driven, written down as data.

    outputs, next_state = step(inputs, conditions, state)

A `Contract` holds one `GraphSpec` per graph of a bundle. A graph is called with its inputs, conditions and states, in
that order, and returns its outputs and next states, in that order. An axis is a size or a name; the axis named "batch"
counts independent streams, and a tensor without it cannot be batched.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from edgernn import records
from edgernn.errors import ContractError

__all__ = [
    "BATCH",
    "KINDS",
    "ZEROS",
    "Array",
    "Axis",
    "ConditionSpec",
    "Contract",
    "FromFile",
    "FromGraph",
    "GraphSpec",
    "State",
    "StateSpec",
    "TensorSpec",
    "Zeros",
    "check",
    "select",
    "stack",
    "unstack",
    "with_kinds",
]

Array = npt.NDArray[Any]
Axis = int | str

BATCH = "batch"
# What a tensor means, by kind, and the element types that it can have. See `TensorSpec.kind`.
KINDS: Mapping[str, tuple[str, ...]] = {
    "token": ("int64", "int32"),
    "next-token": ("float32", "float16"),
    "image": ("uint8",),
    "audio": ("float32", "int16"),
    "label": ("float32", "float16"),
    "attention": ("float32", "float16"),
}
DTYPES = ("float32", "float16", "float64", "int64", "int32", "int16", "int8", "uint8", "bool")
_MAX_ELEMENTS = 1 << 31  # of one tensor of one stream: a contract from elsewhere must not fill the memory
_BATCHES_KEPT = 64  # whose shapes a graph history
_MAX_RATE = 1_000_000  # samples per second
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]{0,99}")


@dataclass(frozen=True)
class Zeros:
    """The state starts as zeros."""


@dataclass(frozen=True)
class FromFile:
    """The state starts as a tensor of the bundle: a `.npy` file whose array broadcasts to the state's shape."""

    file: str


@dataclass(frozen=True)
class FromGraph:
    """The value is an output of another graph of the bundle, which runs once when a stream begins."""

    graph: str
    output: str


ZEROS = Zeros()
Initial = Zeros | FromFile | FromGraph


@dataclass(frozen=True)
class TensorSpec:
    """One tensor: its name in the graph, element type and axes.

    bound: integers lie in [0, bound), which is checked; floating-point values lie in [-bound, bound], which is not:
    it would cost more than a step. None promises nothing.
    max_sizes: sizes that named axes have at most; such an axis has at least 1.
    kind: what the tensor means, or "" for a tensor that is only numbers. "token": ids of a vocabulary; "next-token":
    scores of the token that follows; "image": RGB bytes, (height, width, 3); "audio": samples; "label": scores of
    classes; "attention": weights of the cells of a square grid, in reading order.
    rate: of audio, in samples per second.
    """

    name: str
    dtype: str
    axes: tuple[Axis, ...]
    bound: int | float | None = None
    max_sizes: Mapping[str, int] = field(default_factory=dict, kw_only=True)
    kind: str = field(default="", kw_only=True)
    rate: int | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        _check_name(self.name, "a tensor")
        if self.dtype not in DTYPES:
            raise ContractError(f"tensor {self.name}: dtype {self.dtype!r} is not one of {', '.join(DTYPES)}")
        object.__setattr__(self, "axes", tuple(self.axes))
        for axis in self.axes:
            if isinstance(axis, str):
                _check_name(axis, f"an axis of {self.name}")
            elif type(axis) is not int or not 1 <= axis <= _MAX_ELEMENTS:
                raise ContractError(f"tensor {self.name}: axis {axis!r} is neither a name nor a size of at least 1")
        if math.prod(axis for axis in self.axes if isinstance(axis, int)) > _MAX_ELEMENTS:
            raise ContractError(f"tensor {self.name} has more than {_MAX_ELEMENTS} elements a stream")
        if self.axes.count(BATCH) > 1:
            raise ContractError(f"tensor {self.name} declares the batch axis twice")
        if self.bound is not None:
            self._check_bound(self.bound)
        self._check_kind()
        for axis, size in self.max_sizes.items():
            if axis not in self.axes or axis == BATCH or type(size) is not int or not 1 <= size <= _MAX_ELEMENTS:
                raise ContractError(f"tensor {self.name}: {axis!r} is no named axis of at most {str(size)[:20]}")

    @cached_property
    def batch_axis(self) -> int | None:
        """Position of the batch axis, or None where the tensor has none."""
        return self.axes.index(BATCH) if BATCH in self.axes else None

    @cached_property
    def numpy_dtype(self) -> np.dtype[Any]:
        """The element type as numpy's."""
        return np.dtype(self.dtype)

    @cached_property
    def checked_bound(self) -> int | float | None:
        """The bound, where it is checked: of whole numbers."""
        return None if self.numpy_dtype.kind == "f" else self.bound

    def shape(self, sizes: Mapping[str, int]) -> tuple[int, ...]:
        """The shape once every named axis has a size. Raises ContractError for an axis without one."""
        try:
            return tuple(axis if isinstance(axis, int) else sizes[axis] for axis in self.axes)
        except KeyError as error:
            raise ContractError(f"tensor {self.name}: the size of axis {error.args[0]!r} is not known") from None

    def check(self, array: Array, sizes: dict[str, int]) -> None:
        """Raise ContractError unless `array` fits; named axes must agree with `sizes`, to which new ones are added."""
        if not isinstance(array, np.ndarray):
            raise ContractError(f"{self.name} is {type(array).__name__}, not a numpy array")
        if array.dtype != self.numpy_dtype:
            raise ContractError(f"{self.name} has dtype {array.dtype}; the contract says {self.dtype}")
        if array.ndim != len(self.axes):
            raise self._misfit(array, "")
        for size, axis in zip(array.shape, self.axes, strict=True):
            expected = sizes.setdefault(axis, size) if isinstance(axis, str) else axis
            if size != expected:
                raise self._misfit(array, f" with {axis} = {expected}" if isinstance(axis, str) else "")
        for axis, largest in self.max_sizes.items():
            if not 1 <= sizes[axis] <= largest:
                raise self._misfit(array, f" with {axis} from 1 to {largest}")
        if self.checked_bound is not None and array.size:
            low, high = (array.item(),) * 2 if array.size == 1 else (array.min(), array.max())
            if low < 0 or high >= self.checked_bound:
                raise ContractError(
                    f"{self.name} holds {low if low < 0 else high}, outside 0..{self.checked_bound - 1}"
                )

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        record: dict[str, Any] = {"name": self.name, "dtype": self.dtype, "axes": list(self.axes)}
        bound = {} if self.bound is None else {"bound": self.bound}
        kind = {"kind": self.kind} if self.kind else {}
        rate = {} if self.rate is None else {"rate": self.rate}
        return {**record, **bound, **({"largest": dict(self.max_sizes)} if self.max_sizes else {}), **kind, **rate}

    def _check_kind(self) -> None:
        if self.kind and self.dtype not in KINDS.get(self.kind, ()):
            known = ", ".join(f"{kind} ({' or '.join(dtypes)})" for kind, dtypes in KINDS.items())
            raise ContractError(
                f"tensor {self.name}: {self.dtype} cannot be of kind {self.kind[:40]!r}; there is {known}"
            )
        if (self.kind == "audio") != (self.rate is not None):
            raise ContractError(
                f"tensor {self.name}: a rate in samples per second belongs to the kind audio, and only there"
            )
        if self.rate is not None and (type(self.rate) is not int or not 1 <= self.rate <= _MAX_RATE):
            raise ContractError(f"tensor {self.name}: a rate of {str(self.rate)[:40]} is not from 1 to {_MAX_RATE}")

    def _check_bound(self, bound: int | float) -> None:
        kinds: dict[str, type] = {"i": int, "u": int, "f": float}
        kind = kinds.get(self.numpy_dtype.kind)
        if type(bound) is not kind or not 0 < bound < math.inf:
            raise ContractError(f"tensor {self.name}: {self.dtype} cannot be bound by {bound!r}")

    def _misfit(self, array: Array, detail: str) -> ContractError:
        axes = ", ".join(map(str, self.axes))
        return ContractError(f"{self.name} has shape {array.shape}; the contract says ({axes}){detail}")


@dataclass(frozen=True)
class ConditionSpec(TensorSpec):
    """An input that stays the same for the life of a stream; `source` is None where the caller gives it."""

    source: FromGraph | None = None

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {**super().to_json(), "source": None if self.source is None else _source_to_json(self.source)}


@dataclass(frozen=True)
class StateSpec(TensorSpec):
    """A tensor carried from step to step: graph input `input`, next value at graph output `output`."""

    initial: Initial = ZEROS
    input: str = ""
    output: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "input", self.input or f"{self.name}_in")
        object.__setattr__(self, "output", self.output or f"{self.name}_out")
        _check_name(self.input, f"the input of state {self.name}")
        _check_name(self.output, f"the output of state {self.name}")

    def first(self, sizes: Mapping[str, int], files: Mapping[str, Array]) -> Array:
        """The value before the first step, where no other graph makes it: a new array.

        files: the tensors of the bundle by file name. Raises ContractError for one that does not fit.
        """
        shape = self.shape(sizes)
        if not isinstance(self.initial, FromFile):
            return np.zeros(shape, self.numpy_dtype)
        try:
            return np.array(np.broadcast_to(files[self.initial.file], shape), self.numpy_dtype)
        except ValueError as error:
            raise ContractError(f"{self.initial.file} does not fit state {self.name}: {error}") from None

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        pair = {"input": self.input, "output": self.output}
        return {**super().to_json(), **pair, "initial": _source_to_json(self.initial)}


class State(Mapping[str, Array]):
    """The value of every state of one graph, by name. Immutable: a step returns a new one."""

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


def check(kind: str, specs: Sequence[TensorSpec], arrays: Mapping[str, Array], sizes: dict[str, int]) -> None:
    """Raise ContractError unless `arrays` are what `specs` declare, no more and no less; `sizes` as in `TensorSpec`."""
    for spec in specs:
        if spec.name not in arrays:
            raise ContractError(f"the {kind} {spec.name!r} is missing")
        spec.check(arrays[spec.name], sizes)
    if len(arrays) > len(specs):
        extra = sorted(arrays.keys() - {spec.name for spec in specs})
        raise ContractError(f"there is no {kind} {', '.join(map(repr, extra))}")


def stack(specs: Sequence[TensorSpec], parts: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
    """Join the tensors of several streams along their declared batch axes: the inverse of `unstack`."""
    if not parts:
        raise ContractError("nothing to stack")
    return {spec.name: np.concatenate([part[spec.name] for part in parts], _batch_axis(spec)) for spec in specs}


def unstack(specs: Sequence[TensorSpec], whole: Mapping[str, Array]) -> list[dict[str, Array]]:
    """Split stacked tensors into one mapping per stream, each with a batch of one."""
    if not specs:
        raise ContractError("nothing to unstack: the graph has no such tensors")
    sizes: dict[str, int] = {}
    for spec in specs:
        _batch_axis(spec)
        spec.check(whole[spec.name], sizes)
    return [select(specs, whole, [row]) for row in range(sizes[BATCH])]


def select(specs: Sequence[TensorSpec], whole: Mapping[str, Array], rows: Sequence[int]) -> dict[str, Array]:
    """Take the streams `rows` of stacked tensors, in that order and repeatedly if asked (beam hypotheses)."""
    return {spec.name: np.take(whole[spec.name], rows, axis=_batch_axis(spec)) for spec in specs}


@dataclass(frozen=True)
class GraphSpec:
    """How one graph is driven. A graph that carries nothing (an image encoder) has no states."""

    name: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    states: tuple[StateSpec, ...] = ()
    conditions: tuple[ConditionSpec, ...] = ()

    def __post_init__(self) -> None:
        _check_name(self.name, "a graph")
        for kind in ("inputs", "outputs", "states", "conditions"):
            object.__setattr__(self, kind, tuple(getattr(self, kind)))
        _check_distinct(self.input_names, f"graph {self.name}: input")
        _check_distinct(self.output_names, f"graph {self.name}: output")
        held = [spec.name for spec in (*self.conditions, *self.states)]
        _check_distinct(held, f"graph {self.name}: condition or state")

    @cached_property
    def input_names(self) -> tuple[str, ...]:
        """Names of the graph's inputs in the order in which it is called."""
        given = (spec.name for spec in (*self.inputs, *self.conditions))
        return (*given, *(state.input for state in self.states))

    @cached_property
    def output_names(self) -> tuple[str, ...]:
        """Names of the graph's outputs in the order in which it returns them."""
        return (*(spec.name for spec in self.outputs), *(state.output for state in self.states))

    @property
    def feeds(self) -> dict[str, TensorSpec]:
        """What the graph is called with: graph input name to specification, in order."""
        return dict(zip(self.input_names, (*self.inputs, *self.conditions, *self.states), strict=True))

    @property
    def results(self) -> dict[str, TensorSpec]:
        """What the graph returns: graph output name to specification, in order."""
        return dict(zip(self.output_names, (*self.outputs, *self.states), strict=True))

    @cached_property
    def batched(self) -> bool:
        """Whether several streams can go through the graph at once."""
        return all(spec.batch_axis is not None for spec in (*self.feeds.values(), *self.results.values()))

    def input_of(self, kind: str) -> TensorSpec | None:
        """The input of `kind`, or None where there is none, or more than one."""
        return _only_of(kind, self.inputs)

    def output_of(self, kind: str) -> TensorSpec | None:
        """The output of `kind`, or None where there is none, or more than one."""
        return _only_of(kind, self.outputs)

    def output(self, name: str) -> TensorSpec:
        """The output called `name`. Raises ContractError where there is none."""
        for spec in self.outputs:
            if spec.name == name:
                return spec
        raise ContractError(f"graph {self.name} has no output {name!r}")

    def check(
        self, inputs: Mapping[str, Array], conditions: Mapping[str, Array], state: Mapping[str, Array]
    ) -> dict[str, int]:
        """Raise ContractError unless the arrays are what the graph is called with.

        Returns the size of every named axis.
        """
        batch = self._fitting_batch(inputs, conditions, state)
        if batch:
            return {BATCH: batch}
        sizes: dict[str, int] = {}
        check("input", self.inputs, inputs, sizes)
        check("condition", self.conditions, conditions, sizes)
        check("state", self.states, state, sizes)
        return sizes

    @cached_property
    def _expected(self) -> dict[int, list[tuple[int, str, np.dtype[Any], tuple[int, ...], int | float | None]]]:
        """By batch: of each tensor its kind, name, type, shape, and bound if that is checked. Filled as it is asked."""
        return {}

    def _fitting_batch(
        self, inputs: Mapping[str, Array], conditions: Mapping[str, Array], state: Mapping[str, Array]
    ) -> int:
        """The batch of arrays that fit without a doubt, or 0 where `check` has to look: steps are worth a shortcut."""
        given = (inputs, conditions, state)
        kinds = (self.inputs, self.conditions, self.states)
        first = inputs.get(self.inputs[0].name) if self.inputs else None
        if not isinstance(first, np.ndarray) or any(len(a) != len(k) for a, k in zip(given, kinds, strict=True)):
            return 0
        axis = self.inputs[0].batch_axis
        batch: int = first.shape[axis] if axis is not None and first.ndim > axis else 0
        expected = self._expected.get(batch)
        if expected is None:
            if len(self._expected) >= _BATCHES_KEPT or not self._only_batch:
                return 0
            expected = self._expected[batch] = [
                (kind, spec.name, spec.numpy_dtype, spec.shape({BATCH: batch}), spec.checked_bound)
                for kind, specs in enumerate(kinds)
                for spec in specs
            ]
        for kind, name, dtype, shape, bound in expected:
            array = given[kind].get(name)
            if type(array) is not np.ndarray or array.shape != shape or array.dtype != dtype:
                return 0
            if bound is not None and not (array.size == 1 and 0 <= array.item() < bound):
                return 0
        return batch

    @cached_property
    def _only_batch(self) -> bool:
        """Whether the batch is the only axis of any size."""
        tensors = (*self.inputs, *self.conditions, *self.states)
        return {axis for tensor in tensors for axis in tensor.axes if isinstance(axis, str)} <= {BATCH}

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values: the inverse of `from_json`."""
        return {
            "name": self.name,
            "inputs": [spec.to_json() for spec in self.inputs],
            "conditions": [spec.to_json() for spec in self.conditions],
            "states": [spec.to_json() for spec in self.states],
            "outputs": [spec.to_json() for spec in self.outputs],
        }

    @classmethod
    def from_json(cls, value: Any) -> GraphSpec:
        """Read what `to_json` wrote. Raises FormatError or ContractError for anything else."""
        values = records.record(value, "a graph", {"name", "inputs", "conditions", "states", "outputs"})
        return cls(
            name=values["name"],
            inputs=_specs(TensorSpec, values["inputs"]),
            conditions=_specs(ConditionSpec, values["conditions"]),
            states=_specs(StateSpec, values["states"]),
            outputs=_specs(TensorSpec, values["outputs"]),
        )


@dataclass(frozen=True)
class Contract:
    """The graphs of one bundle, by name."""

    graphs: tuple[GraphSpec, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "graphs", tuple(self.graphs))
        if not self.graphs:
            raise ContractError("a contract needs at least one graph")
        _check_distinct([graph.name for graph in self.graphs], "graph")
        for graph in self.graphs:
            carried: tuple[StateSpec | ConditionSpec, ...] = (*graph.states, *graph.conditions)
            for spec in carried:
                source = spec.source if isinstance(spec, ConditionSpec) else spec.initial
                if isinstance(source, FromGraph):
                    self._check_source(graph, spec, source)

    def __getitem__(self, name: str) -> GraphSpec:
        """The graph called `name`. Raises ContractError where there is none."""
        for graph in self.graphs:
            if graph.name == name:
                return graph
        raise ContractError(f"there is no graph {name!r}; there is {', '.join(g.name for g in self.graphs)}")

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values: the inverse of `from_json`."""
        return {"graphs": [graph.to_json() for graph in self.graphs]}

    @classmethod
    def from_json(cls, value: Any) -> Contract:
        """Read what `to_json` wrote. Raises FormatError or ContractError for anything else."""
        graphs = records.items(records.record(value, "a contract", {"graphs"})["graphs"], "graphs")
        return cls(tuple(GraphSpec.from_json(graph) for graph in graphs))

    def dumps(self) -> str:
        """The one canonical text of the contract: equal contracts give equal texts."""
        return json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))

    def _check_source(self, graph: GraphSpec, spec: TensorSpec, source: FromGraph) -> None:
        other = self[source.graph]
        if other.states or other.conditions:
            raise ContractError(f"{spec.name} of graph {graph.name}: graph {other.name} needs more than inputs to run")
        made = other.output(source.output)
        if (made.dtype, made.axes) != (spec.dtype, spec.axes):
            raise ContractError(
                f"{spec.name} of graph {graph.name} is {spec.dtype}{list(spec.axes)}, but "
                f"{source.graph}.{source.output} is {made.dtype}{list(made.axes)}"
            )


Spec = TypeVar("Spec", bound=TensorSpec)

# Names that stood for a kind in bundles of these tasks before contracts declared kinds, with the axes they must have.
_NAMED_TASKS = ("language", "caption")
_NAMED_INPUTS = {"token": ("token", 1), "image": ("image", 4)}
_NAMED_OUTPUTS = {"logits": ("next-token", 2), "attention": ("attention", 2)}


def with_kinds(contract: Contract, task: str) -> Contract:
    """`contract` with the kinds that names stand for, in bundles of language and caption models that declare none.

    A name counts only where element type and axes fit, and only in a contract in which no tensor declares a kind.
    """
    graphs = contract.graphs
    declared = any(tensor.kind for graph in graphs for tensor in (*graph.inputs, *graph.outputs))
    if task not in _NAMED_TASKS or declared:
        return contract
    return Contract(
        tuple(
            replace(
                graph,
                inputs=tuple(_named(tensor, _NAMED_INPUTS) for tensor in graph.inputs),
                outputs=tuple(_named(tensor, _NAMED_OUTPUTS) for tensor in graph.outputs),
            )
            for graph in graphs
        )
    )


def _named(tensor: TensorSpec, names: Mapping[str, tuple[str, int]]) -> TensorSpec:
    kind, rank = names.get(tensor.name, ("", 0))
    fits = kind and tensor.dtype in KINDS[kind] and len(tensor.axes) == rank and tensor.axes[0] == BATCH
    return replace(tensor, kind=kind) if fits else tensor


def _only_of(kind: str, tensors: Sequence[TensorSpec]) -> TensorSpec | None:
    found = [tensor for tensor in tensors if tensor.kind == kind]
    return found[0] if len(found) == 1 else None


def _batch_axis(spec: TensorSpec) -> int:
    if spec.batch_axis is None:
        raise ContractError(f"{spec.name} declares no batch axis, so streams cannot be batched")
    return spec.batch_axis


def _check_name(name: Any, what: str) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ContractError(f"{str(name)[:100]!r} is no name for {what}: use letters, digits, '_' and '.'")


def _check_distinct(names: Sequence[str], what: str) -> None:
    for name in names:
        if names.count(name) > 1:
            raise ContractError(f"{what} {name!r} is declared twice")


def _source_to_json(source: Initial) -> Any:
    if isinstance(source, FromGraph):
        return {"graph": source.graph, "output": source.output}
    return {"file": source.file} if isinstance(source, FromFile) else "zeros"


def _source_from_json(value: Any) -> Initial:
    if value == "zeros":
        return ZEROS
    if isinstance(value, dict) and "file" in value:
        return FromFile(records.text(records.record(value, "an initial value", {"file"})["file"], "file"))
    values = records.record(value, "an initial value", {"graph", "output"})
    return FromGraph(records.text(values["graph"], "graph"), records.text(values["output"], "output"))


def _specs(kind: type[Spec], values: Any) -> tuple[Spec, ...]:
    return tuple(_spec(kind, value) for value in records.items(values, "tensors"))


def _spec(kind: type[Spec], value: Any) -> Spec:
    # In files `max_sizes` is called `largest`: digests of contracts must not change.
    optional = {"bound", "largest", "kind", "rate"}
    required = {field.name for field in fields(kind)} - optional - {"max_sizes"}
    values = records.record(value, f"a {kind.__name__}", required, optional)
    values["axes"] = tuple(records.items(values["axes"], "axes"))
    values["max_sizes"] = records.mapping(values.pop("largest", {}), "largest")
    values["kind"] = records.text(values.get("kind", ""), "kind")
    if "initial" in values:
        values["initial"] = _source_from_json(values["initial"])
        for end in ("input", "output"):
            _check_name(values[end], f"the {end} of a state")
    if values.get("source") is not None:
        values["source"] = _source_from_json(values["source"])
        if not isinstance(values["source"], FromGraph):
            raise ContractError(f"condition {values['name']!r}: its source is not a graph")
    return kind(**values)
