"""The interface between a task and the trainer: data, the loss of a batch, evaluation, and samples."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from edgernn.contract import Array
from edgernn.errors import ConfigError, FormatError
from edgernn.models import Network
from edgernn.models.source import HeldOut
from edgernn.tasks.score import Progress, Score
from edgernn.tasks.settings import Chosen, one_cycle

__all__ = ["Learner", "Loss", "Origin", "Placement", "Prepared"]


@dataclass(frozen=True)
class Placement:
    """The device and arithmetic of a process, and its part of every batch.

    process: the index of this process among `processes`, from 0.
    """

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    bfloat16: bool = False
    process: int = 0
    processes: int = 1

    def autocast(self) -> torch.autocast:
        """Return a context in which matrix products run in bfloat16, if the placement uses it."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16)

    def share(self, batch_size: int) -> slice:
        """Return the part of a batch for this process. Raises ConfigError if the batch cannot be split evenly."""
        if batch_size % self.processes:
            raise ConfigError(
                f"a batch of {batch_size} cannot be split evenly between {self.processes} processes: "
                "choose another --batch-size"
            )
        size = batch_size // self.processes
        return slice(self.process * size, (self.process + 1) * size)

    def part_of(self, places: Array) -> tuple[Array, float]:
        """Return the places of a batch for this process, and the weight of its loss.

        The weight is 1, or 0 if the batch has fewer places than there are processes and this process takes one that
        counts in another.
        """
        own = places[self.process :: self.processes]
        return (own, 1.0) if len(own) else (places[:1], 0.0)


@dataclass(frozen=True)
class Prepared:
    """What a run stores of its data.

    chosen: the settings, including those that depend on the data, such as the size of the vocabulary.
    record: the run's record of its data, as plain JSON values, for `config.json`.
    assets: files that bundles include too, by name, such as "tokenizer.json" and "labels.json".
    held_out: sequences that are not used in training, for the parity gate. notes: what the user should know about the
    data when the run begins, such as unknown characters; they are not stored.
    """

    chosen: Chosen
    record: Mapping[str, Any]
    assets: Mapping[str, bytes]
    held_out: HeldOut
    notes: Sequence[str] = ()

    def asset(self, name: str) -> bytes:
        """Return the content of an asset. Raises FormatError if the run has none of this name."""
        if name not in self.assets:
            raise FormatError(f"there is no {name}")
        return self.assets[name]


@dataclass(frozen=True)
class Origin:
    """A run of the same task, from whose weights another run starts.

    name: the run's name in messages. assets: the run's assets, such as the vocabulary. network: with its best weights.
    """

    name: str
    assets: Mapping[str, bytes]
    network: Network


@dataclass(frozen=True)
class Loss:
    """The loss of one batch.

    value: the mean over the batch, which is differentiated. figures: means over the batch, to show and log; the first
    is the loss, which must be finite. examples: the size of the batch, in `Learner.unit`.
    weight: the number of terms of which `value` is the mean. It weights the gradients of several processes.
    """

    value: Tensor
    figures: Mapping[str, float]
    examples: float
    weight: float = 1.0

    def __post_init__(self) -> None:
        assert self.figures, "a loss has at least one figure"
        assert 0 <= self.weight < math.inf, "the weight of a loss is the number of its terms"


class Learner(ABC):
    """A task bound to the data of one run. The trainer owns the loop, the optimizer, checkpoints and processes.

    unit: what `Loss.examples` counts, in the plural, such as "characters". steps_per_pass: optimizer steps in a pass
    over the training data. notes: what the user should know about the data, such as files that were omitted.
    """

    unit: ClassVar[str]
    steps_per_pass: int
    notes: Sequence[str] = ()

    def __init__(
        self, network: Network, prepared: Prepared, folder: Path, placement: Placement, progress: Progress
    ) -> None:
        """Prepare for the first step. network: the network to train, in training mode, on the placement's device.

        folder: where `prepare` wrote the data. progress: called while data is read. Raises CorpusError for data that is
        missing or has changed since `prepare` read it, ConfigError for settings that do not fit it.
        """
        self.network, self.prepared, self.folder, self.placement = network, prepared, folder, placement

    @classmethod
    @abstractmethod
    def prepare(cls, sources: Sequence[str], chosen: Chosen, folder: Path, progress: Progress) -> Prepared:
        """Read the data of a new run, and write what training needs later into the empty directory `folder`.

        Raises CorpusError for data that is missing, damaged or too small, ConfigError for settings that do not fit it.
        """

    @classmethod
    def prepare_from(
        cls, sources: Sequence[str], chosen: Chosen, folder: Path, progress: Progress, origin: Origin
    ) -> Prepared:
        """Like `prepare`, for a run that starts from the weights of `origin` and must have the same assets.

        Override it for a task that learns assets from the data, such as a vocabulary, to take them from `origin`.
        """
        return cls.prepare(sources, chosen, folder, progress)

    @classmethod
    @abstractmethod
    def build(cls, prepared: Prepared) -> Network:
        """Return a new network with the run's configuration, with weights drawn from torch's global generator."""

    def parameter_groups(self, phase: int) -> list[dict[str, Any]]:
        """Return groups of parameters in the format of torch's optimizers, with these additional keys.

        optimizer: "adamw", the default, or "muon". weight_decay: of the group. scale: a factor of the learning rate.
        """
        decay = self.prepared.chosen.training.weight_decay
        parameters = [each for each in self.network.parameters() if each.requires_grad]
        return [
            {"params": [each for each in parameters if each.ndim > 1], "weight_decay": decay},
            {"params": [each for each in parameters if each.ndim <= 1], "weight_decay": 0.0},
        ]

    def phase(self, progress: float) -> int:
        """Return the number of the training phase at `progress`, from 0 to 1; it never decreases.

        The trainer begins each later phase with the averaged weights and a new optimizer.
        """
        return 0

    @property
    def settled(self) -> float:
        """The progress after which all steps are alike: no phase begins and no layer is unfrozen later.

        A training that continues beyond its original end has a progress between this value and 1.
        """
        return 0.0

    def learning_rate(self, progress: float) -> float:
        """Return the learning rate at `progress`, from 0 to 1."""
        training = self.prepared.chosen.training
        return one_cycle(training.learning_rate, progress, training.warmup)

    def average_decay(self, phase: int) -> float:
        """Return the decay of the averaged weights in a phase."""
        return self.prepared.chosen.training.average

    @abstractmethod
    def loss(self, step: int, progress: float) -> Loss:
        """Return the loss of this process's part of the batch of `step`, which depends only on seed and step."""

    @abstractmethod
    def evaluate(self, network: Network, *, whole: bool = False) -> Score:
        """Return the score of `network`, in evaluation mode, on the held-out data.

        whole: evaluate on all of it; otherwise a faster evaluation on a part is allowed.
        """

    @abstractmethod
    def samples(self, network: Network) -> Mapping[str, str]:
        """Return a few outputs of `network`, in evaluation mode, to show to the user and to keep in the run, by name.

        They depend on the weights alone, and draw nothing from torch's global generator.
        """

    def carried(self) -> Mapping[str, Tensor]:
        """Return tensors of this process that are carried from batch to batch and needed to resume training."""
        return {}

    def restore(self, carried: Mapping[str, Tensor]) -> None:
        """Continue from tensors that `carried` returned."""
        assert not carried
