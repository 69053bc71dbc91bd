"""Products with matrices, and rows of matrices in integers."""

from __future__ import annotations

import numpy as np

from edgernn.contract import Array
from edgernn.exporters.c.folding import Node
from edgernn.exporters.c.operators.common import Matrix, Operator, UnsupportedError, fixed, only_value, weights
from edgernn.exporters.c.packing import (
    BLOCK,
    GROUP,
    PANEL,
    TILE,
    halved,
    pack_bytes,
    pack_nibbles,
    pack_panels,
    padded,
)
from edgernn.exporters.c.program import Elementwise, Place, Program, strided

__all__ = ["PRODUCTS", "multiply", "with_room"]

_ZERO_POINT = 128


def multiply(
    to: Place,
    source: Place,
    matrix: Matrix,
    bias: Array | None,
    program: Program,
    rows: int = 1,
    step: int | None = None,
) -> None:
    """Compute rows of x W + bias in single precision, with a constant matrix (inputs, outputs).

    to: rows of outputs, the last with room up to a multiple of 32. step: the elements from one row of the source to the
    next, if they are not its size. A matrix that half precision holds exactly is stored in it, and one of bytes with a
    factor for each input or output in bytes.
    """
    name, values, factors = matrix.name, matrix.values, _factors(matrix)
    inputs, outputs = values.shape
    step = inputs if step is None else step
    bias = np.zeros(outputs, np.float32) if bias is None else np.broadcast_to(bias.ravel(), (outputs,))
    halves = halved(values)
    comment = _comment(to.buffer.name, source.buffer.name, name, (rows, inputs, outputs))
    added = program.store(f"{name}.bias", padded(bias.astype(np.float32), PANEL))
    sizes = str(inputs), str(outputs)
    if matrix.integers is not None and factors is not None:
        given, made = factors
        program.call(
            "product_s8",
            *(_row(to, outputs, rows), _row(source, step, rows), program.stored(name, pack_panels(matrix.integers))),
            program.stored(f"{name}.factors", np.ascontiguousarray(given)),
            *(program.stored(f"{name}.scale", padded(made, PANEL)), added, *sizes),
            comment=comment,
            rows=rows,
        )
        return
    panels = program.stored(name, pack_panels(values if halves is None else halves))
    kind, more = "f32" if halves is None else "f16", list[Place | str]()
    if rows > 1 and halves is not None:
        more.append(program.scratch(f"{name}.panel", "float32", inputs * PANEL))
    more += [str(rows), str(step)] if rows > 1 else []
    kernel = f"{'product' if rows == 1 else 'products'}_{kind}"
    each = (1, 0, inputs, 1, 0, 0) if rows == 1 else ()
    program.call(kernel, to, source, panels, added, *more, *sizes, comment=comment, each=each)


def _factors(matrix: Matrix) -> tuple[Array, Array] | None:
    """Return a factor for each input and each output of a matrix of bytes, or None if it has others."""
    scales = matrix.scales
    if scales is None or matrix.integers is None:
        return None
    inputs, outputs = (np.ones(size, np.float32) for size in scales.shape)
    if (scales == scales[:1]).all():
        return inputs, scales[0]
    return (scales[:, 0], outputs) if (scales == scales[:, :1]).all() else None


def _row(place: Place, size: int, rows: int) -> Place:
    """Return the place of row i."""
    return place if rows == 1 else place.indexed(f"{size} * i")


def _comment(output: str, x: str, matrix: str, sizes: tuple[int, int, int]) -> str:
    rows, inputs, outputs = sizes
    before = "" if rows == 1 else f"{rows}, "
    return f"{output} ({before}{outputs}) = {x} ({before}{inputs}) by {matrix}"


def _made(output: str, columns: int, multiple: int, program: Program) -> Place:
    """Return the place of a new tensor of rows, the last of which has room up to a multiple of columns."""
    return program.make(output, program.shape(output).count + -columns % multiple)


def _rows(name: str, inputs: int, program: Program) -> int:
    return program.shape(name).count // inputs


def _matmul(node: Node, program: Program) -> None:
    first, second = node.inputs
    matrix = program.constant(second)
    for each, other in ((first, second), (second, first)):
        if _is_identity(program.constant(each)) and program.shape(other) == program.shape(node.outputs[0]):
            program.same(node.outputs[0], other)
            return
    if matrix is not None and matrix.ndim == 2:
        _product(node, program, weights(program, second), None)
    else:
        _general(first, second, node.outputs[0], program)


def _is_identity(matrix: Array | None) -> bool:
    """Return whether a constant matrix changes nothing, as that of a resizing to the size that is there."""
    if matrix is None or matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        return False
    return np.array_equal(matrix, np.eye(len(matrix)))


