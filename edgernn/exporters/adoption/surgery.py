"""Changes to a graph before it is tried: constant inputs, samples that are carried over, parts of outputs as states."""

from __future__ import annotations

import math

import numpy as np
import onnx
from onnx import helper, numpy_helper

from edgernn.contract import Array, Axis
from edgernn.errors import ConfigError
from edgernn.exporters.adoption.graph import OpenGraph, Port, free_name, rename
from edgernn.exporters.adoption.options import Pair

__all__ = ["carry", "cut", "declare_axes", "fix"]

_LONGEST_CARRY = 1 << 20
_LARGEST_CONSTANT = 1 << 24  # elements
_SLICE_BY_INPUTS = 10  # the first opset in which Slice takes its arguments as inputs
_END = np.iinfo(np.int64).max


def fix(graph: OpenGraph, name: str, value: float) -> None:
    """Replace an input by a constant, with the sizes of other inputs along shared axes.

    Raises ConfigError for an unknown shape, or a value that its element type cannot represent.
    """
    port = graph.inputs[name]
    option = f"--constant {graph.own(name)}={value:g}"
    if port.axes is None or not all(isinstance(axis, int) or _place(graph, name, axis) for axis in port.axes):
        raise ConfigError(f"{option}: its shape is not known; say it with --axes {graph.own(name)}=SIZE,…")
    if math.prod(axis for axis in port.axes if isinstance(axis, int)) > _LARGEST_CONSTANT:
        raise ConfigError(f"{option}: {port} has too many elements for a constant")
    dtype = helper.tensor_dtype_to_np_dtype(port.kind)
    with np.errstate(all="ignore"):
        element: Array = np.full([1], value).astype(dtype)
    if dtype.kind == "O" or not (np.isfinite(element).all() if dtype.kind == "f" else (element == value).all()):
        raise ConfigError(f"{option} is no {port.dtype}")
    body = graph.model.graph
    sizes = [axis for axis in port.axes if isinstance(axis, int)]
    if len(sizes) == len(port.axes):
        body.initializer.append(numpy_helper.from_array(np.full(sizes, element[0], dtype), name))
    else:
        made = _filled(graph, port, numpy_helper.from_array(element))
        for node in reversed(made):
            body.node.insert(0, node)
    body.input.remove(graph.value(name))


def _place(graph: OpenGraph, name: str, axis: str) -> tuple[str, int] | None:
    """Return another input that has an axis of this name, and the position of the axis."""
    others = ((other, port) for other, port in graph.inputs.items() if other != name and axis in (port.axes or ()))
    return next(((other, port.known_axes.index(axis)) for other, port in others), None)


def _filled(graph: OpenGraph, port: Port, element: onnx.TensorProto) -> list[onnx.NodeProto]:
    """Return operators that repeat one element to a tensor with the shape of `port`."""
    body = graph.model.graph
    made, sizes = [], []
    for place, axis in enumerate(port.known_axes):
        size = free_name(body, f"{port.name[:80]}_size_{place}")
        found = None if isinstance(axis, int) else _place(graph, port.name, axis)
        if found is None:
            body.initializer.append(numpy_helper.from_array(np.array([axis]), size))
        else:
            index = free_name(body, f"{size}_of")
            body.initializer.append(numpy_helper.from_array(np.array([found[1]]), index))
            shape = free_name(body, f"{size}_in")
            made += [helper.make_node("Shape", [found[0]], [shape])]
            made += [helper.make_node("Gather", [shape, index], [size])]
        sizes.append(size)
    whole = free_name(body, f"{port.name[:80]}_sizes")
    made.append(helper.make_node("Concat", sizes, [whole], axis=0))
    return [*made, helper.make_node("ConstantOfShape", [whole], [port.name], value=element)]


def carry(graph: OpenGraph, name: str, count: int) -> Pair:
    """Prepend the last `count` samples of an input to its next ones, which adds a state to the graph.

    Raises ConfigError for an input without an axis of samples, or one that accepts at most `count`.
    """
    body, port, option = graph.model.graph, graph.inputs[name], f"--carry {graph.own(name)}:{count}"
    if not port.axes or not 1 <= count <= _LONGEST_CARRY:
        raise ConfigError(f"{option} needs an input with an axis of samples, and from 1 to {_LONGEST_CARRY:,} of them")
    *before, samples = port.axes
    if isinstance(samples, int) and samples <= count:
        raise ConfigError(f"{option}: the graph takes only {samples} samples")
    whole, given, made = (free_name(body, f"{name[:80]}_{word}") for word in ("whole", "carry", "carry_next"))
    value = graph.value(name)
    rename(body, name, whole)  # also renames the record of the input
    value.name = name
    body.node.insert(0, helper.make_node("Concat", [given, name], [whole], axis=len(before)))
    body.node.append(_slice(graph, whole, made, (-count, _END), len(before)))
    body.input.append(helper.make_tensor_value_info(given, port.kind, [*before, count]))
    body.output.append(helper.make_tensor_value_info(made, port.kind, [*before, count]))
    if isinstance(samples, int):
        graph.set_axes(name, (*before, samples - count))
    return Pair(given, made)


def cut(graph: OpenGraph, pair: Pair) -> Pair:
    """Make a part of an output, along its last axis, an output of its own."""
    if pair.part is None:
        return pair
    body, port = graph.model.graph, graph.outputs[pair.made]
    made = free_name(body, f"{pair.given[:80]}_next")
    body.node.append(_slice(graph, pair.made, made, pair.part, -1 if port.axes is None else len(port.axes) - 1))
    axes = None if port.axes is None else [*port.axes[:-1], pair.part[1] - pair.part[0]]
    body.output.append(helper.make_tensor_value_info(made, port.kind, axes))
    return Pair(pair.given, made)


def _slice(graph: OpenGraph, given: str, made: str, part: tuple[int, int], axis: int) -> onnx.NodeProto:
    """Return an operator that takes a part of an axis; its arguments changed in opset 10."""
    opset = next((entry.version for entry in graph.model.opset_import if entry.domain in ("", "ai.onnx")), 1)
    if opset < _SLICE_BY_INPUTS:
        return helper.make_node("Slice", [given], [made], starts=[part[0]], ends=[part[1]], axes=[axis])
    body, bounds = graph.model.graph, {"from": part[0], "to": part[1], "axis": axis}
    names = [free_name(body, f"{made[:80]}_{key}") for key in bounds]
    body.initializer.extend(
        numpy_helper.from_array(np.array([number]), name) for number, name in zip(bounds.values(), names, strict=True)
    )
    return helper.make_node("Slice", [given, *names], [made])


def declare_axes(graph: OpenGraph, name: str, axes: tuple[Axis, ...]) -> None:
    """Set names or sizes of the axes of an input. Raises ConfigError if they contradict the file."""
    port = graph.inputs[name]
    option = f"--axes {graph.own(name)}={','.join(map(str, axes))}"
    if port.axes is not None:
        if len(port.axes) != len(axes):
            raise ConfigError(f"{option}: the file says {port}, which has {len(port.axes)} axes")
        for place, (said, known) in enumerate(zip(axes, port.axes, strict=True)):
            if isinstance(known, int) and said != known:
                raise ConfigError(f"{option}: the file fixes axis {place} at {known}")
    graph.set_axes(name, axes)
