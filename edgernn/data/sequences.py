"""Labelled sequences from common layouts of files: recordings, texts, rows of numbers and clips."""

from __future__ import annotations

import csv
import gzip
import io
import re
import zlib
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath

import numpy as np

from edgernn.arrays import read_npz
from edgernn.contract import Array
from edgernn.data.captions import DEV, TEST, TRAIN
from edgernn.errors import AudioError, CorpusError, FormatError, ImageError, counted, few
from edgernn.media.audio import is_clipped, mono, read_wav, resample
from edgernn.media.frames import PICTURES, read_frames
from edgernn.media.text import read_text

__all__ = ["KINDS", "Example", "SequenceDataset", "hold_out", "parts", "read_sequences"]

SOUND, TEXT, NUMBERS, VIDEO = KINDS = ("sound", "text", "numbers", "video")
Progress = Callable[[float, str], None]  # the fraction that is done, and what is done

_PART = re.compile(r"(?:(train)(?:ing)?|(val|valid|validation|dev)|(test)(?:ing)?)(?![a-z])", re.IGNORECASE)
_DOCUMENTS = ("readme", "license", "licence", "copying", "copyright", "notice", "authors", "changelog", "changes")
_DEPTH = 5  # folders below each other: a part, a class, a clip, and what surrounds them
_MOST_FILES = 1_000_000
_MOST_BYTES = 4 << 30  # of memory that all sequences take
_OBJECT = 400  # bytes of memory that a sequence takes beside its values
_MOST_TEXT = 1 << 29  # bytes of a text
_MOST_HEADER = 1 << 16  # bytes
_LARGEST = float(np.finfo(np.float32).max)
_MOST_SHARE = 2  # times the fraction to hold out: groups that would exceed it are held out only if no others can be

_LABELLED = {
    SOUND: "put the recordings of each class in a folder, or name them CLASS_NAME.wav",
    VIDEO: "put the clips of each class in a folder",
    TEXT: "two examples of a class are needed",
    NUMBERS: "two examples of a class are needed",
}


@dataclass(frozen=True)
class Example:
    """One sequence.

    name: of the sequence in messages.
    value: a text, or an array whose first axis is time: of sound int16 (samples,), one channel at the rate of the data
    set; of numbers float32 (rows, channels); of video uint8 (frames, height, width, 3).
    label: index of its class. group: the person or session that it comes from, "" where that is unknown.
    """

    name: str
    value: Array | str
    label: int
    group: str = ""


@dataclass(frozen=True)
class SequenceDataset:
    """Labelled sequences of one kind.

    kind: one of KINDS. rate: of sound, in samples per second. notes: sentences about what was ignored or changed.
    """

    kind: str
    classes: tuple[str, ...]
    examples: Sequence[Example]
    rate: int | None = None
    notes: tuple[str, ...] = ()

    def counts(self) -> Array:
        """Return the number of examples of each class, int64 (classes,)."""
        return np.bincount(np.array([each.label for each in self.examples], np.int64), minlength=len(self.classes))


def ignore_progress(done: float, figures: str) -> None:
    """Ignore the progress."""


def read_sequences(
    path: Path,
    kind: str | None = None,
    *,
    split: str | None = None,
    classes: Sequence[str] | None = None,
    rate: int | None = None,
    progress: Progress = ignore_progress,
) -> SequenceDataset:
    """Read labelled sequences from a file or a directory.

    kind: one of KINDS; by default that of the first format that is found in the order npz, WAV, GIF or numbered
    frames, CSV, txt. Other files are named in the notes.
    split: the part to read (train, dev or test) where the data has parts; by default the part train, or the only one.
    A path without parts is read whole.
    classes: those of the model that is evaluated; by default those of the data, in the order of an npz file or sorted.
    rate: of sound, in samples per second, by default that of most recordings; others are resampled.
    progress: called after each file.
    Raises CorpusError, which names the file, for data that is missing or damaged, for an example of a class that is
    not in `classes`, and, without `classes`, for fewer than two classes.
    """
    source = _find(path, kind)
    files = source.part(split)
    try:
        found = _READERS[source.format](files, progress)
    except (AudioError, ImageError, FormatError) as error:
        raise CorpusError(str(error)) from None
    if source.ignored:
        found.notes.append(f"{few(source.ignored)}: ignored, since the data are in {source.noun}")
    if not found.sequences:
        raise CorpusError(f"{path} has no sequences: its {source.noun} are empty")
    if found.kind == SOUND:
        rate = _resample(found, rate)
    names = found.class_names() if classes is None else tuple(classes)
    _check_classes(path, found, names, chosen=classes is not None)
    labels = {name: place for place, name in enumerate(names)}
    examples = [Example(each.name, each.value, labels[each.label], each.group) for each in found.sequences]
    dataset = SequenceDataset(found.kind, names, examples, rate if found.kind == SOUND else None)
    if lacking := [name for name, count in zip(names, dataset.counts(), strict=True) if not count]:
        found.notes.append(f"there is no example of the {'class' if len(lacking) == 1 else 'classes'} {few(lacking)}")
    return replace(dataset, notes=tuple(found.notes))


