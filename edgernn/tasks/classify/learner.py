"""Train a classifier: the loss of the label after the last step, and of the guesses before it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from edgernn.bundle import CHANNELS, LABELS, TOKENIZER
from edgernn.contract import Array
from edgernn.data.batches import Passes, batches_by_length, pad
from edgernn.data.sequences import Example, PackedSequences, SequenceDataset
from edgernn.data.vocabulary import learn_tokenizer
from edgernn.errors import CheckFailedError, CorpusError
from edgernn.media.steps import number_steps, sound_steps
from edgernn.models import Network
from edgernn.models.frontends import scale_front_end
from edgernn.models.source import HeldOut
from edgernn.runtime.pipelines.class_scores import probabilities
from edgernn.tasks.classify.augment import augment, turn
from edgernn.tasks.classify.data import HELD_OUT, TRAIN, open_training
from edgernn.tasks.classify.network import Classifier
from edgernn.tasks.classify.score import ClassifyScore, score_probabilities
from edgernn.tasks.classify.settings import ClassifyConfig, ClassifyData, ClassifyTraining
from edgernn.tasks.labelling import CLIPS
from edgernn.tasks.learner import Learner, Loss, Origin, Placement, Prepared
from edgernn.tasks.score import Progress
from edgernn.tasks.settings import Chosen
from edgernn.tokenizer import Tokenizer

__all__ = ["ClassifyLearner"]

_EVALUATED = 64  # sequences that are evaluated in a batch
_SEQUENCES, _STEPS = 16, 256  # of the held-out data, for the parity gate
_LONG = 200  # rows of the median sequence, from which a step reads several of them
_HOP, _WINDOWS = 8, 4
_TEMPERATURES = np.geomspace(0.25, 8, 61)


class ClassifyLearner(Learner):
    """Trains a Classifier on labelled sequences, and evaluates it on those that are held out."""

    unit = "sequences"
    network: Classifier

    def __init__(
        self, network: Network, prepared: Prepared, folder: Path, placement: Placement, progress: Progress
    ) -> None:
        super().__init__(network, prepared, folder, placement, progress)
        training, config = prepared.chosen.training, prepared.chosen.model
        assert isinstance(training, ClassifyTraining)
        assert isinstance(config, ClassifyConfig)
        self.training, self.config = training, config
        self.classes = tuple(json.loads(prepared.asset(LABELS)))
        self._train, self._held_out = (
            PackedSequences.of_run(folder, name, prepared.record) for name in (TRAIN, HELD_OUT)
        )
        self._lengths, self._held_out_lengths = (
            np.diff(part.ends, prepend=0) for part in (self._train, self._held_out)
        )
        scale_front_end(self.network.front, self._train.values)
        placement.share(training.batch_size)  # raises for a batch that cannot be split evenly
        self.steps_per_pass = math.ceil(len(self._train) / training.batch_size)
        self._passes = Passes(partial(batches_by_length, self._lengths, training.batch_size), training.seed)
        counts = np.bincount(self._train.labels, minlength=config.classes)
        weights = len(self._train) / np.maximum(counts, 1) / config.classes
        self._weights = torch.from_numpy(weights.astype(np.float32)).to(placement.device)

    @classmethod
    def prepare(cls, sources: Sequence[str], chosen: Chosen, folder: Path, progress: Progress) -> Prepared:
        """Read the sequences, learn the vocabulary of texts, and store both parts as packed arrays.

        Raises CorpusError for data that is missing, damaged or too small, ConfigError for settings that do not fit it.
        """
        (source,) = sources
        data, training = chosen.data, chosen.training
        assert isinstance(data, ClassifyData)
        train, held_out = open_training(source, data, training.seed, progress)
        tokenizer = None
        if train.kind == "text":
            tokenizer = learn_tokenizer(data.tokenizer, (f"{each.value}\n" for each in train.examples))
        return _prepared(chosen, folder, train, held_out, tokenizer, drawn=source == CLIPS)

    @classmethod
    def prepare_from(
        cls, sources: Sequence[str], chosen: Chosen, folder: Path, progress: Progress, origin: Origin
    ) -> Prepared:
        """Like `prepare`, with the classes, the channels and the vocabulary of `origin`.

        Raises CorpusError for data of another kind, of other classes or of other channels.
        """
        (source,) = sources
        data, training = chosen.data, chosen.training
        assert isinstance(data, ClassifyData)
        channels = tuple(json.loads(origin.assets[CHANNELS])) if CHANNELS in origin.assets else ()
        train, held_out = open_training(source, data, training.seed, progress, channels)
        classes = tuple(json.loads(origin.assets[LABELS]))
        if train.classes != classes:
            raise CorpusError(f"{source} has other classes than the run {origin.name}, which has {', '.join(classes)}")
        assets = origin.assets
        tokenizer = Tokenizer.from_json(assets[TOKENIZER].decode()) if TOKENIZER in assets else None
        return _prepared(chosen, folder, replace(train, channels=channels), held_out, tokenizer, drawn=source == CLIPS)

    @classmethod
    def build(cls, prepared: Prepared) -> Classifier:
        """Return a new Classifier with the run's configuration, whose front end is scaled as the data needs."""
        config = prepared.chosen.model
        assert isinstance(config, ClassifyConfig)
        return Classifier(config)

    def loss(self, step: int, progress: float) -> Loss:
        """Return the loss of the batch of `step`."""
        sequences, labels, weight = self._batch(step)
        batch = pad(sequences)
        steps, targets = (torch.from_numpy(each).to(self.placement.device) for each in (batch.steps, labels))
        with self.placement.autocast():
            logits = self.network.sequence(steps).float()
        last = _last(logits, batch.lengths)
        class_weights = self._weights if self.training.class_weights else None
        losses = nn.functional.cross_entropy(
            last, targets, class_weights, reduction="none", label_smoothing=self.training.smoothing
        )
        loss = losses.mean()  # weighted classes count by their weights over all batches, not within each of them
        if self.training.running:
            loss = loss + self.training.running * _running_loss(logits, targets, batch.lengths, class_weights)
        figures = {"nats": nn.functional.cross_entropy(last.detach(), targets).item()}
        return Loss(loss, figures, len(labels), weight * len(labels))

    def evaluate(self, network: Network, *, whole: bool = False) -> ClassifyScore:
        """Return the score on the held-out data, after setting the network's temperature to the best one for it.

        Raises CheckFailedError for scores that are not numbers.
        """
        assert isinstance(network, Classifier)
        logits, labels = self._held_out_logits(network), self._held_out.labels
        if not np.isfinite(logits).all():
            raise CheckFailedError("the scores of the classes are not numbers")
        temperature = min(_TEMPERATURES, key=lambda each: _calibration_loss(logits / each, labels))
        network.temperature.fill_(temperature)
        return score_probabilities(probabilities(logits / temperature), labels, self.classes)

    def samples(self, network: Network) -> Mapping[str, str]:
        """Return nothing: the score names the most frequent confusions."""
        return {}

    @torch.no_grad()
    def _held_out_logits(self, network: Classifier) -> Array:
        """Return logits (sequences, classes) after the last step of each held-out sequence."""
        found = np.empty((len(self._held_out), self.config.classes), np.float64)
        order = np.argsort(self._held_out_lengths, kind="stable")
        for begun in range(0, len(order), _EVALUATED):
            places = order[begun : begun + _EVALUATED]
            batch = pad([_steps(self._held_out.sequence(place), self.config) for place in places])
            logits = network.sequence(torch.from_numpy(batch.steps).to(self.placement.device)).float()
            found[places] = _last(logits, batch.lengths).cpu().numpy()
        return found

    def _batch(self, step: int) -> tuple[list[Array], Array, float]:
        """Return this process's sequences of the batch of `step`, as steps, their labels, and their weight.

        They depend only on the seed and the step.
        """
        own, weight = self.placement.part_of(self._passes.batch(*divmod(step, self.steps_per_pass)))
        return [self._varied(step, int(place)) for place in own], self._train.labels[own].astype(np.int64), weight

    def _varied(self, step: int, place: int) -> Array:
        value = self._train.sequence(place)
        if self.training.augment:
            random = np.random.default_rng((self.training.seed, 1, step, place))
            drawn = self.prepared.record["drawn"]
            value = turn(value, random) if drawn else augment(self.config.kind, value, random, self.config.rate)
        return _steps(value, self.config)


