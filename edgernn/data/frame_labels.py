"""Sequences with a label for every frame, from `.npz` files: `frames`, `labels` and `classes`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from edgernn.arrays import read_npz
from edgernn.contract import Array
from edgernn.data.sequences.found import MOST_BYTES
from edgernn.data.sequences.layouts import NUMBERS, VIDEO, Source, find_files
from edgernn.data.sequences.readers import Progress, each_file
from edgernn.errors import CorpusError, FormatError, few

__all__ = ["UNKNOWN", "FrameDataset", "LabelledFrames", "hold_out_frames", "kind_of_frames", "read_frame_labels"]

UNKNOWN = -1  # the label of frames that are neither trained on nor scored
_ARRAYS = ("frames", "labels", "classes")
_COLOURS = 3


@dataclass(frozen=True)
class LabelledFrames:
    """A sequence. frames: float32 (time, channels) or uint8 (time, height, width, 3).

    labels: int64 (time,), the index of the class of each frame, or -1 where it is unknown.
    """

    name: str
    frames: Array
    labels: Array


@dataclass(frozen=True)
class FrameDataset:
    """Sequences of one kind, "numbers" or "video", whose frames have one shape. The first class is the background."""

    kind: str
    classes: tuple[str, ...]
    sequences: Sequence[LabelledFrames]
    notes: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of a frame: (channels,) or (height, width, 3)."""
        return self.sequences[0].frames.shape[1:]


def read_frame_labels(
    path: Path, split: str | None, progress: Progress, classes: Sequence[str] | None = None
) -> FrameDataset:
    """Read the sequences of an `.npz` file or of those in a directory.

    split: the part to read where the data has parts, as `read_sequences` takes it. classes: those of the model that is
    evaluated; by default those of the data.
    Raises CorpusError, which names the file, for data that is missing or damaged, for files that do not fit each other,
    for a class that is not in `classes`, for data without a known label and, without `classes`, for a single class.
    """
    source = _find(path)
    names = None if classes is None else tuple(classes)
    sequences: list[LabelledFrames] = []
    for file in each_file(source.part(split), progress):
        try:
            arrays = read_npz(file.path, _ARRAYS)
        except FormatError as error:
            raise CorpusError(str(error)) from None
        own = _classes(arrays, file.path)
        if classes is None and names is not None and own != names:
            raise CorpusError(f"{file.path} has the classes {few(own)}, and other files have {few(names)}")
        names = names or own
        found = _labelled(arrays, file.path, _indices(own, names, file.path))
        if sequences and found.frames.shape[1:] != sequences[0].frames.shape[1:]:
            raise CorpusError(
                f"{file.path} has frames of {_shape(found.frames)}, and {sequences[0].name} has frames of "
                f"{_shape(sequences[0].frames)}: bring all of them to one size"
            )
        sequences.append(found)
        if sum(each.frames.nbytes for each in sequences) > MOST_BYTES:
            raise CorpusError(f"the frames up to {file.path} take more than {MOST_BYTES >> 30} GiB of memory")
    assert names is not None
    dataset = FrameDataset(VIDEO if sequences[0].frames.ndim > 2 else NUMBERS, names, sequences)
    return replace(dataset, notes=_checked(dataset, path, source.ignored, chosen=classes is not None))


def kind_of_frames(path: Path) -> str | None:
    """Return the kind of the first sequence at `path`, "numbers" or "video", or None for data that cannot be read."""
    try:
        file = next(iter(_find(path).files.values()))[0].path
        frames = read_npz(file, _ARRAYS[:1])
    except (CorpusError, FormatError):
        return None
    return VIDEO if "frames" in frames and frames["frames"].ndim > 2 else NUMBERS


def hold_out_frames(dataset: FrameDataset, fraction: float, seed: int) -> tuple[FrameDataset, FrameDataset]:
    """Return the data for training, and at least `fraction` of its frames that are held out: whole sequences.

    Of a single sequence, the end is held out. Raises CorpusError if nothing is left to train on.
    """
    sequences = list(dataset.sequences)
    if len(sequences) == 1:
        (only,) = sequences
        cut = min(len(only.labels) - 1, round(len(only.labels) * (1 - fraction)))
        if cut < 1:
            raise CorpusError(f"{only.name} has a single frame: nothing can be held out")
        parts = [replace(only, frames=only.frames[part], labels=only.labels[part]) for part in _halves(cut)]
        return replace(dataset, sequences=parts[:1]), replace(dataset, sequences=parts[1:], notes=())
    order = np.random.default_rng(seed).permutation(len(sequences))
    wanted, count = fraction * sum(len(each.labels) for each in sequences), 0
    chosen: list[int] = []
    for place in order[:-1]:  # one sequence at least stays in training
        if count >= wanted:
            break
        chosen.append(int(place))
        count += len(sequences[place].labels)
    train = [each for place, each in enumerate(sequences) if place not in chosen]
    return replace(dataset, sequences=train), replace(
        dataset, sequences=[sequences[place] for place in sorted(chosen)], notes=()
    )


