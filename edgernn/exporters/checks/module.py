"""Run all checks of the modules of a network, over a few steps of the streams with which the gate drives them."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from edgernn.engines import EagerEngine
from edgernn.errors import ExportWarning
from edgernn.exporters.checks.effects import check_effects
from edgernn.exporters.checks.rows import check_rows
from edgernn.exporters.checks.states import Taken, find_idle_states
from edgernn.exporters.checks.trial import Arrays, Trial
from edgernn.exporters.checks.values import check_values
from edgernn.exporters.gate.real_inputs import RealInputs
from edgernn.exporters.gate.streams import Streams, example_streams, random_streams
from edgernn.models import Graph

__all__ = ["Finding", "check_graphs", "unconfirmed", "warn"]

_STEPS, _REAL_STEPS = 8, 64  # steps for each batch size, with random inputs and with examples


@dataclass(frozen=True)
class Finding:
    """A problem that trials suggest but cannot prove. name: the state or attribute concerned."""

    name: str
    text: str


def check_graphs(graphs: Sequence[Graph], examples: RealInputs | None) -> list[Finding]:
    """Call every module with inputs that its contract allows, from the initial states, and return suspected problems.

    examples: real inputs, used instead of random ones. Raises ExportError, naming the tensor, for a certain problem.
    """
    findings: list[Finding] = []
    for graph in sorted(graphs, key=lambda graph: bool(graph.spec.states)):  # graphs that initialise others come first
        findings += _check(graph, graphs, examples)
    return findings


def unconfirmed(findings: Sequence[Finding], confirmed: Collection[str]) -> tuple[str, ...]:
    """Return the texts of findings that the caller has not confirmed, by name."""
    return tuple(finding.text for finding in findings if finding.name not in confirmed)


def warn(texts: Sequence[str]) -> None:
    """Issue an ExportWarning for each of `texts`, at the line of the caller's code."""
    frame = sys._getframe(1)
    while frame.f_back is not None and _is_inside(frame.f_globals.get("__name__", "")):
        frame = frame.f_back
    for text in texts:
        warnings.warn_explicit(text, ExportWarning, frame.f_code.co_filename, frame.f_lineno)


def _is_inside(module: str) -> bool:
    return module.partition(".")[0] in ("edgernn", "contextlib")


def _check(graph: Graph, graphs: Sequence[Graph], examples: RealInputs | None) -> Iterator[Finding]:
    trial = Trial(graph)
    taken: list[Taken] = []
    for streams in _streams(graph, graphs, examples):
        first = {**next(iter(streams.given())), **streams.states}
        if not taken:
            yield from _kept(trial, first)
        check_values(trial, first)
        steps = list(_take(trial, streams))
        if _is_batch(graph, steps[0]):
            check_rows(trial, steps[-1].feeds, steps[-1].results)
        taken += steps
    for name, seen in find_idle_states(trial, taken):
        yield Finding(name, f"graph {graph.spec.name}: {name} may be no state: {seen}")


def _kept(trial: Trial, feeds: Arrays) -> Iterator[Finding]:
    for name in check_effects(trial, feeds):
        changed = f"graph {trial.spec.name}: a call changes the attribute {name}"
        yield Finding(
            name, f"{changed}, which an artifact does not keep; if a later call reads it, declare it as a state"
        )


def _streams(graph: Graph, graphs: Sequence[Graph], examples: RealInputs | None) -> Iterator[Streams]:
    engines = {each.spec.name: EagerEngine(each.module, each.spec) for each in graphs}
    given = None if examples is None else examples.of(graph.spec)
    if given is not None:
        return example_streams(graph, graphs, engines, given, _REAL_STEPS)
    return random_streams(graph, graphs, engines, _STEPS)


def _take(trial: Trial, streams: Streams) -> Iterator[Taken]:
    states = dict(streams.states)
    for given in islice(streams.given(), _REAL_STEPS):
        feeds = {**given, **states}
        results = trial.call(feeds)
        yield Taken(feeds, results)
        states = {state.input: results[state.output] for state in trial.spec.states}


def _is_batch(graph: Graph, step: Taken) -> bool:
    return graph.spec.batched and any(
        step.feeds[name].shape[tensor.batch_axis] > 1
        for name, tensor in graph.spec.feeds.items()
        if tensor.batch_axis is not None
    )
