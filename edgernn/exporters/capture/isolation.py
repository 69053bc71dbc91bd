"""What torch keeps between exports is forgotten, so that an export never depends on those before it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["isolated"]

# torch.onnx registers other kernels for these while it captures a network, and forgets to clear what was dispatched.
_REPLACED = (torch.ops.aten.gru.input, torch.ops.aten.lstm.input)


@contextmanager
def isolated() -> Iterator[None]:
    """Let an export begin and end with nothing remembered: dispatched kernels, and what tracing has cached."""
    _forget()
    try:
        yield
    finally:
        _forget()


def _forget() -> None:
    for operator in _REPLACED:
        operator._dispatch_cache.clear()
    torch._subclasses.FakeTensorMode.cache_clear()
    torch.compiler.reset()
