"""The engine of bundles in C: it compiles their source file, and calls it."""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from edgernn.contract import BATCH, Array, ConditionSpec, GraphSpec, TensorSpec
from edgernn.errors import EngineError
from edgernn.execution import DEFAULT, LEVELS, Execution
from edgernn.paths import cache_directory
from edgernn.runtime.drawing import CompiledDraw
from edgernn.runtime.engine import NO_FILES
from edgernn.sampling import Draw, Sampler

__all__ = ["COMPILED", "BoundCall", "CompiledEngine", "about", "compiler"]

COMPILED = "compiled"  # the directory of compiled code in the cache
_COMPILERS = ("cc", "gcc", "clang")
_FLAGS = ("-std=c99", "-O3", "-fPIC", "-shared")
_LONGEST = 600  # seconds of one compilation


class CompiledEngine:
    """A graph in C, compiled for this machine by $CC, cc, gcc or clang. level: the set of instructions that it uses.

    Compiled code is kept in the cache, by the digest of the source, the compiler and its version.
    """

    target: ClassVar[str] = "c"

    def __init__(
        self, graph: bytes, spec: GraphSpec, execution: Execution = DEFAULT, files: Mapping[str, bytes] = NO_FILES
    ) -> None:
        if execution.providers or (execution.threads or 1) != 1:
            raise EngineError("compiled code runs on one thread of the CPU: leave out --threads and --provider")
        record = about(graph)
        if spec.name not in record["graphs"]:
            raise EngineError(f"graph {spec.name} is not in the source file, which has {', '.join(record['graphs'])}")
        name, described = record["name"], record["graphs"][spec.name]
        library = _library(graph)
        self._spec = spec
        self._sizes = {**described["sizes"], BATCH: 1}
        self._scratch = int(described["scratch"])
        self._run = library[f"{name}_{spec.name}_run"]
        self._run.argtypes, self._run.restype = [*[ctypes.c_void_p] * 4, ctypes.c_int], None
        self.level = _level(library, name, execution)
        self._constants = record["sampler"]
        if self._constants is not None:
            self._draw = library[f"{name}_draw"]
            self._draw.argtypes, self._draw.restype = [ctypes.c_void_p] * 3, ctypes.c_int32
        self._blob = files.get(f"{name}.bin", b"") if record["blob"] else b""
        self._weights = _open(library[f"{name}_{spec.name}_open"], record, self._blob)

    def run(self, feeds: Mapping[str, Array]) -> Sequence[Array]:
        """Return outputs and next states in the order of the specification. Raises EngineError for a larger axis.

        The streams of a batch run one after another. Conditions are padded with zeros to the size of the graph.
        """
        spec = self._spec
        sizes = {BATCH: 1}
        for name, tensor in spec.feeds.items():
            sizes.update(tensor.named_sizes(feeds[name]))
        given = {name: self._fitted(tensor, feeds[name]) for name, tensor in spec.feeds.items()}
        rows = [self._row(given, row) for row in range(sizes[BATCH])]
        return [
            _cropped(tensor, _joined(tensor, [row[place] for row in rows]), sizes)
            for place, tensor in enumerate(spec.results.values())
        ]

    def draw(self, sampler: Sampler) -> Draw:
        """Return what draws the tokens of a stream as `sampler` does: compiled code, where the bundle has it."""
        known = self._constants
        if known is None or (sampler.repetition_penalty != 1 and sampler.repetition_window > known["history"]):
            return sampler
        return CompiledDraw(self._draw, sampler, **known)

    def call(self, feeds: Sequence[Array], results: Sequence[Array]) -> BoundCall:
        """Return a call whose inputs and outputs, of one stream, stay where they are in memory."""
        return BoundCall(self._run, feeds, results, np.empty(self._scratch, np.uint8), self._weights, self.level)

    def _row(self, given: Mapping[str, Array], row: int) -> list[Array]:
        feeds = [_stream(self._spec.feeds[name], array, row) for name, array in given.items()]
        results = [np.empty(tensor.shape(self._sizes), tensor.numpy_dtype) for tensor in self._spec.results.values()]
        self.call(feeds, results)()
        return results

    def _fitted(self, tensor: TensorSpec, array: Array) -> Array:
        """Return an array with the sizes for which the code was generated. Raises EngineError if it cannot be."""
        widths = []
        for axis, size in zip(tensor.axes, array.shape, strict=True):
            fixed = size if axis == BATCH or isinstance(axis, int) else self._sizes[axis]
            padded = isinstance(tensor, ConditionSpec) and tensor.padded_axis is not None
            if size > fixed or (size < fixed and not padded):
                raise EngineError(
                    f"graph {self._spec.name} was generated for {fixed} {axis}, and {tensor.name} has {size}"
                )
            widths.append((0, fixed - size))
        return np.pad(array, widths) if any(after for _, after in widths) else array


