"""What callers of the C source see: the types of each graph, its weights, and its states."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from edgernn.contract import Array, FromGraph, StateSpec, TensorSpec
from edgernn.exporters.c.program import C_TYPES, Buffer, Program, Where, identifier, literal, places

__all__ = [
    "arrays",
    "by_value",
    "declarations",
    "definitions",
    "fnv_1a",
    "opening",
    "read_bytes",
    "run_signature",
    "size_in_bytes",
    "stored_bytes",
]

_WIDTH = 116


def declarations(program: Program, *, blob: bool) -> str:
    """Return the types and the functions of one graph, as the header declares them."""
    spec, prefix = program.graph.spec, _prefix(program)
    return "\n\n".join(
        [
            f"/* Graph {spec.name}. Arrays are in C's order; a comment gives the sizes of their axes. */",
            _struct(f"{prefix}_inputs", [f"const {_pointer(program, 'in', name)}" for name in spec.input_names]),
            _struct(f"{prefix}_outputs", [_pointer(program, "out", name) for name in spec.output_names]),
            _struct(f"{prefix}_weights", [*map(_array, _buffers(program, "weights"))]),
            _struct(f"{prefix}_scratch", [*map(_array, _buffers(program, "scratch"))]),
            "/* One stream: its states by name. It can be copied by assignment. */",
            _struct(f"{prefix}_state", _members(program)),
            _OPEN_BLOB.format(prefix=prefix) if blob else _OPEN_ARRAYS.format(prefix=prefix),
            "/* Computes one step, and replaces the states. */",
            _signature(program) + ";",
            "/* Computes one step at a level of instructions. in and out point to different memory. */\n"
            f"{run_signature(program)};",
        ]
    )


_OPEN_ARRAYS = """/* Returns the weights. */
const {prefix}_weights *{prefix}_open(void);

/* Begins a stream. */
void {prefix}_init({prefix}_state *state);"""
_OPEN_BLOB = """/* Returns the weights in the content of NAME.bin, which must stay in memory; NULL for other bytes. */
const {prefix}_weights *{prefix}_open(const void *blob, size_t size);

/* Begins a stream. Returns 0, or -1 if the blob is not the content of NAME.bin. */
int {prefix}_init({prefix}_state *state, const void *blob, size_t size);"""


def definitions(program: Program) -> str:
    """Return the function that steps a stream."""
    spec, prefix = program.graph.spec, _prefix(program)
    fed = [
        *(_fed(program, tensor) for tensor in (*spec.inputs, *spec.conditions)),
        *(f"state->{identifier(each.name)}" for each in spec.states),
    ]
    made = [
        *(identifier(tensor.name) for tensor in spec.outputs),
        *(f"state->{identifier(f'next_{each.name}')}" for each in spec.states),
    ]
    pairs = zip((program.fields["in", name] for name in spec.input_names), fed, strict=True)
    states = [(identifier(each.name), identifier(f"next_{each.name}")) for each in spec.states]
    lines = [
        f"{prefix}_inputs in;",
        f"{prefix}_outputs out;",
        *(f"in.{field} = {value};" for field, value in pairs),
        *(f"out.{program.fields['out', name]} = {value};" for name, value in zip(spec.output_names, made, strict=True)),
        f"{prefix}_run(&in, &out, &state->scratch, state->weights, state->level);",
        *(f"memcpy(state->{name}, state->{later}, sizeof state->{name});" for name, later in states),
    ]
    body = "\n".join(f"    {line}" for line in lines)
    return f"{_signature(program)}\n{{\n{body}\n}}"


def opening(programs: Sequence[Program], blob: bytes | None) -> str:
    """Return the functions that find the weights and begin a stream."""
    parts, begin = [], 0
    if blob is not None:
        parts.append(
            _DIGEST.replace("SIZE", str(len(blob))).replace(
                "DIGEST", f"0x{fnv_1a(np.frombuffer(blob, '<u8').tolist()):016x}u"
            )
        )
    for program in programs:
        prefix = _prefix(program)
        sets = "\n".join(f"    {line}" for line in _first_values(program))
        if blob is None:
            parts.append(f"const {prefix}_weights *{prefix}_open(void)\n{{\n    return &{prefix}_stored;\n}}")
            parts.append(
                f"void {prefix}_init({prefix}_state *state)\n{{\n    state->weights = {prefix}_open();\n"
                f"    state->level = NAME_level();\n{sets}\n}}"
            )
        else:
            parts.append(
                f"const {prefix}_weights *{prefix}_open(const void *blob, size_t size)\n{{\n"
                "    if (!NAME_is_blob(blob, size))\n        return NULL;\n"
                f"    return (const {prefix}_weights *)(const void *)((const char *)blob + {begin});\n}}"
            )
            parts.append(
                f"int {prefix}_init({prefix}_state *state, const void *blob, size_t size)\n{{\n"
                f"    state->weights = {prefix}_open(blob, size);\n    if (!state->weights)\n        return -1;\n"
                f"    state->level = NAME_level();\n{sets}\n    return 0;\n}}"
            )
        begin += size_in_bytes(program, "weights")
    return "\n\n".join(parts)


_DIGEST = """/* Returns whether these bytes are the content of NAME.bin, by the digest FNV-1a (Fowler, Noll and Vo 1991)
   of its words of 8 bytes. */
