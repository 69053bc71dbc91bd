"""The loss of a graph on text, step by step, on any engine."""

from __future__ import annotations

import numpy as np

from edgernn.arrays import from_npy
from edgernn.contract import BATCH
from edgernn.models import Graph
from edgernn.runtime import Engine
from edgernn.runtime.parity import chain
from edgernn.runtime.stream import LOGITS, TOKEN
from edgernn.tokenizer import Ids

__all__ = ["text_loss"]


def text_loss(engine: Engine, graph: Graph, ids: Ids) -> float:
    """Mean nats per token of a graph from token to logits; ids (streams, steps + 1) are read side by side."""
    spec, streams = graph.spec, len(ids)
    files = {name: from_npy(data, name) for name, data in graph.files().items()}
    states = {state.input: state.first({BATCH: streams}, files) for state in spec.states}
    nats = 0.0
    given = ({TOKEN: np.ascontiguousarray(column)} for column in ids.T[:-1])
    for step, targets in zip(chain(engine, spec, given, states), ids.T[1:], strict=True):
        logits = step.outputs[LOGITS].astype(np.float64)
        highest = logits.max(axis=1)
        sums = highest + np.log(np.exp(logits - highest[:, None]).sum(axis=1))
        nats += float(np.sum(sums - logits[np.arange(streams), targets]))
    return nats / (ids.size - streams)
