"""Contracts as plain JSON values, as manifests and graph files store them.

In JSON `max_sizes` is called `largest`. Keys without a value are left out. Keys are never renamed, because the digests
of bundles are computed from this text.
"""

from __future__ import annotations

import json
from typing import Any

from edgernn import records
from edgernn.contract.declaration import (
    ZEROS,
    ConditionSpec,
    Contract,
    FromFile,
    FromGraph,
    FromSteps,
    GraphSpec,
    Initial,
    StateSpec,
    TensorSpec,
    check_name,
)
from edgernn.errors import ContractError

__all__ = ["canonical_json", "contract_from_json", "contract_to_json", "graph_from_json", "graph_to_json"]

_REQUIRED = {"name", "dtype", "axes"}
_OPTIONAL = {"bound", "low", "largest", "kind", "rate", "delay"}


def canonical_json(contract: Contract) -> str:
    """Return the canonical text of a contract: equal contracts have equal texts."""
    return json.dumps(contract_to_json(contract), sort_keys=True, separators=(",", ":"))


def contract_to_json(contract: Contract) -> dict[str, Any]:
    """Return a contract as plain JSON values."""
    return {"graphs": [graph_to_json(graph) for graph in contract.graphs]}


def contract_from_json(value: Any) -> Contract:
    """Read what `contract_to_json` wrote. Raises FormatError or ContractError for anything else."""
    graphs = records.items(records.record(value, "a contract", {"graphs"})["graphs"], "graphs")
    return Contract(tuple(graph_from_json(graph) for graph in graphs))


def graph_to_json(graph: GraphSpec) -> dict[str, Any]:
    """Return the specification of a graph as plain JSON values."""
    return {
        "name": graph.name,
        "inputs": [_tensor_to_json(spec) for spec in graph.inputs],
        "conditions": [_condition_to_json(spec) for spec in graph.conditions],
        "states": [_state_to_json(spec) for spec in graph.states],
        "outputs": [_tensor_to_json(spec) for spec in graph.outputs],
    }


def graph_from_json(value: Any) -> GraphSpec:
    """Read what `graph_to_json` wrote. Raises FormatError or ContractError for anything else."""
    values = records.record(value, "a graph", {"name", "inputs", "conditions", "states", "outputs"})
    tensors = {part: records.items(values[part], part) for part in ("inputs", "conditions", "states", "outputs")}
    return GraphSpec(
        name=values["name"],
        inputs=tuple(map(_tensor_from_json, tensors["inputs"])),
        conditions=tuple(map(_condition_from_json, tensors["conditions"])),
        states=tuple(map(_state_from_json, tensors["states"])),
        outputs=tuple(map(_tensor_from_json, tensors["outputs"])),
    )


def _tensor_to_json(spec: TensorSpec) -> dict[str, Any]:
    record: dict[str, Any] = {"name": spec.name, "dtype": spec.dtype, "axes": list(spec.axes)}
    if spec.bound is not None:
        record["bound"] = spec.bound
    if spec.low is not None:
        record["low"] = spec.low
    if spec.max_sizes:
        record["largest"] = dict(spec.max_sizes)
    if spec.kind:
        record["kind"] = spec.kind
    if spec.rate is not None:
        record["rate"] = spec.rate
    if spec.delay:
        record["delay"] = spec.delay
    return record


def _condition_to_json(spec: ConditionSpec) -> dict[str, Any]:
    return {**_tensor_to_json(spec), "source": None if spec.source is None else _source_to_json(spec.source)}


def _state_to_json(spec: StateSpec) -> dict[str, Any]:
    pair = {"input": spec.input, "output": spec.output}
    return {**_tensor_to_json(spec), **pair, "initial": _source_to_json(spec.initial)}


def _source_to_json(source: Initial | FromSteps) -> Any:
    if isinstance(source, FromSteps):
        return {"graph": source.graph, "output": source.output, "axis": source.axis}
    if isinstance(source, FromGraph):
        return {"graph": source.graph, "output": source.output}
    return {"file": source.file} if isinstance(source, FromFile) else "zeros"


def _tensor_from_json(value: Any) -> TensorSpec:
    return TensorSpec(**_tensor_values(records.record(value, "a tensor", _REQUIRED, _OPTIONAL)))


def _condition_from_json(value: Any) -> ConditionSpec:
    values = records.record(value, "a condition", {*_REQUIRED, "source"}, _OPTIONAL)
    source = values.pop("source")
    if source is not None:
        source = _source_from_json(source)
        if not isinstance(source, FromGraph | FromSteps):
            raise ContractError(f"condition {str(values['name'])[:100]!r}: its source is not a graph")
    return ConditionSpec(**_tensor_values(values), source=source)


def _state_from_json(value: Any) -> StateSpec:
    values = records.record(value, "a state", {*_REQUIRED, "initial", "input", "output"}, _OPTIONAL)
    pair = {end: values.pop(end) for end in ("input", "output")}
    for end, name in pair.items():
        check_name(name, f"the {end} of a state")
    initial = _source_from_json(values.pop("initial"))
    if isinstance(initial, FromSteps):
        raise ContractError(f"state {str(values['name'])[:100]!r}: a state does not start as the steps of a graph")
    return StateSpec(**_tensor_values(values), initial=initial, **pair)


def _source_from_json(value: Any) -> Initial | FromSteps:
    if value == "zeros":
        return ZEROS
    if isinstance(value, dict) and "file" in value:
        return FromFile(records.text(records.record(value, "an initial value", {"file"})["file"], "file"))
    values = records.record(value, "an initial value", {"graph", "output"}, {"axis"})
    graph, output = records.text(values["graph"], "graph"), records.text(values["output"], "output")
    return (
        FromSteps(graph, output, records.text(values["axis"], "axis")) if "axis" in values else FromGraph(graph, output)
    )


def _tensor_values(values: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments that every kind of tensor takes, from a record that has its required keys."""
    return {
        "name": values["name"],
        "dtype": values["dtype"],
        "axes": tuple(records.items(values["axes"], "axes")),
        "bound": values.get("bound"),
        "low": values.get("low"),
        "max_sizes": records.mapping(values.get("largest", {}), "largest"),
        "kind": records.text(values.get("kind", ""), "kind"),
        "rate": values.get("rate"),
        "delay": values.get("delay", 0),
    }
