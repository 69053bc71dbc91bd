"""Detect Python code that reads the values of tensors: a condition, loop or number that an exporter would freeze."""

from __future__ import annotations

import linecache
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from edgernn.errors import ExportError
from edgernn.exporters.checks.trial import Arrays, Trial

__all__ = ["check_values"]

_CONDITIONS = {"__bool__", "is_nonzero", "equal", "allclose", "__contains__"}
_READS = {"__float__", "__int__", "__index__", "__complex__", "item", "tolist", "numpy", "__array__", "tensor"}
_OWN = {str(Path(torch.__file__).parent), str(Path(__file__))}
_LONGEST_LINE = 120


def check_values(trial: Trial, feeds: Arrays) -> None:
    """Raise ExportError, quoting the line, if the module's Python code reads a value that depends on its inputs.

    Values that depend only on parameters and sizes may be read, since they are the same at every step.
    """
    watch = _Watch()
    tensors = tuple(torch.from_numpy(np.array(feeds[name])) for name in trial.spec.input_names)
    watch.follow(tensors)
    try:
        with torch.no_grad(), watch:
            trial.module(*tensors)
    except _ValueRead as read:
        raise ExportError(f"graph {trial.spec.name}: {read}") from None
    except Exception:  # noqa: BLE001 - code that torch compiles (torch.cond) cannot be watched, and reads no values
        torch.compiler.reset()  # discards what was compiled for the watch


class _ValueRead(Exception):  # noqa: N818 - not an error; callers never see it
    """A value was read. The message says where, and what to do."""


class _Watch(TorchFunctionMode):
    """Follows all tensors that depend on the inputs of a module, and raises when Python reads a value of one."""

    def __init__(self) -> None:
        super().__init__()
        self._followed: dict[int, Tensor] = {}  # by identity; kept alive, so that no identity is reused

    def follow(self, tensors: Iterable[Tensor]) -> None:
        self._followed.update((id(tensor), tensor) for tensor in tensors)

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        given = [tensor for tensor in _tensors((args, kwargs)) if id(tensor) in self._followed]
        name = getattr(func, "__name__", "")
        if given and name in _CONDITIONS | _READS:
            raise _ValueRead(_message(name))
        results = func(*args, **kwargs)
        if given:
            self.follow(_tensors(results))
            if name == "__setitem__" or (name.endswith("_") and not name.endswith("__")):
                self.follow(_tensors(args[:1]))
            self.follow(_tensors(kwargs.get("out")))
        return results


def _tensors(value: Any) -> Iterator[Tensor]:
    """Yield the tensors in nested tuples, lists and mappings."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _tensors(each)
    elif isinstance(value, dict):
        for each in value.values():
            yield from _tensors(each)


def _message(name: str) -> str:
    """Return a message: how a value was used, in which line, and what to do instead."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(tuple(_OWN)):
        frame = frame.f_back
    line = linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip()[:_LONGEST_LINE]
    where = f"{Path(frame.f_code.co_filename).name}, line {frame.f_lineno}" + (f": {line!r}" if line else "")
    if name == "tensor":
        return f"{where} copies the value of a tensor into a constant: use the tensor itself"
    if name not in _CONDITIONS:
        return f"{where} reads the value of a tensor into Python, which would be frozen: compute with tensors"
    if line.startswith("while "):
        return f"{where} is a Python loop that ends on the value of a tensor, and cannot be exported"
    if line.startswith("assert "):
        return f"{where} is a Python assertion about the value of a tensor, and cannot be exported: leave it out"
    return f"{where} is a Python condition on the value of a tensor, and cannot be exported: use torch.where"