def parts(path: Path, kind: str | None = None) -> tuple[str, ...]:
    """Return the parts that the data at `path` has, in the order train, dev, test; () if it has none.

    Parts are folders, npz files and CSV files in `path` whose names begin with train, val or dev, and test, provided
    that all data are in such. Raises CorpusError as `read_sequences` does.
    """
    return tuple(name for name in (TRAIN, DEV, TEST) if name in _find(path, kind).parts)


def hold_out(dataset: SequenceDataset, fraction: float, seed: int) -> tuple[SequenceDataset, SequenceDataset]:
    """Return the data for training, and about `fraction` of it that is held out, chosen by `seed`.

    Whole groups are held out where groups are known, as long as every class stays in training; otherwise the same
    fraction of each class, of which at least one example stays in training. Notes are those of the first part.
    Raises CorpusError if nothing can be held out.
    """
    if not 0 < fraction < 1:
        raise CorpusError(f"{fraction} is not a fraction between 0 and 1 to hold out")
    random, notes = np.random.default_rng(seed), list(dataset.notes)
    known = len({each.group for each in dataset.examples}) > 1
    chosen = _whole_groups(dataset, fraction, random) if known else set()
    if known and chosen and len(chosen) < fraction * len(dataset.examples):
        notes.append(f"whole groups held out: {counted(len(chosen), 'example')}, since more would lose a class")
    if not chosen:
        if known:
            notes.append("no group can be held out without losing a class, so examples of all groups are held out")
        chosen = _stratified(dataset, fraction, random)
    if not chosen:
        raise CorpusError("nothing can be held out: no class has two examples")
    if single := [name for name, count in zip(dataset.classes, dataset.counts(), strict=True) if count == 1]:
        notes.append(f"one example, which stays in training: {few(single)}")
    places = range(len(dataset.examples))
    train = [dataset.examples[place] for place in places if place not in chosen]
    held_out = [dataset.examples[place] for place in places if place in chosen]
    return replace(dataset, examples=train, notes=tuple(notes)), replace(dataset, examples=held_out, notes=())


def _whole_groups(dataset: SequenceDataset, fraction: float, random: np.random.Generator) -> set[int]:
    """Return the places of examples of groups that are held out, at least `fraction` of all if classes allow it."""
    places: dict[str, list[int]] = {}
    for place, each in enumerate(dataset.examples):
        places.setdefault(each.group or f"\0{place}", []).append(place)
    groups = [list(places.values())[index] for index in random.permutation(len(places))]
    left, chosen = dataset.counts(), set[int]()
    wanted = fraction * len(dataset.examples)
    largest = _MOST_SHARE * wanted
    for group in [*(each for each in groups if len(each) <= largest), *sorted(groups, key=len)]:
        if len(chosen) >= wanted:
            break
        if group[0] in chosen or (chosen and len(chosen) + len(group) > largest):
            continue
        counts = np.bincount([dataset.examples[place].label for place in group], minlength=len(left))
        if ((counts > 0) & (counts == left)).any():  # training would lose a class
            continue
        left = left - counts
        chosen.update(group)
    return chosen


def _stratified(dataset: SequenceDataset, fraction: float, random: np.random.Generator) -> set[int]:
    labels = np.array([each.label for each in dataset.examples])
    chosen = set[int]()
    for label, count in enumerate(dataset.counts()):
        if count > 1:
            size = min(max(1, round(count * fraction)), count - 1)
            chosen.update(random.permutation(np.flatnonzero(labels == label))[:size].tolist())
    return chosen


