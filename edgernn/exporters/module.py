"""Export any PyTorch module as a bundle."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from edgernn.contract import Contract, FromFile, GraphSpec
from edgernn.errors import ConfigError
from edgernn.exporters.export import Exported, export
from edgernn.exporters.gate.prove import STEPS
from edgernn.exporters.gate.real_inputs import Examples
from edgernn.exporters.quantization import Quantization
from edgernn.models import Graph, Network, Source

__all__ = ["export_module"]


def export_module(
    module: nn.Module | Mapping[str, nn.Module],
    contract: Contract | GraphSpec,
    *,
    out: str | Path,
    target: str = "onnx",
    precision: str | Quantization = "fp32",
    initial: Mapping[str, Tensor] | None = None,
    assets: Mapping[str, bytes] | None = None,
    examples: Examples | None = None,
    tolerance: Mapping[str, float] | None = None,
    confirm: Collection[str] = (),
    task: str = "module",
    steps: int = STEPS,
    overwrite: bool = False,
) -> Exported:
    """Export a module, or one for each graph of `contract`, through the same gate as edgernn's own networks.

    A module's forward takes the inputs, conditions and states of its graph in the order of the contract, and returns
    outputs and next states. It is in evaluation mode while it is exported.
    initial: the tensors of states that start from a file, by the file's name in the contract. assets: files to include
    in the bundle, such as tokenizer.json, which text input and output needs, and labels.json.
    examples: real inputs, with which the gate drives the graphs and int8 calibrates activations: a sequence with a
    mapping from input name to array for each step of one stream, a sequence of such sequences for several streams, or a
    function from the number of a step to its mapping. Without examples the gate uses random numbers within the limits
    of the contract.
    tolerance: limits of the gate (`edgernn.runtime.parity.Tolerance`) by name, which replace those of the precision.
    confirm: names of states and attributes whose ExportWarning the caller has checked and suppresses.
    Raises ConfigError if the modules are not those of the contract's graphs, ExportError for a module that does not do
    what its contract says, and what `export` raises.
    """
    if isinstance(contract, GraphSpec):
        contract = Contract((contract,))
    if isinstance(module, nn.Module):
        module = {contract.graphs[0].name: module}
    if not all(isinstance(each, nn.Module) for each in module.values()):
        raise ConfigError("a graph needs an nn.Module: wrap a function in one")
    names = {graph.name for graph in contract.graphs}
    if strangers := sorted(set(module) ^ names):
        raise ConfigError(f"{strangers[0]} is {'a graph without a module' if strangers[0] in names else 'no graph'}")
    network = _Modules(module, contract, dict(initial or {}), task)
    source = Source(network, dict(assets or {}))
    training = [each for each in network.modules() if each.training]
    network.eval()
    try:
        return export(
            source,
            out,
            target=target,
            precision=precision,
            steps=steps,
            overwrite=overwrite,
            examples=examples,
            tolerance=tolerance,
            confirm=confirm,
        )
    finally:
        for each in training:
            each.training = True


class _Modules(Network):
    def __init__(
        self,
        modules: Mapping[str, nn.Module],
        contract: Contract,
        initial: Mapping[str, Tensor],
        task: str,
    ) -> None:
        super().__init__()
        self.parts = nn.ModuleList(modules[spec.name] for spec in contract.graphs)
        self.contract, self.initial, self.task = contract, initial, task

    def graphs(self) -> tuple[Graph, ...]:
        """Return a graph for each module."""
        return tuple(self._graph(spec, part) for spec, part in zip(self.contract.graphs, self.parts, strict=True))

    def _graph(self, spec: GraphSpec, module: nn.Module) -> Graph:
        files = [state.initial.file for state in spec.states if isinstance(state.initial, FromFile)]
        if missing := [file for file in files if file not in self.initial]:
            raise ConfigError(f"the initial value {missing[0]} is missing")
        tensors = {file: torch.as_tensor(self.initial[file]) for file in files}
        return Graph(spec, module, module, tensors)
