"""Streams with which the gate drives source and artifact: of held-out sequences, examples, or random tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import cycle, islice, repeat

import numpy as np

from edgernn.arrays import from_npy
from edgernn.contract import (
    BATCH,
    Array,
    Axis,
    ConditionSpec,
    FromGraph,
    FromSteps,
    GraphSpec,
    State,
    TensorSpec,
    check_tensor,
    stack,
)
from edgernn.examples import OTHER_AXIS, axis_sizes, example, extremes, random_inputs
from edgernn.exporters.gate import vectors
from edgernn.exporters.gate.real_inputs import GraphExamples
from edgernn.exporters.sizes import resize
from edgernn.models import Graph, HeldOut
from edgernn.runtime import Engine
from edgernn.runtime.golden import first_states
from edgernn.runtime.reading import Reading

__all__ = [
    "Arrays",
    "Beginnings",
    "Engines",
    "Streams",
    "begun_streams",
    "example_streams",
    "held_out_streams",
    "inputs_at",
    "random_streams",
    "rare_streams",
    "single_steps",
    "take_step",
]

Arrays = Mapping[str, Array]
Engines = Mapping[str, Engine]  # by the name of the graph

_SIDE_BY_SIDE = 4  # batch size of random tensors
_RARE_STEPS = 16
_LONG_COUNTS = (100, 1_000, 1 << 24, (1 << 31) - _RARE_STEPS // 2)  # float32 counts up to the third
_WIDEST = 64  # batch size of held-out sequences, which every engine accepts


@dataclass(frozen=True)
class Streams:
    """A batch of streams of one graph.

    inputs: yields the inputs of each step. conditions: the same at every step. states: before the first step, by the
    inputs that they feed.
    rows: the held-out sequences that the streams read once each, for which the loss is measured; may be empty.
    recorded: whether the steps of the source are recorded as golden vectors.
    """

    inputs: Callable[[], Iterable[Arrays]]
    conditions: Arrays
    states: Arrays
    rows: tuple[int, ...] = ()
    recorded: bool = False

    def given(self) -> Iterator[Arrays]:
        """Yield inputs and conditions of each step."""
        return ({**inputs, **self.conditions} for inputs in self.inputs())


class Beginnings:
    """Conditions and initial states of streams of one graph.

    graphs: all graphs of the network. engines: run the graphs that compute conditions and states. given: for each
    stream, the inputs of these graphs and the conditions that no graph computes, with a batch of one; the inputs of a
    graph with states have a first axis that counts its steps.
    """

    def __init__(self, graph: Graph, graphs: Sequence[Graph], engines: Engines, given: Sequence[Arrays]) -> None:
        self._spec = graph.spec
        self._files = {name: from_npy(data, name) for name, data in graph.files().items()}
        self._carried = graph.spec.held
        makers = {each.spec.name: each for each in graphs}
        self._made = [self._make(makers, engines, each) for each in given]

    def of(self, rows: Sequence[int]) -> tuple[dict[str, Array], dict[str, Array]]:
        """Return conditions by name, and states by the inputs that they feed, of a batch of the streams `rows`."""
        sizes = {BATCH: len(rows)}
        conditions = {tensor.name: self._join(tensor, rows, sizes) for tensor in self._spec.conditions}
        states = {}
        for state in self._spec.states:
            made = isinstance(state.initial, FromGraph)
            states[state.input] = self._join(state, rows, sizes) if made else state.first(sizes, self._files)
        return conditions, states

    def recorded(self) -> tuple[dict[str, Array], dict[str, Array]]:
        """Return conditions and initial states of the first stream as golden vectors start from them."""
        conditions, _ = self.of((0,))
        return conditions, first_states(self._spec, self._files, conditions)

    def groups(self) -> list[tuple[int, ...]]:
        """Return groups of streams that can be batched: their conditions and states differ in padded axes only."""
        widest = _WIDEST if self._spec.batched else 1
        groups: dict[tuple[tuple[int, ...], ...], list[int]] = {}
        for row, made in enumerate(self._made):
            groups.setdefault(tuple(self._unpadded(name, array) for name, array in made.items()), []).append(row)
        return [rows[at : at + widest] for rows in map(tuple, groups.values()) for at in range(0, len(rows), widest)]

    def _make(self, makers: Mapping[str, Graph], engines: Engines, given: Arrays) -> dict[str, Array]:
        """Return the conditions and states of one stream that are neither zeros nor files, by name."""
        spec = self._spec
        sources = dict.fromkeys(source.graph for source in spec.sources.values())
        readings = {name: _read_whole(makers[name], engines[name], given) for name in sources}
        made = {name: readings[source.graph].value(self._carried[name]) for name, source in spec.sources.items()}
        return made | {tensor.name: given[tensor.name] for tensor in spec.conditions if tensor.source is None}

    def _unpadded(self, name: str, array: Array) -> tuple[int, ...]:
        """Return the shape of a tensor without the axis that a batch pads."""
        tensor = self._carried[name]
        padded = tensor.padded_axis if isinstance(tensor, ConditionSpec) else None
        return tuple(size for place, size in enumerate(array.shape) if place != padded)

    def _join(self, tensor: TensorSpec, rows: Sequence[int], sizes: dict[str, int]) -> Array:
        parts = [self._made[row] for row in rows]
        array = parts[0][tensor.name] if tensor.batch_axis is None else stack([tensor], parts)[tensor.name]
        check_tensor(tensor, array, sizes)
        return np.asarray(array, order="C")


def _read_whole(graph: Graph, engine: Engine, given: Arrays) -> Reading:
    """Return a reading of all inputs of a graph that begins one stream of another graph."""
    spec = graph.spec
    files = {name: from_npy(data, name) for name, data in graph.files().items()}

    def step(inputs: Arrays, state: Arrays) -> tuple[dict[str, Array], State]:
        results = engine.run({**inputs, **{each.input: state[each.name] for each in spec.states}})
        outputs = {tensor.name: array for tensor, array in zip(spec.outputs, results, strict=False)}
        carried = results[len(spec.outputs) :]
        return outputs, State({each.name: array for each, array in zip(spec.states, carried, strict=True)})

    reading = Reading(spec, step, State({each.name: each.first({BATCH: 1}, files) for each in spec.states}))
    inputs = {tensor.name: given[tensor.name] for tensor in spec.inputs}
    reading.push(inputs if spec.states else {name: array[None] for name, array in inputs.items()})
    return reading


def held_out_streams(graph: Graph, begin: Beginnings, held_out: HeldOut, steps: int) -> Iterator[Streams]:
    """Yield the first held-out sequence alone, repeated for `steps` steps, then all of them once, in batches."""
    spec = graph.spec
    yield from _alone(spec, begin, partial(_read, spec, held_out, (0,), steps))
    for rows in begin.groups():
        inputs = partial(_read, spec, held_out, rows, min(steps, held_out.length))
        yield Streams(inputs, *begin.of(rows), rows=rows)


def example_streams(
    graph: Graph, graphs: Sequence[Graph], engines: Engines, examples: GraphExamples, steps: int
) -> Iterator[Streams]:
    """Yield the first stream of examples alone, the others too if they cannot be batched, then batches.

    All start from their initial states and take at least all their steps.
    """
    spec = graph.spec
    steps = max(steps, examples.longest)
    begin = Beginnings(graph, graphs, engines, _given(graph, graphs, examples))
    yield from _alone(spec, begin, partial(examples.alone, 0, steps))
    if spec.batched:
        rows, _ = examples.together(0)
        yield Streams(lambda: examples.together(steps)[1], *begin.of(rows))
        return
    for number in range(1, len(examples)):
        yield Streams(partial(examples.alone, number, steps), *begin.of((number,)))


def _given(graph: Graph, graphs: Sequence[Graph], examples: GraphExamples) -> list[dict[str, Array]]:
    """Return what initialises each stream of examples: values of its first step, or else random ones."""
    needed, specs = _needed(graph, graphs)
    random = np.random.default_rng(0)
    sizes = axis_sizes(graph.spec, *specs)
    return [
        {**example(needed, 1, random, sizes), **examples.given(number, list(needed.values()))}
        for number in range(len(examples))
    ]


def _needed(graph: Graph, graphs: Sequence[Graph]) -> tuple[dict[str, TensorSpec], list[GraphSpec]]:
    """Return the inputs and conditions that streams of a graph need at the start, and the graphs that they feed.

    These are inputs of graphs that compute conditions or states, with a first axis for the steps of a graph that has
    states, and conditions that no graph computes.
    """
    sources = graph.spec.sources.values()
    specs = [each.spec for each in graphs if each.spec.name in {source.graph for source in sources}]
    axes = {source.graph: source.axis for source in sources if isinstance(source, FromSteps)}
    needed = {
        tensor.name: _with_steps(tensor, axes.get(each.name, OTHER_AXIS)) if each.states else tensor
        for each in specs
        for tensor in each.inputs
    }
    return needed | {tensor.name: tensor for tensor in graph.spec.conditions if tensor.source is None}, specs


def _with_steps(tensor: TensorSpec, axis: Axis) -> TensorSpec:
    """Return a tensor with a first axis that counts steps."""
    return replace(tensor, axes=(axis, *tensor.axes))


def random_streams(
    graph: Graph, graphs: Sequence[Graph], engines: Engines, steps: int, seed: int = 0
) -> Iterator[Streams]:
    """Yield one stream of random tensors, then a batch of several, from their initial states."""
    spec = graph.spec
    for streams in (1, _SIDE_BY_SIDE) if spec.batched else (1,):
        begin, sizes = _random_beginning(graph, graphs, engines, streams, seed)
        inputs = partial(_random, spec, streams, (seed, streams, 1), sizes, steps)
        if streams == 1:
            yield from _alone(spec, begin, inputs)
        else:
            yield Streams(inputs, *begin.of(range(streams)))


def _random_beginning(
    graph: Graph, graphs: Sequence[Graph], engines: Engines, streams: int, seed: int
) -> tuple[Beginnings, dict[str, int]]:
    """Return conditions and initial states of streams of random tensors, and the sizes of the named axes."""
    needed, specs = _needed(graph, graphs)
    random = np.random.default_rng((seed, streams))
    sizes = axis_sizes(graph.spec, *specs, smallest=OTHER_AXIS if streams == 1 else OTHER_AXIS - 4)
    begin = Beginnings(graph, graphs, engines, [example(needed, 1, random, sizes) for _ in range(streams)])
    conditions, _ = begin.of(range(streams))
    for tensor in graph.spec.conditions:
        sizes |= tensor.named_sizes(conditions[tensor.name])
    sizes.pop(BATCH, None)
    return begin, sizes


def rare_streams(graph: Graph, graphs: Sequence[Graph], engines: Engines) -> Iterator[Streams]:
    """Yield streams for a few steps with inputs of zeros or at their limits, and states far from their initial values.

    Bounded floating-point states start anywhere within their bounds, unbounded integers as large counters.
    """
    spec = graph.spec
    streams = _SIDE_BY_SIDE if spec.batched else 1
    begin, sizes = _random_beginning(graph, graphs, engines, streams, 1)
    conditions, states = begin.of(range(streams))
    inputs = {tensor.name: tensor for tensor in spec.inputs}
    ends = [extremes(inputs, streams, sizes, high=high) for high in (False, True)]
    zeros = {name: np.zeros_like(array) if _may_be_zero(inputs[name]) else array for name, array in ends[0].items()}
    for given in (zeros, *ends):
        yield Streams(partial(repeat, given, _RARE_STEPS), conditions, states)
    yield Streams(lambda: islice(cycle(ends), _RARE_STEPS), conditions, states)
    smallest = {axis: 1 for axis in sizes if axis != BATCH}
    if smallest and not _sizes_of(spec.conditions, spec.states):
        drawn = partial(_random, spec, streams, (2, streams, 1), smallest, _RARE_STEPS)
        yield Streams(drawn, conditions, states)
    if far := _far_states(spec, streams, sizes):
        drawn = partial(_random, spec, streams, (1, streams, 1), sizes, _RARE_STEPS)
        yield Streams(drawn, conditions, {**states, **far})


def _sizes_of(*groups: Sequence[TensorSpec]) -> set[str]:
    """Return the named axes of tensors, except the batch."""
    return {axis for group in groups for t in group for axis in t.axes if isinstance(axis, str) and axis != BATCH}


def _may_be_zero(tensor: TensorSpec) -> bool:
    low, limit = tensor.limits
    return (low is None or low <= 0) and (limit is None or limit > 0)


def _far_states(spec: GraphSpec, streams: int, sizes: Mapping[str, int]) -> dict[str, Array]:
    """Return states as far from their initial values as the contract allows, by the inputs that they feed."""
    bounded = {s.input: s for s in spec.states if s.bound is not None and s.numpy_dtype.kind == "f"}
    counters = [s for s in spec.states if s.numpy_dtype.kind in "iu" and s.limits == (None, None)]
    far = example(bounded, streams, np.random.default_rng((1, streams)), sizes)
    for state in counters:
        shape, dtype = state.shape({**sizes, BATCH: streams}), state.numpy_dtype
        counted = [count for count in _LONG_COUNTS if count < np.iinfo(dtype).max]
        far[state.input] = np.resize(np.array(counted, dtype), shape)
    return far


def single_steps(spec: GraphSpec, given: Sequence[Arrays], steps: int) -> Iterator[Streams]:
    """Yield steps of a graph without states and conditions, each with other inputs: one stream, then a batch.

    Named axes other than the batch change their size at each step: first that of the inputs, then the largest that the
    contract allows, for which rows are repeated, then several smaller ones, for which inputs are cropped.
    """
    for streams in (1, _SIDE_BY_SIDE) if spec.batched else (1,):
        yield Streams(partial(_resized, spec, given, streams, steps), {}, {}, recorded=streams == 1)


def begun_streams(graph: Graph, given: Sequence[Arrays], steps: int) -> Iterator[Streams]:
    """Yield streams of a graph from which others begin: the inputs of all held-out sequences as one, then a batch.

    given: for each sequence, the inputs, whose first axis counts the steps.
    """
    spec = graph.spec
    joined = {tensor.name: np.concatenate([each[tensor.name] for each in given]) for tensor in spec.inputs}
    begin = Beginnings(graph, [graph], {}, [{}] * _SIDE_BY_SIDE)
    yield from _alone(spec, begin, partial(_side_by_side, spec, joined, 1, steps))
    if spec.batched:
        inputs = partial(_side_by_side, spec, joined, _SIDE_BY_SIDE, steps)
        yield Streams(inputs, *begin.of(range(_SIDE_BY_SIDE)))


def _side_by_side(spec: GraphSpec, joined: Arrays, streams: int, steps: int) -> Iterator[dict[str, Array]]:
    """Yield the inputs of streams that begin at different steps of one sequence, which repeats after its end."""
    length = len(next(iter(joined.values())))
    starts = [stream * length // streams for stream in range(streams)]
    for place in range(steps):
        rows = [(start + place) % length for start in starts]
        yield {tensor.name: _join([joined[tensor.name][row] for row in rows], tensor) for tensor in spec.inputs}


def inputs_at(spec: GraphSpec, held_out: HeldOut, rows: Sequence[int], place: int) -> dict[str, Array]:
    """Return the inputs of one step of held-out sequences, which repeat after their end."""
    return {
        tensor.name: take_step(held_out.steps[tensor.name], rows, place % held_out.length, tensor)
        for tensor in spec.inputs
    }


def take_step(array: Array, rows: Sequence[int], place: int, tensor: TensorSpec) -> Array:
    """Return one step of sequences from an array (sequences, steps, ...), with the batch at `tensor`'s batch axis."""
    axis = tensor.batch_axis
    part = array[rows[0], place] if axis is None else np.moveaxis(array[list(rows), place], 0, axis)
    return np.array(part, order="C")


