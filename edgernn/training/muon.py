"""Muon (Jordan et al. 2024): the steps of a matrix are its averaged gradients, orthogonalised."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from edgernn.training.device import find_autocast

__all__ = ["Muon"]

_MOMENTUM = 0.95
_COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the quintic iteration by which Jordan et al. replace the SVD
_ITERATIONS = 5
_SCALE = 0.2  # the root mean square of AdamW's steps, as a share of the learning rate (Liu et al. 2025)


class Muon(torch.optim.Optimizer):
    """Muon with Nesterov momentum and decoupled weight decay, for parameters that are matrices.

    It makes the steps of `torch.optim.Muon`, which always orthogonalises in bfloat16. Most processors have no
    instructions for bfloat16, and a step takes them 20 times as long as in single precision, which is used there.
    """

    def __init__(self, params: Any, lr: float, weight_decay: float = 0.1) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update the matrices from their gradients; those without a gradient stay."""
        for group in self.param_groups:
            for matrix in group["params"]:
                if matrix.grad is not None:
                    self._update(matrix, matrix.grad, group["lr"], group["weight_decay"])

    def _update(self, matrix: Tensor, gradient: Tensor, lr: float, weight_decay: float) -> None:
        state = self.state[matrix]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(gradient)
        average = state["momentum_buffer"].lerp_(gradient, 1 - _MOMENTUM)
        update = orthogonalise(gradient.lerp(average, _MOMENTUM))
        matrix.mul_(1 - lr * weight_decay)
        matrix.add_(update, alpha=-lr * _SCALE * math.sqrt(max(matrix.shape)))


def orthogonalise(matrix: Tensor) -> Tensor:
    """Return `matrix` with singular values near 1, in bfloat16 where the device is fast at it."""
    fast = find_autocast("auto", matrix.device)
    x = matrix.to(torch.bfloat16 if fast else torch.float32, copy=True)
    tall = len(x) > x.shape[1]
    x = x.T if tall else x
    x.div_(x.norm().clamp(min=1e-7))
    a, b, c = _COEFFICIENTS
    for _ in range(_ITERATIONS):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.T if tall else x
