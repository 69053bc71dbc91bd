"""A network that looks at a picture by glimpses: small patches, at places that its state chooses.

After Mnih et al. 2014 ("Recurrent Models of Visual Attention") and Ba et al. 2015. A glimpse is cut out by two matrix
products, as in DRAW (Gregor et al. 2015), so that gradients reach the place from which it was taken. The features of
what was seen and of where it was seen are multiplied (Larochelle and Hinton 2010).
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from edgernn.contract import BATCH, ConditionSpec, FromFile, GraphSpec, StateSpec, TensorSpec
from edgernn.errors import ConfigError
from edgernn.models.base import Graph, Network
from edgernn.models.stack import RecurrentStack, StackState
from edgernn.models.windows import window_filters
from edgernn.tasks.glimpse.settings import GlimpseConfig

__all__ = ["Glimpser", "crop"]

_BYTE = 255.0
_PLACE = "initial/place.npy"
_SPREAD = 0.3  # standard deviation of the first places, before tanh


class Glimpser(Network):
    """Scores the classes of a picture after each glimpse. `forward` is the deployed step, `sequence` the training path.

    Places are (x, y), from -1 at the left and upper edges to 1. Each glimpse has a learned place, to which the state
    adds an offset. A stream that goes on after the last glimpse looks at the centre, and does not remember it: for more
    glimpses than the network was trained for, states and differences of rounding would grow.
    """

    task = "glimpse"

    def __init__(self, config: GlimpseConfig) -> None:
        super().__init__()
        if not config.classes or not config.channels:
            raise ConfigError("a network that looks needs the size of its pictures and the number of its classes")
        self.config = config
        pixels = config.scales * config.channels * config.side**2
        self.seen = nn.Linear(pixels, config.features)
        self.place = nn.Linear(2, config.features)
        self.joined = nn.Linear(config.features, config.features)
        self.stack = RecurrentStack(config.cell, config.features, config.hidden, 1, layer_norm=config.layer_norm)
        self.offset = nn.Linear(config.hidden, 2)
        self.places = nn.Parameter(_SPREAD * torch.randn(config.glimpses, 2))
        self.output = nn.Linear(config.hidden, config.classes)
        for layer in (self.seen, self.joined):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        nn.init.ones_(self.place.bias)  # at first, what is seen counts wherever it is seen
        nn.init.zeros_(self.offset.bias)

    def forward(self, image: Tensor, place: Tensor, glimpse: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """Return scores (batch, classes), the boxes (batch, scales, 4) of the patches, and the next state.

        image: bytes (batch, height, width, 3). place: where to look, (batch, 2). glimpse: how many came before,
        (batch, 1).
        """
        return self.look(self.canvas(image), place, glimpse, state)

    def sequence(self, image: Tensor) -> Tensor:
        """Return scores (glimpses, batch, classes) after each glimpse at images, bytes (batch, height, width, 3)."""
        return self.explore(image, None, follows_crop=True)[0]

    def explore(self, image: Tensor, trials: Tensor | None, *, follows_crop: bool) -> tuple[Tensor, Tensor]:
        """Return what `sequence` does, and the places that the network chose, (glimpses, batch, 2).

        trials: what is added to these places, of the same shape. follows_crop: whether the gradient of a glimpse
        reaches its place. The gradient of the places that are returned reaches only what chooses them, and not the
        state from which they are chosen.
        """
        canvas, batch = self.canvas(image), len(image)
        place, glimpse = self._first_place().expand(batch, -1), self.places.new_zeros(batch, 1)
        state: StackState = self.stack.initial_state(batch)
        scores, places = [], [place]
        for number in range(self.config.glimpses):
            if trials is not None:
                place = torch.clamp(place + trials[number], -1.0, 1.0)
            h, _, state = self._attend(canvas, place if follows_crop else place.detach(), state)
            scores.append(cast(Tensor, self.output(h)))
            glimpse = glimpse + 1.0
            place = self._next_place(h, glimpse)
            places.append(self._next_place(h.detach(), glimpse))
        return torch.stack(scores), torch.stack(places[:-1])

    def canvas(self, image: Tensor) -> Tensor:
        """Return images, bytes (batch, height, width, 3), as floats (batch, channels, height, width) from 0 to 1."""
        pixels = image.to(torch.float32) / _BYTE
        if self.config.channels == 1:
            return pixels.mean(dim=3).unsqueeze(1)
        return pixels.permute(0, 3, 1, 2)

    def look(self, canvas: Tensor, place: Tensor, glimpse: Tensor, state: StackState) -> tuple[Tensor, ...]:
        """Take one glimpse at a canvas (batch, channels, height, width); returns what `forward` returns."""
        h, boxes, carried = self._attend(canvas, place, state)
        kept = torch.clamp(self.config.glimpses - glimpse, max=1.0)  # 0 after the last glimpse
        carried = tuple(kept * new + (1.0 - kept) * old for new, old in zip(carried, state, strict=True))
        glimpse = torch.clamp(glimpse + 1.0, max=float(self.config.glimpses))
        return (cast(Tensor, self.output(h)), boxes, self._next_place(h, glimpse), glimpse, *carried)

    def _attend(self, canvas: Tensor, place: Tensor, state: StackState) -> tuple[Tensor, Tensor, StackState]:
        """Return the hidden state (batch, hidden) after a glimpse, its boxes, and the state of the cell."""
        patches, boxes = crop(canvas, place, self.config.side, self.config.scales)
        seen = torch.relu(self.seen(patches)) * torch.relu(self.place(place))
        h, carried = self.stack.step(torch.relu(self.joined(seen)), state)
        return h, boxes, carried

    def _next_place(self, h: Tensor, glimpse: Tensor) -> Tensor:
        """Return where to look (batch, 2) after as many glimpses as `glimpse` (batch, 1) says."""
        numbers = torch.arange(self.config.glimpses, device=h.device)
        chosen = torch.clamp(1.0 - (glimpse - numbers).abs(), min=0.0)
        moves = chosen.sum(dim=1, keepdim=True)  # 0 after the last glimpse
        return torch.tanh(chosen @ self.places + moves * self.offset(h))

    def graphs(self) -> tuple[Graph, ...]:
        """Return one graph, `step`: from a picture, which is a condition, and the place to look to scores."""
        config = self.config
        states = (
            StateSpec("place", "float32", (BATCH, 2), bound=1.0, initial=FromFile(_PLACE)),
            StateSpec("glimpse", "float32", (BATCH, 1), bound=float(config.glimpses), low=0.0),
        )
        spec = GraphSpec(
            name="step",
            inputs=(),
            outputs=(
                TensorSpec("scores", "float32", (BATCH, config.classes), kind="label"),
                TensorSpec("boxes", "float32", (BATCH, config.scales, 4), kind="boxes"),
            ),
            states=(*states, *self.stack.state_specs()),
            conditions=(ConditionSpec("image", "uint8", (BATCH, config.height, config.width, 3), kind="image"),),
        )
        return (Graph(spec, self, self, tensors={_PLACE: self._first_place()}, exact=("places", "offset.weight")),)

    def _first_place(self) -> Tensor:
        return torch.tanh(self.places[:1])


def crop(canvas: Tensor, place: Tensor, side: int, scales: int) -> tuple[Tensor, Tensor]:
    """Return the patches of a glimpse as rows (batch, pixels), and their boxes (batch, scales, 4) in pixels.

    canvas: (batch, channels, height, width). place: the common centre, (batch, 2).
    Scale s has side × side points, 2^s pixels apart; the value at a point is the mean of the pixels around it, with
    weights that fall linearly to 0 over that distance. Beyond its edges, the canvas is 0.
    """
    height, width = canvas.shape[2], canvas.shape[3]
    apart = torch.tensor([[2.0**scale] for scale in range(scales)], device=place.device)
    x = ((place[:, :1] + 1.0) * (width / 2)).unsqueeze(2)
    y = ((place[:, 1:] + 1.0) * (height / 2)).unsqueeze(2)
    down, across = (window_filters(centre, apart, side, size) for centre, size in ((y, height), (x, width)))
    rows = down.flatten(1, 2).unsqueeze(1) @ canvas  # of all scales in one product
    patches = rows.unflatten(2, (scales, side)) @ across.transpose(2, 3).unsqueeze(1) / (apart * apart).unsqueeze(2)
    half = apart * (side / 2)
    return patches.flatten(1), torch.cat([x - half, y - half, x + half, y + half], dim=2)
