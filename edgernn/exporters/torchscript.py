"""The TorchScript target: a lite-interpreter file, as PyTorch Mobile loads it. Legacy."""

from __future__ import annotations

import io
from collections import Counter

import numpy as np
import torch

from edgernn.engines import TorchScriptEngine
from edgernn.errors import EngineError, ExportError
from edgernn.exporters.target import Artifact, GraphReport, Target, quiet
from edgernn.models import Graph
from edgernn.runtime.engine import first_line
from edgernn.runtime.parity import example

__all__ = ["TORCHSCRIPT"]


def _write(graph: Graph, precision: str) -> Artifact:
    arrays = example(graph.spec.feeds, batch=2, random=np.random.default_rng(0))
    try:
        with quiet():
            traced = torch.jit.trace(graph.module, tuple(map(torch.from_numpy, arrays.values())), check_trace=False)
            data: bytes = traced._save_to_buffer_for_lite_interpreter()
    except RuntimeError as error:
        raise ExportError(f"graph {graph.spec.name} cannot be exported to TorchScript: {first_line(error)}") from error
    return Artifact(data)


def _inspect(data: bytes) -> GraphReport:
    try:
        with quiet():
            module = torch.jit.load(io.BytesIO(data), map_location="cpu")
    except RuntimeError as error:
        raise EngineError(f"this is not a TorchScript file: {first_line(error)}") from None
    nodes = module.inlined_graph.nodes()
    operators = Counter(node.kind().removeprefix("aten::") for node in nodes if node.kind().startswith("aten::"))
    return GraphReport(sum(tensor.numel() for tensor in module.parameters()), operators)


TORCHSCRIPT = Target(
    "torchscript",
    ".ptl",
    _write,
    TorchScriptEngine,
    _inspect,
    legacy="TorchScript is legacy: PyTorch deprecates it and later versions will not write it",
)
