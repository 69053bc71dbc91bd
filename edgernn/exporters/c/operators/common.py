"""What all operators share: the type of an operator, the refusal of a form, and constants that must be known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from edgernn.contract import Array
from edgernn.exporters.c.folding import Node
from edgernn.exporters.c.program import Program

__all__ = ["Matrix", "Operator", "UnsupportedError", "fixed", "integers", "only_value", "weights"]

Operator = Callable[[Node, Program], None]


class UnsupportedError(Exception):
    """An operator in a form for which there is no kernel. Its message says which form."""


def fixed(program: Program, name: str) -> Array:
    """Return the value of a constant. Raises UnsupportedError for a tensor that is computed."""
    value = program.constant(name)
    if value is None:
        raise UnsupportedError(f"{name} is not constant")
    return value


@dataclass(frozen=True)
class Matrix:
    """Constant weights with their name. integers, scales: bytes and factors whose products the values are, or None."""

    name: str
    values: Array
    integers: Array | None = None
    scales: Array | None = None

    def seen(self, view: Callable[[Array], Array]) -> Matrix:
        """Return the weights in another shape or order, or a part of them: a view of numpy."""
        if self.integers is None or self.scales is None:
            return Matrix(self.name, view(self.values))
        return Matrix(self.name, view(self.values), view(self.integers), view(self.scales))


def weights(program: Program, name: str) -> Matrix:
    """Return constant weights. Raises UnsupportedError for a tensor that is computed."""
    return Matrix(name, fixed(program, name), *program.integers.get(name, (None, None)))


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
