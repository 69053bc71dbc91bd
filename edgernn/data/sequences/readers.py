"""Read labelled sequences: a reader for each format of files."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from edgernn.arrays import read_npz
from edgernn.contract import Array
from edgernn.data.sequences.found import MOST_BYTES, Found, LabelledSequence
from edgernn.data.sequences.layouts import NUMBERS, SOUND, TEXT, VIDEO, File, csv_kind
from edgernn.data.sequences.tables import Table, file_text, number_rows, text_rows
from edgernn.errors import CorpusError, counted, few
from edgernn.media.audio import is_clipped, mono, read_wav
from edgernn.media.channels import channel_places
from edgernn.media.frames import read_frames

__all__ = ["READERS", "Progress"]

Progress = Callable[[float, str], None]  # the fraction that is done, and what is done

_ARRAYS = ("values", "ends", "labels", "classes", "subjects", "groups")  # the last two are optional


def _read_npz(files: Sequence[File], progress: Progress) -> Found:
    found, channels = Found(NUMBERS), None
    for file in each_file(files, progress):
        arrays = read_npz(file.path, _ARRAYS)
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
            found.add(LabelledSequence(name, values[start:end], classes[label], groups[place]))
    return found


def _labelled(arrays: Mapping[str, Array], path: Path) -> tuple[Array, list[int], list[int], list[str], list[str]]:
    """Return float32 (rows, channels), ends, labels, classes and groups. Raises CorpusError if they do not fit."""
    if lacking := [name for name in _ARRAYS[:4] if name not in arrays]:
        raise CorpusError(f"{path} has no {few(lacking)}: it needs values (rows, channels), ends, labels and classes")
    values, ends, labels, classes = (arrays[name] for name in _ARRAYS[:4])
    count = len(np.atleast_1d(ends))
    groups = arrays.get("subjects", arrays.get("groups", np.full(count, "")))
    values = values[:, None] if values.ndim == 1 else values
    if values.ndim != 2 or values.dtype.kind == "U" or not values.size:
        raise CorpusError(f"{path}: values are {values.dtype}{list(values.shape)}, not numbers (rows, channels)")
    if any(each.dtype.kind not in "iu" for each in (ends, labels)):
        raise CorpusError(f"{path}: ends and labels are {ends.dtype} and {labels.dtype}, not whole numbers")
    for name, each in (("ends", ends), ("labels", labels), ("subjects", groups)):
        if each.shape != (count,):
            shape = f"the shape {list(each.shape)}, not [{count}]"
            raise CorpusError(f"{path}: {name} have {shape}: one value for each sequence")
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
    if values.size * 4 > MOST_BYTES:
        raise CorpusError(f"{path} takes more than {MOST_BYTES >> 30} GiB of memory: divide it")
    with np.errstate(over="ignore"):  # what is too large becomes infinite, which is refused
        values = values.astype(np.float32)
    return values, ends.tolist(), labels.tolist(), names, owners


def _read_wav(files: Sequence[File], progress: Progress) -> Found:
    found = Found(SOUND)
    clipped = []
    for file in each_file(files, progress):
        audio = read_wav(file.path)
        samples = mono(audio)
        if is_clipped(samples):
            clipped.append(file.path.name)
        found.add(LabelledSequence(str(file.path), samples, file.label, rate=audio.rate))
    if clipped:
        found.notes.append(f"clipped, at full scale for several samples: {few(clipped)}")
    return found


def _read_video(files: Sequence[File], progress: Progress) -> Found:
    found = Found(VIDEO)
    for file in each_file(files, progress):
        found.add(LabelledSequence(str(file.path), read_frames(file.path), file.label))
    return found


def _read_txt(files: Sequence[File], progress: Progress) -> Found:
    found, empty = Found(TEXT), []
    for file in each_file(files, progress):
        before = len(found.sequences)
        label = file.label if len(file.place.parts) > 1 else Path(file.path.name.removesuffix(".gz")).stem
        for number, line in enumerate(io.StringIO(file_text(file.path)), start=1):
            if line.strip():
                found.add(LabelledSequence(f"line {number} of {file.path.name}", line.strip(), label))
        if len(found.sequences) == before:
            empty.append(file.path.name)
    if empty:
        found.notes.append(f"without a line of text: {few(empty)}")
    return found


def _read_csv(files: Sequence[File], progress: Progress) -> Found:
    kinds = {csv_kind(file.path): file.path.name for file in files}
    if len(kinds) > 1:
        raise CorpusError(f"{kinds[TEXT]} has texts and {kinds[NUMBERS]} has numbers: name one, or choose a kind")
    found = Found(next(iter(kinds)))
    for file in each_file(files, progress):
        table = Table(file.path)
        if found.kind == NUMBERS:
            found.channels = found.channels or tuple(table.channels)
            channel_places(table.channels, found.channels, str(file.path), "other files have")
        for sequence in text_rows(table) if found.kind == TEXT else number_rows(table, found.channels):
            found.add(sequence)
        if table.empty:
            found.notes.append(f"{counted(table.empty, 'row')} of {file.path.name} without a text, ignored")
    return found


def each_file(files: Sequence[File], progress: Progress) -> Iterator[File]:
    """Yield each file, and report when it was read."""
    for done, file in enumerate(files, start=1):
        yield file
        progress(done / len(files), f"{done:,} of {counted(len(files), 'file')}")


READERS: Mapping[str, Callable[[Sequence[File], Progress], Found]] = {
    "npz": _read_npz,
    "wav": _read_wav,
    "video": _read_video,
    "csv": _read_csv,
    "txt": _read_txt,
}
