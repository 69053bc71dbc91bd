"""The classes that declare a contract: tensors, conditions, states, graphs, and the contract of a bundle.

Every class raises ContractError for an invalid declaration, so that code that receives a contract need not check it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from edgernn.errors import ContractError

__all__ = [
    "BATCH",
    "DTYPES",
    "KINDS",
    "ZEROS",
    "Array",
    "Axis",
    "ConditionSpec",
    "Contract",
    "FromFile",
    "FromGraph",
    "FromSteps",
    "GraphSpec",
    "Initial",
    "StateSpec",
    "TensorSpec",
    "Zeros",
    "check_name",
]

Array = npt.NDArray[Any]
Axis = int | str

BATCH = "batch"
# The kinds of tensors, and the element types that each can have. See `TensorSpec.kind`.
KINDS: Mapping[str, tuple[str, ...]] = {
    "token": ("int64", "int32"),
    "next-token": ("float32", "float16"),
    "image": ("uint8",),
    "audio": ("float32", "int16"),
    "label": ("float32", "float16"),
    "attention": ("float32", "float16"),
    "alignment": ("float32", "float16"),
    "boxes": ("float32", "float16"),
    "class": ("int64", "int32"),
    "noise": ("float32", "float16"),
    "canvas": ("float32", "float16"),
    "point": ("float32", "float16"),
    "next-point": ("float32", "float16"),
    "stroke": ("float32", "float16"),
}
DTYPES = ("float32", "float16", "float64", "int64", "int32", "int16", "int8", "uint8", "bool")
_MAX_ELEMENTS = 1 << 31  # of one tensor of one stream: a contract from a file must not exhaust the memory
_MAX_RATE = 1_000_000  # samples per second
_MAX_DELAY = 1_000_000  # steps
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]{0,99}")


@dataclass(frozen=True)
class Zeros:
    """The state starts as zeros."""


@dataclass(frozen=True)
class FromFile:
    """The state starts as a tensor that the bundle holds: a `.npy` file whose array broadcasts to the state's shape."""

    file: str


@dataclass(frozen=True)
class FromGraph:
    """The value is an output of another graph of the bundle, which runs at the beginning of a stream.

    A graph without states runs once. A graph with states is stepped over a sequence of inputs, and the value is that of
    the last step; `output` may then also be the output of a state.
    """

    graph: str
    output: str


@dataclass(frozen=True)
class FromSteps:
    """The value is the outputs of all steps of another graph, which has states, stacked along the named axis `axis`.

    The graph is stepped over a sequence of inputs at the beginning of a stream. In a batch of streams, the values of
    shorter sequences are padded with zeros at the end of the axis.
    """

    graph: str
    output: str
    axis: str


ZEROS = Zeros()
Initial = Zeros | FromFile | FromGraph


