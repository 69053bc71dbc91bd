"""The simple recurrent network, the LSTM and the GRU, which train with torch's fused kernels."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from edgernn.models.cells.base import Cell, CellState, LayerNorm

__all__ = ["GRU", "LSTM", "Elman", "ElmanReLU"]


class Elman(Cell):
    """The simple recurrent network (Elman 1990): h' = tanh([x, h] W + b)."""

    def __init__(self, input_size: int, hidden_size: int, layer_norm: bool = False) -> None:
        super().__init__(input_size, hidden_size, layer_norm)
        self.gates = self.linear(input_size + hidden_size, hidden_size)

    def step(self, x: Tensor, state: CellState) -> CellState:
        """Return the next (h,), (batch, hidden), from input x (batch, input)."""
        return (self._activate(self.gates(torch.cat([x, state[0]], dim=1))),)

    def sequence(self, x: Tensor, state: CellState) -> tuple[Tensor, CellState]:
        """Return outputs (time, batch, hidden) and the last (h,); by torch's fused kernel if it is not normalised."""
        if self.layer_norm:
            return super().sequence(x, state)
        from_input, from_state = self.gates.weight.split([self.input_size, self.hidden_size])
        weights = _torch_weights(from_input, from_state, self.gates.bias)
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

    The forget gate's bias starts at 1 (Jozefowicz et al. 2015). With layer normalisation, c' is normalised too before
    its tanh in h'.
    """

    states = ("h", "c")
    bounds = (1.0, None)

    def __init__(self, input_size: int, hidden_size: int, layer_norm: bool = False) -> None:
        super().__init__(input_size, hidden_size, layer_norm)
        self.gates = self.linear(input_size + hidden_size, 4 * hidden_size)
        self.cell_norm = LayerNorm(hidden_size) if layer_norm else nn.Identity()
        with torch.no_grad():
            self.gates.bias[hidden_size : 2 * hidden_size] = 1.0

    def step(self, x: Tensor, state: CellState) -> CellState:
        """Return the next (h, c), each (batch, hidden), from input x (batch, input)."""
        h, c = state
        gates = self.gates(torch.cat([x, h], dim=1))  # (batch, 4 hidden)
        i, f, g, o = (self.part(gates, index) for index in range(4))
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(self.cell_norm(c)), c

    def sequence(self, x: Tensor, state: CellState) -> tuple[Tensor, CellState]:
        """Return outputs (time, batch, hidden) and the last (h, c); by torch's fused kernel if it is not normalised."""
        if self.layer_norm:
            return super().sequence(x, state)
        from_input, from_state = self.gates.weight.split([self.input_size, self.hidden_size])
        weights = _torch_weights(from_input, from_state, self.gates.bias)
        h, c = (s.unsqueeze(0) for s in state)
        outputs, h, c = torch.lstm(x, (h, c), weights, *_one_layer(self))
        return outputs, (h.squeeze(0), c.squeeze(0))


class GRU(Cell):
    """The gated recurrent unit (Cho et al. 2014), with the reset gate after the product, as in cuDNN and torch.

        r, z = sigmoid(x W + h U + b)         two gates
        n = tanh(x W + b + r (h U + u))       the candidate
        h' = (1 - z) n + z h

    `from_input` has W and b, `from_state` has U, each for r, z, n; `candidate_bias` is u.
    """

    def __init__(self, input_size: int, hidden_size: int, layer_norm: bool = False) -> None:
        super().__init__(input_size, hidden_size, layer_norm)
        self.from_input = self.linear(input_size, 3 * hidden_size)
        self.from_state = self.linear(hidden_size, 3 * hidden_size, bias=False)
        self.candidate_bias = nn.Parameter(torch.zeros(hidden_size))

    def step(self, x: Tensor, state: CellState) -> CellState:
        """Return the next (h,), (batch, hidden), from input x (batch, input)."""
        (h,) = state
        from_input, from_state = self.from_input(x), self.from_state(h)  # (batch, 3 hidden)
        r, z = (torch.sigmoid(self.part(from_input, gate) + self.part(from_state, gate)) for gate in (0, 1))
        n = torch.tanh(self.part(from_input, 2) + r * (self.part(from_state, 2) + self.candidate_bias))
        return (n + z * (h - n),)

    def sequence(self, x: Tensor, state: CellState) -> tuple[Tensor, CellState]:
        """Return outputs (time, batch, hidden) and the last (h,); by torch's fused kernel if it is not normalised."""
        if self.layer_norm:
            return super().sequence(x, state)
        added = torch.cat([self.candidate_bias.new_zeros(2 * self.hidden_size), self.candidate_bias])
        weights = _torch_weights(self.from_input.weight, self.from_state.weight, self.from_input.bias, added)
        outputs, h = torch.gru(x, state[0].unsqueeze(0), weights, *_one_layer(self))
        return outputs, (h.squeeze(0),)


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
