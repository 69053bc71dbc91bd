"""Cutting one long text into parallel lanes for truncated back-propagation through time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from edgernn.errors import CorpusError
from edgernn.tokenizer import Ids

__all__ = ["Chunk", "Lanes", "Tokens"]


class Tokens(Protocol):
    """Token ids that can be read as a ring: a `TokenFile`."""

    def __len__(self) -> int: ...

    def read(self, start: int, count: int) -> Ids:
        """Ids (count,) from token `start` on."""


@dataclass(frozen=True)
class Chunk:
    """Tokens of all lanes over `chunk` steps: inputs and targets (time, lanes).

    fresh: which lanes (lanes,) start from the initial state here, and not from the state that they carried.
    """

    inputs: Ids
    targets: Ids
    fresh: npt.NDArray[np.bool_]


class Lanes:
    """A text read by `lanes` readers at equal distances, `chunk` tokens at a time.

    Every pass starts at another place of the text, which is a ring, and all lanes afresh. In between each lane starts
    afresh at a chunk with probability `reset`: a model that has only ever carried its state is lost without one, and
    every stream on a device begins there. All of it is drawn from the seed and the number of the chunk or pass alone,
    so chunk k is always the same chunk, whoever asks and whatever came before.
    """

    def __init__(self, tokens: Tokens, lanes: int, chunk: int, seed: int, reset: float = 0.0) -> None:
        """Raises CorpusError for a text shorter than one chunk; one too short for all lanes gets fewer."""
        if len(tokens) < chunk + 1:
            raise CorpusError(
                f"the training text has {len(tokens)} tokens, fewer than one chunk needs ({chunk + 1}): "
                "give more text or a smaller --chunk"
            )
        self.lanes = min(lanes, (len(tokens) - 1) // chunk)
        self.chunks_per_pass = (len(tokens) - 1) // self.lanes // chunk
        self._tokens, self._chunk, self._seed, self._reset = tokens, chunk, seed, reset
        self.share = slice(0, self.lanes)  # which of the lanes are read

    def chunks(self, start: int = 0) -> Iterator[Chunk]:
        """Chunk `start` and all after it, without end."""
        while True:
            yield self._read(start)
            start += 1

    def _read(self, number: int) -> Chunk:
        turn, position = divmod(number, self.chunks_per_pass)
        offset = int(np.random.default_rng((self._seed, turn)).integers(len(self._tokens)))
        stride = (len(self._tokens) - 1) // self.lanes
        starts = (offset + lane * stride + position * self._chunk for lane in range(self.lanes)[self.share])
        window = np.stack([self._tokens.read(start, self._chunk + 1) for start in starts], axis=1)
        drawn = np.random.default_rng((self._seed, turn, position)).random(self.lanes)
        return Chunk(window[:-1], window[1:], fresh=((drawn < self._reset) | (position == 0))[self.share])