static int NAME_is_blob(const void *blob, size_t size)
{
    uint64_t digest = 0xcbf29ce484222325u, word;
    size_t i;
    if (size != SIZEu)
        return 0;
    for (i = 0; i < size; i += 8) {
        memcpy(&word, (const char *)blob + i, 8);
        digest = (digest ^ word) * 0x100000001b3u;
    }
    return digest == DIGEST;
}"""


def fnv_1a(values: Iterable[int]) -> int:
    """Return the digest FNV-1a of 64 bits: of bytes, as it is published, or of words."""
    digest = 0xCBF29CE484222325
    for value in values:
        digest = (digest ^ value) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return digest


def _first_values(program: Program) -> list[str]:
    """Return the statements that set the states of a new stream."""
    lines = []
    for state in program.graph.spec.states:
        name = identifier(state.name)
        size = f"sizeof state->{name}"
        if state.name in program.initial:
            first = program.initial[state.name].buffer.name
            lines.append(f"memcpy(state->{name}, state->weights->{first}, {size});")
        else:
            lines.append(f"memset(state->{name}, 0, {size});")
    return lines


def _members(program: Program) -> list[str]:
    """Return the members of the struct of a stream."""
    prefix, spec = _prefix(program), program.graph.spec
    states = [(identifier(f"{when}{each.name}"), each) for when in ("", "next_") for each in spec.states]
    return [
        f"const {prefix}_weights *weights;",
        "int level;",
        *(_state(program, name, each) for name, each in states),
        f"{prefix}_scratch scratch;",
    ]


def _state(program: Program, name: str, state: StateSpec) -> str:
    shape = program.shape(state.input)
    sizes = ", ".join(map(str, shape.sizes))
    origin = ""
    if isinstance(state.initial, FromGraph) and not name.startswith("next_"):
        origin = f"; begins as {state.initial.output} of {state.initial.graph}: copy it here"
    return f"{C_TYPES[str(shape.dtype)]} {name}[{shape.count}]; /* ({sizes}){origin} */"


def _signature(program: Program) -> str:
    """Return the function that steps a stream, as it is declared."""
    spec, prefix = program.graph.spec, _prefix(program)
    given = [_parameter(program, tensor) for tensor in (*spec.inputs, *spec.conditions)]
    made = [f"{C_TYPES[str(program.shape(each.name).dtype)]} *{identifier(each.name)}" for each in spec.outputs]
    text = f"void {prefix}({', '.join([f'{prefix}_state *state', *given, *made])})"
    return "\n".join(textwrap.wrap(text, _WIDTH, subsequent_indent="    "))


def run_signature(program: Program) -> str:
    """Return the function that computes one step, as it is declared."""
    prefix = _prefix(program)
    return (
        f"void {prefix}_run(const {prefix}_inputs *in, const {prefix}_outputs *out, {prefix}_scratch *scratch,\n"
        f"    const {prefix}_weights *weights, int level)"
    )


def _parameter(program: Program, tensor: TensorSpec) -> str:
    shape, name = program.shape(tensor.name), identifier(tensor.name)
    if by_value(shape.dtype, shape.count):
        return f"{C_TYPES[str(shape.dtype)]} {name}"
    return f"const {C_TYPES[str(shape.dtype)]} *{name}"


def _fed(program: Program, tensor: TensorSpec) -> str:
    shape, name = program.shape(tensor.name), identifier(tensor.name)
    return f"&{name}" if by_value(shape.dtype, shape.count) else name


def by_value(dtype: np.dtype[Any], count: int) -> bool:
    """Return whether a function takes a tensor by value: one integer, such as a token."""
    return count == 1 and dtype.kind in "iu"


def arrays(programs: Iterable[Program]) -> str:
    """Return the weights as constants of the source file."""
    return "\n\n".join(map(_initialiser, programs))


def stored_bytes(program: Program) -> bytes:
    """Return the weights of a graph as they lie in its struct, on a little-endian machine."""
    return b"".join(
        _filled(program, each).astype(each.dtype.newbyteorder("<")).tobytes() for each in _buffers(program, "weights")
    )


def size_in_bytes(program: Program, where: Where) -> int:
    """Return the size of the weights or the scratch memory of a graph."""
    return sum(each.aligned_room * each.dtype.itemsize for each in _buffers(program, where))


def read_bytes(program: Program) -> int:
    """Return the size of the weights that each step reads as a whole, unlike rows of a table."""
    used = {
        place.buffer
        for statement in program.statements
        for place in places(statement)
        if place.buffer.where == "weights" and not place.index
    }
    return sum(each.aligned_room * each.dtype.itemsize for each in used)


def _initialiser(program: Program) -> str:
    fields = []
    for buffer in _buffers(program, "weights"):
        values = _filled(program, buffer)
        texts = ", ".join(map(literal, values))
        lines = textwrap.fill(texts, _WIDTH, initial_indent="        ", subsequent_indent="        ")
        fields.append(f"    /* {buffer.name} */\n    {{\n{lines}\n    }}")
    content = ",\n".join(fields) or "    0"
    return f"NAME_ALIGNED const {_prefix(program)}_weights {_prefix(program)}_stored = {{\n{content}\n}};"


def _filled(program: Program, buffer: Buffer) -> Array:
    values = program.weights[buffer.name].ravel()
    return np.pad(values, (0, buffer.aligned_room - len(values)))


def _buffers(program: Program, where: Where) -> list[Buffer]:
    return [buffer for buffer in program.buffers.values() if buffer.where == where]


def _prefix(program: Program) -> str:
    return f"NAME_{program.graph.spec.name}"


def _pointer(program: Program, where: Where, name: str) -> str:
    buffer = program.buffers[f"{where}.{program.fields[where, name]}"]
    sizes = ", ".join(map(str, program.shape(name).sizes))
    return f"{C_TYPES[str(buffer.dtype)]} *{buffer.name}; /* ({sizes}) */"


def _array(buffer: Buffer) -> str:
    return f"{C_TYPES[str(buffer.dtype)]} {buffer.name}[{buffer.aligned_room}];"


def _struct(name: str, fields: Sequence[str]) -> str:
    lines = "\n".join(f"    {each}" for each in fields or ["char none;"])
    return f"typedef struct {{\n{lines}\n}} {name};"
