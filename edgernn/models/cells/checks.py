"""Checks of a cell from a file of the user: it must do what `Cell` says, and consist of exportable operators."""

from __future__ import annotations

import inspect
import math
import traceback
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from edgernn.errors import CellError, GrowingStateError, first_line
from edgernn.models.cells.base import Cell, CellState

__all__ = ["OPERATORS", "check_cell"]

_BATCH, _HIDDEN = 4, 5
_INPUTS = (3, _HIDDEN)
_STEPS = 256  # of random inputs, after which the state of a cell with its first weights must be finite
_LARGEST = 1e6  # absolute value of a state that such a cell may have
_ROUNDING = 1e-4
_SCALES = (1.0, 4.0)  # of the weights, with which the bounds are checked

_READS = {"_local_scalar_dense", "equal", "is_nonzero", "nonzero"}
_SHAPES = {
    *("alias", "cat", "clone", "detach", "expand", "permute", "reshape", "select", "slice", "squeeze", "stack", "t"),
    *("transpose", "unsqueeze", "view", "_unsafe_view", "full_like", "lift_fresh", "ones_like", "zeros_like"),
}
_ARITHMETIC = {
    *("abs", "add", "addmm", "clamp", "clamp_max", "clamp_min", "div", "exp", "maximum", "mean", "minimum", "mm"),
    *("mul", "native_layer_norm", "neg", "pow", "reciprocal", "relu", "rsqrt", "rsub", "sigmoid", "silu"),
    *("sqrt", "_softmax", "sub", "sum", "tanh", "ge", "gt", "le", "lt", "where"),
}
OPERATORS = frozenset(_SHAPES | _ARITHMETIC)  # ATen operators that cells on every target may consist of


def check_cell(kind: type[Cell], what: str) -> None:
    """Raise CellError, which begins with `what`, for a class that does not do what `Cell` says.

    Its states must have names and bounds, and it must be made for the sizes that it is given, with layer normalisation
    and without. A step must return one tensor (batch, hidden) for each state, read all of them, change nothing in
    place, keep nothing between calls, treat the rows of a batch alike and keep its bounds, and a sequence must be its
    steps. The first weights must not make the state grow without limit: that raises GrowingStateError.
    """
    try:
        _check_names(kind)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            for inputs in _INPUTS:
                _check_step(_make(kind, inputs, layer_norm=True))
                cell = _make(kind, inputs, layer_norm=False)
                _check_step(cell)
                _check_growth(cell)
                _check_sequence(cell)
                for scale in _SCALES:
                    _check_bounds(cell, scale)
    except _Growth as fault:
        raise GrowingStateError(what, str(fault)) from None
    except _Fault as fault:
        raise CellError(what, str(fault)) from None


class _Fault(Exception):  # noqa: N818 - never leaves this module
    """What is wrong with a cell."""


class _Growth(_Fault):
    """A state of a cell grows without limit."""


def _check_names(kind: type[Cell]) -> None:
    states, bounds = kind.states, kind.bounds
    if not isinstance(states, tuple) or not states or not all(isinstance(n, str) and n.isidentifier() for n in states):
        raise _Fault(f"states is {states!r}, not a tuple of names, such as ('h',)")
    if len(set(states)) < len(states):
        raise _Fault(f"two of its states have the same name: {', '.join(states)}")
    if not isinstance(bounds, tuple) or len(bounds) != len(states):
        raise _Fault(f"bounds is {bounds!r}; give one number or None for each state: {', '.join(states)}")
    for name, bound in zip(states, bounds, strict=True):
        if bound is not None and not (isinstance(bound, int | float) and 0 < bound < math.inf):
            raise _Fault(f"the bound of the state {name} is {bound!r}, not a finite number above 0 or None")


def _make(kind: type[Cell], inputs: int, *, layer_norm: bool) -> Cell:
    """Return a new cell. Raises _Fault unless it has the sizes and the layer normalisation that it is given."""
    cell: Cell = _call("__init__", kind, inputs, _HIDDEN, layer_norm)
    if (cell.input_size, cell.hidden_size, cell.layer_norm) != (inputs, _HIDDEN, layer_norm):
        raise _Fault(
            "__init__(self, input_size, hidden_size, layer_norm) does not pass its three arguments to super().__init__"
        )
    return cell


def _check_step(cell: Cell) -> None:
    x, state = torch.randn(_BATCH, cell.input_size), _random_state(cell)
    given = (x.clone(), *(each.clone() for each in state))
    with torch.no_grad(), _Operators(type(cell)):  # as an export computes the step
        after = _step(cell, x, state)
    if not all(map(torch.equal, given, (x, *state))):
        raise _Fault("step changes its input or its state in place: return new tensors")
    for name, value in zip(cell.states, after, strict=True):
        if not value.isfinite().all():
            raise _Fault(f"the state {name} after a step is not finite")
    if not all(map(torch.equal, after, _step(cell, x, state))):
        raise _Fault(
            "a second call of step with the same input and state gives another result: step draws random numbers, "
            "or keeps between calls what belongs in a state"
        )
    alone = [_step(cell, x[row : row + 1], tuple(each[row : row + 1] for each in state)) for row in range(_BATCH)]
    for name, together, rows in zip(cell.states, after, zip(*alone, strict=True), strict=True):
        if not torch.allclose(together, torch.cat(rows), atol=_ROUNDING):
            raise _Fault(f"the state {name} of one sequence depends on the other sequences of the batch")
    _check_reads(cell, x, state)


