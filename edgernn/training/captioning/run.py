"""The run of a captioner."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from edgernn import records
from edgernn.errors import RunError
from edgernn.tasks.caption.network import CaptionConfig, Captioner
from edgernn.tokenizer import Tokenizer
from edgernn.training.captioning.config import CaptionTraining
from edgernn.training.run import PICTURES, RunDirectory

__all__ = ["CaptionRun", "DataRecord"]


@dataclass(frozen=True)
class DataRecord:
    """What a run history of its pictures.

    source: what the command line was given. train, dev: how many pictures it learns from, and is compared on.
    sha256: of their names and captions.
    """

    source: str
    train: int
    dev: int
    sha256: str

    @classmethod
    def from_json(cls, value: Any) -> DataRecord:
        """Read what `config.json` holds. Raises FormatError for anything else."""
        record = records.construct(cls, value, "the data")
        for text in (record.source, record.sha256):
            records.text(text, "the data")
        for count in (record.train, record.dev):
            records.integer(count, "pictures")
        return record


@dataclass(frozen=True)
class CaptionRun(RunDirectory):
    """One training of a captioner and where it is kept."""

    task = Captioner.task
    figures = ("cider_d", "bleu4")

    path: Path
    model: CaptionConfig
    training: CaptionTraining
    data: DataRecord
    tokenizer: Tokenizer

    @classmethod
    @contextmanager
    def create(
        cls,
        path: Path,
        data: DataRecord,
        tokenizer: Tokenizer,
        model: CaptionConfig,
        training: CaptionTraining,
        *,
        overwrite: bool = False,
    ) -> Iterator[CaptionRun]:
        """Write a new run; the block adds its first files, and the run appears when it ends.

        Raises OutputExistsError where something stands already.
        """
        with cls.new(path, overwrite=overwrite) as directory:
            run = cls(directory, model, training, data, tokenizer)
            run.begin()
            yield run

    def settings(self) -> dict[str, Any]:
        """Model, training and data."""
        return {"model": self.model.to_json(), "training": self.training.to_json(), "data": asdict(self.data)}

    @classmethod
    def from_config(cls, path: Path, config: dict[str, Any], tokenizer: Tokenizer) -> CaptionRun:
        """The run at `path` from its `settings` and tokenizer."""
        config = records.record(config, "config.json", {"model", "training", "data"})
        return cls(
            path,
            CaptionConfig.from_json(config["model"]),
            CaptionTraining.from_json(config["training"]),
            DataRecord.from_json(config["data"]),
            tokenizer,
        )

    def pictures(self) -> dict[str, Tensor]:
        """A few pictures of the splits "train" and "dev", SPLIT.images, with captions, SPLIT.tokens and SPLIT.targets.

        Raises RunError if they are missing or damaged.
        """
        tensors, _ = self.read(PICTURES)
        for split in ("train", "dev"):
            parts = [
                tensors[name] for kind in ("images", "tokens", "targets") if (name := f"{split}.{kind}") in tensors
            ]
            if len(parts) < 3 or len({len(part) for part in parts}) > 1 or not len(parts[0]):
                raise RunError(f"{self.path / PICTURES} is damaged: it lacks pictures of {split}")
        return tensors

    def network(self) -> Captioner:
        """The network with the run's best weights, ready to evaluate or export."""
        model = Captioner(self.model)
        self.load_weights(model)
        return model
