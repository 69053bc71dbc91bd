"""Restore the names of weights in ONNX graphs, which are lost when the exporter computes a constant from others."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import nn

from edgernn.contract import Array
from edgernn.exporters.capture.rewrite import all_nodes
from edgernn.exporters.target import is_matrix

__all__ = ["name_folded"]

_PREFIX = "module."
_RECURRENT, _BIASES = ("LSTM", "GRU", "RNN"), 3  # operators, and the input that holds all biases


def name_folded(model: onnx.ModelProto, module: nn.Module) -> None:
    """Name each constant that has the elements of one of the module's matrices, in any order, like that matrix.

    Exporters transpose matrices, reorder the gates of recurrent layers, and merge the matrices of two directions into
    one constant, which is then named after both.
    """
    outputs = {output.name for output in model.graph.output}
    tensors = {tensor.name: tensor for tensor in model.graph.initializer if tensor.name not in outputs}
    unnamed = {name: numpy_helper.to_array(tensor) for name, tensor in tensors.items() if _is_unnamed(tensor)}
    sizes = {array.size // parts for array in unnamed.values() for parts in (1, _DIRECTIONS)}
    known = {_elements(array): name for name, array in reversed(list(_matrices(module))) if array.size in sizes}
    names: dict[str, str] = {}
    for name, array in unnamed.items():
        if found := _name(array, known):
            names[name] = _free(_PREFIX + found, {*tensors, *names.values()})
    for node in all_nodes(model.graph):
        if node.op_type in _RECURRENT and len(node.input) > _BIASES and node.input[1] in names:
            biases, weights = node.input[_BIASES], names[node.input[1]]
            if biases in tensors and biases not in names:
                names[biases] = _free(weights.replace("weight_ih", "bias"), {*tensors, *names.values()})
    for name, new in names.items():
        tensors[name].name = new
    for node in all_nodes(model.graph):
        for place, name in enumerate(node.input):
            node.input[place] = names.get(name, name)


def _is_unnamed(tensor: onnx.TensorProto) -> bool:
    return tensor.data_type in _FLOATS and is_matrix(tensor.dims) and not tensor.name.startswith(_PREFIX)


_FLOATS = {onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE, onnx.TensorProto.FLOAT16}


def _name(array: Array, known: dict[bytes, str]) -> str | None:
    """Return the name of the matrix with these elements, or the names of the matrices stacked along the first axis."""
    if whole := known.get(_elements(array)):
        return whole
    parts = [known.get(_elements(part)) for part in array] if len(array) == _DIRECTIONS else []
    return "+".join(part for part in parts if part) if parts and all(parts) else None


_DIRECTIONS = 2
_TYPES = (torch.float16, torch.float32, torch.float64)


def _matrices(module: nn.Module) -> Iterator[tuple[str, Array]]:
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        if tensor.dtype in _TYPES and is_matrix(tensor.shape):
            yield name, tensor.detach().cpu().numpy()


def _elements(array: Array) -> bytes:
    return np.sort(array, axis=None).tobytes()


def _free(name: str, taken: set[str]) -> str:
    free, count = name, 1
    while free in taken:
        free, count = f"{name}.{count}", count + 1
    return free
