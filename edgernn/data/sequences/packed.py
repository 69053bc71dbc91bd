"""Sequences packed one after another in memory-mapped files, as a run stores its data."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgernn import records
from edgernn.contract import Array
from edgernn.errors import CorpusError, FormatError, counted

__all__ = ["PackedRecord", "PackedSequences"]

_FILES = ("values", "ends", "labels")
_BLOCK = 1 << 22  # bytes


@dataclass(frozen=True)
class PackedRecord:
    """A run's record of packed sequences: their number, that of all their rows, and the digest of their files."""

    sequences: int
    rows: int
    sha256: str

    def to_json(self) -> dict[str, Any]:
        """Return the record as it stands in a run's configuration."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Any) -> PackedRecord:
        """Read the record in a run's configuration. Raises FormatError for anything else."""
        values = records.record(value, "packed sequences", set(cls.__dataclass_fields__))
        sequences, rows = (records.integer(values[key], key) for key in ("sequences", "rows"))
        if not 0 < sequences <= rows:
            raise FormatError(f"there are {counted(sequences, 'packed sequence')} of {counted(rows, 'row')}")
        return cls(sequences, rows, records.text(values["sha256"], "sha256"))


class PackedSequences:
    """Sequences in the files NAME.values.npy, NAME.ends.npy and NAME.labels.npy, mapped from disk and read-only.

    values: the rows (rows, ...) of all sequences, one after another. ends: where each ends, exclusive, int64
    (sequences,). labels: int64 (sequences,).
    """

    def __init__(self, values: Array, ends: Array, labels: Array) -> None:
        self.values, self.ends, self.labels = values, ends, labels

    def __len__(self) -> int:
        return len(self.ends)

    def sequence(self, index: int) -> Array:
        """Return the rows (length, ...) of a sequence. Raises IndexError for one that does not exist."""
        if not 0 <= index < len(self):
            raise IndexError(f"there is no sequence {index} of {len(self)}")
        return self.values[self.ends[index - 1] if index else 0 : self.ends[index]]

    @staticmethod
    def write(folder: Path, name: str, sequences: Sequence[Array], labels: Sequence[int]) -> PackedRecord:
        """Write sequences, which have the same type and the same axes after the first, and return their record."""
        ends = np.cumsum([len(each) for each in sequences], dtype=np.int64)
        first = sequences[0]
        shape = (int(ends[-1]), *first.shape[1:])
        rows = np.lib.format.open_memmap(_path(folder, name, "values"), "w+", first.dtype, shape)
        for end, each in zip(ends, sequences, strict=True):
            rows[end - len(each) : end] = each
        rows.flush()
        np.save(_path(folder, name, "ends"), ends)
        np.save(_path(folder, name, "labels"), np.asarray(labels, np.int64))
        return PackedRecord(len(sequences), shape[0], _digest(folder, name))

    @classmethod
    def of_run(cls, folder: Path, name: str, record: Mapping[str, Any]) -> PackedSequences:
        """Map the files of a run. record: that of its data, with a PackedRecord under `name`.

        Raises FormatError if there is none, CorpusError as `open` does.
        """
        return cls.open(folder, name, PackedRecord.from_json(record.get(name)))

    @classmethod
    def open(cls, folder: Path, name: str, record: PackedRecord) -> PackedSequences:
        """Map the files. Raises CorpusError if one is missing, or if they are not those that `record` describes."""
        try:
            if _digest(folder, name) != record.sha256:
                raise CorpusError(f"{_path(folder, name, 'values')}, or a file beside it, was changed: train again")
            packed = cls(*(np.load(_path(folder, name, file), mmap_mode="r") for file in _FILES))
        except (OSError, ValueError) as error:
            raise CorpusError(f"{folder / name} cannot be read: {getattr(error, 'strerror', None) or error}") from None
        if (len(packed), len(packed.values), len(packed.labels)) != (record.sequences, record.rows, record.sequences):
            sizes = f"{counted(record.sequences, 'sequence')} of {counted(record.rows, 'row')}"
            raise CorpusError(f"{_path(folder, name, 'values')} does not hold {sizes}: train again")
        return packed


def _path(folder: Path, name: str, file: str) -> Path:
    return folder / f"{name}.{file}.npy"


def _digest(folder: Path, name: str) -> str:
    digest = hashlib.sha256()
    for each in _FILES:
        with _path(folder, name, each).open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    return digest.hexdigest()
