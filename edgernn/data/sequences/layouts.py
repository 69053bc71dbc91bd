"""Find the files of labelled sequences: their format, and the parts train, dev and test."""

from __future__ import annotations

import csv
import gzip
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from edgernn.data.captions import DEV, TEST, TRAIN
from edgernn.errors import CorpusError, few
from edgernn.media.frames import PICTURES

__all__ = ["KINDS", "NUMBERS", "SOUND", "TEXT", "VIDEO", "File", "Source", "csv_kind", "find_files"]

SOUND, TEXT, NUMBERS, VIDEO = KINDS = ("sound", "text", "numbers", "video")

_FORMATS: Mapping[str, Sequence[str]] = {
    "npz": (NUMBERS,),
    "wav": (SOUND,),
    "video": (VIDEO,),
    "csv": (TEXT, NUMBERS),
    "txt": (TEXT,),
}
_NOUNS = {"npz": "npz files", "wav": "WAV files", "video": "clips", "csv": "CSV files", "txt": "txt files"}
_LAYOUTS: Mapping[str, Sequence[str]] = {
    "npz files": (NUMBERS,),
    "WAV files": (SOUND,),
    "a folder of GIFs or of numbered frames for each class": (VIDEO,),
    "CSV files with the columns text,label": (TEXT,),
    "CSV files with the columns sequence,label": (NUMBERS,),
    "a txt file for each class": (TEXT,),
}
_COLUMNS = {
    TEXT: "the columns text and label",
    NUMBERS: "the columns sequence and label and one for each channel of numbers",
}
_PART = re.compile(r"(?i:(?:(train)(?:ing)?|(val|valid|validation|dev)|(test)(?:ing)?)(?:set|data)?)(?![a-z])")
_DOCUMENT = re.compile(r"(?i:readme|licen[cs]e|copying|copyright|notice|authors|changelog|changes)(?![a-z])")
_DEPTH = 5  # folders below each other: a part, a class, a clip, and what surrounds them
_MOST_FILES = 1_000_000
_MOST_HEADER = 1 << 16  # bytes


@dataclass(frozen=True)
class File:
    """A file, or a folder of frames. place: its path within its part, whose folders name the class."""

    path: Path
    place: PurePath

    @property
    def label(self) -> str:
        """The first folder, or the name up to its first underscore."""
        return self.place.parts[0] if len(self.place.parts) > 1 else self.place.stem.partition("_")[0]


@dataclass(frozen=True)
class Source:
    """The files of one format at a path.

    format: npz, wav, video, csv or txt. files: those of each part, or all under "". ignored: names of other files.
    """

    path: Path
    format: str
    files: Mapping[str, Sequence[File]]
    ignored: Sequence[str]

    @property
    def noun(self) -> str:
        """What the files are called in messages."""
        return _NOUNS[self.format]

    @property
    def kind(self) -> str:
        """The kind of the sequences."""
        kinds = _FORMATS[self.format]
        return kinds[0] if len(kinds) == 1 else csv_kind(next(iter(self.files.values()))[0].path)

    @property
    def parts(self) -> Sequence[str]:
        """The names of the parts; none if the files are in no parts."""
        return [name for name in self.files if name]

    def part(self, split: str | None) -> Sequence[File]:
        """Return the files to read. Raises CorpusError if there is no such part."""
        if "" in self.files:
            return self.files[""]
        name = split or (TRAIN if TRAIN in self.files or len(self.files) > 1 else self.parts[0])
        if name not in self.files:
            raise CorpusError(f"{self.path} has no part {name}; it has {', '.join(self.parts)}")
        return self.files[name]


