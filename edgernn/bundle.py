"""A bundle: a directory that can be deployed, written atomically and checked when it is loaded.

bundle.json      the manifest: format, task, target, precision, contract, files, provenance, parity
step.onnx, …     one file per graph, named after the graph
golden/…         recorded steps of the source, with which a runtime checks itself (see `runtime.golden`)
tokenizer.json   in bundles of tasks that read or write text; tokenizer.GRAPH.json for a graph with another vocabulary
labels.json      in bundles of classifiers and taggers: the names of the classes, in order
channels.json    in bundles that read numbers whose channels have names: the names, in order
strokes.json     in bundles that draw strokes: the unit of their points, and the length of a drawing
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any

from edgernn import records
from edgernn.atomic import new_directory
from edgernn.contract import BATCH, Contract, FromFile, StateSpec, contract_from_json, contract_to_json
from edgernn.errors import BundleError, ContractError, FormatError
from edgernn.paths import MANIFEST, Kind, refusal
from edgernn.pens import StrokeUnits
from edgernn.tokenizer import Tokenizer

__all__ = [
    "CHANNELS",
    "FORMAT",
    "LABELS",
    "MANIFEST",
    "STROKES",
    "TOKENIZER",
    "Bundle",
    "Manifest",
    "check_labels",
    "check_text",
    "new_bundle",
    "tokenizer_file",
]

FORMAT = 1
TOKENIZER = "tokenizer.json"
LABELS = "labels.json"
CHANNELS = "channels.json"
STROKES = "strokes.json"
_MANIFEST_LIMIT = 4 << 20  # bytes; real manifests are far smaller
_FILES_LIMIT = 1000
_FILE = re.compile(r"(?=.{1,200}$)\w[\w.-]*(/\w[\w.-]*)*", re.ASCII)
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Manifest:
    """The content of `bundle.json`, except the list of files.

    task: the name of the task, such as "language". target: such as "onnx". precision: such as "fp32".
    digest: SHA-256 of the source weights and the contract; all bundles that were exported from one run have the same.
    graphs: the file name of each graph, by graph name.
    provenance, parity, weights: records for people and tools, which the runtime does not read. `weights` records how
    each weight matrix is stored where the precision is not the source's.
    golden: the steps of each graph that the golden vectors hold (see `runtime.golden`).
    """

    task: str
    target: str
    precision: str
    digest: str
    contract: Contract
    graphs: Mapping[str, str]
    provenance: Mapping[str, Any]
    parity: Mapping[str, Any]
    weights: Mapping[str, Any] = field(default_factory=dict)
    golden: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not _DIGEST.fullmatch(self.digest):
            raise FormatError(f"digest {self.digest!r} is not a SHA-256")
        names = {graph.name for graph in self.contract.graphs}
        if names != set(self.graphs):
            raise FormatError("the graphs that have files are not those of the contract")

    @property
    def title(self) -> str:
        """Task, target, precision and the beginning of the digest, as in "language onnx fp32 4d5363ea"."""
        return f"{self.task} {self.target} {self.precision} {self.digest[:8]}"

    def __repr__(self) -> str:
        return f"<Manifest {self.title}: {self.contract!r}>"

    @property
    def needed(self) -> set[str]:
        """The names of the files without which the bundle cannot run."""
        states = [spec for graph in self.contract.graphs for spec in graph.states]
        return {*self.graphs.values(), *(_initial_files(states))}

    def to_json(self) -> dict[str, Any]:
        """Return the manifest as plain JSON values."""
        return {
            "format": FORMAT,
            "task": self.task,
            "target": self.target,
            "precision": self.precision,
            "digest": self.digest,
            "contract": contract_to_json(self.contract),
            "graphs": dict(self.graphs),
            "provenance": dict(self.provenance),
            "parity": dict(self.parity),
            "weights": dict(self.weights),
            "golden": dict(self.golden),
        }


@dataclass(frozen=True)
class Bundle:
    """A bundle in memory, whose files have all been checked against the manifest."""

    manifest: Manifest
    files: Mapping[str, bytes]

    @classmethod
    def load(cls, path: str | Path) -> Bundle:
        """Read and check the bundle at `path`.

        Raises BundleError for a missing or changed file, a file path that leaves the directory, an unknown format
        version, or a malformed manifest.
        """
        root = Path(path)
        try:
            manifest, sizes = _parse(_read_manifest(root))
            files = {name: _read_file(root, name, *expected) for name, expected in sizes.items()}
        except (FormatError, ContractError) as error:
            raise BundleError(f"{root}: {error}") from None
        except OSError as error:
            raise BundleError(f"{root}: cannot be read: {error.strerror}") from None
        if missing := sorted(manifest.needed - files.keys()):
            raise BundleError(f"{root}: {MANIFEST} does not list {', '.join(missing)}")
        return cls(manifest, files)

    def __repr__(self) -> str:
        return (
            f"<Bundle {self.manifest.title}: {len(self.files):,} files, {sum(map(len, self.files.values())):,} bytes>"
        )

    def graph(self, name: str) -> bytes:
        """Return the content of the file of graph `name`."""
        return self.files[self.manifest.graphs[name]]

    def tokenizer(self, graph: str | None = None) -> Tokenizer | None:
        """Return the bundle's tokenizer, or None for a task without text.

        graph: return the tokenizer that this graph alone has, or None if it has none of its own.
        Raises BundleError or TokenizerError for a damaged tokenizer.
        """
        file = TOKENIZER if graph is None else tokenizer_file(graph)
        data = self.files.get(file)
        if data is None:
            return None
        try:
            return Tokenizer.from_json(data.decode("utf-8"))
        except UnicodeDecodeError:
            raise BundleError(f"{file} is not UTF-8") from None

    def labels(self) -> tuple[str, ...] | None:
        """Return the names of the classes that the bundle distinguishes, in order, or None for a task without classes.

        Raises BundleError for a damaged list.
        """
        return self._names(LABELS)

    def channels(self) -> tuple[str, ...] | None:
        """Return the names of the channels of the numbers that the bundle reads, in order, or None if they have none.

        Raises BundleError for a damaged list.
        """
        return self._names(CHANNELS)

    def strokes(self) -> StrokeUnits | None:
        """Return the units of the strokes that the bundle draws, or None for another task.

        Raises BundleError for a damaged record.
        """
        data = self.files.get(STROKES)
        if data is None:
            return None
        try:
            return StrokeUnits.from_json(records.parse(data, STROKES))
        except FormatError as error:
            raise BundleError(str(error)) from None

    def _names(self, file: str) -> tuple[str, ...] | None:
        data = self.files.get(file)
        if data is None:
            return None
        try:
            names = tuple(records.text(name, file) for name in records.items(records.parse(data, file), file))
        except FormatError as error:
            raise BundleError(str(error)) from None
        if not names or "" in names or len(set(names)) < len(names) or not all(map(str.isprintable, names)):
            raise BundleError(f"{file} is not a list of different names that can be printed")
        return names


def tokenizer_file(graph: str) -> str:
    """Return the name of the tokenizer of a graph whose vocabulary is not that of the other graphs."""
    return f"tokenizer.{graph}.json"


def check_text(contract: Contract, tokenizer: Tokenizer, own: Mapping[str, Tokenizer] = MappingProxyType({})) -> None:
    """Raise ContractError unless the graphs read and predict tokens of `tokenizer`, one per stream and step.

    own: the tokenizers of graphs that have another one. Tensors are found by kind. For a bundle whose tensors declare
    no kind, call `contract.with_kinds` first.
    """
    for graph in contract.graphs:
        vocabulary = len(own.get(graph.name, tokenizer))
        for tensor in graph.inputs:
            if tensor.kind == "token" and (tensor.axes, tensor.bound) != ((BATCH,), vocabulary):
                raise ContractError(
                    f"graph {graph.name} does not read the {vocabulary} tokens of the tokenizer: its input "
                    f"{tensor.name} needs the axes ({BATCH}) and the bound {vocabulary}"
                )
        for tensor in graph.outputs:
            if tensor.kind == "next-token" and tensor.axes != (BATCH, vocabulary):
                raise ContractError(
                    f"graph {graph.name} does not predict the {vocabulary} tokens of the tokenizer: its output "
                    f"{tensor.name} needs the axes ({BATCH}, {vocabulary})"
                )


def check_labels(contract: Contract, labels: Sequence[str]) -> None:
    """Raise ContractError unless tensors of the kinds label and class have one class for each of the names `labels`."""
    for graph in contract.graphs:
        for tensor in graph.outputs:
            if tensor.kind == "label" and tensor.axes[-1:] != (len(labels),):
                raise ContractError(
                    f"graph {graph.name} has scores {tensor.name} of axes {list(tensor.axes)}, and {LABELS} names "
                    f"{len(labels)} classes"
                )
        for given in (*graph.inputs, *graph.conditions):
            if given.kind == "class" and given.bound != len(labels):
                raise ContractError(
                    f"graph {graph.name} has classes {given.name} below {given.bound}, and {LABELS} names {len(labels)}"
                )


@contextmanager
def new_bundle(path: str | Path, *, overwrite: bool = False) -> Iterator[BundleWriter]:
    """Yield a writer for a new bundle, which is moved to `path` when the block ends after a call of its `finish`.

    Raises OutputExistsError where `path` exists (see `atomic.new_directory`), and BundleError if `finish` was not
    called.
    """
    with new_directory(Path(path), overwrite=overwrite, kind=Kind.BUNDLE, strangers=_strangers) as directory:
        writer = BundleWriter(directory)
        yield writer
        if not (directory / MANIFEST).is_file():
            raise BundleError(f"{path}: the bundle was not finished")


@dataclass(frozen=True)
class BundleWriter:
    """Writes a bundle into a temporary directory."""

    directory: Path

    def finish(self, manifest: Manifest) -> None:
        """Write the manifest, with the size and digest of every file that is in the directory now."""
        names = sorted(p.relative_to(self.directory).as_posix() for p in self.directory.rglob("*") if p.is_file())
        files = {name: _file_record((self.directory / name).read_bytes()) for name in names}
        text = json.dumps({**manifest.to_json(), "files": files}, indent=2, ensure_ascii=False)
        (self.directory / MANIFEST).write_text(text + "\n", encoding="utf-8")


def _strangers(directory: Path) -> list[str]:
    """The files in `directory` that do not belong to the bundle there, in whatever state or version that is."""
    known: set[str] = set()
    with suppress(BundleError, FormatError, KeyError, OSError):
        manifest = records.mapping(records.parse(_read_manifest(directory), MANIFEST), MANIFEST)
        known = {MANIFEST, *records.mapping(manifest["files"], "files")} if "contract" in manifest else known
    files = [path for path in directory.rglob("*") if path.is_symlink() or not path.is_dir()]
    found = {path.relative_to(directory).as_posix() for path in files}
    return sorted(found - known)


def _read_manifest(root: Path) -> bytes:
    path = root / MANIFEST
    if not path.is_file():
        raise BundleError(refusal(root, Kind.BUNDLE))
    if path.stat().st_size > _MANIFEST_LIMIT:
        raise BundleError(f"{root}: {MANIFEST} is larger than {_MANIFEST_LIMIT} bytes")
    return path.read_bytes()


def _parse(data: bytes) -> tuple[Manifest, dict[str, tuple[int, str]]]:
    """Return the manifest, and the size and digest of each file."""
    values = records.mapping(records.parse(data, MANIFEST), MANIFEST)
    version = values.get("format")
    if type(version) is not int or version != FORMAT:
        raise FormatError(f"{MANIFEST} has format {version!r}; this edgernn reads format {FORMAT}: export it again")
    values = records.record(values, MANIFEST, {"format", "files", *(field.name for field in fields(Manifest))})
    files = records.mapping(values["files"], "files")
    if len(files) > _FILES_LIMIT:
        raise FormatError(f"{MANIFEST} lists {len(files)} files, more than {_FILES_LIMIT}")
    graphs = records.mapping(values["graphs"], "graphs")
    manifest = Manifest(
        task=records.text(values["task"], "task"),
        target=records.text(values["target"], "target"),
        precision=records.text(values["precision"], "precision"),
        digest=records.text(values["digest"], "digest"),
        contract=contract_from_json(values["contract"]),
        graphs={name: records.text(file, f"the file of graph {name}") for name, file in graphs.items()},
        provenance=records.mapping(values["provenance"], "provenance"),
        parity=records.mapping(values["parity"], "parity"),
        weights=records.mapping(values["weights"], "weights"),
        golden=records.mapping(values["golden"], "golden"),
    )
    return manifest, {name: _expected(name, value) for name, value in files.items()}


def _expected(name: str, value: Any) -> tuple[int, str]:
    values = records.record(value, f"file {name}", {"bytes", "sha256"})
    return records.integer(values["bytes"], f"size of {name}"), records.text(values["sha256"], f"digest of {name}")


def _read_file(root: Path, name: str, size: int, digest: str) -> bytes:
    path = _inside(root, name)
    if not path.is_file():
        raise BundleError(f"{root}: the file {name} is missing")
    actual = path.stat().st_size
    if actual != size:
        raise BundleError(f"{root}: {name} has {actual} bytes, but {MANIFEST} says {size}: it was cut or changed")
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != digest:
        raise BundleError(f"{root}: {name} was changed: its SHA-256 is not the one in {MANIFEST}")
    return data


def _inside(root: Path, name: str) -> Path:
    """Return the path of file `name`. Raises FormatError for one outside the directory, also by a symbolic link."""
    if not _FILE.fullmatch(name):
        raise FormatError(f"{name[:100]!r} is not a path inside the bundle")
    path = root.joinpath(*name.split("/"))
    try:
        inside = path.resolve().is_relative_to(root.resolve())
    except RuntimeError:  # symbolic links that form a cycle
        inside = False
    if not inside:
        raise FormatError(f"{name!r} leads out of the bundle")
    return path


def _file_record(data: bytes) -> dict[str, Any]:
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def _initial_files(states: list[StateSpec]) -> Iterator[str]:
    return (spec.initial.file for spec in states if isinstance(spec.initial, FromFile))
