"""Changes to a graph before it is tried: inputs made constant, samples carried over, states cut out of an output."""

from __future__ import annotations

import numpy as np
from onnx import helper, numpy_helper

from edgernn.contract import Array, Axis
from edgernn.errors import ConfigError
from edgernn.exporters.adoption.graph import OpenGraph, free_name, rename
from edgernn.exporters.adoption.options import Pair

__all__ = ["carry", "cut", "declare_axes", "fix"]

_LONGEST_CARRY = 1 << 20
_LARGEST_CONSTANT = 1 << 24  # elements
_END = np.iinfo(np.int64).max


def fix(graph: OpenGraph, name: str, value: float) -> None:
    """Turn an input into a constant. Raises ConfigError for an unknown shape, and a value that its type lacks."""
    port = graph.inputs[name]
    option = f"--constant {graph.own(name)}={value:g}"
    sizes = [axis for axis in port.axes or () if isinstance(axis, int)]
    if port.axes is None or len(sizes) < len(port.axes):
        raise ConfigError(f"{option}: its shape is not known; say it with --axes {graph.own(name)}=SIZE,…")
    if np.prod(sizes) > _LARGEST_CONSTANT:
        raise ConfigError(f"{option}: {np.prod(sizes):,} elements are too many for a constant")
    dtype = helper.tensor_dtype_to_np_dtype(port.kind)
    with np.errstate(all="ignore"):
        array: Array = np.full(sizes, value).astype(dtype)
    if dtype.kind == "O" or not (np.isfinite(array).all() if dtype.kind == "f" else (array == value).all()):
        raise ConfigError(f"{option} is no {port.dtype}")
    graph.model.graph.input.remove(graph.value(name))
    graph.model.graph.initializer.append(numpy_helper.from_array(array, name))


def carry(graph: OpenGraph, name: str, count: int) -> Pair:
    """Let the last `count` samples of an input precede its next ones: a state that the graph did not show.

    Raises ConfigError for an input without an axis of samples, or one that takes no more than `count`.
    """
    body, port, option = graph.model.graph, graph.inputs[name], f"--carry {graph.own(name)}:{count}"
    if not port.axes or not 1 <= count <= _LONGEST_CARRY:
        raise ConfigError(f"{option} needs an input with an axis of samples, and from 1 to {_LONGEST_CARRY:,} of them")
    *before, samples = port.axes
    if isinstance(samples, int) and samples <= count:
        raise ConfigError(f"{option}: the graph takes only {samples} samples")
    whole, given, made = (free_name(body, f"{name[:80]}_{word}") for word in ("whole", "carry", "carry_next"))
    value = graph.value(name)
    rename(body, name, whole)  # the record of the input too
    value.name = name
    bounds = {free_name(body, f"{given}_{key}"): n for key, n in (("from", -count), ("to", _END), ("axis", -1))}
    body.initializer.extend(numpy_helper.from_array(np.array([number]), key) for key, number in bounds.items())
    body.node.insert(0, helper.make_node("Concat", [given, name], [whole], axis=len(before)))
    body.node.append(helper.make_node("Slice", [whole, *bounds], [made]))
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
    bounds = {
        free_name(body, f"{made}_{key}"): n for key, n in zip(("from", "to", "axis"), (*pair.part, -1), strict=True)
    }
    body.initializer.extend(numpy_helper.from_array(np.array([number]), key) for key, number in bounds.items())
    body.node.append(helper.make_node("Slice", [pair.made, *bounds], [made]))
    axes = None if port.axes is None else [*port.axes[:-1], pair.part[1] - pair.part[0]]
    body.output.append(helper.make_tensor_value_info(made, port.kind, axes))
    return Pair(pair.given, made)


def declare_axes(graph: OpenGraph, name: str, axes: tuple[Axis, ...]) -> None:
    """Give the axes of an input names or sizes. Raises ConfigError where the file says another size or number."""
    port = graph.inputs[name]
    option = f"--axes {graph.own(name)}={','.join(map(str, axes))}"
    if port.axes is not None:
        if len(port.axes) != len(axes):
            raise ConfigError(f"{option}: the file says {port}, which has {len(port.axes)} axes")
        for place, (said, known) in enumerate(zip(axes, port.axes, strict=True)):
            if isinstance(known, int) and said != known:
                raise ConfigError(f"{option}: the file fixes axis {place} at {known}")
    graph.set_axes(name, axes)
