"""Whether a module does what its contract says, before anything is exported."""

from __future__ import annotations

import numpy as np
import torch

from edgernn.contract import Array, GraphSpec, TensorSpec, select
from edgernn.errors import ExportError
from edgernn.examples import axis_sizes, example
from edgernn.exporters.target import root_cause
from edgernn.models import Graph

__all__ = ["check_graph"]

_DRAWS = 8
_STREAMS = 3
_APART = 1e-3  # of a row alone and in a batch, absolutely and in proportion: rounding is far below
_ROUNDING = 1.00001  # by which a value may pass its bound

_Results = dict[str, torch.Tensor]  # by name


def check_graph(graph: Graph) -> None:
    """Call the module with tensors that its contract allows.

    Raises ExportError, naming the tensor, if it refuses them, returns others than its contract declares or values
    beyond a bound, ignores a state or never changes it, or lets streams of a batch see each other.
    """
    spec = graph.spec
    for streams in (1, _STREAMS) if spec.batched else (1,):
        feeds = _feeds(spec, streams, seed=streams)
        results = _call(graph, feeds)
        if streams > 1:
            _check_rows(graph, feeds, results)
    _check_states(graph)


def _feeds(spec: GraphSpec, streams: int, seed: int) -> dict[str, Array]:
    return example(spec.feeds, streams, np.random.default_rng(seed), axis_sizes(spec, smallest=2 + streams))


@torch.no_grad()
def _call(graph: Graph, feeds: dict[str, Array]) -> _Results:
    """Results by name, as the contract declares them."""
    spec = graph.spec
    try:
        results = graph.module(*(torch.from_numpy(feeds[name]) for name in spec.input_names))
    except Exception as error:  # whatever a module's own code raises
        shapes = ", ".join(f"{name} {array.dtype}{list(array.shape)}" for name, array in feeds.items())
        raise ExportError(f"graph {spec.name} refuses {shapes}: {root_cause(error)}") from error
    results = results if isinstance(results, tuple) else (results,)
    if len(results) != len(spec.results) or not all(isinstance(result, torch.Tensor) for result in results):
        kinds = ", ".join(type(result).__name__ for result in results)
        raise ExportError(
            f"graph {spec.name} returns {kinds or 'nothing'}; its contract says {', '.join(spec.results)}"
        )
    named = dict(zip(spec.results, results, strict=True))
    sizes = _sizes(spec, feeds)
    for name, result in named.items():
        _check_result(spec, name, result, sizes)
    return named


def _sizes(spec: GraphSpec, feeds: dict[str, Array]) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for name, tensor in spec.feeds.items():
        named = zip(tensor.axes, feeds[name].shape, strict=True)
        sizes.update((axis, size) for axis, size in named if isinstance(axis, str))
    return sizes


def _check_result(spec: GraphSpec, name: str, result: torch.Tensor, sizes: dict[str, int]) -> None:
    tensor: TensorSpec = spec.results[name]
    expected = [sizes.get(axis) if isinstance(axis, str) else axis for axis in tensor.axes]
    fits = len(expected) == result.ndim and all(e in (None, a) for e, a in zip(expected, result.shape, strict=True))
    dtype = str(result.dtype).removeprefix("torch.")
    if not fits or dtype != tensor.dtype:
        raise ExportError(
            f"graph {spec.name}: {name} is {dtype}{list(result.shape)}; "
            f"its contract says {tensor.dtype}[{', '.join(map(str, tensor.axes))}]"
        )
    largest = float(result.abs().max()) if tensor.bound is not None and result.numel() else 0.0
    if tensor.bound is not None and largest > tensor.bound * _ROUNDING:
        raise ExportError(
            f"graph {spec.name}: {name} reaches {largest:.6g}; its contract bounds it by {tensor.bound:g}"
        )


def _check_rows(graph: Graph, feeds: dict[str, Array], together: _Results) -> None:
    spec = graph.spec
    for row in range(_STREAMS):
        alone = _call(graph, {n: select([t], {t.name: feeds[n]}, [row])[t.name] for n, t in spec.feeds.items()})
        for name, result in alone.items():
            axis = spec.results[name].batch_axis
            assert axis is not None
            expected = together[name].narrow(axis, row, 1)
            if not torch.allclose(result.double(), expected.double(), rtol=_APART, atol=_APART, equal_nan=True):
                raise ExportError(
                    f"graph {spec.name}: {name} of a stream depends on the others in its batch; "
                    f"keep them apart, or declare no batch axis"
                )


def _check_states(graph: Graph) -> None:
    spec = graph.spec
    ignored, kept = ({state.name for state in spec.states} for _ in range(2))
    for seed in range(_DRAWS):
        feeds = _feeds(spec, _STREAMS if spec.batched else 1, seed)
        results = _call(graph, feeds)
        for state in spec.states:
            same = torch.equal(results[state.output], torch.from_numpy(feeds[state.input]))
            if not same:
                kept.discard(state.name)
            if state.name in ignored:
                changed = _call(graph, {**feeds, state.input: _another(feeds[state.input], state, seed)})
                others = results.keys() - ({state.output} if same else set())
                if not all(torch.equal(results[name], changed[name]) for name in others):
                    ignored.discard(state.name)
    for state in spec.states:
        if state.name in ignored:
            raise ExportError(f"graph {spec.name} ignores the state that it is given as {state.input}")
        if state.name in kept:
            raise ExportError(f"graph {spec.name} returns {state.output} as it was given: a state has to change")


def _another(array: Array, tensor: TensorSpec, seed: int) -> Array:
    """Other values for a tensor, as far as its type has others."""
    random = np.random.default_rng((seed, 1))
    sizes = {axis: size for axis, size in zip(tensor.axes, array.shape, strict=True) if isinstance(axis, str)}
    for _ in range(_DRAWS):
        other = example({tensor.name: tensor}, sizes.get("batch", 1), random, sizes)[tensor.name]
        if not np.array_equal(other, array):
            return other
    return other
