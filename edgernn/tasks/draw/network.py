"""A network that draws a picture step by step: DRAW (Gregor et al. 2015, "DRAW: A Recurrent Neural Network For Image
Generation").

The decoder, which is deployed, writes a small window onto a canvas at each step, at a place and of a size that its
state chooses. In training, an encoder reads the picture and what the canvas still lacks through a window that the
decoder's state chooses, and says which latent variables should lead to the picture. The windows are bilinear where
those of the paper are Gaussian.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from edgernn.contract import BATCH, ConditionSpec, FromFile, GraphSpec, StateSpec, TensorSpec
from edgernn.errors import ConfigError
from edgernn.models.base import Graph, Network
from edgernn.models.stack import RecurrentStack, StackState
from edgernn.models.windows import window_filters
from edgernn.tasks.draw.settings import DrawConfig

__all__ = ["Bound", "Decoder", "Drawer", "Explained", "Window", "window_at"]

_BLANK = "initial/canvas.npy"
_DARK = -2.0  # logit of each pixel before training
_LARGEST_LOGIT = 12.0  # of a pixel on the canvas: a probability of 0.999994
_CLOSEST = 1.0  # pixels between neighbouring points of a window, at least


class Window(NamedTuple):
    """A square window of points on each canvas of a batch.

    down: the weights (batch, points, height) of the pixels of a column at each row of points. across: (batch, points,
    width). apart: the distance of neighbouring points in pixels, (batch, 1). box: left, top, right and bottom in
    pixels, (batch, 4).
    """

    down: Tensor
    across: Tensor
    apart: Tensor
    box: Tensor

    def read(self, picture: Tensor) -> Tensor:
        """Return the mean of pictures (batch, height, width) around each point: (batch, points, points)."""
        return self.down @ picture @ self.across.transpose(1, 2) / self.apart.unsqueeze(2) ** 2

    def write(self, patch: Tensor) -> Tensor:
        """Return pictures (batch, height, width) of patches (batch, points, points), interpolated between points."""
        return self.down.transpose(1, 2) @ patch @ self.across


class Bound(NamedTuple):
    """The two parts of the variational bound on -log p of each picture, in nats (batch,).

    reconstruction: -log p(picture | latent variables). divergence: that of the latent variables from their prior.
    """

    reconstruction: Tensor
    divergence: Tensor


class Explained(NamedTuple):
    """How the encoder explains pictures.

    latents: a sample of the latent variables, (writes, batch, latents). canvas: what the decoder draws from them, as
    logits (batch, height, width). divergence: as in `Bound`.
    """

    latents: Tensor
    canvas: Tensor
    divergence: Tensor


class Drawer(Network):
    """Draws pictures: `decoder` is the deployed half, and `bound` is what is trained."""

    task = "draw"

    def __init__(self, config: DrawConfig) -> None:
        super().__init__()
        if not config.height or bool(config.classes) != config.labels:
            raise ConfigError("a network that draws needs the size of its pictures, and the number of their classes")
        self.config = config
        self.decoder = Decoder(config)
        given = 2 * config.window**2 + config.hidden + self.decoder.asked_size
        self.encoder = RecurrentStack(config.cell, given, config.hidden, 1, layer_norm=config.layer_norm)
        self.read = nn.Linear(config.hidden, 3)
        self.latents = nn.Linear(config.hidden, 2 * config.latents)

    def bound(self, picture: Tensor, label: Tensor, noise: Tensor) -> Bound:
        """Return the bound for binary pictures (batch, height, width), of which `noise` makes one estimate.

        label: int64 (batch,), which a network without labels ignores. noise: standard normal deviates (writes, batch,
        latents).
        """
        explained = self.explain(picture, label, noise)
        lost = nn.functional.binary_cross_entropy_with_logits(explained.canvas.float(), picture, reduction="none")
        return Bound(lost.flatten(1).sum(dim=1), explained.divergence)

    def explain(self, picture: Tensor, label: Tensor, noise: Tensor) -> Explained:
        """Return the latent variables for pictures, and what the decoder makes of them; arguments as for `bound`."""
        decoder, config, batch = self.decoder, self.config, len(picture)
        canvas, step = decoder.blank.expand(batch, -1, -1), picture.new_zeros(batch, 1)
        h, asked = picture.new_zeros(batch, config.hidden), decoder.asked(label)
        state, reader = decoder.stack.initial_state(batch), self.encoder.initial_state(batch)
        divergence, taken = picture.new_zeros(batch), []
        for deviates in noise:
            window = window_at(self.read(h), config)
            missing = picture - torch.sigmoid(canvas)
            seen = [window.read(each).flatten(1) for each in (picture, missing)]
            found, reader = self.encoder.step(torch.cat([*seen, h, *asked], dim=1), reader)
            mean, log_scale = self.latents(found).chunk(2, dim=1)
            scale = torch.exp(log_scale)
            divergence = divergence + (0.5 * (mean**2 + scale**2 - 1.0) - log_scale).sum(dim=1)
            taken.append(mean + scale * deviates)
            h, _, canvas, step, state = decoder.draw(taken[-1], asked, canvas, step, state)
        return Explained(torch.stack(taken), canvas, divergence)

    def graphs(self) -> tuple[Graph, ...]:
        """Return one graph, `step`: from latent variables, drawn by the caller, to the canvas."""
        config, decoder = self.config, self.decoder
        size = (BATCH, config.height, config.width)
        states = (
            StateSpec("canvas", "float32", size, bound=_LARGEST_LOGIT, initial=FromFile(_BLANK)),
            StateSpec("step", "float32", (BATCH, 1), bound=float(config.writes), low=0.0),
        )
        label = ConditionSpec("label", "int64", (BATCH,), bound=config.classes, kind="class") if config.labels else None
        spec = GraphSpec(
            name="step",
            inputs=(TensorSpec("noise", "float32", (BATCH, config.latents), kind="noise"),),
            outputs=(
                TensorSpec("picture", "float32", size, bound=1.0, low=0.0, kind="canvas"),
                TensorSpec("boxes", "float32", (BATCH, 1, 4), kind="boxes"),
            ),
            states=(*states, *decoder.stack.state_specs()),
            conditions=() if label is None else (label,),
        )
        return (Graph(spec, decoder, decoder, tensors={_BLANK: decoder.blank}, exact=("write.weight",)),)


class Decoder(nn.Module):
    """Draws: `forward` is the deployed step. After the last step of a picture, its canvas stays as it is."""

    def __init__(self, config: DrawConfig) -> None:
        super().__init__()
        self.config = config
        self.asked_size = config.latents if config.labels else 0
        self.label = nn.Embedding(config.classes, self.asked_size) if config.labels else None
        given = config.latents + self.asked_size
        self.stack = RecurrentStack(config.cell, given, config.hidden, 1, layer_norm=config.layer_norm)
        self.write = nn.Linear(config.hidden, 3)
        self.patch = nn.Linear(config.hidden, config.window**2)
        self.blank = nn.Parameter(torch.full((config.height, config.width), _DARK))

    def forward(self, noise: Tensor, *given: Tensor) -> tuple[Tensor, ...]:
        """Return the picture so far, from 0 to 1 (batch, height, width), the box of the window, and the next state.

        noise: the latent variables, (batch, latents). given: the label (batch,) of a network with labels; then the
        state: the canvas as logits (batch, height, width), how many steps came before (batch, 1), and that of the cell.
        """
        asked, (canvas, step, *state) = (self.asked(given[0]), given[1:]) if self.label is not None else ([], given)
        _, box, canvas, step, carried = self.draw(noise, asked, canvas, step, tuple(state))
        return torch.sigmoid(canvas), box.unsqueeze(1), canvas, step, *carried

    def draw(
        self, latents: Tensor, asked: list[Tensor], canvas: Tensor, step: Tensor, state: StackState
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, StackState]:
        """Take one step: the hidden state (batch, hidden), the window's box (batch, 4), canvas, step and state."""
        config = self.config
        h, state = self.stack.step(torch.cat([latents, *asked], dim=1), state)
        window = window_at(self.write(h), config)
        patch = self.patch(h).unflatten(1, (config.window, config.window))
        goes_on = torch.clamp(config.writes - step, min=0.0, max=1.0).unsqueeze(2)  # 0 after the last step
        canvas = torch.clamp(canvas + goes_on * window.write(patch), min=-_LARGEST_LOGIT, max=_LARGEST_LOGIT)
        return h, window.box, canvas, torch.clamp(step + 1.0, max=float(config.writes)), state

    def asked(self, label: Tensor) -> list[Tensor]:
        """Return the embedding of labels (batch,), as a list; an empty one for a network without labels."""
        return [] if self.label is None else [self.label(label)]


def window_at(place: Tensor, config: DrawConfig) -> Window:
    """Return windows from unbounded numbers (batch, 3): x and y of the centre, and the size.

    The centre is on the canvas. Neighbouring points are at least a pixel apart; the largest window covers the canvas.
    """
    height, width, points = config.height, config.width, config.window
    x, y = ((torch.tanh(place[:, at : at + 1]) + 1.0) * (size / 2) for at, size in ((0, width), (1, height)))
    furthest = max(_CLOSEST, (max(height, width) - 1) / (points - 1))
    apart = _CLOSEST + (furthest - _CLOSEST) * torch.sigmoid(place[:, 2:])
    half = apart * (points / 2)
    box = torch.cat([x - half, y - half, x + half, y + half], dim=1)
    down, across = window_filters(y, apart, points, height), window_filters(x, apart, points, width)
    return Window(down, across, apart, box)
