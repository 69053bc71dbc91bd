"""The ONNX target: the step graph with explicit states and any batch size, with its contract in the file's metadata."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial

import numpy as np
import onnx
import torch
from onnxscript import rewriter
from onnxscript.rewriter.rules.common import _no_op

from edgernn import records
from edgernn.contract import BATCH, GraphSpec, TensorSpec, graph_from_json, graph_to_json
from edgernn.engines import EagerEngine
from edgernn.errors import EngineError, ExportError
from edgernn.examples import axis_sizes, example
from edgernn.exporters.capture.isolation import isolated
from edgernn.exporters.capture.kernels import use_kernels
from edgernn.exporters.capture.naming import name_folded
from edgernn.exporters.capture.projection import unrolled_projections
from edgernn.exporters.capture.rewrite import all_nodes, attribute
from edgernn.exporters.capture.signature import name_signature
from edgernn.exporters.quantisation.quantise import PRECISIONS, quantise
from edgernn.exporters.quantization import Quantization
from edgernn.exporters.target import (
    Artifact,
    GraphReport,
    OnnxGraph,
    Positional,
    StoredTensor,
    Target,
    Weight,
    compiled_part,
    one_file_each,
    root_cause,
    suppress_output,
)
from edgernn.models import Graph
from edgernn.runtime import OnnxEngine

__all__ = [
    "CONTRACT_KEY",
    "IR_VERSION",
    "ONNX",
    "OPSET",
    "convert",
    "is_quantised",
    "operators",
    "parse",
    "products",
    "products_of",
    "stored",
    "write_both",
]

OPSET = 20
_GUARDED = 2  # torch assumes sizes of at least 2, but its programs also run at smaller ones
_LARGEST_AXIS = 1 << 20  # of a named axis for which the contract declares no limit
IR_VERSION = 10
CONTRACT_KEY = "edgernn.contract"


def _write(graph: Graph, quantization: Quantization) -> Artifact:
    single, data, weights = write_both(graph, quantization)
    return Artifact(data, weights, None if quantization.name == "fp32" else len(single))


def _adopt(graphs: Sequence[OnnxGraph]) -> dict[str, Artifact]:
    return {graph.spec.name: Artifact(graph.data, graph.weights, graph.single) for graph in graphs}


def write_both(graph: Graph, quantization: Quantization) -> tuple[bytes, bytes, tuple[Weight, ...]]:
    """Return the graph at fp32 and at the precision of `quantization`, and how the latter stores its matrices."""
    with unrolled_projections():
        model = convert(graph)
    name_folded(model, graph.module)
    single = onnx.ModelProto()
    single.CopyFrom(model)
    weights = quantise(model, graph.spec, quantization, graph.examples)
    both = (_finished(each, graph.spec).SerializeToString() for each in (single, model))
    return next(both), next(both), weights


def convert(graph: Graph) -> onnx.ModelProto:
    """Return the module of a graph as an ONNX model in single precision.

    Raises ExportError if it cannot be converted.
    """
    spec = graph.spec
    arrays = example(spec.feeds, 2, np.random.default_rng(0), axis_sizes(spec))
    tensors = tuple(torch.from_numpy(array) for array in arrays.values())
    shapes = tuple(
        {position: torch.export.Dim.DYNAMIC for position, axis in enumerate(tensor.axes) if isinstance(axis, str)}
        for tensor in spec.feeds.values()
    )
    try:
        with suppress_output(), isolated():
            program = torch.onnx.export(
                Positional(graph.module),
                tensors,
                dynamic_shapes={"tensors": shapes},
                opset_version=OPSET,
                dynamo=True,
                verbose=False,
                optimize=False,
            )
            assert program is not None
            assert program.exported_program is not None
            _check_sizes(graph, program.exported_program)
            with _exact_rules():
                program.optimize()
            model = program.model_proto
            name_signature(model, spec)  # torch's own naming fails if an output is also an input
            model = onnx.shape_inference.infer_shapes(model)
            use_kernels(model)
            model = onnx.shape_inference.infer_shapes(model)
    except ExportError:
        raise
    except Exception as error:  # a module's own code, or the exporter, may raise anything
        raise ExportError(f"graph {spec.name} cannot be exported to ONNX: {_cause(graph, error)}") from error
    return model


@contextmanager
def _exact_rules() -> Iterator[None]:
    """Disable onnxscript's rules for sums and products with constants, which replace x + 1e-10 and x * 0.999999."""
    rules = rewriter._DEFAULT_REWRITE_RULES
    rewriter._DEFAULT_REWRITE_RULES = tuple(rule for rule in rules if rule not in {*_no_op.rules})
    try:
        yield
    finally:
        rewriter._DEFAULT_REWRITE_RULES = rules


