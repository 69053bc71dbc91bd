"""The TorchScript target: a lite-interpreter file for PyTorch Mobile. Legacy.

int8: weight matrices are stored in 8 bits and expanded to single precision when the file is loaded.
"""

from __future__ import annotations

import copy
import io
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from edgernn.contract import GraphSpec
from edgernn.engines import TorchScriptEngine
from edgernn.errors import EngineError, ExportError
from edgernn.examples import axis_sizes, example
from edgernn.exporters.capture.tracing import trace
from edgernn.exporters.capture.uses import weights_of_products
from edgernn.exporters.quantisation.rounding import harm, round_closest
from edgernn.exporters.quantization import Quantization
from edgernn.exporters.target import (
    NO_WEIGHT,
    Artifact,
    GraphReport,
    StoredTensor,
    Target,
    Weight,
    is_matrix,
    one_file_each,
    root_cause,
    suppress_output,
)
from edgernn.models import Graph

__all__ = ["TORCHSCRIPT"]

_TYPES = (torch.float16, torch.float32, torch.float64)
_MADE = "the module makes it in its forward"


def _write(graph: Graph, quantization: Quantization) -> Artifact:
    _check_torch()
    arrays = example(graph.spec.feeds, 2, np.random.default_rng(0), axis_sizes(graph.spec))
    inputs = tuple(map(torch.from_numpy, arrays.values()))
    try:
        with suppress_output(), torch.no_grad():
            traced = trace(_typed(_named_once(graph.module), graph.spec), graph.spec)
            data: bytes = traced._save_to_buffer_for_lite_interpreter()
            if quantization.name == "fp32":
                return Artifact(data)
            single = len(data)
            module, weights = _rounded(graph.module, weights_of_products(graph.module, inputs), quantization)
            traced = torch.jit.trace(_typed(module, graph.spec), inputs, check_trace=False)
            data = traced._save_to_buffer_for_lite_interpreter()
    except ExportError:
        raise
    except Exception as error:  # a module's own code may raise anything
        raise ExportError(f"graph {graph.spec.name} cannot be exported to TorchScript: {root_cause(error)}") from error
    return Artifact(data, (*weights, *_others(graph, traced, weights)), single)


