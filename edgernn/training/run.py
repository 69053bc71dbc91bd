"""A run: the directory of one training. It can be resumed exactly and holds no pickle.

config.json              format, task, model, training, what it learns from, and the digest of the tokenizer
tokenizer.json
weights.safetensors      the best weights so far: what is evaluated and exported
checkpoint.safetensors   the last state of the training: what is resumed
metrics.jsonl            a line for each evaluation

and of a language model

train.tokens             the corpus, encoded once: what is trained on,
held-out.tokens          and what was held out

and of a captioner

encoder.safetensors      the weights that its encoder began with
pictures.safetensors     a few pictures, by which exports are calibrated and compared
"""

from __future__ import annotations

import hashlib
import json
import shlex
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import safetensors
import safetensors.torch
from torch import Tensor

import edgernn
from edgernn import records
from edgernn.atomic import check_free, new_directory, replace_file
from edgernn.data.corpus import Corpus, CorpusRecord
from edgernn.data.tokens import TokenFile
from edgernn.errors import ConfigError, CorpusError, EdgeRNNError, FormatError, RunError, TrainingError
from edgernn.models import Network
from edgernn.tasks.language.network import LanguageConfig, LanguageModel
from edgernn.tokenizer import Tokenizer
from edgernn.training.config import TrainingConfig
from edgernn.training.schedule import Schedule

__all__ = [
    "CHECKPOINT",
    "ENCODER",
    "FORMAT",
    "HELD_OUT",
    "PICTURES",
    "TRAIN",
    "WEIGHTS",
    "Run",
    "RunDirectory",
    "check_tensors",
    "read_config",
]

FORMAT = 1
CONFIG = "config.json"
TOKENIZER = "tokenizer.json"
WEIGHTS = "weights.safetensors"
CHECKPOINT = "checkpoint.safetensors"
METRICS = "metrics.jsonl"
TRAIN = "train.tokens"
HELD_OUT = "held-out.tokens"
PICTURES = "pictures.safetensors"
ENCODER = "encoder.safetensors"
_FILES = {CONFIG, TOKENIZER, WEIGHTS, CHECKPOINT, METRICS, TRAIN, HELD_OUT, PICTURES, ENCODER}
_COMMON = {"format", "edgernn", "task", "tokenizer_sha256"}  # keys of every config
_METADATA = "edgernn"  # one key, since safetensors keeps no order among several