def _check_sizes(graph: Graph, program: torch.export.ExportedProgram) -> None:
    """Raise ExportError if the program supports fewer sizes of a named axis than its source."""
    spec = graph.spec
    inputs = [node for node in program.graph.nodes if node.op == "placeholder"][-len(spec.input_names) :]
    for (name, tensor), node in zip(spec.feeds.items(), inputs, strict=True):
        for axis, size in zip(tensor.axes, node.meta["val"].shape, strict=True):
            allowed = program.range_constraints.get(getattr(getattr(size, "node", None), "expr", None))
            if not isinstance(axis, str) or axis == BATCH or allowed is None:
                continue  # the gate drives both one stream and several
            excluded = [int(allowed.lower) - 1] if allowed.lower > _GUARDED else []
            if allowed.upper < tensor.max_sizes.get(axis, _LARGEST_AXIS):
                excluded.append(int(allowed.upper) + 1)
            if any(_runs(graph, axis, other) for other in excluded):
                raise ExportError(
                    f"graph {spec.name}: its Python code uses the size of the axis {axis} of {name}: at "
                    f"{' or '.join(map(str, excluded))} the module computes something else"
                )


def _runs(graph: Graph, axis: str, size: int) -> bool:
    """Return whether the module itself accepts a size of a named axis."""
    sizes = {**axis_sizes(graph.spec), axis: size}
    feeds = example(graph.spec.feeds, 2, np.random.default_rng(0), sizes)
    try:
        EagerEngine(graph.module, graph.spec).run(feeds)
    except EngineError:
        return False
    return True


def _cause(graph: Graph, error: Exception) -> str:
    """Return why torch could not capture a network, with the contract's names instead of torch's."""
    cause, spec = compiled_part(graph.module) or root_cause(error), graph.spec
    if frozen := re.search(r"static shape of (\d+) for dimension inputs\['tensors'\]\[(\d+)\]\.shape\[(\d+)\]", cause):
        size, place, position = map(int, frozen.groups())
        name = spec.input_names[place]
        axis = spec.feeds[name].axes[position]
        return (
            f"a loop over the axis {axis} of {name}, in its Python code or in a layer such as nn.RNN, would "
            f"be frozen at {size} rounds: declare a fixed size"
        )
    return cause


def _inspect(data: bytes) -> GraphReport:
    model = parse(data)
    opsets = {entry.domain: entry.version for entry in model.opset_import}
    constants = list(_constants(model.graph))
    weights = [tensor for tensor in constants if tensor.dims and tensor.data_type not in _INDICES]
    return GraphReport(
        parameters=sum(math.prod(tensor.dims) for tensor in weights),
        operators=operators(model),
        opset=opsets.get("", opsets.get("ai.onnx")),
        ir_version=model.ir_version,
        quantised=any(is_quantised(tensor.dims, tensor.data_type) for tensor in weights),
        contract=_contract(model),
        inputs=_signature(model.graph.input, constants),
        outputs=_signature(model.graph.output, constants),
        tensors=tuple(map(stored, constants)),
        multiply_accumulates=products_of(model),
    )


ONNX = Target(
    "onnx",
    ".onnx",
    one_file_each(_write),
    OnnxEngine,
    _inspect,
    precisions=("fp32", *PRECISIONS),
    options=("keep", "block"),
    adopt=_adopt,
)

# Operators whose second input is a matrix: ONNX's, and those that onnxruntime fuses from others.
_PRODUCTS = {"MatMul", "Gemm", "MatMulInteger"} | {
    *("MatMulIntegerToFloat", "DynamicQuantizeMatMul", "FusedMatMul", "FusedGemm"),
}
_RECURRENT = {"LSTM", "GRU", "RNN", "DynamicQuantizeLSTM"}
_INDICES = {onnx.TensorProto.INT64, onnx.TensorProto.INT32}  # shapes and positions, not weights
_QUANTISED = {onnx.TensorProto.INT8, onnx.TensorProto.UINT8, onnx.TensorProto.INT4, onnx.TensorProto.UINT4}


def is_quantised(shape: Sequence[int], kind: int) -> bool:
    """Return whether a constant of this shape and ONNX type is an integer weight matrix."""
    return kind in _QUANTISED and len(shape) > 1


def operators(model: onnx.ModelProto) -> Counter[str]:
    """Return the count of each operator in a model."""
    return Counter(node.op_type for node in all_nodes(model.graph))