@dataclass(frozen=True)
class _File:
    """A file, or a folder of frames. place: its path within its part, whose folders name the class."""

    path: Path
    place: PurePath

    @property
    def label(self) -> str:
        """The first folder, or the name up to its first underscore."""
        return self.place.parts[0] if len(self.place.parts) > 1 else self.place.stem.partition("_")[0]


@dataclass(frozen=True)
class _Source:
    """The files of one format at a path. parts: those of each part, or all under ""."""

    path: Path
    format: str
    files: Mapping[str, Sequence[_File]]
    ignored: Sequence[str]

    @property
    def noun(self) -> str:
        return _NOUNS[self.format]

    @property
    def parts(self) -> Sequence[str]:
        return [name for name in self.files if name]

    def part(self, split: str | None) -> Sequence[_File]:
        """Return the files to read. Raises CorpusError if there is no such part."""
        if "" in self.files:
            return self.files[""]
        name = split or (TRAIN if TRAIN in self.files or len(self.files) > 1 else self.parts[0])
        if name not in self.files:
            raise CorpusError(f"{self.path} has no part {name}; it has {', '.join(self.parts)}")
        return self.files[name]


@dataclass
class _Sequence:
    """A sequence as it is read. rate: of sound."""

    name: str
    value: Array | str
    label: str
    group: str = ""
    rate: int = 0


@dataclass
class _Found:
    """What a reader found. classes: those that the data declare, in their order; others follow, sorted."""

    kind: str
    sequences: list[_Sequence] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    _bytes: int = 0

    def add(self, sequence: _Sequence) -> None:
        """Add a sequence. Raises CorpusError for one that is empty, has no class, or exceeds the memory."""
        if not len(sequence.value):
            raise CorpusError(f"{sequence.name} is an empty sequence: remove it")
        if not sequence.label:
            raise CorpusError(f"{sequence.name} has no label")
        self._bytes += _OBJECT + (len(sequence.value) if isinstance(sequence.value, str) else sequence.value.nbytes)
        if self._bytes > _MOST_BYTES:
            raise CorpusError(f"the sequences up to {sequence.name} take more than {_MOST_BYTES >> 30} GiB of memory")
        self.sequences.append(sequence)

    def class_names(self) -> tuple[str, ...]:
        others = {each.label for each in self.sequences}.difference(self.classes)
        return (*self.classes, *sorted(others))


def _find(path: Path, kind: str | None) -> _Source:
    """Find the files of the first format that there is."""
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
            members = [each for each in members if _csv_kind(each) in ((TEXT, NUMBERS) if kind is None else (kind,))]
        files = (_assign(members, root) if path.is_dir() else {}) or {"": _within(members, root)}
        if format == "video":
            files = {name: _clips(each) for name, each in files.items()}
        files = {name: each for name, each in files.items() if each}
        if files:
            read = {file.path for each in files.values() for file in each}
            ignored = [each for each in listed if each not in read and each.parent not in read]
            return _Source(path, format, files, [each.relative_to(root).as_posix() for each in ignored])
    has = sorted({each.suffix for each in listed if each.suffix})
    lacking = f" of the kind {kind}" if kind else ""
    raise CorpusError(
        f"{path} has no sequences{lacking}{f'; it has {few(has)}' if has else ''}: name npz or WAV files, a folder of "
        "GIFs or of numbered frames for each class, CSV files with the columns text,label or sequence,label, or a txt "
        "file for each class"
    )


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
    if suffix == ".txt" and path.stem.lower().startswith(_DOCUMENTS):
        return ""
    return {".npz": "npz", ".wav": "wav", ".wave": "wav", ".csv": "csv", ".txt": "txt"}.get(suffix, "")


def _within(files: Iterable[Path], root: Path) -> list[_File]:
    return [_File(each, each.relative_to(root)) for each in files]


