"""A graph that is being adopted: its model, its inputs and outputs, and functions that traverse and change it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import onnx
from onnx import helper, numpy_helper

from edgernn.contract import Array
from edgernn.exporters.capture.rewrite import subgraphs

__all__ = ["OpenGraph", "Port", "all_tensors", "elements", "free_name", "initializers", "rename"]


@dataclass(frozen=True)
class Port:
    """An input or output. axes: fixed sizes or names; None if the file does not declare the number of axes."""

    name: str
    kind: int  # element type, as a value of `onnx.TensorProto.DataType`
    axes: tuple[int | str, ...] | None

    @property
    def dtype(self) -> str:
        """The element type as a numpy type name."""
        return str(helper.tensor_dtype_to_np_dtype(self.kind))

    @property
    def type_name(self) -> str:
        """The element type as an ONNX type name."""
        types: dict[str, int] = dict(onnx.TensorProto.DataType.items())
        return next((name.lower() for name, kind in types.items() if kind == self.kind), f"number {self.kind}")

    @property
    def known_axes(self) -> tuple[int | str, ...]:
        """The axes. Only for a port whose number of axes the file declares."""
        assert self.axes is not None
        return self.axes

    def __str__(self) -> str:
        return f"{self.name} {self.type_name}[{'?' if self.axes is None else ', '.join(map(str, self.axes))}]"


@dataclass
class OpenGraph:
    """A graph that is being adopted, whose model the steps of the adoption change.

    name: in the contract. own_names: the file's names of inputs and outputs, by their names in the model, which differ
    if a contract does not accept the file's name.
    """

    name: str
    model: onnx.ModelProto
    own_names: dict[str, str] = field(default_factory=dict)

    @property
    def inputs(self) -> dict[str, Port]:
        """The inputs by name, in order."""
        return {value.name: _port(value) for value in self.model.graph.input}

    @property
    def outputs(self) -> dict[str, Port]:
        """The outputs by name, in order."""
        return {value.name: _port(value) for value in self.model.graph.output}

    @property
    def renamed(self) -> dict[str, str]:
        """The file's names of renamed tensors, by their names in the contract."""
        return {name: own for name, own in self.own_names.items() if name != own}

    def own(self, name: str) -> str:
        """Return the file's name of an input or output."""
        return self.own_names.get(name, name)

    def value(self, name: str) -> onnx.ValueInfoProto:
        """Return the protobuf record of an input."""
        found: onnx.ValueInfoProto = next(value for value in self.model.graph.input if value.name == name)
        return found

    def set_axes(self, name: str, axes: tuple[int | str | None, ...]) -> None:
        """Set the axes of an input."""
        value = self.value(name)
        value.CopyFrom(helper.make_tensor_value_info(name, value.type.tensor_type.elem_type, list(axes)))


def _port(value: onnx.ValueInfoProto) -> Port:
    tensor = value.type.tensor_type
    axes = tuple(dim.dim_param or dim.dim_value for dim in tensor.shape.dim) if tensor.HasField("shape") else None
    return Port(value.name, tensor.elem_type, axes)


def initializers(graph: onnx.GraphProto) -> Mapping[str, onnx.TensorProto]:
    """Return the constant tensors of a graph by name, including those that are attributes of operators."""
    held = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        for entry in node.attribute:
            if node.op_type == "Constant" and entry.name == "value" and node.output:
                held[node.output[0]] = entry.t
    return held


def all_tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Yield every constant tensor of a model, including those in branches, loop bodies and functions."""
    yield from _constants(model.graph)
    for function in model.functions:
        yield from _held(function.node)


def _constants(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _held(graph.node)


def _held(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.TensorProto]:
    """Yield the constant tensors that are attributes of operators."""
    for node in nodes:
        for entry in node.attribute:
            if entry.HasField("t"):
                yield entry.t
            yield from entry.tensors
        for inner in subgraphs(node):
            yield from _constants(inner)


def elements(tensor: onnx.TensorProto) -> Array | None:
    """Return the elements of a constant, or None for a damaged one."""
    try:
        array: Array = numpy_helper.to_array(tensor)
    except (ValueError, TypeError, KeyError):
        return None
    return array


def rename(graph: onnx.GraphProto, old: str, new: str) -> None:
    """Rename `old` to `new` wherever it is written or read, also in branches and loop bodies that do not shadow it."""
    for node in graph.node:
        node.input[:] = [new if name == old else name for name in node.input]
        node.output[:] = [new if name == old else name for name in node.output]
        for inner in subgraphs(node):
            if old not in _made(inner):
                rename(inner, old, new)
    for value in (*graph.input, *graph.output):
        value.name = new if value.name == old else value.name
    for entry in graph.quantization_annotation:
        entry.tensor_name = new if entry.tensor_name == old else entry.tensor_name


def _made(graph: onnx.GraphProto) -> set[str]:
    """Return the names that a branch or loop body defines itself."""
    held = {tensor.name for tensor in (*graph.input, *graph.initializer)}
    return held.union(*(node.output for node in graph.node))


def free_name(graph: onnx.GraphProto, wished: str, longest: int = 100) -> str:
    """Return `wished`, or a similar name that is not used in the graph yet."""
    taken = _taken(graph)
    name, number = wished[:longest], 2
    while name in taken:
        name, number = f"{wished[: longest - 6]}_{number}", number + 1
    return name


def _taken(graph: onnx.GraphProto) -> set[str]:
    names = _made(graph).union(value.name for value in graph.output)
    for node in graph.node:
        names.update(node.input)
        for inner in subgraphs(node):
            names |= _taken(inner)
    return names
