"""Operators that compute each element from the elements with the same index, with numpy's broadcasting."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgernn.contract import Array
from edgernn.exporters.c.folding import Node
from edgernn.exporters.c.operators.common import Operator, UnsupportedError, fixed, only_value
from edgernn.exporters.c.program import Program, literal

__all__ = ["ELEMENTWISE", "elements"]

_ZERO_POINT = 128
_POWERS = {0.5: "NAME_sqrt({0})", 1.0: "{0}", 2.0: "{0} * {0}", 3.0: "{0} * {0} * {0}"}


def elements(node: Node, program: Program, expression: str, inputs: Sequence[str]) -> None:
    """Compute the result of a node by a C expression of {0}, {1} …, which stand for the elements of inputs."""
    operands = []
    for name in inputs:
        value = program.constant(name)
        operands.append(literal(value.ravel()[0]) if value is not None and value.size == 1 else name)
    program.elementwise(node.outputs[0], expression, operands)


def _of(expression: str, integers: str = "") -> Operator:
    """Return an operator with this expression. integers: another one for integers, if it differs."""

    def operator(node: Node, program: Program) -> None:
        exact = integers and program.shape(node.inputs[0]).dtype.kind != "f"
        elements(node, program, integers if exact else expression, node.inputs)

    return operator


def _in_single(expression: str) -> Operator:
    """Return an operator for numbers in single precision alone."""

    def operator(node: Node, program: Program) -> None:
        if program.shape(node.inputs[0]).dtype != np.float32:
            raise UnsupportedError(f"elements of type {program.shape(node.inputs[0]).dtype}")
        elements(node, program, expression, node.inputs)

    return operator


def _reduced(expression: str) -> Operator:
    """Return an operator of two or more inputs, which applies the expression of two again and again."""

    def operator(node: Node, program: Program) -> None:
        whole = "{0}"
        for place in range(1, len(node.inputs)):
            whole = expression.format(f"({whole})" if place > 1 else whole, f"{{{place}}}")
        elements(node, program, whole, node.inputs)

    return operator


def _cast(node: Node, program: Program) -> None:
    source, to = program.shape(node.inputs[0]).dtype, program.shape(node.outputs[0]).dtype
    if np.float16 in (source, to):
        raise UnsupportedError("numbers in half precision")
    elements(node, program, "{0} != 0" if to == np.bool_ else "{0}", node.inputs)


def _clip(node: Node, program: Program) -> None:
    given = {place for place in (1, 2) if len(node.inputs) > place and node.inputs[place]}
    inner = "{0} < {1} ? {1} : {0}" if 1 in given else "{0}"
    names = [node.inputs[0], *(node.inputs[place] for place in sorted(given))]
    if 2 not in given:
        elements(node, program, inner, names)
        return
    last = f"{{{len(names) - 1}}}"
    low = f"({inner})" if 1 in given else inner
    elements(node, program, f"{low} > {last} ? {last} : {low}", names)


def _pow(node: Node, program: Program) -> None:
    power = program.constant(node.inputs[1])
    kind = program.shape(node.inputs[0]).dtype
    known = _POWERS.get(float(power.ravel()[0])) if power is not None and power.size == 1 else None
    if known and (kind == np.float32 or "NAME" not in known):
        elements(node, program, known, node.inputs[:1])
    elif kind == np.float32 == program.shape(node.inputs[1]).dtype:
        elements(node, program, "NAME_power({0}, {1})", node.inputs)
    else:
        raise UnsupportedError(f"a power of type {kind}")


def _mod(node: Node, program: Program) -> None:
    kind = program.shape(node.inputs[0]).dtype.kind
    if kind == "f":
        raise UnsupportedError("remainders of floating-point numbers")
    rest = "{0} % {1}"
    wanted = f"({rest} + {{1}}) % {{1}}" if kind == "i" and not node.attributes.get("fmod", 0) else rest
    elements(node, program, wanted, node.inputs)


def _quantize(node: Node, program: Program) -> None:
    kind = program.shape(node.outputs[0]).dtype
    zero = only_value(program, node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2] else 0
    if zero is None or kind not in (np.uint8, np.int8):
        raise UnsupportedError("a zero point that is not known, or another type than a byte")
    if kind == np.uint8 and zero == _ZERO_POINT:
        elements(node, program, "NAME_quantise({0}, {1})", node.inputs[:2])
        return
    low, high = np.iinfo(kind).min, np.iinfo(kind).max
    elements(node, program, f"NAME_integer({{0}} / {{1}}, {zero}, {low}, {high})", node.inputs[:2])


def _dequantize(node: Node, program: Program) -> None:
    """X = (q - zero) * scale, with a scale and a zero point for all elements, or one for each index of an axis."""
    (output,), name = node.outputs, node.inputs[0]
    sizes, axis = program.shape(name).sizes, node.attributes.get("axis", 1)
    scale = _along(fixed(program, node.inputs[1]), sizes, axis)
    zero = np.zeros((), np.int32)
    if len(node.inputs) > 2 and node.inputs[2]:
        zero = _along(fixed(program, node.inputs[2]).astype(np.int32), sizes, axis)
    value = program.constant(name)
    if value is not None:
        program.known[output] = (value.astype(np.int32) - zero).astype(np.float32) * scale
        if value.dtype == np.int8 and not zero.any():
            program.integers[output] = value, np.broadcast_to(scale, value.shape)
        return
    if len(values := np.unique(zero)) > 1:
        raise UnsupportedError("zero points that differ")
    factor = literal(scale.ravel()[0]) if scale.size == 1 else f"{node.inputs[1]}.along"
    if scale.size > 1:
        program.known[factor] = scale
    elements(node, program, f"(float)({{0}} - {int(values[0])}) * {{1}}", (name, factor))


def _along(values: Array, sizes: Sequence[int], axis: int) -> Array:
    """Return values so that they broadcast along an axis."""
    return values.reshape(()) if values.size == 1 else values.reshape([-1, *[1] * (len(sizes) - axis % len(sizes) - 1)])


_binary = {"Add": "+", "Sub": "-", "Mul": "*", "Div": "/", "And": "&&", "Or": "||", "Xor": "!="}
_compared = {"Equal": "==", "Greater": ">", "GreaterOrEqual": ">=", "Less": "<", "LessOrEqual": "<="}
ELEMENTWISE: dict[str, Operator] = {
    **{name: _of(f"{{0}} {sign} {{1}}") for name, sign in (_binary | _compared).items()},
    "Abs": _of("NAME_magnitude({0})", integers="{0} < 0 ? -{0} : {0}"),
    "Cast": _cast,
    "Clip": _clip,
    "DequantizeLinear": _dequantize,
    "Erf": _in_single("NAME_erf({0})"),
    "Exp": _in_single("NAME_exp({0})"),
    "Floor": _in_single("NAME_floor({0})"),
    "Log": _in_single("NAME_log({0})"),
    "Max": _reduced("{0} > {1} ? {0} : {1}"),
    "Min": _reduced("{0} < {1} ? {0} : {1}"),
    "Mod": _mod,
    "Neg": _of("-{0}"),
    "Not": _of("!{0}"),
    "Pow": _pow,
    "QuantizeLinear": _quantize,
    "Reciprocal": _in_single("1.0f / {0}"),
    "Relu": _in_single("{0} > 0.0f ? {0} : 0.0f"),
    "Round": _in_single("NAME_nearest({0})"),
    "Sigmoid": _in_single("NAME_sigmoid({0})"),
    "Sqrt": _in_single("NAME_sqrt({0})"),
    "Sum": _reduced("{0} + {1}"),
    "Tanh": _in_single("NAME_tanh({0})"),
    "Where": _of("{0} ? {1} : {2}"),
}
