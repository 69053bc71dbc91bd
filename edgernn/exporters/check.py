"""Whether a module does what its contract says, before anything is exported."""

from __future__ import annotations

import numpy as np
import torch

from edgernn.contract import Array, GraphSpec
from edgernn.errors import ExportError
from edgernn.exporters.target import reason
from edgernn.models import Graph
from edgernn.runtime.parity import example

__all__ = ["check_graph"]

_DRAWS = 3


def check_graph(graph: Graph) -> None:
    """Call the module with tensors that its contract allows.

    Raises ExportError, naming the tensor, if it refuses them, returns others than its contract declares, or ignores a
    state: one that never comes in was forgotten somewhere.
    """
    spec = graph.spec
    for batch in (1, 3) if spec.batched else (1,):
        feeds = example(spec.feeds, batch, np.random.default_rng(batch))
        _check_results(spec, _call(graph, feeds), feeds)
    ignored = {state.input for state in spec.states}
    for seed in range(_DRAWS):
        feeds, others = (example(spec.feeds, 1, np.random.default_rng((seed, n))) for n in (0, 1))
        results = _call(graph, feeds)
        for name in list(ignored):
            changed = _call(graph, {**feeds, name: others[name]})
            if not all(torch.equal(a, b) for a, b in zip(results, changed, strict=True)):
                ignored.discard(name)
    if ignored:
        raise ExportError(f"graph {spec.name} ignores the state that it is given as {', '.join(sorted(ignored))}")


@torch.no_grad()
def _call(graph: Graph, feeds: dict[str, Array]) -> tuple[torch.Tensor, ...]:
    try:
        results = graph.module(*(torch.from_numpy(feeds[name]) for name in graph.spec.input_names))
    except Exception as error:  # whatever a module's own code raises
        shapes = ", ".join(f"{name} {array.dtype}{list(array.shape)}" for name, array in feeds.items())
        raise ExportError(f"graph {graph.spec.name} refuses {shapes}: {reason(error)}") from error
    return results if isinstance(results, tuple) else (results,)


def _check_results(spec: GraphSpec, results: tuple[torch.Tensor, ...], feeds: dict[str, Array]) -> None:
    declared = spec.results
    if len(results) != len(declared) or not all(isinstance(result, torch.Tensor) for result in results):
        kinds = ", ".join(type(result).__name__ for result in results)
        raise ExportError(f"graph {spec.name} returns {kinds or 'nothing'}; its contract says {', '.join(declared)}")
    sizes: dict[str, int] = {}
    for name, tensor in spec.feeds.items():
        named = zip(tensor.axes, feeds[name].shape, strict=True)
        sizes.update((axis, size) for axis, size in named if isinstance(axis, str))
    for (name, tensor), result in zip(declared.items(), results, strict=True):
        expected = [sizes.get(axis) if isinstance(axis, str) else axis for axis in tensor.axes]
        fits = len(expected) == result.ndim and all(e in (None, a) for e, a in zip(expected, result.shape, strict=True))
        dtype = str(result.dtype).removeprefix("torch.")
        if not fits or dtype != tensor.dtype:
            raise ExportError(
                f"graph {spec.name}: {name} is {dtype}{list(result.shape)}; "
                f"its contract says {tensor.dtype}[{', '.join(map(str, tensor.axes))}]"
            )