def _assign(files: Sequence[Path], root: Path) -> dict[str, list[_File]]:
    """Return the files of each part; {} if the files are not in parts but, for example, in folders of classes."""
    assigned: dict[str, list[_File]] = {}
    for each in files:
        top, *inner = each.relative_to(root).parts
        match = _PART.match(top)
        if match and (inner or _format(each) in ("npz", "csv")):
            name = (TRAIN, DEV, TEST)[(match.lastindex or 1) - 1]
            assigned.setdefault(name, []).append(_File(each, PurePath(*(inner or [top]))))
    everything = sum(map(len, assigned.values())) == len(files)
    return assigned if everything or (TRAIN in assigned and len(assigned) > 1) else {}


def _clips(files: Sequence[_File]) -> list[_File]:
    """Return the GIFs in folders, and the folders of frames in folders."""
    clips = [each for each in files if each.path.suffix.lower() == ".gif" and len(each.place.parts) > 1]
    pictures = [each for each in files if each.path.suffix.lower() != ".gif" and len(each.place.parts) > 2]
    folders = {each.path.parent: _File(each.path.parent, each.place.parent) for each in pictures}
    return [*clips, *folders.values()]


def _resample(found: _Found, rate: int | None) -> int:
    """Bring all recordings to one rate, and return it."""
    rates = Counter(each.rate for each in found.sequences)
    wanted = rate or max(rates, key=lambda each: (rates[each], each))
    others = [each for each in found.sequences if each.rate != wanted]
    if sum(2 * len(each.value) * wanted / each.rate for each in found.sequences) > _MOST_BYTES:
        raise CorpusError(f"at {wanted} samples per second the recordings take over {_MOST_BYTES >> 30} GiB of memory")
    for each in others:
        assert isinstance(each.value, np.ndarray)
        each.value = resample(each.value, each.rate, wanted)
        if not len(each.value):
            raise CorpusError(f"{each.name} has no samples at {wanted} samples per second: remove it")
    if others:
        found.notes.append(
            f"{counted(len(others), 'recording')} at {few(str(each) for each in sorted(rates) if each != wanted)} "
            f"samples per second, resampled to {wanted}"
        )
    return wanted


def _check_classes(path: Path, found: _Found, classes: Sequence[str], *, chosen: bool) -> None:
    """chosen: the classes are those of a model."""
    for each in found.sequences:
        if each.label not in classes:
            raise CorpusError(
                f"{each.name} is of the class {each.label}, which the model does not know: {few(classes)}"
            )
    if chosen:
        return
    counts = Counter(each.label for each in found.sequences)
    if len(counts) < 2:
        raise CorpusError(f"{path} has one class, {next(iter(counts))}: two are needed")
    if len(counts) == len(found.sequences):
        raise CorpusError(
            f"{path} has a single example of each of its {len(counts)} classes, such as {next(iter(counts))}: "
            f"{_LABELLED[found.kind]}"
        )


def _read_npz(files: Sequence[_File], progress: Progress) -> _Found:
    found, channels = _Found(NUMBERS), None
    for file in _reading(files, progress):
        arrays = read_npz(file.path)
        values, ends, labels, classes, groups = _labelled(arrays, file.path)
        if channels not in (None, values.shape[1]):
            raise CorpusError(f"{file.path} has {counted(values.shape[1], 'channel')}, and other files have {channels}")
        channels = values.shape[1]
        found.classes += [each for each in classes if each not in found.classes]
        starts = [0, *ends[:-1]]
        for place, (start, end, label) in enumerate(zip(starts, ends, labels, strict=True)):
            name = f"sequence {place} of {file.path.name}"
            if not np.isfinite(values[start:end]).all():
                raise CorpusError(f"{name} has values that are not finite: remove it")
            found.add(_Sequence(name, values[start:end], classes[label], groups[place]))
    return found


