"""Sequences of different lengths as one array."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from edgernn.contract import Array

__all__ = ["PaddedBatch", "Passes", "batches_by_length", "pad", "shuffled"]

_BATCHES_SORTED = 16  # batches whose sequences are sorted by length together


class PaddedBatch(NamedTuple):
    """Sequences of steps in one array (time, batch, ...), and the number of steps of each (batch,)."""

    steps: Array
    lengths: Array


def pad(sequences: Sequence[Array]) -> PaddedBatch:
    """Return sequences (steps, ...) as one batch; zeros follow the shorter ones."""
    lengths = np.array([len(each) for each in sequences])
    padded = np.zeros((lengths.max(), len(sequences), *sequences[0].shape[1:]), sequences[0].dtype)
    for row, each in enumerate(sequences):
        padded[: len(each), row] = each
    return PaddedBatch(padded, lengths)


def shuffled(count: int, batch_size: int, random: np.random.Generator) -> list[Array]:
    """Return the places of `count` examples of one size, in batches of random order; the last batch can be smaller."""
    order = random.permutation(count)
    return [order[start : start + batch_size] for start in range(0, count, batch_size)]


def batches_by_length(lengths: Array, size: int, random: np.random.Generator) -> list[Array]:
    """Return the places of the sequences of each batch of one pass; those of a batch have similar lengths."""
    order = random.permutation(len(lengths))
    chunk = size * _BATCHES_SORTED
    batches: list[Array] = []
    for begun in range(0, len(order), chunk):
        places = order[begun : begun + chunk]
        places = places[np.argsort(lengths[places], kind="stable")]
        batches += [places[start : start + size] for start in range(0, len(places), size)]
    return [batches[place] for place in random.permutation(len(batches))]


class Passes:
    """The batches of each pass over the training data, of which those of the present pass are kept.

    make: returns the places of the sequences of each batch of one pass. They depend only on the seed and the pass.
    """

    def __init__(self, make: Callable[[np.random.Generator], list[Array]], seed: int) -> None:
        self._make, self._seed = make, seed
        self._number, self._batches = -1, list[Array]()

    def batch(self, number: int, at: int) -> Array:
        """Return batch `at` of the pass `number`."""
        if self._number != number:
            self._number, self._batches = number, self._make(np.random.default_rng((self._seed, number)))
        return self._batches[at]
