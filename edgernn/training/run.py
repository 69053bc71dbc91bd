"""A run: the directory of one training, of any task. It can be resumed exactly and contains no pickle.

config.json              format, task, settings, the record of its data, and digests of its assets; also the later
                         limits with which training continued, and the run that it started from, if any
assets/                  files that bundles include too: tokenizer.json, labels.json
data/                    what the task needs of its data to resume, such as encoded texts
held-out.safetensors     sequences that are not used in training, for the parity gate
weights.safetensors      the best weights so far, which are evaluated and exported
checkpoint.safetensors   the last state of the training, from which it is resumed
start.safetensors        the initial weights, in a run that starts from another one
metrics.jsonl            one line for each evaluation
samples.jsonl            the score and the samples of each evaluation, one line each
cell.py                  the text of the recurrent cell, if it comes from a file of the user; it is never executed
"""

from __future__ import annotations

import errno
import hashlib
import json
import shlex
from collections.abc import Iterable, Iterator, Mapping, Set
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

import edgernn
from edgernn import records
from edgernn.atomic import check_free, new_directory, replace_file
from edgernn.cell_names import UserCell
from edgernn.errors import ConfigError, EdgeRNNError, FormatError, RunError, TrainingError, first_line
from edgernn.models import Network
from edgernn.models.cells.user import path_of, source_text
from edgernn.models.source import HeldOut, Source
from edgernn.paths import CONFIG, Kind, refusal
from edgernn.tasks import TASKS
from edgernn.tasks.learner import Learner, Placement, Prepared
from edgernn.tasks.score import Progress, RunData
from edgernn.tasks.settings import Chosen, TrainingSettings
from edgernn.tasks.task import Task
from edgernn.training.extension import Extension
from edgernn.training.stages import Stage

__all__ = [
    "CHECKPOINT",
    "CONFIG",
    "DATA",
    "FORMAT",
    "METRICS",
    "SAMPLES",
    "START",
    "WEIGHTS",
    "Run",
    "build_network",
    "check_tensors",
    "own_cell",
]

FORMAT = 3
ASSETS = "assets"
DATA = "data"
HELD_OUT = "held-out.safetensors"
WEIGHTS = "weights.safetensors"
CHECKPOINT = "checkpoint.safetensors"
METRICS = "metrics.jsonl"
SAMPLES = "samples.jsonl"
CELL = "cell.py"
START = "start.safetensors"
_FILES = frozenset({CONFIG, HELD_OUT, WEIGHTS, CHECKPOINT, METRICS, SAMPLES, CELL, START})
_KEYS = {"format", "edgernn", "task", "settings", "data", "assets", "files"}
_OPTIONAL_KEYS = {"origin", "extensions"}
_FORMAT_1_FILES = {"tokenizer.json", "train.tokens", "held-out.tokens", "pictures.safetensors", "encoder.safetensors"}
_METADATA = "edgernn"  # a single key, because safetensors does not preserve the order of several


