"""Recurrent cells: one layer each, with a step in primitives and a fused sequence path over the same weights.

The step is what is exported: matrix products, sums, sigmoids and tanhs, which every target and precision can carry.
The sequence path is what is trained: the kernel that torch has for the cell, where it has one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

__all__ = ["CELLS", "LSTM", "Cell", "CellState"]

CellState = tuple[Tensor, ...]  # one (batch, hidden) tensor for each of Cell.states


class Cell(nn.Module, ABC):
    """One recurrent layer. A new cell is a subclass and a line in `CELLS`."""

    states: ClassVar[tuple[str, ...]]  # names of what it carries; the first is its output
    input_size: int
    hidden_size: int

    @abstractmethod
    def step(self, x: Tensor, state: CellState) -> CellState:
        """The next state from input x (batch, input)."""

    def sequence(self, x: Tensor, state: CellState) -> tuple[Tensor, CellState]:
        """Outputs (time, batch, hidden) and the last state from inputs x (time, batch, input)."""
        outputs = []
        for x_t in x.unbind(0):
            state = self.step(x_t, state)
            outputs.append(state[0])
        return torch.stack(outputs), state


class LSTM(Cell):
    """Long short-term memory (Hochreiter and Schmidhuber 1997) with a forget gate (Gers et al. 2000).

        i, f, g, o = split([x, h] W + b)
        c' = sigmoid(f) c + sigmoid(i) tanh(g)
        h' = sigmoid(o) tanh(c')

    weight (input + hidden, 4 hidden) and bias (4 hidden), gates in torch's order i, f, g, o. The forget gate's bias
    starts at 1 (Jozefowicz et al. 2015), the other weights uniform within 1 / sqrt(hidden), as torch's own.
    """

    states = ("h", "c")

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.input_size, self.hidden_size = input_size, hidden_size
        bound = hidden_size**-0.5
        self.weight = nn.Parameter(torch.empty(input_size + hidden_size, 4 * hidden_size).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(4 * hidden_size))
        with torch.no_grad():
            self.bias[hidden_size : 2 * hidden_size] = 1.0

    def step(self, x: Tensor, state: CellState) -> CellState:
        """The next (h, c), each (batch, hidden), from input x (batch, input)."""
        h, c = state
        gates = torch.cat([x, h], dim=1) @ self.weight + self.bias  # (batch, 4 hidden)
        # Slices and not chunk: ExecuTorch's lowering freezes the batch of chunk and split.
        i, f, g, o = (gates[:, k * self.hidden_size : (k + 1) * self.hidden_size] for k in range(4))
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c

    def sequence(self, x: Tensor, state: CellState) -> tuple[Tensor, CellState]:
        """Outputs (time, batch, hidden) and the last (h, c), by torch's fused kernel."""
        h, c = (s.unsqueeze(0) for s in state)
        weights = [self.weight[: self.input_size].t(), self.weight[self.input_size :].t()]
        biases = [self.bias, torch.zeros_like(self.bias)]
        # has_biases, num_layers, dropout, train, bidirectional, batch_first
        outputs, h, c = torch.lstm(x, (h, c), weights + biases, True, 1, 0.0, self.training, False, False)
        return outputs, (h.squeeze(0), c.squeeze(0))


CELLS: dict[str, type[Cell]] = {"lstm": LSTM}
