"""TorchScript's lite interpreter: what PyTorch Mobile runs. Legacy; it needs torch, so it lives on the host."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch

from edgernn.contract import Array, GraphSpec
from edgernn.errors import EngineError

__all__ = ["TorchScriptEngine"]


class TorchScriptEngine:
    """A `.ptl` graph in the lite interpreter."""

    target: ClassVar[str] = "torchscript"

    def __init__(self, graph: bytes, spec: GraphSpec) -> None:
        from torch.jit.mobile import _load_for_lite_interpreter  # moves, and will go, with torch's versions

        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                self._module = _load_for_lite_interpreter(io.BytesIO(graph))
        except RuntimeError as error:
            raise EngineError(f"graph {spec.name} cannot be loaded: {_first_line(error)}") from None
        self._spec = spec

    @torch.no_grad()
    def run(self, feeds: Mapping[str, Array]) -> Sequence[Array]:
        """Outputs and next states in the order of the specification. Raises EngineError if the graph fails."""
        try:
            results = self._module(*(torch.from_numpy(feeds[name]) for name in self._spec.input_names))
        except RuntimeError as error:
            raise EngineError(f"graph {self._spec.name} failed: {_first_line(error)}") from None
        return [result.numpy() for result in (results if isinstance(results, tuple) else (results,))]


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0]
