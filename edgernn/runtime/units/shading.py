"""Shade the text of a stream by a unit while it is read and generated."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Self

import numpy as np

from edgernn.runtime.stream import Stream
from edgernn.runtime.units.unit import Units
from edgernn.tokenizer import Ids

__all__ = ["Shaded", "Shading"]


class Shaded(str):
    """A piece of text with the shade of a unit once it was read: from -1, blue, over white to 1, red."""

    __slots__ = ("shade",)
    shade: float

    def __new__(cls, text: str, shade: float) -> Self:
        """Return `text` with a shade."""
        piece = super().__new__(cls, text)
        piece.shade = shade
        return piece


class Shading:
    """Shades text by a unit: the shade is the hyperbolic tangent of its value, so that white is 0."""

    def __init__(self, units: Units, unit: str) -> None:
        """unit: a number or a name, as in `Units.find`, which raises ConfigError for one that does not exist."""
        self._units, self._unit = units, units.find(unit)

    def prefill(self, stream: Stream, prompt: str | Ids, *, unknown: str = "refuse") -> Iterator[Shaded]:
        """Consume a prompt as `Stream.prefill` does, and yield its text in whole characters."""
        tokenizer = stream.model.text_of(stream.spec.name).require_tokenizer()
        ids = tokenizer.encode(prompt, unknown=unknown) if isinstance(prompt, str) else np.asarray(prompt)
        decoder = tokenizer.decoder()
        for place in range(len(ids)):
            stream.prefill(ids[place : place + 1])
            if text := decoder.push(int(ids[place])):
                yield Shaded(text, self._shade(stream))

    def decode(self, stream: Stream, max_tokens: int | None = None, stop: str | Sequence[str] = ()) -> Iterator[Shaded]:
        """Sample tokens as `Stream.decode` does. Text that was held back has the shade of the token that frees it."""
        for drawn in stream.tokens(max_tokens, stop):
            if drawn.text:
                yield Shaded(drawn.text, self._shade(stream))

    def _shade(self, stream: Stream) -> float:
        return math.tanh(float(self._units.values(stream.state)[self._unit.number]))
