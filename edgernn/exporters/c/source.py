"""The text of the header and the source file."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgernn.contract import Array
from edgernn.exporters.c import kernels
from edgernn.exporters.c.fusing import Loop, fused
from edgernn.exporters.c.program import C_TYPES, Buffer, Call, Copy, Place, Program, Where, literal

__all__ = ["ALIGNMENT", "Code", "write"]

ALIGNMENT = 64  # bytes, of each matrix among the weights
_WIDTH = 116


@dataclass(frozen=True)
class Code:
    """The files of a bundle in C. weights: the content of the blob, or None if the weights are in the source file."""

    header: str
    source: str
    weights: bytes | None


def write(name: str, programs: Sequence[Program], *, about: str, blob: bool) -> Code:
    """Return the files of some graphs whose public names begin with `name`. about: a line about their origin."""
    weights = b"".join(_bytes(program) for program in programs)
    header = _header(programs, about, blob=blob)
    bodies = [_graph(program) for program in programs]
    used = {kernel: None for program in programs for kernel in program.kernels}
    texts = [kernels.for_each_level(kernels.source(kernel)) for kernel in used]
    parts = [
        f"/* {about} */",
        header,
        "#include <string.h>",
        kernels.source("base"),
        kernels.helpers([*texts, *bodies]),
        *texts,
        kernels.source("levels"),
        "" if blob else _arrays(programs),
        *bodies,
    ]
    code = "\n\n".join(part.strip("\n") for part in parts if part) + "\n"
    header = f"/* {about} */\n\n{header}\n"
    return Code(_named(header, name), _named(code, name), weights if blob else None)


def _named(text: str, name: str) -> str:
    """Let names begin with `name`, those of macros with its capitals."""
    return re.sub(r"\bNAME(?=_[A-Z])", name.upper(), text).replace("NAME", name)


def _header(programs: Sequence[Program], about: str, *, blob: bool) -> str:
    parts = [
        "#ifndef NAME_H\n#define NAME_H\n\n#include <stddef.h>\n#include <stdint.h>\n\n"
        '#ifdef __cplusplus\nextern "C" {\n#endif',
        "/* Returns the best level of instructions of this processor: of x86, 0 for SSE2, 1 for AVX2 and 2 for VNNI.\n"
        "   All levels give the same bits. */\nint NAME_level(void);",
        *(_declarations(program) for program in programs),
        "#ifdef __cplusplus\n}\n#endif\n\n#endif",
    ]
    return "\n\n".join(parts)


def _declarations(program: Program) -> str:
    """Return types and functions of one graph."""
    spec = program.graph.spec
    prefix = f"NAME_{spec.name}"
    scratch = [buffer for buffer in program.buffers.values() if buffer.where == "scratch"]
    return "\n\n".join(
        [
            f"/* Graph {spec.name}. Arrays are in C's order; a comment gives the sizes of their axes. */",
            _struct(f"{prefix}_inputs", [_pointer("const ", program, "in", name) for name in spec.input_names]),
            _struct(f"{prefix}_outputs", [_pointer("", program, "out", name) for name in spec.output_names]),
            _struct(f"{prefix}_weights", [_array(each) for each in _weights(program)] or ["char none;"]),
            _struct(f"{prefix}_scratch", [_array(each) for each in scratch] or ["char none;"]),
            "/* Computes one step at a level of instructions. in and out point to different memory. */\n"
            f"void {prefix}_run(const {prefix}_inputs *in, const {prefix}_outputs *out, {prefix}_scratch *scratch,\n"
            f"    const {prefix}_weights *weights, int level);",
        ]
    )


def _pointer(const: str, program: Program, where: Where, name: str) -> str:
    buffer = program.buffers[f"{where}.{program.fields[where, name]}"]
    sizes = ", ".join(map(str, program.shape(name).sizes))
    return f"{const}{C_TYPES[str(buffer.dtype)]} *{buffer.name}; /* ({sizes}) */"


def _struct(name: str, fields: Sequence[str]) -> str:
    lines = "\n".join(f"    {each}" for each in fields)
    return f"typedef struct {{\n{lines}\n}} {name};"


def _array(buffer: Buffer) -> str:
    return f"{C_TYPES[str(buffer.dtype)]} {buffer.name}[{_room(buffer)}];"


def _room(buffer: Buffer) -> int:
    """Return the number of elements that a buffer takes, so that the next one is aligned."""
    each = ALIGNMENT // buffer.dtype.itemsize
    return -(-buffer.room // each) * each


def _weights(program: Program) -> list[Buffer]:
    return [buffer for buffer in program.buffers.values() if buffer.where == "weights"]


def _filled(program: Program, buffer: Buffer) -> Array:
    values = program.weights[buffer.name].ravel()
    return np.pad(values, (0, _room(buffer) - len(values)))


def _bytes(program: Program) -> bytes:
    """Return the weights of a graph as they lie in its struct."""
    return b"".join(
        _filled(program, buffer).astype(buffer.dtype.newbyteorder("<")).tobytes() for buffer in _weights(program)
    )


def _arrays(programs: Sequence[Program]) -> str:
    return "\n\n".join(_initialiser(program) for program in programs)


def _initialiser(program: Program) -> str:
    fields = []
    for buffer in _weights(program):
        values = _filled(program, buffer)
        lines = textwrap.fill(
            ", ".join(map(literal, values)), _WIDTH, initial_indent="        ", subsequent_indent="        "
        )
        fields.append(f"    /* {buffer.name} */\n    {{\n{lines}\n    }}")
    content = ",\n".join(fields) or "    0"
    prefix = f"NAME_{program.graph.spec.name}"
    return f"NAME_ALIGNED const {prefix}_weights {prefix}_stored = {{\n{content}\n}};"


def _graph(program: Program) -> str:
    """Return the functions of one graph: its loops, and the step."""
    spec = program.graph.spec
    prefix = f"NAME_{spec.name}"
    loops: list[str] = []
    lines: list[str] = []
    for statement in fused(program):
        if isinstance(statement, Copy):
            lines += _copy(statement)
        elif isinstance(statement, Call):
            lines += _call(statement.kernel, statement.arguments, statement.comment, statement.rows)
        else:
            kernel = f"{spec.name}_loop_{len(loops) + 1}"
            text, arguments = _loop(kernel, statement)
            loops.append(kernels.for_each_level(text))
            made = ", ".join(
                each.comment for each, stored in zip(statement.statements, statement.stored, strict=True) if stored
            )
            lines += _call(kernel, arguments, f"{made} ({statement.count})")
    body = "\n".join(f"    {line}" for line in lines)
    counter = "    int i;\n" if any(line.startswith("for (i") for line in lines) else ""
    step = (
        f"void {prefix}_run(const {prefix}_inputs *in, const {prefix}_outputs *out, {prefix}_scratch *scratch,\n"
        f"    const {prefix}_weights *weights, int level)\n{{\n"
        f"{counter}    (void)in, (void)out, (void)scratch, (void)weights, (void)level;\n{body}\n}}"
    )
    return "\n\n".join([*loops, step])


def _copy(statement: Copy) -> list[str]:
    to, size = statement.to.pointer(), f"{statement.count} * sizeof *{statement.to.base}"
    comment = [f"/* {statement.comment} */"] if statement.comment else []
    if statement.source is None:
        return [*comment, f"memset({to}, 0, {size});"]
    return [*comment, f"memcpy({to}, {statement.source.pointer()}, {size});"]


def _call(kernel: str, arguments: Sequence[Place | str], comment: str, rows: int = 1) -> list[str]:
    texts = [each.pointer() if isinstance(each, Place) else each for each in arguments]
    lines = textwrap.wrap(f"NAME_AT(level, NAME_{kernel}, {', '.join(texts)});", _WIDTH, subsequent_indent="    ")
    if rows > 1:
        lines = [f"for (i = 0; i < {rows}; i++)", *(f"    {line}" for line in lines)]
    return [f"/* {comment} */", *lines]


def _loop(kernel: str, loop: Loop) -> tuple[str, list[Place]]:
    """Return the function of a loop, and the places with which it is called."""
    names: dict[Place, str] = {}
    parameters: list[str] = []
    results = {each.to: f"v{at}" for at, each in enumerate(loop.statements) if each.at == "i"}

    def parameter(place: Place, const: str) -> str:
        if place not in names:
            names[place] = f"{'x' if const else 'y'}{len(names)}"
            parameters.append(f"{const}{C_TYPES[str(place.buffer.dtype)]} *restrict {names[place]}")
        return names[place]

    lines = []
    for at, (each, stored) in enumerate(zip(loop.statements, loop.stored, strict=True)):
        values = [
            operand
            if isinstance(operand, str)
            else results[operand]
            if operand in results
            else f"{parameter(operand, 'const ')}[{index}]"
            for operand, index in zip(each.operands, each.indices, strict=True)
        ]
        kind = C_TYPES[str(each.to.buffer.dtype)]
        lines.append(f"const {kind} v{at} = ({kind})({each.expression.format(*values)}); /* {each.comment} */")
        if stored:
            lines.append(f"{parameter(each.to, '')}[{each.at}] = v{at};")
    body = "\n".join(f"        {line}" for line in lines)
    signature = f"NAME_KERNEL NAME_TARGET void NAME_{kernel}_LEVEL({', '.join(parameters)})"
    wrapped = "\n".join(textwrap.wrap(signature, _WIDTH, subsequent_indent="    "))
    text = f"{wrapped}\n{{\n    int i;\n    for (i = 0; i < {loop.count}; i++) {{\n{body}\n    }}\n}}\n"
    return text, list(names)
