"""Captions: a stream that begins from an image and describes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from edgernn.contract import BATCH, Array, GraphSpec, TensorSpec
from edgernn.errors import StreamError
from edgernn.media.image import LARGEST_SIDE, SUFFIXES, draw_attention, read_image
from edgernn.runtime import Model, Sampler, Stream, beam_search
from edgernn.runtime.beam import Candidate
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

MAX_TOKENS = 20  # of a caption, unless asked otherwise
LENGTH_PENALTY = 0.7


@dataclass(frozen=True)
class Caption(Result):
    """The best caption of an image, and all that were found, the best first."""

    text: str
    candidates: tuple[Candidate, ...]

    def to_json(self) -> dict[str, Any]:
        """The best caption, its number of tokens, and every candidate with its score."""
        candidates = [
            {"text": each.text, "score": each.score, "log_probability": each.log_probability}
            for each in self.candidates
        ]
        tokens = len(self.candidates[0].tokens)
        return {"caption": self.text, "text": self.text, "tokens": tokens, "candidates": candidates}

    def __str__(self) -> str:
        """The caption, or a line for each of several candidates, with its score."""
        if len(self.candidates) == 1:
            return self.text
        return "\n".join(f"{each.score:7.3f}  {each.text}" for each in self.candidates)

    @property
    def summary(self) -> str:
        """The best caption."""
        return self.text


@dataclass(frozen=True, kw_only=True)
class CaptionOptions(Settings):
    """How an image is described."""

    beam: int = option(1, "The beam width; 1 is greedy decoding.", low=1, high=1000)
    max_tokens: int = option(MAX_TOKENS, "The maximum number of tokens of a caption.", low=1)
    attention: Path | None = option(
        None, "Write an image file that shows, for each word of the caption, where the decoder attended."
    )


class CaptionPipeline(Pipeline[CaptionOptions]):
    """Describes images."""

    task = "caption"
    inputs = ("IMAGE", "image files")
    suffixes = SUFFIXES
    options = CaptionOptions
    example = "bundles/photos holiday.jpg --beam 5"
    input_key = "image"

    def __init__(self, model: Model) -> None:
        """Raises StreamError for a model that does not describe images."""
        super().__init__(model)
        self._image = _parts(model).image

    def read(self, source: str | Path | bytes) -> Mapping[str, Array]:
        """The image in a file, or in its bytes, at the size that the model takes: bytes (height, width, 3).

        Raises ImageError for a file that is not an image.
        """
        return {self._image.name: open_image(self.model, source)}

    def check(self, options: CaptionOptions, sources: Sequence[Path]) -> None:
        """Raise ConfigError unless the image of the attention can be written for the images that are read."""
        if options.attention is not None:
            check_output("--attention", options.attention, sources, SUFFIXES)

    def __call__(self, inputs: Mapping[str, Array], options: CaptionOptions, show: Show = ignore) -> Caption:
        """Describe the image. Raises ImageError if the image of the attention cannot be written."""
        image = inputs[self._image.name]
        found = caption_image(self.model, image, options.beam, options.max_tokens, show)
        if options.attention is not None:
            words = found.text.split()
            maps = attention_maps(self.model, image, found.candidates[0].tokens[: len(words)])
            draw_attention(image, words, maps, options.attention)
        return found


def open_image(model: Model, source: str | Path | bytes) -> Array:
    """The image in a file, or in its bytes, at the size that `model` takes: (height, width, 3) of bytes.

    Raises ImageError for a file that is not an image, StreamError for a model that does not describe images.
    """
    return read_image(source, largest_side(model))


def start_caption(model: Model, image: Array, sampler: Sampler | None = None) -> Stream:
    """A stream that describes `image` (height, width, 3) of bytes, before its first token.

    sampler: how tokens are chosen; the most likely one every time, unless it is given.
    Raises ContractError for an image that does not fit, StreamError for a model that does not describe images.
    """
    stream = _begin(model, image, Sampler(temperature=0) if sampler is None else sampler)
    stream.prefill(np.array([_parts(model).start_id]))
    return stream


def caption_image(
    model: Model, image: Array, beam: int = 1, max_tokens: int = MAX_TOKENS, show: Show = ignore
) -> Caption:
    """The best captions of `image` (height, width, 3) that beam search finds with a width of `beam`.

    Scores are log-probabilities over the number of tokens to the power of 0.7. show: called with each piece of the
    caption where the beam is 1; with a wider one, no word is decided before the end.
    Raises as `start_caption` and `beam_search`.
    """
    stream = start_caption(model, image)
    if beam == 1:
        found = [_greedy(stream, max_tokens, show)]
    else:
        found = beam_search(stream, beam, max_tokens, length_penalty=LENGTH_PENALTY)
    return Caption(found[0].text, tuple(found))


def attention_maps(model: Model, image: Array, tokens: tuple[int, ...]) -> Array:
    """The attention weights of each token over the image: (tokens, rows, columns), adding up to 1 for a token.

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
    read = (parts.start_id, *tokens)[: len(tokens)]  # a token is chosen after the one before it was read
    weights = [stream.step({token.name: np.array([each], token.numpy_dtype)})[attention.name] for each in read]
    return np.array(weights, np.float32).reshape(len(tokens), side, side)


def largest_side(model: Model) -> int:
    """The largest side of an image that `model` takes, in pixels.

    Raises StreamError for a model that does not describe images.
    """
    return min(_parts(model).image.max_sizes.values(), default=LARGEST_SIDE)


class _Parts(NamedTuple):
    """image: the input for the image. text: the graph that predicts tokens. start_id: of the first token it reads."""

    image: TensorSpec
    text: GraphSpec
    start_id: int


def _parts(model: Model) -> _Parts:
    """What describes an image in `model`. Raises StreamError for a model that does not."""
    images = [tensor for graph in model.contract.graphs if (tensor := graph.input_of("image")) is not None]
    text = text_graph(model)
    start_id = None if model.tokenizer is None else model.tokenizer.start_id
    if not images or text is None or start_id is None:
        raise StreamError(
            f"the bundle's task is {model.manifest.task}, and it does not describe images: drive it with edgernn run"
        )
    return _Parts(images[0], text, start_id)


def _begin(model: Model, image: Array, sampler: Sampler) -> Stream:
    """A stream for `image` that has read nothing yet."""
    parts = _parts(model)
    return model.stream(sampler, inputs={parts.image.name: image[None]}, graph=parts.text.name)


def _greedy(stream: Stream, max_tokens: int, show: Show) -> Candidate:
    """What a beam of 1 finds, shown as it is decided."""
    tokens: list[int] = []
    pieces: list[str] = []
    total = 0.0
    for token, text, log_probability in stream.tokens(max_tokens):
        tokens.append(token)
        pieces.append(text)
        total += log_probability
        if text and show(text) is False:
            break
    score = total / max(1, len(tokens)) ** LENGTH_PENALTY
    return Candidate(tuple(tokens), "".join(pieces), total, score)
