"""What is in the cache: public texts, features of images, compiled code, and what interrupted writes left behind."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgernn.data.downloads import IMAGES, TEXTS
from edgernn.paths import cache_directory
from edgernn.runtime.compiling import COMPILED

__all__ = ["CacheEntry", "cache_entries", "empty_cache"]

_FEATURES = re.compile(r"[0-9a-f]{64}")
_LIBRARY = re.compile(r"[0-9a-f]{64}\.so")
_UNFINISHED = re.compile(r"tmp\w+")  # as tempfile names the directory of a compilation
_INTERRUPTED = re.compile(r"\.(?P<name>[\w.]+)\.[^.]+(\.old)?")  # as `edgernn.atomic` names what it has not finished


@dataclass(frozen=True)
class CacheEntry:
    """A file or a directory that edgernn wrote into its cache, and its size in bytes.

    kind: "text" that was downloaded, "features" of images, "code" that was compiled for a bundle in C, or
    "interrupted": a write that did not end, or goes on.
    """

    path: Path
    kind: str
    bytes: int

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {"path": str(self.path), "kind": self.kind, "bytes": self.bytes}


def cache_entries() -> list[CacheEntry]:
    """All that edgernn wrote into its cache, in the order of the paths. What others put there is not listed."""
    return sorted(_entries(), key=lambda entry: entry.path)


def empty_cache() -> list[CacheEntry]:
    """Remove all that edgernn wrote into its cache, and the directories that this leaves empty. Returns what it was.

    Raises OSError for what cannot be removed.
    """
    entries = cache_entries()
    for entry in entries:
        if entry.path.is_dir() and not entry.path.is_symlink():
            shutil.rmtree(entry.path)
        else:
            entry.path.unlink()
    root = cache_directory()
    for directory in (root / IMAGES, root / COMPILED, root):
        with suppress(OSError):  # of others' files in it
            directory.rmdir()
    return entries


def _entries() -> Iterator[CacheEntry]:
    root = cache_directory()
    texts = {f"{name}.txt" for name in TEXTS}
    for path in _inside(root):
        if path.name in texts:
            yield CacheEntry(path, "text", _bytes(path))
        elif _name_of_interrupted(path) in texts:
            yield CacheEntry(path, "interrupted", _bytes(path))
    for path in _inside(root / IMAGES):
        if _FEATURES.fullmatch(path.name):
            yield CacheEntry(path, "features", _bytes(path))
        elif _FEATURES.fullmatch(_name_of_interrupted(path)):
            yield CacheEntry(path, "interrupted", _bytes(path))
    for path in _inside(root / COMPILED):
        if _LIBRARY.fullmatch(path.name):
            yield CacheEntry(path, "code", _bytes(path))
        elif _UNFINISHED.fullmatch(path.name):
            yield CacheEntry(path, "interrupted", _bytes(path))


def _inside(directory: Path) -> list[Path]:
    return list(directory.iterdir()) if directory.is_dir() else []


def _name_of_interrupted(path: Path) -> str:
    """The name that an unfinished write at `path` was to have; empty for anything else."""
    found = _INTERRUPTED.fullmatch(path.name)
    return found["name"] if found else ""


def _bytes(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() and not path.is_symlink() else [path]
    return sum(file.lstat().st_size for file in files if not file.is_dir())
