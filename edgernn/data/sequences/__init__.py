"""Labelled sequences from common layouts of files: recordings, texts, rows of numbers and clips.

layouts     which files are data, their format and their parts
readers     a reader for each format; `tables` reads CSV, `found` is what readers return
dataset     the data set that is made of it
held_out    the split into training and held-out examples
packed      sequences as a run stores them
"""

from edgernn.data.sequences.dataset import Example, SequenceDataset, kind_of, part_to_evaluate, parts, read_sequences
from edgernn.data.sequences.held_out import hold_out
from edgernn.data.sequences.layouts import KINDS, NUMBERS, SOUND, TEXT, VIDEO
from edgernn.data.sequences.packed import PackedRecord, PackedSequences

__all__ = [
    "KINDS",
    "NUMBERS",
    "SOUND",
    "TEXT",
    "VIDEO",
    "Example",
    "PackedRecord",
    "PackedSequences",
    "SequenceDataset",
    "hold_out",
    "kind_of",
    "part_to_evaluate",
    "parts",
    "read_sequences",
]
