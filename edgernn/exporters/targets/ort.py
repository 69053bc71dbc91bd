"""The ORT target: the ONNX graph as a flat buffer, for minimal builds of ONNX Runtime.

Each graph comes with a list of the operators that a minimal build needs.
"""

from __future__ import annotations

import math
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import onnx
import onnxruntime

from edgernn.errors import EngineError, ExportError, first_line
from edgernn.exporters.quantization import Quantization
from edgernn.exporters.target import Artifact, GraphReport, Target, one_file_each, suppress_output
from edgernn.exporters.targets.onnx import ONNX, is_quantised, products, stored, write_both
from edgernn.models import Graph
from edgernn.runtime.engine import OrtEngine

__all__ = ["ORT"]


def _write(graph: Graph, quantization: Quantization) -> Artifact:
    single, data, weights = write_both(graph, quantization)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{graph.spec.name}.ort"
        operators = Path(folder) / "operators.config"
        try:
            with suppress_output():
                size = None if quantization.name == "fp32" else _size(single, path)
                _convert(data, path)
                _list_operators(path, operators)
        except Exception as error:  # onnxruntime raises bare exceptions
            raise ExportError(f"graph {graph.spec.name} cannot be converted to ORT: {first_line(error)}") from error
        files = {f"{graph.spec.name}.required_operators.config": operators.read_bytes()}
        return Artifact(path.read_bytes(), weights, size, files)


def _size(data: bytes, path: Path) -> int:
    _convert(data, path)
    return path.stat().st_size


def _convert(data: bytes, path: Path) -> None:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(path)
    options.add_session_config_entry("session.save_model_format", "ORT")
    options.log_severity_level = 4
    # Constant folding would expand quantised weights.
    onnxruntime.InferenceSession(data, options, ["CPUExecutionProvider"], disabled_optimizers=["ConstantFolding"])


def _list_operators(path: Path, out: Path) -> None:
    from onnxruntime.tools.ort_format_model import create_config_from_models

    create_config_from_models([path], out, enable_type_reduction=False)
    lines = out.read_text(encoding="utf-8").splitlines()  # removes comments, which name a temporary folder
    out.write_text("".join(line + "\n" for line in lines if line and not line.startswith("#")), encoding="utf-8")


def _inspect(data: bytes) -> GraphReport:
    try:
        model = _model(data)
        graph = model.Graph()
        opsets = {_name(entry.Domain()): entry.Version() for entry in _each(model, "OpsetImport")}
        nodes = list(_each(graph, "Nodes"))
        operators = Counter(_name(node.OpType()) for node in nodes)
        constants = [
            onnx.TensorProto(name=_name(t.Name()), data_type=t.DataType(), dims=map(t.Dims, range(t.DimsLength())))
            for t in _each(graph, "Initializers")
        ]
        sizes = {tensor.name: math.prod(tensor.dims) for tensor in constants}
        multiply_accumulates = sum(_products(node, sizes) for node in nodes)
    except Exception:  # noqa: BLE001 - a damaged flat buffer leads anywhere
        raise EngineError("this is not an ORT file, or a damaged one") from None
    indices = {onnx.TensorProto.INT64, onnx.TensorProto.INT32}
    weights = [tensor for tensor in constants if tensor.dims and tensor.data_type not in indices]
    return GraphReport(
        parameters=sum(math.prod(tensor.dims) for tensor in weights),
        operators=operators,
        opset=opsets.get("", opsets.get("ai.onnx")),
        ir_version=model.IrVersion(),
        quantised=any(is_quantised(tensor.dims, tensor.data_type) for tensor in weights),
        tensors=tuple(map(stored, constants)),
        multiply_accumulates=multiply_accumulates,
    )


def _products(node: Any, sizes: Mapping[str, int]) -> int:
    inputs = [_name(name) for name in _each(node, "Inputs")]
    numbers = {_name(entry.Name()): entry.I() for entry in _each(node, "Attributes")}
    return products(_name(node.OpType()), inputs, sizes, lambda name: numbers.get(name, 0))


def _model(data: bytes) -> Any:
    from onnxruntime.tools.ort_format_model.ort_flatbuffers_py.fbs.InferenceSession import InferenceSession

    if data[4:8] != b"ORTM":
        raise ValueError("its identifier is another")
    return InferenceSession.GetRootAs(data, 0).Model()


def _each(table: Any, field: str) -> Iterator[Any]:
    return (getattr(table, field)(index) for index in range(getattr(table, f"{field}Length")()))


def _name(text: bytes | None) -> str:
    return (text or b"").decode()


ORT = Target(
    "ort", ".ort", one_file_each(_write), OrtEngine, _inspect, precisions=("fp32", "int8", "int4"), options=ONNX.options
)
