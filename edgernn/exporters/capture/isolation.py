"""Isolate exports from each other, by clearing what torch caches."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["isolated"]

# torch.onnx replaces these kernels while it captures a network, and does not clear the dispatch cache afterwards.
_REPLACED = (torch.ops.aten.gru.input, torch.ops.aten.lstm.input)


@contextmanager
def isolated() -> Iterator[None]:
    """Clear dispatched kernels and tracing caches before and after an export."""
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
