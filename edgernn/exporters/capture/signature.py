"""Give inputs and outputs of an ONNX graph the names in the contract."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import onnx

from edgernn.contract import GraphSpec
from edgernn.errors import ExportError
from edgernn.exporters.capture.rewrite import all_graphs

__all__ = ["name_signature"]


def name_signature(model: onnx.ModelProto, spec: GraphSpec) -> None:
    """Name inputs and outputs as the contract does, in its order; inner tensors with such a name are renamed.

    Raises ExportError if their number differs, or if one value is both input and output, or two outputs.
    """
    graph = model.graph
    found = [node.name for node in (*graph.input, *graph.output)]
    wanted = [*spec.input_names, *spec.output_names]
    if len(found) != len(wanted) or len({*found}) != len(found):
        raise ExportError(f"graph {spec.name} came out with {', '.join(found)}; its contract says {', '.join(wanted)}")
    names = dict(zip(found, wanted, strict=True))
    inside = {name for part in all_graphs(graph) for name in _values(part)} - names.keys()
    for name in sorted(inside & {*wanted}):
        names[name] = _free(f"{name}.value", inside | {*wanted})
    for part in all_graphs(graph):
        _rename(part, names)


def _values(graph: onnx.GraphProto) -> Iterator[str]:
    for node in graph.node:
        yield from node.output
    for part in (graph.input, graph.output, graph.initializer, graph.value_info):
        yield from (each.name for each in part)


def _rename(graph: onnx.GraphProto, names: Mapping[str, str]) -> None:
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    for part in (graph.input, graph.output, graph.initializer, graph.value_info):
        for each in part:
            each.name = names.get(each.name, each.name)


def _free(name: str, taken: set[str]) -> str:
    free, count = name, 1
    while free in taken:
        free, count = f"{name}_{count}", count + 1
    taken.add(free)
    return free
