"""The statements of one graph in C, with the buffers that they read and write."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from edgernn.contract import Array
from edgernn.exporters.c.folding import FoldedGraph, Shape

__all__ = ["C_TYPES", "Buffer", "Call", "Copy", "Elementwise", "Place", "Program", "Statement", "Where", "literal"]

C_TYPES = {
    "float32": "float",
    "float64": "double",
    "int64": "int64_t",
    "int32": "int32_t",
    "int16": "int16_t",
    "int8": "int8_t",
    "uint8": "uint8_t",
    "bool": "uint8_t",
}
Where = Literal["in", "out", "weights", "scratch"]


@dataclass(frozen=True)
class Buffer:
    """Memory for one tensor. room: the number of elements, which is more than the tensor's where kernels pad it."""

    where: Where
    name: str
    dtype: np.dtype[Any]
    room: int


@dataclass(frozen=True)
class Place:
    """Where a tensor lies: `offset` elements after the beginning of a buffer.

    index: a C expression to add to the offset, which is known only when a step runs, or "".
    """

    buffer: Buffer
    offset: int = 0
    index: str = ""

    def after(self, offset: int) -> Place:
        """Return the place `offset` elements later."""
        return Place(self.buffer, self.offset + offset, self.index)

    @property
    def base(self) -> str:
        """The buffer as a C expression."""
        return f"{self.buffer.where}->{self.buffer.name}"

    def pointer(self) -> str:
        """Return the address as a C expression."""
        parts = [self.base, str(self.offset) if self.offset else "", self.index]
        return " + ".join(part for part in parts if part)


@dataclass(frozen=True)
class Copy:
    """Copies elements. source: None for zeros."""

    to: Place
    source: Place | None
    count: int
    comment: str


@dataclass(frozen=True)
class Call:
    """A call of a kernel. arguments: places, which are passed as addresses, and C expressions."""

    kernel: str
    arguments: tuple[Place | str, ...]
    comment: str


@dataclass(frozen=True)
class Elementwise:
    """Computes each element of a tensor from the elements with the same index of others.

    expression: C, with {0}, {1} … for the operands, each of which is a place or a C literal. counts: the number of
    elements of each operand: that of the result, or 1.
    """

    to: Place
    count: int
    expression: str
    operands: tuple[Place | str, ...]
    counts: tuple[int, ...]
    comment: str


Statement = Copy | Call | Elementwise


def places(statement: Statement) -> list[Place]:
    """Return the places that a statement reads; of a call all of its places."""
    if isinstance(statement, Copy):
        return [] if statement.source is None else [statement.source]
    operands = statement.arguments if isinstance(statement, Call) else statement.operands
    return [each for each in operands if isinstance(each, Place)]


