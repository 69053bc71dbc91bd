"""How far back a network's gradient reaches: its norm by distance in time, for any cell.

The loss of one prediction is differentiated by the state that the network carried d steps before it. Where the norm
falls quickly with d the gradient vanishes and what lies further back cannot be learned; where it grows, it explodes
(Bengio et al. 1994; Pascanu et al. 2013).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import nn

from edgernn.errors import ConfigError
from edgernn.tasks.language.data import Tokens
from edgernn.tasks.language.network import LanguageModel
from edgernn.tokenizer import Ids

__all__ = ["gradient_norms", "measure_gradients", "plot_gradients"]

_WINDOWS = 32  # places of the held-out text over which norms are averaged
_WARM_UP = 32  # steps that bring the state to where it usually is


def measure_gradients(model: LanguageModel, tokens: Tokens, distance: int) -> list[float]:
    """`gradient_norms` of `model` at equal distances of a text.

    Raises ConfigError for a distance below 1, or a text that is too short for it.
    """
    if distance < 1:
        raise ConfigError(f"--distance {distance} is below 1")
    length = _WARM_UP + distance + 1
    if len(tokens) < length:
        raise ConfigError(f"--distance {distance} needs {length} held-out tokens, and there are {len(tokens)}")
    starts = np.linspace(0, len(tokens) - length, _WINDOWS).astype(int)
    windows = np.stack([tokens.read(int(start), length) for start in starts], axis=1)
    return gradient_norms(model.double(), windows, distance)


def gradient_norms(model: LanguageModel, windows: Ids, distance: int) -> list[float]:
    """Mean norm of the gradient of the last prediction's loss by the state d steps before it, for d = 1..distance.

    windows: tokens (time, places), of which the last `distance` + 1 are looked at and the others warm the state up.
    The norm is that over all states and layers.
    """
    tokens = torch.from_numpy(windows)
    with torch.no_grad():
        _, state = model.sequence(tokens[: -distance - 1], model.initial_state(tokens.shape[1]))
    states = [tuple(s.clone().requires_grad_() for s in state)]
    logits = torch.empty(0)
    for token in tokens[-distance - 1 : -1]:
        logits, *following = model(token, *states[-1])
        states.append(tuple(following))
    loss = nn.functional.cross_entropy(logits, tokens[-1], reduction="sum")
    # The state after the last step is no part of this loss; the one that went into that step is at distance 1.
    wanted = [s for each in states[:-1] for s in each]
    gradients = iter(torch.autograd.grad(loss, wanted))
    squares = [sum(next(gradients).square().sum(dim=(0, 2)) for _ in each) for each in states[:-1]]
    return [float(torch.as_tensor(square).sqrt().mean()) for square in reversed(squares)]


def plot_gradients(norms: dict[str, Sequence[float]], out: Path) -> None:
    """Draw norms by distance, a line for each name, on a logarithmic scale."""
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    for name, values in norms.items():
        axes.plot(range(1, len(values) + 1), values, label=name)
    axes.set_yscale("log")
    axes.set_xlabel("distance in time (steps)")
    axes.set_ylabel("norm of the gradient by the state at that distance")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(out, dpi=120)
