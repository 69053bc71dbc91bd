"""The parity gate: check that an artifact behaves like its source, before the artifact is written.

Source and artifact are driven in lock-step. Each pair of steps is compared, the steps of the source are recorded as
golden vectors, and held-out targets give the loss of both. So the source runs only once for each batch size, and its
outputs need not be kept.
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
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from edgernn.engines import EagerEngine
from edgernn.errors import EngineError, ExportError, ParityError, few
from edgernn.examples import axis_sizes, example
from edgernn.exporters.gate.held_out import LossMeter, beginnings, sequences, stepped
from edgernn.exporters.gate.real_inputs import RealInputs
from edgernn.exporters.gate.streams import (
    Arrays,
    Beginnings,
    Engines,
    Streams,
    begun_streams,
    example_streams,
    held_out_streams,
    random_streams,
    rare_streams,
    single_steps,
)
from edgernn.exporters.gate.vectors import RECORDED, Recorder
from edgernn.models import Graph, HeldOut
from edgernn.runtime.parity import (
    Comparison,
    ExactMatches,
    Loss,
    Parity,
    Step,
    Tolerance,
    chain,
    pairs,
    tolerance_of,
    worst,
)

__all__ = [
    "STEPS",
    "Proof",
    "check_held_out",
    "holds_convolutions",
    "not_numbers",
    "prove",
    "ranges",
]

STEPS = 1024
_SINGLE_STEPS = 16  # of a graph without states, whose steps are independent


@dataclass(frozen=True)
class Proof:
    """The results of the gate. golden: the manifest's record of the golden vectors, by graph. vectors: their files."""

    parity: Parity
    golden: Mapping[str, Any]
    vectors: Mapping[str, bytes]


def prove(
    graphs: Sequence[Graph],
    artifacts: Engines,
    held_out: HeldOut | None,
    precision: str,
    steps: int = STEPS,
    *,
    examples: RealInputs | None = None,
    tolerance: Mapping[str, float] | None = None,
) -> Proof:
    """Check that an artifact behaves like its source: each graph over `steps` chained steps, and all of them together.

    artifacts: an engine for each graph. Graphs are driven with `held_out`, else with `examples`, else with random
    tensors, and for a few steps with values at the limits of the contract. tolerance: limits by name that replace those
    of `precision`.
    Raises ParityError at the first difference beyond the tolerance, if the loss on held-out data rises too far, or at
    fp32 if any generated sequence differs; ExportError if the source returns NaN.
    """
    gate = _Gate(graphs, artifacts, held_out, precision, steps, examples, tolerance or {})
    parity = worst([gate.compare(graph) for graph in graphs])
    parity = check_held_out(replace(parity, loss=gate.loss(), matches=gate.matches()), precision)
    vectors = {file: data for recorder in gate.recorders.values() for file, data in recorder.files().items()}
    return Proof(parity, {name: recorder.about for name, recorder in gate.recorders.items()}, vectors)


def check_held_out(parity: Parity, precision: str) -> Parity:
    """Raise ParityError if the loss on held-out data rises too far, or at fp32 if generated sequences differ."""
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


def holds_convolutions(graph: Graph) -> bool:
    """Return whether the source of a graph computes convolutions, by its declaration or by watching one call."""
    if graph.convolutions is not None:
        return graph.convolutions
    feeds = example(graph.spec.feeds, 1, np.random.default_rng(0), axis_sizes(graph.spec))
    watch = _ConvolutionWatch()
    try:
        with watch:
            EagerEngine(graph.source, graph.spec).run(feeds)
    except EngineError:  # code that torch compiles (torch.cond) cannot be watched
        torch.compiler.reset()
        return any(isinstance(part, nn.modules.conv._ConvNd) for part in graph.source.modules())
    return watch.found


