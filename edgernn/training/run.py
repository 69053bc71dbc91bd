"""A run: the directory of one training. It can be resumed exactly and holds no pickle.

config.json              format, task, model, training, corpus, and the digest of the tokenizer
tokenizer.json
weights.safetensors      the best weights so far: what is evaluated and exported
checkpoint.safetensors   the last state of the training: what is resumed
metrics.jsonl            a line for each evaluation
train.tokens             the corpus, encoded once: what is trained on,
held-out.tokens          and what was held out
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

import edgernn
from edgernn import records
from edgernn.atomic import check_free, new_directory, replace_file
from edgernn.errors import ConfigError, CorpusError, EdgeRNNError, FormatError, RunError, TrainingError
from edgernn.models import LanguageConfig, LanguageModel
from edgernn.tokenizer import Tokenizer
from edgernn.training.config import TrainingConfig
from edgernn.training.corpus import Corpus, CorpusRecord
from edgernn.training.tokens import TokenFile

__all__ = ["CHECKPOINT", "FORMAT", "HELD_OUT", "TRAIN", "WEIGHTS", "Run", "check_tensors"]

FORMAT = 1
CONFIG = "config.json"
TOKENIZER = "tokenizer.json"
WEIGHTS = "weights.safetensors"
CHECKPOINT = "checkpoint.safetensors"
METRICS = "metrics.jsonl"
TRAIN = "train.tokens"
HELD_OUT = "held-out.tokens"
_FILES = {CONFIG, TOKENIZER, WEIGHTS, CHECKPOINT, METRICS, TRAIN, HELD_OUT}
_METADATA = "edgernn"  # one key, since safetensors keeps no order among several


@dataclass(frozen=True)
class Run:
    """One training and where it is kept."""

    path: Path
    model: LanguageConfig
    training: TrainingConfig
    corpus: CorpusRecord
    tokenizer: Tokenizer

    @classmethod
    @contextmanager
    def create(
        cls,
        path: Path,
        corpus: Corpus,
        tokenizer: Tokenizer,
        model: LanguageConfig,
        training: TrainingConfig,
        *,
        overwrite: bool = False,
    ) -> Iterator[Run]:
        """Write a new run, the corpus encoded; the block adds its first files, and the run appears when it ends.

        Raises OutputExistsError where something stands already.
        """
        with new_directory(path, overwrite=overwrite, owns=_owns) as directory:
            record = corpus.encode(tokenizer, directory / TRAIN, directory / HELD_OUT)
            run = cls(directory, model, training, record, tokenizer)
            (directory / TOKENIZER).write_bytes(tokenizer.to_json().encode())
            (directory / CONFIG).write_text(json.dumps(run.config(), indent=2) + "\n", encoding="utf-8")
            (directory / METRICS).touch()
            yield run

    def config(self) -> dict[str, Any]:
        """What `config.json` holds."""
        return {
            "format": FORMAT,
            "edgernn": edgernn.__version__,
            "task": LanguageModel.task,
            "model": self.model.to_json(),
            "training": self.training.to_json(),
            "corpus": asdict(self.corpus),
            "tokenizer_sha256": hashlib.sha256(self.tokenizer.to_json().encode()).hexdigest(),
        }

    def tokens(self, name: str) -> TokenFile:
        """The corpus: TRAIN or HELD_OUT. Raises RunError if it is missing or damaged."""
        try:
            tokens = TokenFile(self.path / name, self.model.vocabulary)
        except CorpusError as error:
            raise RunError(str(error)) from None
        expected = self.corpus.train_tokens if name == TRAIN else self.corpus.held_out_tokens
        if len(tokens) != expected:
            raise RunError(f"{self.path / name} has {len(tokens)} tokens, not {expected}: it was cut or changed")
        return tokens

    @staticmethod
    def check_free(path: Path, *, overwrite: bool) -> None:
        """Raise OutputExistsError unless a run may be written at `path`, and ConfigError for an impossible name."""
        try:
            str(path).encode()
        except UnicodeEncodeError:
            raise ConfigError(f"--out {str(path)!r} is not UTF-8") from None
        check_free(path, overwrite=overwrite, owns=_owns)

    @classmethod
    def load(cls, path: str | Path) -> Run:
        """Read the run at `path`. Raises RunError, which says what is wrong with it."""
        path = Path(path)
        if not (path / CONFIG).is_file():
            raise RunError(f"{path} is not a run: it has no {CONFIG}")
        try:
            config = _config((path / CONFIG).read_bytes())
            tokenizer = (path / TOKENIZER).read_bytes()
            if hashlib.sha256(tokenizer).hexdigest() != config["tokenizer_sha256"]:
                raise FormatError(f"{TOKENIZER} was changed: its SHA-256 is not the one in {CONFIG}")
            return cls(
                path,
                LanguageConfig.from_json(config["model"]),
                TrainingConfig.from_json(config["training"]),
                CorpusRecord.from_json(config["corpus"]),
                Tokenizer.from_json(tokenizer.decode()),
            )
        except OSError as error:
            raise RunError(f"{path}: {error.filename} cannot be read: {error.strerror}") from None
        except (EdgeRNNError, UnicodeDecodeError) as error:
            raise RunError(f"{path}: {error}") from None

    def network(self) -> LanguageModel:
        """The network with the run's best weights, ready to evaluate or export."""
        model = LanguageModel(self.model)
        tensors, _ = self.read(WEIGHTS)
        check_tensors(tensors, dict(model.state_dict()), self.path / WEIGHTS)
        model.load_state_dict(tensors)
        return model.eval()

    def write(self, name: str, tensors: dict[str, Tensor], metadata: dict[str, Any]) -> None:
        """Replace a safetensors file of the run whole; `metadata` is kept in it as JSON."""
        data = safetensors.torch.save(tensors, metadata={_METADATA: json.dumps(metadata)})
        self._replace(name, data)

    def read(self, name: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors and metadata of a safetensors file of the run. Raises RunError if it is missing or damaged."""
        path = self.path / name
        if not path.is_file():
            raise RunError(
                f"{path} is missing: the training stopped before its first evaluation; "
                f"go on with: edgernn train language --resume {self.path}"
            )
        try:
            with safetensors.safe_open(path, framework="pt") as file:
                metadata = records.mapping(records.parse(file.metadata()[_METADATA].encode(), name), name)
                return {key: file.get_tensor(key) for key in file.keys()}, metadata  # noqa: SIM118 - not a mapping
        except (safetensors.SafetensorError, OSError, FormatError, KeyError, TypeError) as error:
            raise RunError(f"{path} is damaged: {error}") from None

    def metrics(self) -> list[dict[str, Any]]:
        """The evaluations so far. Raises RunError if the log is damaged."""
        path = self.path / METRICS
        try:
            lines = [records.mapping(records.parse(line, METRICS), METRICS) for line in path.read_bytes().splitlines()]
            for line in lines:
                records.integer(line.get("step"), "step")
                for figure in ("nats_per_char", "train_nats"):
                    records.number(line.get(figure), figure)
        except OSError as error:
            raise RunError(f"{path} cannot be read: {error.strerror}") from None
        except FormatError as error:
            raise RunError(f"{path} is damaged: {error}") from None
        return lines

    def write_metrics(self, lines: list[dict[str, Any]]) -> None:
        """Replace the log of evaluations."""
        self._replace(METRICS, "".join(json.dumps(line) + "\n" for line in lines).encode())

    def clean(self) -> None:
        """Remove what a kill left half-written."""
        for path in self.path.iterdir():
            if path.name not in _FILES and _is_ours(path):
                path.unlink()

    def _replace(self, name: str, data: bytes) -> None:
        try:
            replace_file(self.path / name, data)
        except OSError as error:
            raise TrainingError(
                f"{self.path / name} cannot be written: {error.strerror}; the last good checkpoint is kept: "
                f"make room, then: edgernn train language --resume {self.path}"
            ) from None


def check_tensors(tensors: dict[str, Tensor], expected: dict[str, Tensor], path: Path) -> None:
    """Raise RunError naming the first of `tensors` whose name, shape or type is not that of `expected`."""
    if strangers := sorted(expected.keys() ^ tensors.keys()):
        raise RunError(f"{path} does not fit the run's model: {strangers[0]} is in one and not in the other")
    for name, tensor in sorted(tensors.items()):
        other = expected[name]
        if (tensor.shape, tensor.dtype) != (other.shape, other.dtype):
            raise RunError(
                f"{path} does not fit the run's model: {name} is {tensor.dtype} {list(tensor.shape)}, "
                f"not {other.dtype} {list(other.shape)}"
            )


def _config(data: bytes) -> dict[str, Any]:
    config = records.mapping(records.parse(data, CONFIG), CONFIG)
    version = config.get("format")
    if type(version) is not int or version != FORMAT:
        raise FormatError(f"{CONFIG} has format {version!r}; this edgernn reads format {FORMAT}: train it again")
    keys = {"format", "edgernn", "task", "model", "training", "corpus", "tokenizer_sha256"}
    config = records.record(config, CONFIG, keys)
    if config["task"] != LanguageModel.task:
        raise FormatError(f"{CONFIG} has the task {str(config['task'])[:40]!r}, which this edgernn does not know")
    return config


def _owns(directory: Path) -> bool:
    """Whether every file in `directory` belongs to the run there, in whatever state or version that is."""
    try:
        config = records.mapping(records.parse((directory / CONFIG).read_bytes(), CONFIG), CONFIG)
    except (OSError, FormatError):
        return False
    return {"format", "edgernn", "training"} <= config.keys() and all(_is_ours(path) for path in directory.iterdir())


def _is_ours(path: Path) -> bool:
    """Whether a run has a file of this name, or a kill while it was replaced left one: .NAME.RANDOM."""
    return path.name in _FILES or (path.name.startswith(".") and path.name[1:].rpartition(".")[0] in _FILES)
