"""What the units of a model did while it read a text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from edgernn.contract import Array
from edgernn.errors import ConfigError, StreamError, UnknownTokenError, counted
from edgernn.runtime.model import STEP, Model
from edgernn.runtime.units.unit import Units
from edgernn.tokenizer import Ids

__all__ = ["LEAST", "Recording", "record"]

LEAST = 100  # tokens of a text from which anything can be learned
_EVERY = 256  # tokens between two reports of progress


@dataclass(frozen=True)
class Recording:
    """The units of a graph over a text.

    tokens: the ids that were read (tokens,). places: the last character of each token (tokens,). values: of each unit
    after each token (tokens, units), float32.
    """

    text: str
    units: Units
    tokens: Ids
    places: Ids
    values: Array

    @property
    def half(self) -> int:
        """The number of tokens in the first half, on which units are chosen."""
        return len(self.tokens) // 2

    def of_characters(self, values: Array) -> Array:
        """Return `values` (tokens,) for each character (characters,): a character has that of the token it is in."""
        at = np.minimum(np.searchsorted(self.places, np.arange(len(self.text))), len(self.places) - 1)
        last = np.searchsorted(self.places, self.places[at], side="right") - 1  # of several tokens in one character
        return np.asarray(values[last])


def record(
    model: Model,
    text: str,
    *,
    graph: str = STEP,
    unknown: str = "refuse",
    progress: Callable[[float, str], None] = lambda done, figures: None,
) -> Recording:
    """Let `model` read a text, and return the values of all its units after each token.

    unknown: what becomes of characters outside the vocabulary, as in `Tokenizer.encode`. progress: called with the
    fraction that is read, and a text to show.
    Raises UnknownTokenError for such characters if they are refused, ConfigError for a text of fewer than 100 tokens,
    StreamError for a graph that does not read one token at each step, or has states without units.
    """
    tensors = model.text_of(graph)
    token, tokenizer = tensors.require_token(), tensors.require_tokenizer()
    units = Units(model.contract[graph])
    try:
        ids = tokenizer.encode(text, unknown=unknown)
    except UnknownTokenError as error:
        raise UnknownTokenError(f"{error}; --unknown skip leaves out what the vocabulary lacks") from None
    places = tokenizer.places(text)
    if unknown == "skip":
        places = places[tokenizer.encode(text, unknown="replace") != tokenizer.unknown_id]
    if len(ids) < LEAST:
        raise ConfigError(f"the text has {counted(len(ids), 'token')}: what units tell takes at least {LEAST}")
    conditions, state = model.begin(graph=graph)
    cursor = model.cursor(conditions, state, graph=graph)
    values = np.empty((len(ids), len(units)), np.float32)
    feed = {token.name: np.zeros(1, token.numpy_dtype)}
    for row, each in enumerate(ids.tolist()):
        feed[token.name][0] = each
        cursor.step(feed)
        values[row] = units.values(cursor.state())
        if row % _EVERY == 0:
            progress(row / len(ids), f"{row:,} tokens")
    if not np.isfinite(values).all():
        raise StreamError(f"the states are not finite numbers after {_first_infinite(values):,} tokens")
    return Recording(text, units, ids, places, values)


def _first_infinite(values: Array) -> int:
    return int(np.flatnonzero(~np.isfinite(values).all(axis=1))[0]) + 1