@dataclass(frozen=True)
class TensorSpec:
    """One tensor: its name in the graph, element type and axes.

    bound: integers lie in [0, bound), floating-point values in [-bound, bound]. low: the smallest value, instead of 0
    or -bound. None declares no limit. The limits of integers are checked at each step; those of floating-point values
    are not, since the check would take longer than the step.
    max_sizes: the largest sizes of named axes; such an axis has at least size 1.
    kind: what the tensor means, or "" for plain numbers. "token": ids of a vocabulary; "next-token": scores of the next
    token; "image": RGB bytes, (height, width, 3); "audio": samples; "label": scores of classes; "attention": weights of
    the cells of a square grid, in reading order; "alignment": weights of the steps of another graph, (batch, steps);
    "boxes": parts of the image, (batch, boxes, 4): left, top, right and bottom in pixels; "class": the place of a class
    among the names of the classes; "noise": standard normal deviates, drawn anew at each step; "canvas": the intensity
    of each pixel from 0 to 1, (height, width), or (height, width, 3) of red, green and blue. "stroke": a stroke of
    paint, (batch, 12), as in CONTRACT.md; "point": a point of a pen, (batch, 5), and "next-point": the mixture
    from which the next one is drawn, (batch, 6 components + 3); `pens` describes both.

    rate: of audio, in samples per second.
    delay: of scores of classes, the number of steps by which they come later than the input that they describe.
    """

    name: str
    dtype: str
    axes: tuple[Axis, ...]
    bound: int | float | None = None
    low: int | float | None = field(default=None, kw_only=True)
    max_sizes: Mapping[str, int] = field(default_factory=dict, kw_only=True)
    kind: str = field(default="", kw_only=True)
    rate: int | None = field(default=None, kw_only=True)
    delay: int = field(default=0, kw_only=True)

    def __post_init__(self) -> None:
        check_name(self.name, "a tensor")
        if self.dtype not in DTYPES:
            raise ContractError(f"tensor {self.name}: dtype {self.dtype!r} is not one of {', '.join(DTYPES)}")
        object.__setattr__(self, "axes", tuple(self.axes))
        self._check_axes()
        self._check_limits()
        self._check_kind()

    @cached_property
    def batch_axis(self) -> int | None:
        """The position of the batch axis, or None for a tensor without one."""
        return self.axes.index(BATCH) if BATCH in self.axes else None

    @cached_property
    def numpy_dtype(self) -> np.dtype[Any]:
        """The element type as a numpy dtype."""
        return np.dtype(self.dtype)

    @cached_property
    def limits(self) -> tuple[int | float | None, int | float | None]:
        """The smallest value, and the upper limit: exclusive for integers, inclusive for floating-point values."""
        if self.low is not None or self.bound is None:
            return self.low, self.bound
        return (-self.bound if self.numpy_dtype.kind == "f" else 0), self.bound

    @cached_property
    def magnitude(self) -> float | None:
        """The largest absolute value of floating-point elements, or None if the contract declares none."""
        if self.bound is None or self.numpy_dtype.kind != "f":
            return None
        return float(max(abs(self.bound), abs(self.limits[0] or 0)))

    @cached_property
    def is_checked(self) -> bool:
        """Whether values are checked at each step, which is so for integers with limits."""
        return self.numpy_dtype.kind != "f" and self.limits != (None, None)

    def shape(self, sizes: Mapping[str, int]) -> tuple[int, ...]:
        """Return the shape, given a size for every named axis. Raises ContractError for an axis without one."""
        try:
            return tuple(axis if isinstance(axis, int) else sizes[axis] for axis in self.axes)
        except KeyError as error:
            raise ContractError(f"tensor {self.name}: the size of axis {error.args[0]!r} is not known") from None

    def at(self, sizes: Mapping[str, int]) -> Self:
        """Return the tensor with fixed sizes in place of these named axes. Raises ContractError for impossible ones."""
        for axis, largest in self.max_sizes.items():
            if sizes.get(axis, largest) > largest:
                raise ContractError(f"tensor {self.name}: {axis} = {sizes[axis]} is above its largest size, {largest}")
        axes = tuple(sizes.get(axis, axis) if isinstance(axis, str) else axis for axis in self.axes)
        free = {axis: largest for axis, largest in self.max_sizes.items() if axis not in sizes}
        return replace(self, axes=axes, max_sizes=free)

    def named_sizes(self, array: Array) -> dict[str, int]:
        """Return the sizes of the named axes in `array`, which has as many axes as this tensor."""
        return {axis: size for axis, size in zip(self.axes, array.shape, strict=True) if isinstance(axis, str)}

    def _check_axes(self) -> None:
        for axis in self.axes:
            if isinstance(axis, str):
                check_name(axis, f"an axis of {self.name}")
            elif type(axis) is not int or not 1 <= axis <= _MAX_ELEMENTS:
                raise ContractError(f"tensor {self.name}: axis {axis!r} is neither a name nor a size of at least 1")
        if math.prod(axis for axis in self.axes if isinstance(axis, int)) > _MAX_ELEMENTS:
            raise ContractError(f"tensor {self.name} has more than {_MAX_ELEMENTS} elements a stream")
        if self.axes.count(BATCH) > 1:
            raise ContractError(f"tensor {self.name} declares the batch axis twice")
        for axis, size in self.max_sizes.items():
            if axis not in self.axes or axis == BATCH or type(size) is not int or not 1 <= size <= _MAX_ELEMENTS:
                raise ContractError(f"tensor {self.name}: {axis!r} is no named axis of at most {str(size)[:20]}")

    def _check_limits(self) -> None:
        for name in ("low", "bound"):
            self._check_limit(name, getattr(self, name))
        low, high = self.limits
        if low is not None and high is not None and not low < high:
            raise ContractError(f"tensor {self.name}: no value lies between {low!r} and {high!r}")

    def _check_limit(self, name: str, limit: Any) -> None:
        if limit is None:
            return
        integers = self.numpy_dtype.kind in "iu"
        if type(limit) is int and self.numpy_dtype.kind == "f":
            object.__setattr__(self, name, float(limit))
        elif type(limit) is not (int if integers else float) or self.dtype == "bool" or not math.isfinite(limit):
            raise ContractError(f"tensor {self.name}: {self.dtype} cannot have the {name} {limit!r}")
        if integers and not (least := np.iinfo(self.numpy_dtype).min) <= limit <= np.iinfo(self.numpy_dtype).max + 1:
            raise ContractError(f"tensor {self.name}: {self.dtype} begins at {least}, and has no {name} {limit}")

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
        if self.delay != 0 and self.kind != "label":
            raise ContractError(f"tensor {self.name}: a delay in steps belongs to the kind label, and only there")
        if type(self.delay) is not int or not 0 <= self.delay <= _MAX_DELAY:
            raise ContractError(f"tensor {self.name}: a delay of {str(self.delay)[:40]} is not from 0 to {_MAX_DELAY}")


