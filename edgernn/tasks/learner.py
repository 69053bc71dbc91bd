"""What a task tells the trainer: its data, the loss of a batch, how a network is scored, what to show."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from edgernn.errors import ConfigError, FormatError
from edgernn.models import Network
from edgernn.models.source import HeldOut
from edgernn.tasks.score import Progress, Score
from edgernn.tasks.settings import Chosen, one_cycle

__all__ = ["Learner", "Loss", "Origin", "Placement", "Prepared"]


@dataclass(frozen=True)
class Placement:
    """Where a process trains: on which device, in which arithmetic, and on which part of every batch.

    process: the number of this process among `processes`, from 0.
    """

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    bfloat16: bool = False
    process: int = 0
    processes: int = 1

    def autocast(self) -> torch.autocast:
        """A context in which matrix products run in bfloat16, if this placement has them."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16)

    def share(self, batch_size: int) -> slice:
        """The part of a batch that this process learns from. Raises ConfigError if it cannot be split evenly."""
        if batch_size % self.processes:
            raise ConfigError(
                f"a batch of {batch_size} cannot be split evenly between {self.processes} processes: "
                "choose another --batch-size"
            )
        size = batch_size // self.processes
        return slice(self.process * size, (self.process + 1) * size)


@dataclass(frozen=True)
class Prepared:
    """What a run keeps of its data.

    chosen: the settings, with everything that the data decided, such as the size of the vocabulary.
    record: what the run remembers of its data, as plain JSON values, for `config.json`.
    assets: files that bundles carry too, by name, such as "tokenizer.json" and "labels.json".
    held_out: sequences that training does not see, for the parity gate. notes: what the user should know of the data
    when the run begins, such as characters that become the unknown token; a run does not keep them.
    """

    chosen: Chosen
    record: Mapping[str, Any]
    assets: Mapping[str, bytes]
    held_out: HeldOut
    notes: Sequence[str] = ()

    def asset(self, name: str) -> bytes:
        """One of the assets. Raises FormatError if the run has none of this name."""
        if name not in self.assets:
            raise FormatError(f"there is no {name}")
        return self.assets[name]


@dataclass(frozen=True)
class Origin:
    """A run of the same task from which another one starts.

    name: what it is called in messages. assets: its assets, such as the vocabulary. network: with its best weights.
    """

    name: str
    assets: Mapping[str, bytes]
    network: Network


@dataclass(frozen=True)
class Loss:
    """The loss of one batch.

    value: the mean over the batch, to be differentiated. figures: means over the batch, to show and log; the first is
    the loss that must be a number. examples: how many the batch had, counted in `Learner.unit`.
    weight: how many terms `value` is the mean of. The gradients of several processes are averaged in proportion.
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
    over the training data. notes: what the user should know of the data, such as files that were left out.
    """

    unit: ClassVar[str]
    steps_per_pass: int
    notes: Sequence[str] = ()

    def __init__(
        self, network: Network, prepared: Prepared, folder: Path, placement: Placement, progress: Progress
    ) -> None:
        """Stand before the first step. network: what learns, in training mode, on the placement's device.

        folder: where `prepare` wrote the data. progress: told while data is read. Raises CorpusError for data that is
        missing or is not what `prepare` read, ConfigError for settings that do not fit it.
        """
        self.network, self.prepared, self.folder, self.placement = network, prepared, folder, placement

    @classmethod
    @abstractmethod
    def prepare(cls, sources: Sequence[str], chosen: Chosen, folder: Path, progress: Progress) -> Prepared:
        """Read the data of a new run, and write what training needs again into `folder`, which exists and is empty.

        Raises CorpusError for data that is missing, damaged or too small, ConfigError for settings that do not fit it.
        """

    @classmethod
    def prepare_from(
        cls, sources: Sequence[str], chosen: Chosen, folder: Path, progress: Progress, origin: Origin
    ) -> Prepared:
        """As `prepare`, for a run that starts from the weights of `origin`: the assets must become those of `origin`.

        A task whose assets are learned from the data, such as a vocabulary, takes those of `origin` here.
        """
        return cls.prepare(sources, chosen, folder, progress)

    @classmethod
    @abstractmethod
    def build(cls, prepared: Prepared) -> Network:
        """A new network of the run's shape, its weights drawn from torch's global generator."""

    def parameter_groups(self, phase: int) -> list[dict[str, Any]]:
        """Groups of parameters, as torch's optimizers take them.

        optimizer: "adamw", the default, or "muon". weight_decay: of the group. scale: multiplies its learning rate.
        """
        decay = self.prepared.chosen.training.weight_decay
        parameters = [each for each in self.network.parameters() if each.requires_grad]
        return [
            {"params": [each for each in parameters if each.ndim > 1], "weight_decay": decay},
            {"params": [each for each in parameters if each.ndim <= 1], "weight_decay": 0.0},
        ]

    def phase(self, progress: float) -> int:
        """The number of the training's phase at `progress`, from 0 to 1; it never falls.

        The trainer begins each later phase from the averaged weights, with a new optimizer.
        """
        return 0

    @property
    def settled(self) -> float:
        """The progress from which on every step is of one kind: no phase begins, and nothing is unfrozen, after it.

        A training that goes on beyond its end stands between it and 1 once more.
        """
        return 0.0

    def learning_rate(self, progress: float) -> float:
        """The learning rate at `progress`, from 0 to 1."""
        training = self.prepared.chosen.training
        return one_cycle(training.learning_rate, progress, training.warmup)

    def average_decay(self, phase: int) -> float:
        """The decay of the averaged weights in a phase."""
        return self.prepared.chosen.training.average

    @abstractmethod
    def loss(self, step: int, progress: float) -> Loss:
        """The loss of this process's part of the batch of `step`, which depends on the seed and on `step` alone."""

    @abstractmethod
    def evaluate(self, network: Network, *, whole: bool = False) -> Score:
        """The score of `network`, in evaluation mode, on the held-out data.

        whole: measure on all of it, where a quicker measurement serves during training.
        """

    @abstractmethod
    def samples(self, network: Network) -> Mapping[str, str]:
        """A few outputs of `network`, in evaluation mode, to look at, by name."""

    def carried(self) -> Mapping[str, Tensor]:
        """Tensors of this process that are carried from batch to batch, and that a resumed training needs."""
        return {}

    def restore(self, carried: Mapping[str, Tensor]) -> None:
        """Go on from what `carried` gave."""
        assert not carried
