"""The kinds of tensors in old bundles of language and caption models, where the tensor's name implies the kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from edgernn.contract.declaration import BATCH, KINDS, Contract, TensorSpec

__all__ = ["with_kinds"]

_TASKS = ("language", "caption")
# By tensor name: the kind, and the number of axes of such a tensor; the batch is the first.
_INPUTS = {"token": ("token", 1), "image": ("image", 4)}
_OUTPUTS = {"logits": ("next-token", 2), "attention": ("attention", 2)}


def with_kinds(contract: Contract, task: str) -> Contract:
    """Return `contract` with the kinds that tensor names imply, for old language and caption bundles that declare none.

    A name implies a kind only if element type and axes fit too, and only in a contract in which no tensor declares a
    kind.
    """
    graphs = contract.graphs
    tensors = (tensor for graph in graphs for tensor in (*graph.feeds.values(), *graph.outputs))
    if task not in _TASKS or any(tensor.kind for tensor in tensors):
        return contract
    return Contract(
        tuple(
            replace(
                graph,
                inputs=tuple(_named(tensor, _INPUTS) for tensor in graph.inputs),
                outputs=tuple(_named(tensor, _OUTPUTS) for tensor in graph.outputs),
            )
            for graph in graphs
        )
    )


def _named(tensor: TensorSpec, names: Mapping[str, tuple[str, int]]) -> TensorSpec:
    kind, rank = names.get(tensor.name, ("", 0))
    fits = kind and tensor.dtype in KINDS[kind] and len(tensor.axes) == rank and tensor.axes[0] == BATCH
    return replace(tensor, kind=kind) if fits else tensor
