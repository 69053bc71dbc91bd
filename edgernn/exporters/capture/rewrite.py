"""Rewrite an ONNX graph."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from edgernn.contract import Array

__all__ = ["CONTRIB", "Rewriter", "all_graphs", "all_nodes", "attribute", "subgraphs"]

CONTRIB = "com.microsoft"  # the domain of onnxruntime's own operators


class Rewriter:
    """Keeps or replaces the nodes of a model in their order, and finally removes unused nodes."""

    def __init__(self, model: onnx.ModelProto) -> None:
        graph = model.graph
        graph.initializer.extend(_constant_nodes(graph))
        self.nodes = [node for node in graph.node if not _is_constant(node)]  # the original nodes
        self.all_nodes = list(all_nodes(graph))
        self.constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
        self.makers = {output: node for node in self.nodes for output in node.output}
        self.readers: dict[str, list[onnx.NodeProto]] = {}
        for node in self.nodes:
            for name in self.used_by(node):
                self.readers.setdefault(name, []).append(node)
        self.outputs = {output.name for output in graph.output}
        values = (*graph.input, *graph.output, *graph.value_info)
        self.ranks = {value.name: len(value.type.tensor_type.shape.dim) for value in values}
        self._model = model
        self._first: list[onnx.NodeProto] = []
        self._written: list[onnx.NodeProto] = []
        self._added: dict[str, onnx.TensorProto] = {}
        self._made: dict[str, dict[str, Array]] = {}  # by the requested names
        inside = (name for node in self.all_nodes for name in node.output)
        self._taken = {*self.constants, *self.inner_constants(), *self.makers, *self.ranks, *inside}

    def used_by(self, node: onnx.NodeProto) -> list[str]:
        """Return the inputs of `node`, and what its branches and loop bodies read from outside."""
        names = [*node.input]
        for inner in _inner_nodes(node):
            names.extend(inner.input)
        for graph in _inner_graphs(node):
            names.extend(output.name for output in graph.output)
        return names

    def inner_constants(self) -> dict[str, Array]:
        """Return the constants in branches and loop bodies."""
        graphs = [graph for node in self.nodes for graph in _inner_graphs(node)]
        tensors = [tensor for graph in graphs for tensor in (*graph.initializer, *_constant_nodes(graph))]
        return {tensor.name: numpy_helper.to_array(tensor) for tensor in tensors}

    def keep(self, node: onnx.NodeProto) -> None:
        """Keep `node` unchanged."""
        self._written.append(node)

    def add(
        self, operator: str, inputs: Sequence[str], name: str, *, domain: str = "", at: str = "", **attributes: Any
    ) -> str:
        """Add a new node. Returns the name of its output: `at`, or else one similar to `name`."""
        output = at or self._free(name)
        self._written.append(helper.make_node(operator, list(inputs), [output], domain=domain, **attributes))
        return output

    def constant(self, array: Array, name: str) -> str:
        """Add a constant, unless an equal one was added for `name`. Returns its name, similar to `name`."""
        made = self._made.setdefault(name, {})
        for free, other in made.items():
            if array.dtype == other.dtype and np.array_equal(array, other):
                return free
        free = self._free(name)
        made[free] = array
        self._added[free] = numpy_helper.from_array(np.asarray(array, order="C"), free)
        return free

    def compute(self, name: str, operator: str, inputs: Sequence[str], **attributes: Any) -> str:
        """Add a constant that `operator` computes when the graph is loaded. Returns its name, similar to `name`."""
        free = self._free(name)
        self._first.append(helper.make_node(operator, list(inputs), [free], **attributes))
        return free

    def expand(self, name: str, operator: str, inputs: Sequence[str], **attributes: Any) -> None:
        """Compute the constant `name` by `operator` when the graph is loaded."""
        self._first.append(helper.make_node(operator, list(inputs), [name], **attributes))
        del self.constants[name]

    def finish(self) -> None:
        """Write the new graph into the model."""
        needed, kept = set(self.outputs), []
        for node in reversed([*self._first, *self._written]):
            if needed.intersection(node.output):
                needed.update(self.used_by(node))
                kept.append(node)
        graph = self._model.graph
        tensors = [tensor for tensor in graph.initializer if tensor.name in self.constants]
        tensors = [tensor for tensor in (*tensors, *self._added.values()) if tensor.name in needed]
        del graph.node[:], graph.initializer[:]
        graph.node.extend(reversed(kept))
        graph.initializer.extend(tensors)
        known = {entry.domain for entry in self._model.opset_import}
        for domain in sorted({node.domain for node in kept} - known - {"ai.onnx"}):
            self._model.opset_import.append(helper.make_opsetid(domain, 1))

    def _free(self, name: str) -> str:
        free, count = name, 1
        while free in self._taken:
            free, count = f"{name}_{count}", count + 1
        self._taken.add(free)
        return free


def subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """Yield the branches and loop bodies of `node`."""
    for entry in node.attribute:
        if entry.HasField("g"):
            yield entry.g
        yield from entry.graphs


def _inner_graphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """Yield the branches and loop bodies of `node`, including nested ones."""
    for graph in subgraphs(node):
        yield from all_graphs(graph)


def _inner_nodes(node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
    return (inner for graph in _inner_graphs(node) for inner in graph.node)


def all_graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """Yield a graph and all its branches and loop bodies."""
    yield graph
    for node in graph.node:
        yield from _inner_graphs(node)


def all_nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Yield the nodes of `graph` and of all its branches and loop bodies."""
    for node in graph.node:
        yield node
        for inner in subgraphs(node):
            yield from all_nodes(inner)


def _is_constant(node: onnx.NodeProto) -> bool:
    return node.op_type == "Constant" and attribute(node, "value", None) is not None


def _constant_nodes(graph: onnx.GraphProto) -> list[onnx.TensorProto]:
    """Return the tensors of constant nodes, named after their outputs."""
    tensors = []
    for node in filter(_is_constant, graph.node):
        tensor = onnx.TensorProto()
        tensor.CopyFrom(attribute(node, "value", None))
        tensor.name = node.output[0]
        tensors.append(tensor)
    return tensors


def attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    """Return the attribute `name` of `node`, or `default`."""
    return next((helper.get_attribute_value(entry) for entry in node.attribute if entry.name == name), default)
