"""The ExecuTorch target: a `.pte` program lowered to XNNPACK, any batch up to 64."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import fx

from edgernn.contract import BATCH, GraphSpec
from edgernn.engines.executorch import LARGEST_BATCH, ExecuTorchEngine, silent
from edgernn.errors import EngineError, ExportError, MissingExtraError
from edgernn.examples import axis_sizes, example
from edgernn.exporters.quantization import Quantization
from edgernn.exporters.rounding import round_channels
from edgernn.exporters.target import (
    Artifact,
    GraphReport,
    Positional,
    Target,
    Weight,
    is_matrix,
    root_cause,
    suppress_output,
    weight_name,
)
from edgernn.models import Graph

__all__ = ["EXECUTORCH"]

_LARGEST_AXIS = 1024  # of named axes other than the batch
_Axes = tuple[dict[int, Any], ...]


def _write(graph: Graph, quantization: Quantization) -> Artifact:
    spec = graph.spec
    arrays = example(spec.feeds, 2, np.random.default_rng(0), axis_sizes(spec))
    tensors = tuple(torch.from_numpy(array) for array in arrays.values())
    try:
        with suppress_output(), silent():
            return _lower(graph.module, spec, tensors, quantization.name)
    except ImportError:
        raise MissingExtraError("executorch", "executorch") from None
    except Exception as error:  # whatever a module's own code, or the exporter, raises
        raise ExportError(f"graph {spec.name} cannot be exported to ExecuTorch: {root_cause(error)}") from error


def _lower(module: torch.nn.Module, spec: GraphSpec, tensors: tuple[torch.Tensor, ...], precision: str) -> Artifact:
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    shapes = {"tensors": _shapes(spec)}
    program = torch.export.export(Positional(module), tensors, dynamic_shapes=shapes)
    weights: tuple[Weight, ...] = ()
    if precision == "int8":
        quantised, weights = _quantise(program.module(), tensors)
        program = torch.export.export(quantised, tensors, dynamic_shapes=_shapes(spec))
    lowered = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
    data = bytes(lowered.to_executorch().buffer)
    _check_batch(data, spec)
    return Artifact(data, weights)


def _check_batch(data: bytes, spec: GraphSpec) -> None:
    """Some operators, one-dimensional convolutions among them, lose the batch while they are lowered."""
    from executorch.runtime import Runtime

    about = Runtime.get().load_program(data).load_method("forward").metadata
    for place, (name, tensor) in enumerate(spec.feeds.items()):
        axis = tensor.batch_axis
        if axis is not None and about.input_tensor_meta(place).sizes()[axis] != LARGEST_BATCH:
            raise ExportError(f"its lowering froze the batch of {name}: declare one stream, or choose onnx or ort")


def _shapes(spec: GraphSpec) -> _Axes:
    dims: dict[str, Any] = {}
    for tensor in spec.feeds.values():
        for axis in tensor.axes:
            if isinstance(axis, str):
                largest = LARGEST_BATCH if axis == BATCH else _LARGEST_AXIS
                dims.setdefault(axis, torch.export.Dim(axis.replace(".", "_"), min=1, max=largest))
    return tuple(
        {place: dims[axis] for place, axis in enumerate(tensor.axes) if isinstance(axis, str)}
        for tensor in spec.feeds.values()
    )


def _quantise(program: fx.GraphModule, tensors: tuple[torch.Tensor, ...]) -> tuple[fx.GraphModule, tuple[Weight, ...]]:
    """Quantise matrix products to 8 bits; their activations are quantised row by row while the graph runs."""
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
        XNNPACKQuantizer,
        get_symmetric_quantization_config,
    )
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    if any(node.target == torch.ops.aten.conv2d.default for node in program.graph.nodes):
        return program, tuple(_kept(program))
    lookups = _round_lookups(program)
    names = _as_linear(program)
    matrices = [(name, t) for name, t in _constants(program) if t.is_floating_point() and is_matrix(t.shape)]
    quantizer = XNNPACKQuantizer()
    quantizer.set_global(get_symmetric_quantization_config(is_per_channel=True, is_dynamic=True))
    prepared = prepare_pt2e(program, quantizer)
    prepared(*tensors)
    converted = convert_pt2e(prepared)
    _forget_unused(converted)
    left = {name for name, _ in _constants(converted)}
    weights = list(lookups)
    for name, tensor in matrices:
        if name in left and tensor.ndim == 2:
            raise ExportError(f"the weights {weight_name(names.get(name, name))} cannot be quantised to int8 for it")
        scheme = (32, "none", "fp32") if name in left else (8, "each output", "int8, rounded row by row")
        weights.append(Weight(weight_name(names.get(name, name)), tuple(tensor.shape), *scheme))
    return converted, tuple(weights)


def _kept(program: fx.GraphModule) -> Iterator[Weight]:
    """The matrices of a graph with two-dimensional convolutions, which stays in single precision."""
    for name, tensor in _constants(program):
        if tensor.is_floating_point() and is_matrix(tensor.shape):
            yield Weight(weight_name(name), tuple(tensor.shape), 32, "none", "fp32")


def _round_lookups(program: fx.GraphModule) -> list[Weight]:
    """Look up rows of embeddings in tables of bytes, with a scale for each column."""
    weights: list[Weight] = []
    for node in list(program.graph.nodes):
        if node.target is not torch.ops.aten.embedding.default or node.args[0].op != "get_attr":
            continue
        name, table = node.args[0].target, _constant(program, node.args[0].target)
        levels, scales = map(torch.from_numpy, round_channels(table.numpy()))
        call = program.graph.call_function
        with program.graph.inserting_before(node):
            stored = _buffer(program, f"levels_{len(weights)}", levels)
            rows = call(torch.ops.aten.embedding.default, (stored, node.args[1]))
            wide = call(torch.ops.aten.to.dtype, (rows, torch.float32))
            scaled = call(torch.ops.aten.mul.Tensor, (wide, _buffer(program, f"scales_{len(weights)}", scales[0])))
        node.replace_all_uses_with(scaled)
        program.graph.erase_node(node)
        weights.append(Weight(weight_name(name), tuple(table.shape), 8, "each column", "fp32"))
    return weights


def _constant(program: fx.GraphModule, name: str) -> torch.Tensor:
    """A parameter or a buffer."""
    owner, _, attribute = name.rpartition(".")
    tensor: torch.Tensor = getattr(program.get_submodule(owner), attribute)
    return tensor.detach()


def _constants(program: fx.GraphModule) -> list[tuple[str, torch.Tensor]]:
    return [*program.named_parameters(), *program.named_buffers()]


def _buffer(program: fx.GraphModule, name: str, tensor: torch.Tensor) -> fx.Node:
    program.register_buffer(name, tensor)
    return program.graph.get_attr(name)


def _as_linear(program: fx.GraphModule) -> dict[str, str]:
    """Write products with constant matrices as linear layers, which the quantiser knows.

    Returns the old name of each new matrix.
    """
    names: dict[str, str] = {}
    for node in list(program.graph.nodes):
        if node.target is not torch.ops.aten.matmul.default or node.args[1].op != "get_attr":
            continue
        weight = _constant(program, node.args[1].target)
        if weight.ndim != 2:
            continue
        name = f"transposed_{len(names)}"
        names[name] = node.args[1].target
        program.register_parameter(name, torch.nn.Parameter(weight.t().contiguous(), requires_grad=False))
        with program.graph.inserting_before(node):
            matrix = program.graph.get_attr(name)
            linear = program.graph.call_function(torch.ops.aten.linear.default, (node.args[0], matrix))
        matrix.meta["val"] = node.args[1].meta["val"].t()
        linear.meta = dict(node.meta)
        node.replace_all_uses_with(linear)
        program.graph.erase_node(node)
    _forget_unused(program)
    return names


def _forget_unused(program: fx.GraphModule) -> None:
    program.graph.eliminate_dead_code()
    program.recompile()
    used = {node.target for node in program.graph.nodes if node.op == "get_attr"}
    for name, _ in _constants(program):
        if name not in used:
            owner, _, attribute = name.rpartition(".")
            delattr(program.get_submodule(owner), attribute)


def _inspect(data: bytes) -> GraphReport:
    try:
        with suppress_output(), silent():
            from executorch.exir._serialize._program import deserialize_pte_binary

            program = deserialize_pte_binary(data).program
    except ImportError:
        raise MissingExtraError("executorch", "executorch") from None
    except Exception as error:  # noqa: BLE001 - the library raises bare exceptions on damaged files
        raise EngineError(f"this is not an ExecuTorch file: {str(error)[:200]}") from None
    (plan,) = program.execution_plan
    operators = Counter(operator.name.removeprefix("aten::") for operator in plan.operators)
    operators.update(delegate.id for delegate in plan.delegates)
    return GraphReport(parameters=None, operators=operators)


EXECUTORCH = Target("executorch", ".pte", _write, ExecuTorchEngine, _inspect, precisions=("fp32", "int8"))
