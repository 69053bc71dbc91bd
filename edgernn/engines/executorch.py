"""ExecuTorch's runtime: the successor of PyTorch Mobile. Its Python binding needs torch, so it lives on the host."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import torch

from edgernn.contract import Array, GraphSpec
from edgernn.engines.tensors import call
from edgernn.errors import EngineError, MissingExtraError, first_line

__all__ = ["LARGEST_BATCH", "ExecuTorchEngine", "silent"]

LARGEST_BATCH = 64  # memory is planned when a graph is exported, for so many streams


class ExecuTorchEngine:
    """A `.pte` graph in ExecuTorch's portable runtime with XNNPACK. Calls from several threads take turns."""

    target: ClassVar[str] = "executorch"

    def __init__(self, graph: bytes, spec: GraphSpec) -> None:
        with silent():
            try:
                from executorch.runtime import Runtime
            except ImportError as error:
                raise MissingExtraError(error.name or "executorch", "executorch") from None
            try:
                self._program = Runtime.get().load_program(graph)
                self._method = self._program.load_method("forward")
                count = self._method.metadata.num_inputs()
            except Exception as error:  # noqa: BLE001 - the library raises what its parts raise
                raise EngineError(f"graph {spec.name} cannot be loaded: {first_line(error)}") from None
        if count != len(spec.input_names):
            raise EngineError(f"graph {spec.name} takes {count} tensors; its contract says {len(spec.input_names)}")
        self._graph = graph  # the runtime reads it in place
        self._spec = spec
        self._turn = threading.Lock()
        self._has_run = False

    def run(self, feeds: Mapping[str, Array]) -> Sequence[Array]:
        """Outputs and next states in the order of the specification. Raises EngineError if the graph fails."""
        for name, tensor in self._spec.feeds.items():
            if tensor.batch_axis is not None and feeds[name].shape[tensor.batch_axis] > LARGEST_BATCH:
                raise EngineError(f"graph {self._spec.name} takes at most {LARGEST_BATCH} streams at once")
        with self._turn:
            if self._has_run:
                return call(self._execute, self._spec, feeds)
            with silent():  # at its first step the runtime tells what it finds out about the processor
                self._has_run = True
                return call(self._execute, self._spec, feeds)

    def _execute(self, *tensors: torch.Tensor) -> tuple[Any, ...]:
        # What comes out lies in memory that the next call writes to.
        return tuple(t.clone() for t in self._method.execute([tensor.contiguous() for tensor in tensors]))


@contextmanager
def silent() -> Iterator[None]:
    """Silence what ExecuTorch prints, from C++ as well."""
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
