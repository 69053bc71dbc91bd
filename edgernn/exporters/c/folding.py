"""ONNX graphs at fixed sizes: optimised by onnxruntime, with the type and shape of every tensor."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

from edgernn.contract import BATCH, Array, GraphSpec
from edgernn.errors import ExportError, first_line
from edgernn.examples import example

__all__ = ["FoldedGraph", "Node", "Shape", "fold"]


@dataclass(frozen=True)
class Shape:
    """Element type and sizes of a tensor."""

    dtype: np.dtype[Any]
    sizes: tuple[int, ...]

    @property
    def count(self) -> int:
        """The number of elements."""
        return int(np.prod(self.sizes, dtype=np.int64))


@dataclass(frozen=True)
class Node:
    """One operator. inputs: the names of its tensors, "" for one that is left out."""

    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]

    def __str__(self) -> str:
        return f"{self.operator} (which makes {self.outputs[0]})"


@dataclass(frozen=True)
class FoldedGraph:
    """A graph whose sizes are all known.

    nodes: in the order of execution. constants: by name. shapes: of all tensors, by name.
    """

    spec: GraphSpec
    nodes: tuple[Node, ...]
    constants: Mapping[str, Array]
    shapes: Mapping[str, Shape]


def fold(data: bytes, spec: GraphSpec, sizes: Mapping[str, int]) -> FoldedGraph:
    """Return the graph in an ONNX file at a batch of one and at `sizes` of its other named axes.

    Raises ExportError if onnxruntime cannot optimise the graph.
    """
    sizes = {**sizes, BATCH: 1}
    try:
        basic = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        model = _optimised(data, sizes, basic)
        if _has_quantised_convolutions(model):
            model = _optimised(data, sizes, onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED)
        shapes = _shapes(model, spec, sizes)
    except Exception as error:  # onnxruntime raises bare exceptions
        raise ExportError(f"graph {spec.name} cannot be written in C: {first_line(error)}") from error
    constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    return FoldedGraph(spec, tuple(map(_node, model.graph.node)), constants, shapes)


def _has_quantised_convolutions(model: onnx.ModelProto) -> bool:
    """Return whether convolutions read tensors that were in bytes, which a higher level makes convolutions of bytes."""
    computed = {name: node for node in model.graph.node for name in node.output}
    return any(
        node.op_type == "Conv" and node.input[0] in computed and computed[node.input[0]].op_type == "DequantizeLinear"
        for node in model.graph.node
    )


def _optimised(data: bytes, sizes: Mapping[str, int], level: onnxruntime.GraphOptimizationLevel) -> onnx.ModelProto:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level
    options.log_severity_level = 4
    for axis, size in sizes.items():
        options.add_free_dimension_override_by_name(axis, size)
    with tempfile.TemporaryDirectory() as folder:
        options.optimized_model_filepath = str(Path(folder) / "optimised.onnx")
        onnxruntime.InferenceSession(data, options, ["CPUExecutionProvider"])
        return onnx.load(options.optimized_model_filepath)


def _shapes(model: onnx.ModelProto, spec: GraphSpec, sizes: Mapping[str, int]) -> dict[str, Shape]:
    """Return the shape of every tensor, from one run of the graph.

    No inference of shapes knows all of onnxruntime's own operators.
    """
    whole = onnx.ModelProto()
    whole.CopyFrom(model)
    named = {output.name for output in whole.graph.output}
    made = [name for node in whole.graph.node for name in node.output if name]
    whole.graph.output.extend(onnx.ValueInfoProto(name=name) for name in made if name not in named)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(whole.SerializeToString(), options, ["CPUExecutionProvider"])
    feeds = example(spec.feeds, 1, np.random.default_rng(0), sizes)
    names = [output.name for output in session.get_outputs()]
    arrays: dict[str, Array] = dict(zip(names, session.run(names, feeds), strict=True))
    arrays |= feeds | {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    return {name: Shape(array.dtype, array.shape) for name, array in arrays.items()}


def _node(node: onnx.NodeProto) -> Node:
    operator = f"ms.{node.op_type}" if node.domain == "com.microsoft" else node.op_type
    attributes = {entry.name: onnx.helper.get_attribute_value(entry) for entry in node.attribute}
    return Node(operator, tuple(node.input), tuple(node.output), attributes)
