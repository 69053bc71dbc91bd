"""The ExecuTorch target: a `.pte` program for XNNPACK, for batches of up to 64."""

from __future__ import annotations

import copy
import math
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx
from torch.export import ExportedProgram
from torch.fx.experimental.symbolic_shapes import free_symbols

from edgernn.contract import BATCH, GraphSpec
from edgernn.engines.executorch import LARGEST_BATCH, ExecuTorchEngine, silent
from edgernn.errors import EngineError, ExportError, MissingExtraError
from edgernn.examples import axis_sizes, example
from edgernn.exporters.capture.fx import constants, written_out
from edgernn.exporters.capture.isolation import isolated
from edgernn.exporters.quantisation.xnnpack import quantised as quantised_by_xnnpack
from edgernn.exporters.quantization import Quantization
from edgernn.exporters.target import (
    Artifact,
    GraphReport,
    Positional,
    Target,
    compiled_part,
    one_file_each,
    root_cause,
    suppress_output,
)
from edgernn.models import Graph

__all__ = ["EXECUTORCH"]

_LARGEST_AXIS = 1024  # of named axes other than the batch, unless the contract declares a smaller size
_LARGEST_TENSOR = 1 << 28  # elements; larger address ranges may not be available
_Axes = tuple[dict[int, Any], ...]


def _write(graph: Graph, quantization: Quantization) -> Artifact:
    try:
        with suppress_output(), silent(), isolated():
            return _lower(graph, quantization)
    except ImportError as error:
        raise MissingExtraError(error.name or "executorch", "executorch") from None
    except Exception as error:  # whatever a module's own code, or the exporter, raises
        name = graph.spec.name
        raise ExportError(f"graph {name} cannot be exported to ExecuTorch: {_cause(graph, error)}") from error


def _cause(graph: Graph, error: Exception) -> str:
    """Return the cause. Recurrent layers and others are unrolled, which fixes the number of steps."""
    found = re.search(r"Constraints violated \((.+?)\)", str(error))
    if found is None:
        return compiled_part(graph.module) or root_cause(error)
    return f"its forward does not take every size of the axis {found[1]}: declare a number for it"


def _lower(graph: Graph, quantization: Quantization) -> Artifact:
    spec = graph.spec
    plain = written_out(_exported(Positional(graph.module), _small(spec), {"tensors": _shapes(spec)}))
    if quantization.name == "fp32":
        return Artifact(_lowered(plain, spec))
    examples = [tuple(torch.from_numpy(each[name]) for name in spec.input_names) for each in graph.examples]
    quantised, weights = quantised_by_xnnpack(copy.deepcopy(plain), _small(spec), examples, quantization)
    data = _lowered(quantised, spec)
    return Artifact(data, weights, _single_bytes(plain, spec, len(data)))


def _single_bytes(plain: fx.GraphModule, spec: GraphSpec, bytes: int) -> int:
    """Return the size of the graph at fp32, or the size of its constants if that exceeds `bytes` already."""
    held = sum(tensor.numel() * tensor.element_size() for tensor in constants(plain).values())
    return held if held > bytes else len(_lowered(plain, spec))


def _small(spec: GraphSpec) -> tuple[Tensor, ...]:
    """Return inputs of two streams."""
    arrays = example(spec.feeds, 2, np.random.default_rng(0), axis_sizes(spec))
    return tuple(map(torch.from_numpy, arrays.values()))


def _largest(spec: GraphSpec) -> tuple[Tensor, ...]:
    """Return the largest tensors that the program will accept, of which the export reads only the sizes.

    ExecuTorch's lowering would limit the program to the sizes of smaller ones.
    """
    largest = _largest_sizes(spec)
    named = {  # different sizes
        name: max(1, largest.get(name, _LARGEST_AXIS) - 2 * place) for place, name in enumerate(axis_sizes(spec))
    }
    if any(math.prod(shape) > _LARGEST_TENSOR for shape in _feed_shapes(spec, named)):
        named = axis_sizes(spec)
    kinds = (tensor.numpy_dtype for tensor in spec.feeds.values())
    arrays = (np.empty(shape, kind) for shape, kind in zip(_feed_shapes(spec, named), kinds, strict=True))
    return tuple(map(torch.from_numpy, arrays))


def _feed_shapes(spec: GraphSpec, named: Mapping[str, int]) -> list[tuple[int, ...]]:
    sizes = {**named, BATCH: LARGEST_BATCH}
    feeds = spec.feeds.values()
    return [tuple(sizes[axis] if isinstance(axis, str) else axis for axis in tensor.axes) for tensor in feeds]


def _exported(module: torch.nn.Module, inputs: tuple[Tensor, ...], shapes: Any) -> ExportedProgram:
    return torch.export.export(module, inputs, dynamic_shapes=shapes)


def _lowered(module: fx.GraphModule, spec: GraphSpec) -> bytes:
    """Return the content of the program file."""
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    program = _exported(module, _largest(spec), _shapes(spec))
    lowered = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
    _check_batch(lowered.exported_program(), spec)
    return bytes(lowered.to_executorch().buffer)


def _check_batch(program: ExportedProgram, spec: GraphSpec) -> None:
    """Raise ExportError if lowering fixed the batch size, as it does for some operators."""
    nodes = {node.name: node for node in program.graph.nodes}
    inputs = (nodes[name] for name in program.graph_signature.user_inputs if isinstance(name, str))
    for node, (name, tensor) in zip(inputs, spec.feeds.items(), strict=True):
        axis = tensor.batch_axis
        if axis is not None and not free_symbols(node.meta["val"].shape[axis]):
            raise ExportError(f"its lowering froze the batch of {name}: declare one stream")


def _largest_sizes(spec: GraphSpec) -> dict[str, int]:
    """Return the largest size of each named axis."""
    tensors = spec.feeds.values()
    sizes = {axis: _LARGEST_AXIS for tensor in tensors for axis in tensor.axes if isinstance(axis, str)}
    for tensor in tensors:
        sizes |= {axis: min(sizes[axis], size) for axis, size in tensor.max_sizes.items()}
    return sizes | {BATCH: LARGEST_BATCH}


def _shapes(spec: GraphSpec) -> _Axes:
    dims = {
        axis: torch.export.Dim(axis.replace(".", "_"), min=1, max=largest)
        for axis, largest in _largest_sizes(spec).items()
    }
    return tuple(
        {place: dims[axis] for place, axis in enumerate(tensor.axes) if isinstance(axis, str)}
        for tensor in spec.feeds.values()
    )


def _inspect(data: bytes) -> GraphReport:
    try:
        with suppress_output(), silent():
            from executorch.exir._serialize._program import deserialize_pte_binary

            program = deserialize_pte_binary(data).program
    except ImportError as error:
        raise MissingExtraError(error.name or "executorch", "executorch") from None
    except Exception:  # noqa: BLE001 - the library raises bare exceptions on damaged files
        raise EngineError("this is not an ExecuTorch file, or a damaged one") from None
    (plan,) = program.execution_plan
    operators = Counter(operator.name.removeprefix("aten::") for operator in plan.operators)
    operators.update(delegate.id for delegate in plan.delegates)
    return GraphReport(parameters=None, operators=operators)


EXECUTORCH = Target(
    "executorch", ".pte", one_file_each(_write), ExecuTorchEngine, _inspect, ("fp32", "int8"), options=("keep",)
)