def _alone(spec: GraphSpec, begin: Beginnings, inputs: Callable[[], Iterable[Arrays]]) -> Iterator[Streams]:
    """Yield a single stream, whose first steps are recorded.

    Golden vectors start from zeros if another graph initialises a state; then a second stream is recorded instead.
    """
    made = any(isinstance(state.initial, FromGraph) for state in spec.states)
    yield Streams(inputs, *begin.of((0,)), recorded=not made)
    if made:
        yield Streams(lambda: islice(inputs(), vectors.RECORDED), *begin.recorded(), recorded=True)


def _read(spec: GraphSpec, held_out: HeldOut, rows: Sequence[int], steps: int) -> Iterator[dict[str, Array]]:
    return (inputs_at(spec, held_out, rows, place) for place in range(steps))


def _random(
    spec: GraphSpec, streams: int, seed: Sequence[int], sizes: Mapping[str, int], steps: int
) -> Iterator[dict[str, Array]]:
    return islice(random_inputs(spec, streams, np.random.default_rng(seed), sizes), steps)


def _resized(spec: GraphSpec, given: Sequence[Arrays], streams: int, steps: int) -> Iterator[dict[str, Array]]:
    smallest, largest = dict[str, int](), dict[str, int]()
    for tensor in spec.inputs:
        for name, limit in tensor.max_sizes.items():
            largest[name] = min(limit, largest.get(name, limit))
        for each in given:
            for axis, size in zip(tensor.axes, each[tensor.name].shape, strict=True):
                if isinstance(axis, str) and axis != BATCH:
                    smallest[axis] = min(size, smallest.get(axis, size))
    for number in range(steps):
        sizes = {**smallest, **largest} if number == 1 else _shrunk(smallest, number)
        rows = [given[(number + row) % len(given)] for row in range(streams)]
        yield {t.name: _join([resize(t, row[t.name], sizes, crop=True) for row in rows], t) for t in spec.inputs}


def _shrunk(sizes: Mapping[str, int], number: int) -> dict[str, int]:
    """Return smaller sizes of named axes, which vary with `number`; `sizes` themselves for 0."""
    return {
        axis: max(1, size - max(1, 7 - 2 * place) * (number % (3 + place)))
        for place, (axis, size) in enumerate(sizes.items())
    }


def _join(parts: Sequence[Array], tensor: TensorSpec) -> Array:
    """Join the tensors of several streams to a batch."""
    joined = parts[0] if tensor.batch_axis is None else np.concatenate(parts, tensor.batch_axis)
    return np.asarray(joined, order="C")