def _gemm(node: Node, program: Program) -> None:
    attributes, matrix = node.attributes, weights(program, node.inputs[1])
    if attributes.get("transA", 0) or attributes.get("alpha", 1.0) != 1.0 or attributes.get("beta", 1.0) != 1.0:
        raise UnsupportedError("factors or a transposed first matrix")
    matrix = matrix.seen(np.transpose) if attributes.get("transB", 0) else matrix
    added = node.inputs[2] if len(node.inputs) > 2 else ""
    bias = program.constant(added)
    if added and (bias is None or bias.size not in (1, bias.shape[-1])):
        _sum_of_product(node, program, matrix, added)
    else:
        _product(node, program, matrix, bias)


def _sum_of_product(node: Node, program: Program, matrix: Matrix, added: str) -> None:
    """Y = x W + a tensor that is computed, or has a row for each of the result."""
    x, (output,) = node.inputs[0], node.outputs
    shape, (inputs, outputs) = program.shape(output), matrix.values.shape
    if program.shape(added).count != shape.count:
        raise UnsupportedError("a sum of another size")
    made = program.scratch(f"{output}.product", "float32", shape.count + -outputs % PANEL)
    multiply(made, program.place(x), matrix, None, program, _rows(x, inputs, program))
    operands = made, program.place(added)
    program.statements.append(Elementwise(program.make(output), shape.count, "{0} + {1}", operands, ("i", "i"), output))


def _product(node: Node, program: Program, matrix: Matrix, bias: Array | None) -> None:
    if matrix.values.dtype != np.float32:
        raise UnsupportedError(f"a matrix of type {matrix.values.dtype}")
    x, (inputs, outputs) = node.inputs[0], matrix.values.shape
    to, source = _made(node.outputs[0], outputs, PANEL, program), program.place(x)
    multiply(to, source, matrix, bias, program, _rows(x, inputs, program))


def _general(first: str, second: str, output: str, program: Program) -> None:
    """Products of two tensors, each a matrix or a batch of matrices."""
    one, other, made = (program.shape(name) for name in (first, second, output))
    if made.dtype != np.float32:
        raise UnsupportedError(f"matrices of type {made.dtype}")
    a = (1, *one.sizes) if len(one.sizes) == 1 else one.sizes
    b = (*other.sizes, 1) if len(other.sizes) == 1 else other.sizes
    rows, inner, columns = a[-2], a[-1], b[-1]
    count = int(np.prod(np.broadcast_shapes(a[:-2], b[:-2]), dtype=np.int64))
    counts = [int(np.prod(each[:-2], dtype=np.int64)) for each in (a, b)]
    if any(each not in (1, count) for each in counts):
        raise UnsupportedError("batches of matrices of different sizes")
    steps = [size if each > 1 else 0 for each, size in zip(counts, (rows * inner, inner * columns), strict=True)]
    program.call(
        "matmul_f32",
        *(program.make(output), program.place(first), program.place(second)),
        *(str(each) for each in (count, rows, inner, columns, *steps)),
        comment=f"{output} ({count}, {rows}, {columns}) = {first} ({counts[0]}, {rows}, {inner}) by {second}",
    )


def _integer_product(node: Node, program: Program) -> None:
    """Y = (x - 128) W * scale + bias, with x in bytes."""
    x, name, factor, scales, *rest = node.inputs
    zeros, bias = [each for each in rest[:2] if each], rest[2] if len(rest) > 2 else ""
    if any(only_value(program, each) != _ZERO_POINT for each in zeros) or len(zeros) != 2:
        raise UnsupportedError(f"zero points that are not {_ZERO_POINT}")
    matrix = fixed(program, name).astype(np.int32) - _ZERO_POINT
    inputs, outputs = matrix.shape
    if np.abs(matrix).max(initial=0) >= _ZERO_POINT:
        raise UnsupportedError("weights of -128, which overflow")
    scale = fixed(program, factor).ravel() * np.broadcast_to(fixed(program, scales).ravel(), (outputs,))
    added = fixed(program, bias).ravel() if bias else np.zeros(outputs, np.float32)
    to = _made(node.outputs[0], outputs, TILE, program)
    rows = program.place(x), inputs, _rows(x, inputs, program)
    _byte_product(to, rows, (name, matrix), (scale, added), program)


def _byte_product(
    to: Place,
    rows: tuple[Place, int, int],
    matrix: tuple[str, Array],
    scale_and_bias: tuple[Array, Array],
    program: Program,
) -> None:
    """Compute rows of (x - 128) W * scale + bias, with x in bytes. rows: their place, size and number.

    to: rows of outputs, the last with room up to a multiple of 16. matrix: its name, and integers within ±127.
    """
    (place, inputs, count), (name, values), (scale, bias) = rows, matrix, scale_and_bias
    outputs = values.shape[1]
    stored = [
        program.stored(name, pack_bytes(values.astype(np.int8))),
        program.store(f"{name}.scale", padded(scale.astype(np.float32), TILE)),
        program.store(f"{name}.bias", padded(bias.astype(np.float32), TILE)),
        program.store(f"{name}.offset", padded((_ZERO_POINT * values.sum(axis=0)).astype(np.int32), TILE)),
    ]
    source, wide = with_room(place, inputs, count, GROUP, program)
    kernel, sizes = ("product_u8", ()) if count == 1 else ("products_u8", (str(count),))
    comment = _comment(to.buffer.name, place.buffer.name, name, (count, inputs, outputs))
    each = (1, 0, wide, 1, 1, 1, 0, 0) if count == 1 else ()
    program.call(kernel, to, source, *stored, *sizes, str(wide), str(outputs), comment=comment, each=each)


