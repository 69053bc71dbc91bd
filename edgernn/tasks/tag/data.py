"""The data of taggers: drawn clips, speech that is strung together from recordings, and labelled frames of files."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from edgernn.contract import Array
from edgernn.data.captions import DEV, TEST, TRAIN
from edgernn.data.clips import FRAME_CLASSES, FRAMES, DrawnClips, draw_clip
from edgernn.data.frame_labels import FrameDataset, LabelledFrames, hold_out_frames, read_frame_labels
from edgernn.data.sequences import (
    NUMBERS,
    SOUND,
    VIDEO,
    PackedSequences,
    SequenceDataset,
    hold_out,
    kind_of,
    parts,
    read_sequences,
)
from edgernn.data.speech import SILENCE, Recording, string_together
from edgernn.errors import CorpusError
from edgernn.tasks.labelling import CLIPS
from edgernn.tasks.score import Progress
from edgernn.tasks.tag.settings import TagData

__all__ = [
    "HELD_OUT",
    "HELD_OUT_LABELS",
    "HOPS",
    "Clips",
    "Excerpts",
    "Spoken",
    "Tagged",
    "TaggedSource",
    "TrainingData",
    "drawn_frames",
    "open_held_out",
    "open_training",
    "strung",
    "tagged",
]

HELD_OUT, HELD_OUT_LABELS = "held-out", "held-out-labels"  # packed sequences of a run
HOPS = 100  # steps per second of sound
_DRAWN = {TRAIN: 1000, DEV: 500, TEST: 1000}  # clips of each split to evaluate on
_PASS = 6000  # clips that count as a pass
_STRUNG = {TRAIN: 60, DEV: 30, TEST: 60}  # sequences of continuous speech of each split to evaluate on
_SECONDS = 10.0  # of each
_SEED = 2_147_483_629  # of that speech: not one that a training is likely to have


class Tagged(NamedTuple):
    """steps: what a network reads, (time, ...). labels: int64 (time,), below 0 where they are unknown."""

    steps: Array
    labels: Array


class TaggedSource(ABC):
    """Endless training sequences. frames: the number of steps in a pass."""

    frames: int

    @abstractmethod
    def draw(self, random: np.random.Generator) -> Tagged:
        """Return a random sequence."""


class Spoken(TaggedSource):
    """Speech that is strung together from recordings."""

    def __init__(self, recordings: Sequence[Recording], rate: int, steps: int) -> None:
        """steps: of each sequence."""
        self._recordings, self._rate, self._hop = recordings, rate, rate // HOPS
        self._seconds = steps * self._hop / rate
        self.frames = sum(len(each.samples) for each in recordings) // self._hop

    def draw(self, random: np.random.Generator) -> Tagged:
        """Return continuous speech."""
        return _strung(self._recordings, random, self._seconds, self._rate)


class Clips(TaggedSource):
    """Drawn clips, of which none is seen twice."""

    frames = _PASS * FRAMES

    def __init__(self, digits: Path | None) -> None:
        self._digits = digits

    def draw(self, random: np.random.Generator) -> Tagged:
        """Return a new clip."""
        clip = draw_clip(int(random.integers(1 << 40)), 0, TRAIN, self._digits)
        return Tagged(clip.frames, clip.frame_labels)


class Excerpts(TaggedSource):
    """Excerpts of labelled frames."""

    def __init__(self, steps: PackedSequences, labels: PackedSequences, length: int) -> None:
        """length: the number of steps of each excerpt; shorter sequences are taken whole."""
        self._steps, self._labels, self._length = steps, labels, length
        self.frames = len(steps.values)

    def draw(self, random: np.random.Generator) -> Tagged:
        """Return an excerpt. Each frame is the middle of one with the same probability, as far as the ends allow."""
        middle = int(random.integers(self.frames))
        place = int(np.searchsorted(self._steps.ends, middle, side="right"))
        steps, labels = self._steps.sequence(place), self._labels.sequence(place)
        begun = middle - (int(self._steps.ends[place]) - len(steps)) - self._length // 2
        start = max(0, min(begun, len(steps) - self._length))
        part = slice(start, start + self._length)
        return Tagged(steps[part], labels[part])


def tagged(dataset: FrameDataset) -> list[Tagged]:
    """Return the sequences of a data set as steps: numbers (time, 1, channels), pictures as they are."""
    return [
        Tagged(each.frames[:, None] if dataset.kind == NUMBERS else each.frames, each.labels)
        for each in dataset.sequences
    ]


@dataclass(frozen=True)
class TrainingData:
    """What a run trains and is evaluated on.

    kind: "sound", "numbers" or "video". recordings: of sound, from which speech is strung together, at `rate` samples
    per second. sequences: to train on; with neither, clips are drawn. held_out: sequences to evaluate on.
    """

    kind: str
    classes: tuple[str, ...]
    held_out: Sequence[Tagged]
    recordings: Sequence[Recording] = ()
    rate: int = 0
    sequences: Sequence[Tagged] = ()
    notes: Sequence[str] = ()


def open_training(source: str, settings: TagData, seed: int, progress: Progress) -> TrainingData:
    """Return the data of a run.

    Raises CorpusError for data that is missing, damaged, too small or without frames to label, ConfigError for settings
    that do not fit it.
    """
    settings.check_source(source)
    if source == CLIPS:
        held_out = drawn_frames(DEV, settings.digits)
        return TrainingData(held_out.kind, held_out.classes, tagged(held_out))
    kind = kind_of(path := Path(source))
    if kind == SOUND:
        return _open_recordings(path, settings, seed, progress)
    if kind == NUMBERS or not path.exists():
        return _open_frames(path, settings, seed, progress)
    raise CorpusError(
        f"{source} has no frames with labels: name a directory of WAV files, .npz files with frames, labels and "
        f"classes, or {CLIPS}"
    )


def _open_recordings(path: Path, settings: TagData, seed: int, progress: Progress) -> TrainingData:
    train = read_sequences(path, SOUND, split=TRAIN, rate=settings.rate, progress=progress)
    if SILENCE in train.classes:
        raise CorpusError(f"{path} has a class {SILENCE}, which is what pauses are called: leave it out, or rename it")
    if DEV in parts(path, SOUND):
        held_out = read_sequences(path, SOUND, split=DEV, classes=train.classes, rate=train.rate, progress=progress)
    else:
        train, held_out = hold_out(train, settings.held_out, seed)
    assert train.rate is not None
    classes = (SILENCE, *train.classes)
    return TrainingData(SOUND, classes, strung(held_out, DEV), _recordings(train), train.rate, notes=train.notes)


def _open_frames(path: Path, settings: TagData, seed: int, progress: Progress) -> TrainingData:
    train = read_frame_labels(path, TRAIN, progress)
    if DEV in parts(path, NUMBERS):
        held_out = read_frame_labels(path, DEV, progress, train.classes)
    else:
        train, held_out = hold_out_frames(train, settings.held_out, seed)
    if train.shape != held_out.shape:
        raise CorpusError(f"{path}: the frames of the part dev are not of the size of those of the part train")
    return TrainingData(train.kind, train.classes, tagged(held_out), sequences=tagged(train), notes=train.notes)


def open_held_out(folder: Path, record: Mapping[str, Any]) -> list[Tagged]:
    """Return the held-out sequences of a run. Raises CorpusError and FormatError as `PackedSequences.of_run` does."""
    steps, labels = (PackedSequences.of_run(folder, name, record) for name in (HELD_OUT, HELD_OUT_LABELS))
    return [Tagged(steps.sequence(place), labels.sequence(place)) for place in range(len(steps))]


def drawn_frames(split: str, digits: Path | None) -> FrameDataset:
    """Return the drawn clips of a split to evaluate on. Raises CorpusError for a split that they do not have."""
    drawn = DrawnClips(_DRAWN.get(split, 0), split=split, digits=digits)
    clips = [LabelledFrames(f"clip {place}", clip.frames, clip.frame_labels) for place, clip in enumerate(drawn)]
    return FrameDataset(VIDEO, FRAME_CLASSES, clips)


def _recordings(dataset: SequenceDataset) -> list[Recording]:
    """Return the recordings of a data set of sound."""
    return [Recording(np.asarray(each.value), each.label) for each in dataset.examples]


def strung(dataset: SequenceDataset, split: str) -> list[Tagged]:
    """Return continuous speech of the recordings of a part: always the same for the same recordings."""
    assert dataset.rate is not None
    recordings, count = _recordings(dataset), _STRUNG.get(split, _STRUNG[TEST])
    return [
        _strung(recordings, np.random.default_rng((_SEED, place)), _SECONDS, dataset.rate) for place in range(count)
    ]


def _strung(recordings: Sequence[Recording], random: np.random.Generator, seconds: float, rate: int) -> Tagged:
    hop = rate // HOPS
    speech = string_together(recordings, random, seconds, rate, hop)
    return Tagged(speech.samples.reshape(-1, hop), speech.labels)
