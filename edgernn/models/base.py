"""What every trainable network offers: the graphs that it deploys as."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from edgernn.arrays import to_npy
from edgernn.contract import Array, Contract, GraphSpec, canonical_json

__all__ = ["Graph", "Network", "weights_digest"]


@dataclass(frozen=True)
class Graph:
    """One graph to export.

    module: its forward takes the inputs, conditions and states of `spec` in order, and returns outputs and states.
    source: what the artifact must equal, called like `module`; the network as it was trained, where that differs.
    tensors: the initial states that `spec` takes from files of the bundle, by file name.
    examples: real inputs, on which the ranges of its activations are measured.
    convolutions: whether it computes convolutions; None where a call of it is to show that.
    """

    spec: GraphSpec
    module: nn.Module
    source: nn.Module
    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    examples: Sequence[Mapping[str, Array]] = ()
    convolutions: bool | None = None

    def files(self) -> dict[str, bytes]:
        """`tensors` as the `.npy` files that a bundle holds."""
        return {name: to_npy(tensor.detach().cpu().numpy()) for name, tensor in self.tensors.items()}


class Network(nn.Module, ABC):
    """A trainable network that declares how it is deployed."""

    task: str

    @abstractmethod
    def graphs(self) -> tuple[Graph, ...]:
        """The graphs of its bundle."""


def weights_digest(module: nn.Module, contract: Contract) -> str:
    """SHA-256 of the weights, by name in sorted order, and of the contract: the identity of a deployed network.

    Elements are little-endian, as on every machine that torch runs on.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        kind, flat = str(tensor.dtype).removeprefix("torch."), tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(f"{name} {kind} {tuple(tensor.shape)}\n".encode())
        digest.update(flat.view(torch.uint8).numpy().tobytes())
    digest.update(canonical_json(contract).encode())
    return digest.hexdigest()