def _check_reads(cell: Cell, x: Tensor, state: CellState) -> None:
    """Raise _Fault unless the next state depends on the input and on each state."""
    leaves = [each.clone().requires_grad_() for each in (x, *state)]
    total = torch.stack([each.sum() for each in _step(cell, leaves[0], tuple(leaves[1:]))]).sum()
    if not total.requires_grad:
        raise _Fault("the results of step have no gradient: step must be differentiable")
    gradients = torch.autograd.grad(total, leaves, allow_unused=True)
    for name, gradient in zip(("input x", *(f"state {each}" for each in cell.states)), gradients, strict=True):
        if gradient is None or not gradient.any():
            raise _Fault(f"the next state does not depend on the {name}")


@torch.no_grad()
def _check_growth(cell: Cell) -> None:
    state = _zeros(cell)
    for step in range(_STEPS):
        state = _step(cell, torch.randn(_BATCH, cell.input_size), state)
        for name, value in zip(cell.states, state, strict=True):
            if not value.abs().max() <= _LARGEST:  # also for NaN
                raise _Growth(f"the state {name} grows without limit: {value.abs().max():g} after {step + 1} steps")


@torch.no_grad()
def _check_bounds(cell: Cell, scale: float) -> None:
    """Raise _Fault if a state leaves its bound. Scales the weights."""
    for parameter in cell.parameters():
        parameter.mul_(scale)
    state = _zeros(cell)
    for step in range(_STEPS):
        state = _step(cell, 3 * torch.randn(_BATCH, cell.input_size), state)
        for name, bound, value in zip(cell.states, cell.bounds, state, strict=True):
            if bound is not None and not value.abs().max() <= bound * (1 + _ROUNDING):
                raise _Fault(
                    f"bounds says that the state {name} is at most {bound:g} in absolute value, and it is "
                    f"{value.abs().max():g} after {step + 1} steps; give None for a state without a bound"
                )


@torch.no_grad()
def _check_sequence(cell: Cell) -> None:
    x, state = torch.randn(_HIDDEN, _BATCH, cell.input_size), _random_state(cell)
    outputs, last = _sequence(cell, x, state)
    for x_t, output in zip(x, outputs, strict=True):
        state = _step(cell, x_t, state)
        if not torch.allclose(output, state[0], atol=_ROUNDING):
            raise _Fault("the outputs of sequence differ from those of its steps, one after the other")
    if not all(torch.allclose(one, other, atol=_ROUNDING) for one, other in zip(last, state, strict=True)):
        raise _Fault("the last state of sequence differs from that of its steps, one after the other")


def _step(cell: Cell, x: Tensor, state: CellState) -> CellState:
    """Return the next state. Raises _Fault unless it is one tensor (batch, hidden) for each state."""
    after = _call("step", cell.step, x, state)
    if not isinstance(after, tuple) or len(after) != len(cell.states):
        count = f"{len(after)} values" if isinstance(after, tuple) else type(after).__name__
        raise _Fault(f"step returns {count}, not a tuple of one tensor for each state: {', '.join(cell.states)}")
    for name, value in zip(cell.states, after, strict=True):
        if not isinstance(value, Tensor) or value.shape != (len(x), cell.hidden_size) or value.dtype != x.dtype:
            found = f"{value.dtype} {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
            raise _Fault(f"the state {name} after a step is {found}, not {x.dtype} (batch, hidden)")
    return after


def _sequence(cell: Cell, x: Tensor, state: CellState) -> tuple[Tensor, CellState]:
    """Return outputs and the last state. Raises _Fault unless they are (time, batch, hidden), and as of a step."""
    found = _call("sequence", cell.sequence, x, state)
    expected = [(*x.shape[:2], cell.hidden_size), *(each.shape for each in state)]
    try:
        outputs, last = found
        tensors = [outputs, *last]
        right = isinstance(last, tuple) and [each.shape for each in tensors] == expected
        right = right and all(each.dtype == x.dtype for each in tensors)
    except (AttributeError, TypeError, ValueError):
        right = False
    if not right:
        raise _Fault(
            "sequence does not return two values: the outputs, (time, batch, hidden), and the last state, a tuple of "
            f"one tensor (batch, hidden) for each state: {', '.join(cell.states)}"
        )
    return outputs, last


def _call(name: str, function: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except _Fault:
        raise
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a user's code may raise anything
        raise _Fault(f"{name} fails: {type(error).__name__}: {first_line(error)}") from None


def _zeros(cell: Cell) -> CellState:
    return tuple(torch.zeros(_BATCH, cell.hidden_size) for _ in cell.states)


def _random_state(cell: Cell) -> CellState:
    """Return states between -1 and 1, and within the bounds."""
    return tuple((2 * torch.rand(_BATCH, cell.hidden_size) - 1) * min(1.0, bound or 1.0) for bound in cell.bounds)


class _Operators(TorchDispatchMode):
    """Raises _Fault for an operator that is not one of OPERATORS, with the line of the user's file that calls it."""

    def __init__(self, kind: type[Cell]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch does not annotate it
        self._file = inspect.getfile(kind)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.__name__.partition(".")[0]
        if name in _READS:
            raise _Fault(
                f"step reads the value of a tensor in Python{self._line()}: an export would contain it as a constant"
            )
        if name.endswith("_"):
            raise _Fault(f"step changes a tensor in place{self._line()}: compute new tensors")
        if name not in OPERATORS:
            listed = ", ".join(sorted(each.removeprefix("native").strip("_") for each in _ARITHMETIC))
            raise _Fault(
                f"step uses {name}{self._line()}, which not every target has; besides slicing and reshaping, a cell "
                f"can use {listed}"
            )
        return func(*args, **(kwargs or {}))

    def _line(self) -> str:
        lines = [frame.lineno for frame in traceback.extract_stack() if frame.filename == self._file]
        return f" in line {lines[-1]}" if lines else ""