def _constants(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """Yield the constants of a graph, including those in branches and loop bodies."""
    yield from graph.initializer
    for node in graph.node:
        for entry in node.attribute:
            if node.op_type == "Constant" and entry.name == "value":
                tensor = onnx.TensorProto()
                tensor.CopyFrom(entry.t)
                tensor.name = node.output[0]
                yield tensor
            for inner in (entry.g, *entry.graphs):
                yield from _constants(inner)


def _signature(nodes: Iterable[onnx.ValueInfoProto], constants: Sequence[onnx.TensorProto]) -> tuple[str, ...]:
    """Return names, types and axes, without constants, which old files list among the inputs."""
    held = {tensor.name for tensor in constants}
    described = []
    for node in nodes:
        if node.name not in held:
            kind = node.type.tensor_type
            axes = [dim.dim_param or (str(dim.dim_value) if dim.dim_value > 0 else "?") for dim in kind.shape.dim]
            dtype = onnx.TensorProto.DataType.Name(kind.elem_type).lower()
            described.append(f"{node.name}: {dtype}[{', '.join(axes)}]")
    return tuple(described)


def stored(tensor: onnx.TensorProto) -> StoredTensor:
    """Return the size of a constant in the file."""
    kind = onnx.TensorProto.DataType.Name(tensor.data_type).lower()
    elements = math.prod(tensor.dims)
    bits = 4 if kind in ("int4", "uint4") else 8 * onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    return StoredTensor(tensor.name, kind, tuple(tensor.dims), (elements * bits + 7) // 8)


def products_of(model: onnx.ModelProto) -> int:
    """Return the number of multiply-accumulates with constant matrices of one step of one stream."""
    sizes = {tensor.name: math.prod(tensor.dims) for tensor in _constants(model.graph)}
    nodes = all_nodes(model.graph)
    return sum(products(node.op_type, node.input, sizes, partial(attribute, node, default=0)) for node in nodes)


def products(operator: str, inputs: Sequence[str], sizes: Mapping[str, int], attribute: Callable[[str], int]) -> int:
    """Return the number of multiply-accumulates of an operator with constant matrices, for one row.

    sizes: the number of elements of each constant. attribute: the value of an attribute of the operator, by its name.
    """
    if operator == "MatMulNBits":
        return attribute("K") * attribute("N")
    if operator in _PRODUCTS:
        return sizes.get(inputs[1], 0)
    if operator in _RECURRENT:
        return sum(sizes.get(name, 0) for name in inputs[1:3])
    return 0


def _contract(model: onnx.ModelProto) -> GraphSpec | None:
    for prop in model.metadata_props:
        if prop.key == CONTRACT_KEY:
            return graph_from_json(records.parse(prop.value.encode(), "the contract in the ONNX file"))
    return None


def parse(data: bytes) -> onnx.ModelProto:
    """Return the model in an ONNX file. Raises EngineError if it is not one."""
    try:
        model = onnx.load_model_from_string(data)
    except Exception:  # noqa: BLE001 - protobuf's own exceptions, by implementation
        raise EngineError("this is not an ONNX file, or a damaged one") from None
    if not model.graph.node:
        raise EngineError("this is not an ONNX file: it has no operators")
    return model


def _finished(model: onnx.ModelProto, spec: GraphSpec) -> onnx.ModelProto:
    """Return the model with the contract's names and shapes, and without the exporter's metadata.

    That metadata has stack traces, which disclose paths of the exporting machine.
    """
    graph = model.graph
    graph.name = spec.name
    for nodes, declared in ((graph.input, spec.feeds), (graph.output, spec.results)):
        found = {node.name for node in nodes}
        if found != declared.keys():
            raise ExportError(f"graph {spec.name} came out with {sorted(found)}; its contract says {list(declared)}")
        del nodes[:]
        nodes.extend(_value_info(name, tensor) for name, tensor in declared.items())
    for part in (graph, *graph.node, *graph.initializer):
        del part.metadata_props[:]
        part.doc_string = ""
    del graph.value_info[:]
    del model.metadata_props[:]
    model.ir_version = IR_VERSION
    model.producer_name, model.producer_version = "edgernn", ""
    entry = model.metadata_props.add()
    entry.key, entry.value = CONTRACT_KEY, json.dumps(graph_to_json(spec))
    onnx.checker.check_model(model)
    return model


def _value_info(name: str, spec: TensorSpec) -> onnx.ValueInfoProto:
    kind = onnx.helper.np_dtype_to_tensor_dtype(spec.numpy_dtype)
    return onnx.helper.make_tensor_value_info(name, kind, list(spec.axes))
