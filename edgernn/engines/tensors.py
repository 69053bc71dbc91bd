"""Call functions on torch tensors with numpy arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from edgernn.contract import Array, GraphSpec
from edgernn.errors import EngineError, few, first_line
from edgernn.execution import Execution

__all__ = ["call", "refuse_providers", "set_threads"]


def set_threads(execution: Execution, engine: str) -> None:
    """Let torch use as many threads as `execution` says, in the whole process.

    Raises EngineError if it names providers, which belong to onnxruntime. engine: what runs the graph.
    """
    refuse_providers(execution, engine)
    if execution.threads is not None:
        torch.set_num_threads(execution.threads)


def refuse_providers(execution: Execution, engine: str) -> None:
    """Raise EngineError if `execution` names providers, which belong to onnxruntime. engine: what runs the graph."""
    if execution.providers:
        raise EngineError(f"providers belong to onnxruntime, and {engine} runs this graph: leave out --provider")


@torch.no_grad()
def call(module: Callable[..., Any], spec: GraphSpec, feeds: Mapping[str, Array]) -> Sequence[Array]:
    """Return outputs and next states of `module`, in the order of `spec`.

    Raises EngineError if the call fails, or does not return the tensors that `spec` declares.
    """
    try:
        results = module(*(torch.from_numpy(feeds[name]) for name in spec.input_names))
    except Exception as error:  # noqa: BLE001 - modules raise exceptions of any type
        raise EngineError(f"graph {spec.name} failed: {first_line(error)}") from None
    arrays = [t.numpy() for t in (results if isinstance(results, tuple) else (results,)) if isinstance(t, torch.Tensor)]
    expected = [str(tensor.numpy_dtype) for tensor in spec.results.values()]
    if [str(array.dtype) for array in arrays] != expected:
        raise EngineError(
            f"graph {spec.name} returns {few(str(array.dtype) for array in arrays) or 'no tensors'}; "
            f"its contract says {few(expected)} for {few(spec.output_names)}"
        )
    return arrays
