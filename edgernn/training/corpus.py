"""Texts to train on: read, checked, and split into what trains and what is held out."""

from __future__ import annotations

import hashlib
import os
import sysconfig
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgernn import records
from edgernn.errors import CorpusError
from edgernn.textfile import read_text

__all__ = ["STDLIB", "Corpus", "CorpusRecord", "load_corpus"]

STDLIB = "stdlib"  # the corpus that every machine has: the source of Python's own standard library
_STDLIB_CHARS = 4_000_000
_STDLIB_SKIPPED = {"test", "tests", "idlelib", "lib2to3", "site-packages", "__pycache__", "pydoc_data"}


@dataclass(frozen=True)
class Corpus:
    """A text in two parts. The held-out part is split off before anything else sees it."""

    name: str
    train: str
    held_out: str

    @property
    def sha256(self) -> str:
        """Digest of both parts, by which a resumed run knows its corpus again."""
        digest = hashlib.sha256(self.train.encode())
        digest.update(b"\0" + self.held_out.encode())
        return digest.hexdigest()


@dataclass(frozen=True)
class CorpusRecord:
    """Where a run's corpus is found again, and by what it is known."""

    name: str
    held_out: str
    sha256: str
    train_chars: int
    held_out_chars: int

    @classmethod
    def of(cls, corpus: Corpus, held_out: str) -> CorpusRecord:
        """The record of `corpus`, split by `held_out`; files by their absolute paths."""
        name = corpus.name if corpus.name == STDLIB else os.path.abspath(corpus.name)
        held_out = os.path.abspath(held_out) if _fraction(held_out) is None else held_out
        return cls(name, held_out, corpus.sha256, len(corpus.train), len(corpus.held_out))

    @classmethod
    def from_json(cls, value: Any) -> CorpusRecord:
        """Read what a run's configuration holds. Raises FormatError for anything else."""
        values = records.record(value, "the corpus", set(cls.__dataclass_fields__))
        return cls(
            records.text(values["name"], "name"),
            records.text(values["held_out"], "held_out"),
            records.text(values["sha256"], "sha256"),
            records.integer(values["train_chars"], "train_chars"),
            records.integer(values["held_out_chars"], "held_out_chars"),
        )

    def without_paths(self) -> dict[str, Any]:
        """For a bundle: which folder the files were in is nobody's business."""
        held_out = self.held_out if _fraction(self.held_out) is not None else Path(self.held_out).name
        return {**asdict(self), "name": Path(self.name).name, "held_out": held_out}


def load_corpus(name: str, held_out: str = "0.1") -> Corpus:
    """The corpus `name`, a file or "stdlib".

    held_out: a fraction, for that part at the text's end, or a file of its own.
    Raises CorpusError for what is missing, empty, not UTF-8 text, or too short to split.
    """
    text = "".join(_stdlib()) if name == STDLIB else read_text(Path(name))
    fraction = _fraction(held_out)
    if fraction is None:
        return Corpus(name, text, read_text(Path(held_out)))
    cut = int(len(text) * (1 - fraction))
    if len(text) - cut < 2:
        raise CorpusError(f"{name}: {len(text)} characters are too few to hold out {held_out} of them")
    return Corpus(name, text[:cut], text[cut:])


def _fraction(held_out: str) -> float | None:
    """The fraction that `held_out` spells, or None where it names a file."""
    try:
        fraction = float(held_out)
    except ValueError:
        return None
    if not 0 < fraction < 1:
        raise CorpusError(f"--held-out {held_out} is neither a fraction between 0 and 1 nor a file")
    return fraction


def _stdlib() -> Iterator[str]:
    """Source files of the standard library in the order of their names, ASCII only, up to a fixed size.

    Files are spread over the alphabet by their digest, so that the held-out end is not one package alone.
    """
    root = Path(sysconfig.get_path("stdlib"))
    files = [p for p in root.rglob("*.py") if not _STDLIB_SKIPPED.intersection(p.relative_to(root).parts)]
    if not files:
        raise CorpusError(f"no Python source under {root}: give a text file instead")
    left = _STDLIB_CHARS
    for path in sorted(files, key=lambda p: hashlib.sha256(p.relative_to(root).as_posix().encode()).digest()):
        data = path.read_bytes()
        if data.isascii() and b"\0" not in data:
            text = data.decode("ascii").replace("\r\n", "\n")[:left]
            left -= len(text)
            yield text
        if not left:
            return
