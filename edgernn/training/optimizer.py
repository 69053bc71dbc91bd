"""What moves the weights: Muon for the matrices of recurrent layers, AdamW for everything else."""

from __future__ import annotations

from itertools import chain

import torch
from torch import Tensor, nn

from edgernn.training.config import TrainingConfig

__all__ = ["Optimizer", "language_optimizer"]


def language_optimizer(model: nn.Module, recurrent: nn.Module, config: TrainingConfig) -> Optimizer:
    """Muon (Jordan et al. 2024) takes the matrices of `recurrent`, unless the settings say AdamW, which takes the rest.

    Muon makes the averaged gradient orthogonal, so that rare directions are learned as fast as frequent ones. Its steps
    are scaled to the size of AdamW's, so both follow one learning rate.
    """
    matrices = [parameter for parameter in recurrent.parameters() if parameter.ndim == 2]
    chosen = set(matrices)
    others = [parameter for parameter in model.parameters() if parameter not in chosen]
    rate, decay = config.learning_rate, config.weight_decay
    groups = [{"params": others, "weight_decay": 0.0}]
    parts: list[torch.optim.Optimizer] = []
    if config.optimizer == "adamw":
        groups.append({"params": matrices, "weight_decay": decay})
    else:
        parts.append(torch.optim.Muon(matrices, lr=rate, weight_decay=decay, adjust_lr_fn="match_rms_adamw"))
    parts.append(torch.optim.AdamW(groups, lr=rate, fused=True))
    return Optimizer(model, parts)


class Optimizer:
    """The optimiser of one network, of one or several parts, with its moments by the names of the parameters."""

    def __init__(self, model: nn.Module, parts: list[torch.optim.Optimizer]) -> None:
        self._names = {parameter: name for name, parameter in model.named_parameters()}
        self._parts = parts

    def step(self, learning_rate: float) -> None:
        """Move the weights against their gradients; a group with a `scale` by so much of the learning rate."""
        for part in self._parts:
            for group in part.param_groups:
                group["lr"] = learning_rate * group.get("scale", 1.0)
            part.step()

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for part in self._parts:
            part.zero_grad(set_to_none=True)

    def tensors(self) -> dict[str, Tensor]:
        """What it history of each parameter, as PARAMETER.MOMENT; zeros before the first step."""
        return {
            f"{self._names[parameter]}.{moment}": value
            for part in self._parts
            for parameter in _parameters(part)
            for moment, value in (part.state.get(parameter) or _nothing(part, parameter)).items()
        }

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Remember what `tensors` gave; the names must be the same."""
        for part in self._parts:
            for parameter in _parameters(part):
                part.state[parameter] = {
                    moment: tensors[f"{self._names[parameter]}.{moment}"].to(parameter.device)
                    for moment in _nothing(part, parameter)
                }


def _parameters(part: torch.optim.Optimizer) -> list[nn.Parameter]:
    return list(chain.from_iterable(group["params"] for group in part.param_groups))


def _nothing(part: torch.optim.Optimizer, parameter: nn.Parameter) -> dict[str, Tensor]:
    """What an optimiser knows of a parameter before its first step."""
    zeros = torch.zeros_like(parameter, requires_grad=False)
    if isinstance(part, torch.optim.Muon):
        return {"momentum_buffer": zeros}
    return {"step": torch.zeros((), device=parameter.device), "exp_avg": zeros, "exp_avg_sq": zeros.clone()}
