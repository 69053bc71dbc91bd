"""The output of a model that scores classes, and probabilities from its scores."""

from __future__ import annotations

import numpy as np

from edgernn.contract import Array, TensorSpec
from edgernn.errors import SamplingError, StreamError
from edgernn.runtime import Model

__all__ = ["label_output", "probabilities"]


def label_output(model: Model) -> TensorSpec:
    """Return the output of a model's step that scores its classes. Raises StreamError for a model without one."""
    graph = next((graph for graph in model.contract.graphs if graph.name == "step"), None)
    output = None if graph is None else graph.output_of("label")
    if output is None or model.labels is None:
        raise StreamError(
            f"the bundle's task is {model.manifest.task}, but it scores no classes: that takes an output of the kind "
            "label, and the names of the classes in labels.json"
        )
    return output


def probabilities(scores: Array) -> Array:
    """Return the softmax of scores (..., classes). Raises SamplingError for scores that are not numbers."""
    scores = scores.astype(np.float64)
    if not np.isfinite(scores).all():
        raise SamplingError("the scores of the classes are not numbers")
    parts = np.exp(scores - scores.max(axis=-1, keepdims=True))
    shares: Array = parts / parts.sum(axis=-1, keepdims=True)
    return shares