@dataclass
class Program:
    """A graph in the making: operators add statements to it, and say where the tensors lie.

    weights: the content of the buffers of weights, by name. kernels: the names of those that are called. pinned:
    buffers that must stay where they are, since expressions name them. fields: the name of a tensor's buffer in C.
    initial: where the first values of states lie, other than zeros.
    """

    graph: FoldedGraph
    statements: list[Statement] = field(default_factory=list)
    weights: dict[str, Array] = field(default_factory=dict)
    buffers: dict[str, Buffer] = field(default_factory=dict)
    places: dict[str, Place] = field(default_factory=dict)
    kernels: dict[str, None] = field(default_factory=dict)
    pinned: set[Buffer] = field(default_factory=set)
    fields: dict[tuple[Where, str], str] = field(default_factory=dict)
    initial: dict[str, Place] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in self.graph.spec.input_names:
            self.places[name] = Place(self._buffer("in", name, self.shape(name)))

    def shape(self, name: str) -> Shape:
        """Return type and sizes of a tensor."""
        return self.graph.shapes[name]

    def constant(self, name: str) -> Array | None:
        """Return the value of a constant, or None for a tensor that is computed."""
        return self.graph.constants.get(name)

    def place(self, name: str) -> Place:
        """Return where a tensor lies. A constant is stored among the weights."""
        if name not in self.places:
            self.places[name] = self.store(name, self.graph.constants[name])
        return self.places[name]

    def store(self, name: str, values: Array) -> Place:
        """Store values among the weights."""
        shape = Shape(values.dtype, values.shape)
        buffer = self._buffer("weights", name, shape)
        self.weights[buffer.name] = values
        return Place(buffer)

    def alias(self, output: str, source: str, offset: int = 0, index: str = "") -> None:
        """Let a tensor be a part of another one, whose elements follow each other in memory."""
        place = self.place(source)
        joined = " + ".join(part for part in (place.index, index) if part)
        self.places[output] = Place(place.buffer, place.offset + offset, joined)

    def make(self, output: str, multiple: int = 1) -> Place:
        """Return the place of a new tensor, with room for a multiple of so many elements."""
        shape = self.shape(output)
        room = -(-shape.count // multiple) * multiple
        self.places[output] = Place(self._buffer("scratch", output, Shape(shape.dtype, (room,))))
        return self.places[output]

    def scratch(self, name: str, dtype: str, count: int) -> Place:
        """Return the place of memory that a kernel needs."""
        return Place(self._buffer("scratch", name, Shape(np.dtype(dtype), (count,))))

    def result(self, name: str) -> Place:
        """Return the place of an output of the graph, in the caller's memory."""
        return Place(self._buffer("out", name, self.shape(name)))

    def copy(self, to: Place, source: Place | None, count: int, comment: str) -> None:
        """Add a copy, or zeros without a source."""
        self.statements.append(Copy(to, source, count, comment))

    def call(self, kernel: str, *arguments: Place | str, comment: str) -> None:
        """Add a call of a kernel."""
        self.kernels[kernel] = None
        self.statements.append(Call(kernel, arguments, comment))

    def elementwise(self, output: str, expression: str, operands: Sequence[str]) -> None:
        """Add the computation of a tensor from the elements of others, which are given by name, or from C literals."""
        tensors = [each in self.graph.shapes for each in operands]
        places = tuple(self.place(each) if known else each for each, known in zip(operands, tensors, strict=True))
        counts = tuple(self.shape(each).count if known else 1 for each, known in zip(operands, tensors, strict=True))
        count = self.shape(output).count
        self.statements.append(Elementwise(self.make(output), count, expression, places, counts, output))

    def value(self, name: str) -> str:
        """Return the only element of a tensor as a C expression."""
        place = self.place(name)
        self.pinned.add(place.buffer)
        return f"*({place.pointer()})"

    def _buffer(self, where: Where, name: str, shape: Shape) -> Buffer:
        """Return a new buffer, under a name that is free and an identifier of C."""
        plain = re.sub(r"\W", "_", name.removeprefix("module."), flags=re.ASCII)
        plain = f"_{plain}" if plain[:1].isdigit() else plain
        free, number = plain, 1
        while (key := f"{where}.{free}") in self.buffers or free in RESERVED:
            number += 1
            free = f"{plain}_{number}"
        self.fields[where, name] = free
        self.buffers[key] = Buffer(where, free, shape.dtype, max(shape.count, 1))
        return self.buffers[key]


_WORDS = """
auto break case char const continue default do double else enum extern float for goto if inline int long register
restrict return short signed sizeof static struct switch typedef union unsigned void volatile while class new delete
this template typename operator public private protected virtual friend namespace using try catch throw true false
bool i in out weights scratch level
"""
RESERVED = frozenset(_WORDS.split())  # of C and C++, and the names of variables of a step


def literal(value: Any) -> str:
    """Return a number as a C literal of its type."""
    value = np.asarray(value)[()]
    if value.dtype == np.float32:
        text = f"{float(value):.9g}"
        return f"{text if any(mark in text for mark in '.e') else text + '.0'}f"
    return str(int(value))
