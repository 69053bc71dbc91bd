"""The size of the state with which a network has a given number of parameters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

from edgernn.errors import ConfigError
from edgernn.tasks.language.task import LANGUAGE
from edgernn.tasks.learner import Prepared
from edgernn.training.run import build_network

__all__ = ["count_parameters", "largest_size", "largest_state"]


def count_parameters(prepared: Prepared, cell: str, hidden: int) -> int:
    """Return the number of parameters of a language model with `cell` and states of size `hidden`.

    prepared: has the other settings of the network. No weight is allocated.
    """
    model = prepared.chosen.model.but(cell=cell, hidden=hidden)
    with torch.device("meta"):
        network = build_network(LANGUAGE, replace(prepared, chosen=replace(prepared.chosen, model=model)))
    return sum(parameter.numel() for parameter in network.parameters())


def largest_state(prepared: Prepared, cell: str, wanted: int) -> int:
    """Return a size of the state with which `cell` has at most `wanted` parameters, and with one unit more has more.

    Raises ConfigError if there is none.
    """
    size = largest_size(lambda hidden: count_parameters(prepared, cell, hidden), wanted)
    if not size:
        least = count_parameters(prepared, cell, 1)
        raise ConfigError(
            f"{wanted:,} parameters (--parameters) are too few for {cell}: with a state of one unit it has {least:,}"
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
