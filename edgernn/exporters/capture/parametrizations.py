"""Replace parametrised weights (weight_norm, spectral_norm, orthogonal) by their values."""

from __future__ import annotations

import copy

from torch import nn
from torch.nn.utils import parametrize

__all__ = ["settled"]


def settled(module: nn.Module) -> nn.Module:
    """Return `module`, or a copy without parametrisations if any weights are parametrised."""
    if not any(parametrize.is_parametrized(part) for part in module.modules()):
        return module
    module = copy.deepcopy(module)
    for part in module.modules():
        if isinstance(part.__dict__["_modules"].get("parametrizations"), nn.ModuleDict):
            kind = type(part)  # deepcopy shares this class with the original, and removing parametrisations changes it
            part.__class__ = type(kind.__name__, kind.__bases__, dict(kind.__dict__))
            for name in [*part.__dict__["_modules"]["parametrizations"]]:
                parametrize.remove_parametrizations(part, name, leave_parametrized=True)
    return module
