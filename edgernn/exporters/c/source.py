"""The text of the header and the source file."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from edgernn.exporters.c import kernels
from edgernn.exporters.c.interface import arrays, declarations, definitions, opening, run_signature, stored_bytes
from edgernn.exporters.c.program import C_TYPES, Call, Copy, Loop, Place, Program
from edgernn.exporters.c.texts import NO_TEXTS, Texts

__all__ = ["Code", "named", "write"]

_WIDTH = 116


@dataclass(frozen=True)
class Code:
    """The files of a bundle in C. weights: the content of the blob, or None if the weights are in the source file."""

    header: str
    source: str
    weights: bytes | None


def write(name: str, programs: Sequence[Program], *, about: str, blob: bool, texts: Texts = NO_TEXTS) -> Code:
    """Return the files of some graphs whose public names begin with `name`.

    about: the first line, a comment. blob: keep the weights out of the source file. texts: what is added for texts.
    """
    weights = b"".join(map(stored_bytes, programs))
    header = _header(programs, texts.header, blob=blob)
    bodies = [_graph(program) for program in programs]
    used = {kernel: None for program in programs for kernel in program.kernels}
    sources = [kernels.for_each_level(kernels.source(file)) for file in kernels.with_parts(used)]
    parts = [
        header,
        "#include <string.h>",
        kernels.source("base"),
        kernels.helpers([*sources, *bodies]),
        *sources,
        kernels.source("levels"),
        kernels.source("control"),
        "" if blob else arrays(programs),
        *bodies,
        opening(programs, weights if blob else None),
        *map(definitions, programs),
        texts.source,
    ]
    body = "\n\n".join(part.strip("\n") for part in parts if part)
    files = [named(f"/* {about} */\n\n{text}\n", name) for text in (header, body)]
    return Code(files[0], files[1], weights if blob else None)


def named(text: str, name: str) -> str:
    """Let names begin with `name`, those of macros with its capitals."""
    return re.sub(r"\bNAME(?=_[A-Z])", name.upper(), text).replace("NAME", name)


def _header(programs: Sequence[Program], texts: str, *, blob: bool) -> str:
    parts = [
        "#ifndef NAME_H\n#define NAME_H\n\n#include <stddef.h>\n#include <stdint.h>\n\n"
        '#ifdef __cplusplus\nextern "C" {\n#endif',
        "/* Returns the best level of instructions of this processor: of x86, 0 for SSE2, 1 for AVX2 and 2 for VNNI.\n"
        "   All levels give the same bits. */\nint NAME_level(void);",
        *(declarations(program, blob=blob) for program in programs),
        *([texts.rstrip("\n")] if texts else []),
        "#ifdef __cplusplus\n}\n#endif\n\n#endif",
    ]
    return "\n\n".join(parts)


def _graph(program: Program) -> str:
    """Return the functions of one graph: its loops, and the step."""
    loops: list[str] = []
    lines: list[str] = []
    for statement in program.steps:
        if isinstance(statement, Copy):
            lines += _copy(statement)
        elif isinstance(statement, Call):
            lines += _call(statement.kernel, statement.arguments, statement.comment, statement.rows)
        else:
            kernel = f"{program.graph.spec.name}_loop_{len(loops) + 1}"
            text, arguments = _loop(kernel, statement)
            loops.append(kernels.for_each_level(text))
            made = ", ".join(
                each.comment for each, stored in zip(statement.statements, statement.stored, strict=True) if stored
            )
            lines += _call(kernel, arguments, f"{made} ({statement.count})")
    body = "\n".join(f"    {line}" for line in lines)
    counter = "    int i;\n" if any(line.startswith("for (i") for line in lines) else ""
    step = (
        f"{run_signature(program)}\n{{\n"
        f"{counter}    const NAME_control control = NAME_enter();\n"
        f"    (void)in, (void)out, (void)scratch, (void)weights, (void)level;\n{body}\n    NAME_leave(control);\n}}"
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
