"""Train a network that looks by glimpses: the loss of the guess after the last glimpse, and of those before it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from edgernn.bundle import LABELS
from edgernn.contract import Array
from edgernn.data.pictures import HELD_OUT, TRAIN, Pictures, in_colour, open_training
from edgernn.drawn_names import SCENES
from edgernn.errors import ConfigError, CorpusError
from edgernn.models import Network
from edgernn.models.source import HeldOut
from edgernn.runtime.pipelines.class_scores import probabilities
from edgernn.tasks.glimpse.data import Canvas, coloured, vary
from edgernn.tasks.glimpse.network import Glimpser
from edgernn.tasks.glimpse.score import GlimpseScore, score_glimpses
from edgernn.tasks.glimpse.settings import (
    CROP,
    REINFORCE,
    GlimpseConfig,
    GlimpseData,
    GlimpseEvaluation,
    GlimpseTraining,
)
from edgernn.tasks.learner import Loss, Placement, Prepared
from edgernn.tasks.pictures import PictureLearner
from edgernn.tasks.score import Progress
from edgernn.tasks.settings import Chosen

__all__ = ["GlimpseLearner", "reinforced"]

_EVALUATED = 500  # pictures that are evaluated in a batch
_GATE = 64  # held-out pictures, for the parity gate
_SPREAD = 0.5  # of the training, in which pictures on a canvas come to lie anywhere on it


class GlimpseLearner(PictureLearner):
    """Trains a Glimpser on labelled pictures, and evaluates it on those that are held out."""

    network: Glimpser

    def __init__(
        self, network: Network, prepared: Prepared, folder: Path, placement: Placement, progress: Progress
    ) -> None:
        training, data = prepared.chosen.training, prepared.chosen.data
        assert isinstance(training, GlimpseTraining)
        assert isinstance(data, GlimpseData)
        self.training, self._canvas = training, _canvas(data)
        own = placement.share(training.batch_size)
        if training.places != CROP and own.stop - own.start < 2:
            raise ConfigError(
                f"--places {training.places} compares the pictures of a batch, of which each process needs two: give a "
                "larger --batch-size"
            )
        super().__init__(network, prepared, folder, placement, progress, batch_size=training.batch_size)

    @classmethod
    def prepare(cls, sources: Sequence[str], chosen: Chosen, folder: Path, progress: Progress) -> Prepared:
        """Read or draw the pictures, and store both parts as packed arrays; those that are held out on their canvas.

        Raises CorpusError for data that is missing, damaged, too small or of one class, ConfigError for settings that
        do not fit it or each other.
        """
        (source,) = sources
        data, model, training = chosen.data, chosen.model, chosen.training
        assert isinstance(data, GlimpseData)
        assert isinstance(model, GlimpseConfig)
        assert isinstance(training, GlimpseTraining)
        if training.places == CROP and training.exploration != GlimpseTraining().exploration:
            raise ConfigError("--exploration is of glimpses at random places: choose --places reinforce or both")
        if data.canvas is not None and source == SCENES:  # refused before all of them are drawn
            raise coloured(source)
        train, held_out = open_training(source, data.held_out, training.seed)
        if len(found := np.unique(train.labels)) < 2:
            raise CorpusError(f"{source} has one class to train on, {train.classes[found[0]]}: two are needed")
        canvas = _canvas(data)
        if canvas is not None:
            canvas.check(train.images, source)
            placed = canvas.place(held_out.images, train.images, np.random.default_rng((training.seed, 1)))
            held_out = held_out._replace(images=placed)
        if held_out.images.shape[1:] != (train.images.shape[1:] if canvas is None else (canvas.side, canvas.side)):
            raise CorpusError(f"{source} has pictures of two sizes: bring those of all parts to one size")
        record = {name: part.write(folder, name) for name, part in ((TRAIN, train), (HELD_OUT, held_out))}
        height, width = held_out.images.shape[1:3]
        channels = held_out.images.shape[3] if held_out.images.ndim > 3 else 1
        config = model.but(height=height, width=width, channels=channels, classes=len(train.classes))
        assets = {LABELS: json.dumps(list(train.classes), ensure_ascii=False).encode()}
        return Prepared(replace(chosen, model=config), record, assets, _gate(held_out, config))

    @classmethod
    def build(cls, prepared: Prepared) -> Glimpser:
        """Return a new Glimpser with the run's configuration."""
        config = prepared.chosen.model
        assert isinstance(config, GlimpseConfig)
        return Glimpser(config)

    @property
    def settled(self) -> float:
        """The progress after which pictures lie anywhere on their canvas."""
        return 0.0 if self._canvas is None else _SPREAD

    def loss(self, step: int, progress: float) -> Loss:
        """Return the loss of the batch of `step`."""
        places = self.passes.batch(*divmod(step, self.steps_per_pass))
        random = np.random.default_rng((self.training.seed, 2, step))
        images, labels = self._pictures(places, random, progress), self.train.labels[places]
        (own, weight), device = self.placement.part_of(np.arange(len(places))), self.placement.device
        pixels, targets = (torch.from_numpy(each[own]).to(device) for each in (in_colour(images), labels))
        tried = self._trials(len(places), random)
        trials = None if tried is None else torch.from_numpy(tried[:, own]).to(device)
        with self.placement.autocast():
            scores, chosen = self.network.explore(pixels, trials, follows_crop=self.training.places != REINFORCE)
        losses = nn.functional.cross_entropy(
            scores.float().flatten(0, 1),
            targets.repeat(len(scores)),
            reduction="none",
            label_smoothing=self.training.smoothing,
        ).unflatten(0, (len(scores), len(own)))
        weights = self._weights(losses)
        loss = (losses * weights).sum(dim=0).mean()
        if trials is not None:
            loss = loss + reinforced(losses.detach(), weights, chosen.float(), trials, self.training.exploration)
        return Loss(loss, {"nats": losses[-1].mean().item()}, len(own), weight * len(own))

    def _weights(self, losses: Tensor) -> Tensor:
        """Return the weight of the loss after each glimpse, (glimpses, 1)."""
        weights = losses.new_full((len(losses), 1), self.training.running / max(1, len(losses) - 1))
        weights[-1] = 1.0
        return weights

    def _trials(self, batch: int, random: np.random.Generator) -> Array | None:
        """Return what is added to the places of a batch, (glimpses, batch, 2), or None with `--places crop`."""
        if self.training.places == CROP:
            return None
        trials = random.standard_normal((self.network.config.glimpses, batch, 2), np.float32)
        return trials * np.float32(self.training.exploration)

    def evaluate(self, network: Network, *, whole: bool = False) -> GlimpseScore:
        """Return the score on the held-out pictures."""
        assert isinstance(network, Glimpser)
        found = []
        for begun in range(0, len(self.held_out), _EVALUATED):
            images = in_colour(self.held_out.values[begun : begun + _EVALUATED])
            with torch.no_grad():
                found.append(network.sequence(torch.from_numpy(images).to(self.placement.device)).float().cpu().numpy())
        scores = np.concatenate(found, axis=1)
        return score_glimpses(probabilities(scores), self.held_out.labels, GlimpseEvaluation().certainty)

    def _pictures(self, places: Array, random: np.random.Generator, progress: float) -> Array:
        """Return training pictures as the network sees them: varied, and on their canvas.

        At first they lie in the middle: a network that finds none of the digits gets no gradient by which to move its
        glimpses.
        """
        images = self.train.values[places]
        if self.training.augment:
            images = vary(images, random, self.training.bend)
        if self._canvas is None:
            return images
        return self._canvas.place(images, self.train.values, random, min(1.0, progress / _SPREAD))


