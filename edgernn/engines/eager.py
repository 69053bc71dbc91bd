"""A network in PyTorch as an engine: the source with which artifacts are compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from torch import nn

from edgernn.bundle import Bundle, Manifest
from edgernn.contract import Array, Contract, GraphSpec
from edgernn.engines.tensors import call, set_threads
from edgernn.execution import DEFAULT, Execution
from edgernn.models import Source, weights_digest
from edgernn.runtime import Model
from edgernn.runtime.engine import NO_FILES

__all__ = ["EagerEngine", "eager_model"]

_TARGET = "eager"


class EagerEngine:
    """Runs a module, without gradients, whose forward takes and returns the tensors of `spec` in order."""

    def __init__(self, module: nn.Module, spec: GraphSpec) -> None:
        self._module = module
        self._spec = spec

    def run(self, feeds: Mapping[str, Array]) -> Sequence[Array]:
        """Return outputs and next states in the order of the specification. Raises EngineError if the module fails."""
        return call(self._module, self._spec, feeds)


def eager_model(source: Source, execution: Execution = DEFAULT) -> Model:
    """The network itself, on the CPU, driven as a bundle of it is: what `evaluate RUN` measures.

    Its graphs are the modules that would be exported. Raises BundleError or TokenizerError if contract and assets do
    not fit each other.
    """
    graphs = source.network.graphs()
    modules = {graph.spec.name: graph.module for graph in graphs}
    contract = Contract(tuple(graph.spec for graph in graphs))

    class Eager(EagerEngine):
        target: ClassVar[str] = _TARGET

        def __init__(
            self, graph: bytes, spec: GraphSpec, execution: Execution = DEFAULT, files: Mapping[str, bytes] = NO_FILES
        ) -> None:
            set_threads(execution, "torch")
            super().__init__(modules[spec.name], spec)

    manifest = Manifest(
        task=source.network.task,
        target=_TARGET,
        precision="fp32",
        digest=weights_digest(source.network, contract),
        contract=contract,
        graphs={name: name for name in modules},  # files without content, since the engine holds the modules
        provenance=source.provenance,
        parity={},
    )
    initial = {name: data for graph in graphs for name, data in graph.files().items()}
    return Model(Bundle(manifest, {**dict.fromkeys(modules, b""), **initial, **source.assets}), Eager, execution)
