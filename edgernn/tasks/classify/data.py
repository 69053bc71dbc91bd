"""The data of classifiers: open labelled sequences or drawn clips."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgernn.data.captions import DEV, TEST, TRAIN
from edgernn.data.clips import CLIP_CLASSES, DrawnClips
from edgernn.data.sequences import Example, SequenceDataset, hold_out, parts, read_sequences
from edgernn.errors import ConfigError
from edgernn.tasks.classify.settings import ClassifyData
from edgernn.tasks.labelling import CLIPS
from edgernn.tasks.score import Progress

__all__ = ["HELD_OUT", "TRAIN", "drawn_clips", "open_training"]

HELD_OUT = "held-out"  # the part of a run that TRAIN leaves
_DRAWN = {TRAIN: 2500, DEV: 400, TEST: 1000}  # clips of each split


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
