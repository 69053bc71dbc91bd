"""The Mogrifier LSTM."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgernn.models.cells.base import Cell, CellState, Linear
from edgernn.models.cells.classic import LSTM

__all__ = ["Mogrifier"]

_ROUNDS = 4


class Mogrifier(LSTM):
    """The Mogrifier LSTM (Melis et al. 2020): input and state scale each other before an LSTM's step.

        x = 2 sigmoid(h Q) x    in rounds 1 and 3
        h = 2 sigmoid(x R) h    in rounds 2 and 4

    Each of the matrices is the product of two of rank hidden / 4, which have fewer weights.
    """

    def __init__(self, input_size: int, hidden_size: int, layer_norm: bool = False) -> None:
        super().__init__(input_size, hidden_size, layer_norm)
        rank = max(1, hidden_size // 4)
        sizes = [(hidden_size, input_size), (input_size, hidden_size)]
        self.rounds = nn.ModuleList(
            nn.Sequential(Linear(inputs, rank, hidden_size, bias=False), Linear(rank, outputs, hidden_size, bias=True))
            for inputs, outputs in (sizes[index % 2] for index in range(_ROUNDS))
        )

    def step(self, x: Tensor, state: CellState) -> CellState:
        """Return the next (h, c), each (batch, hidden), from input x (batch, input)."""
        h, c = state
        for index, gate in enumerate(self.rounds):
            if index % 2 == 0:
                x = 2 * torch.sigmoid(gate(h)) * x
            else:
                h = 2 * torch.sigmoid(gate(x)) * h
        return super().step(x, (h, c))

    def sequence(self, x: Tensor, state: CellState) -> tuple[Tensor, CellState]:
        """Return outputs (time, batch, hidden) and the last (h, c) from inputs x (time, batch, input)."""
        return Cell.sequence(self, x, state)
