"""A network that draws strokes: it predicts the next point of a pen from the points before it.

It is the decoder of sketch-rnn without an encoder (Ha and Eck 2018, "A Neural Representation of Sketch Drawings"),
whose density of the offset is the mixture of Graves (2013, "Generating Sequences With Recurrent Neural Networks").
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from edgernn.contract import BATCH, FromFile, GraphSpec, StateSpec, TensorSpec
from edgernn.errors import ConfigError
from edgernn.models.base import Graph, Network
from edgernn.models.stack import RecurrentStack, StackState
from edgernn.pens import SIZE, START, mixture_size
from edgernn.tasks.pens.settings import PensConfig

__all__ = ["PenNetwork", "negative_log_likelihood"]

_START = "initial/pen.npy"
_ROUNDING = 1 / math.sqrt(12)  # standard deviation of the rounding of offsets to whole numbers
_LOGARITHMS = (-12.0, 4.0)  # of the standard deviations, at least and at most
_STEEPEST = 0.999  # the largest correlation


class PenNetwork(Network):
    """Predicts the next point of a drawing; `forward` is the deployed step."""

    task = "pens"

    def __init__(self, config: PensConfig) -> None:
        super().__init__()
        if not (config.scale > 0 and config.longest > 0):
            raise ConfigError("a network that draws strokes needs the scale of its data, and the longest drawing")
        self.config = config
        self.features = nn.Linear(SIZE, config.features)
        self.stack = RecurrentStack(
            *(config.cell, config.features, config.hidden, config.layers),
            dropout=config.dropout,
            layer_norm=config.layer_norm,
        )
        self.dropout = nn.Dropout(config.dropout)
        self.mixture = nn.Linear(config.hidden, mixture_size(config.components))
        self.register_buffer("start", torch.from_numpy(START.copy()), persistent=False)
        with torch.no_grad():
            self.mixture.bias[config.components : 3 * config.components].normal_()  # the means begin apart

    def forward(self, point: Tensor, pen: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """Return the mixture of the next point (batch, 6 components + 3), and the next state.

        point: (batch, 5). pen: where the pen is and its state there, (batch, 5). state: that of the cell.
        """
        h, carried = self.stack.step(torch.tanh(self.features(point)), state)
        place = pen[:, :2] + point[:, :2]
        return self._predict(h), torch.cat([place, point[:, 2:]], dim=1), *carried

    def sequence(self, points: Tensor, state: StackState) -> tuple[Tensor, StackState]:
        """Return the mixtures (time, batch, 6 components + 3) and the last state from points (time, batch, 5)."""
        h, state = self.stack.sequence(torch.tanh(self.features(points)), state)
        with torch.autocast(h.device.type, enabled=False):  # in bfloat16, _STEEPEST is 1, whose density is infinite
            return self._predict(self.dropout(h).float()), state

    def graphs(self) -> tuple[Graph, ...]:
        """Return one graph, `step`: from a point to the mixture of the next one."""
        size = mixture_size(self.config.components)
        spec = GraphSpec(
            name="step",
            inputs=(TensorSpec("point", "float32", (BATCH, SIZE), kind="point"),),
            outputs=(TensorSpec("mixture", "float32", (BATCH, size), kind="next-point"),),
            states=(
                StateSpec("pen", "float32", (BATCH, SIZE), initial=FromFile(_START)),
                *self.stack.state_specs(),
            ),
        )
        start = self.start
        assert isinstance(start, Tensor)
        return (Graph(spec, self, self, tensors={_START: start}, exact=("features.weight", "mixture.weight")),)

    def _predict(self, h: Tensor) -> Tensor:
        """Return the mixture, as `pens.draw_point` reads it, from hidden states (..., hidden).

        Offsets in the data are rounded to whole numbers. The density that the network chooses is that before rounding,
        and the mixture has the covariance after it, so no density becomes narrower than the rounding.
        """
        count, raw = self.config.components, self.mixture(h)
        across, down = (torch.exp(torch.clamp(raw[..., at * count : (at + 1) * count], *_LOGARITHMS)) for at in (3, 4))
        rounding = (_ROUNDING / self.config.scale) ** 2
        wide, high = torch.sqrt(across * across + rounding), torch.sqrt(down * down + rounding)
        steep = _STEEPEST * torch.tanh(raw[..., 5 * count : 6 * count]) * (across * down) / (wide * high)
        return torch.cat([raw[..., : 3 * count], wide, high, steep, raw[..., 6 * count :]], dim=-1)


def negative_log_likelihood(mixture: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return -log of the density of the offset and of the probability of the pen's state, in nats, each (...).

    mixture: (..., 6 components + 3). target: the next point, (..., 5). Offsets are in units of the scale. The density
    of a point that ends a drawing has no meaning, since it has no offset.
    """
    count = (mixture.shape[-1] - 3) // 6
    logits, x, y, across, down, steep = (mixture[..., at * count : (at + 1) * count] for at in range(6))
    right, below = (target[..., :1] - x) / across, (target[..., 1:2] - y) / down
    free = 1 - steep * steep
    squares = (right * right - 2 * steep * right * below + below * below) / free
    normal = -0.5 * (squares + torch.log(free)) - torch.log(across * down) - math.log(2 * math.pi)
    offset = -torch.logsumexp(torch.log_softmax(logits, dim=-1) + normal, dim=-1)
    pen = -(torch.log_softmax(mixture[..., 6 * count :], dim=-1) * target[..., 2:]).sum(dim=-1)
    return offset, pen