def _find(path: Path) -> Source:
    """Return the npz files at `path`. Raises CorpusError if there are none."""
    source = find_files(path, NUMBERS)
    if source.format != "npz":
        raise CorpusError(f"{path} has no npz files: frames with labels are read from npz files")
    return source


def _halves(cut: int) -> tuple[slice, slice]:
    return slice(0, cut), slice(cut, None)


def _classes(arrays: Mapping[str, Array], path: Path) -> tuple[str, ...]:
    if lacking := [name for name in _ARRAYS if name not in arrays]:
        raise CorpusError(f"{path} has no {few(lacking)}: it needs frames (time, ...), labels (time,) and classes")
    classes = arrays["classes"]
    names = tuple(str(each) for each in classes.tolist()) if classes.ndim == 1 else ()
    if not names or "" in names or len(set(names)) < len(names) or not all(map(str.isprintable, names)):
        raise CorpusError(f"{path}: classes are not a list of different names")
    return names


def _indices(own: Sequence[str], names: Sequence[str], path: Path) -> Array:
    """Return the index in `names` of each of a file's own classes, and at the end -1, for frames without a label."""
    if unknown := [name for name in own if name not in names]:
        raise CorpusError(f"{path} has the class {unknown[0]}, which the model does not know: {few(names)}")
    return np.array([*map(list(names).index, own), UNKNOWN])


def _labelled(arrays: Mapping[str, Array], path: Path, indices: Array) -> LabelledFrames:
    """Return the sequence of one file, with its labels replaced by `indices` of them."""
    frames, labels = arrays["frames"], arrays["labels"]
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise CorpusError(f"{path}: labels are {labels.dtype}{list(labels.shape)}, not whole numbers (time,)")
    if not frames.ndim or len(frames) != len(labels):
        count = len(frames) if frames.ndim else 0
        raise CorpusError(f"{path} has {count:,} frames and {len(labels):,} labels: each frame needs one, or -1")
    if not len(labels):
        raise CorpusError(f"{path} has no frames: remove it")
    wrong = np.flatnonzero((labels < UNKNOWN) | (labels >= len(indices) - 1))
    if len(wrong):
        raise CorpusError(
            f"{path}: frame {wrong[0]} has the label {labels[wrong[0]]}, and there are {len(indices) - 1} classes"
        )
    return LabelledFrames(str(path), _frames(frames, path), indices[labels.astype(np.int64)])


def _frames(frames: Array, path: Path) -> Array:
    """Return frames as LabelledFrames has them."""
    if frames.ndim == 4 and frames.shape[3] == _COLOURS and frames.dtype == np.uint8 and frames.size:
        return frames
    rows = frames[:, None] if frames.ndim == 1 else frames
    if rows.ndim != 2 or rows.dtype.kind == "U" or not rows.size:
        raise CorpusError(
            f"{path}: frames are {frames.dtype}{list(frames.shape)}, neither numbers (time, channels) nor uint8 "
            "pictures (time, height, width, 3)"
        )
    with np.errstate(over="ignore"):  # what is too large becomes infinite, which is refused
        rows = rows.astype(np.float32)
    if not np.isfinite(rows).all():
        raise CorpusError(f"{path} has frames that are not finite: give them other values, and the label -1")
    return rows


def _shape(frames: Array) -> str:
    if frames.ndim == 2:
        return f"{frames.shape[1]} numbers"
    return f"{frames.shape[2]} × {frames.shape[1]} pixels"


def _checked(dataset: FrameDataset, path: Path, ignored: Sequence[str], *, chosen: bool) -> tuple[str, ...]:
    """Return the notes of a data set. chosen: its classes are those of a model."""
    counts = np.zeros(len(dataset.classes), np.int64)
    for each in dataset.sequences:
        counts += np.bincount(each.labels[each.labels > UNKNOWN], minlength=len(counts))
    if not counts.any():
        raise CorpusError(f"{path} has no known label: all labels are -1")
    if not chosen and (counts > 0).sum() < 2:
        raise CorpusError(f"{path} has one class, {dataset.classes[int(counts.argmax())]}: two are needed")
    notes = [f"{few(ignored)}: ignored, since the data are in npz files"] if ignored else []
    if lacking := [name for name, count in zip(dataset.classes, counts, strict=True) if not count]:
        notes.append(f"no frame has the label {few(lacking)}")
    return tuple(notes)