class RunDirectory(ABC):
    """The files of a run, whatever its task.

    task: what `config.json` calls it. figures: the numbers in each line of its log.
    """

    task: ClassVar[str]
    figures: ClassVar[tuple[str, ...]]
    path: Path
    training: Schedule
    tokenizer: Tokenizer

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """What `config.json` holds of the task itself, by key."""

    @classmethod
    @abstractmethod
    def from_config(cls, path: Path, config: dict[str, Any], tokenizer: Tokenizer) -> Self:
        """The run at `path` from its `settings` and tokenizer. Raises FormatError or ConfigError."""

    @abstractmethod
    def network(self) -> Network:
        """The network with the run's best weights, ready to evaluate or export."""

    def config(self) -> dict[str, Any]:
        """What `config.json` holds."""
        return {
            "format": FORMAT,
            "edgernn": edgernn.__version__,
            "task": self.task,
            **self.settings(),
            "tokenizer_sha256": hashlib.sha256(self.tokenizer.to_json().encode()).hexdigest(),
        }

    def begin(self) -> None:
        """Write the first files."""
        (self.path / TOKENIZER).write_bytes(self.tokenizer.to_json().encode())
        (self.path / CONFIG).write_text(json.dumps(self.config(), indent=2) + "\n", encoding="utf-8")
        (self.path / METRICS).touch()

    @staticmethod
    def check_free(path: Path, *, overwrite: bool) -> None:
        """Raise OutputExistsError unless a run may be written at `path`, and ConfigError for an impossible name."""
        try:
            str(path).encode()
        except UnicodeEncodeError:
            raise ConfigError(f"--out {str(path)!r} is not UTF-8") from None
        check_free(path, overwrite=overwrite, owns=_owns)

    @staticmethod
    @contextmanager
    def new(path: Path, *, overwrite: bool) -> Iterator[Path]:
        """A directory that becomes the run at `path` when the block ends. Raises as `check_free`."""
        with new_directory(path, overwrite=overwrite, owns=_owns) as directory:
            yield directory

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read the run at `path`. Raises RunError, which says what is wrong with it."""
        path = Path(path)
        try:
            config = read_config(path)
            if config["task"] != cls.task:
                raise RunError(f"{path} is a run of {config['task']}, not of {cls.task}")
            tokenizer = (path / TOKENIZER).read_bytes()
            if hashlib.sha256(tokenizer).hexdigest() != config["tokenizer_sha256"]:
                raise FormatError(f"{TOKENIZER} was changed: its SHA-256 is not the one in {CONFIG}")
            settings = {key: value for key, value in config.items() if key not in _COMMON}
            return cls.from_config(path, settings, Tokenizer.from_json(tokenizer.decode()))
        except OSError as error:
            raise RunError(f"{path}: {error.filename} cannot be read: {error.strerror}") from None
        except RunError:
            raise
        except (EdgeRNNError, UnicodeDecodeError) as error:
            raise RunError(f"{path}: {error}") from None

    def load_weights(self, network: Network) -> None:
        """Give the run's best weights to `network`. Raises RunError if they do not fit it."""
        tensors, _ = self.read(WEIGHTS)
        check_tensors(tensors, dict(network.state_dict()), self.path / WEIGHTS)
        network.load_state_dict(tensors)
        network.eval()

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
                f"go on with: edgernn {self.resume}"
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
                for figure in self.figures:
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

    @property
    def resume(self) -> str:
        """The arguments of edgernn that go on with it."""
        return f"train {self.task} --resume {shlex.quote(str(self.path))}"

    def _replace(self, name: str, data: bytes) -> None:
        try:
            replace_file(self.path / name, data)
        except OSError as error:
            raise TrainingError(
                f"{self.path / name} cannot be written: {error.strerror}; the last good checkpoint is kept: "
                f"make room, then: edgernn {self.resume}"
            ) from None


@dataclass(frozen=True)
class Run(RunDirectory):
    """One training of a language model and where it is kept."""

    task = LanguageModel.task
    figures = ("nats_per_char", "train_nats")

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
        with cls.new(path, overwrite=overwrite) as directory:
            record = corpus.encode(tokenizer, directory / TRAIN, directory / HELD_OUT)
            run = cls(directory, model, training, record, tokenizer)
            run.begin()
            yield run

    def settings(self) -> dict[str, Any]:
        """Model, training and corpus."""
        return {"model": self.model.to_json(), "training": self.training.to_json(), "corpus": asdict(self.corpus)}

    @classmethod
    def from_config(cls, path: Path, config: dict[str, Any], tokenizer: Tokenizer) -> Run:
        """The run at `path` from its `settings` and tokenizer."""
        config = records.record(config, CONFIG, {"model", "training", "corpus"})
        return cls(
            path,
            LanguageConfig.from_json(config["model"]),
            TrainingConfig.from_json(config["training"]),
            CorpusRecord.from_json(config["corpus"]),
            tokenizer,
        )

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

    def network(self) -> LanguageModel:
        """The network with the run's best weights, ready to evaluate or export."""
        model = LanguageModel(self.model)
        self.load_weights(model)
        return model


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


def read_config(path: Path) -> dict[str, Any]:
    """What `config.json` of the run at `path` says. Raises RunError if there is none, or of another format."""
    if not (path / CONFIG).is_file():
        raise RunError(f"{path} is not a run: it has no {CONFIG}")
    config = records.mapping(records.parse((path / CONFIG).read_bytes(), CONFIG), CONFIG)
    version = config.get("format")
    if type(version) is not int or version != FORMAT:
        raise FormatError(f"{CONFIG} has format {version!r}; this edgernn reads format {FORMAT}: train it again")
    if missing := sorted(_COMMON - config.keys()):
        raise FormatError(f"{CONFIG} lacks {missing[0]!r}")
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
