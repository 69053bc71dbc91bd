"""Captioning on the device: a stream that is conditioned on an image generates its description."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from edgernn.contract import BATCH, Array, GraphSpec, TensorSpec
from edgernn.errors import ConfigError, StreamError
from edgernn.media.image import LARGEST_SIDE, SUFFIXES, draw_attention, read_image, resized
from edgernn.runtime import Model, Sampler, Stream, beam_search
from edgernn.runtime.beam import Candidate, greedy_search
from edgernn.runtime.pipelines.pipeline import Pipeline, Result, Show, check_output, ignore, text_graph
from edgernn.settings import Settings, option

__all__ = [
    "LENGTH_PENALTY",
    "MAX_TOKENS",
    "Caption",
    "CaptionOptions",
    "CaptionPipeline",
    "attention_maps",
    "caption_image",
    "largest_side",
    "open_image",
    "start_caption",
]

MAX_TOKENS = 20  # of a caption, by default
LENGTH_PENALTY = 0.7


@dataclass(frozen=True)
class Caption(Result):
    """The best caption of an image, and the candidates that were asked for, the best first."""

    text: str
    candidates: tuple[Candidate, ...]

    def to_json(self) -> dict[str, Any]:
        """The best caption, its number of tokens, and each candidate with its score."""
        candidates = [
            {"text": each.text, "score": each.score, "log_probability": each.log_probability}
            for each in self.candidates
        ]
        tokens = len(self.candidates[0].tokens)
        return {"caption": self.text, "text": self.text, "tokens": tokens, "candidates": candidates}

    def __str__(self) -> str:
        """Return the caption; if there are several candidates, a line for each, with its score."""
        if len(self.candidates) == 1:
            return self.text
        return "\n".join(f"{each.score:7.3f}  {each.text}" for each in self.candidates)


@dataclass(frozen=True, kw_only=True)
class CaptionOptions(Settings):
    """How captions are decoded."""

    beam: int = option(1, "The beam width; 1 is greedy decoding.", low=1, high=100)
    candidates: int = option(
        1, "The number of captions to print, the best first; above 1 each has its score. At most the beam width.", low=1
    )
    max_tokens: int = option(MAX_TOKENS, "The maximum number of tokens of a caption.", low=1)
    attention: Path | None = option(None, "Write a picture of the attention for each word of the caption.")


class CaptionPipeline(Pipeline[CaptionOptions]):
    """Describes images."""

    task = "caption"
    inputs = ("IMAGE", "image files")
    suffixes = SUFFIXES
    options = CaptionOptions
    example = "bundles/scenes pictures/000.png --beam 5"
    input_key = "image"

    def __init__(self, model: Model) -> None:
        """Raise StreamError for a model that does not describe images."""
        super().__init__(model)
        self._image = _parts(model).image

    def read(self, source: str | Path | bytes) -> Mapping[str, Array]:
        """Return the image in a file, or in its bytes, as bytes (height, width, 3), scaled to fit the model.

        Raises ImageError for a file that is not an image.
        """
        return {self._image.name: open_image(self.model, source)}

    def check(self, options: CaptionOptions, sources: Sequence[Path]) -> None:
        """Raise ConfigError for more candidates than the beam has, or an image of attention that cannot be written."""
        if options.candidates > options.beam:
            wanted = options.candidates
            raise ConfigError(f"--candidates {wanted} needs a beam of that width: give --beam {wanted} as well")
        if options.attention is not None:
            check_output("--attention", options.attention, sources, SUFFIXES)

    def __call__(self, inputs: Mapping[str, Array], options: CaptionOptions, show: Show = ignore) -> Caption:
        """Describe the image. Raises ImageError if the picture of the attention cannot be written."""
        image = inputs[self._image.name]
        found = caption_image(self.model, image, options.beam, options.max_tokens, show)
        if options.attention is not None:
            words = found.text.split()
            maps = attention_maps(self.model, image, found.candidates[0].tokens[: len(words)])
            draw_attention(image, words, maps, options.attention)
        return Caption(found.text, found.candidates[: options.candidates])


def open_image(model: Model, source: str | Path | bytes) -> Array:
    """Return the image in a file, or in its bytes, as bytes (height, width, 3), scaled to fit `model`.

    Raises ImageError for a file that is not an image, StreamError for a model that does not describe images.
    """
    return read_image(source, largest_side(model))


def start_caption(model: Model, image: Array, sampler: Sampler | None = None) -> Stream:
    """Return a stream that describes `image`, bytes (height, width, 3), before its first token.

    A model that accepts images of one size alone describes the image resized to it. sampler: by default, greedy.
    Raises ContractError for an image that does not fit, StreamError for a model that does not describe images.
    """
    stream = _begin(model, image, Sampler(temperature=0) if sampler is None else sampler)
    stream.prefill(np.array([_parts(model).start_id]))
    return stream


def caption_image(
    model: Model, image: Array, beam: int = 1, max_tokens: int = MAX_TOKENS, show: Show = ignore
) -> Caption:
    """Return the best captions of `image`, bytes (height, width, 3), found with a beam of width `beam`.

    The score of a caption is its log-probability divided by the number of tokens to the power of 0.7. show: called with
    each piece of text if `beam` is 1 (greedy); with a wider beam, no word is certain before the end.
    Raises what `start_caption` and `beam_search` raise.
    """
    stream = start_caption(model, image)
    if beam == 1:
        found = [greedy_search(stream, max_tokens, show, length_penalty=LENGTH_PENALTY)]
    else:
        found = beam_search(stream, beam, max_tokens, length_penalty=LENGTH_PENALTY)
    return Caption(found[0].text, tuple(found))


def attention_maps(model: Model, image: Array, tokens: tuple[int, ...]) -> Array:
    """Return the attention weights of each token over the image, (tokens, rows, columns), which sum to 1 per token.

    Raises StreamError for a model without attention.
    """
    parts = _parts(model)
    token, attention = parts.text.input_of("token"), parts.text.output_of("attention")
    if token is None or attention is None or not isinstance(attention.axes[-1], int):
        raise StreamError("the model has no attention: it uses the whole image for every word")
    side = round(attention.axes[-1] ** 0.5)
    if attention.axes != (BATCH, side**2):
        raise StreamError(f"the attention of axes {list(attention.axes)} is not over a square grid: it cannot be drawn")
    stream = _begin(model, image, Sampler())
    read = (parts.start_id, *tokens)[: len(tokens)]  # a token is predicted after the previous one was read
    weights = [stream.step({token.name: np.array([each], token.numpy_dtype)})[attention.name] for each in read]
    return np.array(weights, np.float32).reshape(len(tokens), side, side)


def largest_side(model: Model) -> int:
    """Return the largest side of an image that `model` accepts, in pixels.

    Raises StreamError for a model that does not describe images.
    """
    return min(_parts(model).image.max_sizes.values(), default=LARGEST_SIDE)


class _Parts(NamedTuple):
    """The parts of a model that describe an image.

    image: the input for the image. text: the graph that predicts tokens. start_id: the first token that it reads.
    """

    image: TensorSpec
    text: GraphSpec
    start_id: int


def _parts(model: Model) -> _Parts:
    """Return the parts of `model` that describe an image. Raises StreamError for a model without them."""
    images = [tensor for graph in model.contract.graphs if (tensor := graph.input_of("image")) is not None]
    text = text_graph(model)
    start_id = None if model.tokenizer is None else model.tokenizer.start_id
    if not images or text is None or start_id is None:
        raise StreamError(
            f"the bundle's task is {model.manifest.task}, and it does not describe images: drive it with edgernn run"
        )
    return _Parts(images[0], text, start_id)


def _begin(model: Model, image: Array, sampler: Sampler) -> Stream:
    """Return a stream for `image` that has not read a token yet."""
    parts = _parts(model)
    inputs = {parts.image.name: _accepted(image, parts.image)[None]}
    return model.stream(sampler, inputs=inputs, graph=parts.text.name)


def _accepted(image: Array, tensor: TensorSpec) -> Array:
    """Return an image in the size that an input accepts, if it accepts only one."""
    sides = [axis for axis in tensor.axes if axis != BATCH][:2]
    if image.ndim == len(tensor.axes) - 1 and image.dtype == np.uint8 and all(isinstance(side, int) for side in sides):
        return resized(image, *map(int, sides))
    return image
