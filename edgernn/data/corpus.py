"""Texts to train on: find and check them, split off the held-out part, and encode both parts once to token files.

Texts are read in pieces and tokens are mapped from disk, so memory does not grow with the length of a text.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from edgernn import records
from edgernn.data.downloads import TEXTS, cached_text
from edgernn.data.tokens import TokenFile
from edgernn.data.unknown import UnknownTokens
from edgernn.errors import CorpusError, FormatError, counted, few
from edgernn.media.text import PLAIN, TextFormat, read_pieces, read_text, remarks
from edgernn.paths import Kind, identify
from edgernn.tokenizer import Tokenizer, whole_pieces

__all__ = ["STDIN", "STDLIB", "Corpus", "CorpusRecord", "open_corpus"]

STDLIB = "stdlib"  # the corpus that every machine has: the source code of Python's standard library
STDIN = "-"
_STDIN_NAME = "standard input"
_STDLIB_CHARS = 4_000_000
_STDLIB_SKIPPED = {"test", "tests", "idlelib", "lib2to3", "site-packages", "__pycache__", "pydoc_data"}

_MOST_NAMED = 3  # files to name that should perhaps be read with other options

Text = Callable[[], Iterator[str]]  # each call reads the text from the beginning, in pieces


@dataclass(frozen=True)
class Corpus:
    """A text in two parts. The held-out part is split off first, so that nothing is learned from it.

    notes: sentences that suggest other options for reading the files.
    """

    name: str
    train: Text
    held_out: Text
    notes: Sequence[str] = ()

    def encode(
        self, tokenizer: Tokenizer, train: Path, held_out: Path, unknown: UnknownTokens | None = None
    ) -> CorpusRecord:
        """Write both parts as token files. Words and characters outside the vocabulary become the unknown token.

        unknown: counts the unknown tokens of the training text.
        """
        digest = hashlib.sha256()
        train_chars, _ = _encode(self.train, tokenizer, train, digest.update, unknown)
        digest.update(b"\0")
        held_out_chars, first_chars = _encode(self.held_out, tokenizer, held_out, digest.update)
        if len(TokenFile(held_out, len(tokenizer))) < 2:
            raise CorpusError(f"{self.name}: the held-out text has fewer than two tokens and cannot be scored")
        return CorpusRecord(
            self.name,
            digest.hexdigest(),
            train_chars,
            held_out_chars,
            held_out_chars - first_chars,
            len(TokenFile(train, len(tokenizer))),
            len(TokenFile(held_out, len(tokenizer))),
        )


@dataclass(frozen=True)
class CorpusRecord:
    """A run's record of its corpus.

    predicted_chars: the characters of the held-out text without those of its first token, which is not predicted.
    """

    name: str
    sha256: str
    train_chars: int
    held_out_chars: int
    predicted_chars: int
    train_tokens: int
    held_out_tokens: int

    def __post_init__(self) -> None:
        if not 0 < self.predicted_chars <= self.held_out_chars:
            raise FormatError(f"the corpus predicts {self.predicted_chars} of {self.held_out_chars} characters")

    @staticmethod
    def open(path: Path, vocabulary: int, expected: int) -> TokenFile:
        """Return the token file at `path`. Raises CorpusError if it is missing or does not have `expected` tokens."""
        tokens = TokenFile(path, vocabulary)
        if len(tokens) != expected:
            raise CorpusError(f"{path} has {counted(len(tokens), 'token')}, not {expected:,}: it was cut or changed")
        return tokens

    @classmethod
    def from_json(cls, value: Any) -> CorpusRecord:
        """Read the record in a run's configuration. Raises FormatError for anything else."""
        values = records.record(value, "the corpus", set(cls.__dataclass_fields__))
        name, digest = (records.text(values.pop(key), key) for key in ("name", "sha256"))
        return cls(name, digest, **{key: records.integer(size, key) for key, size in values.items()})


@contextmanager
def open_corpus(
    sources: Sequence[str], held_out: str = "0.1", glob: str | None = None, format: TextFormat = PLAIN
) -> Iterator[Corpus]:
    """Yield the concatenated text of all `sources`, which can be read repeatedly within the block.

    sources: files, directories (their files that match `glob`, sorted by name), "-" for standard input, "stdlib", and
    the public texts in `downloads.TEXTS`.
    held_out: the fraction of the text to hold out, at its end, or a separate file.
    glob: by default *.txt, or *.jsonl if the format names a field. format: how files and standard input are read.
    Raises CorpusError for texts that are missing, empty, unreadable, or too short to split, and ConfigError for a
    format if no file and no standard input is read.
    """
    fraction = _fraction(held_out)
    name = ", ".join(_STDIN_NAME if source == STDIN else Path(source).name or source for source in sources)
    if fraction is not None and all(source in {STDLIB, *TEXTS} for source in sources):
        format.refuse_for(name)
    with ExitStack() as stack:
        default = "*.txt" if format.field is None else "*.jsonl"
        reader = _Reader(format, default if glob is None else glob, stack)
        whole = partial(_joined, [part for source in sources for part in reader.parts(source)])
        if fraction is None:
            held_out_file = reader.file(Path(held_out))
            yield Corpus(name, whole, held_out_file, reader.notes())
            return
        length = sum(map(len, whole()))
        cut = int(length * (1 - fraction))
        if length - cut < 2 or cut < 2:
            raise CorpusError(f"{name} has {counted(length, 'character')}, too few to hold out {held_out} of them")
        yield Corpus(name, lambda: _span(whole(), 0, cut), lambda: _span(whole(), cut, length), reader.notes())


