"""A program that compares the compiled code with the golden vectors of its bundle."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgernn.arrays import from_npy
from edgernn.contract import BATCH, Array, FromFile, GraphSpec, TensorSpec
from edgernn.exporters.c.interface import by_value, fnv_1a
from edgernn.exporters.c.kernels import source
from edgernn.exporters.c.program import C_TYPES, identifier, literal
from edgernn.exporters.c.source import named
from edgernn.runtime import Engine
from edgernn.runtime.golden import first_states, vector_file
from edgernn.runtime.parity import Step, Tolerance, chain

__all__ = ["Recording", "check", "record_steps"]

_STEPS = 32  # beyond them the file would only grow: the bits of all states are compared
_WIDTH = 116
_ABOUT = """/* Replays recorded steps of the network in NAME.c, at each level of instructions of this processor.

   It returns 0 if the bytes of all outputs and states are those that the export computed, and 1 otherwise. To tell an
   error from another rounding, it prints how far the outputs are from those of the network: each element may differ
   from the recorded one by the larger of two limits, `absolute`, and `relative` times the recorded value.

   cc -O3 NAME.c NAME_check.c -o check && ./checkARGUMENT */"""
_BLOB = """static void *blob;
static size_t blob_size;

static int read_blob(const char *path)
{{
    FILE *const file = fopen(path, "rb");
    blob = malloc({size} + 1);
    if (!file || !blob)
        return 0;
    blob_size = fread(blob, 1, {size} + 1, file);
    fclose(file);
    return 1;
}}"""
_MAIN = """int main({parameters})
{{
    int same = 1;
{calls}
    return !same;
}}"""
_READ = """    if (argc != 2 || !read_blob(argv[1])) {
        fputs("give the path of NAME.bin\\n", stderr);
        return 1;
    }
