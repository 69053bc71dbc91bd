"""One function for each operator of ONNX: how it becomes a view, an element-wise expression or a call of a kernel.

Operators of onnxruntime's own domain begin with "ms.".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np

from edgernn.contract import Array
from edgernn.errors import ExportError
from edgernn.exporters.c.folding import FoldedGraph, Node
from edgernn.exporters.c.packing import (
    BLOCK,
    GROUP,
    PANEL,
    TILE,
    pack_bytes,
    pack_nibbles,
    pack_panels,
    padded,
)
from edgernn.exporters.c.program import Place, Program, literal

__all__ = ["OPERATORS", "lower"]

Operator = Callable[[Node, Program], None]
_ZERO_POINT = 128


class _UnsupportedError(Exception):
    """An operator in a form for which there is no kernel. Its message says which form."""


def lower(graph: FoldedGraph, initial: Mapping[str, Array] = MappingProxyType({})) -> Program:
    """Return the statements of a graph. initial: the first values of states that do not begin as zeros.

    Raises ExportError that names all operators without a kernel.
    """
    program, refused = Program(graph), []
    for node in graph.nodes:
        operator = OPERATORS.get(node.operator)
        try:
            if operator is None:
                raise _UnsupportedError
            operator(node, program)
        except _UnsupportedError as error:
            refused.append(f"{node}{': ' if str(error) else ''}{error}")
            for output in filter(None, node.outputs):  # so that the operators that follow are checked too
                program.make(output)
    if refused:
        raise ExportError(f"graph {graph.spec.name} has operators that C has no kernel for: {'; '.join(refused)}")
    for name, values in initial.items():
        program.initial[name] = program.store(f"initial.{name}", values)
    for name in graph.spec.output_names:
        _return(name, program)
    return program


def _return(name: str, program: Program) -> None:
    """Copy a tensor to the caller's memory."""
    program.copy(program.result(name), program.place(name), program.shape(name).count, name)


def _view(node: Node, program: Program) -> None:
    """The elements stay where they are."""
    program.alias(node.outputs[0], node.inputs[0])


def _slice(node: Node, program: Program) -> None:
    starts, ends, axes, steps = (_integers(node, program, place) for place in (1, 2, 3, 4))
    sizes = program.shape(node.inputs[0]).sizes
    axes = axes or list(range(len(starts)))
    index = [slice(None)] * len(sizes)
    for place, axis in enumerate(axes):
        index[axis] = slice(starts[place], ends[place], steps[place] if steps else 1)
    _part(node.outputs[0], node.inputs[0], tuple(index), program)


def _split(node: Node, program: Program) -> None:
    source, axis = node.inputs[0], node.attributes.get("axis", 0)
    begin = 0
    for output in node.outputs:
        sizes = program.shape(output).sizes
        index: list[slice] = [slice(None)] * len(sizes)
        index[axis] = slice(begin, begin + sizes[axis])
        begin += sizes[axis]
        _part(output, source, tuple(index), program)


def _part(output: str, source: str, index: tuple[Any, ...], program: Program) -> None:
    """Let `output` be a part of `source` that follows in one piece. Raises _UnsupportedError if it does not."""
    sizes = program.shape(source).sizes
    taken = np.arange(program.shape(source).count).reshape(sizes)[index].ravel()
    if taken.size and (np.diff(taken) != 1).any():
        raise _UnsupportedError("a part that is not in one piece of memory")
    program.alias(output, source, int(taken[0]) if taken.size else 0)


def _gather(node: Node, program: Program) -> None:
    source, indices = node.inputs
    axis, sizes = node.attributes.get("axis", 0), program.shape(source).sizes
    fixed = program.constant(indices)
    if fixed is not None and fixed.size == 1:
        at = int(fixed.ravel()[0]) % sizes[axis]
        _part(node.outputs[0], source, (*([slice(None)] * (axis % len(sizes))), slice(at, at + 1)), program)
    elif axis == 0 and program.shape(indices).count == 1:
        row = int(np.prod(sizes[1:], dtype=np.int64))
        program.alias(node.outputs[0], source, index=f"{row} * (size_t){program.value(indices)}")
    else:
        raise _UnsupportedError("a choice of several rows")


