"""A network itself as an engine: what artifacts are compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from torch import nn

from edgernn.contract import Array, GraphSpec
from edgernn.engines.tensors import call
from edgernn.models import Network
from edgernn.runtime import BundleEngine

__all__ = ["EagerEngine", "as_bundle_engine"]


class EagerEngine:
    """Runs a module whose forward takes and returns the tensors of `spec` in order."""

    def __init__(self, module: nn.Module, spec: GraphSpec) -> None:
        self._module = module
        self._spec = spec

    def run(self, feeds: Mapping[str, Array]) -> Sequence[Array]:
        """Outputs and next states in the order of the specification. Raises EngineError if the module fails."""
        return call(self._module, self._spec, feeds)


def as_bundle_engine(network: Network) -> type[BundleEngine]:
    """An engine that runs `network` itself in place of an ONNX bundle of it: what bundles are measured against."""
    modules = {graph.spec.name: graph.module for graph in network.graphs()}

    class Eager(EagerEngine):
        target: ClassVar[str] = "onnx"

        def __init__(self, graph: bytes, spec: GraphSpec) -> None:
            super().__init__(modules[spec.name], spec)

    return Eager
