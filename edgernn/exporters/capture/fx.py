"""Rewrite the graphs that torch.export makes."""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import Tensor, fx
from torch.export import ExportedProgram

__all__ = ["constant", "constants", "fold", "forget_unused", "place_constant", "written_out"]

_aten = torch.ops.aten
_RECURRENT = (
    *(_aten.lstm.input, _aten.gru.input, _aten.rnn_tanh.input, _aten.rnn_relu.input),
    *(_aten.lstm_cell.default, _aten.gru_cell.default, _aten.rnn_tanh_cell.default, _aten.rnn_relu_cell.default),
)
_SPLITS = (
    *(_aten.split.Tensor, _aten.unsafe_split.Tensor, _aten.chunk.default, _aten.unsafe_chunk.default),
    *(_aten.split_with_sizes.default, _aten.split.sizes),
)


def written_out(program: ExportedProgram) -> fx.GraphModule:
    """Return the graph of `program` with recurrent layers decomposed to products, and splits replaced by slices.

    ExecuTorch's lowering fixes the batch size of a split.
    """
    if any(node.target in _RECURRENT for node in program.graph.nodes):
        table = torch.export.default_decompositions()
        program = program.run_decompositions({op: table[op] for op in _RECURRENT if op in table})
    graph = program.module(check_guards=False)
    assert isinstance(graph, fx.GraphModule)
    for node in list(graph.graph.nodes):
        if node.target in _SPLITS:
            _slice(graph, node)
    graph.graph.eliminate_dead_code()
    graph.recompile()
    return graph


def _slice(graph: fx.GraphModule, split: Any) -> None:
    """Replace `split` by a slice for each part that the graph uses, if their sizes are fixed."""
    axis = split.args[2] if len(split.args) > 2 else split.kwargs.get("dim", 0)
    sizes = [part.shape[axis] for part in split.meta["val"]]
    if not all(isinstance(size, int) for size in sizes):
        return
    for user in list(split.users):
        if user.target is not operator.getitem:
            return
        place = user.args[1]
        first = sum(sizes[:place])
        with graph.graph.inserting_before(user):
            part = graph.graph.call_function(_aten.slice.Tensor, (split.args[0], axis, first, first + sizes[place]))
        part.meta = dict(user.meta)
        user.replace_all_uses_with(part)
        graph.graph.erase_node(user)


def constant(program: fx.GraphModule, name: str) -> Tensor:
    """Return the parameter, buffer or lifted constant of this name."""
    owner, _, attribute = name.rpartition(".")
    tensor: Tensor = getattr(program.get_submodule(owner), attribute)
    return tensor.detach()


def constants(program: fx.GraphModule) -> dict[str, Tensor]:
    """Return the tensors that the graph takes from its module, by name."""
    names = dict.fromkeys(str(node.target) for node in program.graph.nodes if node.op == "get_attr")
    found = {name: _attribute(program, name) for name in names}
    return {name: tensor.detach() for name, tensor in found.items() if isinstance(tensor, Tensor)}


def _attribute(program: fx.GraphModule, name: str) -> Any:
    owner, _, attribute = name.rpartition(".")
    return getattr(program.get_submodule(owner), attribute)


def place_constant(program: fx.GraphModule, name: str, tensor: Tensor) -> fx.Node:
    """Return a new node for `tensor`, stored in the module as `name`; an insertion point must be set."""
    program.register_buffer(name, tensor.contiguous())
    return program.graph.get_attr(name)


def fold(program: fx.GraphModule) -> dict[str, str]:
    """Replace nodes that depend only on constants by their values, unless these are larger than the constants.

    Returns, for each new constant, the name of the largest constant that it was computed from; parameters come first.
    """
    values: dict[Any, Tensor] = {}
    sources: dict[Any, frozenset[str]] = {}
    for node in program.graph.nodes:
        if node.op == "get_attr" and isinstance(tensor := _attribute(program, str(node.target)), Tensor):
            values[node], sources[node] = tensor.detach(), frozenset({str(node.target)})
        elif node.op == "call_function" and node.all_input_nodes and _is_pure(node, values):
            given = {each: values[each] for each in node.all_input_nodes}
            result = node.target(*fx.map_arg(node.args, given.get), **fx.map_arg(node.kwargs, given.get))
            if isinstance(result, Tensor):
                values[node] = result
                sources[node] = frozenset().union(*(sources[each] for each in node.all_input_nodes))
    names: dict[str, str] = {}
    parameters = dict(program.named_parameters())
    for node in list(program.graph.nodes):
        if node.op != "call_function" or node not in values or all(user in values for user in node.users):
            continue
        known = {name: constant(program, name).numel() for name in sources[node]}
        if values[node].numel() > sum(known.values()):
            continue
        name = f"folded_{len(names)}"
        names[name] = max(sorted(known), key=lambda each: (each in parameters, known[each]))
        with program.graph.inserting_before(node):
            new = place_constant(program, name, values[node])
        new.meta = dict(node.meta)
        node.replace_all_uses_with(new, delete_user_cb=lambda user: user not in values)
    forget_unused(program)
    return names


def _is_pure(node: Any, values: dict[Any, Tensor]) -> bool:
    """Return whether `node` always computes the same from the same constants."""
    tags = getattr(node.target, "tags", ())
    return torch.Tag.nondeterministic_seeded not in tags and all(each in values for each in node.all_input_nodes)


def forget_unused(program: fx.GraphModule) -> None:
    """Remove unused constants from the module."""
    program.graph.eliminate_dead_code()
    program.recompile()
    used = {node.target for node in program.graph.nodes if node.op == "get_attr"}
    for name, _ in [*program.named_parameters(), *program.named_buffers()]:
        if name not in used:
            owner, _, attribute = name.rpartition(".")
            delattr(program.get_submodule(owner), attribute)