def reinforced(losses: Tensor, weights: Tensor, chosen: Tensor, trials: Tensor, deviation: float) -> Tensor:
    """Return a loss whose gradient is that of REINFORCE (Williams 1992) for places that were drawn at random.

    losses: after each glimpse, without a gradient, (glimpses, batch). weights: of these in the loss, (glimpses, 1).
    chosen: the places that the network chose, (glimpses, batch, 2). trials: what was added to them, of the same shape,
    normally distributed with this standard deviation. A place answers for the losses from its own glimpse on. Two
    baselines lower the variance: the loss before its glimpse is subtracted from each of these losses, and then the mean
    over the batch from their sum.
    """
    apart = (chosen.detach() + trials - chosen) / deviation
    densities = -0.5 * apart.square().sum(dim=2)  # their logarithms, up to a constant
    following = (losses * weights).flip(0).cumsum(0).flip(0)
    unchanged = torch.cat([torch.zeros_like(losses[:1]), losses[:-1]]) * weights.flip(0).cumsum(0).flip(0)
    costs = following - unchanged
    return ((costs - costs.mean(dim=1, keepdim=True)) * densities).sum(dim=0).mean()


def _canvas(data: GlimpseData) -> Canvas | None:
    """Return the canvas on which pictures are placed. Raises ConfigError for clutter without one."""
    if data.canvas is not None:
        return Canvas(data.canvas, data.clutter)
    if data.clutter:
        raise ConfigError("--clutter lies on a canvas that is larger than the pictures: give its side with --canvas")
    return None


def _gate(held_out: Pictures, config: GlimpseConfig) -> HeldOut:
    """Return held-out pictures for the parity gate, each with its label after every glimpse."""
    labels = held_out.labels[:_GATE]
    begin = [{"image": image[None]} for image in in_colour(held_out.images[:_GATE])]
    return HeldOut({}, {"scores": np.repeat(labels[:, None], config.glimpses, axis=1)}, begin)
