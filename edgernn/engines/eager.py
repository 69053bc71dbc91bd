"""A network itself as an engine: what artifacts are compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from edgernn.contract import Array, GraphSpec

__all__ = ["EagerEngine"]


class EagerEngine:
    """Runs a module whose forward takes and returns the tensors of `spec` in order."""

    def __init__(self, module: nn.Module, spec: GraphSpec) -> None:
        self._module = module
        self._spec = spec

    @torch.no_grad()
    def run(self, feeds: Mapping[str, Array]) -> Sequence[Array]:
        """Outputs and next states in the order of the specification."""
        results = self._module(*(torch.from_numpy(feeds[name]) for name in self._spec.input_names))
        return [result.numpy() for result in (results if isinstance(results, tuple) else (results,))]
