"""Find the weights of products among a module's matrices, by watching one call of the module."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

__all__ = ["weights_of_products"]

_PRODUCTS = {
    *("mm", "addmm", "bmm", "baddbmm", "mv", "addmv", "dot", "linear", "mkldnn_linear", "_trilinear"),
    *("convolution", "convolution_overrideable", "mkldnn_convolution"),
    *("mkldnn_rnn_layer", "_native_multi_head_attention", "_transformer_encoder_layer_fwd"),
}
_LOOKUPS = {"embedding", "index", "index_select", "_embedding_bag"}  # their first tensor is the table


def weights_of_products(module: nn.Module, inputs: Sequence[Tensor]) -> set[str]:
    """Return the parameters and buffers that are operands of products, convolutions, recurrent layers or embeddings.

    An operand may be the tensor itself, a view of it, or computed from it and other constants.
    """
    tensors = [*module.named_parameters(remove_duplicate=False), *module.named_buffers(remove_duplicate=False)]
    with _Uses({_place(tensor) for _, tensor in tensors}) as uses:
        module(*inputs)
    return {name for name, tensor in tensors if _place(tensor) in uses.found}


def _place(tensor: Tensor) -> int:
    return int(tensor.untyped_storage().data_ptr())


class _Uses(TorchDispatchMode):
    """Records the operands of operators. found: the storages of constants that are operands of products."""

    def __init__(self, constants: Collection[int]) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # torch declares no types of it
        self.found: set[int] = set()
        self._sources = {place: {place} for place in constants}
        self._held: list[Tensor] = []  # so that no storage takes the place of another

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run the operator."""
        result = func(*args, **(kwargs or {}))
        name = func._schema.name.removeprefix("aten::")
        given = list(_tensors((args, kwargs)))
        if name in _PRODUCTS or name in _LOOKUPS:
            for tensor in given[:1] if name in _LOOKUPS else given:
                self.found.update(self._sources.get(_place(tensor), ()))
        elif given and all(_place(tensor) in self._sources for tensor in given):
            sources = set().union(*(self._sources[_place(tensor)] for tensor in given))
            for tensor in _tensors(result):
                self._sources.setdefault(_place(tensor), sources)
                self._held.append(tensor)
        return result


def _tensors(values: Any) -> Iterator[Tensor]:
    return (leaf for leaf in tree_leaves(values) if isinstance(leaf, torch.Tensor))
