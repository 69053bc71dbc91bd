"""Sequences of different lengths as one array."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from edgernn.contract import Array

__all__ = ["PaddedBatch", "pad"]


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