class _Typed(nn.Module):
    """A module whose results are cast to the types of its contract.

    Tracing turns each Python number into a double-precision tensor, whose type wins over that of a tensor without axes.
    """

    def __init__(self, module: nn.Module, spec: GraphSpec) -> None:
        super().__init__()
        self.module = module
        self._types = [getattr(torch, tensor.dtype) for tensor in spec.results.values()]

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Return the results of the module."""
        results = self.module(*tensors)
        results = results if isinstance(results, tuple) else (results,)
        return tuple(result.to(dtype) for result, dtype in zip(results, self._types, strict=True))


def _typed(module: nn.Module, spec: GraphSpec) -> nn.Module:
    return _Typed(module, spec) if any(not tensor.axes for tensor in spec.feeds.values()) else module


def _named_once(module: nn.Module) -> nn.Module:
    """Return `module`; if a part has one tensor under two names, which torch cannot trace, a copy without the second.

    In the copy the second name is a plain attribute, which tracing identifies with the first.
    """
    if not any(_repeated(part) for part in module.modules()):
        return module
    module = copy.deepcopy(module)
    for part in module.modules():
        for name in _repeated(part):
            tensor = getattr(part, name)
            delattr(part, name)
            part.__dict__[name] = tensor
    return module


def _repeated(part: nn.Module) -> list[str]:
    """Return the second names of parameters and buffers that a module has under two names."""
    tensors = [
        *part.named_parameters(recurse=False, remove_duplicate=False),
        *part.named_buffers(recurse=False, remove_duplicate=False),
    ]
    first = {id(tensor): name for name, tensor in reversed(tensors)}
    return [name for name, tensor in tensors if first[id(tensor)] != name]


def _others(graph: Graph, traced: torch.jit.ScriptModule, weights: Sequence[Weight]) -> Iterator[Weight]:
    """Yield the matrices in the file that are not parameters or buffers, but made by the module's forward.

    Raises ExportError for one that was to be quantised to 8 bits.
    """
    rounded = {weight.name for weight in weights if weight.bits == 8}
    named = [*graph.module.named_parameters(), *graph.module.named_buffers()]
    known = [(name, tensor) for name, tensor in named if is_matrix(tensor.shape)]
    for count, tensor in enumerate(tensor for tensor in _constants(traced) if is_matrix(tensor.shape)):
        names = {name for name, other in known if torch.equal(other, tensor)}
        if names and names <= rounded:
            name = min(names)
            raise ExportError(f"graph {graph.spec.name}: its module keeps {name} where it was not quantised to int8")
        if not names:
            bits = 8 * tensor.element_size()
            yield Weight(f"constant {count}", tuple(tensor.shape), bits, "none", f"fp{bits}", _MADE)


def _check_torch() -> None:
    if not hasattr(torch.jit.ScriptModule, "_save_to_buffer_for_lite_interpreter"):
        raise ExportError(f"torch {torch.__version__} writes no files for TorchScript's lite interpreter any more")


def _rounded(
    module: nn.Module, uses: Collection[str], quantization: Quantization
) -> tuple[nn.Module, tuple[Weight, ...]]:
    """Return a copy of `module` whose matrices in `uses` are expanded from 8 bits, and how each matrix is stored."""
    module = copy.deepcopy(module)
    weights, shared = [], dict[int, nn.Module]()
    parameters, buffers = module.named_parameters(remove_duplicate=False), module.named_buffers(remove_duplicate=False)
    matrices = [  # before any is replaced, which empties a shared one
        (name, id(tensor), tensor.detach().clone())
        for name, tensor in (*parameters, *buffers)
        if tensor.dtype in _TYPES and is_matrix(tensor.shape)
    ]
    for name, key, tensor in matrices:
        bits = 8 * tensor.element_size()
        if reason := _reason(name, tensor, uses, quantization):
            weights.append(Weight(name, tuple(tensor.shape), bits, "none", f"fp{bits}", reason))
            continue
        if key not in shared:
            axis, levels, scales = round_closest(tensor.numpy())
            stored = _Stored(torch.from_numpy(levels), torch.from_numpy(scales).to(tensor.dtype))
            shared[key] = torch.jit.script(stored)
            weights.append(Weight(name, tuple(tensor.shape), 8, f"each index of axis {axis}", f"fp{bits}"))
        owner, _, attribute = name.rpartition(".")
        matrix = _Expanding(shared[key])
        parametrize.register_parametrization(module.get_submodule(owner), attribute, matrix, unsafe=True)
    for part in module.modules():
        if isinstance(part, nn.RNNBase) and parametrize.is_parametrized(part):
            _look_weights_up(part)
    return module, tuple(weights)


def _reason(name: str, tensor: Tensor, uses: Collection[str], quantization: Quantization) -> str:
    """Return why a matrix is not quantised, or ""."""
    if kept := quantization.reason_to_keep(name):
        return kept
    return harm(tensor.numpy()) if name in uses else NO_WEIGHT


def _look_weights_up(layer: nn.RNNBase) -> None:
    """Make a recurrent layer look up its weights by name at each call, instead of in its list of weights."""
    del layer.__dict__["_flat_weights"]
    names: Any = type(layer)
    names._flat_weights = property(_weights_by_name, lambda *_: None)


def _weights_by_name(layer: nn.RNNBase) -> list[Tensor]:
    return [getattr(layer, name) for name in layer._flat_weights_names]


class _Stored(nn.Module):
    """A matrix that the file stores as levels (bytes) and scales."""

    def __init__(self, levels: Tensor, scales: Tensor) -> None:
        super().__init__()
        self.levels, self.scales = levels, scales
        self.matrix = levels * scales

    def forward(self) -> Tensor:
        """Return the matrix."""
        return self.matrix

    @torch.jit.export
    def __getstate__(self) -> tuple[Tensor, Tensor, bool]:
        return self.levels, self.scales, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[Tensor, Tensor, bool]) -> None:
        self.levels, self.scales, self.training = state
        self.matrix = self.levels * self.scales


class _Expanding(nn.Module):
    """Replaces a parameter by a stored matrix."""

    def __init__(self, stored: nn.Module) -> None:
        super().__init__()
        self.stored = stored

    def forward(self, _: Tensor) -> Tensor:
        """Return the matrix; the argument, the emptied parameter, is not used."""
        matrix: Tensor = self.stored()
        return matrix

    def right_inverse(self, matrix: Tensor) -> Tensor:
        """Return an empty tensor for the parameter."""
        return matrix.new_empty(0)


def _constants(traced: torch.jit.ScriptModule) -> Iterator[Tensor]:
    """Yield the floating-point tensors in a file."""
    yield from (tensor for tensor in (*traced.parameters(), *traced.buffers()) if tensor.dtype in _TYPES)
    for node in traced.inlined_graph.nodes():
        constant = node.output().toIValue() if node.kind() == "prim::Constant" else None
        if isinstance(constant, Tensor) and constant.dtype in _TYPES:
            yield constant


def _inspect(data: bytes) -> GraphReport:
    try:
        with suppress_output():
            module = torch.jit.load(io.BytesIO(data), map_location="cpu")
    except RuntimeError:
        raise EngineError("this is not a TorchScript file, or a damaged one") from None
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
    """Return the matrices in 8 bits, by the names of the parameters that they replace."""
    named = ((name.replace("parametrizations.", ""), part) for name, part in module.named_modules())
    return [(name.removesuffix(".0.stored"), part) for name, part in named if hasattr(part, "levels")]


TORCHSCRIPT = Target(
    "torchscript",
    ".ptl",
    one_file_each(_write),
    TorchScriptEngine,
    _inspect,
    precisions=("fp32", "int8"),
    options=("keep",),
    legacy="TorchScript is legacy: PyTorch deprecates it and later versions will not write it",
)
