"""ExecuTorch's runtime, the successor of PyTorch Mobile. Its Python binding needs torch, so it is on the host side."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import torch

from edgernn.contract import Array, GraphSpec
from edgernn.engines.tensors import call, refuse_providers
from edgernn.errors import EngineError, MissingExtraError, first_line
from edgernn.execution import DEFAULT, Execution
from edgernn.runtime.engine import NO_FILES

__all__ = ["LARGEST_BATCH", "ExecuTorchEngine", "silent"]

LARGEST_BATCH = 64  # streams; ExecuTorch plans memory for this batch size when a graph is exported


class ExecuTorchEngine:
    """A `.pte` graph in ExecuTorch's portable runtime with XNNPACK. Concurrent calls are serialised by a lock."""

    target: ClassVar[str] = "executorch"

    def __init__(
        self, graph: bytes, spec: GraphSpec, execution: Execution = DEFAULT, files: Mapping[str, bytes] = NO_FILES
    ) -> None:
        refuse_providers(execution, "ExecuTorch")
        with silent():
            try:
                from executorch.runtime import Runtime
            except ImportError as error:
                raise MissingExtraError(error.name or "executorch", "executorch") from None
            if execution.threads is not None:
                _set_threads(execution.threads)
            try:
                self._program = Runtime.get().load_program(graph)
                self._method = self._program.load_method("forward")
                count = self._method.metadata.num_inputs()
            except Exception as error:  # noqa: BLE001 - ExecuTorch raises exceptions of any type
                raise EngineError(f"graph {spec.name} cannot be loaded: {first_line(error)}") from None
        if count != len(spec.input_names):
            raise EngineError(f"graph {spec.name} takes {count} tensors; its contract says {len(spec.input_names)}")
        self._graph = graph  # kept alive, since the runtime reads the bytes in place
        self._spec = spec
        self._turn = threading.Lock()
        self._has_run = False

    def run(self, feeds: Mapping[str, Array]) -> Sequence[Array]:
        """Return outputs and next states in the order of the specification. Raises EngineError if the graph fails."""
        for name, tensor in self._spec.feeds.items():
            if tensor.batch_axis is not None and feeds[name].shape[tensor.batch_axis] > LARGEST_BATCH:
                raise EngineError(f"graph {self._spec.name} takes at most {LARGEST_BATCH} streams at once")
        with self._turn:
            if self._has_run:
                return call(self._execute, self._spec, feeds)
            with silent():  # at its first step the runtime prints what it detects about the processor
                self._has_run = True
                return call(self._execute, self._spec, feeds)

    def _execute(self, *tensors: torch.Tensor) -> tuple[Any, ...]:
        # Copies, since the next call overwrites the memory of the outputs.
        return tuple(t.clone() for t in self._method.execute([tensor.contiguous() for tensor in tensors]))


def _set_threads(threads: int) -> None:
    """Let ExecuTorch use so many threads, in the whole process. Raises EngineError if this version cannot."""
    try:
        from executorch.extension.pybindings.portable_lib import _unsafe_reset_threadpool
    except ImportError:
        raise EngineError("this version of ExecuTorch does not let Python set threads: leave out --threads") from None
    _unsafe_reset_threadpool(threads)


@contextmanager
def silent() -> Iterator[None]:
    """Silence what ExecuTorch prints, also from C++."""
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
