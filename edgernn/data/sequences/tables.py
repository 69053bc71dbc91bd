"""Labelled sequences in CSV files: texts, or a row of numbers for each step."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from edgernn.data.sequences.found import LabelledSequence
from edgernn.errors import CorpusError, counted
from edgernn.media.text import read_text

__all__ = ["NUMBER_COLUMNS", "Table", "file_text", "number_rows", "text_rows"]

NUMBER_COLUMNS = ("sequence", "label", "group")
_MOST_TEXT = 1 << 29  # bytes of a text
_LARGEST = float(np.finfo(np.float32).max)


class Table:
    """A CSV file whose first line names its columns."""

    def __init__(self, path: Path) -> None:
        """places: the index of each column, by its name in lower case. empty: rows found without a text."""
        self.path, self.empty = path, 0
        self._reader = csv.reader(io.StringIO(file_text(path)), strict=True)
        header = [name.strip().lower() for name in next(self._reader, [])]
        self.places = {name: place for place, name in enumerate(header)}
        if len(self.places) < len(header):
            raise CorpusError(f"{path} has two columns of the same name")

    @property
    def channels(self) -> list[str]:
        """The names of the columns of numbers. Raises CorpusError if there are none, or one has no name."""
        names = [name for name in self.places if name not in NUMBER_COLUMNS]
        if not names:
            raise CorpusError(f"{self.path} has no channels: it needs columns of numbers beside sequence and label")
        if not all(name and name.isprintable() for name in names):
            raise CorpusError(f"{self.path} has a column without a name: name it, or remove it")
        return names

    def __iter__(self) -> Iterator[tuple[str, list[str]]]:
        """Yield "line NUMBER of FILE" and the fields of every row that is not empty."""
        try:
            for row in self._reader:
                name = f"line {self._reader.line_num} of {self.path.name}"
                if row and len(row) != len(self.places):
                    raise CorpusError(f"{name} has {counted(len(row), 'column')}, not {len(self.places)}")
                if row:
                    yield name, row
        except csv.Error as error:
            raise CorpusError(f"line {self._reader.line_num} of {self.path.name} is not CSV: {error}") from None

    def field(self, row: Sequence[str], column: str) -> str:
        """Return a field without surrounding spaces, "" where there is no such column."""
        return row[self.places[column]].strip() if column in self.places else ""


def text_rows(table: Table) -> Iterator[LabelledSequence]:
    """Yield the text of every row that has one. Columns: text, label and, optionally, group."""
    for name, row in table:
        if text := table.field(row, "text"):
            yield LabelledSequence(name, text, table.field(row, "label"), table.field(row, "group"))
        else:
            table.empty += 1


def number_rows(table: Table, channels: Sequence[str]) -> Iterator[LabelledSequence]:
    """Yield the rows of each sequence as float32 (rows, channels). Columns: NUMBER_COLUMNS, and one for each channel.

    channels: the names of the columns, in the order of the rows.
    Raises CorpusError, which names the line, for rows that do not follow each other and for fields without a number.
    """
    places = [table.places[name] for name in channels]
    seen: set[str] = set()
    values, head = array("f"), None
    for name, row in table:
        sequence, label, group = (table.field(row, column) for column in NUMBER_COLUMNS)
        if head is None or sequence != head[0]:
            if sequence in seen:
                raise CorpusError(f"{name}: the sequence {sequence} began earlier: its rows must follow each other")
            if head is not None:
                yield _numbers(table, values, head)
            seen.add(sequence)
            values, head = array("f"), (sequence, label, group)
        if (sequence, label, group) != head:
            raise CorpusError(f"{name}: the label or the group changes within the sequence {sequence}")
        try:
            values.extend(_finite(row[place]) for place in places)
        except ValueError as error:
            raise CorpusError(f"{name}: {error}") from None
    if head is not None:
        yield _numbers(table, values, head)


def _numbers(table: Table, values: array[float], head: tuple[str, str, str]) -> LabelledSequence:
    sequence, label, group = head
    rows = np.frombuffer(values, np.float32).reshape(-1, len(table.channels))
    return LabelledSequence(f"sequence {sequence} of {table.path.name}", rows, label, group)


def _finite(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"{text[:40]!r} is not a number") from None
    if not abs(value) <= _LARGEST:
        raise ValueError(f"{text[:40]} is not a finite number of 32 bits")
    return value


def file_text(path: Path) -> str:
    """Return the text of a file, which may be compressed by gzip. Raises CorpusError if it cannot be read."""
    try:
        if path.suffix.lower() == ".gz":
            with gzip.open(path) as file:
                data = file.read(_MOST_TEXT + 1)
        elif path.stat().st_size <= _MOST_TEXT:
            data = path.read_bytes()
        else:
            data = b" " * (_MOST_TEXT + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise CorpusError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if len(data) > _MOST_TEXT:
        raise CorpusError(f"{path} has more than {_MOST_TEXT >> 20:,} MiB of text: divide it")
    return read_text(data, str(path), None)
