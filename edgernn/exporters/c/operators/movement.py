"""Operators that only move elements: views, and copies in another order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter

import numpy as np

from edgernn.contract import Array
from edgernn.exporters.c.folding import Node, Shape
from edgernn.exporters.c.operators.common import Operator, UnsupportedError, fixed, integers
from edgernn.exporters.c.packing import halved
from edgernn.exporters.c.program import Place, Program, literal, strided

__all__ = ["MOVEMENT"]

_FEW = 8  # copies of pieces that lie apart, above which one loop copies element by element


def _view(node: Node, program: Program) -> None:
    """The elements stay where they are."""
    (output,), (source, *_) = node.outputs, node.inputs
    if program.shape(output) == program.shape(source):
        program.same(output, source)
    else:
        program.alias(output, source)


def _rearranged(output: str, source: str, program: Program, view: Callable[[Array], Array], offset: str = "") -> None:
    """Let `output` be a view of `source`: an alias where its elements follow each other, and else a copy.

    view: a view of numpy, as it would be taken of the source. offset: a C expression of elements to skip, or "".
    """
    taken = view(_positions(program.shape(source)))
    begin = int(taken.flat[0]) if taken.size else 0
    index = _index(taken)
    if index == "i" or not taken.size:
        program.alias(output, source, begin, offset)
    else:
        place = program.place(source).after(begin)
        place = place.indexed(offset) if offset else place
        program.move(program.make(output), taken.size, place, index, output)


def _slice(node: Node, program: Program) -> None:
    starts, ends, axes, steps = (integers(node, program, place) or [] for place in (1, 2, 3, 4))
    sizes = program.shape(node.inputs[0]).sizes
    if not starts:
        raise UnsupportedError("a slice without limits")
    index = [slice(None)] * len(sizes)
    for place, axis in enumerate(axes or range(len(starts))):
        step = steps[place] if steps else 1
        end: int | None = ends[place]
        index[axis] = slice(starts[place], None if step < 0 and ends[place] < -sizes[axis] else end, step)
    _rearranged(node.outputs[0], node.inputs[0], program, itemgetter(tuple(index)))


def _split(node: Node, program: Program) -> None:
    source = node.inputs[0]
    axis, begin = node.attributes.get("axis", 0) % len(program.shape(source).sizes), 0
    for output in node.outputs:
        end = begin + program.shape(output).sizes[axis]
        index = (*[slice(None)] * axis, slice(begin, end))
        _rearranged(output, source, program, itemgetter(index))
        begin = end


def _gather(node: Node, program: Program) -> None:
    (source, indices), (output,) = node.inputs, node.outputs
    sizes = program.shape(source).sizes
    axis, chosen = node.attributes.get("axis", 0) % len(sizes), program.constant(indices)
    if chosen is not None:
        _chosen(output, source, axis, (chosen.ravel() % sizes[axis]).tolist(), program)
        return
    row, count = int(np.prod(sizes[axis + 1 :], dtype=np.int64)), program.shape(indices).count
    if axis and count > 1:
        raise UnsupportedError("a choice of several that is not along the first axis")
    table = program.constant(source)
    halves = None if table is None or axis else halved(table)
    if halves is not None:
        to = program.make(output)
        for each in range(count):
            place = program.stored(source, halves).indexed(f"{row} * (size_t){program.value(indices, each)}")
            program.call("row_f16", to.after(each * row), place, str(row), comment=f"{output} ({row})")
    elif count == 1:
        first = (*[slice(None)] * axis, slice(0, 1))
        index = f"{row} * (size_t){program.value(indices)}"
        _rearranged(output, source, program, itemgetter(first), index)
    elif count <= _FEW:
        to = program.make(output)
        for each in range(count):
            at = program.place(source).indexed(f"{row} * (size_t){program.value(indices, each)}")
            program.copy(to.after(each * row), at, row, f"{output}, row {each}")
    else:
        raise UnsupportedError(f"a choice of more than {_FEW} rows")


def _chosen(output: str, source: str, axis: int, positions: Sequence[int], program: Program) -> None:
    """Let `output` be a choice of positions along an axis: a view, or joined from views."""
    parts = [(*[slice(None)] * axis, piece) for piece in _pieces(positions)]
    if len(parts) == 1:
        _rearranged(output, source, program, itemgetter(parts[0]))
    else:
        _joined(output, [(source, part) for part in parts], axis, program)


def _pieces(positions: Sequence[int]) -> Iterator[slice]:
    """Yield slices that take these positions one after another."""
    first = 0
    while first < len(positions):
        step, last = positions[min(first + 1, len(positions) - 1)] - positions[first], first + 1
        while step and last < len(positions) and positions[last] - positions[last - 1] == step:
            last += 1
        step = step if last > first + 1 else 1
        end = positions[last - 1] + (1 if step > 0 else -1)
        yield slice(positions[first], end if end >= 0 else None, step)
        first = last


def _transpose(node: Node, program: Program) -> None:
    (source,), (output,), order = node.inputs, node.outputs, node.attributes.get("perm")
    sizes = program.shape(source).sizes
    axes = list(range(len(sizes)))
    if len(axes) > 2 and sizes[0] == 1 and order == [0, *axes[2:], 1] and program.only_last(source):
        program.places[output] = program.channels_last[source]
        return
    if len(axes) > 2 and sizes[0] == 1 and order == [0, axes[-1], *axes[1:-1]]:
        program.channels_last[output] = program.place(source)
        return
    _rearranged(node.outputs[0], node.inputs[0], program, lambda whole: whole.transpose(order))


def _expand(node: Node, program: Program) -> None:
    sizes = program.shape(node.outputs[0]).sizes
    _rearranged(node.outputs[0], node.inputs[0], program, lambda whole: np.broadcast_to(whole, sizes))


def _tile(node: Node, program: Program) -> None:
    sizes, repeats = program.shape(node.inputs[0]).sizes, integers(node, program, 1) or []
    apart = [size for each in sizes for size in (1, each)]
    wide = [size for pair in zip(repeats, sizes, strict=True) for size in pair]
    _rearranged(node.outputs[0], node.inputs[0], program, lambda whole: np.broadcast_to(whole.reshape(apart), wide))


def _concat(node: Node, program: Program) -> None:
    (output,) = node.outputs
    axis = node.attributes["axis"] % len(program.shape(output).sizes)
    _joined(output, [(name, (slice(None),)) for name in node.inputs], axis, program)


def _joined(output: str, parts: Sequence[tuple[str, tuple[slice, ...]]], axis: int, program: Program) -> None:
    """Let `output` consist of parts of tensors, one after another along an axis."""
    to, whole, begin = program.make(output), _positions(program.shape(output)), 0
    for name, part in parts:
        taken = _positions(program.shape(name))[part]
        end = begin + taken.shape[axis]
        target = whole[(*[slice(None)] * axis, slice(begin, end))]
        begin = end
        if taken.size:
            _moved(f"{output}, from {name}", (to, target), (program.place(name), taken), program)


def _moved(comment: str, to: tuple[Place, Array], source: tuple[Place, Array], program: Program) -> None:
    """Copy the elements at some positions to others."""
    (place, target), (origin, taken) = to, source
    wanted, given = target.ravel(), taken.ravel()
    apart = np.flatnonzero((np.diff(wanted) != 1) | (np.diff(given) != 1)) + 1
    if len(apart) < _FEW:
        for first, last in zip((0, *apart), (*apart, len(wanted)), strict=True):
            begin, end = int(wanted[first]), int(given[first])
            program.copy(place.after(begin), origin.after(end), int(last - first), comment)
        return
    begin, end = int(wanted[0]), int(given[0])
    program.move(place.after(begin), len(wanted), origin.after(end), _index(taken), comment, _index(target))


def _positions(shape: Shape) -> Array:
    """Return the positions of a tensor's elements in memory."""
    return np.arange(shape.count, dtype=np.int32).reshape(shape.sizes)


