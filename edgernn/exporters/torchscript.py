"""The TorchScript target: a lite-interpreter file, as PyTorch Mobile loads it. Legacy.

int8: weight matrices are stored in 8 bits and expanded to single precision when the file is loaded.
"""

from __future__ import annotations

import copy
import io
import linecache
import re
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from edgernn.contract import GraphSpec
from edgernn.engines import TorchScriptEngine
from edgernn.errors import EngineError, ExportError, first_line
from edgernn.examples import OTHER_AXIS, axis_sizes, example
from edgernn.exporters.quantization import Quantization
from edgernn.exporters.rounding import round_channels
from edgernn.exporters.target import (
    Artifact,
    GraphReport,
    StoredTensor,
    Target,
    Weight,
    is_matrix,
    root_cause,
    suppress_output,
)
from edgernn.models import Graph

__all__ = ["TORCHSCRIPT"]


def _write(graph: Graph, quantization: Quantization) -> Artifact:
    _check_torch()
    try:
        with suppress_output():
            module, weights = (
                _rounded(graph.module, quantization) if quantization.name == "int8" else (graph.module, ())
            )
            traced = _trace(module, graph.spec)
            data: bytes = traced._save_to_buffer_for_lite_interpreter()
    except ExportError:
        raise
    except Exception as error:  # whatever a module's own code raises
        raise ExportError(f"graph {graph.spec.name} cannot be exported to TorchScript: {root_cause(error)}") from error
    kept = sum(weight.bits == 32 for weight in weights)
    if quantization.name == "int8" and sum(is_matrix(tensor.shape) for tensor in _single(traced)) > kept:
        raise ExportError(f"graph {graph.spec.name}: its module keeps weights where they were not quantised to int8")
    return Artifact(data, weights)


