"""Real data that a run held out: what its artifacts are driven with, compared on, and calibrated by."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, partial
from itertools import count, cycle
from typing import Any

import numpy as np

from edgernn.arrays import from_npy
from edgernn.contract import BATCH, Array, Contract, FromGraph, GraphSpec
from edgernn.engines import EagerEngine
from edgernn.models import Graph
from edgernn.runtime import Engine
from edgernn.runtime.parity import Inputs, chain
from edgernn.runtime.pipelines.caption import MAX_TOKENS
from edgernn.tasks.caption.decode import before_end
from edgernn.tokenizer import Ids, Tokenizer

__all__ = ["HeldOut", "HeldOutPictures", "HeldOutText"]

TOKEN, LOGITS = "token", "logits"
Engines = Mapping[str, Engine]  # by graph


class HeldOut(ABC):
    """Real data for the graphs of one network."""

    @property
    @abstractmethod
    def tokens(self) -> int:
        """How many tokens `loss` is about."""

    @abstractmethod
    def loss(self, engines: Engines, graphs: Sequence[Graph]) -> float:
        """Mean nats per token of the graphs as `engines` run them."""

    def inputs(self, spec: GraphSpec) -> Inputs | None:
        """What a graph is given step by step, for so many streams, without end; None for anything."""
        return None

    def calibration(self, spec: GraphSpec) -> Sequence[Mapping[str, Array]]:
        """Inputs by which the ranges inside a graph without state are measured; none of those that are compared on."""
        return ()

    def answers(self, engines: Engines, graphs: Sequence[Graph]) -> list[list[int]]:
        """Whole captions, where there are any, by the likeliest token every time."""
        return []


class HeldOutText(HeldOut):
    """Text. ids: tokens (streams, steps + 1)."""

    def __init__(self, ids: Ids) -> None:
        self._ids = ids

    @property
    def tokens(self) -> int:
        """All but the first of each stream."""
        return self._ids.size - len(self._ids)

    def inputs(self, spec: GraphSpec) -> Inputs | None:
        """The text of so many streams, again and again."""
        return lambda streams: ({TOKEN: np.ascontiguousarray(ids)} for ids in cycle(self._ids[:streams].T))

    def loss(self, engines: Engines, graphs: Sequence[Graph]) -> float:
        """Mean nats per token, the streams read side by side."""
        (graph,) = graphs
        spec, streams = graph.spec, len(self._ids)
        given = [{TOKEN: np.ascontiguousarray(column)} for column in self._ids.T[:-1]]
        first = _first_states(graph, streams)
        return sum(_nats(engines[spec.name], spec, given, first, self._ids.T[1:])) / self.tokens


class HeldOutPictures(HeldOut):
    """Pictures with a caption each.

    images: (pictures, height, width, 3) of bytes. tokens, targets: (pictures, words), targets below 0 being nothing.
    others: images to calibrate by. graphs: those of the network, by which the words get real conditions.
    """

    def __init__(
        self,
        images: Array,
        tokens: Ids,
        targets: Ids,
        *,
        others: Array,
        tokenizer: Tokenizer,
        graphs: Sequence[Graph],
    ) -> None:
        self._images, self._tokens, self._targets, self._others = images, tokens, targets, others
        self._tokenizer, self._graphs = tokenizer, graphs

    @property
    def tokens(self) -> int:
        """All words of the captions, and their ends."""
        return int(np.sum(self._targets >= 0))

    def inputs(self, spec: GraphSpec) -> Inputs | None:
        """The pictures in several sizes, one of them the largest, or the words of their captions and what was seen."""
        if spec.states:
            return self._some_words
        largest = spec.inputs[0].max_sizes
        return partial(self._some_images, (largest["height"], largest["width"]))

    def _some_images(self, largest: tuple[int, int], streams: int) -> Iterator[dict[str, Array]]:
        height, width = self._images.shape[1:3]
        for number in count():
            images = np.take(self._images, range(number, number + streams), axis=0, mode="wrap")
            if number == 1:
                rows, columns = (
                    np.arange(side) * old // side for side, old in zip(largest, (height, width), strict=True)
                )
                images = images[:, rows][:, :, columns]
            else:
                images = images[:, : max(1, height - 7 * (number % 3)), : max(1, width - 5 * (number % 4))]
            yield {"image": np.ascontiguousarray(images)}

    def _some_words(self, streams: int) -> Iterator[dict[str, Array]]:
        rows = np.arange(streams) % len(self._tokens)
        held = {name: array[rows] for name, array in self._seen.items()}
        return ({**held, TOKEN: np.ascontiguousarray(ids)} for ids in cycle(self._tokens[rows].T))

    @cached_property
    def _seen(self) -> dict[str, Array]:
        """The conditions of every picture, as the network itself makes them."""
        engines = {graph.spec.name: EagerEngine(graph.source, graph.spec) for graph in self._graphs}
        return self._look(engines, self._graphs)[1]

    def calibration(self, spec: GraphSpec) -> Sequence[Mapping[str, Array]]:
        """Other pictures, one by one."""
        return [] if spec.states else [{"image": image[None]} for image in self._others]

    def loss(self, engines: Engines, graphs: Sequence[Graph]) -> float:
        """Mean nats per word of the captions."""
        step, held = self._look(engines, graphs)
        given = [{**held, TOKEN: np.ascontiguousarray(column)} for column in self._tokens.T]
        first = _first_states(step, len(self._tokens))
        return sum(_nats(engines[step.spec.name], step.spec, given, first, self._targets.T)) / self.tokens

    def answers(self, engines: Engines, graphs: Sequence[Graph]) -> list[list[int]]:
        """A caption of every picture, by the likeliest word every time."""
        step, held = self._look(engines, graphs)
        states: Mapping[str, Array] = _first_states(step, len(self._images))
        token = np.full(len(self._images), self._tokenizer.start_id, np.int64)
        said: list[Array] = []
        for _ in range(MAX_TOKENS):
            (taken,) = chain(engines[step.spec.name], step.spec, [{**held, TOKEN: token}], states)
            logits, states = taken.outputs[LOGITS].copy(), taken.states
            logits[:, list(self._tokenizer.never_sampled)] = -np.inf
            token = logits.argmax(axis=1)
            said.append(token)
        return [[*before_end(ids.tolist(), self._tokenizer.end_id)] for ids in np.stack(said, axis=1)]

    def _look(self, engines: Engines, graphs: Sequence[Graph]) -> tuple[Graph, dict[str, Array]]:
        """The graph that writes, and the conditions of every picture, side by side."""
        contract = Contract(tuple(graph.spec for graph in graphs))
        step = next(graph for graph in graphs if graph.spec.states)
        conditions: dict[str, Any] = {}
        for condition in step.spec.conditions:
            source = condition.source
            assert isinstance(source, FromGraph)
            names = contract[source.graph].output_names
            if source.graph not in conditions:
                engine = engines[source.graph]
                made = [engine.run({"image": image[None]}) for image in self._images]
                conditions[source.graph] = dict(zip(names, map(np.concatenate, zip(*made, strict=True)), strict=True))
        return step, {
            c.name: conditions[c.source.graph][c.source.output] for c in step.spec.conditions if c.source is not None
        }


def _first_states(graph: Graph, streams: int) -> dict[str, Array]:
    files = {name: from_npy(data, name) for name, data in graph.files().items()}
    return {state.input: state.first({BATCH: streams}, files) for state in graph.spec.states}


def _nats(
    engine: Engine,
    spec: GraphSpec,
    given: Sequence[Mapping[str, Array]],
    states: Mapping[str, Array],
    targets: Sequence[Array] | Array,
) -> Iterator[float]:
    """What the targets (streams,) of each step cost together; those below 0 cost nothing."""
    for step, expected in zip(chain(engine, spec, given, states), targets, strict=True):
        logits = step.outputs[LOGITS].astype(np.float64)
        highest = logits.max(axis=1)
        sums = highest + np.log(np.exp(logits - highest[:, None]).sum(axis=1))
        costs = sums - logits[np.arange(len(expected)), np.maximum(expected, 0)]
        yield float(np.sum(costs[expected >= 0]))
