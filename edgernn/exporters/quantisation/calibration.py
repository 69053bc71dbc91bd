"""Calibration: measure the ranges of activations in an ONNX graph on real inputs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from itertools import islice

import numpy as np
import onnx
import onnxruntime

from edgernn.contract import Array
from edgernn.engines import EagerEngine
from edgernn.exporters.gate.real_inputs import RealInputs
from edgernn.exporters.gate.streams import example_streams
from edgernn.models import Graph, HeldOut
from edgernn.runtime.parity import chain

__all__ = ["Range", "calibrated", "measure_ranges"]

Range = tuple[float, float]  # the smallest and the largest value
_STEPS = 64  # of the examples of a graph


def calibrated(graphs: Sequence[Graph], held_out: HeldOut | None, real: RealInputs | None) -> tuple[Graph, ...]:
    """Return the graphs with inputs for calibration, as far as there are real inputs."""
    return tuple(replace(graph, examples=_feeds(graph, graphs, held_out, real)) for graph in graphs)


def _feeds(
    graph: Graph, graphs: Sequence[Graph], held_out: HeldOut | None, real: RealInputs | None
) -> Sequence[Mapping[str, Array]]:
    """Return the arrays with which a graph is called in some steps, including states."""
    names = graph.spec.input_names
    inputs = () if held_out is None else held_out.calibration
    if inputs and inputs[0].keys() >= set(names):
        return [{name: each[name] for name in names} for each in inputs]
    examples = None if real is None else real.of(graph.spec)
    if examples is None:
        return graph.examples
    engines = {each.spec.name: EagerEngine(each.source, each.spec) for each in graphs}
    streams = next(iter(example_streams(graph, graphs, engines, examples, _STEPS)))
    states = dict(streams.states)
    feeds = []
    for given in islice(streams.given(), _STEPS):
        feeds.append({**given, **states})
        (step,) = chain(engines[graph.spec.name], graph.spec, [given], states)
        states = dict(step.states)
    return feeds


def measure_ranges(
    model: onnx.ModelProto, names: Collection[str], examples: Sequence[Mapping[str, Array]]
) -> dict[str, Range]:
    """Return the smallest and largest value of each of `names`, extended to 0, over all examples."""
    asked = onnx.ModelProto()
    asked.CopyFrom(model)
    del asked.graph.output[:]
    asked.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(asked.SerializeToString(), options, providers=["CPUExecutionProvider"])
    ranges = dict.fromkeys(names, (0.0, 0.0))
    for example in examples:
        results: list[Array] = session.run(list(names), dict(example))
        for name, array in zip(names, results, strict=True):
            low, high = ranges[name]
            ranges[name] = min(low, float(np.min(array))), max(high, float(np.max(array)))
    return ranges
