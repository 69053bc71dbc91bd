"""Recurrent cells: one layer each, with a step in primitive operations and a fused sequence path on the same weights.

The step is exported. It consists of matrix products, sums, sigmoids and tanhs, which every target and precision
supports. The sequence path is used in training: torch's fused kernel for the cell, if there is one.

Weights have the layout (inputs, outputs), in which the step multiplies them. They are initialised uniformly within 1 /
sqrt(hidden), like torch's.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

__all__ = ["CELLS", "GRU", "LSTM", "Cell", "CellState", "Elman", "ElmanReLU"]

CellState = tuple[Tensor, ...]  # one (batch, hidden) tensor for each of Cell.states


class Cell(nn.Module, ABC):
    """One recurrent layer. A new cell is a subclass and an entry in `CELLS`."""

    states: ClassVar[tuple[str, ...]] = ("h",)  # names of the states; the first one is the output
    bounds: ClassVar[tuple[float | None, ...]] = (1.0,)  # of the absolute value of each state, or None

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.input_size, self.hidden_size = input_size, hidden_size

    @abstractmethod
    def step(self, x: Tensor, state: CellState) -> CellState:
        """Return the next state from input x (batch, input)."""

    def sequence(self, x: Tensor, state: CellState) -> tuple[Tensor, CellState]:
        """Return outputs (time, batch, hidden) and the last state from inputs x (time, batch, input)."""
        outputs = []
        for x_t in x.unbind(0):
            state = self.step(x_t, state)
            outputs.append(state[0])
        return torch.stack(outputs), state

    def _weight(self, inputs: int, outputs: int) -> nn.Parameter:
        bound = self.hidden_size**-0.5
        return nn.Parameter(torch.empty(inputs, outputs).uniform_(-bound, bound))

    def _part(self, gates: Tensor, index: int) -> Tensor:
        """Return gate `index` of gates (batch, gates * hidden).

        It slices, because ExecuTorch's lowering fixes the batch size of chunk and split.
        """
        return gates[:, index * self.hidden_size : (index + 1) * self.hidden_size]


class Elman(Cell):
    """The simple recurrent network (Elman 1990): h' = tanh([x, h] W + b)."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.weight = self._weight(input_size + hidden_size, hidden_size)
        self.bias = nn.Parameter(torch.zeros(hidden_size))

    def step(self, x: Tensor, state: CellState) -> CellState:
        """Return the next (h,), (batch, hidden), from input x (batch, input)."""
        return (self._activate(torch.cat([x, state[0]], dim=1) @ self.weight + self.bias),)

    def sequence(self, x: Tensor, state: CellState) -> tuple[Tensor, CellState]:
        """Return outputs (time, batch, hidden) and the last (h,), from torch's fused kernel."""
        from_input, from_state = self.weight.split([self.input_size, self.hidden_size])
        weights = _torch_weights(from_input, from_state, self.bias)
        outputs, h = self._kernel(x, state[0].unsqueeze(0), weights, *_one_layer(self))
        return outputs, (h.squeeze(0),)

    def _activate(self, x: Tensor) -> Tensor:
        return torch.tanh(x)

    def _kernel(self, *arguments: Any) -> tuple[Tensor, Tensor]:
        return torch.rnn_tanh(*arguments)


class ElmanReLU(Elman):
    """The simple recurrent network with ReLU: h' = max(0, [x, h] W + b)."""

    bounds = (None,)

    def _activate(self, x: Tensor) -> Tensor:
        return torch.relu(x)

    def _kernel(self, *arguments: Any) -> tuple[Tensor, Tensor]:
        return torch.rnn_relu(*arguments)


