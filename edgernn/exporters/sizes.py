"""Graphs of a network with fixed sizes in place of named axes, for targets that have no free axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from edgernn.contract import Array, Contract, FromSteps, GraphSpec, TensorSpec
from edgernn.models import Graph, HeldOut

__all__ = ["advised", "at_sizes", "fixed_sizes", "held_out_at", "padded_axes", "resize"]


def advised(graphs: Sequence[Graph]) -> dict[str, int]:
    """Return the sizes of named axes that graphs advise for targets without free axes."""
    return {axis: size for graph in graphs for axis, size in graph.sizes.items()}


def at_sizes(graphs: Sequence[Graph], sizes: Mapping[str, int]) -> tuple[Graph, ...]:
    """Return graphs whose contracts have fixed sizes in place of these named axes."""
    return tuple(replace(graph, spec=graph.spec.at(sizes)) for graph in graphs) if sizes else tuple(graphs)


def fixed_sizes(graphs: Sequence[Graph], contract: Contract) -> dict[str, int]:
    """Return the sizes that a contract has in place of named axes of the graphs of a network."""
    fixed = {spec.name: {**spec.feeds, **spec.results} for spec in contract.graphs}
    sizes: dict[str, int] = {}
    for graph in graphs:
        for name, tensor in {**graph.spec.feeds, **graph.spec.results}.items():
            other = fixed.get(graph.spec.name, {}).get(name, tensor)
            pairs = zip(tensor.axes, other.axes, strict=False)
            sizes |= {axis: size for axis, size in pairs if isinstance(axis, str) and isinstance(size, int)}
    return sizes


def padded_axes(specs: Sequence[GraphSpec]) -> set[str]:
    """Return the named axes that count the steps of a graph: shorter sequences are padded with zeros along them."""
    sources = (source for spec in specs for source in spec.sources.values())
    return {source.axis for source in sources if isinstance(source, FromSteps)}


def held_out_at(held_out: HeldOut | None, graphs: Sequence[Graph], sizes: Mapping[str, int]) -> HeldOut | None:
    """Return held-out data whose inputs of graphs without states have these sizes of named axes.

    graphs: as they are without fixed sizes.
    """
    if held_out is None or not sizes:
        return held_out
    tensors = {tensor.name: tensor for graph in graphs if not graph.spec.states for tensor in graph.spec.inputs}

    def fitted(parts: Sequence[Mapping[str, Array]]) -> list[dict[str, Array]]:
        return [
            {name: resize(tensors[name], array, sizes) if name in tensors else array for name, array in part.items()}
            for part in parts
        ]

    return replace(held_out, begin=fitted(held_out.begin), calibration=fitted(held_out.calibration))


def resize(tensor: TensorSpec, array: Array, sizes: Mapping[str, int], *, crop: bool = False) -> Array:
    """Return an array with these sizes of the named axes of its tensor, by repeating rows or leaving some out.

    crop: leave out the last rows, instead of some everywhere.
    """
    for place, axis in enumerate(tensor.axes):
        if isinstance(axis, str) and axis in sizes:
            old, new = array.shape[place], sizes[axis]
            rows = np.arange(new) if crop and new <= old else np.arange(new) * old // new
            array = np.take(array, rows, axis=place)
    return array
