"""Convolutions, in single precision and in bytes, and pooling, along one axis or two.

What the kernel sees at each place becomes a row of a matrix product, unless it sees one channel alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgernn.exporters.c.folding import Node
from edgernn.exporters.c.operators.common import Operator, UnsupportedError, fixed, only_value, weights
from edgernn.exporters.c.operators.elementwise import elements
from edgernn.exporters.c.operators.products import byte_product, multiply
from edgernn.exporters.c.packing import PANEL, TILE
from edgernn.exporters.c.program import Place, Program, literal, strided

__all__ = ["CONVOLUTIONS"]


@dataclass(frozen=True)
class _Window:
    """The sizes of a convolution along two axes. places: of the kernel, which are the sizes of the result."""

    channels: int
    outputs: int
    groups: int
    sizes: tuple[int, ...]
    places: tuple[int, ...]
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    before: tuple[int, ...]
    dilations: tuple[int, ...]

    @property
    def count(self) -> int:
        """The number of places."""
        return self.places[0] * self.places[1]

    @property
    def inputs(self) -> int:
        """The number of elements that the kernel sees at one place."""
        return self.channels // self.groups * self.kernel[0] * self.kernel[1]

    @property
    def depthwise(self) -> bool:
        """Whether the kernel sees one channel alone."""
        return self.channels == self.groups > 1

    @property
    def row_step(self) -> int | None:
        """The elements from what the kernel sees at one place to the next, if they follow each other in memory."""
        width, wide = self.sizes[1], (self.kernel[1] - 1) * self.dilations[1] + 1
        inside = self.before == (0, 0) and (self.places[1] - 1) * self.strides[1] + wide <= width
        one_axis = self.sizes[0] == self.kernel[0] == 1 and wide == self.kernel[1]
        whole = self.channels == 1 or width == wide
        return self.strides[1] if inside and one_axis and whole and self.groups == 1 else None

    def arguments(self) -> list[str]:
        """Return the arguments of kernels: sizes, places, kernel, strides, padding and dilations."""
        pairs = (self.sizes, self.places, self.kernel, self.strides, self.before, self.dilations)
        return [str(each) for pair in pairs for each in pair]


def _window(node: Node, x: str, kernel: Sequence[int], program: Program) -> _Window:
    given, made = program.shape(x).sizes, program.shape(node.outputs[0]).sizes
    axes, attributes = len(given) - 2, node.attributes
    if axes not in (1, 2) or attributes.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID"):
        raise UnsupportedError("more than two axes, or padding that is not given")

    def two(values: tuple[int, ...], other: int) -> tuple[int, ...]:
        return (other,) * (2 - axes) + tuple(values)

    return _Window(
        given[1],
        made[1],
        attributes.get("group", 1),
        two(given[2:], 1),
        two(made[2:], 1),
        two(tuple(kernel), 1),
        two(attributes.get("strides") or (1,) * axes, 1),
        two((attributes.get("pads") or (0,) * axes)[:axes], 0),
        two(attributes.get("dilations") or (1,) * axes, 1),
    )


def _patches(kernel: str, x: str, outside: str, window: _Window, program: Program) -> Place:
    """Return the place of what the kernel sees at each place, in rows."""
    if window.groups > 1:
        raise UnsupportedError("groups of several channels")
    rows = program.scratch(f"{x}.patches", str(program.shape(x).dtype), window.count * window.inputs)
    comment = f"{x} at {window.count} places of a kernel"
    program.call(kernel, rows, program.place(x), outside, str(window.channels), *window.arguments(), comment=comment)
    return rows


def _channels_first(output: str, rows: Place, window: _Window, program: Program) -> None:
    """Let `output` be the transpose of rows, one for each place."""
    index = strided((window.outputs, window.count), (1, window.outputs))
    program.move(program.make(output), window.outputs * window.count, rows, index, output)


def _convolution(node: Node, program: Program) -> None:
    (x, name), (output,) = node.inputs[:2], node.outputs
    matrix = weights(program, name)
    values = matrix.values
    if values.dtype != np.float32:
        raise UnsupportedError(f"weights of type {values.dtype}")
    bias = fixed(program, node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2] else None
    window = _window(node, x, values.shape[2:], program)
    if window.depthwise:
        added = np.zeros(window.outputs, np.float32) if bias is None else bias
        multiple = window.outputs // window.channels
        program.call(
            "depthwise_f32",
            *(program.make(output), program.place(x), program.stored(name, values)),
            program.store(f"{name}.bias", added),
            *(str(window.outputs), str(multiple), *window.arguments()),
            comment=f"{output} {program.shape(output).sizes} from {x} by {name}",
        )
        return
    step = window.row_step
    rows = program.place(x) if step else _patches("patches_f32", x, "0.0f", window, program)
    room = window.count * window.outputs + -window.outputs % PANEL
    made = program.scratch(f"{output}.rows", "float32", room)
    matrix = matrix.seen(lambda whole: whole.reshape(window.outputs, -1).T)
    multiply(made, rows, matrix, bias, program, window.count, step)
    _channels_first(output, made, window, program)


def _byte_convolution(node: Node, program: Program) -> None:
    """Y = round((x - zero) W * scale) + zero, in bytes."""
    x, x_scale, x_zero, name, scales, zeros, y_scale, y_zero, *rest = node.inputs
    (output,) = node.outputs
    values = fixed(program, name).astype(np.int32)
    zero, other = only_value(program, x_zero), only_value(program, y_zero)
    if zero is None or other is None or only_value(program, zeros) != 0 or np.abs(values).max(initial=0) > 127:
        raise UnsupportedError("zero points that are not known, or weights with one")
    if program.shape(x).dtype != np.uint8 or program.shape(output).dtype != np.uint8:
        raise UnsupportedError("signed bytes")
    window = _window(node, x, values.shape[2:], program)
    factor = fixed(program, x_scale).ravel() * fixed(program, scales).ravel() / fixed(program, y_scale).ravel()
    factor = np.broadcast_to(factor, (window.outputs,)).astype(np.float32)
    added = fixed(program, rest[0]).astype(np.int64) if rest and rest[0] else np.zeros(window.outputs, np.int64)
    if window.depthwise:
        made = program.scratch(f"{output}.sums", "float32", window.outputs * window.count)
        stored = program.stored(name, values.astype(np.int8)), program.store(f"{name}.scale", factor)
        bias = program.store(f"{name}.bias", (added * factor).astype(np.float32))
        program.call(
            "depthwise_u8",
            *(made, program.place(x)),
            str(zero),
            *(*stored, bias),
            *(str(window.outputs), str(window.outputs // window.channels), *window.arguments()),
            comment=f"{output} {program.shape(output).sizes} from {x} by {name}",
        )
        index = "i"
    else:
        matrix = values.reshape(window.outputs, -1).T
        bias = (((128 - zero) * matrix.sum(axis=0) + added) * factor).astype(np.float32)
        rows = _patches("patches_u8", x, str(zero), window, program)
        room = window.count * window.outputs + -window.outputs % TILE
        made = program.scratch(f"{output}.sums", "float32", room)
        byte_product(made, (rows, window.inputs, window.count), (name, matrix), (factor, bias), program)
        index = strided((window.outputs, window.count), (1, window.outputs))
    count = window.outputs * window.count
    program.compute(program.make(output), count, f"NAME_integer({{0}}, {other}, 0, 255)", made, index, output)


def _byte_sum(node: Node, program: Program) -> None:
    """C = round(((a - zero) * scale + (b - zero) * scale) / scale) + zero, in bytes."""
    a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero = node.inputs
    zeros = [only_value(program, name) for name in (a_zero, b_zero, y_zero)]
    if None in zeros or program.shape(node.outputs[0]).dtype != np.uint8:
        raise UnsupportedError("zero points that are not known, or signed bytes")
    factors = [fixed(program, name).ravel()[0] / fixed(program, y_scale).ravel()[0] for name in (a_scale, b_scale)]
    terms = [f"(float)({{{at}}} - {zeros[at]}) * {literal(np.float32(factors[at]))}" for at in (0, 1)]
    elements(node, program, f"NAME_integer({' + '.join(terms)}, {zeros[2]}, 0, 255)", (a, b))


def _pool(node: Node, program: Program) -> None:
    """The largest element, or the mean, of what a kernel sees of each channel."""
    x, (output, *others) = node.inputs[0], node.outputs
    if program.shape(x).dtype != np.float32 or any(others):
        raise UnsupportedError("elements that are not in single precision, or the places of the largest ones")
    window = _window(node, x, node.attributes["kernel_shape"], program)
    whole = node.attributes.get("count_include_pad", 0)
    if whole and node.attributes.get("ceil_mode", 0):
        raise UnsupportedError("padding that counts, at a number of places that is rounded up")
    kernel = "largest_pool" if node.operator == "MaxPool" else "mean_pool"
    counted = [] if node.operator == "MaxPool" else [str(whole)]
    places = program.make(output), program.place(x)
    comment = f"{output} {program.shape(output).sizes} from {x}"
    program.call(kernel, *places, *counted, str(window.channels), *window.arguments(), comment=comment)


CONVOLUTIONS: dict[str, Operator] = {
    "AveragePool": _pool,
    "Conv": _convolution,
    "MaxPool": _pool,
    "QLinearConv": _byte_convolution,
    "ms.QLinearAdd": _byte_sum,
}