@dataclass(frozen=True)
class Run:
    """One training and its directory.

    origin: the record of the run that it started from; empty if it started from new weights. extensions: the later
    limits with which it continued, in order.
    """

    path: Path
    task: Task
    prepared: Prepared
    origin: Mapping[str, Any] = field(default_factory=dict)
    extensions: tuple[Extension, ...] = ()

    def __repr__(self) -> str:
        return f"<Run {self.path}: {self.task.name}>"

    @classmethod
    @contextmanager
    def create(cls, path: Path, *, overwrite: bool) -> Iterator[Path]:
        """Yield a temporary directory, with an empty `data/` in it, that becomes the run at `path` when the block ends.

        Raises OutputExistsError if `path` exists and cannot be replaced, and ConfigError for an impossible name.
        """
        cls.check_free(path, overwrite=overwrite)
        with new_directory(path, overwrite=overwrite, kind=Kind.RUN, strangers=_strangers) as directory:
            (directory / DATA).mkdir()
            yield directory

    @staticmethod
    def check_free(path: Path, *, overwrite: bool) -> None:
        """Raise OutputExistsError unless a run may be written at `path`, and ConfigError for an impossible name."""
        try:
            str(path).encode()
        except UnicodeEncodeError:
            raise ConfigError(f"the path {str(path)!r} is not UTF-8") from None
        check_free(path, overwrite=overwrite, kind=Kind.RUN, strangers=_strangers)

    def begin(self, start: Mapping[str, Tensor] | None = None) -> None:
        """Write the first files, beside those that the task wrote into `data/`.

        start: the weights that training starts from, in a run that starts from another one.
        """
        prepared = self.prepared
        (self.path / ASSETS).mkdir()
        for name, content in prepared.assets.items():
            (self.path / ASSETS / name).write_bytes(content)
        arrays, about = prepared.held_out.to_arrays()
        self.write(HELD_OUT, {name: torch.from_numpy(array) for name, array in arrays.items()}, about)
        config = {
            "format": FORMAT,
            "edgernn": edgernn.__version__,
            "task": self.task.name,
            "settings": prepared.chosen.to_json(),
            "data": dict(prepared.record),
            "assets": {name: hashlib.sha256(content).hexdigest() for name, content in prepared.assets.items()},
            "files": sorted(each.name for each in (self.path / DATA).iterdir()),
            **({"origin": dict(self.origin)} if self.origin else {}),
        }
        (self.path / CONFIG).write_bytes(_config_bytes(config))
        if (cell := own_cell(prepared.chosen)) is not None:
            (self.path / CELL).write_text(source_text(cell), encoding="utf-8", newline="")
        for name in (METRICS, SAMPLES):
            (self.path / name).touch()
        if start is not None:
            (self.path / START).write_bytes(_tensor_bytes(start, self.origin))

    @classmethod
    def load(cls, path: str | Path) -> Run:
        """Read the run at `path`, of any task. Raises RunError, which says what is wrong with it."""
        path = Path(path)
        try:
            config = _read_config(path)
            task = TASKS.get(records.text(config["task"], "task"))
            if task is None:
                raise RunError(f"{path} is a run of {config['task'][:40]!r}; this edgernn knows {', '.join(TASKS)}")
            assets = {name: _read_asset(path, name, digest) for name, digest in config["assets"].items()}
            chosen = _read_settings(task, config["settings"])
            record = records.mapping(config["data"], "data")
            origin = records.mapping(config.get("origin", {}), "origin")
            extensions = records.items(config.get("extensions", []), "extensions")
            prepared = Prepared(chosen, record, assets, _read_held_out(path))
            return cls(path, task, prepared, origin, tuple(map(Extension.from_json, extensions)))
        except OSError as error:
            raise RunError(f"{path}: {error.filename} cannot be read: {error.strerror}") from None
        except RunError:
            raise
        except EdgeRNNError as error:
            raise RunError(f"{path}: {error}") from None

    @property
    def training(self) -> TrainingSettings:
        """The settings of the training, with its present limits."""
        training = self.prepared.chosen.training
        return training.but(**self.extensions[-1].limits) if self.extensions else training

    def extended(self, extension: Extension) -> Run:
        """Return the run with later limits, which are not written yet."""
        return replace(self, extensions=(*self.extensions, extension))

    def write_extensions(self) -> None:
        """Rewrite the configuration, including the later limits."""
        config = _read_config(self.path)
        config["extensions"] = [each.to_json() for each in self.extensions]
        self._replace(CONFIG, _config_bytes(config))

    def network(self) -> Network:
        """Return the network with the best weights, in evaluation mode.

        Raises RunError if they are missing or do not fit.
        """
        try:
            network = build_network(self.task, self.prepared)
        except ConfigError as error:
            raise RunError(f"{self.path}: {error}") from None
        tensors, _ = self.read(WEIGHTS)
        check_tensors(tensors, dict(network.state_dict()), self.path / WEIGHTS)
        network.load_state_dict(tensors)
        return network.eval()

    @property
    def data(self) -> RunData:
        """The data that the task wrote, with its record, and the network."""
        return RunData(self.prepared.record, self.path / DATA, self.network)

    def source(self) -> Source:
        """What an exporter sees of the run. Raises RunError as `network` does."""
        provenance: dict[str, Any] = {
            "run": self.path.resolve().name,
            "settings": self.prepared.chosen.to_json(),
            "data": dict(self.prepared.record),
        }
        if self.origin:
            provenance["origin"] = dict(self.origin)
        if self.extensions:
            provenance["extensions"] = [each.to_json() for each in self.extensions]
        provenance = {part: _without_folders(values) for part, values in provenance.items()}
        return Source(self.network(), self.prepared.assets, provenance, self.prepared.held_out)

    def write(self, name: str, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
        """Replace a safetensors file of the run atomically, with `metadata` stored as JSON.

        The file is replaced, not rewritten, because a resumed optimizer still maps the old one into memory.
        """
        self._replace(name, _tensor_bytes(tensors, metadata))

    def read(self, name: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return tensors and metadata of a safetensors file of the run. Raises RunError if it is missing or damaged."""
        path = self.path / name
        if not path.is_file():
            raise RunError(
                f"{path} is missing: training has not come to its first evaluation, or the file was removed; "
                f"continue with: edgernn {self.resume}"
            )
        return _read_tensors(path)

    def metrics(self) -> list[dict[str, Any]]:
        """Return the records of all evaluations so far. Raises RunError if the log is damaged."""
        path = self.path / METRICS
        try:
            lines = [records.mapping(records.parse(line, METRICS), METRICS) for line in path.read_bytes().splitlines()]
            for line in lines:
                records.integer(line.get("step"), "step")
                records.number(line.get(self.task.metric), self.task.metric)
        except OSError as error:
            raise RunError(f"{path} cannot be read: {error.strerror}") from None
        except FormatError as error:
            raise RunError(f"{path} is damaged: {error}") from None
        return lines

    def write_metrics(self, lines: list[dict[str, Any]]) -> None:
        """Replace the log of evaluations."""
        self._replace(METRICS, _json_lines(lines))

    def stages(self) -> list[Stage]:
        """Return the score and the samples of each evaluation so far; none of a run that keeps no samples.

        Raises RunError if the file is damaged.
        """
        path = self.path / SAMPLES
        try:
            lines = path.read_bytes().splitlines() if path.exists() else []
            return [Stage.from_json(records.parse(line, SAMPLES)) for line in lines]
        except OSError as error:
            raise RunError(f"{path} cannot be read: {error.strerror}") from None
        except FormatError as error:
            raise RunError(f"{path} is damaged: {error}") from None

    def write_stages(self, stages: Iterable[Stage]) -> None:
        """Replace the scores and samples of the evaluations."""
        self._replace(SAMPLES, _json_lines(stage.to_json() for stage in stages))

    def clean(self) -> None:
        """Remove temporary files that a crash left behind."""
        for path in self.path.iterdir():
            if _is_leftover(path):
                path.unlink()

    @property
    def resume(self) -> str:
        """The arguments of `edgernn` that resume the run.

        Of a run whose cell is in a file of the user that is not loaded, they have FOLDER in place of the file's folder.
        """
        own = own_cell(self.prepared.chosen)
        cell = "" if own is None else f" --cell {shlex.quote(f'{path_of(own)}:{own.kind}')}"
        return f"train {self.task.name} --resume {shlex.quote(str(self.path))}{cell}"

    def _replace(self, name: str, data: bytes) -> None:
        try:
            replace_file(self.path / name, data)
        except OSError as error:
            if not (self.path / CONFIG).exists():  # the directory is temporary, and is removed
                raise
            begun = (self.path / CHECKPOINT).exists()
            kept = "the last good checkpoint is kept" if begun else "training stands at its beginning"
            remedy = "make room" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "mend that"
            raise TrainingError(
                f"{self.path / name} cannot be written: {error.strerror}; {kept}: "
                f"{remedy}, then continue with edgernn {self.resume}"
            ) from None


def own_cell(chosen: Chosen) -> UserCell | None:
    """Return the recurrent cell of a network if it comes from a file of the user."""
    return UserCell.parse(getattr(chosen.model, "cell", ""))


def build_network(task: Task, prepared: Prepared) -> Network:
    """Return a new network with the run's configuration. Raises ConfigError if it does not fit into memory."""
    try:
        return task.learner().build(prepared)
    except RuntimeError as error:  # torch's exception for insufficient memory
        raise ConfigError(f"the model cannot be built: {first_line(error)}") from None


def open_learner(run: Run, placement: Placement, progress: Progress) -> Learner:
    """Return the learner of a run, with a new network.

    Raises what `Learner` raises, ConfigError for an impossible network, RunError if the run's records are damaged.
    """
    torch.manual_seed(run.prepared.chosen.training.seed)
    network = build_network(run.task, run.prepared).to(placement.device)
    try:
        return run.task.learner()(network, run.prepared, run.path / DATA, placement, progress)
    except FormatError as error:
        raise RunError(f"{run.path}: {error}") from None


def check_tensors(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor], path: Path) -> None:
    """Raise RunError, naming the first of `tensors` whose name, shape or type differs from that in `expected`."""
    if strangers := sorted(expected.keys() ^ tensors.keys()):
        raise RunError(f"{path} does not fit the run's model: {strangers[0]} is in one and not in the other")
    for name, tensor in sorted(tensors.items()):
        other = expected[name]
        if (tensor.shape, tensor.dtype) != (other.shape, other.dtype):
            raise RunError(
                f"{path} does not fit the run's model: {name} is {tensor.dtype} {list(tensor.shape)}, "
                f"not {other.dtype} {list(other.shape)}"
            )


def _read_config(path: Path) -> dict[str, Any]:
    if not (path / CONFIG).is_file():
        raise RunError(refusal(path, Kind.RUN))
    config = records.mapping(records.parse((path / CONFIG).read_bytes(), CONFIG), CONFIG)
    version = config.get("format")
    if type(version) is not int or version != FORMAT:
        raise RunError(
            f"{path} is a run of format {version!r}, and this edgernn reads format {FORMAT}: train it again with "
            "this version, or export it with the version that trained it"
        )
    config = records.record(config, CONFIG, _KEYS, _OPTIONAL_KEYS)
    for name, digest in records.mapping(config["assets"], "assets").items():
        records.text(digest, f"the digest of {name}")
        if not name or Path(name).name != name:
            raise FormatError(f"{name[:40]!r} is no name of an asset")
    return config


def _tensor_bytes(tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> bytes:
    each = {key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()}
    return safetensors.torch.save(each, metadata={_METADATA: json.dumps(metadata)})


def _json_lines(lines: Iterable[Mapping[str, Any]]) -> bytes:
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


def _config_bytes(config: Mapping[str, Any]) -> bytes:
    return (json.dumps(config, indent=2) + "\n").encode()


def _read_settings(task: Task, value: Any) -> Chosen:
    return task.chosen_from_json(records.record(value, "settings", {"data", "model", "training"}))


def _read_asset(path: Path, name: str, digest: str) -> bytes:
    try:
        content = (path / ASSETS / name).read_bytes()
    except ValueError:  # a name that no file can have
        raise FormatError(f"{name[:40]!r} is no name of an asset") from None
    if hashlib.sha256(content).hexdigest() != digest:
        raise FormatError(f"{name} was changed: its SHA-256 is not the one in {CONFIG}")
    return content


def _read_held_out(path: Path) -> HeldOut:
    tensors, about = _read_tensors(path / HELD_OUT)
    try:
        return HeldOut.from_arrays({name: tensor.numpy() for name, tensor in tensors.items()}, about)
    except (FormatError, TypeError, ValueError) as error:
        raise RunError(f"{path / HELD_OUT} is damaged: {error}") from None


def _read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = records.mapping(records.parse(file.metadata()[_METADATA].encode(), path.name), path.name)
            return {key: file.get_tensor(key) for key in file.keys()}, metadata  # noqa: SIM118 - not a mapping
    except (safetensors.SafetensorError, OSError, FormatError, KeyError, TypeError) as error:
        raise RunError(f"{path} is damaged: {error}") from None


def _without_folders(value: Any) -> Any:
    """Return JSON values in which paths are reduced to file names, so that bundles do not disclose directories."""
    if isinstance(value, dict):
        return {key: _without_folders(each) for key, each in value.items()}
    return Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value


def _strangers(directory: Path) -> list[str]:
    """The files in `directory` that do not belong to the run there, in whatever state or format it is."""
    known: set[str] = set()
    with suppress(OSError, FormatError, KeyError):
        known = _own_files(records.mapping(records.parse((directory / CONFIG).read_bytes(), CONFIG), CONFIG))
    files = [path for path in directory.rglob("*") if path.is_symlink() or not path.is_dir()]
    found = {path.relative_to(directory).as_posix() for path in files if not _is_leftover(path, known)}
    return sorted(found - known)


def _own_files(config: Mapping[str, Any]) -> set[str]:
    """The files that a run of this configuration may have. Raises FormatError or KeyError where it is no run's."""
    if config.get("format") == 1:
        return {*_FILES, *_FORMAT_1_FILES} if "training" in config else set()
    inside = {f"{ASSETS}/{name}" for name in records.mapping(config["assets"], "assets")}
    inside |= {f"{DATA}/{records.text(name, 'a file')}" for name in records.items(config["files"], "files")}
    return {*_FILES, *inside} if "settings" in config else set()


def _is_leftover(path: Path, names: Set[str] = _FILES) -> bool:
    """Return whether a crash left this temporary file of one of `names` behind: .NAME.RANDOM."""
    return path.name.startswith(".") and path.name[1:].rpartition(".")[0] in names
