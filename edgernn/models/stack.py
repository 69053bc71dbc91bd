"""Layers of one cell on top of each other."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgernn.contract import BATCH, StateSpec
from edgernn.models.cells import CELLS, Cell

__all__ = ["RecurrentStack", "StackState"]

StackState = tuple[Tensor, ...]  # one (layers, batch, hidden) tensor for each of Cell.states


class RecurrentStack(nn.Module):
    """Any number of layers, with dropout between them while training."""

    def __init__(self, cell: str, input_size: int, hidden_size: int, num_layers: int, dropout: float) -> None:
        super().__init__()
        kind = CELLS[cell]
        sizes = [input_size] + [hidden_size] * (num_layers - 1)
        self.layers = nn.ModuleList([kind(size, hidden_size) for size in sizes])
        self.hidden_size = hidden_size
        self.dropout = nn.Dropout(dropout)

    def state_specs(self) -> tuple[StateSpec, ...]:
        """What the stack carries, each (layers, batch, hidden)."""
        axes = (len(self.layers), BATCH, self.hidden_size)
        return tuple(StateSpec(name, "float32", axes) for name in self._cells()[0].states)

    def initial_state(self, batch: int) -> StackState:
        """The state before the first step."""
        weight = next(self.parameters())
        shape = (len(self.layers), batch, self.hidden_size)
        return tuple(weight.new_zeros(shape) for _ in self._cells()[0].states)

    def step(self, x: Tensor, state: StackState) -> tuple[Tensor, StackState]:
        """Output (batch, hidden) and next state from input x (batch, input), in primitives."""
        carried = []
        for index, layer in enumerate(self._cells()):
            carried.append(layer.step(x, tuple(s[index] for s in state)))
            x = carried[-1][0]
        return x, _by_state(carried)

    def sequence(self, x: Tensor, state: StackState) -> tuple[Tensor, StackState]:
        """Outputs (time, batch, hidden) and the last state from inputs x (time, batch, input), by the fused path."""
        carried = []
        for index, layer in enumerate(self._cells()):
            x = x if index == 0 else self.dropout(x)
            x, last = layer.sequence(x, tuple(s[index] for s in state))
            carried.append(last)
        return x, _by_state(carried)

    def _cells(self) -> list[Cell]:
        return [layer for layer in self.layers if isinstance(layer, Cell)]


def _by_state(layers: list[tuple[Tensor, ...]]) -> StackState:
    """From a tuple of states for each layer to a stacked tensor for each state."""
    return tuple(torch.stack(parts) for parts in zip(*layers, strict=True))
