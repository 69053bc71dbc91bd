"""Insert casts for element types for which onnxruntime has no kernel.

ONNX allows more types than onnxruntime implements: `Where` has no kernel for booleans, and `Clip` none for 16-bit
integers. Such operators run at a wider type, with the same results.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import cache

import onnx
from onnx import TensorProto, helper
from onnxruntime.capi.onnxruntime_pybind11_state import get_all_opkernel_def

from edgernn.exporters.capture.rewrite import all_graphs

__all__ = ["use_kernels"]

_Allowed = Mapping[str, frozenset[int]]  # element types, by the type variables of the operator

_WIDER: Mapping[int, tuple[int, ...]] = {
    TensorProto.BOOL: (TensorProto.UINT8, TensorProto.INT32, TensorProto.INT64),
    TensorProto.UINT8: (TensorProto.INT32, TensorProto.INT64),
    TensorProto.INT8: (TensorProto.INT32, TensorProto.INT64),
    TensorProto.INT16: (TensorProto.INT32, TensorProto.INT64),
    TensorProto.INT32: (TensorProto.INT64,),
}


def use_kernels(model: onnx.ModelProto) -> None:
    """Insert casts around each operator whose types have no kernel in onnxruntime, if a wider type has one.

    model: with the types of its values, as shape inference adds them.
    """
    opset = next(entry.version for entry in model.opset_import if entry.domain == "")
    types = {name: kind for graph in all_graphs(model.graph) for name, kind in _types(graph)}
    for graph in all_graphs(model.graph):
        nodes = [each for node in graph.node for each in _with_casts(node, types, opset)]
        del graph.node[:]
        graph.node.extend(nodes)


def _types(graph: onnx.GraphProto) -> Iterator[tuple[str, int]]:
    for value in (*graph.input, *graph.output, *graph.value_info):
        yield value.name, value.type.tensor_type.elem_type
    for tensor in graph.initializer:
        yield tensor.name, tensor.data_type
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            yield node.output[0], node.attribute[0].t.data_type


def _with_casts(node: onnx.NodeProto, types: Mapping[str, int], opset: int) -> list[onnx.NodeProto]:
    """Return the node alone, or between casts."""
    change = {} if node.domain else _change(node, types, opset)
    if not change:
        return [node]
    before, after = list[onnx.NodeProto](), list[onnx.NodeProto]()
    formal = _formal(node, opset)
    given, made = formal[: len(node.input)], formal[len(node.input) :]
    changed = onnx.NodeProto()
    changed.CopyFrom(node)
    for place, (name, kind) in enumerate(zip(node.input, given, strict=True)):
        if name and kind in change:
            changed.input[place] = f"{node.output[0]}.{place}.{name}"
            before.append(helper.make_node("Cast", [name], [changed.input[place]], to=change[kind]))
    for place, (name, kind) in enumerate(zip(node.output, made, strict=True)):
        if name and kind in change:
            changed.output[place] = f"{name}.wide"
            after.append(helper.make_node("Cast", [changed.output[place]], [name], to=types[name]))
    return [*before, changed, *after]


def _change(node: onnx.NodeProto, types: Mapping[str, int], opset: int) -> dict[str, int]:
    """Return the wider types of a node, by the operator's type variables; empty if none are needed."""
    kernels = _kernels(opset).get(node.op_type)
    if not kernels or node.op_type == "Cast":
        return {}
    names = (*node.input, *node.output)
    own = {kind: types[name] for name, kind in zip(names, _formal(node, opset), strict=True) if types.get(name)}
    if _has_kernel(kernels, own):
        return {}
    for kind, dtype in own.items():
        for wider in _WIDER.get(dtype, ()):
            if _has_kernel(kernels, {**own, kind: wider}):
                return {kind: wider}
    return {}


def _has_kernel(kernels: list[_Allowed], types: Mapping[str, int]) -> bool:
    return any(all(types[kind] in allowed for kind, allowed in each.items() if kind in types) for each in kernels)


def _formal(node: onnx.NodeProto, opset: int) -> list[str]:
    """Return the type variables of all inputs and outputs of a node, of which the last may be variadic."""
    schema = onnx.defs.get_schema(node.op_type, opset, "")
    inputs = [schema.inputs[min(place, len(schema.inputs) - 1)].type_str for place in range(len(node.input))]
    return inputs + [schema.outputs[min(place, len(schema.outputs) - 1)].type_str for place in range(len(node.output))]


@cache
def _kernels(opset: int) -> Mapping[str, list[_Allowed]]:
    """Return the types of each CPU kernel of onnxruntime, by operator."""
    found: dict[str, list[_Allowed]] = defaultdict(list)
    numbers = {f"tensor({name.lower()})": kind for name, kind in TensorProto.DataType.items()}
    for kernel in get_all_opkernel_def():
        if kernel.provider != "CPUExecutionProvider" or kernel.domain not in ("", "ai.onnx"):
            continue
        if not onnx.defs.has(kernel.op_name, opset, ""):
            continue
        first, last = kernel.version_range
        if first <= onnx.defs.get_schema(kernel.op_name, opset, "").since_version <= last:
            constraints = kernel.type_constraints.items()
            allowed = {
                kind: frozenset(numbers[name] for name in names if name in numbers) for kind, names in constraints
            }
            found[kernel.op_name].append(allowed)
    return found
