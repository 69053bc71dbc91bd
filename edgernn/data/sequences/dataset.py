"""Read a data set of labelled sequences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from edgernn.contract import Array
from edgernn.data.captions import DEV, TEST, TRAIN
from edgernn.data.parts import choose_part
from edgernn.data.sequences.found import MOST_BYTES, Found
from edgernn.data.sequences.layouts import NUMBERS, SOUND, TEXT, VIDEO, find_files
from edgernn.data.sequences.readers import READERS, Progress
from edgernn.errors import AudioError, CorpusError, FormatError, ImageError, counted, few
from edgernn.media.audio import resample
from edgernn.media.channels import channel_places

__all__ = ["Example", "SequenceDataset", "kind_of", "part_to_evaluate", "parts", "read_sequences"]

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
    channels: the names of the channels of numbers, in order, where the data name them.
    """

    kind: str
    classes: tuple[str, ...]
    examples: Sequence[Example]
    rate: int | None = None
    notes: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()

    def counts(self) -> Array:
        """Return the number of examples of each class, int64 (classes,)."""
        return np.bincount(np.array([each.label for each in self.examples], np.int64), minlength=len(self.classes))


def _ignore(done: float, figures: str) -> None:
    """Ignore the progress."""


def read_sequences(
    path: Path,
    kind: str | None = None,
    *,
    split: str | None = None,
    classes: Sequence[str] | None = None,
    rate: int | None = None,
    channels: Sequence[str] = (),
    progress: Progress = _ignore,
) -> SequenceDataset:
    """Read labelled sequences from a file or a directory.

    kind: one of KINDS; by default that of the first format that is found in the order npz, WAV, GIF or numbered
    frames, CSV, txt. Other files are named in the notes.
    split: the part to read (train, dev or test) where the data has parts; by default the part train, or the only one.
    A path without parts is read whole.
    classes: those of the model that is evaluated; by default those of the data, in the order of an npz file or sorted.
    rate: of sound, in samples per second, by default that of most recordings; others are resampled.
    channels: names of the channels of numbers, in order, by default those of the first file; files whose channels have
    names are brought to this order.
    progress: called after each file.
    Raises CorpusError, which names the file, for data that is missing or damaged, for an example of a class that is
    not in `classes`, and, without `classes`, for fewer than two classes.
    """
    source = find_files(path, kind)
    files = source.part(split)
    try:
        found = READERS[source.format](files, progress)
    except (AudioError, ImageError, FormatError) as error:
        raise CorpusError(str(error)) from None
    if source.ignored:
        found.notes.append(f"{few(source.ignored)}: ignored, since the data are in {source.noun}")
    if not found.sequences:
        raise CorpusError(f"{path} has no sequences: its {source.noun} are empty")
    if found.kind == SOUND:
        rate = _resample(found, rate)
    if found.channels and channels:
        _order_channels(path, found, channels)
    names = found.class_names() if classes is None else tuple(classes)
    _check_classes(path, found, names, chosen=classes is not None)
    labels = {name: place for place, name in enumerate(names)}
    examples = [Example(each.name, each.value, labels[each.label], each.group) for each in found.sequences]
    dataset = SequenceDataset(
        found.kind, names, examples, rate if found.kind == SOUND else None, channels=found.channels
    )
    if lacking := [name for name, count in zip(names, dataset.counts(), strict=True) if not count]:
        found.notes.append(f"there is no example of the {'class' if len(lacking) == 1 else 'classes'} {few(lacking)}")
    return replace(dataset, notes=tuple(found.notes))


def parts(path: Path, kind: str | None = None) -> tuple[str, ...]:
    """Return the parts that the data at `path` has, in the order train, dev, test; () if it has none.

    Parts are folders, npz files and CSV files in `path` whose names begin with train, val or dev, and test, provided
    that all data are in such. Raises CorpusError as `read_sequences` does.
    """
    return tuple(name for name in (TRAIN, DEV, TEST) if name in find_files(path, kind).parts)


def part_to_evaluate(path: Path, kind: str, split: str) -> tuple[str | None, list[str]]:
    """Return the part of the data at `path` to evaluate on, and what the user should know about it.

    A path without parts is taken whole, which is None. Raises CorpusError for a part that the data does not have.
    """
    return choose_part(str(path), parts(path, kind), split)


def kind_of(path: Path) -> str | None:
    """Return the kind of the data at `path`, as `read_sequences` finds it; None if there is none."""
    try:
        return find_files(path, None).kind
    except CorpusError:
        return None


def _resample(found: Found, rate: int | None) -> int:
    """Bring all recordings to one rate, and return it."""
    rates = Counter(each.rate for each in found.sequences)
    wanted = rate or max(rates, key=lambda each: (rates[each], each))
    others = [each for each in found.sequences if each.rate != wanted]
    if sum(2 * len(each.value) * wanted / each.rate for each in found.sequences) > MOST_BYTES:
        raise CorpusError(f"at {wanted} samples per second the recordings take over {MOST_BYTES >> 30} GiB of memory")
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


def _order_channels(path: Path, found: Found, channels: Sequence[str]) -> None:
    """Bring the channels of all sequences into the order of `channels`. Raises CorpusError for other ones."""
    places = channel_places(found.channels, channels, str(path), "the model reads")
    for each in found.sequences:
        assert isinstance(each.value, np.ndarray)
        each.value = each.value[:, places]
    found.channels = tuple(channels)


def _check_classes(path: Path, found: Found, classes: Sequence[str], *, chosen: bool) -> None:
    """chosen: the classes are those of a model."""
    known = set(classes)
    for each in found.sequences:
        if each.label not in known:
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
