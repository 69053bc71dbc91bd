"""Operators that compute from all elements along some axes."""

from __future__ import annotations

import numpy as np

from edgernn.exporters.c.folding import Node
from edgernn.exporters.c.operators.common import Operator, UnsupportedError, integers
from edgernn.exporters.c.program import Program, literal, strided

__all__ = ["REDUCTIONS"]


def _reduction(kernel: str, *, mean: bool = False) -> Operator:
    """Return an operator that reduces axes to their sums, means or largest elements."""

    def operator(node: Node, program: Program) -> None:
        (x, *_), (output,) = node.inputs, node.outputs
        sizes = _in_single(x, program)
        axes = node.attributes.get("axes") or integers(node, program, 1)
        if not axes and node.attributes.get("noop_with_empty_axes", 0):
            program.alias(output, x)
        else:
            _reduce(kernel, output, x, [axis % len(sizes) for axis in axes or range(len(sizes))], program, mean=mean)

    return operator


def _reduce(kernel: str, output: str, x: str, axes: list[int], program: Program, *, mean: bool) -> None:
    outer, count, inner = _parted(_in_single(x, program), axes)
    sizes = [str(outer), str(count), str(inner)]
    if kernel == "sums":
        sizes.append(literal(np.float32(count if mean else 1)))
    comment = f"{output} ({outer}, {inner}) from {x} ({outer}, {count}, {inner})"
    program.call(kernel, program.make(output), program.place(x), *sizes, comment=comment)


def _in_single(name: str, program: Program) -> tuple[int, ...]:
    """Return the sizes of a tensor. Raises UnsupportedError if it is not in single precision."""
    shape = program.shape(name)
    if shape.dtype != np.float32:
        raise UnsupportedError(f"elements of type {shape.dtype}")
    return shape.sizes


def _parted(sizes: tuple[int, ...], axes: list[int]) -> tuple[int, int, int]:
    """Return the number of elements before, along and after axes that follow each other."""
    wide = sorted(axis for axis in axes if sizes[axis] > 1)
    first, last = (wide[0], wide[-1] + 1) if wide else (len(sizes), len(sizes))
    if any(sizes[axis] > 1 and axis not in wide for axis in range(first, last)):
        raise UnsupportedError("axes that do not follow each other")
    before, along, after = (np.prod(part, dtype=np.int64) for part in (sizes[:first], sizes[first:last], sizes[last:]))
    return int(before), int(along), int(after)


def _global_mean(node: Node, program: Program) -> None:
    x, (output,) = node.inputs[0], node.outputs
    batch, channels, *axes = _in_single(x, program)
    if program.only_last(x) and batch == 1:
        count = int(np.prod(axes, dtype=np.int64))
        sizes = ["1", str(count), str(channels), literal(np.float32(count))]
        comment = f"{output} ({channels}) from {x} ({count}, {channels})"
        program.call("sums", program.make(output), program.last(x), *sizes, comment=comment)
        return
    _reduce("sums", output, x, list(range(2, len(axes) + 2)), program, mean=True)


def _largest_index(node: Node, program: Program) -> None:
    x, (output,) = node.inputs[0], node.outputs
    sizes = _in_single(x, program)
    outer, count, inner = _parted(sizes, [node.attributes.get("axis", 0) % len(sizes)])
    if node.attributes.get("select_last_index", 0):
        raise UnsupportedError("the last of equal elements")
    comment = f"{output} ({outer}, {inner}) from {x} ({outer}, {count}, {inner})"
    program.call(
        "largest_index",
        *(program.make(output), program.place(x), str(outer), str(count), str(inner)),
        comment=comment,
    )


def _softmax(node: Node, program: Program) -> None:
    x, (output,) = node.inputs[0], node.outputs
    sizes = _in_single(x, program)
    outer, count, inner = _parted(sizes, [node.attributes.get("axis", -1) % len(sizes)])
    kernel = "softmax" if node.operator == "Softmax" else "log_softmax"
    rows, elements = outer * inner, outer * count * inner
    source, to = program.place(x), program.make(output)
    made = to
    if inner > 1:  # the kernel reads rows
        apart = program.scratch(f"{x}.rows", "float32", elements)
        program.move(apart, elements, source, strided((outer, inner, count), (count * inner, 1, inner)), f"{x} in rows")
        source, made = apart, program.scratch(f"{output}.rows", "float32", elements)
    program.call(kernel, made, source, str(rows), str(count), comment=f"{output} ({rows}, {count}) of {x}")
    if inner > 1:
        program.move(to, elements, made, strided((outer, count, inner), (count * inner, 1, count)), output)


def _layer_norm(node: Node, program: Program) -> None:
    x, scale, *bias = node.inputs
    sizes = _in_single(x, program)
    axis = node.attributes.get("axis", -1) % len(sizes)
    outer, count, _ = _parted(sizes, list(range(axis, len(sizes))))
    if any(node.outputs[1:]) or program.shape(scale).count != count:
        raise UnsupportedError("mean and deviation as results, or factors of another size")
    zeros = np.zeros(count, np.float32)
    added = program.place(bias[0]) if bias and bias[0] else program.store(f"{scale}.bias", zeros)
    program.call(
        "layer_norm",
        *(program.make(node.outputs[0]), program.place(x), program.place(scale), added),
        *(str(outer), str(count), literal(np.float32(node.attributes.get("epsilon", 1e-5)))),
        comment=f"{node.outputs[0]} ({outer}, {count}) of {x}",
    )


REDUCTIONS: dict[str, Operator] = {
    "ArgMax": _largest_index,
    "GlobalAveragePool": _global_mean,
    "LayerNormalization": _layer_norm,
    "LogSoftmax": _softmax,
    "ReduceMax": _reduction("largest"),
    "ReduceMean": _reduction("sums", mean=True),
    "ReduceSum": _reduction("sums"),
    "Softmax": _softmax,
}