class _ConvolutionWatch(TorchDispatchMode):
    """Records whether torch runs a convolution, called by a module or a function."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # torch declares no types of it
        self.found = False

    def __torch_dispatch__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self.found = self.found or "convolution" in function.name()
        return function(*args, **(kwargs or {}))


class _Gate:
    """One run of the gate. recorders: record golden vectors, by graph."""

    def __init__(
        self,
        graphs: Sequence[Graph],
        artifacts: Engines,
        held_out: HeldOut | None,
        precision: str,
        steps: int,
        examples: RealInputs | None,
        tolerance: Mapping[str, float],
    ) -> None:
        self._graphs, self._artifacts, self._held_out = graphs, artifacts, held_out
        self._precision, self._steps, self._examples, self._tolerance = precision, steps, examples, tolerance
        self._sources: Engines = {graph.spec.name: EagerEngine(graph.source, graph.spec) for graph in graphs}
        self._stepped = None if held_out is None else stepped(graphs, held_out)
        self._losses = (LossMeter(held_out), LossMeter(held_out))  # of the source and of the artifact
        self.recorders: dict[str, Recorder] = {}

    def compare(self, graph: Graph) -> Parity:
        """Raise ParityError unless one graph of the artifact behaves like that of the source."""
        tolerance = tolerance_of(self._precision, convolutions=holds_convolutions(graph), changes=self._tolerance)
        recorder = self.recorders[graph.spec.name] = Recorder(graph.spec, tolerance, 1 if graph.chaotic else RECORDED)
        driven = [self._drive(graph, streams, tolerance, recorder) for streams in self._streams(graph)]
        rare = [self._drive_rarely(graph, streams, tolerance) for streams in self._rare_streams(graph)]
        return worst([*driven, *(parity for parity in rare if parity is not None)])

    def _drive(self, graph: Graph, streams: Streams, tolerance: Tolerance, recorder: Recorder) -> Parity:
        comparison = Comparison(graph.spec, tolerance, rejoined=graph.chaotic)
        for expected, actual in self._pairs(graph, streams):
            comparison.add(expected, actual)
            if streams.recorded:
                recorder.add(expected)
        return comparison.result()

    def _drive_rarely(self, graph: Graph, streams: Streams, tolerance: Tolerance) -> Parity | None:
        """Compare on values at the limits of the contract, as long as the source accepts them and returns no NaN."""
        spec = graph.spec
        comparison = Comparison(spec, tolerance, rejoined=graph.chaotic, rare=True)
        taken = _while_sound(chain(self._sources[spec.name], spec, streams.given(), streams.states))
        steps = 0
        for expected, actual in pairs(taken, self._artifacts[spec.name], spec, streams.states, rejoin=graph.chaotic):
            comparison.add(expected, actual)
            steps += 1
        return replace(comparison.result(), steps=0) if steps else None

    def _checked(self, graph: Graph, taken: Iterable[Step]) -> Iterator[Step]:
        """Yield the steps of the source. Raises ExportError at a step with NaN."""
        for number, step in enumerate(taken, 1):
            if wrong := not_numbers(step):
                where = f"in {wrong[0]} at step {number}, where {ranges(step.given)}"
                raise ExportError(
                    f"graph {graph.spec.name}: the source itself gives nan {where}; {self._advice(graph)}"
                )
            yield step

    def _rare_streams(self, graph: Graph) -> Iterator[Streams]:
        """Return rare streams; none at int8 and int4, where saturation is expected and shows in the held-out loss."""
        return iter(()) if self._precision in ("int8", "int4") else rare_streams(graph, self._graphs, self._sources)

    def _advice(self, graph: Graph) -> str:
        if self._held_out is not None or (self._examples is not None and self._examples.of(graph.spec) is not None):
            return "the network itself is at fault there"
        return "give real inputs as examples, or declare the range of a tensor with low and bound"

    def loss(self) -> Loss | None:
        """Return the loss of source and artifact, or None if it was not measured."""
        source, artifact = self._losses
        return Loss(source.mean, artifact.mean, source.targets) if source.targets else None

    def matches(self) -> ExactMatches | None:
        """Return the number of equal generated sequences, or None if no outputs are fed back as inputs."""
        held_out, graph = self._held_out, self._stepped
        if held_out is None or graph is None or not held_out.feedback:
            return None
        name, spec = graph.spec.name, graph.spec
        ours = sequences(spec, self._artifacts[name], self._artifacts_begin, held_out)
        theirs = sequences(spec, self._sources[name], self._begin, held_out)
        return ExactMatches(sum(map(operator.eq, ours, theirs)), len(theirs))

    @cached_property
    def _begin(self) -> Beginnings:
        """Conditions and initial states of the held-out sequences, computed by the source."""
        assert self._stepped is not None
        assert self._held_out is not None
        return beginnings(self._stepped, self._graphs, self._sources, self._held_out)

    @cached_property
    def _artifacts_begin(self) -> Beginnings:
        """Conditions and initial states of the held-out sequences, computed by the artifact."""
        assert self._stepped is not None
        assert self._held_out is not None
        return beginnings(self._stepped, self._graphs, self._artifacts, self._held_out)

    def _streams(self, graph: Graph) -> Iterator[Streams]:
        """Return the streams for one graph."""
        spec, held_out = graph.spec, self._held_out
        if held_out is not None and graph is self._stepped:
            return held_out_streams(graph, self._begin, held_out, self._steps)
        steps = self._steps if spec.states else min(self._steps, _SINGLE_STEPS)
        given = [] if held_out is None else held_out.begin
        if given and not (spec.conditions or spec.sources) and all(t.name in given[0] for t in spec.inputs):
            return begun_streams(graph, given, steps) if spec.states else single_steps(spec, given, steps)
        if self._examples is not None and (examples := self._examples.of(spec)) is not None:
            return example_streams(graph, self._graphs, self._sources, examples, steps)
        return random_streams(graph, self._graphs, self._sources, steps)

    def _pairs(self, graph: Graph, streams: Streams) -> Iterator[tuple[Step, Step]]:
        """Return pairs of steps of source and artifact; if the loss has a limit, it is measured on the way."""
        spec = graph.spec
        taken = chain(self._sources[spec.name], spec, streams.given(), streams.states)
        artifact = self._artifacts[spec.name]
        both = pairs(self._checked(graph, taken), artifact, spec, streams.states, rejoin=graph.chaotic)
        if self._precision == "fp32" or not streams.rows:
            return both
        return self._with_losses(graph, streams, both)

    def _with_losses(
        self, graph: Graph, streams: Streams, both: Iterable[tuple[Step, Step]]
    ) -> Iterator[tuple[Step, Step]]:
        """Yield the same steps, after adding the loss of each.

        The loss of the artifact is that of all its graphs together, without the help of the source: if other graphs
        compute conditions or states, the stepped graph is driven a second time with those that the artifact computes,
        and so is a chaotic graph.
        """
        spec = graph.spec
        together: Iterator[Step] | None = None
        if spec.sources or graph.chaotic:
            conditions, states = self._artifacts_begin.of(streams.rows)
            given = replace(streams, conditions=conditions).given()
            together = chain(self._artifacts[spec.name], spec, given, states)
        of_source, of_artifact = self._losses
        for place, (expected, actual) in enumerate(both):
            of_source.add(spec, expected, streams.rows, place)
            of_artifact.add(spec, actual if together is None else next(together), streams.rows, place)
            yield expected, actual


def not_numbers(step: Step) -> list[str]:
    """Return the outputs and states of a step that have NaN."""
    results = {**step.outputs, **step.states}
    return [name for name, array in results.items() if array.dtype.kind == "f" and np.isnan(array).any()]


def ranges(arrays: Arrays) -> str:
    """Return the ranges of arrays in words, for a message: `x is from -2.5 to 3`."""
    spans = []
    for name, array in arrays.items():
        low, high = (float(array.min()), float(array.max())) if array.size else (math.nan, math.nan)
        spans.append(f"{name} is {low:.4g}" if low == high else f"{name} is from {low:.4g} to {high:.4g}")
    return few(spans) or "it has no inputs"


def _while_sound(taken: Iterator[Step]) -> Iterator[Step]:
    """Yield steps until the graph fails or returns NaN."""
    try:
        yield from takewhile(lambda step: not not_numbers(step), taken)
    except EngineError:
        return
