"""The Python source of the cell that a formula describes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from textwrap import indent
from typing import NamedTuple

from edgernn.search.formula import (
    INPUT,
    NEXT,
    STATES,
    Binary,
    Call,
    Expression,
    Formula,
    Linear,
    Name,
    Number,
    is_pure,
    written,
)

__all__ = ["cell_source"]

_PYTHON = {following: f"{state}_next" for state, following in zip(STATES, NEXT, strict=True)}
_FAR = 1e6  # a bound that holds for states of this size and of size 1 holds in between

_FILE = '''"""{about}"""

import torch
from torch import Tensor

from edgernn.models.cells import Cell, CellState


class {name}(Cell):
    """The cell

{formula}

    where linear(a, b) is a W + b U + v with weights of its own.
    """

    states = {states}
    bounds = {bounds}

    def __init__(self, input_size: int, hidden_size: int, layer_norm: bool = False) -> None:
        super().__init__(input_size, hidden_size, layer_norm)
{modules}

    def step(self, x: Tensor, state: CellState) -> CellState:
        """Return the next ({shown}), each (batch, hidden), from input x (batch, input)."""
{step}
'''


def cell_source(formula: Formula, name: str, about: str) -> str:
    """Return the text of a Python file with the class `name`, a `Cell` that computes `formula`.

    All products of the same operands are one product with a matrix: module `products1` and so on, in the order of the
    text, whose parts are the products in the order of the text. about: the first line of the file.
    """
    writer = _Writer(formula)
    step = writer.step()
    return _FILE.format(
        about=about,
        name=name,
        formula=indent("\n".join(formula.lines), " " * 8),
        states=_tuple(f'"{state}"' for state in formula.states),
        bounds=_tuple(map(repr, _bounds(formula))),
        modules=indent("\n".join(writer.modules()), " " * 8),
        shown=_list(formula.states),
        step=indent("\n".join(step), " " * 8),
    )


@dataclass
class _Product:
    """One product with a matrix, for all occurrences of `linear` with the same operands."""

    operands: tuple[Expression, ...]
    count: int = 0

    @property
    def size(self) -> str:
        """The number of its inputs, as Python."""
        inputs = self.operands.count(Name(INPUT))
        states = len(self.operands) - inputs
        parts = [_times(inputs, "input_size"), _times(states, "hidden_size")]
        return " + ".join(part for part in parts if part)


class _Part(NamedTuple):
    """One occurrence of `linear`: the number of its product, and its place in it."""

    product: int
    place: int


class _Writer:
    """Writes the body of `step`, line by line."""

    def __init__(self, formula: Formula) -> None:
        self._formula = formula
        self._products: list[_Product] = []
        self._parts: list[_Part] = [self._place(linear) for linear in formula.products()]
        self._written = 0  # occurrences of `linear` so far
        self._lines: list[str] = []
        self._computed: set[int] = set()  # the products that a line computes

    def _place(self, linear: Linear) -> _Part:
        """Assign an occurrence to the product of its operands; those that contain weights have a product each."""
        shared = (
            n for n, each in enumerate(self._products) if each.operands == linear.operands and _reads_values(linear)
        )
        number = next(shared, len(self._products))
        if number == len(self._products):
            self._products.append(_Product(linear.operands))
        self._products[number].count += 1
        return _Part(number, self._products[number].count - 1)

    def modules(self) -> list[str]:
        """The lines that create the products."""
        return [
            f"self.products{number} = self.linear({each.size}, {_times(each.count, 'hidden_size')})"
            for number, each in enumerate(self._products, start=1)
        ]

    def step(self) -> list[str]:
        """The lines of `step`."""
        self._lines = [f"{_tuple(self._formula.states)} = state"]
        for name, value in self._formula.assignments:
            text = self._text(value)  # which may add lines
            self._lines.append(f"{_PYTHON.get(name, name)} = {text}")
        following = [_PYTHON[f"{state}'"] for state in self._formula.states]
        return [*self._lines, f"return {_tuple(following)}"]

    def _text(self, expression: Expression) -> str:
        return written(expression, self._without_operator)

    def _without_operator(self, expression: Name | Call | Linear) -> str:
        match expression:
            case Name(name):
                return _PYTHON.get(name, name)
            case Call(function, operand):
                return f"torch.{function}({self._text(operand)})"
            case Linear():
                return self._linear(expression)

    def _linear(self, linear: Linear) -> str:
        """The part of a product that an occurrence is. The product is computed in a line above, if it is not yet."""
        part = self._parts[self._written]
        self._written += 1
        variable, number = f"products{part.product + 1}", part.product + 1
        operands = [self._text(operand) for operand in linear.operands]
        if part.product not in self._computed:
            self._computed.add(part.product)
            read = operands[0] if len(operands) == 1 else f"torch.cat([{', '.join(operands)}], dim=1)"
            self._lines.append(f"{variable} = self.products{number}({read})")
        return variable if self._products[part.product].count == 1 else f"self.part({variable}, {part.place})"


def _reads_values(linear: Linear) -> bool:
    """Whether the operands of a product have no weights of their own, so that equal operands have equal values."""
    return all(map(is_pure, linear.operands))


def _bounds(formula: Formula) -> list[float | None]:
    """A bound of the absolute value of each state, None where none is known; it is 1 or does not exist."""
    proven = list[float | None]()
    for state in formula.states:
        others = {each: None for each in formula.states if each != state}
        sizes = [_Sizes(formula, {**others, state: size}).of(f"{state}'") for size in (1.0, _FAR)]
        holds = all(size is not None and size <= given for size, given in zip(sizes, (1.0, _FAR), strict=True))
        proven.append(1.0 if holds else None)
    return proven


class _Sizes:
    """Bounds of the values of one step, for bounds of the states before it.

    They grow with the bound of a state as a convex function does.
    """

    def __init__(self, formula: Formula, states: dict[str, float | None]) -> None:
        self._values, self._states = formula.values(), states

    def of(self, name: str) -> float | None:
        """The bound of the absolute value of a name, or None."""
        return self._size(self._values[name]) if name in self._values else self._states[name]

    def _size(self, expression: Expression) -> float | None:
        match expression:
            case Number(value):
                return value
            case Name(name):
                return self.of(name)
            case Call("tanh" | "sigmoid", _):
                return 1.0
            case Call(_, operand):
                return self._size(operand)
            case Linear():
                return None
            case Binary("*", left, right):
                return _combined(self._size(left), self._size(right), lambda one, other: one * other)
            case Binary("+", Binary("*", first, one), Binary("*", second, other)) if self._complement(first, second):
                return _combined(self._size(one), self._size(other), max)
            case Binary("-", Number(1.0), gate) if self._is_gate(gate):
                return 1.0
            case Binary(_, left, right):
                return _combined(self._size(left), self._size(right), lambda one, other: one + other)

    def _complement(self, first: Expression, second: Expression) -> bool:
        """Whether two values are between 0 and 1 and add up to 1."""
        one = Number(1.0)
        return (first == Binary("-", one, second) and self._is_gate(second)) or (
            second == Binary("-", one, first) and self._is_gate(first)
        )

    def _is_gate(self, expression: Expression) -> bool:
        """Whether a value is between 0 and 1, and does not depend on where it is written."""
        value = self._values.get(expression.name) if isinstance(expression, Name) else None
        return isinstance(value, Call) and value.function == "sigmoid"


def _combined(one: float | None, other: float | None, combine: Callable[[float, float], float]) -> float | None:
    return None if one is None or other is None else combine(one, other)


def _times(count: int, size: str) -> str:
    """`count` times a size, as Python; empty for none."""
    return "" if count == 0 else size if count == 1 else f"{count} * {size}"


def _list(names: Iterable[str]) -> str:
    """Names with commas, of which a single one has one too."""
    listed = list(names)
    return f"{listed[0]}," if len(listed) == 1 else ", ".join(listed)


def _tuple(names: Iterable[str]) -> str:
    return f"({_list(names)})"