def _labelled(arrays: Mapping[str, Array], path: Path) -> tuple[Array, list[int], list[int], list[str], list[str]]:
    """Return float32 (rows, channels), ends, labels, classes and groups. Raises CorpusError if they do not fit."""
    if lacking := [name for name in ("values", "ends", "labels", "classes") if name not in arrays]:
        raise CorpusError(f"{path} has no {few(lacking)}: it needs values (rows, channels), ends, labels and classes")
    values, ends, labels, classes = (arrays[name] for name in ("values", "ends", "labels", "classes"))
    count = len(np.atleast_1d(ends))
    groups = arrays.get("subjects", arrays.get("groups", np.full(count, "")))
    values = values[:, None] if values.ndim == 1 else values
    if values.ndim != 2 or values.dtype.kind == "U" or not values.size:
        raise CorpusError(f"{path}: values are {values.dtype}{list(values.shape)}, not numbers (rows, channels)")
    if any(each.shape != (count,) or each.dtype.kind not in "iu" for each in (ends, labels)) or groups.shape != (
        count,
    ):
        raise CorpusError(f"{path}: ends, labels and subjects are not one whole number or name for each sequence")
    if not count or ends[0] < 1 or (np.diff(ends.astype(np.int64)) < 1).any() or ends[-1] != len(values):
        raise CorpusError(f"{path}: ends do not rise to {len(values):,}, the number of rows")
    if classes.ndim != 1 or len(set(classes.tolist())) != len(classes):
        raise CorpusError(f"{path}: classes are not a list of different names")
    if labels.min() < 0 or labels.max() >= len(classes):
        wrong = int(np.flatnonzero((labels < 0) | (labels >= len(classes)))[0])
        raise CorpusError(
            f"{path}: sequence {wrong} has the label {labels[wrong]}, and there are {len(classes)} classes"
        )
    names, owners = ([str(each) for each in several.tolist()] for several in (classes, groups))
    with np.errstate(over="ignore"):  # what is too large becomes infinite, which is refused
        values = values.astype(np.float32)
    return values, ends.tolist(), labels.tolist(), names, owners


def _read_wav(files: Sequence[_File], progress: Progress) -> _Found:
    found = _Found(SOUND)
    clipped = []
    for file in _reading(files, progress):
        audio = read_wav(file.path)
        samples = mono(audio)
        if is_clipped(samples):
            clipped.append(file.path.name)
        found.add(_Sequence(str(file.path), samples, file.label, rate=audio.rate))
    if clipped:
        found.notes.append(f"clipped, at full scale for several samples: {few(clipped)}")
    return found


def _read_video(files: Sequence[_File], progress: Progress) -> _Found:
    found = _Found(VIDEO)
    for file in _reading(files, progress):
        found.add(_Sequence(str(file.path), read_frames(file.path), file.label))
    return found


def _read_txt(files: Sequence[_File], progress: Progress) -> _Found:
    found = _Found(TEXT)
    for file in _reading(files, progress):
        label = file.label if len(file.place.parts) > 1 else Path(file.path.name.removesuffix(".gz")).stem
        for number, line in enumerate(io.StringIO(_text(file.path)), start=1):
            if line.strip():
                found.add(_Sequence(f"line {number} of {file.path.name}", line.strip(), label))
    return found


def _read_csv(files: Sequence[_File], progress: Progress) -> _Found:
    kinds = {_csv_kind(file.path): file.path.name for file in files}
    if len(kinds) > 1:
        raise CorpusError(f"{kinds[TEXT]} has texts and {kinds[NUMBERS]} has numbers: choose with --kind")
    found = _Found(next(iter(kinds)))
    read = _text_rows if found.kind == TEXT else _number_rows
    columns: list[str] | None = None
    for file in _reading(files, progress):
        table = _Table(file.path)
        channels = [name for name in table.places if name not in _NUMBER_COLUMNS]
        if found.kind == NUMBERS and columns not in (None, channels):
            raise CorpusError(
                f"{file.path} has the channels {few(channels)}, and other files have {few(columns or [])}"
            )
        columns = channels
        for sequence in read(table):
            found.add(sequence)
    return found


class _Table:
    """A CSV file whose first line names its columns."""

    def __init__(self, path: Path) -> None:
        """places: the index of each column, by its name in lower case."""
        self.path = path
        self._reader = csv.reader(io.StringIO(_text(path)), strict=True)
        header = [name.strip().lower() for name in next(self._reader, [])]
        self.places = {name: place for place, name in enumerate(header)}
        if len(self.places) < len(header):
            raise CorpusError(f"{path} has two columns of the same name")

    def __iter__(self) -> Iterator[tuple[str, list[str]]]:
        """Yield "line NUMBER of FILE" and the fields of every row that is not empty."""
        try:
            for row in self._reader:
                name = f"line {self._reader.line_num} of {self.path.name}"
                if row and len(row) != len(self.places):
                    raise CorpusError(f"{name} has {counted(len(row), 'column')}, not {len(self.places)}")
                if row:
                    yield name, row
        except csv.Error as error:
            raise CorpusError(f"line {self._reader.line_num} of {self.path.name} is not CSV: {error}") from None

    def field(self, row: Sequence[str], column: str) -> str:
        """Return a field without surrounding spaces, "" where there is no such column."""
        return row[self.places[column]].strip() if column in self.places else ""


