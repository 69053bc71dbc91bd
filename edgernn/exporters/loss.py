"""The loss of a graph on text, step by step, on any engine."""

from __future__ import annotations

import numpy as np

from edgernn.arrays import from_npy
from edgernn.contract import BATCH, FromFile
from edgernn.models import Graph
from edgernn.runtime import Engine
from edgernn.runtime.parity import chain
from edgernn.runtime.stream import LOGITS, TOKEN
from edgernn.tokenizer import Ids

__all__ = ["text_loss"]


def text_loss(engine: Engine, graph: Graph, ids: Ids) -> float:
    """Mean nats per token of a graph from token to logits; ids (streams, steps + 1) are read side by side."""
    spec, streams = graph.spec, len(ids)
    states = {}
    for state in spec.states:
        shape = state.shape({BATCH: streams})
        first = np.zeros((), state.numpy_dtype)
        if isinstance(state.initial, FromFile):
            first = from_npy(graph.files()[state.initial.file], state.initial.file)
        states[state.input] = np.broadcast_to(first, shape).copy()
    nats = 0.0
    given = ({TOKEN: np.ascontiguousarray(column)} for column in ids.T[:-1])
    for step, targets in zip(chain(engine, spec, given, states), ids.T[1:], strict=True):
        logits = step.outputs[LOGITS].astype(np.float64)
        highest = logits.max(axis=1)
        sums = highest + np.log(np.exp(logits - highest[:, None]).sum(axis=1))
        nats += float(np.sum(sums - logits[np.arange(streams), targets]))
    return nats / (ids.size - streams)
