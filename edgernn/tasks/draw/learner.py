"""Train a network that draws: the variational bound on the negative log-likelihood of binary pictures."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from edgernn.bundle import LABELS
from edgernn.data.batches import Passes, shuffled
from edgernn.data.pictures import HELD_OUT, TRAIN, Pictures, open_training
from edgernn.data.sequences import PackedSequences
from edgernn.errors import CorpusError
from edgernn.models import Network
from edgernn.models.source import HeldOut
from edgernn.sampling import Generator
from edgernn.tasks.draw.network import Drawer
from edgernn.tasks.draw.score import DrawScore, binary, score_drawing
from edgernn.tasks.draw.settings import DrawConfig, DrawData, DrawTraining
from edgernn.tasks.learner import Learner, Loss, Origin, Placement, Prepared
from edgernn.tasks.score import Progress
from edgernn.tasks.settings import Chosen

__all__ = ["DrawLearner"]

_GATE = 64  # drawings of the parity gate


class DrawLearner(Learner):
    """Trains a Drawer on pictures, and evaluates it on those that are held out."""

    unit = "pictures"
    network: Drawer

    def __init__(
        self, network: Network, prepared: Prepared, folder: Path, placement: Placement, progress: Progress
    ) -> None:
        super().__init__(network, prepared, folder, placement, progress)
        training = prepared.chosen.training
        assert isinstance(training, DrawTraining)
        self.training = training
        self._train, self._held_out = (
            PackedSequences.of_run(folder, name, prepared.record) for name in (TRAIN, HELD_OUT)
        )
        placement.share(training.batch_size)  # raises for a batch that cannot be split evenly
        self.steps_per_pass = math.ceil(len(self._train) / training.batch_size)
        self._passes = Passes(partial(shuffled, len(self._train), training.batch_size), training.seed)

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
    def prepare_from(
        cls, sources: Sequence[str], chosen: Chosen, folder: Path, progress: Progress, origin: Origin
    ) -> Prepared:
        """Like `prepare`. Raises CorpusError for pictures of another size or of other classes than `origin` has."""
        prepared = cls.prepare(sources, chosen, folder, progress)
        if prepared.assets != origin.assets or prepared.chosen.model != chosen.model:
            raise CorpusError(
                f"{sources[0]} has pictures of another size or of other classes than those of the run {origin.name}"
            )
        return prepared

    @classmethod
    def build(cls, prepared: Prepared) -> Drawer:
        """Return a new Drawer with the run's configuration."""
        config = prepared.chosen.model
        assert isinstance(config, DrawConfig)
        return Drawer(config)

    def loss(self, step: int, progress: float) -> Loss:
        """Return the loss of the batch of `step`: each pixel is 1 with its intensity as probability, drawn anew."""
        places, config = self._passes.batch(*divmod(step, self.steps_per_pass)), self.network.config
        random = np.random.default_rng((self.training.seed, 1, step))
        pictures = binary(self._train.values[places], random)
        noise = random.standard_normal((config.writes, len(places), config.latents), np.float32)
        (own, weight), device = self.placement.part_of(np.arange(len(places))), self.placement.device
        given = (pictures[own], self._train.labels[places][own], noise[:, own])
        with self.placement.autocast():
            bound = self.network.bound(*(torch.from_numpy(each).to(device) for each in given))
        lost, divergence = bound.reconstruction.mean(), bound.divergence.float().mean()
        nats = lost + divergence
        return Loss(nats, {"nats": nats.item(), "divergence": divergence.item()}, len(own), weight * len(own))

    def evaluate(self, network: Network, *, whole: bool = False) -> DrawScore:
        """Return the score on the held-out pictures."""
        assert isinstance(network, Drawer)
        return score_drawing(network, self._held_out.values, self._held_out.labels)

    def samples(self, network: Network) -> Mapping[str, str]:
        """Return nothing: pictures are drawn with the bundle."""
        return {}


def _gate(held_out: Pictures, config: DrawConfig) -> HeldOut:
    """Return drawings for the parity gate: deviates of the contract, and the labels of held-out pictures."""
    labels = held_out.labels[:_GATE]
    shape = (len(labels), config.writes, config.latents)
    noise = Generator(0).normal(math.prod(shape)).reshape(shape).astype(np.float32)
    begin = [{"label": labels[at : at + 1]} for at in range(len(labels))] if config.labels else []
    return HeldOut({"noise": noise}, begin=begin)