def find_files(path: Path, kind: str | None) -> Source:
    """Find the files of the first format that there is, of those that hold sequences of `kind`.

    Raises CorpusError if there is none, or `path` cannot be read.
    """
    if kind not in (None, *KINDS):
        raise CorpusError(f"{kind} is not a kind of sequences: choose {', '.join(KINDS)}")
    if not path.exists():
        raise CorpusError(f"there is no {path}")
    if not path.is_dir() and not path.is_file():
        raise CorpusError(f"{path} is neither a file nor a directory")
    root = path if path.is_dir() else path.parent
    try:
        listed = sorted(_walk(path, _DEPTH)) if path.is_dir() else [path]
    except OSError as error:
        raise CorpusError(f"{path} cannot be read: {error.strerror or error}") from None
    for format, kinds in _FORMATS.items():
        members = [each for each in listed if _format(each) == format] if kind is None or kind in kinds else []
        if format == "csv":
            members = [each for each in members if csv_kind(each) in ((TEXT, NUMBERS) if kind is None else (kind,))]
        files = (_assign(members, root) if path.is_dir() else {}) or {"": _within(members, root)}
        if format == "video":
            files = {name: _clips(each) for name, each in files.items()}
        files = {name: each for name, each in files.items() if each}
        if files:
            read = {file.path for each in files.values() for file in each}
            ignored = [each for each in listed if each not in read and each.parent not in read]
            return Source(path, format, files, [each.relative_to(root).as_posix() for each in ignored])
    has = sorted({each.suffix for each in listed if each.suffix})
    if kind in (None, TEXT, NUMBERS) and listed and all(_format(each) == "csv" for each in listed):
        needed = " or ".join(columns for of, columns in _COLUMNS.items() if kind in (None, of))
        raise CorpusError(f"{listed[0]} has {_header(listed[0])}; it needs {needed}")
    lacking = f" of the kind {kind}" if kind else ""
    *others, last = (layout for layout, kinds in _LAYOUTS.items() if kind is None or kind in kinds)
    wanted = f"{', '.join(others)} or {last}" if others else last
    raise CorpusError(f"{path} has no sequences{lacking}{f'; it has {few(has)}' if has else ''}: name {wanted}")


def _walk(folder: Path, depth: int) -> Iterator[Path]:
    """Yield the files below `folder`, without hidden ones."""
    count = 0
    for each in sorted(folder.iterdir()):
        if each.name.startswith((".", "__")):
            continue
        for file in _walk(each, depth - 1) if each.is_dir() and depth else [each]:
            count += 1
            if count > _MOST_FILES:
                raise CorpusError(f"{folder} has more than {_MOST_FILES:,} files: name the directory of the data")
            if file.is_file() or not file.exists():  # a broken link is an error of its reader, a pipe is no data
                yield file


def _format(path: Path) -> str:
    """Return the format that the name of a file tells, or ""."""
    suffix = path.suffix.lower()
    if suffix == ".gz":
        suffix = Path(path.stem).suffix.lower()
        return suffix[1:] if suffix in (".csv", ".txt") else ""
    if suffix in (".gif", *PICTURES):
        return "video"
    if suffix == ".txt" and _DOCUMENT.match(path.stem):
        return ""
    return {".npz": "npz", ".wav": "wav", ".wave": "wav", ".csv": "csv", ".txt": "txt"}.get(suffix, "")


def _within(files: Iterable[Path], root: Path) -> list[File]:
    return [File(each, each.relative_to(root)) for each in files]


def _assign(files: Sequence[Path], root: Path) -> dict[str, list[File]]:
    """Return the files of each part; {} if the files are not in parts but, for example, in folders of classes."""
    assigned: dict[str, list[File]] = {}
    for each in files:
        top, *inner = each.relative_to(root).parts
        match = _PART.match(top)
        if match and (inner or _format(each) in ("npz", "csv")):
            name = (TRAIN, DEV, TEST)[(match.lastindex or 1) - 1]
            assigned.setdefault(name, []).append(File(each, PurePath(*(inner or [top]))))
    everything = sum(map(len, assigned.values())) == len(files)
    return assigned if everything or (TRAIN in assigned and len(assigned) > 1) else {}


def _clips(files: Sequence[File]) -> list[File]:
    """Return the GIFs in folders, and the folders of frames in folders."""
    clips = [each for each in files if each.path.suffix.lower() == ".gif" and len(each.place.parts) > 1]
    pictures = [each for each in files if each.path.suffix.lower() != ".gif" and len(each.place.parts) > 2]
    folders = {each.path.parent: File(each.path.parent, each.place.parent) for each in pictures}
    return [*clips, *folders.values()]


def csv_kind(path: Path) -> str:
    """Return the kind of sequences that the first line of a CSV file names, or ""."""
    columns = set(_columns(path))
    if {"sequence", "label"} <= columns:
        return NUMBERS
    return TEXT if {"text", "label"} <= columns else ""


def _header(path: Path) -> str:
    """Return what the first line of a CSV file names, in words."""
    columns = _columns(path)
    return f"the {'column' if len(columns) == 1 else 'columns'} {few(columns)}" if any(columns) else "no line of names"


def _columns(path: Path) -> list[str]:
    """Return the names of the columns in the first line of a CSV file, none if it cannot be read."""
    try:
        with gzip.open(path, "rb") if path.suffix.lower() == ".gz" else path.open("rb") as file:
            line = file.readline(_MOST_HEADER).decode("utf-8-sig")
        return [name.strip().lower() for name in next(csv.reader([line]), [])]
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error):
        return []