def _text_rows(table: _Table) -> Iterator[_Sequence]:
    for name, row in table:
        if text := table.field(row, "text"):
            yield _Sequence(name, text, table.field(row, "label"), table.field(row, "group"))


def _number_rows(table: _Table) -> Iterator[_Sequence]:
    """Yield the runs of rows that belong to the same sequence."""
    channels = [place for name, place in table.places.items() if name not in _NUMBER_COLUMNS]
    if not channels:
        raise CorpusError(f"{table.path} has no channels: it needs columns of numbers beside sequence and label")
    seen: set[str] = set()
    values, head = array("f"), None
    for name, row in table:
        sequence, label, group = (table.field(row, column) for column in _NUMBER_COLUMNS)
        if head is None or sequence != head[0]:
            if sequence in seen:
                raise CorpusError(f"{name}: the sequence {sequence} began earlier: its rows must follow each other")
            if head is not None:
                yield _numbers(table, values, channels, head)
            seen.add(sequence)
            values, head = array("f"), (sequence, label, group)
        if (sequence, label, group) != head:
            raise CorpusError(f"{name}: the label or the group changes within the sequence {sequence}")
        try:
            values.extend(_finite(row[place]) for place in channels)
        except ValueError as error:
            raise CorpusError(f"{name}: {error}") from None
    if head is not None:
        yield _numbers(table, values, channels, head)


def _numbers(table: _Table, values: array[float], channels: Sequence[int], head: tuple[str, str, str]) -> _Sequence:
    sequence, label, group = head
    rows = np.frombuffer(values, np.float32).reshape(-1, len(channels))
    return _Sequence(f"sequence {sequence} of {table.path.name}", rows, label, group)


def _finite(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"{text[:40]!r} is not a number") from None
    if not abs(value) <= _LARGEST:
        raise ValueError(f"{text[:40]} is not a finite number of 32 bits")
    return value


def _csv_kind(path: Path) -> str:
    """Return the kind of sequences that the first line of a CSV file names, or ""."""
    try:
        with gzip.open(path, "rb") if path.suffix.lower() == ".gz" else path.open("rb") as file:
            line = file.readline(_MOST_HEADER).decode("utf-8-sig")
        columns = {name.strip().lower() for name in next(csv.reader([line]), [])}
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error):
        return ""
    if {"sequence", "label"} <= columns:
        return NUMBERS
    return TEXT if {"text", "label"} <= columns else ""


def _text(path: Path) -> str:
    """Return the text of a file, which may be compressed."""
    try:
        if path.suffix.lower() == ".gz":
            with gzip.open(path) as file:
                data = file.read(_MOST_TEXT + 1)
        elif path.stat().st_size <= _MOST_TEXT:
            data = path.read_bytes()
        else:
            data = b" " * (_MOST_TEXT + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise CorpusError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if len(data) > _MOST_TEXT:
        raise CorpusError(f"{path} has more than {_MOST_TEXT >> 20:,} MiB of text: divide it")
    return read_text(data, str(path))


def _reading(files: Sequence[_File], progress: Progress) -> Iterator[_File]:
    """Yield each file, and report when it was read."""
    for done, file in enumerate(files, start=1):
        yield file
        progress(done / len(files), f"{done:,} of {counted(len(files), 'file')}")


_NUMBER_COLUMNS = ("sequence", "label", "group")
_FORMATS: Mapping[str, Sequence[str]] = {
    "npz": (NUMBERS,),
    "wav": (SOUND,),
    "video": (VIDEO,),
    "csv": (TEXT, NUMBERS),
    "txt": (TEXT,),
}
_READERS: Mapping[str, Callable[[Sequence[_File], Progress], _Found]] = {
    "npz": _read_npz,
    "wav": _read_wav,
    "video": _read_video,
    "csv": _read_csv,
    "txt": _read_txt,
}
_NOUNS = {"npz": "npz files", "wav": "WAV files", "video": "clips", "csv": "CSV files", "txt": "txt files"}
