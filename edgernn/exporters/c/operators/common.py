"""What all operators share: the type of an operator, the refusal of a form, and constants that must be known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgernn.contract import Array
from edgernn.exporters.c.folding import Node
from edgernn.exporters.c.program import Program

__all__ = ["Operator", "UnsupportedError", "fixed", "integers", "only_value"]

Operator = Callable[[Node, Program], None]


class UnsupportedError(Exception):
    """An operator in a form for which there is no kernel. Its message says which form."""


def fixed(program: Program, name: str) -> Array:
    """Return the value of a constant. Raises UnsupportedError for a tensor that is computed."""
    value = program.constant(name)
    if value is None:
        raise UnsupportedError(f"{name} is not constant")
    return value


def integers(node: Node, program: Program, place: int) -> list[int] | None:
    """Return the integers of an input that must be constant, or None if it is left out."""
    if len(node.inputs) <= place or not node.inputs[place]:
        return None
    return [int(value) for value in fixed(program, node.inputs[place]).ravel()]


def only_value(program: Program, name: str) -> int | None:
    """Return the only value of a constant, or None if the tensor is not constant or has several values."""
    value = program.constant(name)
    if value is None or len(values := np.unique(value)) != 1:
        return None
    return int(values[0])
