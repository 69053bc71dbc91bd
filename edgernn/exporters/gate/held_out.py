"""Run the graphs of a network on held-out sequences: initial states, loss, and whole generated sequences."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import takewhile
from typing import Any

import numpy as np

from edgernn.contract import BATCH, Array, GraphSpec
from edgernn.errors import ExportError
from edgernn.exporters.gate.streams import Beginnings, Engines, held_out_streams, inputs_at, take_step
from edgernn.models import Feedback, Graph, HeldOut
from edgernn.runtime import Engine
from edgernn.runtime.parity import Step, chain

__all__ = ["LossMeter", "beginnings", "held_out_loss", "sequences", "stepped"]


def held_out_loss(graphs: Sequence[Graph], engines: Engines, held_out: HeldOut) -> float:
    """Return the mean loss over all held-out targets of graphs that run in `engines`."""
    graph, loss = stepped(graphs, held_out), LossMeter(held_out)
    begin = beginnings(graph, graphs, engines, held_out)
    for streams in held_out_streams(graph, begin, held_out, held_out.length):
        if streams.rows:
            steps = chain(engines[graph.spec.name], graph.spec, streams.given(), streams.states)
            for place, step in enumerate(steps):
                loss.add(graph.spec, step, streams.rows, place)
    return loss.mean


def stepped(graphs: Sequence[Graph], held_out: HeldOut) -> Graph:
    """Return the graph that takes the held-out sequences, step by step."""
    for graph in graphs:
        outputs = {tensor.name for tensor in graph.spec.outputs}
        inputs = {tensor.name for tensor in graph.spec.inputs}
        if inputs == held_out.steps.keys() and outputs >= held_out.targets.keys():
            _check_steps(graph.spec, held_out)
            _check_beginning(graph.spec, graphs, held_out)
            return graph
    known = ", ".join([*held_out.steps, *held_out.targets])
    raise ExportError(f"the held-out data have {known}, which are inputs and outputs of no graph")


def _check_steps(spec: GraphSpec, held_out: HeldOut) -> None:
    """Raise ExportError unless the held-out steps and targets fit the stepped graph."""
    for tensor in spec.inputs:
        array = held_out.steps[tensor.name]
        if array.dtype != tensor.numpy_dtype:
            raise ExportError(f"the held-out {tensor.name} is {array.dtype}; the contract says {tensor.dtype}")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ExportError(f"the held-out {tensor.name} contains nan or infinite values")
    for name, targets in held_out.targets.items():
        axes = [axis for axis in spec.output(name).axes if axis != BATCH]
        classes = axes[-1] if axes else 1
        rank = len(axes) if targets.dtype.kind == "f" else len(axes) - 1
        if targets.ndim - 2 != rank:
            raise ExportError(f"the held-out targets {name} have {targets.ndim - 2} axes beside sequences and steps")
        if targets.dtype.kind != "f" and isinstance(classes, int) and targets.max() >= classes:
            raise ExportError(f"the held-out targets {name} hold {targets.max()}, and there are {classes} classes")


def _check_beginning(spec: GraphSpec, graphs: Sequence[Graph], held_out: HeldOut) -> None:
    """Raise ExportError unless the initial inputs and the feedback of held-out sequences fit the stepped graph."""
    made = {source.graph for source in spec.sources.values()}
    for graph in graphs:
        needed = {tensor.name for tensor in graph.spec.inputs} if graph.spec.name in made else set()
        if missing := sorted(needed - (held_out.begin[0].keys() if held_out.begin else set())):
            raise ExportError(f"the held-out sequences begin without {missing[0]}, which {graph.spec.name} takes")
    for each in held_out.feedback.values():
        size = next((tensor.axes[-1] for tensor in spec.outputs if tensor.name == each.output), None)
        if size is None or (isinstance(size, int) and any(element >= size for element in each.excluded)):
            raise ExportError(f"the held-out feedback of {each.output} does not fit the outputs of {spec.name}")


def beginnings(graph: Graph, graphs: Sequence[Graph], engines: Engines, held_out: HeldOut) -> Beginnings:
    """Return conditions and initial states of the held-out sequences in a graph, as `engines` compute them."""
    return Beginnings(graph, graphs, engines, held_out.begin or [{}] * held_out.sequences)


class LossMeter:
    """The mean loss over held-out targets: cross-entropy for integers, squared error for floating-point targets.

    targets: the number of targets so far.
    """

    def __init__(self, held_out: HeldOut | None) -> None:
        self._targets = {} if held_out is None else held_out.targets
        self._total, self.targets = 0.0, 0

    @property
    def mean(self) -> float:
        """The mean over all targets so far."""
        return self._total / self.targets if self.targets else math.nan

    def add(self, spec: GraphSpec, step: Step, rows: Sequence[int], place: int) -> None:
        """Add the step at position `place` of the sequences `rows`."""
        for name, targets in self._targets.items():
            total, count = _cost(step.outputs[name], take_step(targets, rows, place, spec.output(name)))
            self._total, self.targets = self._total + total, self.targets + count


def _cost(output: Array, target: Array) -> tuple[float, int]:
    """Return the sum of the losses of one step and the number of its targets, without ignored ones."""
    if target.dtype.kind == "f":
        known = ~np.isnan(target)
        return float(np.sum((output[known].astype(np.float64) - target[known]) ** 2)), int(known.sum())
    known = target.ravel() >= 0
    classes = target.ravel()[known]
    scores = output.reshape(-1, output.shape[-1])[known].astype(np.float64)
    scores -= scores.max(axis=1, keepdims=True)
    costs = np.log(np.exp(scores).sum(axis=1)) - scores[np.arange(len(classes)), classes]
    return float(np.sum(costs)), len(classes)


def sequences(spec: GraphSpec, engine: Engine, begin: Beginnings, held_out: HeldOut) -> list[list[list[Any]]]:
    """Return the values that each held-out sequence feeds back into each such input, until its end."""
    found: dict[int, list[list[Any]]] = {}
    longest = max(feedback.steps for feedback in held_out.feedback.values())
    for rows in begin.groups():
        conditions, states = begin.of(rows)
        fed: list[dict[str, Array]] = []
        for place in range(longest):
            inputs = {**inputs_at(spec, held_out, rows, place), **(fed[-1] if fed else {})}
            (step,) = chain(engine, spec, [{**inputs, **conditions}], states)
            states = dict(step.states)
            best = {name: _best(step.outputs[each.output], each) for name, each in held_out.feedback.items()}
            fed.append({name: elements.astype(inputs[name].dtype) for name, elements in best.items()})
        for number, row in enumerate(rows):
            found[row] = [
                _until([elements[name][number].tolist() for elements in fed[: each.steps]], each.end)
                for name, each in held_out.feedback.items()
            ]
    return [found[row] for row in sorted(found)]


def _best(output: Array, feedback: Feedback) -> Array:
    """Return the argmax along the last axis, among the elements that may be chosen."""
    allowed = output.copy()
    allowed[..., list(feedback.excluded)] = -np.inf
    best: Array = allowed.argmax(axis=-1)
    return best


def _until(elements: Sequence[Any], end: int | None) -> list[Any]:
    return list(takewhile(lambda element: element != end, elements))
