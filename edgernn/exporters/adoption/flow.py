"""Analyse the data flow of a graph: which inputs are states, the ranges of indices, and operators that matter."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import onnx

from edgernn.errors import ExportError
from edgernn.exporters.adoption.graph import OpenGraph, elements, initializers
from edgernn.exporters.capture.rewrite import all_nodes, subgraphs

__all__ = ["check_random", "index_bounds", "recurrence_slots", "restarts"]

# For each recurrent operator, the positions of its states among inputs and outputs.
_RECURRENT = {
    "LSTM": ((5, 1), (6, 2)),
    "DynamicQuantizeLSTM": ((5, 1), (6, 2)),  # an operator of onnxruntime
    "GRU": ((5, 1),),
    "RNN": ((5, 1),),
}
# Operators that only rearrange values.
_VIEWS = {"Identity", "Squeeze", "Unsqueeze", "Reshape", "Transpose", "Flatten", "Slice", "Split", "Gather", "Concat"}
_INDEX_VIEWS = _VIEWS - {"Gather"} | {"Cast", "Expand"}
_RANDOM = {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli"}
_TRAINING = 2  # the input of Dropout that enables it
_Slot = tuple[str, int]  # the first output of a recurrent operator, and the index of one of its states


def recurrence_slots(graph: OpenGraph) -> tuple[dict[str, set[_Slot]], dict[str, set[_Slot]]]:
    """Return, for each input and each output, which states of recurrent operators it initialises or returns."""
    body = graph.model.graph
    makers = {name: node for node in body.node for name in node.output if name}
    begins: dict[str, set[_Slot]] = {}
    returned: dict[str, _Slot] = {}
    for node in body.node:
        for number, (given, made) in enumerate(_states_of(node)):
            slot = (node.output[0] or node.name, number)
            returned[made] = slot
            for name in _origins(given, makers) & graph.inputs.keys():
                begins.setdefault(name, set()).add(slot)
    ends = {
        name: {returned[origin] for origin in _origins(name, makers, set(returned)) if origin in returned}
        for name in graph.outputs
    }
    return begins, {name: slots for name, slots in ends.items() if slots}


def restarts(graph: OpenGraph, states: Iterable[str]) -> list[str]:
    """Return sentences about recurrent operators whose initial states do not come from a state of the graph.

    states: the inputs that are states.
    """
    reached = _reached(graph.model.graph, states)
    found = []
    for node in all_nodes(graph.model.graph):
        given = _initial(node)
        if given is not None and not reached.intersection(given):
            what = "what it carries from turn to turn" if node.op_type == "Loop" else "its state"
            found.append(
                f"{node.op_type} {_name(node)} starts anew at each step: {what} comes from no state of the graph"
            )
    return found


def check_random(graph: OpenGraph) -> None:
    """Raise ExportError if an operator draws random numbers."""
    constants = _known(graph.model.graph)
    for node in all_nodes(graph.model.graph):
        if node.op_type in _RANDOM or (node.op_type == "Dropout" and _draws(node, constants)):
            raise ExportError(
                f"graph {graph.name}: the operator {node.op_type} {_name(node)} draws random numbers, so that two "
                f"equal calls differ: export the model without it"
            )


def index_bounds(graph: OpenGraph) -> dict[str, int]:
    """Return the number of rows of the table that an integer input directly indexes, by input."""
    body = graph.model.graph
    makers = {name: node for node in body.node for name in node.output if name}
    tables = _known(body)
    bounds: dict[str, int] = {}
    for node in all_nodes(body):
        if node.op_type == "Gather" and len(node.input) == 2 and node.input[0] in tables:
            sizes = tables[node.input[0]].dims
            axis = next((entry.i for entry in node.attribute if entry.name == "axis"), 0)
            if -len(sizes) <= axis < len(sizes):
                for name in _origins(node.input[1], makers, views=_INDEX_VIEWS) & graph.inputs.keys():
                    bounds[name] = min(sizes[axis], bounds.get(name, sizes[axis]))
    return {name: bound for name, bound in bounds.items() if bound > 0}


def _states_of(node: onnx.NodeProto) -> Iterator[tuple[str, str]]:
    """Yield the names of the initial and of the final states of a recurrent operator."""
    places: Iterable[tuple[int, int]] = _RECURRENT.get(node.op_type, ())
    if node.op_type == "Loop":
        places = [(2 + number, number) for number in range(len(node.input) - 2)]
    if node.op_type == "Scan":
        first = _first_state(node)
        places = [(first + number, number) for number in range(len(node.input) - first - _scanned(node))]
    for given, made in places:
        if given < len(node.input) and made < len(node.output) and node.input[given] and node.output[made]:
            yield node.input[given], node.output[made]


def _scanned(node: onnx.NodeProto) -> int:
    return next((entry.i for entry in node.attribute if entry.name == "num_scan_inputs"), len(node.input))


def _first_state(node: onnx.NodeProto) -> int:
    """Return the position of the first state of a Scan; before opset 9 the optional sequence lengths precede it."""
    return 1 if node.input[:1] == [""] else 0


def _initial(node: onnx.NodeProto) -> list[str] | None:
    """Return the initial states of a recurrent operator, or None for other operators and loops that carry nothing."""
    if node.op_type in _RECURRENT:
        return [name for given, _ in _RECURRENT[node.op_type] for name in node.input[given : given + 1] if name]
    carried: list[str] = []
    if node.op_type == "Loop":
        carried = list(node.input[2:])
    if node.op_type == "Scan":
        carried = list(node.input[_first_state(node) : max(0, len(node.input) - _scanned(node))])
    return carried or None


def _origins(
    name: str, makers: Mapping[str, onnx.NodeProto], ends: Iterable[str] = (), views: Iterable[str] = frozenset(_VIEWS)
) -> set[str]:
    """Return the tensors of which `name` is a rearrangement. ends: tensors at which the search stops."""
    found, waiting, ends, views = set(), [name], {*ends}, {*views}
    while waiting:
        here = waiting.pop()
        if here in found:
            continue
        found.add(here)
        node = makers.get(here)
        if node is not None and here not in ends and node.op_type in views:
            waiting += node.input if node.op_type == "Concat" else node.input[:1]
    return found


def _reached(graph: onnx.GraphProto, sources: Iterable[str]) -> set[str]:
    """Return every tensor that depends on one of `sources`, including those in branches and loop bodies."""
    readers: dict[str, set[str]] = {}
    _add_readers(graph, readers)
    reached, waiting = set(), list(sources)
    while waiting:
        here = waiting.pop()
        if here not in reached:
            reached.add(here)
            waiting += readers.get(here, ())
    return reached


def _add_readers(graph: onnx.GraphProto, readers: dict[str, set[str]]) -> None:
    for node in graph.node:
        made = set(node.output)
        for inner in subgraphs(node):
            _add_readers(inner, readers)
            made.update(value.name for value in inner.input)
            for value in inner.output:
                readers.setdefault(value.name, set()).update(node.output)
            for name in (name for below in all_nodes(inner) for name in below.input):
                readers.setdefault(name, set()).update(node.output)
        for name in node.input:
            readers.setdefault(name, set()).update(made)


def _known(graph: onnx.GraphProto) -> dict[str, onnx.TensorProto]:
    """Return the constants of a graph, and of its branches and loop bodies."""
    found = dict(initializers(graph))
    for node in graph.node:
        for inner in subgraphs(node):
            found.update(_known(inner))
    return found


def _draws(node: onnx.NodeProto, constants: Mapping[str, onnx.TensorProto]) -> bool:
    """Return whether a Dropout may be in training mode."""
    if len(node.input) <= _TRAINING or not node.input[_TRAINING]:
        return False
    mode = constants.get(node.input[_TRAINING])
    values = None if mode is None else elements(mode)
    return values is None or bool(values.any())


def _name(node: onnx.NodeProto) -> str:
    """Return the name of an operator in the file: its own, or that of its first output."""
    return node.name or next((name for name in node.output if name), "without a name")
