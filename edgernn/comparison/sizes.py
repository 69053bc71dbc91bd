"""The size of the state with which a network has a given number of parameters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from edgernn.errors import ConfigError
from edgernn.tasks.language.task import LANGUAGE
from edgernn.tasks.learner import Prepared
from edgernn.training.run import build_network

__all__ = ["count_parameters", "largest_size", "largest_state"]


def count_parameters(prepared: Prepared, hidden: int, **cell: Any) -> int:
    """Return the number of parameters of a language model with states of size `hidden`.

    prepared: has the settings of the network. cell: those of its cell, by field name. No weight is allocated.
    """
    model = prepared.chosen.model.but(hidden=hidden, **cell)
    with torch.device("meta"):
        network = build_network(LANGUAGE, replace(prepared, chosen=replace(prepared.chosen, model=model)))
    return sum(parameter.numel() for parameter in network.parameters())


def largest_state(prepared: Prepared, wanted: int, **cell: Any) -> int:
    """Return a size of the state with which a network has at most `wanted` parameters, and more with one unit more.

    prepared, cell: as for `count_parameters`. Raises ConfigError if there is none.
    """
    size = largest_size(lambda hidden: count_parameters(prepared, hidden, **cell), wanted)
    if not size:
        least = count_parameters(prepared, 1, **cell)
        raise ConfigError(
            f"{wanted:,} parameters (--parameters) are too few: with states of one unit there are {least:,}"
        )
    return size


def largest_size(count: Callable[[int], int], wanted: int) -> int:
    """Return a size with `count(size) <= wanted < count(size + 1)`, or 0 if `wanted < count(1)`.

    count: of a size of at least 1; it exceeds every number from some size on.
    """
    low, high = 0, 1
    while count(high) <= wanted:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if count(middle) <= wanted else (low, middle)
    return low
