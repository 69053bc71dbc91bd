"""The parts of a data set: which one is evaluated, and what is held out of data without a part for it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgernn.contract import Array
from edgernn.data.captions import TEST
from edgernn.errors import CorpusError

__all__ = ["choose_part", "held_out_at_random"]


def held_out_at_random(count: int, fraction: float, seed: int) -> tuple[Array, Array]:
    """Return the places of what is trained on, and of what is held out, both sorted and neither empty.

    count: of all places, at least 2. fraction: of them that are held out.
    """
    order = np.random.default_rng(seed).permutation(count)
    cut = min(max(1, round(fraction * count)), count - 1)
    return np.sort(order[cut:]), np.sort(order[:cut])


def choose_part(source: str, parts: Sequence[str], split: str) -> tuple[str | None, list[str]]:
    """Return the part of a data set to evaluate on, None for all of it, and what the user should know about it.

    parts: the names of those that there are. Raises CorpusError for a part that the data does not have.
    """
    if split in parts:
        return split, []
    if parts or split != TEST:
        has = f"it has {', '.join(parts)}: name one with --split" if parts else "it has no parts: leave out --split"
        raise CorpusError(f"{source} has no part {split}; {has}")
    return None, [
        f"{source} has no parts, so all of it is scored: the score is too good if the model was trained on it"
    ]
