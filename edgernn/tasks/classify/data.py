"""The data of classifiers: open labelled sequences or drawn clips, and choose the sequences of each batch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edgernn.contract import Array
from edgernn.data.captions import DEV, TEST, TRAIN
from edgernn.data.clips import CLIP_CLASSES, DrawnClips
from edgernn.data.sequences import Example, SequenceDataset, hold_out, parts, read_sequences
from edgernn.errors import ConfigError
from edgernn.tasks.classify.settings import ClassifyData
from edgernn.tasks.labelling import CLIPS
from edgernn.tasks.score import Progress

__all__ = ["HELD_OUT", "TRAIN", "batches_by_length", "drawn_clips", "open_training"]

HELD_OUT = "held-out"  # the part of a run that TRAIN leaves
_DRAWN = {TRAIN: 2500, DEV: 400, TEST: 1000}  # clips of each split
_BATCHES_SORTED = 16  # batches within which sequences are sorted by length


def open_training(
    source: str, settings: ClassifyData, seed: int, progress: Progress, channels: Sequence[str] = ()
) -> tuple[SequenceDataset, SequenceDataset]:
    """Return the sequences to train on, and those to evaluate on.

    channels: the names of the channels of numbers, in the order of the run from which training starts.
    Raises CorpusError for data that is missing, damaged or too small, ConfigError for settings that do not fit it.
    """
    settings.check_source(source)
    if source == CLIPS:
        if settings.kind not in (None, "video"):
            raise ConfigError(f"--kind {settings.kind} does not fit clips, which are video: leave it out")
        return drawn_clips(TRAIN, settings.digits), drawn_clips(DEV, settings.digits)
    path = Path(source)
    train = read_sequences(path, settings.kind, split=TRAIN, rate=settings.rate, channels=channels, progress=progress)
    if DEV not in parts(path, settings.kind):
        return hold_out(train, settings.held_out, seed)
    held_out = read_sequences(
        path,
        settings.kind,
        split=DEV,
        classes=train.classes,
        rate=train.rate,
        channels=train.channels,
        progress=progress,
    )
    return train, held_out


def drawn_clips(split: str, digits: Path | None) -> SequenceDataset:
    """Return the drawn clips of a split. Raises CorpusError for a split that they do not have."""
    drawn = DrawnClips(_DRAWN.get(split, 0), split=split, digits=digits)
    examples = [Example(f"clip {place}", clip.frames, clip.label) for place, clip in enumerate(drawn)]
    return SequenceDataset("video", CLIP_CLASSES, examples)


def batches_by_length(lengths: Array, size: int, random: np.random.Generator) -> list[Array]:
    """Return the places of the sequences of each batch of one pass; those of a batch have similar lengths."""
    order = random.permutation(len(lengths))
    chunk = size * _BATCHES_SORTED
    batches: list[Array] = []
    for begun in range(0, len(order), chunk):
        places = order[begun : begun + chunk]
        places = places[np.argsort(lengths[places], kind="stable")]
        batches += [places[start : start + size] for start in range(0, len(places), size)]
    return [batches[place] for place in random.permutation(len(batches))]
