"""Statements in fewer steps: results are written where they are wanted, and element-wise statements share loops."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from edgernn.exporters.c.program import Buffer, Call, Copy, Elementwise, Place, Program, Statement, places

__all__ = ["Loop", "drop_unused", "fused"]


@dataclass(frozen=True)
class Loop:
    """Element-wise statements over tensors of one size, in one loop. stored: the statements whose results are kept."""

    statements: tuple[Elementwise, ...]
    stored: tuple[bool, ...]

    @property
    def count(self) -> int:
        """The number of elements."""
        return self.statements[0].count


def fused(program: Program) -> list[Copy | Call | Loop]:
    """Return the statements of a program with fewer copies, and with loops in place of element-wise statements."""
    statements = _without_copies(program)
    groups = list(_groups(statements))
    reads = [(place.buffer, at) for at, group in enumerate(groups) for each in group for place in places(each)]
    return [
        _loop(group, at, reads) if isinstance(group[0], Elementwise) else group[0] for at, group in enumerate(groups)
    ]


def drop_unused(program: Program) -> None:
    """Remove the scratch memory of a program that its fused statements do not need."""
    used: set[Buffer] = set()
    for statement in fused(program):
        if isinstance(statement, Loop):
            made = {each.to for each in statement.statements}
            kept = zip(statement.statements, statement.stored, strict=True)
            used.update(each.to.buffer for each, stored in kept if stored)
            operands = (place for each in statement.statements for place in places(each))
            used.update(place.buffer for place in operands if place not in made)
        else:
            used.update(place.buffer for place in places(statement))
            used.update([statement.to.buffer] if isinstance(statement, Copy) else [])
    used |= program.pinned
    program.buffers = {
        key: buffer for key, buffer in program.buffers.items() if buffer.where != "scratch" or buffer in used
    }


def _without_copies(program: Program) -> list[Statement]:
    """Let results be computed where they would be copied to, unless something else happens there in between."""
    moved: dict[Buffer, Place] = {}
    kept: list[Statement] = []
    for number, statement in reversed([*enumerate(program.statements)]):
        if isinstance(statement, Copy) and statement.source is not None:
            buffer = statement.source.buffer
            whole = buffer.where == "scratch" and buffer.room == statement.count and not statement.source.index
            if whole and buffer not in program.pinned and buffer not in moved:
                made = next(at for at, each in enumerate(program.statements) if buffer in _buffers(each))
                to = _moved_place(statement.to, moved)
                between = (_moved(each, moved) for each in program.statements[made:number])
                if not any(_touches(each, to, statement.count) for each in between):
                    moved[buffer] = statement.to
                    continue
        kept.append(statement)
    return [_moved(statement, moved) for statement in reversed(kept)]


def _buffers(statement: Statement) -> set[Buffer]:
    written = set() if isinstance(statement, Call) else {statement.to.buffer}
    return written | {place.buffer for place in places(statement)}


def _touches(statement: Statement, place: Place, count: int) -> bool:
    """Return whether a statement may read or write one of `count` elements from `place` on."""
    if isinstance(statement, Call) or place.index:
        return place.buffer in _buffers(statement)
    spans = [(statement.to, isinstance(statement, Copy) or statement.at == "i")]
    if isinstance(statement, Copy):
        spans += [(each, True) for each in places(statement)]
    else:
        pairs = zip(statement.operands, statement.indices, strict=True)
        spans += [(each, index == "i") for each, index in pairs if isinstance(each, Place)]
    return any(
        each.buffer == place.buffer
        and (
            not straight
            or bool(each.index)
            or (each.offset < place.offset + count and place.offset < each.offset + statement.count)
        )
        for each, straight in spans
    )


def _moved_place(place: Place, moved: Mapping[Buffer, Place]) -> Place:
    while place.buffer in moved:
        place = replace(moved[place.buffer].after(place.offset), index=place.index)
    return place


def _moved(statement: Statement, moved: Mapping[Buffer, Place]) -> Statement:
    def new(place: Place) -> Place:
        return _moved_place(place, moved)

    if isinstance(statement, Copy):
        source = None if statement.source is None else new(statement.source)
        return replace(statement, to=new(statement.to), source=source)
    if isinstance(statement, Call):
        arguments = tuple(new(each) if isinstance(each, Place) else each for each in statement.arguments)
        return replace(statement, arguments=arguments)
    operands = tuple(new(each) if isinstance(each, Place) else each for each in statement.operands)
    return replace(statement, to=new(statement.to), operands=operands)


def _groups(statements: Sequence[Statement]) -> Iterator[list[Statement]]:
    """Yield the statements that one loop can execute, and each of the others alone."""
    group: list[Elementwise] = []
    for statement in statements:
        if isinstance(statement, Elementwise) and (not group or _fits(statement, group)):
            group.append(statement)
            continue
        if group:
            yield [*group]
        group = [statement] if isinstance(statement, Elementwise) else []
        if not group:
            yield [statement]
    if group:
        yield [*group]


def _fits(statement: Elementwise, group: Sequence[Elementwise]) -> bool:
    """Return whether a statement has the size of a group, and needs only its results at the same index."""
    made = {each.to for each in group if each.at == "i"}
    buffers = {each.to.buffer for each in group}
    alone = all(each.at == "i" for each in (*group, statement)) or statement.to.buffer not in buffers
    return (
        alone
        and statement.count == group[0].count
        and all(
            place in made and index == "i"
            for place, index in zip(statement.operands, statement.indices, strict=True)
            if isinstance(place, Place) and place.buffer in buffers
        )
    )


def _loop(group: Sequence[Statement], at: int, reads: Sequence[tuple[Buffer, int]]) -> Loop:
    statements = tuple(each for each in group if isinstance(each, Elementwise))
    used = {buffer for buffer, reader in reads if reader != at}
    return Loop(statements, tuple(each.to.buffer in used or each.to.buffer.where == "out" for each in statements))
