"""A network that paints: it looks at a photograph and at its canvas, and adds one stroke of paint at each step.

The strokes come near the places of a low-discrepancy sequence, which covers the canvas evenly however many there are,
and along the edges there; the network chooses how far each departs from both, and all else but the colour. The colour
is the one that reduces the squared error most, plus a learned correction.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from edgernn.contract import BATCH, ConditionSpec, FromFile, GraphSpec, StateSpec, TensorSpec
from edgernn.models.base import Graph, Network
from edgernn.models.stack import RecurrentStack, StackState
from edgernn.models.windows import window_filters
from edgernn.tasks.paint.settings import CELLS_ACROSS, PaintConfig
from edgernn.tasks.paint.strokes import Stroke, coverage

__all__ = ["Painter", "Painting"]

_BYTE = 255.0
_GROUND = "initial/canvas.npy"
_HOME = "initial/home.npy"
_GREY = 0.5
_STEPS = (0.7548776662466927, 0.5698402909980532)  # of the R2 sequence (Roberts 2018)
_ASPECT = 3.0  # of length and width, before training
_AREA = 0.8  # canvases that k strokes of the size at step k cover
_FIRST = 0.2  # strokes that seem to have come before the first one, which therefore covers the canvas
_SEEN = 2.5  # halves of a length: the side of what is seen around a stroke
_NARROWEST = 0.8  # pixels, half of a width
_NUMBERS = 12  # of a stroke, as `_numbers` returns them
_CHOICES = 13  # of the network for a stroke
_TINY = 1e-6


class Painting(NamedTuple):
    """The state of a batch of paintings.

    canvas: (batch, height, width, 3), from 0 to 1. home: the place around which the next stroke comes, from 0 to 1,
    (batch, 2). step: how many strokes came before, (batch, 1). cell: the state of the recurrent stack.
    """

    canvas: Tensor
    home: Tensor
    step: Tensor
    cell: StackState


class Painter(Network):
    """Paints photographs. `forward` is the deployed step, and `paint` is the same step in training.

    After the last stroke of a painting, its canvas stays as it is.
    """

    task = "paint"

    def __init__(self, config: PaintConfig) -> None:
        super().__init__()
        self.config = config
        self.glance = nn.Linear(6 * CELLS_ACROSS**2, config.features)
        self.look = nn.Linear(6 * config.points**2 + 4, config.features)
        self.stack = RecurrentStack(config.cell, config.features, config.hidden, 1, layer_norm=config.layer_norm)
        self.choose = nn.Linear(config.hidden + config.features, _CHOICES)
        with torch.no_grad():
            self.choose.weight.mul_(0.1)
            self.choose.bias.zero_()

    def forward(self, image: Tensor, canvas: Tensor, home: Tensor, step: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """Return the stroke (batch, 12), the error of the canvas (batch, 1), and the next state.

        image: bytes (batch, height, width, 3).
        """
        target = image.to(torch.float32) / _BYTE
        stroke, after = self.paint(target, Painting(canvas, home, step, state))
        difference = target - after.canvas
        error = torch.sqrt((difference * difference).flatten(1).mean(dim=1, keepdim=True))
        return stroke, error, after.canvas, after.home, after.step, *after.cell

    def begin(self, batch: int, side: int) -> Painting:
        """Return the state before the first stroke on canvases of a side."""
        weight = self.choose.weight
        home = weight.new_full((batch, 2), 0.5)
        canvas = weight.new_full((batch, side, side, 3), _GREY)
        return Painting(canvas, home, weight.new_zeros(batch, 1), self.stack.initial_state(batch))

    def paint(self, target: Tensor, before: Painting, noise: Tensor | None = None) -> tuple[Tensor, Painting]:
        """Add one stroke: returns it (batch, 12), and the next state.

        target: (batch, height, width, 3), from 0 to 1. noise: in training, what is added to what is seen around the
        stroke, (batch, points, points, 6).
        """
        canvas, home, step, cell = before
        side = target.shape[1]
        missing = target - canvas
        both = torch.cat([target, missing], dim=3)
        # Half of a width, as a share of the side: k strokes of the size at step k cover the canvas.
        share = torch.sqrt(_AREA / (4.0 * _ASPECT * (step + _FIRST)))
        x, y = home[:, :1] * side, home[:, 1:] * side
        width = torch.clamp(share * side, min=_NARROWEST)
        reach = width * _ASPECT
        apart = torch.clamp(reach * (_SEEN / self.config.points), min=1.0)
        down, across = (window_filters(at, apart, self.config.points, side) for at in (y, x))
        seen = _through(down, across, both) / (apart * apart).unsqueeze(2).unsqueeze(3)
        edges = _edges(seen[..., :3])
        if noise is not None:
            seen = seen + noise
        glance = torch.relu(self.glance(_cells(both, CELLS_ACROSS).flatten(1)))
        progress = torch.log(step + 1.0) / math.log(self.config.strokes + 1.0)
        look = torch.relu(self.look(torch.cat([seen.flatten(1), edges, progress, share], dim=1)) + glance)
        h, cell = self.stack.step(look, cell)
        chosen = self.choose(torch.cat([h, look], dim=1))
        stroke = self._stroke(chosen, x, y, width, edges, side)
        goes_on = torch.clamp(self.config.strokes - step, min=0.0, max=1.0)  # 0 after the last stroke
        stroke = stroke._replace(opacity=goes_on * stroke.opacity)
        painted = coverage(stroke, side, side).unsqueeze(3)
        colour = _best_colour(painted, canvas, missing) + 0.1 * torch.tanh(chosen[:, 10:])
        colour = torch.clamp(colour, min=0.0, max=1.0)
        canvas = canvas + painted * (colour.unsqueeze(1).unsqueeze(2) - canvas)
        onward = home + goes_on * torch.tensor(_STEPS, device=home.device)
        home = onward - torch.floor(onward)
        step = torch.clamp(step + 1.0, max=float(self.config.strokes))
        return _numbers(stroke, colour, side), Painting(canvas, home, step, cell)

    def _stroke(self, chosen: Tensor, x: Tensor, y: Tensor, width: Tensor, edges: Tensor, side: int) -> Stroke:
        """Return the stroke that the first 10 of 13 unbounded numbers choose, around a place and of about a width."""
        moves, turn, thick, long, bend, opacity, bristles = torch.split(chosen[:, :10], [2, 2, 1, 1, 2, 1, 1], dim=1)
        reach = _ASPECT * width
        x = torch.clamp(x + reach * torch.tanh(moves[:, :1]), min=0.0, max=float(side))
        y = torch.clamp(y + reach * torch.tanh(moves[:, 1:]), min=0.0, max=float(side))
        width = torch.clamp(width * torch.exp(torch.tanh(thick)), min=_NARROWEST)
        length = width * (2.0 + 4.0 * torch.sigmoid(long - 1.1))
        cos, sin = _half_angle(edges + turn)
        bent = 0.5 * length * (torch.tanh(bend[:, 1:]) * cos - torch.tanh(bend[:, :1]) * sin)
        opacity = 0.75 + 0.25 * torch.sigmoid(opacity + 1.5)
        return Stroke(x, y, cos, sin, length, width, bent, opacity, 0.2 + 0.3 * torch.sigmoid(bristles))

    def graphs(self) -> tuple[Graph, ...]:
        """Return one graph, `step`: from a photograph, which is a condition, to a stroke and the canvas with it."""
        config = self.config
        size = (BATCH, config.side, config.side, 3)
        states = (
            StateSpec("canvas", "float32", size, bound=1.0, low=0.0, kind="canvas", initial=FromFile(_GROUND)),
            StateSpec("home", "float32", (BATCH, 2), bound=1.0, low=0.0, initial=FromFile(_HOME)),
            StateSpec("step", "float32", (BATCH, 1), bound=float(config.strokes), low=0.0),
        )
        spec = GraphSpec(
            name="step",
            inputs=(),
            outputs=(
                TensorSpec("stroke", "float32", (BATCH, _NUMBERS), kind="stroke"),
                TensorSpec("error", "float32", (BATCH, 1), bound=1.0, low=0.0),
            ),
            states=(*states, *self.stack.state_specs()),
            conditions=(ConditionSpec("image", "uint8", size, kind="image"),),
        )
        tensors = {_GROUND: torch.full((3,), _GREY), _HOME: torch.full((2,), 0.5)}
        return (Graph(spec, self, self, tensors=tensors, exact=("choose.weight",), chaotic=True),)


def _numbers(stroke: Stroke, colour: Tensor, side: int) -> Tensor:
    """Return a stroke as numbers (batch, 12), which do not depend on the end from which it is painted.

    They are x, y; half of the length times cosine and sine of the doubled angle; half of the width; the bend as a
    vector; all as shares of the side; opacity, bristles, and the colour (batch, 3).
    """
    cos, sin = stroke.cos, stroke.sin
    axis = [stroke.length * (cos * cos - sin * sin), stroke.length * (2.0 * cos * sin)]
    bend = [-stroke.bend * sin, stroke.bend * cos]
    lengths = torch.cat([stroke.x, stroke.y, *axis, stroke.width, *bend], dim=1) / side
    return torch.cat([lengths, stroke.opacity, stroke.bristles, colour], dim=1)


def _cells(picture: Tensor, across: int) -> Tensor:
    """Return the means of square cells, (batch, across, across, channels), of (batch, height, width, channels)."""
    side, channels = picture.shape[1], picture.shape[3]
    within = side // across
    rows = picture.reshape(-1, across, within, side * channels).mean(dim=2)
    return rows.reshape(-1, across, across, within, channels).mean(dim=3)


def _through(down: Tensor, across: Tensor, picture: Tensor) -> Tensor:
    """Return what is seen of pictures (batch, height, width, channels) at points, (batch, points, points, channels).

    down, across: the weights of the pixels around each point, (batch, points, height) and (batch, points, width).
    """
    points, (height, width, channels) = down.shape[1], picture.shape[1:]
    rows = down @ picture.reshape(-1, height, width * channels)
    return across.unsqueeze(1) @ rows.reshape(-1, points, width, channels)


def _edges(seen: Tensor) -> Tensor:
    """Return the direction along the edges of pictures (batch, points, points, 3), as the doubled angle, (batch, 2).

    Its length is from 0, where no direction prevails, to 1: the coherence of the structure tensor.
    """
    across = seen[:, 1:-1, 2:] - seen[:, 1:-1, :-2]
    down = seen[:, 2:, 1:-1] - seen[:, :-2, 1:-1]
    sums = [
        (one * other).flatten(1).sum(dim=1, keepdim=True)
        for one, other in ((across, across), (down, down), (across, down))
    ]
    return torch.cat([sums[1] - sums[0], -2.0 * sums[2]], dim=1) / (sums[0] + sums[1] + 1e-3)


def _half_angle(doubled: Tensor) -> tuple[Tensor, Tensor]:
    """Return cosine and sine, (batch, 1), of half the angle of vectors (batch, 2)."""
    unit = doubled / torch.sqrt((doubled * doubled).sum(dim=1, keepdim=True) + _TINY)
    flat = unit[:, :1] > 0.0
    larger = torch.sqrt(0.5 + 0.5 * unit[:, :1].abs())  # the other one, which can be 0, would be less exact
    smaller = 0.5 * unit[:, 1:] / larger
    size = torch.sqrt(larger * larger + smaller * smaller)
    larger, smaller = larger / size, smaller / size
    return torch.where(flat, larger, smaller), torch.where(flat, smaller, larger)


def _best_colour(painted: Tensor, canvas: Tensor, missing: Tensor) -> Tensor:
    """Return the colour (batch, 3) with which a stroke reduces the squared error most.

    painted: its opacity p at each pixel, (batch, height, width, 1). missing: the target without the canvas c. The error
    missing - p (colour - c) is least for colour = sum(p missing + p^2 c) / sum(p^2).
    """
    opacity = painted.flatten(1).unsqueeze(1)
    weights = opacity * opacity
    wanted = opacity @ missing.flatten(1, 2) + weights @ canvas.flatten(1, 2)
    return wanted.squeeze(1) / (weights.sum(dim=2) + _TINY)
