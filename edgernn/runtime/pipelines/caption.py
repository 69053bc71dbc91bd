"""Captions: a stream that has looked at a picture and writes about it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgernn.contract import Array
from edgernn.errors import StreamError
from edgernn.media.image import read_image
from edgernn.runtime.beam import Candidate, beam_search
from edgernn.runtime.model import STEP, Model
from edgernn.runtime.stream import Stream
from edgernn.sampling import Sampler

__all__ = [
    "LENGTH_PENALTY",
    "MAX_TOKENS",
    "Caption",
    "attention_maps",
    "caption_image",
    "largest_side",
    "open_image",
    "start_caption",
]

IMAGE = "image"
TOKEN = "token"
ATTENTION = "attention"
MAX_TOKENS = 20  # words, unless asked otherwise
LENGTH_PENALTY = 0.7


@dataclass(frozen=True)
class Caption:
    """What a model says of a picture: its best caption, and all that were found, the best first."""

    text: str
    candidates: tuple[Candidate, ...]


def open_image(model: Model, source: str | Path | bytes) -> Array:
    """The picture in a file, or in its bytes, as large as `model` takes it.

    Raises ImageError for a file that is no image, StreamError for a model that takes none.
    """
    return read_image(source, largest_side(model))


def start_caption(model: Model, image: Array, sampler: Sampler | None = None) -> Stream:
    """A stream that has looked at `image` (height, width, 3) of bytes, and is about to write.

    sampler: how it draws words; the likeliest one every time unless given.
    Raises ContractError for an image that does not fit, StreamError for a model that takes none.
    """
    largest_side(model)
    assert model.tokenizer is not None
    stream = model.stream(Sampler(temperature=0) if sampler is None else sampler, inputs={IMAGE: image[None]})
    stream.prefill(np.array([model.tokenizer.start_id]))
    return stream


def caption_image(model: Model, image: Array, beam: int = 1, max_tokens: int = MAX_TOKENS) -> Caption:
    """The best captions of `image` (height, width, 3) that a beam of so many finds.

    Scores are log-probabilities over the number of words to the power of 0.7. Raises as `look` and `beam_search` do.
    """
    found = beam_search(start_caption(model, image), beam, max_tokens, length_penalty=LENGTH_PENALTY)
    return Caption(found[0].text, tuple(found))


def attention_maps(model: Model, image: Array, tokens: tuple[int, ...]) -> Array:
    """How much each part of the picture counted for each word: (words, rows, columns), adding up to 1 for a word.

    Raises StreamError for a model without attention.
    """
    if ATTENTION not in {output.name for output in model.contract[STEP].outputs}:
        raise StreamError("the model has no attention: it looks at the whole picture for every word")
    assert model.tokenizer is not None
    stream = model.stream(inputs={IMAGE: image[None]})
    cells = next(output.axes[-1] for output in model.contract[STEP].outputs if output.name == ATTENTION)
    side = round(int(cells) ** 0.5)
    read = (model.tokenizer.start_id, *tokens)[: len(tokens)]
    weights = [stream.step({TOKEN: np.array([token], np.int64)})[ATTENTION] for token in read]
    return np.array(weights, np.float32).reshape(len(tokens), side, side)


def largest_side(model: Model) -> int:
    """Of the pictures that a model takes, in pixels. Raises StreamError for one that takes none."""
    for graph in model.contract.graphs:
        for tensor in graph.inputs:
            if tensor.name == IMAGE and model.tokenizer is not None and model.tokenizer.start_id is not None:
                return min(tensor.max_sizes.values(), default=1024)
    raise StreamError(f"the bundle's task, {model.manifest.task}, takes no picture")
