"""The engine of bundles in C: it compiles their source file, and calls it."""

from __future__ import annotations

import ctypes
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from edgernn.contract import BATCH, Array, ConditionSpec, GraphSpec, TensorSpec
from edgernn.errors import EngineError
from edgernn.execution import DEFAULT, LEVELS, Execution
from edgernn.runtime.compiling import library
from edgernn.runtime.drawing import CompiledDraw
from edgernn.runtime.engine import NO_FILES
from edgernn.runtime.floor import floor
from edgernn.sampling import Draw, Sampler

__all__ = ["BoundCall", "CompiledEngine", "about", "described"]


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
        code = library(graph)
        self._spec = spec
        self._sizes = {**described["sizes"], BATCH: 1}
        self._scratch, self._read = int(described["scratch"]), int(described["read"])
        self._run = code[f"{name}_{spec.name}_run"]
        self._run.argtypes, self._run.restype = [*[ctypes.c_void_p] * 4, ctypes.c_int], None
        self.level = _level(code, name, execution)
        self._constants = record["sampler"]
        if self._constants is not None:
            self._draw = code[f"{name}_draw"]
            self._draw.argtypes, self._draw.restype = [ctypes.c_void_p] * 3, ctypes.c_int32
        self._blob = files.get(f"{name}.bin", b"") if record["blob"] else b""
        self._weights = _open(code[f"{name}_{spec.name}_open"], record, self._blob)

    def run(self, feeds: Mapping[str, Array]) -> Sequence[Array]:
        """Return outputs and next states in the order of the specification. Raises EngineError for a larger axis.

        The streams of a batch run one after another. Conditions are padded with zeros to the size of the graph.
        """
        spec, sizes = self._spec, {BATCH: 1}
        for name, tensor in spec.feeds.items():
            sizes.update(tensor.named_sizes(feeds[name]))
        batch = sizes[BATCH]
        given = [_streams_first(tensor, self._fitted(tensor, feeds[name])) for name, tensor in spec.feeds.items()]
        made = [_room(tensor, {**self._sizes, BATCH: batch}) for tensor in spec.results.values()]
        read, written = _Pointers(spec.feeds.values(), given, batch), _Pointers(spec.results.values(), made, batch)
        scratch = np.empty(self._scratch, np.uint8)
        for row in range(batch):
            self._run(read.of(row), written.of(row), scratch.ctypes.data, self._weights, self.level)
        return [
            _cropped(tensor, _streams_back(tensor, array), sizes)
            for tensor, array in zip(spec.results.values(), made, strict=True)
        ]

    def floor(self) -> Callable[[], object]:
        """Return a function that only reads what a step reads of the weights: the least time that a step can take."""
        return floor(self._weights, self._read)

    def draw(self, sampler: Sampler) -> Draw:
        """Return what draws the tokens of a stream as `sampler` does: compiled code, where the bundle has it."""
        known = self._constants
        if known is None or (sampler.repetition_penalty != 1 and sampler.repetition_window > known["history"]):
            return sampler
        return CompiledDraw(self._draw, sampler, **known)

    def call(self, feeds: Sequence[Array], results: Sequence[Array]) -> BoundCall:
        """Return a call whose inputs and outputs, of one stream, stay where they are in memory."""
        return BoundCall(self._run, feeds, results, np.empty(self._scratch, np.uint8), self._weights, self.level)

    def _fitted(self, tensor: TensorSpec, array: Array) -> Array:
        """Return an array with the sizes for which the code was generated. Raises EngineError if it cannot be."""
        widths = []
        for axis, size in zip(tensor.axes, array.shape, strict=True):
            fixed = size if axis == BATCH or isinstance(axis, int) else self._sizes[axis]
            padded = isinstance(tensor, ConditionSpec) and tensor.padded_axis is not None
            if size > fixed or (size < fixed and not padded):
                raise EngineError(
                    f"{tensor.name} has {size} {axis}, and graph {self._spec.name} was generated for {fixed}: "
                    f"export it with --size {axis}={size}"
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
    return described(line, "a C source file")


def described(text: bytes, kind: str) -> dict[str, Any]:
    """Return the record of its graphs that a file of this kind contains. Raises EngineError for another text."""
    try:
        record = json.loads(text)
        for described in record["graphs"].values():
            _ = described["sizes"], described["scratch"], described["read"], described["operators"]
            _ = described["multiply_accumulates"]
        _ = record["name"], record["blob"], record["sampler"]
    except (ValueError, LookupError, TypeError, AttributeError):
        raise EngineError(f"this is not {kind} of edgernn, or a damaged one") from None
    return dict(record)


class _Pointers:
    """Where the tensors of each stream of a batch begin in arrays whose first axis counts the streams."""

    def __init__(self, tensors: Iterable[TensorSpec], arrays: Sequence[Array], batch: int) -> None:
        begins = np.array([array.ctypes.data for array in arrays], np.uintp)
        steps = [
            0 if tensor.batch_axis is None else a.nbytes // batch for tensor, a in zip(tensors, arrays, strict=True)
        ]
        self._table = begins + np.arange(batch, dtype=np.uintp)[:, None] * np.array(steps, np.uintp)

    def of(self, row: int) -> int:
        """Return the address of the pointers of one stream."""
        return self._table.ctypes.data + row * self._table.strides[0]


def _streams_first(tensor: TensorSpec, array: Array) -> Array:
    return np.ascontiguousarray(array if tensor.batch_axis is None else np.moveaxis(array, tensor.batch_axis, 0))


def _streams_back(tensor: TensorSpec, array: Array) -> Array:
    return array if tensor.batch_axis is None else np.moveaxis(array, 0, tensor.batch_axis)


def _room(tensor: TensorSpec, sizes: Mapping[str, int]) -> Array:
    shape = [*tensor.shape(sizes)]
    if tensor.batch_axis is not None:
        shape.insert(0, shape.pop(tensor.batch_axis))
    return np.empty(shape, tensor.numpy_dtype)


def _cropped(tensor: TensorSpec, array: Array, sizes: Mapping[str, int]) -> Array:
    kept = tuple(slice(None if isinstance(axis, int) else sizes.get(axis)) for axis in tensor.axes)
    return array[kept]


def _level(code: ctypes.CDLL, name: str, execution: Execution) -> int:
    best = int(code[f"{name}_level"]())
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
