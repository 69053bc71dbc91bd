"""The gate: it proves that an artifact equals its source, before the artifact is written.

Source and artifact are driven in lock-step. Each pair of steps is compared, the steps of the source are recorded as
golden vectors, and held-out targets give the loss of both. So the source runs only once for each number of streams, and
none of its outputs are kept.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import takewhile
from typing import Any

import numpy as np
from torch.utils._python_dispatch import TorchDispatchMode

from edgernn.contract import BATCH, Array, GraphSpec
from edgernn.engines import EagerEngine
from edgernn.errors import ExportError, ParityError
from edgernn.examples import axis_sizes, example
from edgernn.exporters.streams import (
    Beginnings,
    Engines,
    Streams,
    held_out_streams,
    inputs_at,
    random_streams,
    single_steps,
    sources_of,
    take_step,
)
from edgernn.exporters.vectors import Recorder
from edgernn.models import Feedback, Graph, HeldOut
from edgernn.runtime import Engine
from edgernn.runtime.parity import Comparison, ExactMatches, Loss, Parity, Step, chain, pairs, tolerance_of, worst

__all__ = ["STEPS", "Proof", "check_held_out", "held_out_loss", "holds_convolutions", "prove"]

STEPS = 1024
_SINGLE_STEPS = 16  # of a graph without states: each of its steps is a first one


@dataclass(frozen=True)
class Proof:
    """What the gate measured. golden: what the manifest says of the golden vectors, by graph. vectors: their files."""

    parity: Parity
    golden: Mapping[str, Any]
    vectors: Mapping[str, bytes]


def prove(
    graphs: Sequence[Graph], artifacts: Engines, held_out: HeldOut | None, precision: str, steps: int = STEPS
) -> Proof:
    """Check that an artifact behaves like its source: each graph over `steps` chained steps, and all of them together.

    artifacts: an engine for each graph. held_out: None drives the graphs with random tensors.
    Raises ParityError at the first difference beyond the tolerance of `precision`, if the loss on held-out data rises
    too far, and at fp32 if any whole sequence is not the source's.
    """
    gate = _Gate(graphs, artifacts, held_out, precision, steps)
    parity = worst([gate.compare(graph) for graph in graphs])
    parity = check_held_out(replace(parity, loss=gate.loss(), matches=gate.matches()), precision)
    vectors = {file: data for recorder in gate.recorders.values() for file, data in recorder.files().items()}
    return Proof(parity, {name: recorder.about for name, recorder in gate.recorders.items()}, vectors)


def check_held_out(parity: Parity, precision: str) -> Parity:
    """Raise ParityError unless the artifact predicts held-out data as its source does, and gives the same sequences."""
    matches, loss, limit = parity.matches, parity.loss, parity.tolerance.loss
    if matches is not None and precision == "fp32" and matches.same < matches.of:
        wrong = f"{matches.of - matches.same} of {matches.of} whole sequences"
        raise ParityError(f"{wrong} of the artifact are not its source's", parity.to_json())
    if loss is not None and not loss.artifact - loss.source <= limit:
        raise ParityError(
            f"the loss on held-out data rises from {loss.source:.4f} to {loss.artifact:.4f}, by more than {limit:g}",
            parity.to_json(),
        )
    return parity


def held_out_loss(graphs: Sequence[Graph], engines: Engines, held_out: HeldOut) -> float:
    """The mean loss of graphs, as `engines` run them, over all held-out targets."""
    graph, loss = _stepped(graphs, held_out), _LossMeter(held_out)
    begin = _beginnings(graph, graphs, engines, held_out)
    for streams in held_out_streams(graph, begin, held_out, held_out.length):
        if streams.rows:
            steps = chain(engines[graph.spec.name], graph.spec, streams.given(), streams.states)
            for place, step in enumerate(steps):
                loss.add(graph.spec, step, streams.rows, place)
    return loss.mean


def holds_convolutions(graph: Graph) -> bool:
    """Whether the source of a graph computes convolutions, which one call of it shows."""
    feeds = example(graph.spec.feeds, 1, np.random.default_rng(0), axis_sizes(graph.spec))
    watch = _ConvolutionWatch()
    with watch:
        EagerEngine(graph.source, graph.spec).run(feeds)
    return watch.found


class _ConvolutionWatch(TorchDispatchMode):
    """Notes whether any operator that torch runs is a convolution, whether a module or a function calls it."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # torch declares no types of it
        self.found = False

    def __torch_dispatch__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self.found = self.found or "convolution" in function.name()
        return function(*args, **(kwargs or {}))


