"""Trace modules with variable sizes of named axes."""

from __future__ import annotations

import linecache
import re
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import nn

from edgernn.contract import GraphSpec
from edgernn.errors import ExportError
from edgernn.examples import OTHER_AXIS, axis_sizes, example

__all__ = ["trace"]

_TORCH = str(Path(torch.__file__).parent)
_OTHER_SIZES = ((5, OTHER_AXIS + 4), (1, 1), (3, 45), (2, 131))  # batch, and first other named axis


def trace(module: nn.Module, spec: GraphSpec) -> torch.jit.ScriptModule:
    """Trace a module. Raises ExportError if its Python code uses the size of a named axis.

    Fixed axes always have the same size. Traces with different sizes of the named axes must give the same graph.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        traced = _traced(module, spec, 2, OTHER_AXIS)
    own = [warning for warning in caught if not warning.filename.startswith(_TORCH)]
    if _has_sizes(spec) and any(_is_other(traced, module, spec, *sizes) for sizes in _OTHER_SIZES[: 4 if own else 1]):
        lines = dict.fromkeys(f"{Path(w.filename).name}, line {w.lineno}: {_line(w)!r}" for w in own)
        where = f" ({' or '.join(list(lines)[:3])})" if lines else ""
        raise ExportError(
            f"graph {spec.name}: its Python code{where} uses the size of a named axis, as a loop over it does, "
            f"and would be frozen: declare a fixed size, or compute without it"
        )
    return traced


def _line(warning: warnings.WarningMessage) -> str:
    return linecache.getline(warning.filename, warning.lineno).strip()


def _has_sizes(spec: GraphSpec) -> bool:
    return any(isinstance(axis, str) for tensor in spec.feeds.values() for axis in tensor.axes)


def _is_other(traced: torch.jit.ScriptModule, module: nn.Module, spec: GraphSpec, streams: int, smallest: int) -> bool:
    """Return whether a module, if it accepts other sizes of the named axes, gives another graph for them."""
    try:
        return _text(traced) != _text(_traced(module, spec, streams, smallest))
    except Exception:  # noqa: BLE001 - a module's own code may raise anything
        return False


def _traced(module: nn.Module, spec: GraphSpec, streams: int, smallest: int) -> torch.jit.ScriptModule:
    arrays = example(spec.feeds, streams, np.random.default_rng(0), axis_sizes(spec, smallest=smallest))
    traced: torch.jit.ScriptModule = torch.jit.trace(
        module, tuple(map(torch.from_numpy, arrays.values())), check_trace=False
    )
    return traced


def _text(traced: torch.jit.ScriptModule) -> str:
    """Return a graph as text, without the shapes of its tensors and torch's numbering of classes."""
    graph = traced.inlined_graph.copy()
    torch._C._jit_pass_erase_shape_information(graph)
    return re.sub(r"___torch_mangle_\d+\.", "", str(graph))
