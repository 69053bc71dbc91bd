"""Train a network that draws: the variational bound on the negative log-likelihood of binary pictures."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from edgernn.bundle import LABELS
from edgernn.data.pictures import HELD_OUT, TRAIN, Pictures, open_training
from edgernn.errors import CorpusError
from edgernn.models import Network
from edgernn.models.source import HeldOut
from edgernn.sampling import Generator
from edgernn.tasks.draw.network import Drawer
from edgernn.tasks.draw.score import DrawScore, binary, score_drawing
from edgernn.tasks.draw.settings import DrawConfig, DrawData, DrawTraining
from edgernn.tasks.learner import Loss, Placement, Prepared
from edgernn.tasks.pictures import PictureLearner
from edgernn.tasks.score import Progress
from edgernn.tasks.settings import Chosen

__all__ = ["DrawLearner"]

_GATE = 64  # drawings of the parity gate


class DrawLearner(PictureLearner):
    """Trains a Drawer on pictures, and evaluates it on those that are held out."""

    network: Drawer

    def __init__(
        self, network: Network, prepared: Prepared, folder: Path, placement: Placement, progress: Progress
    ) -> None:
        training = prepared.chosen.training
        assert isinstance(training, DrawTraining)
        self.training = training
        super().__init__(network, prepared, folder, placement, progress, batch_size=training.batch_size)

    @classmethod
    def prepare(cls, sources: Sequence[str], chosen: Chosen, folder: Path, progress: Progress) -> Prepared:
        """Read or draw the pictures, and store both parts as packed arrays.

        Raises CorpusError for data that is missing, damaged, too small, in colour or of two sizes.
        """
        (source,) = sources
        data, model, training = chosen.data, chosen.model, chosen.training
        assert isinstance(data, DrawData)
        assert isinstance(model, DrawConfig)
        train, held_out = open_training(source, data.held_out, training.seed)
        if train.images.ndim > 3:
            raise CorpusError(f"{source} has coloured pictures, and a network learns to draw grey ones: name others")
        if held_out.images.shape[1:] != train.images.shape[1:]:
            raise CorpusError(f"{source} has pictures of two sizes: bring those of all parts to one size")
        record = {name: part.write(folder, name) for name, part in ((TRAIN, train), (HELD_OUT, held_out))}
        height, width = train.images.shape[1:]
        config = model.but(height=height, width=width, classes=len(train.classes) if model.labels else 0)
        assets = {LABELS: json.dumps(list(train.classes), ensure_ascii=False).encode()} if model.labels else {}
        return Prepared(replace(chosen, model=config), record, assets, _gate(held_out, config))

    @classmethod
    def build(cls, prepared: Prepared) -> Drawer:
        """Return a new Drawer with the run's configuration."""
        config = prepared.chosen.model
        assert isinstance(config, DrawConfig)
        return Drawer(config)

    def loss(self, step: int, progress: float) -> Loss:
        """Return the loss of the batch of `step`: each pixel is 1 with its intensity as probability, drawn anew."""
        places, config = self.passes.batch(*divmod(step, self.steps_per_pass)), self.network.config
        random = np.random.default_rng((self.training.seed, 1, step))
        pictures = binary(self.train.values[places], random)
        noise = random.standard_normal((config.writes, len(places), config.latents), np.float32)
        (own, weight), device = self.placement.part_of(np.arange(len(places))), self.placement.device
        given = (pictures[own], self.train.labels[places][own], noise[:, own])
        with self.placement.autocast():
            bound = self.network.bound(*(torch.from_numpy(each).to(device) for each in given))
        lost, divergence = bound.reconstruction.mean(), bound.divergence.float().mean()
        nats = lost + divergence
        return Loss(nats, {"nats": nats.item(), "divergence": divergence.item()}, len(own), weight * len(own))

    def evaluate(self, network: Network, *, whole: bool = False) -> DrawScore:
        """Return the score on the held-out pictures."""
        assert isinstance(network, Drawer)
        return score_drawing(network, self.held_out.values, self.held_out.labels)


def _gate(held_out: Pictures, config: DrawConfig) -> HeldOut:
    """Return drawings for the parity gate: deviates of the contract, and the labels of held-out pictures."""
    labels = held_out.labels[:_GATE]
    shape = (len(labels), config.writes, config.latents)
    noise = Generator(0).normal(math.prod(shape)).reshape(shape).astype(np.float32)
    begin = [{"label": labels[at : at + 1]} for at in range(len(labels))] if config.labels else []
    return HeldOut({"noise": noise}, begin=begin)
