"""Score networks that draw: the variational bound on the negative log-likelihood of binary pictures."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from edgernn.contract import Array
from edgernn.data.pictures import HELD_OUT, open_part, part_to_evaluate
from edgernn.data.sequences import PackedSequences
from edgernn.errors import CheckFailedError, ConfigError, CorpusError, counted
from edgernn.runtime import Model
from edgernn.tasks.draw.network import Drawer
from edgernn.tasks.draw.settings import DrawEvaluation
from edgernn.tasks.score import Evaluation, Progress, RunData, note_held_out

__all__ = ["DrawScore", "binary", "evaluate", "score_drawing"]

_BATCH = 500  # pictures that are evaluated together
_BYTE = 255


@dataclass(frozen=True)
class DrawScore:
    """The score of pictures that are explained by a drawing.

    nats: the mean bound on -log p of a binary picture, given its label if the network has labels, from one sample of
    the latent variables; the sum of reconstruction and divergence (see `network.Bound`).
    """

    nats: float
    reconstruction: float
    divergence: float
    count: int

    @property
    def figures(self) -> dict[str, float]:
        """The figures to log, by name."""
        return {"nats": self.nats, "reconstruction": self.reconstruction, "divergence": self.divergence}

    def to_json(self) -> dict[str, Any]:
        """Return the figures as `evaluate --json` prints them."""
        return asdict(self)

    def __str__(self) -> str:
        """Return the figures in words."""
        return (
            f"a bound of {self.nats:.2f} nats a picture: {self.reconstruction:.2f} for the picture, "
            f"{self.divergence:.2f} for the latent variables, on {counted(self.count, 'picture')}"
        )


def binary(images: Array, random: np.random.Generator) -> Array:
    """Return images, bytes, as float32 of 0 and 1: a pixel is 1 with its intensity as probability."""
    return (random.random(images.shape, np.float32) * _BYTE < images).astype(np.float32)


def _ignore(done: float, figures: str) -> None:
    """Ignore the progress."""


def score_drawing(network: Drawer, images: Array, labels: Array, progress: Progress = _ignore) -> DrawScore:
    """Return the score of images, bytes (pictures, height, width), with labels (pictures,).

    The binary pictures are drawn from seed 0, and the latent variables from a fixed seed too.
    Raises CheckFailedError for a bound that is not a number.
    """
    pictures, random = binary(images, np.random.default_rng(0)), np.random.default_rng((0, 1))
    config, device = network.config, next(network.parameters()).device
    found = []
    for begun in range(0, len(images), _BATCH):
        batch = slice(begun, begun + _BATCH)
        noise = random.standard_normal((config.writes, len(pictures[batch]), config.latents), np.float32)
        given = (torch.tensor(each, device=device) for each in (pictures[batch], labels[batch], noise))
        with torch.no_grad():
            found.append(torch.stack(network.bound(*given)).double().cpu().numpy())
        progress(
            min(1.0, (begun + _BATCH) / len(images)), f"{begun + len(pictures[batch]):,} of {len(images):,} pictures"
        )
    reconstruction, divergence = map(float, np.concatenate(found, axis=1).mean(axis=1))
    if not np.isfinite(reconstruction + divergence):
        raise CheckFailedError("the bound is not a number")
    return DrawScore(reconstruction + divergence, reconstruction, divergence, len(images))


def evaluate(model: Model, settings: DrawEvaluation, progress: Progress, own: RunData | None = None) -> Evaluation:
    """Return the score of the network of a run, whose encoder a bundle does not have.

    Without --data, the pictures are those that the run held out. Raises ConfigError for a bundle, CorpusError for data
    that is missing, of another size or of other classes.
    """
    if own is None:
        raise ConfigError(
            "the bound on the likelihood of pictures takes the encoder, which a bundle of a network that draws does "
            "not have: name the run"
        )
    network = own.network()
    assert isinstance(network, Drawer)
    if not settings.data:
        settings.refuse_without_data("split")
        kept = PackedSequences.of_run(own.folder, HELD_OUT, own.record)
        score = score_drawing(network, kept.values, kept.labels, progress)
        return Evaluation(score, [note_held_out(counted(len(kept), "picture"))])
    part, notes = part_to_evaluate(settings.data, settings.split)
    pictures, size = open_part(settings.data, part), (network.config.height, network.config.width)
    if model.labels is not None:
        pictures = pictures.among(model.labels, settings.data)
    if pictures.images.shape[1:] != size:
        raise CorpusError(f"{settings.data} does not have grey pictures of {size[1]} × {size[0]} pixels, as the model")
    return Evaluation(score_drawing(network, pictures.images, pictures.labels, progress), notes)