class _Gate:
    """One run of the gate. recorders: of golden vectors, by graph."""

    def __init__(
        self, graphs: Sequence[Graph], artifacts: Engines, held_out: HeldOut | None, precision: str, steps: int
    ) -> None:
        self._graphs, self._artifacts, self._held_out = graphs, artifacts, held_out
        self._precision, self._steps = precision, steps
        self._sources: Engines = {graph.spec.name: EagerEngine(graph.source, graph.spec) for graph in graphs}
        self._stepped = None if held_out is None else _stepped(graphs, held_out)
        self._losses = (_LossMeter(held_out), _LossMeter(held_out))  # of the source and of the artifact
        self.recorders: dict[str, Recorder] = {}

    def compare(self, graph: Graph) -> Parity:
        """Raise ParityError unless one graph of the artifact behaves like that of the source."""
        spec = graph.spec
        convolutions = holds_convolutions(graph)
        tolerance = tolerance_of(self._precision, convolutions=convolutions)
        recorder = self.recorders[spec.name] = Recorder(spec, convolutions=convolutions)
        parities = []
        for streams in self._streams(graph):
            comparison = Comparison(spec, tolerance)
            for expected, actual in self._pairs(spec, streams):
                comparison.add(expected, actual)
                if streams.recorded:
                    recorder.add(expected)
            parities.append(comparison.result())
        return worst(parities)

    def loss(self) -> Loss | None:
        """That of source and artifact, if it was measured."""
        source, artifact = self._losses
        return Loss(source.mean, artifact.mean, source.targets) if source.targets else None

    def matches(self) -> ExactMatches | None:
        """How many whole sequences are the same, if there are any outputs that are fed back as inputs."""
        held_out, graph = self._held_out, self._stepped
        if held_out is None or graph is None or not held_out.feedback:
            return None
        name, spec = graph.spec.name, graph.spec
        ours = _sequences(spec, self._artifacts[name], self._artifacts_begin, held_out)
        theirs = _sequences(spec, self._sources[name], self._begin, held_out)
        return ExactMatches(sum(map(operator.eq, ours, theirs)), len(theirs))

    @cached_property
    def _begin(self) -> Beginnings:
        """Where the held-out sequences begin, as the graphs of the source make it."""
        assert self._stepped is not None
        assert self._held_out is not None
        return _beginnings(self._stepped, self._graphs, self._sources, self._held_out)

    @cached_property
    def _artifacts_begin(self) -> Beginnings:
        """Where the held-out sequences begin, as the graphs of the artifact make it."""
        assert self._stepped is not None
        assert self._held_out is not None
        return _beginnings(self._stepped, self._graphs, self._artifacts, self._held_out)

    def _streams(self, graph: Graph) -> Iterator[Streams]:
        """What one graph is driven with."""
        spec, held_out = graph.spec, self._held_out
        if held_out is not None and graph is self._stepped:
            return held_out_streams(graph, self._begin, held_out, self._steps)
        steps = self._steps if spec.states else min(self._steps, _SINGLE_STEPS)
        given = [] if held_out is None else held_out.begin
        if given and not (spec.states or spec.conditions) and all(t.name in given[0] for t in spec.inputs):
            return single_steps(spec, given, steps)
        return random_streams(graph, self._graphs, self._sources, steps)

    def _pairs(self, spec: GraphSpec, streams: Streams) -> Iterator[tuple[Step, Step]]:
        """The steps of source and artifact, on the way to which the loss is measured where it has a limit."""
        taken = chain(self._sources[spec.name], spec, streams.given(), streams.states)
        both = pairs(taken, self._artifacts[spec.name], spec, streams.states)
        if self._precision == "fp32" or not streams.rows:
            return both
        return self._with_losses(spec, streams, both)

    def _with_losses(
        self, spec: GraphSpec, streams: Streams, both: Iterable[tuple[Step, Step]]
    ) -> Iterator[tuple[Step, Step]]:
        """The same steps, after the loss of each was added.

        The loss of the artifact is that of all its graphs together: where these make conditions or states, the stepped
        graph is driven with the artifact's own as well as with the source's.
        """
        together: Iterator[Step] | None = None
        if any(source is not None for source in sources_of(spec).values()):
            conditions, states = self._artifacts_begin.of(streams.rows)
            given = replace(streams, conditions=conditions).given()
            together = chain(self._artifacts[spec.name], spec, given, states)
        of_source, of_artifact = self._losses
        for place, (expected, actual) in enumerate(both):
            of_source.add(spec, expected, streams.rows, place)
            of_artifact.add(spec, actual if together is None else next(together), streams.rows, place)
            yield expected, actual


