"""Bring adopted graphs to the form that a target needs, and compare what it writes with the files in the gate."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import version_converter
from torch import Tensor, nn

from edgernn.contract import Array, Contract, GraphSpec
from edgernn.errors import ExportError, first_line
from edgernn.exporters.capture.rewrite import all_nodes
from edgernn.exporters.gate.prove import Proof, prove
from edgernn.exporters.gate.real_inputs import RealInputs
from edgernn.exporters.gate.vectors import RECORDED
from edgernn.exporters.quantisation.quantise import quantise
from edgernn.exporters.quantization import Quantization
from edgernn.exporters.target import OnnxGraph, suppress_output
from edgernn.exporters.targets.onnx import OPSET, operators, parse
from edgernn.models import Graph
from edgernn.runtime import Engine

__all__ = ["compare", "lower"]

_BYTES = 64 << 20


def lower(spec: GraphSpec, data: bytes, quantization: Quantization, sizes: Mapping[str, int]) -> OnnxGraph:
    """Return the graph in the ONNX file `data` at a precision, without branches on constant conditions.

    sizes: of named axes that are fixed. Weights of convolutions are quantised, but convolutions are computed in single
    precision.
    Raises ExportError for a graph that cannot be quantised.
    """
    model = _of_opset(_folded(data, spec, sizes), spec)
    weights = () if quantization.name == "fp32" else quantise(model, spec, quantization)
    del model.graph.value_info[:]
    return OnnxGraph(spec, model.SerializeToString(), weights, len(data))


def compare(
    graph: OnnxGraph, source: Engine, engine: Engine, steps: Iterable[Mapping[str, Array]], precision: str
) -> Proof:
    """Check that the engine of a target behaves like the file of a graph, whose engine is `source`.

    steps: inputs of one stream; the gate repeats the first ones. Raises ParityError for one that differs too much.
    """
    module = _Running(source, graph.spec)
    whole = Graph(graph.spec, module, module, convolutions="Conv" in operators(parse(graph.data)))
    real = RealInputs(_first(steps), Contract((graph.spec,)))
    return prove([whole], {graph.spec.name: engine}, None, precision, examples=real)


def _first(steps: Iterable[Mapping[str, Array]]) -> list[Mapping[str, Array]]:
    """Return as many steps as golden vectors have, or fewer if they are large."""
    taken: list[Mapping[str, Array]] = []
    size = 0
    for step in islice(steps, RECORDED):
        size += sum(array.nbytes for array in step.values())
        if taken and size > _BYTES:
            break
        taken.append(step)
    return taken


class _Running(nn.Module):
    """A graph file as a module, with which the gate compares what a target writes."""

    def __init__(self, engine: Engine, spec: GraphSpec) -> None:
        super().__init__()
        self._engine, self._names = engine, spec.input_names

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        feeds = {name: tensor.numpy() for name, tensor in zip(self._names, tensors, strict=True)}
        return tuple(torch.from_numpy(np.array(array)) for array in self._engine.run(feeds))


def _folded(data: bytes, spec: GraphSpec, sizes: Mapping[str, int]) -> onnx.ModelProto:
    """Return the graph without branches on constant conditions, so that weights in the taken branches are found.

    onnxruntime folds them; it is limited to standard ONNX operators here.
    """
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 4
    for axis, size in sizes.items():
        options.add_free_dimension_override_by_name(axis, size)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "folded.onnx"
        options.optimized_model_filepath = str(path)
        try:
            with suppress_output():
                onnxruntime.InferenceSession(data, options, ["CPUExecutionProvider"])
        except Exception as error:  # noqa: BLE001 - onnxruntime raises bare exceptions
            raise ExportError(f"graph {spec.name} cannot be simplified: {first_line(error)}") from None
        model = onnx.load_model(path)
    used = {node.domain for node in all_nodes(model.graph)} | {""}
    imports: list[Any] = [entry for entry in model.opset_import if entry.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(imports)
    return model


def _of_opset(model: onnx.ModelProto, spec: GraphSpec) -> onnx.ModelProto:
    """Convert the graph to the opset of lowered graphs, with inferred shapes."""
    opset = next(entry.version for entry in model.opset_import if not entry.domain)
    if opset < OPSET:
        try:
            model = version_converter.convert_version(model, OPSET)
        except Exception as error:  # noqa: BLE001 - onnx raises bare exceptions
            raise ExportError(
                f"graph {spec.name} is of opset {opset}, and cannot be brought to {OPSET}, in which graphs are "
                f"quantised and written in C: {first_line(error)}"
            ) from None
    inferred: onnx.ModelProto = onnx.shape_inference.infer_shapes(model)
    return inferred