class BoundCall:
    """A call with fixed arguments, which keeps alive what they point to. weights: the address of the weights."""

    def __init__(
        self, run: Any, feeds: Sequence[Array], results: Sequence[Array], scratch: Array, weights: Any, level: int
    ) -> None:
        pointers = [(ctypes.c_void_p * len(each))(*(a.ctypes.data for a in each)) for each in (feeds, results)]
        addresses = [ctypes.addressof(each) for each in pointers]
        self._kept = feeds, results, scratch, pointers
        self.weights = weights
        self._run, self._arguments = run, (*addresses, scratch.ctypes.data, weights, level)

    def __call__(self) -> None:
        """Run the call."""
        self._run(*self._arguments)

    def repeat(self, loop: Any, count: int) -> None:
        """Run the call `count` times in a compiled loop, which is given the function, its arguments and the count."""
        *pointers, level = self._arguments
        loop(ctypes.cast(self._run, ctypes.c_void_p), *map(ctypes.c_void_p, pointers), level, count)


def about(source: bytes) -> dict[str, Any]:
    """Return what the first line of a source file says of it. Raises EngineError if edgernn did not write it."""
    line = source.split(b"\n", 1)[0].strip().removeprefix(b"/*").removesuffix(b"*/")
    try:
        record = json.loads(line)
        for described in record["graphs"].values():
            _ = described["sizes"], described["scratch"], described["operators"], described["multiply_accumulates"]
        _ = record["name"], record["blob"], record["sampler"]
    except (ValueError, LookupError, TypeError, AttributeError):
        raise EngineError("this is not a C source file of edgernn, or a damaged one") from None
    return dict(record)


def _stream(tensor: TensorSpec, array: Array, row: int) -> Array:
    """Return one stream of a batch."""
    axis = tensor.batch_axis
    return np.ascontiguousarray(array if axis is None else array.take([row], axis))


def _joined(tensor: TensorSpec, rows: Sequence[Array]) -> Array:
    return rows[0] if tensor.batch_axis is None or len(rows) == 1 else np.concatenate(rows, tensor.batch_axis)


def _cropped(tensor: TensorSpec, array: Array, sizes: Mapping[str, int]) -> Array:
    kept = tuple(slice(None if isinstance(axis, int) else sizes.get(axis)) for axis in tensor.axes)
    return array[kept]


def _level(library: ctypes.CDLL, name: str, execution: Execution) -> int:
    best = int(library[f"{name}_level"]())
    if execution.level is None:
        return best
    level = LEVELS.index(execution.level)
    if level > best:
        raise EngineError(f"this processor has no {execution.level} (--level); its best is {LEVELS[best]}")
    return level


def _open(function: Any, record: Mapping[str, Any], blob: bytes) -> int:
    function.restype = ctypes.c_void_p
    if not record["blob"]:
        return int(function())
    function.argtypes = [ctypes.c_char_p, ctypes.c_size_t]
    address = function(blob, len(blob))
    if address is None:
        raise EngineError(f"{record['name']}.bin is not the file that {record['name']}.c was written with")
    return int(address)


def _library(source: bytes) -> ctypes.CDLL:
    """Compile a source file, unless that was done before. Raises EngineError if it cannot be."""
    command = compiler()
    digest = hashlib.sha256(source)
    for part in (*command, _version(command), *_FLAGS):
        digest.update(b"\0" + part.encode())
    path = cache_directory() / COMPILED / f"{digest.hexdigest()}.so"
    if not path.exists():
        _compile(command, source, path)
    try:
        return ctypes.CDLL(str(path))
    except OSError as error:
        raise EngineError(f"the compiled code {path} cannot be loaded: {error}") from None


def compiler() -> tuple[str, ...]:
    """Return the command of the C compiler. Raises EngineError if there is none."""
    if given := os.environ.get("CC"):
        command = tuple(shlex.split(given))
        if not shutil.which(command[0]):
            raise EngineError(f"the C compiler {command[0]} (CC) is not installed")
        return command
    for name in _COMPILERS:
        if shutil.which(name):
            return (name,)
    raise EngineError("a bundle in C needs a C compiler: install gcc or clang, or name one in the variable CC")


@cache
def _version(compiler: tuple[str, ...]) -> str:
    found = subprocess.run([*compiler, "--version"], capture_output=True, text=True, check=False, timeout=_LONGEST)
    return found.stdout.splitlines()[0] if found.stdout else ""


def _compile(compiler: Sequence[str], source: bytes, path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            code, made = Path(folder) / "model.c", Path(folder) / "model.so"
            code.write_bytes(source)
            command = [*compiler, *_FLAGS, str(code), "-o", str(made)]
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_LONGEST)
            if done.returncode:
                lines = (done.stderr or done.stdout).strip().splitlines() or [f"exit status {done.returncode}"]
                raise EngineError(f"{compiler[0]} cannot compile the bundle: {lines[0].replace(folder, '…')[:200]}")
            made.replace(path)
    except OSError as error:
        raise EngineError(f"{path.parent} cannot be written: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        raise EngineError(f"{compiler[0]} has not compiled the bundle after {_LONGEST} seconds") from None
