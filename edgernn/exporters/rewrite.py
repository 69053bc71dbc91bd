"""An ONNX graph while it is rewritten."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from edgernn.contract import Array

__all__ = ["CONTRIB", "Rewriter", "attribute"]

CONTRIB = "com.microsoft"  # onnxruntime's own operators


class Rewriter:
    """Keeps or replaces the nodes of a model in their order, then leaves out those that no output depends on."""

    def __init__(self, model: onnx.ModelProto) -> None:
        graph = model.graph
        self.nodes = list(graph.node)  # as they were
        self.constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
        self.makers = {output: node for node in self.nodes for output in node.output}
        self.readers: dict[str, list[onnx.NodeProto]] = {}
        for node in self.nodes:
            for name in node.input:
                self.readers.setdefault(name, []).append(node)
        self.outputs = {output.name for output in graph.output}
        values = (*graph.input, *graph.output, *graph.value_info)
        self.ranks = {value.name: len(value.type.tensor_type.shape.dim) for value in values}
        self._model = model
        self._first: list[onnx.NodeProto] = []
        self._written: list[onnx.NodeProto] = []
        self._added: dict[str, onnx.TensorProto] = {}
        self._made: dict[str, dict[str, Array]] = {}  # by the names that were asked for
        self._taken = {*self.constants, *self.makers, *self.ranks}

    def keep(self, node: onnx.NodeProto) -> None:
        """Leave `node` as it is."""
        self._written.append(node)

    def add(
        self, operator: str, inputs: Sequence[str], name: str, *, domain: str = "", at: str = "", **attributes: Any
    ) -> str:
        """Write a new node. Returns the name of its output, which is `at`, or else similar to `name`."""
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

    def expand(self, name: str, operator: str, inputs: Sequence[str], **attributes: Any) -> None:
        """Let `operator` compute the constant `name`, before anything else runs."""
        self._first.append(helper.make_node(operator, list(inputs), [name], **attributes))
        del self.constants[name]

    def finish(self) -> None:
        """Write the new graph into the model."""
        needed, kept = set(self.outputs), []
        for node in reversed([*self._first, *self._written]):
            if needed.intersection(node.output):
                needed.update(node.input)
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


def attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    """The attribute `name` of `node`, or `default`."""
    return next((helper.get_attribute_value(entry) for entry in node.attribute if entry.name == name), default)
