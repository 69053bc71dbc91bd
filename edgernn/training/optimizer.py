"""The optimizer: AdamW, or Muon for the parameter groups that request it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from edgernn.training.muon import Muon

__all__ = ["Optimizer"]


class Optimizer:
    """The optimizer of one network, with its moments stored by parameter name.

    groups: as `Learner.parameter_groups` returns them.
    """

    def __init__(self, network: nn.Module, groups: Sequence[Mapping[str, Any]], learning_rate: float) -> None:
        self._names = {parameter: name for name, parameter in network.named_parameters()}
        by_kind: dict[str, list[dict[str, Any]]] = {"adamw": [], "muon": []}
        for group in groups:
            own = dict(group)
            kind = own.pop("optimizer", "adamw")
            if own["params"]:
                by_kind[kind].append(own)
        self._parts: list[torch.optim.Optimizer] = []
        if by_kind["muon"]:
            self._parts.append(Muon(by_kind["muon"], lr=learning_rate))
        if by_kind["adamw"]:
            self._parts.append(torch.optim.AdamW(by_kind["adamw"], lr=learning_rate, fused=True))

    @property
    def parameters(self) -> list[nn.Parameter]:
        """All parameters that the optimizer updates."""
        return [parameter for part in self._parts for parameter in _parameters(part)]

    def step(self, learning_rate: float) -> None:
        """Update the parameters from their gradients; the learning rate of a group is multiplied by its `scale`."""
        for part in self._parts:
            for group in part.param_groups:
                group["lr"] = learning_rate * group.get("scale", 1.0)
            part.step()

    def zero_grad(self) -> None:
        """Clear the gradients."""
        for part in self._parts:
            part.zero_grad(set_to_none=True)

    def tensors(self) -> dict[str, Tensor]:
        """Return the moments of each parameter, as PARAMETER.MOMENT; zeros before the first step."""
        return {
            f"{self._names[parameter]}.{moment}": value
            for part in self._parts
            for parameter in _parameters(part)
            for moment, value in (part.state.get(parameter) or _zeros(part, parameter)).items()
        }

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Continue from moments that `tensors` returned; the names must be the same."""
        for part in self._parts:
            for parameter in _parameters(part):
                part.state[parameter] = {
                    moment: tensors[f"{self._names[parameter]}.{moment}"].to(parameter.device)
                    for moment in _zeros(part, parameter)
                }


def _parameters(part: torch.optim.Optimizer) -> list[nn.Parameter]:
    return list(chain.from_iterable(group["params"] for group in part.param_groups))


def _zeros(part: torch.optim.Optimizer, parameter: nn.Parameter) -> dict[str, Tensor]:
    """Return the moments of a parameter before the first step."""
    zeros = torch.zeros_like(parameter, requires_grad=False)
    if isinstance(part, Muon):
        return {"momentum_buffer": zeros}
    return {"step": torch.zeros((), device=parameter.device), "exp_avg": zeros, "exp_avg_sq": zeros.clone()}
