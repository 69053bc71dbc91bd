"""The text of the header and the source file."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from edgernn.exporters.c import kernels
from edgernn.exporters.c.interface import arrays, declarations, definitions, opening, run_signature, stored_bytes
from edgernn.exporters.c.program import C_TYPES, PART, Activated, Call, Copy, Loop, Place, Program, places
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
    loops: dict[str, str] = {}  # the names of their functions, by text
    lines: list[str] = []

    def called(loop: Loop) -> tuple[str, list[Place]]:
        text, arguments = _loop(loop)
        return loops.setdefault(text, f"{program.graph.spec.name}_loop_{len(loops) + 1}"), arguments

    for statement in program.steps:
        if isinstance(statement, Copy):
            lines += _copy(statement)
        elif isinstance(statement, Call):
            call = _call(statement.kernel, statement.arguments)
            lines += [f"/* {statement.comment} */", *(call if statement.rows == 1 else _repeated(call, statement.rows))]
        elif isinstance(statement, Activated):
            lines += _activated(statement, called)
        else:
            kernel, arguments = called(statement)
            made = ", ".join(
                each.comment for each, stored in zip(statement.statements, statement.stored, strict=True) if stored
            )
            lines += [f"/* {made} ({statement.count}) */", *_call(kernel, arguments)]
    body = "\n".join(f"    {line}" for line in lines)
    counter = "    int i;\n" if any(line.startswith("for (i") for line in lines) else ""
    step = (
        f"{run_signature(program)}\n{{\n"
        f"{counter}    const NAME_control control = NAME_enter();\n"
        f"    (void)in, (void)out, (void)scratch, (void)weights, (void)level;\n{body}\n    NAME_leave(control);\n}}"
    )
    functions = [text.replace("NAME_LOOP_LEVEL", f"NAME_{name}_LEVEL") for text, name in loops.items()]
    return "\n\n".join([*map(kernels.for_each_level, functions), step])


def _copy(statement: Copy) -> list[str]:
    to, size = statement.to.pointer(), f"{statement.count} * sizeof *{statement.to.base}"
    comment = [f"/* {statement.comment} */"] if statement.comment else []
    if statement.source is None:
        return [*comment, f"memset({to}, 0, {size});"]
    return [*comment, f"memcpy({to}, {statement.source.pointer()}, {size});"]


def _call(kernel: str, arguments: Sequence[Place | str]) -> list[str]:
    texts = [each.pointer() if isinstance(each, Place) else each for each in arguments]
    return textwrap.wrap(f"NAME_AT(level, NAME_{kernel}, {', '.join(texts)});", _WIDTH, subsequent_indent="    ")


def _repeated(lines: Sequence[str], count: int) -> list[str]:
    return [f"for (i = 0; i < {count}; i++)", *(f"    {line}" for line in lines)]


def _activated(step: Activated, called: Callable[[Loop], tuple[str, list[Place]]]) -> list[str]:
    """Return the calls of a product's kernel, and of functions of its outputs."""
    (to, *_), outputs = places(step.call), int(str(step.call.arguments[-1]))
    lines, done = [f"/* {step.call.comment} */"], 0

    def product(index: str, count: int) -> list[str]:
        moved = [
            argument.indexed(index if each == 1 else f"{each} * {index}")
            if isinstance(argument, Place) and each
            else argument
            for argument, each in zip(step.call.arguments, step.call.each, strict=True)
        ]
        return _call(step.call.kernel, [*moved[:-1], str(count)])

    for function in step.functions:
        begin = function.to.offset - to.offset
        lines += product(str(done), begin - done) if begin > done else []
        done = begin + function.count
        name, _ = called(Loop((replace(function, count=PART, comment="in place"),), (True,)))
        calls = [*product("i", PART), *_call(name, [to.indexed("i")])]
        lines += [
            f"/* {function.comment} ({function.count}) */",
            f"for (i = {begin}; i < {done}; i += {PART}) {{",
            *(f"    {line}" for line in calls),
            "}",
        ]
    return lines + (product(str(done), outputs - done) if outputs > done else [])


def _loop(loop: Loop) -> tuple[str, list[Place]]:
    """Return the function of a loop, under the name NAME_LOOP_LEVEL, and the places with which it is called."""
    names: dict[Place, str] = {}
    parameters: list[str] = []
    results: dict[Place, str] = {}
    written = {each.to for each, stored in zip(loop.statements, loop.stored, strict=True) if stored}

    def parameter(place: Place) -> str:
        const = "" if place in written else "const "
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
            else f"{parameter(operand)}[{index}]"
            for operand, index in zip(each.operands, each.indices, strict=True)
        ]
        kind = C_TYPES[str(each.to.buffer.dtype)]
        lines.append(f"const {kind} v{at} = ({kind})({each.expression.format(*values)}); /* {each.comment} */")
        if stored:
            lines.append(f"{parameter(each.to)}[{each.at}] = v{at};")
        if each.at == "i":
            results[each.to] = f"v{at}"
    body = "\n".join(f"        {line}" for line in lines)
    signature = f"NAME_KERNEL NAME_TARGET void NAME_LOOP_LEVEL({', '.join(parameters)})"
    wrapped = "\n".join(textwrap.wrap(signature, _WIDTH, subsequent_indent="    "))
    text = f"{wrapped}\n{{\n    int i;\n    for (i = 0; i < {loop.count}; i++) {{\n{body}\n    }}\n}}\n"
    return text, list(names)
