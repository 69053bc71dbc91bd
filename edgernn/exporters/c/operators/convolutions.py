"""Convolutions, in single precision and in bytes, and pooling, along one axis or two.

What the kernel sees at each place becomes a row of a matrix product, unless it sees one channel alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgernn.contract import Array
from edgernn.exporters.c.folding import Node
from edgernn.exporters.c.operators.common import Operator, UnsupportedError, fixed, only_value, weights
from edgernn.exporters.c.operators.elementwise import elements
from edgernn.exporters.c.operators.products import multiply, with_room
from edgernn.exporters.c.packing import GROUP, PANEL, TILE, pack_bytes, pack_taps, padded
from edgernn.exporters.c.program import Place, Program, literal, strided

__all__ = ["CONVOLUTIONS"]

_MOST_TAPS = 64


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
        """The number of elements of all channels that the kernel sees at one place."""
        return self.channels * self.kernel[0] * self.kernel[1]

    @property
    def pointwise(self) -> bool:
        """Whether the kernel sees the channels of each place alone."""
        return self.kernel == self.strides == (1, 1) and self.places == self.sizes and self.before == (0, 0)

    @property
    def whole(self) -> bool:
        """Whether the kernel sees all of the input, once."""
        return self.places == (1, 1) and self.kernel == self.sizes and self.before == (0, 0) and self.groups == 1

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


def _seen(x: str, outside: str, multiple: int, window: _Window, program: Program) -> tuple[Place, int]:
    """Return the place of what the kernel sees at each place, in rows, and their size, a multiple of elements.

    A row is (kernel_y, kernel_x, channels). outside: each byte of what lies beyond x.
    """
    source = program.last(x)
    if window.pointwise:
        return with_room(source, window.channels, window.count, multiple, program)
    kind = program.shape(x).dtype
    wide = window.inputs + -window.inputs % multiple
    rows = program.scratch(f"{x}.patches", str(kind), window.count * wide)
    sizes = [window.channels * kind.itemsize, wide * kind.itemsize]
    program.call(
        "patches",
        *(rows, source),
        *(outside, *map(str, sizes), *window.arguments()),
        comment=f"{x} at {window.count} places of a kernel",
    )
    return rows, wide


def _matrix(values: Array, groups: int) -> Array:
    """Return the weights of a convolution as a matrix (kernel_y * kernel_x * channels, outputs).

    Channels of other groups than that of an output have zeros.
    """
    parts = np.zeros((groups, len(values) // groups, *values.shape[2:], groups, values.shape[1]), values.dtype)
    of_groups = np.moveaxis(values, 1, -1).reshape(*parts.shape[:-2], -1)
    for group in range(groups):
        parts[group, ..., group, :] = of_groups[group]
    return parts.reshape(len(values), -1).T


def _taps(values: Array) -> Array:
    """Return the weights of kernels that see one channel each, as (taps, outputs)."""
    taps = np.ascontiguousarray(values.reshape(len(values), -1).T)
    if len(taps) > _MOST_TAPS:
        raise UnsupportedError(f"a kernel with more than {_MOST_TAPS} elements for each channel")
    return taps


def _one_each(x: str, window: _Window, program: Program) -> Place:
    """Return the place of x as rows of channels, each of which is repeated for the outputs that see it."""
    source, multiple = program.last(x), window.outputs // window.channels
    if multiple == 1:
        return source
    count = window.outputs * window.sizes[0] * window.sizes[1]
    repeated = program.scratch(f"{x}.repeated", str(program.shape(x).dtype), count)
    program.move(repeated, count, source, strided((count // multiple, multiple), (1, 0)), f"{x}, each channel repeated")
    return repeated


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
        program.call(
            "depthwise_f32",
            *(program.make_last(output), _one_each(x, window, program)),
            program.store(f"{name}.beyond", np.zeros(window.outputs, np.float32)),
            *(program.stored(name, _taps(values)), program.store(f"{name}.bias", added)),
            *(str(window.outputs), *window.arguments()),
            comment=f"{output} {program.shape(output).sizes} from {x} by {name}",
        )
        return
    step = window.row_step
    if (step or window.whole) and not program.only_last(x):
        rows, seen = program.place(x), matrix.seen(lambda whole: whole.reshape(window.outputs, -1).T)
    else:
        step, rows = None, _seen(x, "0", 1, window, program)[0]
        seen = matrix.seen(lambda whole: _matrix(whole, window.groups))
    room = window.count * window.outputs + -window.outputs % PANEL
    multiply(program.make_last(output, room), rows, seen, bias, program, window.count, step)


def _byte_convolution(node: Node, program: Program) -> None:
    """Y = round(((x - zero) W + bias) * scale) + zero, in bytes."""
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
    comment = f"{output} {program.shape(output).sizes} from {x} by {name}"
    matrix = _taps(values) if window.depthwise else _matrix(values, window.groups)
    sums = matrix.sum(axis=0)
    columns = [
        program.store(f"{name}.scale", padded(factor, TILE)),
        program.store(f"{name}.bias", padded(((128 - zero) * sums + added).astype(np.int32), TILE)),
        program.store(f"{name}.offset", padded((128 * sums).astype(np.int32), TILE)),
    ]
    if window.depthwise:
        program.call(
            "depthwise_u8",
            *(program.make_last(output), _one_each(x, window, program)),
            program.store(f"{name}.beyond", np.full(window.outputs, zero, np.uint8)),
            program.stored(name, pack_taps(matrix.astype(np.int8))),
            *columns,
            *(str(other), str(window.outputs), *window.arguments()),
            comment=comment,
        )
        return
    rows, wide = _seen(x, str(zero), GROUP, window, program)
    program.call(
        "convolution_u8",
        *(program.make_last(output), rows, program.stored(name, pack_bytes(matrix.astype(np.int8)))),
        *columns,
        *(str(window.count), str(wide), str(window.outputs), str(other)),
        comment=comment,
    )


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
