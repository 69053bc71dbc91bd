"""A stack of recurrent layers of one cell type."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgernn.contract import BATCH, ZEROS, FromFile, Initial, StateSpec
from edgernn.models.cells import Cell, cell_class

__all__ = ["INITIALS", "RecurrentStack", "StackState"]

StackState = tuple[Tensor, ...]  # one (layers, batch, hidden) tensor for each of Cell.states

INITIALS = ("zeros", "learned")


class RecurrentStack(nn.Module):
    """Any number of layers of one cell type.

    dropout: between layers, in training mode.
    residual: each layer from the second on adds its input to its output (He et al. 2015).
    initial: the state before the first step: "zeros", or "learned", which is one vector for each layer and state.
    layer_norm: whether the products of each layer with its weights are normalised.
    prefix: precedes the names of the states, for networks with several stacks.
    """

    def __init__(
        self,
        cell: str,
        input_size: int,
        hidden_size: int,
        num_layers: int,
        *,
        dropout: float = 0.0,
        residual: bool = False,
        initial: str = "zeros",
        layer_norm: bool = False,
        prefix: str = "",
    ) -> None:
        super().__init__()
        kind = cell_class(cell)
        sizes = [input_size] + [hidden_size] * (num_layers - 1)
        self.layers = nn.ModuleList([kind(size, hidden_size, layer_norm) for size in sizes])
        self.states, self.bounds = tuple(f"{prefix}{name}" for name in kind.states), kind.bounds
        self.hidden_size = hidden_size
        self.dropout = nn.Dropout(dropout)
        self.residual = residual
        self.initial = nn.ParameterDict(
            {name: nn.Parameter(torch.zeros(num_layers, 1, hidden_size)) for name in self.states}
            if initial == "learned"
            else {}
        )

    def state_specs(self) -> tuple[StateSpec, ...]:
        """Return the specifications of the stack's states, each (layers, batch, hidden)."""
        axes = (len(self.layers), BATCH, self.hidden_size)
        starts: dict[str, Initial] = {name: FromFile(f"initial/{name}.npy") for name in self.initial}
        return tuple(
            StateSpec(name, "float32", axes, self._bound(name, bound), initial=starts.get(name, ZEROS))
            for name, bound in zip(self.states, self.bounds, strict=True)
        )

    def initial_state(self, batch: int) -> StackState:
        """Return the state before the first step; gradients flow into a learned one."""
        weight = next(self.parameters())
        shape = (len(self.layers), batch, self.hidden_size)
        if not self.initial:
            return tuple(weight.new_zeros(shape) for _ in self.states)
        return tuple(self.initial[name].expand(shape) for name in self.states)

    def initial_files(self) -> dict[str, Tensor]:
        """Return the learned initial states, (layers, 1, hidden), by the file names in `state_specs`."""
        return {f"initial/{name}.npy": tensor for name, tensor in self.initial.items()}

    def step(self, x: Tensor, state: StackState) -> tuple[Tensor, StackState]:
        """Return output (batch, hidden) and next state from input x (batch, input), in primitive operations."""
        carried = []
        for index, layer in enumerate(self._cells()):
            carried.append(layer.step(x, tuple(s[index] for s in state)))
            x = self._output(index, x, carried[-1][0])
        return x, _by_state(carried)

    def sequence(self, x: Tensor, state: StackState) -> tuple[Tensor, StackState]:
        """Return outputs (time, batch, hidden) and the last state from inputs x (time, batch, input), fused."""
        carried = []
        for index, layer in enumerate(self._cells()):
            given = x if index == 0 else self.dropout(x)
            outputs, last = layer.sequence(given, tuple(s[index].contiguous() for s in state))
            x = self._output(index, x, outputs)
            carried.append(last)
        return x, _by_state(carried)

    def _bound(self, name: str, bound: float | None) -> float | None:
        """Return the bound of a state, extended to its learned initial values; None if there is none."""
        if bound is None or name not in self.initial:
            return bound
        return max(bound, float(self.initial[name].detach().abs().max()))

    def _output(self, index: int, x: Tensor, output: Tensor) -> Tensor:
        return x + output if self.residual and index > 0 else output

    def _cells(self) -> list[Cell]:
        return [layer for layer in self.layers if isinstance(layer, Cell)]


def _by_state(layers: list[tuple[Tensor, ...]]) -> StackState:
    """Stack a tuple of states for each layer into one tensor for each state."""
    return tuple(torch.stack(parts) for parts in zip(*layers, strict=True))
