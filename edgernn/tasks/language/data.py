"""Batches of a long text for truncated back-propagation through time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from edgernn.data.corpus import CorpusRecord
from edgernn.data.tokens import TokenFile
from edgernn.errors import CorpusError, counted
from edgernn.tokenizer import Ids

__all__ = ["HELD_OUT", "TRAIN", "HeldOutText", "TokenBatch", "TokenBatches", "Tokens", "open_held_out"]

TRAIN, HELD_OUT = "train.tokens", "held-out.tokens"


class Tokens(Protocol):
    """Token ids that can be read as a ring, such as a `TokenFile`."""

    def __len__(self) -> int: ...

    def read(self, start: int, count: int) -> Ids:
        """Return ids (count,) from token `start` on."""


@dataclass(frozen=True)
class TokenBatch:
    """Consecutive tokens from several positions of the text: inputs and targets, each (time, batch).

    fresh: (batch,), whether each sequence starts from the initial state instead of its carried state.
    """

    inputs: Ids
    targets: Ids
    fresh: npt.NDArray[np.bool_]


class TokenBatches:
    """Batches of a text that is read at `batch_size` evenly spaced positions, `bptt` tokens at a time.

    Each pass starts at another offset of the text, which is read as a ring, and with all sequences in the initial
    state. Within a pass, each sequence returns to the initial state with probability `reset`, because every stream on a
    device starts from it and the network would rarely see it otherwise. All this depends only on the seed and the
    number of the batch or pass, so batch k is always the same.
    """

    def __init__(self, tokens: Tokens, batch_size: int, bptt: int, seed: int, reset: float = 0.0) -> None:
        """Raise CorpusError for a text that is too short for one sequence; a short text gets smaller batches."""
        if len(tokens) < bptt + 1:
            raise CorpusError(
                f"the training text has {counted(len(tokens), 'token')}, and one sequence takes {bptt + 1}: "
                "give more text or a smaller --bptt"
            )
        self.batch_size = min(batch_size, (len(tokens) - 1) // bptt)
        self.per_pass = (len(tokens) - 1) // self.batch_size // bptt
        self._tokens, self._bptt, self._seed, self._reset = tokens, bptt, seed, reset

    def read(self, number: int, share: slice = slice(None)) -> TokenBatch:
        """Return batch `number`, or only the sequences `share` of it."""
        turn, position = divmod(number, self.per_pass)
        offset = int(np.random.default_rng((self._seed, turn)).integers(len(self._tokens)))
        stride = (len(self._tokens) - 1) // self.batch_size
        places = range(self.batch_size)[share]
        starts = (offset + place * stride + position * self._bptt for place in places)
        window = np.stack([self._tokens.read(start, self._bptt + 1) for start in starts], axis=1)
        drawn = np.random.default_rng((self._seed, turn, position)).random(self.batch_size)
        return TokenBatch(window[:-1], window[1:], fresh=((drawn < self._reset) | (position == 0))[share])


class HeldOutText(NamedTuple):
    """The tokens of a held-out text. chars: the number of characters that all of them but the first spell."""

    tokens: TokenFile
    chars: int


def open_held_out(folder: Path, record: Mapping[str, Any], vocabulary: int) -> HeldOutText:
    """Return the held-out text of a run. Raises CorpusError if it is missing or was changed, FormatError for no record.

    record: that of its data. vocabulary: the number of its tokens.
    """
    corpus = CorpusRecord.from_json(dict(record))
    return HeldOutText(corpus.open(folder / HELD_OUT, vocabulary, corpus.held_out_tokens), corpus.predicted_chars)