def _index(positions: Array) -> str:
    """Return the C expression of the position of element i of a view of positions, after that of its first."""
    return strided(positions.shape, [stride // positions.itemsize for stride in positions.strides])


def _pad(node: Node, program: Program) -> None:
    source, (output,) = node.inputs[0], node.outputs
    sizes, mode = program.shape(source).sizes, node.attributes.get("mode", b"constant").decode()
    amounts, axes = integers(node, program, 1) or [], integers(node, program, 3)
    axes = [axis % len(sizes) for axis in axes] if axes is not None else list(range(len(sizes)))
    before, after = [0] * len(sizes), [0] * len(sizes)
    for place, axis in enumerate(axes):
        before[axis], after[axis] = amounts[place], amounts[place + len(axes)]
    padded = [axis for axis in range(len(sizes)) if before[axis] or after[axis]]
    if min([*before, *after], default=0) < 0:
        raise UnsupportedError("padding that cuts")
    if not padded:
        _view(node, program)
    elif mode == "constant":
        value = fixed(program, node.inputs[2]).ravel()[0] if len(node.inputs) > 2 and node.inputs[2] else 0
        to = program.make(output)
        whole = _positions(program.shape(output))
        inner = whole[tuple(slice(first, first + size) for first, size in zip(before, sizes, strict=True))]
        if value:
            program.fill(to, whole.size, literal(np.asarray(value, program.shape(output).dtype)), output)
        else:
            program.copy(to, None, whole.size, f"{output}, zeros around {source}")
        given, begin = _positions(program.shape(source)), to.after(int(inner.flat[0]))
        program.move(begin, given.size, program.place(source), "i", f"{output}, from {source}", _index(inner))
    elif mode in ("reflect", "edge") and len(padded) == 1:
        positions = np.pad(np.arange(sizes[padded[0]]), (before[padded[0]], after[padded[0]]), mode=mode)
        _chosen(output, source, padded[0], positions.tolist(), program)
    else:
        raise UnsupportedError(f"padding by {mode} along several axes")


MOVEMENT: dict[str, Operator] = {
    **dict.fromkeys(("Identity", "Reshape", "Squeeze", "Unsqueeze", "Flatten"), _view),
    "Concat": _concat,
    "Expand": _expand,
    "Gather": _gather,
    "Pad": _pad,
    "Slice": _slice,
    "Split": _split,
    "Tile": _tile,
    "Transpose": _transpose,
}
