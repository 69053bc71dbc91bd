"""A classifier: a front end, recurrent layers, and scores of classes after every step.

The scores depend on the last output of the recurrent layers, on the running mean of all outputs so far, and on the
logarithm of the number of steps. The mean and the number of steps are declared states.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from edgernn.contract import BATCH, GraphSpec, StateSpec, TensorSpec
from edgernn.errors import ConfigError
from edgernn.models.base import Graph, Network
from edgernn.models.frontends import State, front_end
from edgernn.models.stack import RecurrentStack
from edgernn.tasks.labelling import LabellerConfig

__all__ = ["Classifier"]


class Classifier(Network):
    """Scores the classes of a sequence. `forward` is the deployed step, `sequence` the path for training.

    temperature: the logits are divided by it, so that their softmax is calibrated (Guo et al. 2017).
    """

    task = "classify"
    temperature: Tensor

    def __init__(self, config: LabellerConfig) -> None:
        super().__init__()
        if not config.classes or not config.kind:
            raise ConfigError("a classifier needs the kind of its data and the number of its classes")
        self.config = config
        self.front = front_end(config)
        self.stack = RecurrentStack(
            *(config.cell, self.front.size, config.hidden, config.layers),
            dropout=config.dropout,
            layer_norm=config.layer_norm,
        )
        self.dropout = nn.Dropout(config.dropout)
        self.output = nn.Linear(2 * config.hidden + 1, config.classes)
        self.register_buffer("temperature", torch.ones(()))

    def forward(self, x: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """Return scores (batch, classes) and the next state from one step of input, in primitive operations."""
        carry, mean, steps, inner = self._parted(state)
        features, carry = self.front.step(x, carry)
        h, inner = self.stack.step(features, inner)
        steps = steps + 1.0
        mean = mean + (h - mean) / steps
        return (self._scores(h, mean, steps) / self.temperature, *carry, mean, steps, *inner)

    def sequence(self, x: Tensor) -> Tensor:
        """Return logits (time, batch, classes) after every step of the inputs x (time, batch, ...), fused.

        They are not divided by the temperature.
        """
        batch = x.shape[1]
        features, _ = self.front.sequence(x, self.front.initial_state(batch))
        h, _ = self.stack.sequence(self.dropout(features), self.stack.initial_state(batch))
        steps = torch.arange(1, len(h) + 1, dtype=h.dtype, device=h.device)[:, None, None]
        return self._scores(h, h.cumsum(0) / steps, steps.expand(-1, batch, -1))

    def graphs(self) -> tuple[Graph, ...]:
        """Return one graph, `step`: from one step of input to scores."""
        config, bound = self.config, self.stack.bounds[0]
        pooled = (
            StateSpec("mean", "float32", (BATCH, config.hidden), bound=bound),
            StateSpec("steps", "float32", (BATCH, 1), low=0.0),
        )
        spec = GraphSpec(
            name="step",
            inputs=(self.front.input_spec(),),
            outputs=(TensorSpec("scores", "float32", (BATCH, config.classes), kind="label"),),
            states=(*self.front.state_specs(), *pooled, *self.stack.state_specs()),
        )
        exact = tuple(f"front.{name}" for name in self.front.exact)
        return (Graph(spec, module=self, source=_OneStepSequence(self), exact=exact),)

    def _parted(self, state: State) -> tuple[State, Tensor, Tensor, State]:
        """Split the state into those of the front end, the running mean, the number of steps, and the layers'."""
        count = len(self.front.state_specs())
        mean, steps, *inner = state[count:]
        return state[:count], mean, steps, tuple(inner)

    def _scores(self, h: Tensor, mean: Tensor, steps: Tensor) -> Tensor:
        pooled = self.dropout(torch.cat([h, mean], dim=-1))
        return cast(Tensor, self.output(torch.cat([pooled, torch.log(steps)], dim=-1)))


class _OneStepSequence(nn.Module):
    """The path for training as a step: it runs on sequences of one step."""

    def __init__(self, network: Classifier) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        network = self.network
        carry, mean, steps, inner = network._parted(state)
        features, carry = network.front.sequence(x.unsqueeze(0), carry)
        h, inner = network.stack.sequence(features, inner)
        steps = steps + 1.0
        mean = mean + (h[0] - mean) / steps
        return (network._scores(h[0], mean, steps) / network.temperature, *carry, mean, steps, *inner)
