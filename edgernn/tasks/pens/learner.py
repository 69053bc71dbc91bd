"""Train a network that draws strokes: the negative log-likelihood of the points of drawings."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from edgernn.bundle import STROKES
from edgernn.contract import Array
from edgernn.data.batches import Passes, batches_by_length
from edgernn.data.sequences import PackedSequences
from edgernn.data.strokes import open_training
from edgernn.errors import CorpusError
from edgernn.models import Network
from edgernn.models.source import HeldOut
from edgernn.pens import ENDS, StrokeUnits
from edgernn.tasks.learner import Learner, Loss, Placement, Prepared
from edgernn.tasks.pens.network import PenNetwork, negative_log_likelihood
from edgernn.tasks.pens.score import HELD_OUT, TRAIN, PensScore, as_batch, drawings_of, inputs_of, score_drawings
from edgernn.tasks.pens.settings import PensConfig, PensData, PensTraining
from edgernn.tasks.score import Progress
from edgernn.tasks.settings import Chosen

__all__ = ["PensLearner", "augmented"]

_GATE = 64  # drawings of the parity gate


class PensLearner(Learner):
    """Trains a PenNetwork on drawings, and evaluates it on those that are held out."""

    unit = "points"
    network: PenNetwork

    def __init__(
        self, network: Network, prepared: Prepared, folder: Path, placement: Placement, progress: Progress
    ) -> None:
        super().__init__(network, prepared, folder, placement, progress)
        training, config = prepared.chosen.training, prepared.chosen.model
        assert isinstance(training, PensTraining)
        assert isinstance(config, PensConfig)
        self.training, self.units = training, StrokeUnits(config.scale, config.longest)
        self.train, self.held_out = (
            drawings_of(PackedSequences.of_run(folder, name, prepared.record)) for name in (TRAIN, HELD_OUT)
        )
        placement.share(training.batch_size)  # raises for a batch that cannot be split evenly
        self.steps_per_pass = math.ceil(len(self.train) / training.batch_size)
        lengths = np.array([len(each) for each in self.train])
        self._passes = Passes(partial(batches_by_length, lengths, training.batch_size), training.seed)

    @classmethod
    def prepare(cls, sources: Sequence[str], chosen: Chosen, folder: Path, progress: Progress) -> Prepared:
        """Read or draw the drawings, and store both parts as packed arrays.

        A run that starts from another one has its scale. Raises CorpusError for data that is missing, damaged or too
        small.
        """
        (source,) = sources
        data, model, training = chosen.data, chosen.model, chosen.training
        assert isinstance(data, PensData)
        assert isinstance(model, PensConfig)
        train, held_out = open_training(source, data.held_out, training.seed)
        parts = {TRAIN: train, HELD_OUT: held_out}
        record = {
            name: PackedSequences.write(folder, name, part, [0] * len(part)).to_json() for name, part in parts.items()
        }
        if not model.scale:
            scale = float(np.concatenate(train)[:, :2].std(dtype=np.float64))
            if not scale:
                raise CorpusError(f"{source} has drawings whose points are all in one place")
            model = model.but(scale=scale, longest=max(map(len, (*train, *held_out))))
        units = StrokeUnits(model.scale, model.longest)
        assets = {STROKES: json.dumps(units.to_json()).encode()}
        return Prepared(replace(chosen, model=model), record, assets, _gate(held_out, units.scale))

    @classmethod
    def build(cls, prepared: Prepared) -> PenNetwork:
        """Return a new PenNetwork with the run's configuration."""
        config = prepared.chosen.model
        assert isinstance(config, PensConfig)
        return PenNetwork(config)

    def loss(self, step: int, progress: float) -> Loss:
        """Return the loss of the batch of `step`: the nats of all points and ends, divided by the number of points."""
        places, training = self._passes.batch(*divmod(step, self.steps_per_pass)), self.training
        random = np.random.default_rng((training.seed, 1, step))
        drawings = [augmented(self.train[place], training.stretch, training.drop_points, random) for place in places]
        own, weight = self.placement.part_of(np.arange(len(places)))
        batch = as_batch([drawings[place] for place in own], self.units.scale)
        inputs, targets, there = (torch.from_numpy(each).to(self.placement.device) for each in batch)
        with self.placement.autocast():
            mixture, _ = self.network.sequence(inputs, self.network.stack.initial_state(len(own)))
        wanted = targets[there]
        offset, pen = negative_log_likelihood(mixture[there].float(), wanted)
        count = len(wanted) - len(own)
        lost = (offset * (1 - wanted[:, 2 + ENDS])).sum() / count
        nats = lost + pen.sum() / count
        return Loss(nats, {"nats": nats.item(), "offset": lost.item()}, count, weight * count)

    def evaluate(self, network: Network, *, whole: bool = False) -> PensScore:
        """Return the score on the held-out drawings."""
        assert isinstance(network, PenNetwork)
        return score_drawings(partial(_predict, network), self.held_out, self.units)

    def samples(self, network: Network) -> Mapping[str, str]:
        """Return nothing: a drawing is no text."""
        return {}


@torch.no_grad()
def _predict(network: PenNetwork, points: Array) -> tuple[Array, Array]:
    """Return the mixtures of the next points, with the state of all points before and with none, as `Predict` does."""
    time, batch, _ = points.shape
    rows = torch.from_numpy(points).to(next(network.parameters()).device)
    alone = rows.flatten(0, 1)
    kept, _ = network.sequence(rows, network.stack.initial_state(batch))
    reset, _ = network.sequence(alone[None], network.stack.initial_state(time * batch))
    return kept.float().cpu().numpy(), reset[0].unflatten(0, (time, batch)).float().cpu().numpy()


def augmented(points: Array, stretch: float, drop: float, random: np.random.Generator) -> Array:
    """Return a drawing (points, 3), float64, of another width and height, without some points within its strokes.

    The pen passes by the points that are left out. After Ha and Eck 2018.
    """
    factors = 1 + stretch * (2 * random.random(2) - 1)
    left_out = random.random(len(points)) < drop
    lifts = points[:, 2] == 1
    begins = np.append(True, lifts[:-1])
    keep = ~left_out | lifts | begins
    places = np.cumsum(points[:, :2], axis=0, dtype=np.float64)[keep] * factors
    return np.hstack([np.diff(places, axis=0, prepend=0), points[keep, 2:]])


def _gate(held_out: Sequence[Array], scale: float) -> HeldOut:
    """Return drawings for the parity gate, as many points of each as half of the drawings have."""
    length = int(np.median([len(each) for each in held_out]))
    long = [each for each in held_out if len(each) >= length][:_GATE]
    return HeldOut({"point": np.stack([inputs_of(each, scale)[: length + 1] for each in long])})