def _transpose(node: Node, program: Program) -> None:
    sizes = program.shape(node.inputs[0]).sizes
    order = node.attributes.get("perm", tuple(reversed(range(len(sizes)))))
    if [axis for axis in order if sizes[axis] > 1] != [axis for axis in range(len(sizes)) if sizes[axis] > 1]:
        raise _UnsupportedError("an order of axes that moves elements")
    _view(node, program)


def _concat(node: Node, program: Program) -> None:
    (output,) = node.outputs
    sizes = program.shape(output).sizes
    axis = node.attributes["axis"] % len(sizes)
    to = program.make(output, TILE)
    width, begin = int(np.prod(sizes[axis:], dtype=np.int64)), 0
    for name in node.inputs:
        part = program.shape(name).count * width // program.shape(output).count
        for row in range(int(np.prod(sizes[:axis], dtype=np.int64))):
            source = program.place(name).after(row * part)
            program.copy(to.after(begin + row * width), source, part, f"{output}, from {name}")
        begin += part


def _elementwise(expression: str) -> Operator:
    """Return an operator whose result is computed element by element."""

    def operator(node: Node, program: Program) -> None:
        _elements(node, program, expression, node.inputs)

    return operator


def _elements(node: Node, program: Program, expression: str, inputs: tuple[str, ...]) -> None:
    (output,) = node.outputs
    count = program.shape(output).count
    operands = []
    for name in inputs:
        fixed = program.constant(name)
        if fixed is not None and fixed.size == 1:
            operands.append(literal(fixed.ravel()[0]))
        elif program.shape(name).count in (1, count):
            operands.append(name)
        else:
            raise _UnsupportedError("operands of different sizes")
    program.elementwise(output, expression, operands)


def _quantize(node: Node, program: Program) -> None:
    if _scalar(program, node.inputs[2]) != _ZERO_POINT or program.shape(node.outputs[0]).dtype != np.uint8:
        raise _UnsupportedError(f"a zero point that is not {_ZERO_POINT}")
    _elements(node, program, "NAME_quantise({0}, {1})", node.inputs[:2])


def _dequantize(node: Node, program: Program) -> None:
    zero = literal(program.graph.constants[node.inputs[2]].ravel()[0]) if len(node.inputs) > 2 else "0"
    _elements(node, program, f"(float)({{0}} - {zero}) * {{1}}", node.inputs[:2])


def _matmul(node: Node, program: Program) -> None:
    _product(node, program, _matrix(node, program), None)


def _gemm(node: Node, program: Program) -> None:
    attributes = node.attributes
    if attributes.get("transA", 0) or attributes.get("alpha", 1.0) != 1.0 or attributes.get("beta", 1.0) != 1.0:
        raise _UnsupportedError("factors or a transposed first matrix")
    matrix = _matrix(node, program)
    bias = _fixed(program, node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2] else None
    _product(node, program, matrix.T if attributes.get("transB", 0) else matrix, bias)


def _matrix(node: Node, program: Program) -> Array:
    matrix = program.constant(node.inputs[1])
    if matrix is None or matrix.ndim != 2 or matrix.dtype != np.float32:
        raise _UnsupportedError("a matrix that is not constant")
    return matrix


