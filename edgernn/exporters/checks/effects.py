"""Check for random numbers and for state that a module keeps between calls; an artifact has neither."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from edgernn.errors import ExportError, few
from edgernn.exporters.checks.trial import Arrays, Trial, differs

__all__ = ["check_effects"]

_OF_TORCH = {"_parameters", "_buffers", "_modules", "_non_persistent_buffers_set", "training"}  # in any module


def check_effects(trial: Trial, feeds: Arrays) -> list[str]:
    """Return the attributes that a call changes; they matter if a later call reads them.

    Raises ExportError if two calls with equal inputs give different outputs, or if a call draws random numbers or
    changes a parameter or buffer, which is restored.
    """
    graph = trial.spec.name
    tensors = _tensors(trial.module)
    kept = {name: tensor.detach().clone() for name, tensor in tensors.items()}
    attributes, numbers = dict(_attributes(trial.module)), torch.get_rng_state()
    first = trial.call(feeds)
    drawn = not torch.equal(numbers, torch.get_rng_state())
    second = trial.call(feeds)
    current = _tensors(trial.module)
    changed = [name for name in kept if name not in current or not _same(current[name].detach(), kept[name])]
    if changed:
        _put_back(trial.module, {name: (tensors[name], kept[name]) for name in changed})
        raise ExportError(
            f"graph {graph}: the module keeps state in {few(changed)}, which a call changes; declare it as a state"
        )
    after = dict(_attributes(trial.module))
    moved = [name for name in current if name not in kept]
    moved += [name for name, value in after.items() if name not in attributes or not _same(value, attributes[name])]
    different = [name for name, array in first.items() if differs(array, second[name])]
    if different:
        reason = "it keeps something between them"
        if drawn:
            reason = (
                "it draws random numbers, which an artifact cannot repeat: make them an input; give dropout "
                "training=self.training"
            )
        elif moved:
            reason = f"it keeps {few(moved)} between them: declare it as a state"
        raise ExportError(
            f"graph {graph}: two calls with equal inputs give different outputs in {few(different)}; {reason}"
        )
    if drawn:
        raise ExportError(f"graph {graph}: the module draws random numbers in its forward: make them an input")
    return moved


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


@torch.no_grad()
def _put_back(module: nn.Module, tensors: Mapping[str, tuple[Tensor, Tensor]]) -> None:
    """Restore parameters and buffers, by name, both the tensors and their values."""
    for name, (tensor, values) in tensors.items():
        tensor.copy_(values)
        owner, _, attribute = name.rpartition(".")
        setattr(module.get_submodule(owner), attribute, tensor)


def _attributes(module: nn.Module) -> Iterator[tuple[str, Any]]:
    """Yield the attributes of a module and its parts that are tensors, numbers or texts, by name."""
    for prefix, part in module.named_modules():
        for name, value in vars(part).items():
            if name not in _OF_TORCH and not name.endswith("_hooks"):
                yield from _values(f"{prefix}.{name}" if prefix else name, value)


def _values(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Tensor):
        yield name, value.detach().clone()
    elif value is None or isinstance(value, bool | int | float | str):
        yield name, value
    elif isinstance(value, np.ndarray):
        yield name, value.copy()
    elif isinstance(value, list | tuple):
        yield f"{name} (its length)", len(value)
        for place, each in enumerate(value):
            yield from _values(f"{name}[{place}]", each)
    elif isinstance(value, dict):
        yield f"{name} (its length)", len(value)
        for key, each in value.items():
            yield from _values(f"{name}[{key!r}]", each)


def _same(one: Any, other: Any) -> bool:
    if type(one) is not type(other):
        return False
    if isinstance(one, Tensor):
        return one.shape == other.shape and one.dtype == other.dtype and _equal(one, other)
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and not differs(one, other)
    return bool(one == other) or one is other or one != one


def _equal(one: Tensor, other: Tensor) -> bool:
    return bool(torch.all((one == other) | (one != one) & (other != other)))