@dataclass(frozen=True)
class ConditionSpec(TensorSpec):
    """An input that stays the same for the life of a stream. source: None if the caller provides it."""

    source: FromGraph | FromSteps | None = None

    @property
    def padded_axis(self) -> int | None:
        """The position of the axis along which a batch pads shorter sequences with zeros, or None without one."""
        return self.axes.index(self.source.axis) if isinstance(self.source, FromSteps) else None


@dataclass(frozen=True)
class StateSpec(TensorSpec):
    """A tensor carried from step to step.

    input, output: the graph's input for its value and output for the next value.
    """

    initial: Initial = ZEROS
    input: str = ""
    output: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "input", self.input or f"{self.name}_in")
        object.__setattr__(self, "output", self.output or f"{self.name}_out")
        check_name(self.input, f"the input of state {self.name}")
        check_name(self.output, f"the output of state {self.name}")

    def first(self, sizes: Mapping[str, int], files: Mapping[str, Array]) -> Array:
        """Return a new array with the value before the first step, for a state that no other graph initialises.

        files: the tensors of the bundle by file name. Raises ContractError for a tensor that does not fit.
        """
        shape = self.shape(sizes)
        if not isinstance(self.initial, FromFile):
            return np.zeros(shape, self.numpy_dtype)
        try:
            return np.array(np.broadcast_to(files[self.initial.file], shape), self.numpy_dtype, order="C")
        except ValueError as error:
            raise ContractError(f"{self.initial.file} does not fit state {self.name}: {error}") from None


@dataclass(frozen=True)
class GraphSpec:
    """The tensors of one graph. A graph without states, such as an image encoder, carries nothing between calls.

    Raises ContractError for a name that is declared twice, or one tensor in place of a tuple.
    """

    name: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    states: tuple[StateSpec, ...] = ()
    conditions: tuple[ConditionSpec, ...] = ()

    def __post_init__(self) -> None:
        check_name(self.name, "a graph")
        for kind in ("inputs", "outputs", "states", "conditions"):
            given = getattr(self, kind)
            if isinstance(given, TensorSpec):
                raise ContractError(
                    f"graph {self.name}: {kind} is one {type(given).__name__}, and not a tuple of them: "
                    f"a comma is missing, as in {kind}=({type(given).__name__}(…),)"
                )
            object.__setattr__(self, kind, tuple(given))
        _check_distinct(self.input_names, f"graph {self.name}: input")
        _check_distinct(self.output_names, f"graph {self.name}: output")
        held = [spec.name for spec in (*self.conditions, *self.states)]
        _check_distinct(held, f"graph {self.name}: condition or state")

    @cached_property
    def input_names(self) -> tuple[str, ...]:
        """The names of the graph's inputs, in the order in which it is called."""
        given = (spec.name for spec in (*self.inputs, *self.conditions))
        return (*given, *(state.input for state in self.states))

    @cached_property
    def output_names(self) -> tuple[str, ...]:
        """The names of the graph's outputs, in the order in which it returns them."""
        return (*(spec.name for spec in self.outputs), *(state.output for state in self.states))

    @property
    def feeds(self) -> dict[str, TensorSpec]:
        """The specification of each input of the graph, by input name, in order."""
        return dict(zip(self.input_names, (*self.inputs, *self.conditions, *self.states), strict=True))

    @property
    def results(self) -> dict[str, TensorSpec]:
        """The specification of each output of the graph, by output name, in order."""
        return dict(zip(self.output_names, (*self.outputs, *self.states), strict=True))

    @cached_property
    def batched(self) -> bool:
        """Whether the graph can step several streams in a batch."""
        return all(spec.batch_axis is not None for spec in (*self.feeds.values(), *self.results.values()))

    def at(self, sizes: Mapping[str, int]) -> GraphSpec:
        """Return the graph with fixed sizes in place of these named axes. Raises ContractError for impossible ones."""
        return replace(
            self,
            inputs=tuple(tensor.at(sizes) for tensor in self.inputs),
            outputs=tuple(tensor.at(sizes) for tensor in self.outputs),
            states=tuple(tensor.at(sizes) for tensor in self.states),
            conditions=tuple(tensor.at(sizes) for tensor in self.conditions),
        )

    @property
    def free_axes(self) -> dict[str, str]:
        """The named axes other than the batch, each with the first tensor that has it."""
        tensors = {**self.feeds, **self.results}.items()
        pairs = [(axis, name) for name, tensor in tensors for axis in tensor.axes if isinstance(axis, str)]
        return {axis: name for axis, name in reversed(pairs) if axis != BATCH}

    def input_of(self, kind: str) -> TensorSpec | None:
        """Return the input of `kind`, or None unless there is exactly one."""
        return _only_of(kind, self.inputs)

    def output_of(self, kind: str) -> TensorSpec | None:
        """Return the output of `kind`, or None unless there is exactly one."""
        return _only_of(kind, self.outputs)

    def output(self, name: str) -> TensorSpec:
        """Return the output called `name`. Raises ContractError if there is none."""
        for spec in self.outputs:
            if spec.name == name:
                return spec
        raise ContractError(f"graph {self.name} has no output {name!r}")

    @property
    def sources(self) -> dict[str, FromGraph | FromSteps]:
        """The source of each condition and state that another graph computes, by name."""
        made = {each.name: each.source for each in self.conditions if each.source is not None}
        return made | {each.name: each.initial for each in self.states if isinstance(each.initial, FromGraph)}

    @property
    def held(self) -> dict[str, ConditionSpec | StateSpec]:
        """The specification of each condition and state, by name: what a stream of the graph consists of."""
        return {**{each.name: each for each in self.conditions}, **{each.name: each for each in self.states}}