def _steps(value: Array, config: ClassifyConfig) -> Array:
    """Return a packed sequence as the steps (steps, ...) that the network reads."""
    if config.kind == "sound":
        return sound_steps(value, config.rate // 100)
    if config.kind == "numbers":
        assert config.hop is not None
        return number_steps(value, config.hop)
    return value.astype(np.int64) if config.kind == "text" else value


def _last(logits: Tensor, lengths: Array) -> Tensor:
    """Return the logits (batch, classes) after the last step of each sequence, from logits (time, batch, classes)."""
    return logits[torch.from_numpy(lengths - 1), torch.arange(len(lengths))]


def _running_loss(logits: Tensor, targets: Tensor, lengths: Array, class_weights: Tensor | None) -> Tensor:
    """Return the mean loss of the guesses after each step; the guesses of each sequence count as much as one."""
    time, batch = logits.shape[:2]
    there = torch.arange(time)[:, None] < torch.from_numpy(lengths)[None, :]
    weights = (there / torch.from_numpy(lengths)[None, :]).to(logits.device)
    losses = nn.functional.cross_entropy(
        logits.flatten(0, 1), targets.expand(time, batch).flatten(), class_weights, reduction="none"
    )
    return (losses.view(time, batch) * weights).sum() / batch


def _calibration_loss(logits: Array, labels: Array) -> float:
    """Return the mean negative log-likelihood of the labels, smoothed by 1 / (sequences + 2).

    Without smoothing, sequences that are all labelled rightly would make any certainty too small (Laplace's rule of
    succession).
    """
    shifted = logits - logits.max(axis=1, keepdims=True)
    logs = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    share = 1 / (len(labels) + 2)
    return float(-((1 - share) * logs[np.arange(len(labels)), labels] + share * logs.mean(axis=1)).mean())


def _prepared(
    chosen: Chosen,
    folder: Path,
    train: SequenceDataset,
    held_out: SequenceDataset,
    tokenizer: Tokenizer | None,
    *,
    drawn: bool,
) -> Prepared:
    """Pack both parts into `folder`, and return what the run stores. drawn: the data are edgernn's own clips."""
    model = chosen.model
    assert isinstance(model, ClassifyConfig)
    if train.kind == "video":
        _check_sizes([*train.examples, *held_out.examples])
    packed = {TRAIN: _values(train, tokenizer), HELD_OUT: _values(held_out, tokenizer)}
    config = _config(model, train, packed[TRAIN], tokenizer)
    record: dict[str, Any] = {
        name: PackedSequences.write(folder, name, values, [example.label for example in part.examples]).to_json()
        for (name, values), part in zip(packed.items(), (train, held_out), strict=True)
    }
    record["drawn"] = drawn
    assets = {LABELS: json.dumps(list(train.classes), ensure_ascii=False).encode()}
    if train.channels:
        assets[CHANNELS] = json.dumps(list(train.channels), ensure_ascii=False).encode()
    if tokenizer is not None:
        assets[TOKENIZER] = tokenizer.to_json().encode()
    # Evenly spaced, since the data may be sorted by class.
    places = np.linspace(0, len(held_out.examples) - 1, min(_SEQUENCES, len(held_out.examples))).astype(int)
    steps = [_steps(packed[HELD_OUT][place], config) for place in places]
    labels = np.array([held_out.examples[place].label for place in places])
    return Prepared(replace(chosen, model=config), record, assets, _gate(steps, labels, config), train.notes)


def _values(dataset: SequenceDataset, tokenizer: Tokenizer | None) -> list[Array]:
    """Return the sequences of a data set as arrays; texts as tokens."""
    values = []
    for each in dataset.examples:
        if isinstance(each.value, str):
            assert tokenizer is not None
            values.append(tokenizer.encode(each.value, unknown="replace").astype(np.int32))
        else:
            values.append(each.value)
    return values


def _config(
    model: ClassifyConfig, train: SequenceDataset, values: Sequence[Array], tokenizer: Tokenizer | None
) -> ClassifyConfig:
    """Return the configuration with what the data decides."""
    sizes: dict[str, Any] = {"kind": train.kind, "classes": len(train.classes), "rate": train.rate or 0}
    if tokenizer is not None:
        sizes["vocabulary"] = len(tokenizer)
    if train.kind == "numbers":
        hop = model.hop or (_HOP if np.median([len(value) for value in values]) >= _LONG else 1)
        sizes |= {"channels": values[0].shape[1], "hop": hop}
        sizes["window"] = model.window or (_WINDOWS * hop if hop > 1 else 1)
    if train.kind == "video":
        sizes["height"], sizes["width"] = values[0].shape[1:3]
    return model.but(**sizes)


def _check_sizes(examples: Sequence[Example]) -> None:
    """Raise CorpusError, which names one, if the frames of clips have several sizes."""
    sizes = {each.value.shape[1:3]: each.name for each in examples if isinstance(each.value, np.ndarray)}
    if len(sizes) > 1:
        one, other = (f"{name} has frames of {width} × {height}" for (height, width), name in [*sizes.items()][:2])
        raise CorpusError(f"{other} pixels, and {one}: bring all clips to one size")


def _gate(steps: Sequence[Array], labels: Array, config: ClassifyConfig) -> HeldOut:
    """Return held-out sequences for the parity gate, each cut or repeated to one number of steps.

    The target is the label after the last step of the sequence itself.
    """
    count = min(_STEPS, max(map(len, steps)))
    cut = np.stack([np.resize(each, (count, *each.shape[1:])) for each in steps])
    targets = np.full((len(steps), count), -1, np.int64)
    for row, each in enumerate(steps):
        targets[row, min(count, len(each)) - 1] = labels[row]
    names = {"sound": "samples", "text": "token", "numbers": "values", "video": "frame"}
    return HeldOut({names[config.kind]: cut}, {"scores": targets})