"""
_GRAPH = """static int check_{graph}(void)
{{
    static NAME_{graph}_state state;
    int level, step, same = 1;
    for (level = 0; level <= NAME_level(); level++) {{
        digest = 0x{offset:x}u;
        share = 0;
{begin}
        state.level = level;
        for (step = 0; step < {steps}; step++) {{
{body}
        }}
        same &= report("{graph}", level, {steps}, 0x{digest:016x}u);
    }}
    return same;
}}"""
_BEGIN_ARRAYS = "        NAME_{graph}_init(&state);"
_BEGIN_BLOB = """        if (NAME_{graph}_init(&state, blob, blob_size) != 0) {{
            fputs("this is not the NAME.bin that NAME.c was written with\\n", stderr);
            return 0;
        }}"""


def check(
    record: Mapping[str, Any],
    specs: Sequence[GraphSpec],
    engines: Mapping[str, Engine],
    golden: Mapping[str, Any],
    files: Mapping[str, bytes],
) -> str:
    """Return the program.

    record: what the first line of the source file says. golden: the manifest's record of the golden vectors, by graph.
    files: those of the bundle, by name.
    """
    blob = bool(record["blob"])
    recordings = [
        record_steps(spec, golden[spec.name], record["graphs"][spec.name]["sizes"], engines[spec.name], files)
        for spec in specs
    ]
    calls = "\n".join(f"    same &= check_{spec.name}();" for spec in specs)
    parts = [
        _ABOUT.replace("ARGUMENT", " NAME.bin" if blob else ""),
        source("check").strip(),
        _BLOB.format(size=sum(each["weights"] for each in record["graphs"].values())) if blob else "",
        *(_graph(recording, _BEGIN_BLOB if blob else _BEGIN_ARRAYS) for recording in recordings),
        _MAIN.format(parameters="int argc, char **argv" if blob else "void", calls=(_READ if blob else "") + calls),
    ]
    return named("\n\n".join(part for part in parts if part) + "\n", record["name"])


@dataclass(frozen=True)
class Recording:
    """Recorded steps of one graph at the sizes of the code.

    given: inputs of all steps, and conditions. first: the states before the first step. outputs: of the steps whose
    rows are not -1, as far as they were recorded. made: the bytes that the code computes in all steps.
    """

    spec: GraphSpec
    sizes: Mapping[str, int]
    tolerance: Tolerance
    given: Mapping[str, Array]
    first: Mapping[str, Array]
    rows: Sequence[int]
    outputs: Mapping[str, Array]
    made: bytes

    @property
    def steps(self) -> int:
        """The number of steps."""
        return len(self.rows)

    def bytes(self, tensor: TensorSpec) -> int:
        """Return the size of a tensor."""
        return int(np.prod(tensor.shape(self.sizes), dtype=np.int64)) * tensor.numpy_dtype.itemsize


def record_steps(
    spec: GraphSpec, about: Mapping[str, Any], sizes: Mapping[str, int], engine: Engine, files: Mapping[str, bytes]
) -> Recording:
    """Return up to 32 golden steps of a graph, and what `engine` computes in them.

    about: the manifest's record of the golden vectors. sizes: of named axes. files: those of the bundle, by name.
    """

    def read(kind: str, name: str) -> Array:
        file = vector_file(spec.name, kind, name)
        return from_npy(files[file], file)

    sizes = {**sizes, BATCH: 1}
    chosen = about["chosen"]
    steps = max([number for number in chosen if number <= _STEPS], default=chosen[0])
    rows = [chosen.index(number) if number in chosen else -1 for number in range(1, steps + 1)]
    inputs = {tensor.name: read("inputs", tensor.name)[:steps] for tensor in spec.inputs}
    held = {tensor.name: _filled(tensor, read("conditions", tensor.name), sizes, 0) for tensor in spec.conditions}
    outputs = {tensor.name: read("outputs", tensor.name)[: max(rows) + 1] for tensor in spec.outputs}
    starts = {state.initial.file for state in spec.states if isinstance(state.initial, FromFile)}
    first = first_states(spec, {file: from_npy(files[file], file) for file in starts}, held)
    feeds = ({**held, **{name: array[step, ...] for name, array in inputs.items()}} for step in range(steps))
    return Recording(
        spec,
        sizes,
        Tolerance(**about["tolerance"]),
        {**inputs, **held},
        first,
        rows,
        {
            tensor.name: np.stack([_recorded_part(tensor, row, sizes) for row in outputs[tensor.name]])
            for tensor in spec.outputs
        },
        b"".join(part for step in chain(engine, spec, feeds, first) for part in _bytes(spec, step)),
    )


def _bytes(spec: GraphSpec, step: Step) -> Iterator[bytes]:
    """Return what a step computed, in the order in which the program counts it."""
    for tensor in spec.outputs:
        yield step.outputs[tensor.name].tobytes()
    for state in spec.states:
        yield step.states[state.input].tobytes()


def _recorded_part(tensor: TensorSpec, array: Array, sizes: Mapping[str, int]) -> Array:
    """Return the recorded elements of an output as they begin in memory; NaN for those beyond its named axes."""
    cropped = any(isinstance(axis, str) and axis != BATCH for axis in tensor.axes)
    if not cropped or array.shape == tensor.shape(sizes):
        return array.ravel()
    whole = array.ndim == len(tensor.axes) and array.dtype.kind == "f"
    return _filled(tensor, array, sizes, np.nan).ravel() if whole else array.ravel()[:0]


def _filled(tensor: TensorSpec, array: Array, sizes: Mapping[str, int], value: float) -> Array:
    """Return an array, padded at the end of each axis up to the sizes of the code."""
    widths = [(0, full - size) for full, size in zip(tensor.shape(sizes), array.shape, strict=True)]
    return np.pad(array, widths, constant_values=value)


def _graph(recording: Recording, begin: str) -> str:
    """Return the arrays and the function that check one graph."""
    spec, tolerance = recording.spec, recording.tolerance
    graph, steps = spec.name, len(recording.rows)
    arrays = {f"given_{identifier(name)}": array for name, array in recording.given.items()}
    arrays |= {f"recorded_{identifier(name)}": array for name, array in recording.outputs.items() if array.size}
    arrays["rows"] = np.array(recording.rows, np.int32)
    made = [f"static {_type(tensor)} {_made(spec, tensor)}[{_count(tensor, recording)}];" for tensor in spec.outputs]
    arguments = ["&state", *(_argument(recording, tensor) for tensor in (*spec.inputs, *spec.conditions))]
    arguments += [_made(spec, tensor) for tensor in spec.outputs]
    body = [
        f"NAME_{graph}({', '.join(arguments)});",
        *(f"add({name}, sizeof {name});" for name in (_made(spec, tensor) for tensor in spec.outputs)),
        *(f"add(state.{name}, sizeof state.{name});" for name in (identifier(state.name) for state in spec.states)),
    ]
    limits = f"{tolerance.absolute!r}, {max(tolerance.relative, 5e-7)!r}"
    compared = [line for t in spec.outputs for line in _comparison(recording, t, limits)]
    if compared:
        body += [f"if ({graph}_rows[step] >= 0) {{", "    int i;", *(f"    {line}" for line in compared), "}"]
    else:
        del arrays["rows"]
    return "\n\n".join(
        [
            *(_array(f"{graph}_{name}", array) for name, array in arrays.items()),
            "\n".join(made),
            _GRAPH.format(
                graph=graph,
                offset=fnv_1a(b""),
                begin=begin.format(graph=graph),
                steps=steps,
                body="\n".join(f"            {line}" for line in body),
                digest=fnv_1a(recording.made),
            ),
        ]
    )


def _argument(recording: Recording, tensor: TensorSpec) -> str:
    name, count = f"{recording.spec.name}_given_{identifier(tensor.name)}", _count(tensor, recording)
    if tensor in recording.spec.conditions:
        return f"{name}[0]" if by_value(tensor.numpy_dtype, count) else name
    return f"{name}[step]" if by_value(tensor.numpy_dtype, count) else f"{name} + step * {count}"


def _comparison(recording: Recording, tensor: TensorSpec, limits: str) -> list[str]:
    """Return the loop that compares an output; whole numbers, which have no tolerance, only if none may differ."""
    count = recording.outputs[tensor.name].shape[1]
    exact = tensor.numpy_dtype.kind != "f"
    if not count or (exact and recording.tolerance.mismatches):
        return []
    graph = recording.spec.name
    recorded = f"{graph}_recorded_{identifier(tensor.name)}[{graph}_rows[step] * {count} + i]"
    pair = f"{_made(recording.spec, tensor)}[i]", recorded
    values = ", ".join(f"(double){each}" for each in pair)
    return [f"for (i = 0; i < {count}; i++)", f"    compare({values}, {'0, 0' if exact else limits});"]


def _made(spec: GraphSpec, tensor: TensorSpec) -> str:
    """Return the array in which the program receives an output."""
    return f"{spec.name}_made_{identifier(tensor.name)}"


def _count(tensor: TensorSpec, recording: Recording) -> int:
    return max(1, int(np.prod(tensor.shape(recording.sizes), dtype=np.int64)))


def _type(tensor: TensorSpec) -> str:
    return C_TYPES[str(tensor.numpy_dtype)]


def _array(name: str, values: Array) -> str:
    texts = ", ".join(_literal(value, values.dtype) for value in values.ravel().tolist())
    lines = textwrap.fill(texts, _WIDTH, initial_indent="    ", subsequent_indent="    ")
    return f"static const {C_TYPES[str(values.dtype)]} {name}[{values.size}] = {{\n{lines}\n}};"


def _literal(value: float, dtype: np.dtype[Any]) -> str:
    if dtype.kind != "f":
        return str(int(value))
    if not math.isfinite(value):
        return "NAN" if math.isnan(value) else f"{'-' if value < 0 else ''}INFINITY"
    return literal(np.float32(value)) if dtype == np.float32 else f"{value!r}"
