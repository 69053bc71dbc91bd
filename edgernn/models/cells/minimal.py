"""The minimal GRU and LSTM, whose gates do not see the state, so that training needs no loop over products."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor

from edgernn.models.cells.base import Cell, CellState

__all__ = ["MinGRU", "MinLSTM", "linear_recurrence"]


class _Minimal(Cell):
    """A cell with h' = a h + b, where a and b depend on the input alone."""

    bounds = (None,)
    products: int

    def __init__(self, input_size: int, hidden_size: int, layer_norm: bool = False) -> None:
        super().__init__(input_size, hidden_size, layer_norm)
        self.gates = self.linear(input_size, self.products * hidden_size)

    @abstractmethod
    def coefficients(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return a and b, each (..., hidden), from inputs x (..., input)."""

    def step(self, x: Tensor, state: CellState) -> CellState:
        """Return the next (h,), (batch, hidden), from input x (batch, input)."""
        a, b = self.coefficients(x)
        return (a * state[0] + b,)

    def sequence(self, x: Tensor, state: CellState) -> tuple[Tensor, CellState]:
        """Return outputs (time, batch, hidden) and the last (h,), with the gates of all steps computed at once."""
        outputs = linear_recurrence(*self.coefficients(x), state[0])
        return outputs, (outputs[-1],)


class MinGRU(_Minimal):
    """minGRU (Feng et al. 2024).

    z = sigmoid(x W + b)
    h' = (1 - z) h + z (x W + b)
    """

    products = 2

    def coefficients(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return 1 - z and z (x W + b), each (..., hidden), from inputs x (..., input)."""
        gate, n = self.parts(self.gates(x))
        z = torch.sigmoid(gate)
        return 1 - z, z * n


class MinLSTM(_Minimal):
    """minLSTM (Feng et al. 2024), whose gates are normalised to a sum of 1.

    f, i = sigmoid(x W + b)
    h' = (f h + i (x W + b)) / (f + i)

    The bias of f starts at 1, as in the LSTM.
    """

    products = 3

    def __init__(self, input_size: int, hidden_size: int, layer_norm: bool = False) -> None:
        super().__init__(input_size, hidden_size, layer_norm)
        with torch.no_grad():
            self.gates.bias[:hidden_size] = 1.0

    def coefficients(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return f / (f + i) and i (x W + b) / (f + i), each (..., hidden), from inputs x (..., input)."""
        forget, inputs, n = self.parts(self.gates(x))
        f, i = torch.sigmoid(forget), torch.sigmoid(inputs)
        total = f + i
        return f / total, i / total * n


def linear_recurrence(a: Tensor, b: Tensor, h: Tensor) -> Tensor:
    """Return all h_t = a_t h_{t-1} + b_t, (time, batch, hidden), from a and b of that shape and h_{-1} (batch, hidden).

    Its gradient is such a recurrence too, from the last step to the first.
    """
    outputs: Tensor = _LinearRecurrence.apply(  # type: ignore[no-untyped-call]  # torch does not annotate it
        a.to(h.dtype), b.to(h.dtype), h
    )
    return outputs


class _LinearRecurrence(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, h: Tensor) -> Tensor:
        outputs = torch.empty_like(b)
        last = h
        for step in range(len(b)):
            last = torch.addcmul(b[step], a[step], last, out=outputs[step])
        ctx.save_for_backward(a, h, outputs)
        return outputs

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        a, h, outputs = ctx.saved_tensors
        of_a, of_b = torch.empty_like(a), torch.empty_like(a)
        of_h = torch.zeros_like(h)
        for step in reversed(range(len(a))):
            each = torch.add(gradient[step], of_h, out=of_b[step])
            torch.mul(each, outputs[step - 1] if step else h, out=of_a[step])
            of_h = each * a[step]
        return of_a, of_b, of_h