def _trace(module: nn.Module, spec: GraphSpec) -> torch.jit.ScriptModule:
    """Trace a module. Raises ExportError where its Python code goes with the size of a named axis.

    Fixed axes have the same size at every call; with other sizes of named ones the graph has to be the same.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        traced = _traced(module, spec, 2, OTHER_AXIS)
    own = [warning for warning in caught if not warning.filename.startswith(_TORCH)]
    if _has_sizes(spec) and any(_is_other(traced, module, spec, *sizes) for sizes in _OTHER_SIZES[: 4 if own else 1]):
        line = linecache.getline(own[0].filename, own[0].lineno).strip() if own else ""
        where = f" ({Path(own[0].filename).name}, line {own[0].lineno}: {line!r})" if line else ""
        raise ExportError(
            f"graph {spec.name}: its Python code{where} goes with the size of a named axis, as a loop over it does, "
            f"and would be frozen: declare a fixed size, or compute without it"
        )
    return traced


def _has_sizes(spec: GraphSpec) -> bool:
    return any(isinstance(axis, str) for tensor in spec.feeds.values() for axis in tensor.axes)


def _is_other(traced: torch.jit.ScriptModule, module: nn.Module, spec: GraphSpec, streams: int, smallest: int) -> bool:
    """Whether a module gives another graph with other sizes of the named axes, if it takes these at all."""
    try:
        return _text(traced) != _text(_traced(module, spec, streams, smallest))
    except Exception:  # noqa: BLE001 - whatever a module's own code raises
        return False


def _traced(module: nn.Module, spec: GraphSpec, streams: int, smallest: int) -> torch.jit.ScriptModule:
    arrays = example(spec.feeds, streams, np.random.default_rng(0), axis_sizes(spec, smallest=smallest))
    traced: torch.jit.ScriptModule = torch.jit.trace(
        module, tuple(map(torch.from_numpy, arrays.values())), check_trace=False
    )
    return traced


def _text(traced: torch.jit.ScriptModule) -> str:
    """A graph without the shapes that its tensors had, and without the numbers that torch gives to its classes."""
    graph = traced.inlined_graph.copy()
    torch._C._jit_pass_erase_shape_information(graph)
    return re.sub(r"___torch_mangle_\d+\.", "", str(graph))


_TORCH = str(Path(torch.__file__).parent)
_OTHER_SIZES = ((5, OTHER_AXIS + 4), (1, 1), (3, 45), (2, 131))  # streams, and the first of the other named axes


def _check_torch() -> None:
    if not hasattr(torch.jit.ScriptModule, "_save_to_buffer_for_lite_interpreter"):
        raise ExportError(f"torch {torch.__version__} writes no files for TorchScript's lite interpreter any more")


def _rounded(module: nn.Module, quantization: Quantization) -> tuple[nn.Module, tuple[Weight, ...]]:
    """A copy of `module` whose matrices are expanded from 8 bits, and how each is stored."""
    module = copy.deepcopy(module)
    weights, shared = [], dict[int, nn.Module]()
    parameters, buffers = module.named_parameters(remove_duplicate=False), module.named_buffers(remove_duplicate=False)
    matrices = [  # before any is replaced: a shared one is emptied with its first name
        (name, id(tensor), tensor.detach().clone())
        for name, tensor in (*parameters, *buffers)
        if tensor.dtype == torch.float32 and is_matrix(tensor.shape)
    ]
    for name, key, tensor in matrices:
        if quantization.keeps(name):
            weights.append(Weight(name, tuple(tensor.shape), 32, "none", "fp32"))
            continue
        if key not in shared:
            axis, stored = _round(tensor)
            shared[key] = torch.jit.script(stored)
            weights.append(Weight(name, tuple(tensor.shape), 8, f"each index of axis {axis}", "fp32"))
        owner, _, attribute = name.rpartition(".")
        matrix = _Expanding(shared[key])
        parametrize.register_parametrization(module.get_submodule(owner), attribute, matrix, unsafe=True)
    return module, tuple(weights)


def _round(matrix: Tensor) -> tuple[int, _Stored]:
    """The axis along which the matrix has scales, the better one of first and last, and the quantised matrix."""
    array = matrix.numpy()
    choices = {axis: _Stored(*map(torch.from_numpy, round_channels(array, axis))) for axis in (0, matrix.ndim - 1)}
    axis = min(choices, key=lambda axis: float(torch.sum((choices[axis].matrix - matrix) ** 2)))
    return axis, choices[axis]


class _Stored(nn.Module):
    """A matrix of which a file holds levels (bytes) and scales."""

    def __init__(self, levels: Tensor, scales: Tensor) -> None:
        super().__init__()
        self.levels, self.scales = levels, scales
        self.matrix = levels * scales

    def forward(self) -> Tensor:
        """The matrix."""
        return self.matrix

    @torch.jit.export
    def __getstate__(self) -> tuple[Tensor, Tensor, bool]:
        return self.levels, self.scales, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[Tensor, Tensor, bool]) -> None:
        self.levels, self.scales, self.training = state
        self.matrix = self.levels * self.scales


class _Expanding(nn.Module):
    """Puts a stored matrix in the place of a parameter."""

    def __init__(self, stored: nn.Module) -> None:
        super().__init__()
        self.stored = stored

    def forward(self, _: Tensor) -> Tensor:
        """The matrix; the emptied parameter is not used."""
        matrix: Tensor = self.stored()
        return matrix

    def right_inverse(self, _: Tensor) -> Tensor:
        """An empty tensor in the place of the parameter."""
        return torch.empty(0)


def _single(traced: torch.jit.ScriptModule) -> Iterator[Tensor]:
    """Tensors that a file holds in single precision."""
    yield from (tensor for tensor in (*traced.parameters(), *traced.buffers()) if tensor.dtype == torch.float32)
    for node in traced.inlined_graph.nodes():
        constant = node.output().toIValue() if node.kind() == "prim::Constant" else None
        if isinstance(constant, Tensor) and constant.dtype == torch.float32:
            yield constant


def _inspect(data: bytes) -> GraphReport:
    try:
        with suppress_output():
            module = torch.jit.load(io.BytesIO(data), map_location="cpu")
    except RuntimeError as error:
        raise EngineError(f"this is not a TorchScript file: {first_line(error)}") from None
    nodes = module.inlined_graph.nodes()
    operators = Counter(node.kind().removeprefix("aten::") for node in nodes if node.kind().startswith("aten::"))
    rounded = [part.levels for _, part in _stored_parts(module)]
    parameters = sum(tensor.numel() for tensor in (*module.parameters(), *rounded))
    held = [*module.named_parameters(), *((f"{name}.levels", part.levels) for name, part in _stored_parts(module))]
    tensors = tuple(
        StoredTensor(name, str(t.dtype).removeprefix("torch."), tuple(t.shape), t.numel() * t.element_size())
        for name, t in held
        if t.numel()
    )
    return GraphReport(parameters, operators, quantised=bool(rounded), tensors=tensors)


def _stored_parts(module: torch.jit.ScriptModule) -> list[tuple[str, torch.jit.ScriptModule]]:
    """The matrices of 8 bits, by the names of the parameters that they replace."""
    named = ((name.replace("parametrizations.", ""), part) for name, part in module.named_modules())
    return [(name.removesuffix(".0.stored"), part) for name, part in named if hasattr(part, "levels")]


TORCHSCRIPT = Target(
    "torchscript",
    ".ptl",
    _write,
    TorchScriptEngine,
    _inspect,
    precisions=("fp32", "int8"),
    options=("keep",),
    legacy="TorchScript is legacy: PyTorch deprecates it and later versions will not write it",
)
