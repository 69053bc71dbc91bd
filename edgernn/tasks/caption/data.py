"""The data of captioners: open data sets, verify them when a run is resumed, and pad captions to token batches."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgernn import records
from edgernn.data.captions import DEV, TRAIN, CaptionDataset, read_captions
from edgernn.data.scenes import draw_scenes
from edgernn.drawn_names import SCENES
from edgernn.errors import CorpusError, counted
from edgernn.runtime.pipelines.caption import MAX_TOKENS
from edgernn.tokenizer import Ids, Tokenizer

__all__ = ["IGNORED", "DataRecord", "left_out", "open_dataset", "pad_captions", "special_tokens"]

IGNORED = -100  # targets with this value do not contribute to the loss
_MOST_NAMED = 3


@dataclass(frozen=True)
class DataRecord:
    """A run's record of its data set.

    source: the data set as given on the command line. train, dev: the number of images to train and to evaluate on.
    sha256: the digest of the names and captions of the images.
    """

    source: str
    train: int
    dev: int
    sha256: str

    @classmethod
    def of(cls, source: str, dataset: CaptionDataset) -> DataRecord:
        """Return the record of `dataset`, which was read from `source`."""
        digest = hashlib.sha256()
        for split in (TRAIN, DEV):
            for image in dataset[split]:
                digest.update(json.dumps([split, image.name, *image.captions]).encode())
        return cls(source, len(dataset[TRAIN]), len(dataset[DEV]), digest.hexdigest())

    @classmethod
    def from_json(cls, value: Any) -> DataRecord:
        """Read the record in `config.json`. Raises FormatError for anything else."""
        record = records.construct(cls, value, "the data")
        for text in (record.source, record.sha256):
            records.text(text, "the data")
        for count in (record.train, record.dev):
            records.integer(count, "images")
        return record

    def check(self, dataset: CaptionDataset) -> None:
        """Raise CorpusError unless `dataset` is the data set with which the run began."""
        there = DataRecord.of(self.source, dataset)
        if there != self:
            raise CorpusError(
                f"{self.source} is not what the run began with, {counted(self.train, 'image')} to learn from and "
                f"{self.dev:,} to evaluate on: it has {there.train:,} and {there.dev:,}, or other captions: train again"
            )


def open_dataset(source: str) -> CaptionDataset:
    """Return the data set at the path `source`, or drawn scenes for "scenes".

    Raises CorpusError if it has no images.
    """
    return draw_scenes() if source == SCENES else read_captions(Path(source))


def special_tokens(tokenizer: Tokenizer) -> tuple[int, int, int]:
    """Return the ids of the start, end and unknown tokens of a vocabulary of captions."""
    assert tokenizer.start_id is not None
    assert tokenizer.end_id is not None
    assert tokenizer.unknown_id is not None
    return tokenizer.start_id, tokenizer.end_id, tokenizer.unknown_id


def pad_captions(captions: Sequence[Sequence[int]], tokenizer: Tokenizer) -> tuple[Ids, Ids]:
    """Return input tokens (captions, words), which begin with the start token, and the targets for each of them.

    Padding and unknown words are ignored as targets; a caption that was truncated has no end token.
    """
    start, end, unknown = special_tokens(tokenizer)
    longest = max(map(len, captions)) + 1
    tokens = np.full((len(captions), longest), end, np.int64)
    targets = np.full((len(captions), longest), IGNORED, np.int64)
    tokens[:, 0] = start
    for row, ids in enumerate(captions):
        tokens[row, 1 : len(ids) + 1] = ids
        targets[row, : len(ids)] = ids
        if len(ids) < MAX_TOKENS:
            targets[row, len(ids)] = end
    targets[targets == unknown] = IGNORED
    return tokens, targets


def left_out(missing: Sequence[str], damaged: Sequence[str], empty_captions: int) -> list[str]:
    """Return sentences about missing, damaged and empty data, without which figures are not comparable."""
    notes = []
    for what, names in (("have captions but no file", missing), ("cannot be read", damaged)):
        if names:
            more = f" and {len(names) - _MOST_NAMED:,} more" if len(names) > _MOST_NAMED else ""
            listed = ", ".join(names[:_MOST_NAMED])
            notes.append(f"images that {what} are left out, {len(names):,} in all: {listed}{more}")
    if empty_captions:
        notes.append(f"captions without words are left out, {empty_captions:,} in all")
    return notes
