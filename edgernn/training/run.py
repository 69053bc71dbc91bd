"""A run: the directory of one training. It can be resumed exactly and holds no pickle.

config.json              format, task, model, training and corpus
tokenizer.json
weights.safetensors      the best weights so far: what is evaluated and exported
checkpoint.safetensors   the last state of the training: what is resumed
metrics.jsonl            a line for each evaluation
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

import edgernn
from edgernn import records
from edgernn.atomic import new_directory, replace_file
from edgernn.errors import EdgeRNNError, FormatError, RunError
from edgernn.models import LanguageConfig, LanguageModel
from edgernn.tokenizer import Tokenizer
from edgernn.training.config import TrainingConfig
from edgernn.training.corpus import Corpus

__all__ = ["CONFIG", "FORMAT", "Run"]

FORMAT = 1
CONFIG = "config.json"
TOKENIZER = "tokenizer.json"
WEIGHTS = "weights.safetensors"
CHECKPOINT = "checkpoint.safetensors"
METRICS = "metrics.jsonl"
_METADATA = "edgernn"  # one key, since safetensors keeps no order among several


@dataclass(frozen=True)
class Run:
    """One training and where it is kept."""

    path: Path
    model: LanguageConfig
    training: TrainingConfig
    corpus: dict[str, Any]
    tokenizer: Tokenizer

    @classmethod
    def create(
        cls,
        path: Path,
        model: LanguageConfig,
        training: TrainingConfig,
        corpus: Corpus,
        held_out: str,
        tokenizer: Tokenizer,
        *,
        overwrite: bool = False,
    ) -> Run:
        """Write a new run that has not begun. Raises OutputExistsError where something stands already."""
        about = {
            "name": corpus.name,
            "held_out": held_out,
            "sha256": corpus.sha256,
            "train_chars": len(corpus.train),
            "held_out_chars": len(corpus.held_out),
        }
        config = {
            "format": FORMAT,
            "edgernn": edgernn.__version__,
            "task": LanguageModel.task,
            "model": model.to_json(),
            "training": training.to_json(),
            "corpus": about,
        }
        with new_directory(path, overwrite=overwrite, marker=CONFIG) as directory:
            (directory / CONFIG).write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
            (directory / TOKENIZER).write_text(tokenizer.to_json(), encoding="utf-8")
            (directory / METRICS).touch()
        return cls(path, model, training, about, tokenizer)

    @classmethod
    def load(cls, path: str | Path) -> Run:
        """Read the run at `path`. Raises RunError, which says what is wrong with it."""
        path = Path(path)
        if not (path / CONFIG).is_file():
            raise RunError(f"{path} is not a run: it has no {CONFIG}")
        try:
            config = records.mapping(records.parse((path / CONFIG).read_bytes(), CONFIG), CONFIG)
            if config.get("format") != FORMAT:
                raise FormatError(
                    f"{CONFIG} has format {config.get('format')!r}; this edgernn reads format {FORMAT}: train it again"
                )
            config = records.record(config, CONFIG, {"format", "edgernn", "task", "model", "training", "corpus"})
            return cls(
                path,
                LanguageConfig.from_json(config["model"]),
                TrainingConfig.from_json(config["training"]),
                records.mapping(config["corpus"], "corpus"),
                Tokenizer.from_json((path / TOKENIZER).read_text(encoding="utf-8")),
            )
        except OSError as error:
            raise RunError(f"{path}: {error.filename} cannot be read: {error.strerror}") from None
        except (EdgeRNNError, UnicodeDecodeError) as error:
            raise RunError(f"{path}: {error}") from None

    def network(self) -> LanguageModel:
        """The network with the run's best weights, ready to evaluate or export."""
        model = LanguageModel(self.model)
        tensors, _ = self.read(WEIGHTS)
        load_weights(model, tensors, self.path / WEIGHTS)
        return model.eval()

    def write(self, name: str, tensors: dict[str, Tensor], metadata: dict[str, Any]) -> None:
        """Replace a safetensors file of the run whole; `metadata` is kept in it as JSON."""
        data = safetensors.torch.save(tensors, metadata={_METADATA: json.dumps(metadata)})
        replace_file(self.path / name, data)

    def read(self, name: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors and metadata of a safetensors file of the run. Raises RunError if it is missing or damaged."""
        path = self.path / name
        if not path.is_file():
            raise RunError(f"{path} is missing: the training stopped before its first checkpoint; train it again")
        try:
            with safetensors.safe_open(path, framework="pt") as file:
                metadata = json.loads(file.metadata()[_METADATA])
                return {key: file.get_tensor(key) for key in file.keys()}, metadata  # noqa: SIM118 - not a mapping
        except (safetensors.SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
            raise RunError(f"{path} is damaged: {error}") from None

    def metrics(self) -> list[dict[str, Any]]:
        """The evaluations so far."""
        lines = (self.path / METRICS).read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines]

    def write_metrics(self, lines: list[dict[str, Any]]) -> None:
        """Replace the log of evaluations."""
        replace_file(self.path / METRICS, "".join(json.dumps(line) + "\n" for line in lines).encode())


def load_weights(model: LanguageModel, tensors: dict[str, Tensor], path: Path) -> None:
    """Load `tensors` into `model`. Raises RunError naming the first tensor that does not fit."""
    expected = model.state_dict()
    if missing := sorted(expected.keys() ^ tensors.keys()):
        raise RunError(f"{path} does not fit the run's model: {missing[0]} is in one and not in the other")
    for name, tensor in tensors.items():
        if tensor.shape != expected[name].shape:
            raise RunError(
                f"{path} does not fit the run's model: {name} is {list(tensor.shape)}, not {list(expected[name].shape)}"
            )
    model.load_state_dict(tensors)
