"""The engine of bundles for WebAssembly in Python: the code in C from which their modules were compiled."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from edgernn.contract import GraphSpec
from edgernn.errors import EngineError
from edgernn.execution import DEFAULT, Execution
from edgernn.runtime.compiled import CompiledEngine, described
from edgernn.runtime.engine import NO_FILES

__all__ = ["RECORD", "WasmEngine", "about_module"]

RECORD = "edgernn"  # the custom section of a module that describes its graphs
_MAGIC = b"\0asm\1\0\0\0"


class WasmEngine(CompiledEngine):
    """A graph of a bundle for WebAssembly, run as the code in C of the bundle. It computes the bits of the modules."""

    target: ClassVar[str] = "wasm"

    def __init__(
        self, graph: bytes, spec: GraphSpec, execution: Execution = DEFAULT, files: Mapping[str, bytes] = NO_FILES
    ) -> None:
        source = f"{about_module(graph)['name']}.c"
        if source not in files:
            raise EngineError(f"the bundle has no {source}, from which its modules were compiled: export it again")
        super().__init__(files[source], spec, execution, files)


def about_module(module: bytes) -> dict[str, Any]:
    """Return what a module of WebAssembly says of its graphs. Raises EngineError if edgernn did not write it."""
    try:
        if module[: len(_MAGIC)] != _MAGIC:
            raise ValueError
        record = next(content for name, content in _custom_sections(module) if name == RECORD.encode())
    except (ValueError, IndexError, StopIteration):
        record = b""
    return described(record, "a module of WebAssembly")


def _custom_sections(module: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield name and content of each custom section."""
    at = len(_MAGIC)
    while at < len(module):
        kind = module[at]
        size, at = _number(module, at + 1)
        if kind == 0:
            length, begin = _number(module, at)
            yield module[begin : begin + length], module[begin + length : at + size]
        at += size


def _number(module: bytes, at: int) -> tuple[int, int]:
    """Return a number that is written in seven bits a byte, the lowest first (LEB128), and the place after it."""
    value = shift = 0
    while module[at] & 0x80:
        value |= (module[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
    return value | module[at] << shift, at + 1