def _stepped(graphs: Sequence[Graph], held_out: HeldOut) -> Graph:
    """The graph that takes the held-out sequences, step by step."""
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
    """Raise ExportError unless the held-out steps and targets are what the stepped graph declares."""
    for tensor in spec.inputs:
        array = held_out.steps[tensor.name]
        if array.dtype != tensor.numpy_dtype:
            raise ExportError(f"the held-out {tensor.name} is {array.dtype}; the contract says {tensor.dtype}")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ExportError(f"the held-out {tensor.name} contains what is not finite")
    for name, targets in held_out.targets.items():
        axes = [axis for axis in spec.output(name).axes if axis != BATCH]
        classes = axes[-1] if axes else 1
        rank = len(axes) if targets.dtype.kind == "f" else len(axes) - 1
        if targets.ndim - 2 != rank:
            raise ExportError(f"the held-out targets {name} have {targets.ndim - 2} axes beside sequences and steps")
        if targets.dtype.kind != "f" and isinstance(classes, int) and targets.max() >= classes:
            raise ExportError(f"the held-out targets {name} hold {targets.max()}, and there are {classes} classes")


def _check_beginning(spec: GraphSpec, graphs: Sequence[Graph], held_out: HeldOut) -> None:
    """Raise ExportError unless held-out sequences can begin, and outputs be fed back, as the stepped graph declares."""
    made = {source.graph for source in sources_of(spec).values() if source is not None}
    for graph in graphs:
        needed = set(graph.spec.input_names) if graph.spec.name in made else set()
        if missing := sorted(needed - (held_out.begin[0].keys() if held_out.begin else set())):
            raise ExportError(f"the held-out sequences begin without {missing[0]}, which {graph.spec.name} takes")
    for each in held_out.feedback.values():
        size = next((tensor.axes[-1] for tensor in spec.outputs if tensor.name == each.output), None)
        if size is None or (isinstance(size, int) and any(element >= size for element in each.excluded)):
            raise ExportError(f"the held-out feedback of {each.output} does not fit the outputs of {spec.name}")


def _beginnings(graph: Graph, graphs: Sequence[Graph], engines: Engines, held_out: HeldOut) -> Beginnings:
    return Beginnings(graph, graphs, engines, held_out.begin or [{}] * held_out.sequences)


class _LossMeter:
    """The mean loss over held-out targets: cross-entropy of integers, squared error of floating-point numbers.

    targets: how many there were so far.
    """

    def __init__(self, held_out: HeldOut | None) -> None:
        self._targets = {} if held_out is None else held_out.targets
        self._total, self.targets = 0.0, 0

    @property
    def mean(self) -> float:
        """The mean over all targets so far."""
        return self._total / self.targets if self.targets else math.nan

    def add(self, spec: GraphSpec, step: Step, rows: Sequence[int], place: int) -> None:
        """Add the step at `place` of some sequences."""
        for name, targets in self._targets.items():
            total, count = _cost(step.outputs[name], take_step(targets, rows, place, spec.output(name)))
            self._total, self.targets = self._total + total, self.targets + count


def _cost(output: Array, target: Array) -> tuple[float, int]:
    """The sum of the losses of one step, and how many targets there were, except for those that are to be ignored."""
    if target.dtype.kind == "f":
        known = ~np.isnan(target)
        return float(np.sum((output[known].astype(np.float64) - target[known]) ** 2)), int(known.sum())
    known = target.ravel() >= 0
    classes = target.ravel()[known]
    scores = output.reshape(-1, output.shape[-1])[known].astype(np.float64)
    scores -= scores.max(axis=1, keepdims=True)
    costs = np.log(np.exp(scores).sum(axis=1)) - scores[np.arange(len(classes)), classes]
    return float(np.sum(costs)), len(classes)


def _sequences(spec: GraphSpec, engine: Engine, begin: Beginnings, held_out: HeldOut) -> list[list[list[Any]]]:
    """For each held-out sequence and each input that is fed by an output: what it was fed until the end."""
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
    """The largest element that may be chosen along the last axis."""
    allowed = output.copy()
    allowed[..., list(feedback.excluded)] = -np.inf
    best: Array = allowed.argmax(axis=-1)
    return best


def _until(elements: Sequence[Any], end: int | None) -> list[Any]:
    return list(takewhile(lambda element: element != end, elements))
