"""The statements of one graph in C, with the buffers that they read and write."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from edgernn.contract import Array
from edgernn.exporters.c.folding import FoldedGraph, Shape

__all__ = [
    "C_TYPES",
    "PART",
    "Activated",
    "Buffer",
    "Call",
    "Copy",
    "Elementwise",
    "Loop",
    "Place",
    "Program",
    "Statement",
    "Where",
    "identifier",
    "literal",
    "strided",
]

C_TYPES = {
    "float32": "float",
    "float64": "double",
    "int64": "int64_t",
    "int32": "int32_t",
    "int16": "int16_t",
    "uint16": "uint16_t",
    "int8": "int8_t",
    "uint8": "uint8_t",
    "bool": "uint8_t",
}
Where = Literal["in", "out", "weights", "scratch"]
PART = 128  # outputs of a product that are computed before functions of them: what every kernel computes at its best
_ALIGNMENT = 64  # bytes, of each tensor among weights and scratch memory


@dataclass(frozen=True)
class Buffer:
    """Memory for one tensor. room: the number of elements, which is more than the tensor's where kernels pad it."""

    where: Where
    name: str
    dtype: np.dtype[Any]
    room: int

    @property
    def aligned_room(self) -> int:
        """The number of elements up to the next multiple of 64 bytes, where another tensor can begin."""
        each = _ALIGNMENT // self.dtype.itemsize
        return -(-self.room // each) * each


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

    def indexed(self, index: str) -> Place:
        """Return the place that is as many elements later as a C expression says."""
        return Place(self.buffer, self.offset, " + ".join(part for part in (self.index, index) if part))

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
    """Calls of a kernel. arguments: places, which are passed as addresses, and C expressions, of which i is the row.

    each: of a product that can be computed in parts, how many elements of each argument belong to one output. The first
    argument is the result, and the last one is the number of outputs.
    """

    kernel: str
    arguments: tuple[Place | str, ...]
    comment: str
    rows: int = 1
    each: tuple[int, ...] = ()


@dataclass(frozen=True)
class Elementwise:
    """Computes each element of a tensor, with index i, from one element of each of others.

    expression: C, with {0}, {1} … for the operands, each of which is a place or a C literal. indices: for each operand,
    the index of its element as a C expression: mostly i. at: the index in the result.
    """

    to: Place
    count: int
    expression: str
    operands: tuple[Place | str, ...]
    indices: tuple[str, ...]
    comment: str
    at: str = "i"


@dataclass(frozen=True)
class Activated:
    """A product, some of whose outputs are replaced by functions of them.

    Both are computed for a few outputs after another: a processor that executes instructions out of order then computes
    the functions of some while it reads the weights of the next. functions: in place, in the order of the outputs.
    """

    call: Call
    functions: tuple[Elementwise, ...]


Statement = Copy | Call | Elementwise | Activated


@dataclass(frozen=True)
class Loop:
    """Element-wise statements over tensors of one size, in one loop. stored: the statements whose results are kept."""

    statements: tuple[Elementwise, ...]
    stored: tuple[bool, ...]

    @property
    def count(self) -> int:
        """The number of elements."""
        return self.statements[0].count


def places(statement: Statement) -> list[Place]:
    """Return the places that a statement reads; of a call all of its places."""
    if isinstance(statement, Activated):
        return places(statement.call)
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
    known: the values of tensors that are computed of constants alone. integers: the bytes of some of them, and the
    factor of each. packed: where constants lie in other layouts. channels_last: where tensors (1, channels, ...) lie as
    rows of channels; they may also lie in their order. steps: the fused statements of a program that is complete.
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
    known: dict[str, Array] = field(default_factory=dict)
    integers: dict[str, tuple[Array, Array]] = field(default_factory=dict)
    packed: dict[tuple[str, np.dtype[Any], tuple[int, ...]], Place] = field(default_factory=dict)
    channels_last: dict[str, Place] = field(default_factory=dict)
    steps: list[Copy | Call | Activated | Loop] = field(default_factory=list)

    def __post_init__(self) -> None:
        for name in self.graph.spec.input_names:
            self.places[name] = Place(self._buffer("in", name, self.shape(name)))

    def shape(self, name: str) -> Shape:
        """Return type and sizes of a tensor."""
        if name in self.known:
            return Shape(self.known[name].dtype, self.known[name].shape)
        return self.graph.shapes[name]

    def constant(self, name: str) -> Array | None:
        """Return the value of a constant, or None for a tensor that is computed."""
        return self.graph.constants.get(name, self.known.get(name))

    def place(self, name: str) -> Place:
        """Return where a tensor lies. A constant is stored among the weights."""
        if self.only_last(name):
            rows, (channels, count) = self.channels_last[name], self._rows(name)
            self.move(self.make(name), count * channels, rows, strided((channels, count), (1, channels)), name)
        if name not in self.places:
            self.places[name] = self.store(name, self.known[name] if name in self.known else self.graph.constants[name])
        return self.places[name]

    def only_last(self, name: str) -> bool:
        """Return whether a tensor lies as rows of channels alone."""
        return name in self.channels_last and name not in self.places

    def last(self, name: str) -> Place:
        """Return where a tensor (1, channels, ...) lies as rows of channels, to which it is copied unless it does."""
        if name not in self.channels_last:
            source, (channels, count) = self.place(name), self._rows(name)
            rows = source
            if channels > 1 and count > 1:
                rows = self.scratch(f"{name}.rows", str(self.shape(name).dtype), count * channels)
                self.move(rows, count * channels, source, strided((count, channels), (1, count)), f"{name}, in rows")
            self.channels_last[name] = rows
        return self.channels_last[name]

    def make_last(self, output: str, room: int = 0) -> Place:
        """Return the place of a new tensor (1, channels, ...) that lies as rows of channels."""
        shape = self.shape(output)
        channels, count = self._rows(output)
        rows = self.scratch(output, str(shape.dtype), max(room, shape.count))
        self.channels_last[output] = rows
        if channels == 1 or count == 1:
            self.places[output] = rows
        return rows

    def _rows(self, name: str) -> tuple[int, int]:
        """Return the channels of a tensor (1, channels, ...), and the number of rows of them."""
        _, channels, *axes = self.shape(name).sizes
        return channels, int(np.prod(axes, dtype=np.int64))

    def same(self, output: str, source: str) -> None:
        """Let a tensor be another one, with the same axes."""
        for places in (self.places, self.channels_last):
            if source in places:
                places[output] = places[source]
        if source not in self.channels_last:
            self.alias(output, source)

    def stored(self, name: str, packed: Array) -> Place:
        """Return where a constant lies in another layout or type, in which it is stored once."""
        if (key := (name, packed.dtype, packed.shape)) not in self.packed:
            self.packed[key] = self.store(name, packed)
        return self.packed[key]

    def store(self, name: str, values: Array) -> Place:
        """Store values among the weights."""
        shape = Shape(values.dtype, values.shape)
        buffer = self._buffer("weights", name, shape)
        self.weights[buffer.name] = values
        return Place(buffer)

    def alias(self, output: str, source: str, offset: int = 0, index: str = "") -> None:
        """Let a tensor be a part of another one, whose elements follow each other in memory."""
        place = self.place(source).after(offset)
        self.places[output] = place.indexed(index) if index else place

    def make(self, output: str, room: int = 0) -> Place:
        """Return the place of a new tensor, with room for so many elements if they are more than it has."""
        shape = self.shape(output)
        room = max(room, shape.count)
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

    def call(
        self, kernel: str, *arguments: Place | str, comment: str, rows: int = 1, each: tuple[int, ...] = ()
    ) -> None:
        """Add a call of a kernel for each of some rows. each: as in Call."""
        self.kernels[kernel] = None
        self.statements.append(Call(kernel, arguments, comment, rows, each))

    def elementwise(self, output: str, expression: str, operands: Sequence[str]) -> None:
        """Add the computation of a tensor from the elements of others, which are given by name, or from C literals.

        Tensors of other sizes are broadcast as numpy does it.
        """
        sizes, count = self.shape(output).sizes, self.shape(output).count
        tensors = [each for each in operands if each in self.graph.shapes or each in self.known]
        whole = {each for each in tensors if self.shape(each).sizes == sizes}
        last = any(self.only_last(each) for each in whole)
        places, indices = list[Place | str](), []
        for each in operands:
            in_rows = last and each in whole and each in self.channels_last
            places.append(each if each not in tensors else self.last(each) if in_rows else self.place(each))
            plain = each not in tensors or in_rows
            indices.append("i" if plain else _broadcast(self.shape(each).sizes, sizes, channels_last=last))
        to = self.make_last(output) if last else self.make(output)
        self.statements.append(Elementwise(to, count, expression, tuple(places), tuple(indices), output))

    def move(self, to: Place, count: int, source: Place, index: str, comment: str, at: str = "i") -> None:
        """Add a copy of elements that do not follow each other. index, at: where element i comes from, and goes."""
        kinds = to.buffer.dtype, source.buffer.dtype
        assert kinds[0] == kinds[1], kinds
        self.statements.append(Elementwise(to, count, "{0}", (source,), (index,), comment, at))

    def compute(self, to: Place, count: int, expression: str, source: Place, index: str, comment: str) -> None:
        """Add the computation of elements from those of another place. index: where element i comes from."""
        self.statements.append(Elementwise(to, count, expression, (source,), (index,), comment))

    def fill(self, to: Place, count: int, value: str, comment: str) -> None:
        """Add that all elements become a C literal."""
        self.statements.append(Elementwise(to, count, "{0}", (value,), ("i",), comment))

    def value(self, name: str, at: int = 0) -> str:
        """Return an element of a tensor as a C expression."""
        place = self.place(name).after(at)
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
bool i in out weights scratch level state memcpy memmove memset size_t int8_t uint8_t int16_t uint16_t int32_t uint32_t
int64_t uint64_t NULL INFINITY NAN
"""
RESERVED = frozenset(_WORDS.split())  # of C and C++ and their headers, and the names of variables of a step


def identifier(name: str) -> str:
    """Return the name of a tensor in C: the tensor's own if that is possible."""
    plain = re.sub(r"\W", "_", name, flags=re.ASCII)
    return f"{plain}_" if plain in RESERVED else plain


def literal(value: Any) -> str:
    """Return a number as a C literal of its type."""
    value = np.asarray(value)[()]
    if value.dtype.kind != "f":
        return str(int(value))
    if not np.isfinite(value):
        return "NAME_NAN" if np.isnan(value) else "NAME_INFINITY" if value > 0 else "-NAME_INFINITY"
    double = value.dtype == np.float64
    text = f"{float(value):.17g}" if double else f"{float(value):.9g}"
    return f"{text if any(mark in text for mark in '.e') else text + '.0'}{'' if double else 'f'}"


def strided(sizes: Sequence[int], strides: Sequence[int]) -> str:
    """Return, as a C expression, where element i of a tensor of these sizes lies in memory that it strides through."""
    axes: list[tuple[int, int, int]] = []  # elements below, size and stride, from the last axis to the first
    below = 1
    for size, stride in zip(reversed(sizes), reversed(strides), strict=True):
        if size == 1:
            continue
        if axes and stride == axes[-1][2] * axes[-1][1]:
            axes[-1] = axes[-1][0], axes[-1][1] * size, axes[-1][2]
        else:
            axes.append((below, size, stride))
        below *= size
    if below == 1:
        return "i"
    terms = []
    for under, size, stride in reversed(axes):
        quotient = "i" if under == 1 else f"i / {under}"
        rest = "" if under * size == below else f" % {size}"
        if stride:
            terms.append(f"{quotient}{rest}{'' if stride == 1 else f' * {stride}'}")
    return " + ".join(terms) or "0"


def _broadcast(given: Sequence[int], wanted: Sequence[int], *, channels_last: bool) -> str:
    """Return the index in a tensor of sizes `given` that is broadcast to sizes `wanted`.

    channels_last: the elements are counted with the second axis as the last one.
    """
    view = np.broadcast_to(np.empty(given, np.int64), wanted)
    view = np.moveaxis(view, 1, -1) if channels_last else view
    return strided(view.shape, [each // 8 for each in view.strides])
