"""Train a network that paints: every stroke should reduce the squared error of its canvas as far as it can."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from edgernn.contract import Array
from edgernn.data.photographs import Photographs, open_album
from edgernn.data.pictures import HELD_OUT, TRAIN
from edgernn.data.sequences import PackedSequences
from edgernn.models import Network
from edgernn.models.source import HeldOut
from edgernn.tasks.learner import Loss, Placement, Prepared
from edgernn.tasks.paint.network import Painter, Painting
from edgernn.tasks.paint.score import PaintScore, score_network
from edgernn.tasks.paint.settings import PaintConfig, PaintData, PaintTraining
from edgernn.tasks.pictures import PictureLearner
from edgernn.tasks.score import Progress
from edgernn.tasks.settings import Chosen

__all__ = ["PaintLearner"]

_BYTE = 255.0
_KEPT = 64  # held-out photographs of a run
_GATE = 8  # of them, for the parity gate
_GATE_STROKES = 40
_QUICK = 16  # photographs, and strokes on each, of an evaluation during training
_QUICK_STROKES = 100
_FEWEST = 8.0  # strokes of a painting in training, at least
_EARLIER = 1.5  # above 1, more paintings have few strokes
_NOISE = 0.06  # standard deviation, of colours from 0 to 1
_LEAST = 1e-3  # of the error, whose logarithm is the loss


class PaintLearner(PictureLearner):
    """Trains a Painter on photographs, and evaluates it on those that are held out.

    Each place in a batch has a canvas, which is painted from step to step. After a random number of strokes, which is
    more often small than large, it is replaced by an empty one and another photograph.
    """

    network: Painter
    unit = "strokes"

    def __init__(
        self, network: Network, prepared: Prepared, folder: Path, placement: Placement, progress: Progress
    ) -> None:
        training, config = prepared.chosen.training, prepared.chosen.model
        assert isinstance(training, PaintTraining)
        assert isinstance(config, PaintConfig)
        super().__init__(network, prepared, folder, placement, progress, batch_size=training.batch_size)
        self.training, self._strokes = training, config.strokes
        count, side = training.batch_size // placement.processes, self.train.values.shape[1]
        self._painting = _moved(self.network.begin(count, side), placement.device)
        self._target = torch.zeros(count, side, side, 3, device=placement.device)
        self._ends = torch.zeros(count, 1, device=placement.device)  # strokes after which each painting is replaced

    @classmethod
    def prepare(cls, sources: Sequence[str], chosen: Chosen, folder: Path, progress: Progress) -> Prepared:
        """Read the photographs, and store them as packed arrays.

        Raises CorpusError for data that is missing, damaged or too small.
        """
        (source,) = sources
        data, config, training = chosen.data, chosen.model, chosen.training
        assert isinstance(data, PaintData)
        assert isinstance(config, PaintConfig)
        assert isinstance(training, PaintTraining)
        albums = open_album(source).training(data.held_out, training.seed)
        train = albums[0].read(training.train_side, None, progress)
        held_out = albums[1].read(config.side, _KEPT, progress)
        record = {name: _write(part, folder, name) for name, part in ((TRAIN, train), (HELD_OUT, held_out))}
        notes = [*train.notes, *held_out.notes]
        return Prepared(chosen, record, {}, _gate(held_out.images, config), notes)

    @classmethod
    def build(cls, prepared: Prepared) -> Painter:
        """Return a new Painter with the run's configuration."""
        config = prepared.chosen.model
        assert isinstance(config, PaintConfig)
        return Painter(config)

    def loss(self, step: int, progress: float) -> Loss:
        """Return the loss of some strokes on each canvas: the mean logarithm of the error after each stroke."""
        own = self.placement.share(self.training.batch_size)
        self._replace(step, own)
        target, painting = self._target, self._painting
        mean = target.mean(dim=(1, 2), keepdim=True)
        plain = _error(target, mean) + _LEAST
        errors = []
        with self.placement.autocast():
            for noise in self._noise(step, own):
                _, painting = self.network.paint(target, painting, noise)
                errors.append(_error(target, painting.canvas) / plain)
                painting = painting._replace(canvas=painting.canvas.detach())
        ratios = torch.stack(errors)
        self._painting = painting._replace(cell=tuple(each.detach() for each in painting.cell))
        loss = torch.log(ratios + _LEAST).mean()
        count = ratios.numel()
        return Loss(loss, {"log_error": loss.item(), "ratio": ratios.mean().item()}, count, count)

    def evaluate(self, network: Network, *, whole: bool = False) -> PaintScore:
        """Return the score on the held-out photographs; while training, on a few with fewer strokes."""
        assert isinstance(network, Painter)
        if whole:
            return score_network(network, self.held_out.values, self._strokes)
        return score_network(network, self.held_out.values[:_QUICK], min(_QUICK_STROKES, self._strokes))

    def carried(self) -> Mapping[str, Tensor]:
        """Return the canvases, their photographs, and the states of the network."""
        now = self._painting
        states = {f"cell.{place}": each for place, each in enumerate(now.cell)}
        own = {"canvas": now.canvas, "home": now.home, "step": now.step, "target": self._target, "ends": self._ends}
        return {**own, **states}

    def restore(self, carried: Mapping[str, Tensor]) -> None:
        """Continue with canvases that `carried` returned."""
        given = {name: each.to(self.placement.device) for name, each in carried.items()}
        cell = tuple(given[f"cell.{place}"] for place in range(len(self._painting.cell)))
        self._painting = Painting(given["canvas"], given["home"], given["step"], cell)
        self._target, self._ends = given["target"], given["ends"]

    def _noise(self, step: int, own: slice) -> Tensor:
        """Return noise for the strokes of a step, so that the network learns to ignore small differences."""
        random, points = np.random.default_rng((self.training.seed, 3, step)), self.network.config.points
        shape = (self.training.unroll, self.training.batch_size, points, points, 6)
        noise = _NOISE * random.standard_normal(shape, np.float32)[:, own]
        return torch.from_numpy(noise).to(self.placement.device)

    def _replace(self, step: int, own: slice) -> None:
        """Replace paintings that have all their strokes by empty canvases and other photographs."""
        random, device = np.random.default_rng((self.training.seed, 2, step)), self.placement.device
        size = self.training.batch_size
        places = np.resize(self.passes.batch(*divmod(step, self.steps_per_pass)), size)[own]
        longest = math.log(max(self._strokes / _FEWEST, 1.0))
        ends = (_FEWEST * np.exp(longest * random.random((size, 1)) ** _EARLIER)).astype(np.float32)[own]
        mirrored = (random.random(size) < 0.5)[own]
        fresh = (self._painting.step >= self._ends).cpu().numpy()[:, 0]
        photographs = self.train.values[places[fresh]]
        photographs = np.where(mirrored[fresh][:, None, None, None], photographs[:, :, ::-1], photographs)
        chosen = torch.from_numpy(fresh).to(device)
        self._target[chosen] = torch.from_numpy(photographs).to(device).float() / _BYTE
        self._ends[chosen] = torch.from_numpy(ends[fresh]).to(device)
        empty = _moved(self.network.begin(len(fresh), self._target.shape[1]), device)
        now, row = self._painting, chosen.unsqueeze(1)
        self._painting = Painting(
            torch.where(row.unsqueeze(2).unsqueeze(3), empty.canvas, now.canvas),
            torch.where(row, empty.home, now.home),
            torch.where(row, empty.step, now.step),
            tuple(torch.where(row, new, old) for new, old in zip(empty.cell, now.cell, strict=True)),
        )


def _error(target: Tensor, canvas: Tensor) -> Tensor:
    """Return the mean squared error (batch,) of canvases (batch, height, width, 3)."""
    return ((target - canvas) ** 2).flatten(1).mean(dim=1)


def _moved(painting: Painting, device: torch.device) -> Painting:
    cell = tuple(each.to(device) for each in painting.cell)
    return Painting(painting.canvas.to(device), painting.home.to(device), painting.step.to(device), cell)


def _write(part: Photographs, folder: Path, name: str) -> dict[str, object]:
    """Write photographs as packed sequences of one step, and return the record of them."""
    images = [image[None] for image in part.images]
    return PackedSequences.write(folder, name, images, [0] * len(images)).to_json()


def _gate(held_out: Array, config: PaintConfig) -> HeldOut:
    """Return held-out photographs for the parity gate: each canvas should have no error."""
    photographs = held_out[:_GATE]
    errors = np.zeros((len(photographs), min(_GATE_STROKES, config.strokes), 1), np.float32)
    return HeldOut({}, {"error": errors}, begin=[{"image": each[None]} for each in photographs])
