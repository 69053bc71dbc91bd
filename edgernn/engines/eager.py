"""A network itself as an engine: what artifacts are compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import nn

from edgernn.contract import Array, GraphSpec
from edgernn.engines.tensors import call

__all__ = ["EagerEngine"]


class EagerEngine:
    """Runs a module whose forward takes and returns the tensors of `spec` in order."""

    def __init__(self, module: nn.Module, spec: GraphSpec) -> None:
        self._module = module
        self._spec = spec

    def run(self, feeds: Mapping[str, Array]) -> Sequence[Array]:
        """Outputs and next states in the order of the specification. Raises EngineError if the module fails."""
        return call(self._module, self._spec, feeds)