def _block_product(node: Node, program: Program) -> None:
    """Y = x W + bias, with weights of 4 bits in blocks that share a scale."""
    x, name, scales, *rest = node.inputs
    inputs, outputs, size = (node.attributes[key] for key in ("K", "N", "block_size"))
    nibbles = fixed(program, name)
    if node.attributes["bits"] != 4 or size % BLOCK or any(rest[:2]):
        raise UnsupportedError(f"blocks that are not a multiple of {BLOCK}, or zero points")
    halves = np.stack([nibbles & 15, nibbles >> 4], axis=-1).reshape(outputs, -1)[:, :inputs]
    blocks = -(-inputs // BLOCK)
    factors = np.repeat(fixed(program, scales).reshape(outputs, -1), size // BLOCK, axis=1)[:, :blocks]
    tiles = np.pad(factors, ((0, -outputs % PANEL), (0, 0))).reshape(-1, PANEL, blocks).transpose(0, 2, 1)
    added = fixed(program, rest[2]).ravel() if len(rest) > 2 and rest[2] else np.zeros(outputs, np.float32)
    stored = [
        program.stored(name, pack_nibbles(halves)),
        program.stored(f"{name}.factors", np.ascontiguousarray(tiles, np.float32)),
        program.store(f"{name}.bias", padded(added.astype(np.float32), PANEL)),
    ]
    rows, (output,) = _rows(x, inputs, program), node.outputs
    source, wide = with_room(program.place(x), inputs, rows, BLOCK, program)
    rounded = [
        program.scratch(f"{x}.bytes", "int8", rows * wide),
        program.scratch(f"{x}.scales", "float32", rows * blocks),
        program.scratch(f"{x}.offsets", "int32", rows * blocks),
    ]
    program.call("round_blocks", *rounded, source, str(rows * blocks), comment=f"{x} in bytes")
    to = _row(_made(output, outputs, PANEL, program), outputs, rows)
    given = [_row(place, each, rows) for place, each in zip(rounded, (wide, blocks, blocks), strict=True)]
    comment = _comment(output, x, name, (rows, inputs, outputs))
    each = (1, 0, 0, 0, blocks * BLOCK // 2, blocks, 1, 0, 0) if rows == 1 else ()
    program.call("product_u4", to, *given, *stored, str(blocks), str(outputs), comment=comment, rows=rows, each=each)


def with_room(place: Place, inputs: int, rows: int, multiple: int, program: Program) -> tuple[Place, int]:
    """Return a place of the same rows, each followed by zeros up to a multiple of elements, and their size."""
    wide, name = inputs + -inputs % multiple, place.buffer.name
    if wide == inputs:
        return place, inputs
    room = program.scratch(f"{name}.wide", str(place.buffer.dtype), rows * wide)
    if rows == 1:
        program.copy(room, place, inputs, f"{name}, followed by zeros")
        program.copy(room.after(inputs), None, wide - inputs, "")
    else:
        program.copy(room, None, rows * wide, f"{name}, each row followed by zeros")
        program.move(room, rows * inputs, place, "i", name, strided((rows, inputs), (wide, 1)))
    return room, wide


def _block_rows(node: Node, program: Program) -> None:
    """One row of a matrix of 4 bits, as numbers."""
    name, indices, scales = node.inputs[:3]
    if node.attributes.get("block_size") != BLOCK or node.attributes.get("bits", 4) != 4 or len(node.inputs) > 3:
        raise UnsupportedError(f"blocks of another size than {BLOCK}, or zero points")
    if program.shape(indices).count != 1:
        raise UnsupportedError("a choice of several rows")
    (output,) = node.outputs
    size = program.shape(output).count
    row = f"(size_t){program.value(indices)}"
    half, blocks = (program.shape(each).count // program.shape(each).sizes[0] for each in (name, scales))
    halves = program.place(name).indexed(f"{half} * {row}")
    factors = program.place(scales).indexed(f"{blocks} * {row}")
    program.call("row_u4", program.make(output), halves, factors, str(size), comment=f"{output} ({size})")


PRODUCTS: dict[str, Operator] = {
    "Gemm": _gemm,
    "MatMul": _matmul,
    "ms.GatherBlockQuantized": _block_rows,
    "ms.MatMulIntegerToFloat": _integer_product,
    "ms.MatMulNBits": _block_product,
}
