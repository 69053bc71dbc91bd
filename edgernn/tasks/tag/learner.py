"""Train a tagger: the loss of the label of every frame."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from edgernn.bundle import LABELS
from edgernn.contract import Array
from edgernn.data.batches import pad
from edgernn.data.frame_labels import UNKNOWN
from edgernn.data.sequences import NUMBERS, SOUND, VIDEO, PackedSequences
from edgernn.data.speech import Recording
from edgernn.errors import CheckFailedError, CorpusError, few
from edgernn.media.steps import followed
from edgernn.models import Network
from edgernn.models.frontends import scale_front_end
from edgernn.models.source import HeldOut
from edgernn.tasks.learner import Learner, Loss, Origin, Placement, Prepared
from edgernn.tasks.score import Progress
from edgernn.tasks.settings import Chosen
from edgernn.tasks.tag.data import (
    HELD_OUT,
    HELD_OUT_LABELS,
    HOPS,
    Clips,
    Excerpts,
    Spoken,
    Tagged,
    TaggedSource,
    TrainingData,
    open_held_out,
    open_training,
)
from edgernn.tasks.tag.network import Tagger
from edgernn.tasks.tag.score import TagScore, score_labels
from edgernn.tasks.tag.settings import TagConfig, TagData, TagTraining

__all__ = ["TagLearner"]

TRAIN, TRAIN_LABELS = "train", "train-labels"
_EVALUATED = 32  # sequences that are evaluated in a batch
_CHUNK = 512  # steps that are evaluated at once
_FITTED = 64  # sequences from which the front end's scaling is computed
_SEQUENCES, _STEPS = 16, 256  # of the held-out data, for the parity gate
_INPUTS = {SOUND: "samples", NUMBERS: "values", VIDEO: "frame"}


class TagLearner(Learner):
    """Trains a Tagger on labelled frames, and evaluates it on those that are held out."""

    unit = "frames"
    network: Tagger

    def __init__(
        self, network: Network, prepared: Prepared, folder: Path, placement: Placement, progress: Progress
    ) -> None:
        super().__init__(network, prepared, folder, placement, progress)
        data, config, training = prepared.chosen.data, prepared.chosen.model, prepared.chosen.training
        assert isinstance(data, TagData)
        assert isinstance(config, TagConfig)
        assert isinstance(training, TagTraining)
        self.training, self.config = training, config
        self.classes = tuple(json.loads(prepared.asset(LABELS)))
        self._source = _open_source(folder, prepared.record, data, config, training)
        self._held_out = open_held_out(folder, prepared.record)
        placement.share(training.batch_size)  # raises for a batch that cannot be split evenly
        self.steps_per_pass = math.ceil(self._source.frames / (training.batch_size * training.excerpt))
        if config.kind != VIDEO:
            random = np.random.default_rng(training.seed)
            rows = np.concatenate([self._source.draw(random).steps for _ in range(_FITTED)])
            scale_front_end(self.network.front, rows.reshape(-1, *rows.shape[2:]))

    @classmethod
    def prepare(cls, sources: Sequence[str], chosen: Chosen, folder: Path, progress: Progress) -> Prepared:
        """Read the data, and store what is trained on and the held-out sequences as packed arrays.

        Raises CorpusError for data that is missing, damaged or too small, ConfigError for settings that do not fit it.
        """
        (source,) = sources
        assert isinstance(chosen.data, TagData)
        return _prepared(chosen, folder, open_training(source, chosen.data, chosen.training.seed, progress))

    @classmethod
    def prepare_from(
        cls, sources: Sequence[str], chosen: Chosen, folder: Path, progress: Progress, origin: Origin
    ) -> Prepared:
        """Like `prepare`. Raises CorpusError for data of other classes than those of `origin` too."""
        prepared = cls.prepare(sources, chosen, folder, progress)
        if prepared.assets != origin.assets:
            classes = few(json.loads(origin.assets[LABELS]))
            raise CorpusError(f"{sources[0]} has other classes than the run {origin.name}, which has {classes}")
        return prepared

    @classmethod
    def build(cls, prepared: Prepared) -> Tagger:
        """Return a new Tagger with the run's configuration."""
        config = prepared.chosen.model
        assert isinstance(config, TagConfig)
        return Tagger(config)

    def loss(self, step: int, progress: float) -> Loss:
        """Return the loss of the batch of `step`."""
        steps, targets = self._batch(step)
        with self.placement.autocast():
            logits, _ = self.network.sequence(steps, self.network.initial_state(steps.shape[1]))
        known = int((targets > UNKNOWN).sum())
        total = nn.functional.cross_entropy(
            logits.float().flatten(0, 1), targets.flatten(), ignore_index=UNKNOWN, reduction="sum"
        )
        loss = total / max(known, 1)
        return Loss(loss, {"nats": loss.item()}, float(known), float(known))

    def evaluate(self, network: Network, *, whole: bool = False) -> TagScore:
        """Return the score on the held-out data. Raises CheckFailedError for scores that are not numbers."""
        assert isinstance(network, Tagger)
        labels, pairs = [each.labels for each in self._held_out], []
        order = sorted(range(len(labels)), key=lambda place: len(labels[place]))
        for begun in range(0, len(order), _EVALUATED):
            places = order[begun : begun + _EVALUATED]
            batch = pad([followed(self._held_out[place].steps, self.config.delay) for place in places])
            best = self._best(network, batch.steps)[self.config.delay :]
            pairs += [(labels[place], best[: len(labels[place]), row]) for row, place in enumerate(places)]
        rate = self.config.rate / (self.config.rate // HOPS) if self.config.kind == SOUND else None
        return score_labels(pairs, self.classes, self.config.delay, rate)

    def samples(self, network: Network) -> Mapping[str, str]:
        """Return nothing: the score names the most frequent confusions."""
        return {}

    @torch.no_grad()
    def _best(self, network: Tagger, steps: Array) -> Array:
        """Return the class with the best score after each of the steps (time, batch, ...): (time, batch)."""
        state, best = network.initial_state(steps.shape[1]), []
        for begun in range(0, len(steps), _CHUNK):
            part = torch.from_numpy(steps[begun : begun + _CHUNK]).to(self.placement.device)
            logits, state = network.sequence(part, state)
            if not torch.isfinite(logits).all():
                raise CheckFailedError("the scores of the classes are not numbers")
            best.append(logits.argmax(dim=-1).cpu().numpy())
        return np.concatenate(best)

    def _batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Return this process's part of the batch of `step`: steps (time, batch, ...) and delayed labels (time, batch).

        It depends only on the seed and the step.
        """
        seed, size, delay = self.training.seed, self.training.batch_size, self.config.delay
        places = range(size)[self.placement.share(size)]
        drawn = [self._source.draw(np.random.default_rng((seed, step, place))) for place in places]
        steps = pad([followed(each.steps, delay) for each in drawn]).steps
        targets = np.full(steps.shape[:2], UNKNOWN, np.int64)
        for row, each in enumerate(drawn):
            targets[delay : delay + len(each.labels), row] = each.labels
        device = self.placement.device
        return torch.from_numpy(steps).to(device), torch.from_numpy(targets).to(device)


def _open_source(
    folder: Path, record: Mapping[str, Any], data: TagData, config: TagConfig, training: TagTraining
) -> TaggedSource:
    """Return what a run trains on."""
    if TRAIN not in record:
        return Clips(data.digits)
    stored = PackedSequences.of_run(folder, TRAIN, record)
    if config.kind == SOUND:
        recordings = [Recording(stored.sequence(place), int(label)) for place, label in enumerate(stored.labels)]
        return Spoken(recordings, config.rate, training.excerpt)
    return Excerpts(stored, PackedSequences.of_run(folder, TRAIN_LABELS, record), training.excerpt)


def _prepared(chosen: Chosen, folder: Path, data: TrainingData) -> Prepared:
    """Pack the data into `folder`, and return what the run stores."""
    config = chosen.model
    assert isinstance(config, TagConfig)
    config = config.but(
        kind=data.kind, classes=len(data.classes), rate=data.rate, window=config.window or 1, **_sizes(data)
    )
    record: dict[str, Any] = {}
    if data.recordings:
        samples, labels = zip(*data.recordings, strict=True)
        record[TRAIN] = PackedSequences.write(folder, TRAIN, samples, labels).to_json()
    for names, sequences in (((TRAIN, TRAIN_LABELS), data.sequences), ((HELD_OUT, HELD_OUT_LABELS), data.held_out)):
        if sequences:
            for name, arrays in zip(names, zip(*sequences, strict=True), strict=True):
                record[name] = PackedSequences.write(folder, name, arrays, [0] * len(arrays)).to_json()
    assets = {LABELS: json.dumps(list(data.classes), ensure_ascii=False).encode()}
    return Prepared(replace(chosen, model=config), record, assets, _gate(data.held_out, config), data.notes)


def _sizes(data: TrainingData) -> dict[str, int]:
    """Return the sizes of frames that a configuration states."""
    shape = data.held_out[0].steps.shape[1:]
    if data.kind == VIDEO:
        return {"height": shape[0], "width": shape[1]}
    return {"channels": shape[1]} if data.kind == NUMBERS else {}


def _gate(sequences: Sequence[Tagged], config: TagConfig) -> HeldOut:
    """Return held-out sequences for the parity gate, each cut, or with steps without a target, to one length."""
    chosen = sequences[:_SEQUENCES]
    count = min(_STEPS, config.delay + max(len(each.labels) for each in chosen))
    steps = np.stack([followed(each.steps[:count], count)[:count] for each in chosen])
    targets = np.full((len(chosen), count), UNKNOWN, np.int64)
    for row, each in enumerate(chosen):
        labels = each.labels[: count - config.delay]
        targets[row, config.delay : config.delay + len(labels)] = labels
    return HeldOut({_INPUTS[config.kind]: steps}, {"scores": targets})