def _product(node: Node, program: Program, matrix: Array, bias: Array | None) -> None:
    """Y = x W + bias in single precision."""
    x, (y,) = node.inputs[0], node.outputs
    inputs, outputs = matrix.shape
    if program.shape(x).count != inputs:
        raise _UnsupportedError("several rows")
    bias = np.zeros(outputs, np.float32) if bias is None else np.broadcast_to(bias.ravel(), (outputs,))
    panels = program.store(node.inputs[1], pack_panels(matrix))
    added = program.store(f"{node.inputs[1]}.bias", padded(bias.astype(np.float32), PANEL))
    to, source = program.make(y, PANEL), program.place(x)
    comment = f"{y} ({outputs}) = {x} ({inputs}) by {node.inputs[1]}"
    program.call("product_f32", to, source, panels, added, str(inputs), str(outputs), comment=comment)


def _integer_product(node: Node, program: Program) -> None:
    """Y = (x - 128) W * scale + bias, with x in bytes."""
    x, name, factor, scales, *rest = node.inputs
    zeros, bias = [each for each in rest[:2] if each], rest[2] if len(rest) > 2 else ""
    matrix = program.constant(name)
    if matrix is None or any(_scalar(program, each) != _ZERO_POINT for each in zeros) or len(zeros) != 2:
        raise _UnsupportedError(f"zero points that are not {_ZERO_POINT}")
    weights = matrix.astype(np.int32) - _ZERO_POINT
    inputs, outputs = weights.shape
    if program.shape(x).count != inputs:
        raise _UnsupportedError("several rows")
    if np.abs(weights).max(initial=0) >= _ZERO_POINT:
        raise _UnsupportedError("weights of -128, which overflow")
    scale = _fixed(program, factor).ravel() * np.broadcast_to(_fixed(program, scales).ravel(), (outputs,))
    added = _fixed(program, bias).ravel() if bias else np.zeros(outputs, np.float32)
    stored = [
        program.store(name, pack_bytes(weights.astype(np.int8))),
        program.store(f"{name}.scale", padded(scale.astype(np.float32), TILE)),
        program.store(f"{name}.bias", padded(added.astype(np.float32), TILE)),
        program.store(f"{name}.offset", padded((_ZERO_POINT * weights.sum(axis=0)).astype(np.int32), TILE)),
    ]
    source = _with_room(x, program, GROUP)
    to = program.make(node.outputs[0], TILE)
    comment = f"{node.outputs[0]} ({outputs}) = {x} ({inputs}) by {name}"
    sizes = str(-(-inputs // GROUP) * GROUP), str(outputs)
    program.call("product_u8", to, source, *stored, *sizes, comment=comment)


def _block_product(node: Node, program: Program) -> None:
    """Y = x W + bias, with weights of 4 bits in blocks that share a scale."""
    x, name, scales, *rest = node.inputs
    inputs, outputs, size = (node.attributes[key] for key in ("K", "N", "block_size"))
    nibbles = program.constant(name)
    if nibbles is None or node.attributes["bits"] != 4 or size % BLOCK or any(rest[:2]):
        raise _UnsupportedError(f"blocks that are not a multiple of {BLOCK}, or zero points")
    if program.shape(x).count != inputs:
        raise _UnsupportedError("several rows")
    halves = np.stack([nibbles & 15, nibbles >> 4], axis=-1).reshape(outputs, -1)[:, :inputs]
    blocks = -(-inputs // BLOCK)
    factors = np.repeat(_fixed(program, scales).reshape(outputs, -1), size // BLOCK, axis=1)[:, :blocks]
    tiles = np.pad(factors, ((0, -outputs % TILE), (0, 0))).reshape(-1, TILE, blocks).transpose(0, 2, 1)
    added = _fixed(program, rest[2]).ravel() if len(rest) > 2 and rest[2] else np.zeros(outputs, np.float32)
    stored = [
        program.store(name, pack_nibbles(halves)),
        program.store(f"{name}.factors", np.ascontiguousarray(tiles, np.float32)),
        program.store(f"{name}.bias", padded(added.astype(np.float32), TILE)),
    ]
    source = _with_room(x, program, BLOCK)
    rounded = [
        program.scratch(f"{x}.bytes", "int8", blocks * BLOCK),
        program.scratch(f"{x}.scales", "float32", blocks),
        program.scratch(f"{x}.offsets", "int32", blocks),
    ]
    program.call("round_blocks", *rounded, source, str(blocks), comment=f"{x} in bytes")
    to = program.make(node.outputs[0], TILE)
    comment = f"{node.outputs[0]} ({outputs}) = {x} ({inputs}) by {name}"
    program.call("product_u4", to, *rounded, *stored, str(blocks), str(outputs), comment=comment)


def _with_room(name: str, program: Program, multiple: int) -> Place:
    """Return the place of a tensor that a kernel may read up to a multiple of elements; beyond its own, of zeros."""
    place, shape = program.place(name), program.shape(name)
    if shape.count % multiple == 0:
        return place
    rest = -shape.count % multiple
    wide = program.scratch(f"{name}.wide", str(shape.dtype), shape.count + rest)
    program.copy(wide, place, shape.count, f"{name}, followed by zeros")
    program.copy(wide.after(shape.count), None, rest, "")
    return wide


def _block_rows(node: Node, program: Program) -> None:
    """One row of a matrix of 4 bits, as numbers."""
    name, indices, scales = node.inputs[:3]
    if node.attributes.get("block_size") != BLOCK or node.attributes.get("bits", 4) != 4 or len(node.inputs) > 3:
        raise _UnsupportedError(f"blocks of another size than {BLOCK}, or zero points")
    if program.shape(indices).count != 1:
        raise _UnsupportedError("a choice of several rows")
    (output,) = node.outputs
    size = program.shape(output).count
    row = f"(size_t){program.value(indices)}"
    half, blocks = program.shape(name).sizes[-1], program.shape(scales).sizes[-1]
    halves, factors = replace(program.place(name), index=f"{half} * {row}"), program.place(scales)
    factors = replace(factors, index=f"{blocks} * {row}")
    program.call("row_u4", program.make(output), halves, factors, str(size), comment=f"{output} ({size})")


def _scalar(program: Program, name: str) -> int | None:
    """Return the only value of a constant, or None if the tensor is not constant or has several values."""
    fixed = program.constant(name)
    if fixed is None or len(values := np.unique(fixed)) != 1:
        return None
    return int(values[0])


def _fixed(program: Program, name: str) -> Array:
    fixed = program.constant(name)
    if fixed is None:
        raise _UnsupportedError(f"{name} is not constant")
    return fixed


def _integers(node: Node, program: Program, place: int) -> list[int]:
    """Return the integers of an input, or [] if it is left out."""
    if len(node.inputs) <= place or not node.inputs[place]:
        return []
    return [int(value) for value in _fixed(program, node.inputs[place]).ravel()]


_binary = {"Add": "+", "Sub": "-", "Mul": "*", "Div": "/"}
OPERATORS: dict[str, Operator] = {
    **dict.fromkeys(("Identity", "Reshape", "Squeeze", "Unsqueeze", "Flatten"), _view),
    **{name: _elementwise(f"{{0}} {sign} {{1}}") for name, sign in _binary.items()},
    "Abs": _elementwise("{0} < 0 ? -{0} : {0}"),
    "Concat": _concat,
    "DequantizeLinear": _dequantize,
    "Gather": _gather,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "Neg": _elementwise("-{0}"),
    "QuantizeLinear": _quantize,
    "Relu": _elementwise("{0} > 0.0f ? {0} : 0.0f"),
    "Sigmoid": _elementwise("NAME_sigmoid({0})"),
    "Slice": _slice,
    "Split": _split,
    "Tanh": _elementwise("NAME_tanh({0})"),
    "Transpose": _transpose,
    "ms.GatherBlockQuantized": _block_rows,
    "ms.MatMulIntegerToFloat": _integer_product,
    "ms.MatMulNBits": _block_product,
}
