"""TorchScript's lite interpreter, the engine of PyTorch Mobile. Legacy. It needs torch, so it is on the host side."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch

from edgernn.contract import Array, GraphSpec
from edgernn.engines.tensors import call, set_threads
from edgernn.errors import EngineError, first_line
from edgernn.execution import DEFAULT, Execution
from edgernn.runtime.engine import NO_FILES

__all__ = ["TorchScriptEngine"]


class TorchScriptEngine:
    """A `.ptl` graph in the lite interpreter."""

    target: ClassVar[str] = "torchscript"

    def __init__(
        self, graph: bytes, spec: GraphSpec, execution: Execution = DEFAULT, files: Mapping[str, bytes] = NO_FILES
    ) -> None:
        set_threads(execution, "torch")
        try:
            from torch.jit.mobile import _load_for_lite_interpreter
        except ImportError:
            raise EngineError(f"torch {torch.__version__} runs TorchScript files no more: use an older one") from None
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                arguments = torch.jit.load(io.BytesIO(graph), map_location="cpu").forward.schema.arguments[1:]
                self._module = _load_for_lite_interpreter(io.BytesIO(graph))
        except Exception as error:  # noqa: BLE001 - torch raises exceptions of any type
            raise EngineError(f"graph {spec.name} cannot be loaded: {first_line(error)}") from None
        # The interpreter reads past the end of its stack if it is called with a wrong number of arguments.
        if len(arguments) != len(spec.input_names):
            raise EngineError(
                f"graph {spec.name} takes {len(arguments)} tensors; its contract says {len(spec.input_names)}"
            )
        self._spec = spec

    def run(self, feeds: Mapping[str, Array]) -> Sequence[Array]:
        """Return outputs and next states in the order of the specification. Raises EngineError if the graph fails."""
        return call(self._module, self._spec, feeds)