@dataclass(frozen=True)
class Contract:
    """The graphs of one bundle, by name."""

    graphs: tuple[GraphSpec, ...]

    def __post_init__(self) -> None:
        if isinstance(self.graphs, GraphSpec):
            raise ContractError(
                "graphs is one GraphSpec, and not a tuple of them: a comma is missing, as in (GraphSpec(…),)"
            )
        object.__setattr__(self, "graphs", tuple(self.graphs))
        if not self.graphs:
            raise ContractError("a contract needs at least one graph")
        _check_distinct([graph.name for graph in self.graphs], "graph")
        for graph in self.graphs:
            for name, source in graph.sources.items():
                self._check_source(graph, graph.held[name], source)

    def __repr__(self) -> str:
        return f"<Contract {'; '.join(map(_signature, self.graphs))}>"

    def __getitem__(self, name: str) -> GraphSpec:
        """Return the graph called `name`. Raises ContractError if there is none."""
        for graph in self.graphs:
            if graph.name == name:
                return graph
        raise ContractError(f"there is no graph {name!r}; there is {', '.join(g.name for g in self.graphs)}")

    def _check_source(self, graph: GraphSpec, spec: TensorSpec, source: FromGraph | FromSteps) -> None:
        other, name = self[source.graph], f"{spec.name} of graph {graph.name}"
        if other.conditions or other.sources:
            raise ContractError(f"{name}: graph {other.name} needs more than inputs to run")
        made = other.results.get(source.output) if other.states else other.output(source.output)
        axes: tuple[Axis, ...] = spec.axes
        if isinstance(source, FromSteps):
            made = other.output(source.output)
            if not other.states:
                raise ContractError(f"{name}: graph {other.name} has no states, so it runs once and not step by step")
            if source.axis == BATCH or source.axis not in axes or spec.batch_axis is None:
                raise ContractError(f"{name} has no axes {BATCH} and {source.axis!r}, along which steps are stacked")
            axes = tuple(axis for axis in axes if axis != source.axis)
        if made is None:
            raise ContractError(f"graph {other.name} has no output {source.output!r}")
        if (made.dtype, made.axes) != (spec.dtype, axes):
            raise ContractError(
                f"{name} is {spec.dtype}{list(spec.axes)}, but "
                f"{source.graph}.{source.output} is {made.dtype}{list(made.axes)}"
                + (f", and its steps are stacked along {source.axis}" if isinstance(source, FromSteps) else "")
            )


def _signature(graph: GraphSpec) -> str:
    """A graph in short, such as "step(token) -> logits, states h, c"."""
    given = ", ".join(tensor.name for tensor in (*graph.inputs, *graph.conditions))
    made = ", ".join(tensor.name for tensor in graph.outputs)
    states = ", ".join(state.name for state in graph.states)
    return f"{graph.name}({given}) -> {made}" + (f", states {states}" if states else "")


def check_name(name: Any, what: str) -> None:
    """Raise ContractError unless `name` can be the name of a graph, a tensor or an axis."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ContractError(f"{str(name)[:100]!r} is no name for {what}: use letters, digits, '_' and '.'")


def _only_of(kind: str, tensors: Sequence[TensorSpec]) -> TensorSpec | None:
    found = [tensor for tensor in tensors if tensor.kind == kind]
    return found[0] if len(found) == 1 else None


def _check_distinct(names: Sequence[str], what: str) -> None:
    for name in names:
        if names.count(name) > 1:
            raise ContractError(f"{what} {name!r} is declared twice")
