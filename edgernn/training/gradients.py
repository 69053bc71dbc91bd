"""Measure how far back in time a network's gradient reaches: its norm by distance, for a run of any task.

The loss of one prediction is differentiated with respect to the state d steps before it. If the norm decreases quickly
with d, the gradient vanishes and dependencies over longer distances cannot be learned; if it grows, the gradient
explodes (Bengio et al. 1994; Pascanu et al. 2013).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from edgernn.arrays import from_npy
from edgernn.contract import BATCH, Array, FromGraph, GraphSpec
from edgernn.errors import ConfigError, counted
from edgernn.models import Graph
from edgernn.models.source import HeldOut, Source
from edgernn.training.run import Run

__all__ = ["gradient_norms", "plot_gradients", "run_gradient_norms"]

_DISTANCE = 64  # in steps, by default
_WINDOWS = 32  # positions in the held-out sequences over which norms are averaged
_WARM_UP = 32  # steps before the measurement, which bring the state to typical values


def run_gradient_norms(path: Path, distance: int | None = None) -> list[float]:
    """Return `gradient_norms` for the best weights of a run, on its held-out sequences.

    Raises RunError or ConfigError.
    """
    return gradient_norms(Run.load(path).source(), distance)


def gradient_norms(source: Source, distance: int | None = None) -> list[float]:
    """Return the mean norm of the gradient with respect to the state d steps earlier, for d from 1 to `distance`.

    distance: in steps; by default 64, or what half of the held-out predictions have before them, if that is less.

    The gradient is that of the loss of one prediction. The norm is taken over all states and layers, in double
    precision, to which the network of `source` is converted. Raises ConfigError for a distance below 1, held-out
    sequences that are too short for it, or a network without state.
    """
    held_out = source.held_out
    if distance is not None and distance < 1:
        raise ConfigError(f"distance {distance} is not a whole number of at least 1")
    source.network.double()
    graphs = {graph.spec.name: graph for graph in source.network.graphs()}
    step = next((graph for graph in graphs.values() if graph.spec.states), None)
    if step is None or held_out is None or not held_out.targets:
        raise ConfigError("gradients cannot be measured: the network has no state, or the run has no held-out targets")
    there = _predicted(held_out)
    if distance is None:
        distance = min(_DISTANCE, int(np.median(np.nonzero(there)[1])) + 1)
    rows, ends = _windows(there, distance)
    warm = min(_WARM_UP, int(ends.min()) + 1 - distance)
    constant, state = _begin(held_out, graphs, step, rows)

    def inputs(back: int) -> list[Tensor]:
        """Return the inputs, without states, of the step that is `back` steps before the last one of each window."""
        taken = {name: torch.from_numpy(array[rows, ends - back]) for name, array in held_out.steps.items()}
        given = {**{name: _double(tensor) for name, tensor in taken.items()}, **constant}
        return [given[tensor.name] for tensor in (*step.spec.inputs, *step.spec.conditions)]

    count = len(step.spec.outputs)
    with torch.no_grad():
        for back in range(distance + warm - 1, distance - 1, -1):
            state = step.module(*inputs(back), *state)[count:]
    states = [tuple(s.detach().clone().requires_grad_() for s in state)]
    results: Sequence[Tensor] = ()
    for back in range(distance - 1, -1, -1):
        results = step.module(*inputs(back), *states[-1])
        states.append(tuple(results[count:]))
    loss = _loss(held_out, step.spec, results[:count], rows, ends)
    # This loss does not depend on the state after the last step; the state before that step has distance 1.
    wanted = [s for each in states[:-1] for s in each]
    gradients = iter(torch.autograd.grad(loss, wanted, allow_unused=True, materialize_grads=True))
    axes = [_other_axes(state.batch_axis, len(state.axes)) for state in step.spec.states]
    squares = [sum(next(gradients).square().sum(dim=other) for other in axes) for _ in states[:-1]]
    return [float(torch.as_tensor(square).sqrt().mean()) for square in reversed(squares)]


def _predicted(held_out: HeldOut) -> Array:
    """Return which steps of the held-out sequences have a target: bool (sequences, steps)."""
    targets = next(iter(held_out.targets.values()))
    flat = targets.reshape(*targets.shape[:2], -1)[:, :, 0]
    there: Array = flat >= 0 if flat.dtype.kind in "iu" else ~np.isnan(flat)
    return there


def _windows(there: Array, distance: int) -> tuple[Array, Array]:
    """Return sequences (windows,) and last steps (windows,) of evenly spaced windows that end with a target.

    there: as `_predicted` returns it.
    """
    there = there.copy()
    there[:, : min(distance - 1, there.shape[1])] = False
    rows, ends = np.nonzero(there)
    if enough := np.flatnonzero(ends >= distance + _WARM_UP - 1).tolist():
        rows, ends = rows[enough], ends[enough]
    if not len(rows):
        longest = counted(there.shape[1], "step")
        raise ConfigError(f"distance {distance} (--distance) is too far: the longest held-out sequence has {longest}")
    chosen = np.linspace(0, len(rows) - 1, min(_WINDOWS, len(rows))).astype(int)
    return rows[chosen], ends[chosen]


def _begin(
    held_out: HeldOut, graphs: Mapping[str, Graph], step: Graph, rows: Array
) -> tuple[dict[str, Tensor], tuple[Tensor, ...]]:
    """Return the conditions and the initial states of the sequences `rows`."""
    made: dict[str, dict[str, Tensor]] = {}
    for graph in graphs.values():
        if graph is not step:
            with torch.no_grad():
                each = [_run(graph, held_out.begin[row]) for row in rows]
            names = graph.spec.output_names
            made[graph.spec.name] = {name: torch.cat([outputs[name] for outputs in each]) for name in names}
    conditions = {c.name: made[c.source.graph][c.source.output] for c in step.spec.conditions if c.source is not None}
    files = {name: from_npy(data, name) for name, data in step.files().items()}
    sizes = {BATCH: len(rows)}
    states = tuple(
        made[state.initial.graph][state.initial.output]
        if isinstance(state.initial, FromGraph)
        else _double(torch.from_numpy(state.first(sizes, files)))
        for state in step.spec.states
    )
    return conditions, states


def _run(graph: Graph, given: Mapping[str, Array]) -> dict[str, Tensor]:
    results = graph.module(*(_double(torch.from_numpy(given[tensor.name])) for tensor in graph.spec.inputs))
    results = results if isinstance(results, tuple) else (results,)
    return dict(zip(graph.spec.output_names, results, strict=True))


def _double(tensor: Tensor) -> Tensor:
    return tensor.double() if tensor.is_floating_point() else tensor


def _loss(held_out: HeldOut, spec: GraphSpec, outputs: Sequence[Tensor], rows: Array, ends: Array) -> Tensor:
    """Return the sum of the losses of the last steps of all windows."""
    name, targets = next(iter(held_out.targets.items()))
    output = dict(zip((tensor.name for tensor in spec.outputs), outputs, strict=True))[name]
    target = torch.from_numpy(targets[rows, ends])
    if target.is_floating_point():
        return (output - target.double()).square().sum()
    return nn.functional.cross_entropy(output, target, reduction="sum")


def _other_axes(axis: int | None, rank: int) -> tuple[int, ...]:
    return tuple(other for other in range(rank) if other != axis)


def plot_gradients(norms: Mapping[str, Sequence[float]], out: Path) -> None:
    """Draw norms by distance on a logarithmic scale, one line for each name."""
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    for name, values in norms.items():
        axes.plot(range(1, len(values) + 1), values, label=name)
    axes.set_yscale("log")
    axes.set_xlabel("distance in time (steps)")
    axes.set_ylabel("norm of the gradient with respect to the state at that distance")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(out, dpi=120)
