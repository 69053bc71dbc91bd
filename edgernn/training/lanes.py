"""Cutting one long text into parallel lanes for truncated back-propagation through time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgernn.errors import CorpusError
from edgernn.tokenizer import Ids

__all__ = ["Chunk", "Lanes", "pack"]

Tokens = npt.NDArray[Any]  # token ids (tokens,) in the smallest type that holds the vocabulary


def pack(ids: Ids, vocabulary: int) -> Tokens:
    """Token ids in the smallest unsigned type that holds the vocabulary."""
    return ids.astype(np.min_scalar_type(max(vocabulary - 1, 0)))


@dataclass(frozen=True)
class Chunk:
    """Tokens of all lanes over `chunk` steps: inputs and targets (time, lanes).

    first: whether a pass over the text begins here, so that the state starts afresh.
    """

    inputs: Ids
    targets: Ids
    first: bool


class Lanes:
    """A text read by `lanes` readers at equal distances, `chunk` tokens at a time.

    Every pass starts at another place, drawn from the seed and the number of the pass alone, and the text is a ring: so
    chunk k is always the same chunk, whoever asks and whatever came before.
    """

    def __init__(self, tokens: Tokens, lanes: int, chunk: int, seed: int) -> None:
        """Raises CorpusError for a text shorter than one chunk; one too short for all lanes gets fewer."""
        if len(tokens) < chunk + 1:
            raise CorpusError(
                f"the training text has {len(tokens)} tokens, fewer than one chunk needs ({chunk + 1}): "
                "give more text or a smaller --chunk"
            )
        self.lanes = min(lanes, (len(tokens) - 1) // chunk)
        self.chunks_per_pass = (len(tokens) - 1) // self.lanes // chunk
        self._tokens, self._chunk, self._seed = tokens, chunk, seed

    def chunks(self, start: int = 0) -> Iterator[Chunk]:
        """Chunk `start` and all after it, without end."""
        while True:
            number, position = divmod(start, self.chunks_per_pass)
            yield self._read(number, position)
            start += 1

    def _read(self, number: int, position: int) -> Chunk:
        offset = int(np.random.default_rng((self._seed, number)).integers(len(self._tokens)))
        starts = offset + np.arange(self.lanes) * ((len(self._tokens) - 1) // self.lanes) + position * self._chunk
        index = (starts + np.arange(self._chunk + 1)[:, None]) % len(self._tokens)  # (chunk + 1, lanes)
        window = self._tokens[index].astype(np.int64)
        return Chunk(window[:-1], window[1:], first=position == 0)