class _Reader:
    """Finds the texts of sources, and collects the files among them.

    stack: closes temporary files.
    """

    def __init__(self, format: TextFormat, glob: str, stack: ExitStack) -> None:
        self._format, self._glob, self._stack = format, glob, stack
        self.files: list[tuple[Path, str]] = []

    def parts(self, source: str) -> list[Text]:
        """Return the texts that `source` names."""
        if source == STDLIB:
            return [_stdlib]
        if source == STDIN:
            if sys.stdin is None:
                raise CorpusError("standard input is closed: name a file, or pipe a text into the command")
            return [self._spooled(sys.stdin.buffer, _STDIN_NAME)]
        if source in TEXTS:
            return [partial(read_pieces, cached_text(source))]
        if not source:
            raise CorpusError("the name of a corpus is empty: name a file, a directory or - for standard input")
        path = Path(source)
        if path.is_dir():
            return [self.file(each) for each in _matching(path, self._glob)]
        if path.exists() and not path.is_file():  # a pipe can be read only once
            with path.open("rb") as pipe:
                return [self._spooled(pipe, source)]
        return [self.file(path)]

    def file(self, path: Path, name: str = "") -> Text:
        """Return a function that reads the text of a file."""
        self.files.append((path, name))
        return partial(read_pieces, path, name, self._format)

    def notes(self) -> list[str]:
        """Return sentences that suggest other options for reading the first files."""
        found: list[str] = []
        for path, name in self.files:
            found += remarks(path, name, self._format)
            if len(found) >= _MOST_NAMED:
                break
        return found

    def _spooled(self, pipe: BinaryIO, name: str) -> Text:
        spool = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="edgernn-"))) / "text"
        with spool.open("wb") as file:
            shutil.copyfileobj(pipe, file)
        return self.file(spool, name)


def _encode(
    text: Text,
    tokenizer: Tokenizer,
    path: Path,
    update: Callable[[bytes], None],
    unknown: UnknownTokens | None = None,
) -> tuple[int, int]:
    """Write the tokens of `text` to `path`; return the number of its characters and of those of its first token."""
    chars, first = 0, 0
    with TokenFile.writer(path, len(tokenizer)) as write:
        for piece in whole_pieces(text()):
            first = first or tokenizer.first_chars(piece)
            chars += len(piece)
            update(piece.encode())
            ids = tokenizer.encode(piece, unknown="replace")
            if unknown is not None:
                unknown.count(piece, ids)
            write(ids)
    return chars, first


def _matching(folder: Path, glob: str) -> list[Path]:
    try:
        found = sorted(each for each in folder.rglob(glob) if each.is_file() and each.stat().st_size)
    except (NotImplementedError, ValueError) as error:
        raise CorpusError(f"--glob {glob}: {error}") from None
    if not found:
        suffixes = sorted({f"*{each.suffix}" for each in folder.rglob("*") if each.suffix and each.is_file()})
        has = f"; it has {few(suffixes)}" if suffixes else ""
        found_there = identify(folder)
        kind = f"is {found_there.noun}, and " if found_there.kind in (Kind.RUN, Kind.BUNDLE) else ""
        raise CorpusError(f"{folder} {kind}has no files that match {glob}{has}: choose others with --glob")
    return found


def _joined(parts: Sequence[Text]) -> Iterator[str]:
    """Yield the texts one after another, each starting on a new line."""
    last = "\n"
    for part in parts:
        if not last.endswith("\n"):
            yield "\n"
        for piece in part():
            last = piece or last
            yield piece


def _span(text: Iterable[str], start: int, end: int) -> Iterator[str]:
    """Yield characters `start` to `end` of `text`."""
    at = 0
    for piece in text:
        if at >= end:
            return
        if at + len(piece) > start:
            yield piece[max(0, start - at) : end - at]
        at += len(piece)


def _fraction(held_out: str) -> float | None:
    """Return the fraction that `held_out` states, or None if it is the name of a file."""
    try:
        fraction = float(held_out)
    except ValueError:
        return None
    if not 0 < fraction < 1:
        raise CorpusError(f"--held-out {held_out} is neither a fraction between 0 and 1 nor a file")
    return fraction


def _stdlib() -> Iterator[str]:
    """Yield the ASCII source files of the standard library, up to a fixed total size.

    Files are sorted by the digests of their names, so that the held-out part at the end is a mixture of packages.
    """
    root = Path(sysconfig.get_path("stdlib"))
    files = [p for p in root.rglob("*.py") if not _STDLIB_SKIPPED.intersection(p.relative_to(root).parts)]
    if not files:
        raise CorpusError(f"no Python source under {root}: give a text file instead")
    left = _STDLIB_CHARS
    for path in sorted(files, key=lambda p: hashlib.sha256(os.fsencode(p.relative_to(root).as_posix())).digest()):
        data = path.read_bytes()
        if data and data.isascii() and b"\0" not in data:
            text = read_text(data)[:left]
            left -= len(text)
            yield text
        if not left:
            return
