"""The interface of every trainable network: the graphs that are deployed."""

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

    module: its forward takes the inputs, conditions and states of `spec` in order, and returns outputs and next states.
    source: the network as it was trained, called like `module`, which the artifact must match; `module` by default.
    tensors: the initial states that `spec` reads from files of the bundle, by file name.
    examples: real inputs, with which the ranges of activations are calibrated.
    convolutions: whether the graph has convolutions; None to find out by calling it.
    exact: names of matrices of `module` that stay in single precision at every precision.
    sizes: of named axes, for targets whose graphs have no free axes.
    chaotic: whether differences of rounding grow from step to step without limit. The parity gate then lets the
        artifact take each step from the states of the source, and golden vectors have one step.
    """

    spec: GraphSpec
    module: nn.Module
    source: nn.Module
    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    examples: Sequence[Mapping[str, Array]] = ()
    convolutions: bool | None = None
    exact: Sequence[str] = ()
    sizes: Mapping[str, int] = field(default_factory=dict)
    chaotic: bool = False

    def files(self) -> dict[str, bytes]:
        """Return `tensors` as the `.npy` files of a bundle."""
        return {name: to_npy(tensor.detach().cpu().numpy()) for name, tensor in self.tensors.items()}


class Network(nn.Module, ABC):
    """A trainable network that declares the graphs in which it is deployed."""

    task: str

    @abstractmethod
    def graphs(self) -> tuple[Graph, ...]:
        """Return the graphs of the network's bundle."""


def weights_digest(module: nn.Module, contract: Contract) -> str:
    """Return the SHA-256 of the weights, sorted by name, and of the contract, which identifies a deployed network.

    Elements are hashed in little-endian order, which all machines that torch supports use.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        kind, flat = str(tensor.dtype).removeprefix("torch."), tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(f"{name} {kind} {tuple(tensor.shape)}\n".encode())
        digest.update(flat.view(torch.uint8).numpy().tobytes())
    digest.update(canonical_json(contract).encode())
    return digest.hexdigest()
