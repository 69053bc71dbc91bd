"""Cells that a search over formulas found, and one that a network designed."""

from __future__ import annotations

import torch
from torch import Tensor

from edgernn.models.cells.base import CellState, ProjectedCell

__all__ = ["MUT1", "MUT2", "MUT3", "NAS"]


class _Mutant(ProjectedCell):
    """A cell with an update gate z, a reset gate r and a candidate n: h' = (1 - z) h + z n.

    The subclasses say how z, r and n are computed. Jozefowicz et al. add x itself in some formulas, where x has the
    size of the state; here it is x W there too.
    """

    def __init__(self, input_size: int, hidden_size: int, layer_norm: bool = False) -> None:
        super().__init__(input_size, hidden_size, layer_norm)
        self.from_input = self.linear(input_size, 3 * hidden_size)  # of z, r and n
        self.reset_from_state = self.linear(hidden_size, hidden_size, bias=False)
        self.candidate_from_state = self.linear(hidden_size, hidden_size, bias=False)

    def project(self, x: Tensor) -> Tensor:
        """Return x W + b, (..., 3 hidden), for z, r and n."""
        projected: Tensor = self.from_input(x)
        return projected

    def advance(self, projected: Tensor, state: CellState) -> CellState:
        """Return the next (h,), (batch, hidden)."""
        (h,) = state
        from_z, from_r, from_n = (self.part(projected, index) for index in range(3))
        z = torch.sigmoid(self._update(from_z, h))
        r = torch.sigmoid(from_r + self.reset_from_state(h))
        n = torch.tanh(self.candidate_from_state(r * h) + self._candidate(from_n))
        return (h + z * (n - h),)

    def _update(self, from_input: Tensor, h: Tensor) -> Tensor:
        return from_input

    def _candidate(self, from_input: Tensor) -> Tensor:
        return from_input


class MUT1(_Mutant):
    """MUT1 (Jozefowicz et al. 2015).

    z = sigmoid(x W + b)
    r = sigmoid(x W + h U + b)
    n = tanh((r h) U + tanh(x W + b))
    h' = (1 - z) h + z n
    """

    def _candidate(self, from_input: Tensor) -> Tensor:
        return torch.tanh(from_input)


class MUT2(_Mutant):
    """MUT2 (Jozefowicz et al. 2015).

    z = sigmoid(x W + h U + b)
    r = sigmoid(x W + h U + b)
    n = tanh((r h) U + x W + b)
    h' = (1 - z) h + z n
    """

    def __init__(self, input_size: int, hidden_size: int, layer_norm: bool = False) -> None:
        super().__init__(input_size, hidden_size, layer_norm)
        self.update_from_state = self.linear(hidden_size, hidden_size, bias=False)

    def _update(self, from_input: Tensor, h: Tensor) -> Tensor:
        return torch.add(from_input, self.update_from_state(h))


class MUT3(MUT2):
    """MUT3 (Jozefowicz et al. 2015): MUT2, whose update gate sees tanh(h).

    z = sigmoid(x W + tanh(h) U + b)
    r = sigmoid(x W + h U + b)
    n = tanh((r h) U + x W + b)
    h' = (1 - z) h + z n
    """

    def _update(self, from_input: Tensor, h: Tensor) -> Tensor:
        return super()._update(from_input, torch.tanh(h))


class NAS(ProjectedCell):
    """The cell that a network designed for language modelling (Zoph and Le 2017).

    a_k = x W_k + b_k, u_k = h U_k                            for k = 0 ... 7
    p = tanh(sigmoid(a_0 + u_0) relu(a_1 + u_1))
    q = tanh(sigmoid(a_2 + u_2) + relu(a_3 u_3))
    r = tanh(tanh(a_4 + u_4) sigmoid(a_5 + u_5))
    s = sigmoid(tanh(a_6 + u_6) + sigmoid(a_7 + u_7))
    c' = tanh(p + c) q
    h' = tanh(c' tanh(r + s))
    """

    states = ("h", "c")
    bounds = (1.0, 1.0)

    def __init__(self, input_size: int, hidden_size: int, layer_norm: bool = False) -> None:
        super().__init__(input_size, hidden_size, layer_norm)
        self.from_input = self.linear(input_size, 8 * hidden_size)
        self.from_state = self.linear(hidden_size, 8 * hidden_size, bias=False)

    def project(self, x: Tensor) -> Tensor:
        """Return x W + b, (..., 8 hidden)."""
        projected: Tensor = self.from_input(x)
        return projected

    def advance(self, projected: Tensor, state: CellState) -> CellState:
        """Return the next (h, c), each (batch, hidden)."""
        h, c = state
        from_state = self.from_state(h)
        a = [self.part(projected, index) for index in range(8)]
        u = [self.part(from_state, index) for index in range(8)]
        p = torch.tanh(torch.sigmoid(a[0] + u[0]) * torch.relu(a[1] + u[1]))
        q = torch.tanh(torch.sigmoid(a[2] + u[2]) + torch.relu(a[3] * u[3]))
        r = torch.tanh(torch.tanh(a[4] + u[4]) * torch.sigmoid(a[5] + u[5]))
        s = torch.sigmoid(torch.tanh(a[6] + u[6]) + torch.sigmoid(a[7] + u[7]))
        c = torch.tanh(p + c) * q
        return torch.tanh(c * torch.tanh(r + s)), c
