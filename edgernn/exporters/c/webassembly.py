"""Compiles generated source to WebAssembly with clang, and replays golden vectors in Node."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from edgernn.contract import Array, GraphSpec
from edgernn.errors import ExportError, ParityError
from edgernn.exporters.c.check import Recording, record_steps
from edgernn.runtime import Engine
from edgernn.runtime.wasm import RECORD

__all__ = ["BASE", "NODE", "SIMD", "compile_module", "replay", "require_clang"]

NODE = "node"
SIMD = ("-msimd128", "-mbulk-memory")
BASE: tuple[str, ...] = ()
_TOOLS = ("clang", "wasm-ld")
_FLAGS = ("--target=wasm32", "-mcpu=mvp", "-std=c99", "-O3", "-nostdlib", "-Wl,--no-entry,--stack-first,--strip-all")
_LONGEST = 600  # seconds of one compilation, or one replay


def require_clang() -> None:
    """Raise ExportError unless clang and its linker for WebAssembly are installed."""
    if missing := [tool for tool in _TOOLS if not shutil.which(tool)]:
        raise ExportError(
            f"the target wasm needs {' and '.join(_TOOLS)}, and {missing[0]} is not installed: install clang and lld "
            "(on Debian, apt install clang lld)"
        )


def compile_module(source: bytes, record: Mapping[str, Any], features: Sequence[str]) -> bytes:
    """Return the module of WebAssembly that exports `NAME_GRAPH_open` and `NAME_GRAPH_run` of each graph of a source.

    record: what the first line of the source says of it, which becomes a section of the module. features: flags of
    clang, SIMD or BASE. Raises ExportError if clang cannot compile it.
    """
    names = [f"{record['name']}_{graph}_{function}" for graph in record["graphs"] for function in ("open", "run")]
    exports = ",".join(f"--export={name}" for name in ("__heap_base", *names))
    library = files("edgernn.exporters.c").joinpath("sources", "wasm")
    with tempfile.TemporaryDirectory() as folder:
        parts = [Path(folder) / name for name in ("model.c", "library.c", "string.h")]
        parts[0].write_bytes(source)
        for part in parts[1:]:
            part.write_bytes(library.joinpath(part.name).read_bytes())
        made = Path(folder) / "model.wasm"
        command = [
            _TOOLS[0],
            *_FLAGS,
            *features,
            f"-Wl,{exports}",
            f"-I{folder}",
            *map(str, parts[:2]),
            "-o",
            str(made),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_LONGEST)
        if done.returncode:
            lines = (done.stderr or done.stdout).strip().splitlines() or [f"exit status {done.returncode}"]
            line = next((line for line in lines if "error" in line), lines[0])
            raise ExportError(f"clang cannot compile the code to WebAssembly: {line.replace(folder, '…')[:200]}")
        return made.read_bytes() + _section(RECORD.encode(), json.dumps(record).encode())


def _section(name: bytes, content: bytes) -> bytes:
    """Return a custom section, which a module may have at its end."""
    body = _length(len(name)) + name + content
    return b"\0" + _length(len(body)) + body


def _length(number: int) -> bytes:
    """Return a number as WebAssembly writes it: seven bits a byte, the lowest first (LEB128)."""
    made = bytearray()
    while number >= 0x80:
        made.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*made, number])


def replay(
    names: Sequence[str],
    record: Mapping[str, Any],
    specs: Sequence[GraphSpec],
    engines: Mapping[str, Engine],
    golden: Mapping[str, Any],
    files: Mapping[str, bytes],
) -> None:
    """Step the graphs of each module in Node over golden inputs; every byte must be that which `engines` compute.

    names: the files of the modules. golden: the manifest's record of the golden vectors, by graph. files: those of the
    bundle, by name. Raises ParityError for another byte, ExportError if Node cannot run a module.
    """
    recordings = [
        record_steps(spec, golden[spec.name], record["graphs"][spec.name]["sizes"], engines[spec.name], files)
        for spec in specs
    ]
    job = json.dumps([_described(each, record) for each in recordings])
    given = b"".join(part for each in recordings for part in _given(each))
    for name in names:
        made = _run(files[name], files[f"{record['name']}.bin"], given, job)
        begin = 0
        for each in recordings:
            end = begin + len(each.made)
            if made[begin:end] != each.made:
                raise ParityError(
                    f"graph {each.spec.name}: {name} computes other bits than the code in C that it was made of"
                )
            begin = end


def _described(each: Recording, record: Mapping[str, Any]) -> dict[str, Any]:
    spec, prefix = each.spec, f"{record['name']}_{each.spec.name}"
    kinds = ["input"] * len(spec.inputs) + ["condition"] * len(spec.conditions) + ["state"] * len(spec.states)
    return {
        "run": f"{prefix}_run",
        "open": f"{prefix}_open",
        "steps": each.steps,
        "feeds": [
            {"bytes": each.bytes(tensor), "kind": kind} for tensor, kind in zip(spec.feeds.values(), kinds, strict=True)
        ],
        "results": [each.bytes(tensor) for tensor in spec.results.values()],
        "scratch": record["graphs"][spec.name]["scratch"],
    }


def _given(each: Recording) -> Iterator[bytes]:
    """Yield what a graph is given, in the order of `replay.mjs`."""
    held: list[Array] = [*(each.given[tensor.name] for tensor in each.spec.conditions), *each.first.values()]
    yield from (array.tobytes() for array in held)
    for step in range(each.steps):
        for tensor in each.spec.inputs:
            yield each.given[tensor.name][step, ...].tobytes()


def _run(module: bytes, blob: bytes, given: bytes, job: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        script = files("edgernn.exporters.c").joinpath("sources", "wasm", "replay.mjs").read_bytes()
        paths = [Path(folder) / name for name in ("replay.mjs", "model.wasm", "model.bin", "inputs")]
        for path, content in zip(paths, (script, module, blob, given), strict=True):
            path.write_bytes(content)
        done = subprocess.run(
            [NODE, *map(str, paths)], input=job.encode(), capture_output=True, check=False, timeout=_LONGEST
        )
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        line = next((line for line in lines if "Error" in line), f"exit status {done.returncode}")
        raise ExportError(f"Node cannot run the module of WebAssembly: {line[:200]}")
    return done.stdout
