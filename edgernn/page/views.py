"""Which view of the page shows a bundle, and the picture that the view begins with."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from edgernn.arrays import from_npy
from edgernn.bundle import Bundle
from edgernn.contract import Array, Contract, GraphSpec, with_kinds

__all__ = ["example", "view_of"]

_STEP = "step"
_LABELLERS = ("classify", "tag")
_PICTURE_AXES = 3  # height, width and channels


def view_of(bundle: Bundle) -> str | None:
    """Return the view of a bundle: text, photo, draw, strokes, paint, look or listen; None for one that is not shown.

    As in the pipelines, the kinds of its tensors decide.
    """
    contract = _contract(bundle)
    tokenizer = bundle.tokenizer()
    for graph in contract.graphs if tokenizer is not None else ():
        if not graph.input_of("token") or not graph.output_of("next-token"):
            continue
        if not graph.conditions and len(graph.inputs) == 1:
            return "text"
        if any(each.input_of("image") for each in contract.graphs) and tokenizer and tokenizer.start_id is not None:
            return "photo"
    step = next((graph for graph in contract.graphs if graph.name == _STEP), None)
    if step is None:
        return None
    return "listen" if _listens(bundle, step) else _view_of_step(step)


def _view_of_step(step: GraphSpec) -> str | None:
    """Return the view of what a graph `step` without tokens does, or None."""
    has_image = any(each.kind == "image" and each.source is None for each in step.conditions)
    if step.output_of("boxes"):
        if step.input_of("noise") and step.output_of("canvas"):
            return "draw"
        return "look" if step.output_of("label") and has_image else None
    if step.input_of("point") and step.output_of("next-point"):
        return "strokes"
    paints = step.output_of("stroke") and any(state.kind == "canvas" for state in step.states)
    return "paint" if paints and has_image else None


def _listens(bundle: Bundle, step: GraphSpec) -> bool:
    """Whether a classifier or a tagger reads sound."""
    audio = step.input_of("audio")
    reads = audio is not None and len(step.inputs) == 1 and not step.conditions and audio.dtype == "int16"
    labels = step.output_of("label") is not None and bundle.labels() is not None
    return reads and labels and bundle.manifest.task in _LABELLERS


def example(bundle: Bundle) -> Array | None:
    """Return the first picture of a bundle's golden vectors, bytes (height, width, 3); None if there is none."""
    for file in _golden_pictures(bundle):
        if file in bundle.files:
            array = from_npy(bundle.files[file], file)
            return np.ascontiguousarray(array.reshape(-1, *array.shape[-_PICTURE_AXES:])[0])
    return None


def _golden_pictures(bundle: Bundle) -> Iterator[str]:
    """The names of the files that golden vectors of pictures have."""
    for graph in _contract(bundle).graphs:
        for role, specs in (("inputs", graph.inputs), ("conditions", graph.conditions)):
            yield from (f"golden/{graph.name}/{role}.{spec.name}.npy" for spec in specs if spec.kind == "image")


def _contract(bundle: Bundle) -> Contract:
    return with_kinds(bundle.manifest.contract, bundle.manifest.task)
