"""Batches of a long text for truncated back-propagation through time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from edgernn.errors import CorpusError, counted
from edgernn.tokenizer import Ids

__all__ = ["TokenBatch", "TokenBatches", "Tokens"]


class Tokens(Protocol):
    """Token ids that can be read as a ring: a `TokenFile`."""

    def __len__(self) -> int: ...

    def read(self, start: int, count: int) -> Ids:
        """Ids (count,) from token `start` on."""


@dataclass(frozen=True)
class TokenBatch:
    """Consecutive tokens of several places of the text: inputs and targets, (time, batch).

    fresh: which sequences (batch,) start from the initial state here, and not from the state that they carried.
    """

    inputs: Ids
    targets: Ids
    fresh: npt.NDArray[np.bool_]


class TokenBatches:
    """A text that is read from `batch_size` places at equal distances, `bptt` tokens at a time.

    Each pass starts at another offset of the text, which is read as a ring, and all sequences start afresh. Within a
    pass each sequence starts afresh with probability `reset`: every stream on a device begins at the initial state,
    which the network would hardly see otherwise. All of this is drawn from the seed and the number of the batch or pass
    alone, so that batch k is always the same one.
    """

    def __init__(self, tokens: Tokens, batch_size: int, bptt: int, seed: int, reset: float = 0.0) -> None:
        """Raises CorpusError for a text that is too short for one sequence; a short one gets a smaller batch."""
        if len(tokens) < bptt + 1:
            raise CorpusError(
                f"the training text has {counted(len(tokens), 'token')}, and one sequence takes {bptt + 1}: "
                "give more text or a smaller --bptt"
            )
        self.batch_size = min(batch_size, (len(tokens) - 1) // bptt)
        self.per_pass = (len(tokens) - 1) // self.batch_size // bptt
        self._tokens, self._bptt, self._seed, self._reset = tokens, bptt, seed, reset

    def read(self, number: int, share: slice = slice(None)) -> TokenBatch:
        """Batch `number`, or the sequences `share` of it."""
        turn, position = divmod(number, self.per_pass)
        offset = int(np.random.default_rng((self._seed, turn)).integers(len(self._tokens)))
        stride = (len(self._tokens) - 1) // self.batch_size
        places = range(self.batch_size)[share]
        starts = (offset + place * stride + position * self._bptt for place in places)
        window = np.stack([self._tokens.read(start, self._bptt + 1) for start in starts], axis=1)
        drawn = np.random.default_rng((self._seed, turn, position)).random(self.batch_size)
        return TokenBatch(window[:-1], window[1:], fresh=((drawn < self._reset) | (position == 0))[share])
