"""Statements in fewer steps: results are written where they are wanted, and element-wise statements share loops."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from edgernn.exporters.c.memory import homes
from edgernn.exporters.c.program import (
    PART,
    Activated,
    Buffer,
    Call,
    Copy,
    Elementwise,
    Loop,
    Place,
    Program,
    Statement,
    places,
)

__all__ = ["fuse"]


def fuse(program: Program) -> None:
    """Set the steps of a program: its statements with fewer copies, and with loops in place of element-wise statements.

    Scratch memory is kept as far as the steps need it, and tensors that are not needed at once share it.
    """
    statements = _activated(_without_copies(program), program.pinned)
    groups = list(_groups(statements))
    reads = [(place.buffer, at) for at, group in enumerate(groups) for each in group for place in places(each)]
    steps = [
        _loop(group, at, reads) if isinstance(group[0], Elementwise) else group[0] for at, group in enumerate(groups)
    ]
    needed = [(at, buffer) for at, step in enumerate(steps) for buffer in _needed(step) if buffer.where == "scratch"]
    places_of = homes(needed, program.pinned)
    program.steps = [_moved_step(step, places_of) for step in steps]
    kept = {key: each for key, each in program.buffers.items() if each.where != "scratch" or each in program.pinned}
    shared = {place.buffer for place in places_of.values()}
    program.buffers = kept | {f"scratch.{each.name}": each for each in sorted(shared, key=lambda each: each.name)}


def _needed(step: Copy | Call | Activated | Loop) -> set[Buffer]:
    """Return the buffers that a step reads and writes, without results that it does not keep."""
    if not isinstance(step, Loop):
        return _buffers(step)
    made = {each.to for each in step.statements}
    kept = {each.to.buffer for each, stored in zip(step.statements, step.stored, strict=True) if stored}
    return kept | {place.buffer for each in step.statements for place in places(each) if place not in made}


def _moved_step(step: Copy | Call | Activated | Loop, moved: Mapping[Buffer, Place]) -> Copy | Call | Activated | Loop:
    if isinstance(step, Loop):
        return replace(step, statements=tuple(_moved_elements(each, moved) for each in step.statements))
    return _moved_activated(step, moved) if isinstance(step, Activated) else _moved_memory(step, moved)


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


def _activated(statements: Sequence[Statement], pinned: Collection[Buffer]) -> list[Statement]:
    """Let functions of a product's outputs replace these outputs, unless other statements need them."""
    moved: dict[Buffer, Place] = {}
    kept: list[Statement] = []
    for statement in statements:
        if isinstance(statement, Elementwise) and statement.to.buffer in moved:
            continue
        if not isinstance(statement, Call):
            kept.append(_moved(statement, moved))
            continue
        functions = []
        for each in statements if statement.each else ():
            if isinstance(each, Elementwise) and _is_function_of(statement, each):
                (source,), made = places(each), each.to.buffer
                others = (other for other in statements if other is not statement and other is not each)
                needed = any(_touches(other, source, each.count) for other in others)
                if not needed and source.buffer not in pinned and made not in pinned:
                    moved[made] = source
                    functions.append(replace(each, to=source))
        call = _moved_call(statement, moved)
        kept.append(Activated(call, _joined(functions)) if functions else call)
    return kept


def _is_function_of(product: Call, each: Elementwise) -> bool:
    """Return whether a statement makes a tensor of functions of whole parts of a product's outputs."""
    to, source = product.arguments[0], each.operands[0]
    if not isinstance(to, Place) or not isinstance(source, Place) or len(each.operands) > 1:
        return False
    begin, whole = source.offset - to.offset, Place(each.to.buffer)
    return (
        source.buffer == to.buffer
        and to.buffer.where == each.to.buffer.where == "scratch"
        and not (to.index or source.index)
        and (each.to, each.count, each.at, each.indices) == (whole, whole.buffer.room, "i", ("i",))
        and whole.buffer.dtype == to.buffer.dtype
        and "NAME_" in each.expression
        and begin % PART == each.count % PART == 0
        and 0 <= begin <= int(str(product.arguments[-1])) - each.count
    )


def _joined(functions: Iterable[Elementwise]) -> tuple[Elementwise, ...]:
    """Return functions in the order of the outputs, those that are equal and follow each other as one."""
    joined: list[Elementwise] = []
    for each in sorted(functions, key=lambda each: each.to.offset):
        last = joined[-1] if joined else each
        if last.expression == each.expression and last.to.after(last.count) == each.to:
            comment = f"{last.comment}, {each.comment}"
            joined[-1] = replace(last, count=last.count + each.count, comment=comment)
        else:
            joined.append(each)
    return tuple(joined)


def _buffers(statement: Statement) -> set[Buffer]:
    written = {statement.to.buffer} if isinstance(statement, Copy | Elementwise) else set()
    return written | {place.buffer for place in places(statement)}


def _touches(statement: Statement, place: Place, count: int) -> bool:
    """Return whether a statement may read or write one of `count` elements from `place` on."""
    if isinstance(statement, Call | Activated) or place.index:
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
    """Return a statement with other places for some buffers."""
    if isinstance(statement, Elementwise):
        return _moved_elements(statement, moved)
    return _moved_activated(statement, moved) if isinstance(statement, Activated) else _moved_memory(statement, moved)


def _moved_activated(statement: Activated, moved: Mapping[Buffer, Place]) -> Activated:
    functions = tuple(_moved_elements(each, moved) for each in statement.functions)
    return Activated(_moved_call(statement.call, moved), functions)


def _moved_elements(statement: Elementwise, moved: Mapping[Buffer, Place]) -> Elementwise:
    to, operands = _moved_place(statement.to, moved), _moved_places(statement.operands, moved)
    return replace(statement, to=to, operands=operands)


def _moved_call(statement: Call, moved: Mapping[Buffer, Place]) -> Call:
    return replace(statement, arguments=_moved_places(statement.arguments, moved))


def _moved_memory(statement: Copy | Call, moved: Mapping[Buffer, Place]) -> Copy | Call:
    if isinstance(statement, Call):
        return _moved_call(statement, moved)
    source = None if statement.source is None else _moved_place(statement.source, moved)
    return replace(statement, to=_moved_place(statement.to, moved), source=source)


def _moved_places(operands: Sequence[Place | str], moved: Mapping[Buffer, Place]) -> tuple[Place | str, ...]:
    return tuple(_moved_place(each, moved) if isinstance(each, Place) else each for each in operands)


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
