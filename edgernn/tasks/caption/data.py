"""Images and captions to train on: where they come from, how a run recognises them, and captions as padded tokens."""

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
from edgernn.errors import CorpusError, counted
from edgernn.runtime.pipelines.caption import MAX_TOKENS
from edgernn.tasks.caption.scenes import draw_scenes
from edgernn.tasks.caption.settings import SCENES
from edgernn.tokenizer import Ids, Tokenizer

__all__ = ["IGNORED", "DataRecord", "left_out", "open_dataset", "pad_captions", "special_tokens"]

IGNORED = -100  # a target that does not count in the loss
_MOST_NAMED = 3


@dataclass(frozen=True)
class DataRecord:
    """What a run remembers of its images.

    source: what the command line was given. train, dev: the number of images to learn from, and to evaluate on.
    sha256: of their names and captions.
    """

    source: str
    train: int
    dev: int
    sha256: str

    @classmethod
    def of(cls, source: str, dataset: CaptionDataset) -> DataRecord:
        """The record of `dataset`, which was read from `source`."""
        digest = hashlib.sha256()
        for split in (TRAIN, DEV):
            for image in dataset[split]:
                digest.update(json.dumps([split, image.name, *image.captions]).encode())
        return cls(source, len(dataset[TRAIN]), len(dataset[DEV]), digest.hexdigest())

    @classmethod
    def from_json(cls, value: Any) -> DataRecord:
        """Read what `config.json` holds. Raises FormatError for anything else."""
        record = records.construct(cls, value, "the data")
        for text in (record.source, record.sha256):
            records.text(text, "the data")
        for count in (record.train, record.dev):
            records.integer(count, "images")
        return record

    def check(self, dataset: CaptionDataset) -> None:
        """Raise CorpusError unless `dataset` is the one that the run began with."""
        there = DataRecord.of(self.source, dataset)
        if there != self:
            raise CorpusError(
                f"{self.source} is not what the run began with, {counted(self.train, 'image')} to learn from and "
                f"{self.dev:,} to evaluate on: it has {there.train:,} and {there.dev:,}, or other captions: train again"
            )


def open_dataset(source: str) -> CaptionDataset:
    """The images that `source` names: a path, or "scenes" to draw them. Raises CorpusError if there are none."""
    return draw_scenes() if source == SCENES else read_captions(Path(source))


def special_tokens(tokenizer: Tokenizer) -> tuple[int, int, int]:
    """The ids of the start, the end and the unknown token of a vocabulary of captions."""
    assert tokenizer.start_id is not None
    assert tokenizer.end_id is not None
    assert tokenizer.unknown_id is not None
    return tokenizer.start_id, tokenizer.end_id, tokenizer.unknown_id


def pad_captions(captions: Sequence[Sequence[int]], tokenizer: Tokenizer) -> tuple[Ids, Ids]:
    """Input tokens (captions, words), which begin with the start token, and the targets that follow them.

    Padding and unknown words are ignored as targets, and no end token follows a caption that was cut.
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
    """What a data set lacks, in words, so that nobody takes the figures of a part for those of the whole."""
    notes = []
    for what, names in (("have captions but no file", missing), ("cannot be read", damaged)):
        if names:
            more = f" and {len(names) - _MOST_NAMED:,} more" if len(names) > _MOST_NAMED else ""
            listed = ", ".join(names[:_MOST_NAMED])
            notes.append(f"images that {what} are left out, {len(names):,} in all: {listed}{more}")
    if empty_captions:
        notes.append(f"captions without words are left out, {empty_captions:,} in all")
    return notes
