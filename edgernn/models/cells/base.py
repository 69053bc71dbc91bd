"""The interface of recurrent cells, and the parts that they are built from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

__all__ = ["Cell", "CellState", "LayerNorm", "Linear", "ProjectedCell"]

CellState = tuple[Tensor, ...]  # one (batch, hidden) tensor for each of Cell.states


class Cell(nn.Module, ABC):
    """One recurrent layer. A subclass defines its states, its parameters and `step`.

    layer_norm: whether the products that `linear` makes are normalised (Ba et al. 2016).
    """

    states: ClassVar[tuple[str, ...]] = ("h",)  # names of the states; the first one is the output
    bounds: ClassVar[tuple[float | None, ...]] = (1.0,)  # of the absolute value of each state, or None

    def __init__(self, input_size: int, hidden_size: int, layer_norm: bool = False) -> None:
        super().__init__()
        self.input_size, self.hidden_size, self.layer_norm = input_size, hidden_size, layer_norm

    @abstractmethod
    def step(self, x: Tensor, state: CellState) -> CellState:
        """Return the next state from input x (batch, input)."""

    def sequence(self, x: Tensor, state: CellState) -> tuple[Tensor, CellState]:
        """Return outputs (time, batch, hidden) and the last state from inputs x (time, batch, input)."""
        return _unrolled(self.step, x, state)

    def linear(self, inputs: int, outputs: int, bias: bool = True) -> Linear:
        """Return a product with a weight matrix, which is normalised if the cell has layer normalisation."""
        return Linear(inputs, outputs, self.hidden_size, bias=bias, layer_norm=self.layer_norm)

    def part(self, gates: Tensor, index: int) -> Tensor:
        """Return gate `index` of gates (..., gates * hidden).

        It slices, because ExecuTorch's lowering fixes the batch size of chunk and split.
        """
        return gates[..., index * self.hidden_size : (index + 1) * self.hidden_size]

    def parts(self, gates: Tensor) -> tuple[Tensor, ...]:
        """Return all gates of gates (..., gates * hidden), each (..., hidden).

        In training they are split, whose gradient is one copy, where each slice has a gradient of the size of `gates`.
        """
        if torch.is_grad_enabled():
            split: tuple[Tensor, ...] = gates.split(self.hidden_size, dim=-1)
            return split
        return tuple(self.part(gates, index) for index in range(gates.shape[-1] // self.hidden_size))


class ProjectedCell(Cell):
    """A cell whose products of the input do not depend on the state, so that training computes them all at once."""

    @abstractmethod
    def project(self, x: Tensor) -> Tensor:
        """Return the products of inputs x (..., input): a tensor (..., products * hidden)."""

    @abstractmethod
    def advance(self, projected: Tensor, state: CellState) -> CellState:
        """Return the next state from one step of `project`, (batch, products * hidden)."""

    def step(self, x: Tensor, state: CellState) -> CellState:
        """Return the next state from input x (batch, input)."""
        return self.advance(self.project(x), state)

    def sequence(self, x: Tensor, state: CellState) -> tuple[Tensor, CellState]:
        """Return outputs (time, batch, hidden) and the last state from inputs x (time, batch, input)."""
        return _unrolled(self.advance, self.project(x), state)


def _unrolled(
    step: Callable[[Tensor, CellState], CellState], inputs: Tensor, state: CellState
) -> tuple[Tensor, CellState]:
    """Return outputs and the last state of `step`, which is called for each of inputs (time, batch, ...) in turn."""
    outputs = []
    for each in inputs.unbind(0):
        state = step(each, state)
        outputs.append(state[0])
    return torch.stack(outputs), state


class Linear(nn.Module):
    """The product x W + b, where `weight` is W (inputs, outputs), the layout in which a step multiplies it.

    The weights start uniformly within 1 / sqrt(hidden), as torch's do, and the bias at 0. With layer normalisation,
    each gate of x W, which is `hidden` values, is normalised before b is added (Ba et al. 2016); all values together if
    `outputs` is no multiple of `hidden`.
    """

    bias: Any  # a parameter (outputs,), or None

    def __init__(self, inputs: int, outputs: int, hidden: int, *, bias: bool = True, layer_norm: bool = False) -> None:
        super().__init__()
        bound = hidden**-0.5
        self.weight = nn.Parameter(torch.empty(inputs, outputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        parts = 1 if outputs % hidden else outputs // hidden
        self.norm = LayerNorm(outputs // parts, parts, bias=False) if layer_norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Return x W + b, (..., outputs), from x (..., inputs)."""
        product: Tensor = self.norm(x @ self.weight)
        return product if self.bias is None else torch.add(product, self.bias)


class LayerNorm(nn.Module):
    """Layer normalisation of values (..., parts * size): mean 0 and variance 1 in each part, then a gain and a bias."""

    def __init__(self, size: int, parts: int = 1, *, bias: bool = True) -> None:
        super().__init__()
        self.size, self.parts = size, parts
        self.gain = nn.Parameter(torch.ones(parts * size))
        self.bias = nn.Parameter(torch.zeros(parts * size)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised values, (..., parts * size)."""
        parted = x if self.parts == 1 else x.unflatten(-1, (self.parts, self.size))
        normal = nn.functional.layer_norm(parted, (self.size,))
        scaled = (normal if self.parts == 1 else normal.flatten(-2)) * self.gain
        return scaled if self.bias is None else scaled + self.bias