class LSTM(Cell):
    """Long short-term memory (Hochreiter and Schmidhuber 1997) with a forget gate (Gers et al. 2000).

        i, f, g, o = split([x, h] W + b)
        c' = sigmoid(f) c + sigmoid(i) tanh(g)
        h' = sigmoid(o) tanh(c')

    The forget gate's bias starts at 1 (Jozefowicz et al. 2015).
    """

    states = ("h", "c")
    bounds = (1.0, None)

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.weight = self._weight(input_size + hidden_size, 4 * hidden_size)
        self.bias = nn.Parameter(torch.zeros(4 * hidden_size))
        with torch.no_grad():
            self.bias[hidden_size : 2 * hidden_size] = 1.0

    def step(self, x: Tensor, state: CellState) -> CellState:
        """Return the next (h, c), each (batch, hidden), from input x (batch, input)."""
        h, c = state
        gates = torch.cat([x, h], dim=1) @ self.weight + self.bias  # (batch, 4 hidden)
        i, f, g, o = (self._part(gates, index) for index in range(4))
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c

    def sequence(self, x: Tensor, state: CellState) -> tuple[Tensor, CellState]:
        """Return outputs (time, batch, hidden) and the last (h, c), from torch's fused kernel."""
        from_input, from_state = self.weight.split([self.input_size, self.hidden_size])
        weights = _torch_weights(from_input, from_state, self.bias)
        h, c = (s.unsqueeze(0) for s in state)
        outputs, h, c = torch.lstm(x, (h, c), weights, *_one_layer(self))
        return outputs, (h.squeeze(0), c.squeeze(0))


class GRU(Cell):
    """The gated recurrent unit (Cho et al. 2014), with the reset gate after the product, as in cuDNN and torch.

        r, z = sigmoid(x W + h U + b)         two gates
        n = tanh(x W + b + r (h U + u))       the candidate
        h' = (1 - z) n + z h

    `weight` is W and `recurrent` is U, each for r, z, n; `candidate_bias` is u.
    """

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.weight = self._weight(input_size, 3 * hidden_size)
        self.recurrent = self._weight(hidden_size, 3 * hidden_size)
        self.bias = nn.Parameter(torch.zeros(3 * hidden_size))
        self.candidate_bias = nn.Parameter(torch.zeros(hidden_size))

    def step(self, x: Tensor, state: CellState) -> CellState:
        """Return the next (h,), (batch, hidden), from input x (batch, input)."""
        (h,) = state
        from_input, from_state = x @ self.weight + self.bias, h @ self.recurrent  # (batch, 3 hidden)
        r, z = (torch.sigmoid(self._part(from_input, gate) + self._part(from_state, gate)) for gate in (0, 1))
        n = torch.tanh(self._part(from_input, 2) + r * (self._part(from_state, 2) + self.candidate_bias))
        return (n + z * (h - n),)

    def sequence(self, x: Tensor, state: CellState) -> tuple[Tensor, CellState]:
        """Return outputs (time, batch, hidden) and the last (h,), from torch's fused kernel."""
        added = torch.cat([self.candidate_bias.new_zeros(2 * self.hidden_size), self.candidate_bias])
        weights = _torch_weights(self.weight, self.recurrent, self.bias, added)
        outputs, h = torch.gru(x, state[0].unsqueeze(0), weights, *_one_layer(self))
        return outputs, (h.squeeze(0),)


CELLS: dict[str, type[Cell]] = {"lstm": LSTM, "gru": GRU, "elman": Elman, "elman-relu": ElmanReLU}


def _torch_weights(weight: Tensor, recurrent: Tensor, bias: Tensor, added: Tensor | None = None) -> list[Tensor]:
    """Return the weights of one layer in the layout of torch's kernels: (outputs, inputs), a bias per product.

    On CUDA they lie one after the other in memory, as cuDNN requires.
    """
    parts = [weight.t(), recurrent.t(), bias, torch.zeros_like(bias) if added is None else added]
    if not weight.is_cuda:
        return parts
    pieces = torch.cat([part.flatten() for part in parts]).split([part.numel() for part in parts])
    return [piece.view(part.shape) for piece, part in zip(pieces, parts, strict=True)]


def _one_layer(cell: Cell) -> tuple[Any, ...]:
    """Return has_biases, num_layers, dropout, train, bidirectional, batch_first for torch's kernels."""
    return True, 1, 0.0, cell.training, False, False
