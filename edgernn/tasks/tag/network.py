"""A tagger: a front end, recurrent layers, and scores of the classes of a frame."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from edgernn.contract import BATCH, GraphSpec, TensorSpec
from edgernn.errors import ConfigError
from edgernn.models.base import Graph, Network
from edgernn.models.frontends import State, front_end
from edgernn.models.stack import RecurrentStack
from edgernn.tasks.tag.settings import TagConfig

__all__ = ["Tagger"]


class Tagger(Network):
    """Scores the classes of every frame. `forward` is the deployed step, `sequence` the path for training."""

    task = "tag"

    def __init__(self, config: TagConfig) -> None:
        super().__init__()
        if not config.classes or not config.kind:
            raise ConfigError("a tagger needs the kind of its data and the number of its classes")
        self.config = config
        self.front = front_end(config)
        self.stack = RecurrentStack(
            *(config.cell, self.front.size, config.hidden, config.layers),
            dropout=config.dropout,
            layer_norm=config.layer_norm,
        )
        self.dropout = nn.Dropout(config.dropout)
        self.output = nn.Linear(config.hidden, config.classes)

    def forward(self, x: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """Return scores (batch, classes) and the next state from one step of input, in primitive operations."""
        carry, inner = self._parted(state)
        features, carry = self.front.step(x, carry)
        h, inner = self.stack.step(features, inner)
        return (self.output(h), *carry, *inner)

    def sequence(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Return scores (time, batch, classes) and the last state from inputs x (time, batch, ...), fused."""
        carry, inner = self._parted(state)
        features, carry = self.front.sequence(x, carry)
        h, inner = self.stack.sequence(self.dropout(features), inner)
        return cast(Tensor, self.output(self.dropout(h))), (*carry, *inner)

    def initial_state(self, batch: int) -> State:
        """Return the state before the first step."""
        return (*self.front.initial_state(batch), *self.stack.initial_state(batch))

    def graphs(self) -> tuple[Graph, ...]:
        """Return one graph, `step`: from one step of input to scores."""
        config = self.config
        scores = TensorSpec("scores", "float32", (BATCH, config.classes), kind="label", delay=config.delay)
        spec = GraphSpec(
            name="step",
            inputs=(self.front.input_spec(),),
            outputs=(scores,),
            states=(*self.front.state_specs(), *self.stack.state_specs()),
        )
        exact = tuple(f"front.{name}" for name in self.front.exact)
        return (Graph(spec, module=self, source=_OneStepSequence(self), exact=exact),)

    def _parted(self, state: State) -> tuple[State, State]:
        """Split the state into those of the front end and of the layers."""
        count = len(self.front.state_specs())
        return state[:count], state[count:]


class _OneStepSequence(nn.Module):
    """The path for training as a step: it runs on sequences of one step."""

    def __init__(self, network: Tagger) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        scores, state = self.network.sequence(x.unsqueeze(0), state)
        return (scores[0], *state)
