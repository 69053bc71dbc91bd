"""Token ids on disk, mapped into memory and released again, so that memory does not grow with the text."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from edgernn.errors import CorpusError, counted
from edgernn.tokenizer import Ids

__all__ = ["TokenArray", "TokenFile"]

_READS = 256  # after this number of reads, memory pages are released


class TokenFile:
    """A sequence of token ids in a file, in the smallest unsigned type that holds the vocabulary, little-endian."""

    def __init__(self, path: Path, vocabulary: int) -> None:
        """Raise CorpusError if the file is missing or truncated."""
        self._path, self._vocabulary = path, vocabulary
        self._dtype = _dtype(vocabulary)
        try:
            size = path.stat().st_size
            if not size or size % self._dtype.itemsize:
                raise CorpusError(f"{path} has {counted(size, 'byte')}, which is no number of tokens: train again")
            with path.open("rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except OSError as error:
            raise CorpusError(f"{path} cannot be read: {error.strerror}") from None
        self._length = size // self._dtype.itemsize
        self._reads = 0

    def __len__(self) -> int:
        return self._length

    def read(self, start: int, count: int) -> Ids:
        """Return ids (count,) from token `start` on; the first token follows the last one, as in a ring."""
        start %= self._length
        parts = []
        while count:
            part = np.frombuffer(self._map, self._dtype, min(count, self._length - start), start * self._dtype.itemsize)
            if part.max() >= self._vocabulary:
                raise CorpusError(
                    f"{self._path} is damaged: it holds {part.max()}, which is outside the vocabulary: train again"
                )
            parts.append(part.astype(np.int64))
            count, start = count - len(part), 0
            del part  # it would keep the memory map open
        self._reads += 1
        if self._reads % _READS == 0 and hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)
        return parts[0] if len(parts) == 1 else np.concatenate([np.empty(0, np.int64), *parts])

    @staticmethod
    @contextmanager
    def writer(path: Path, vocabulary: int) -> Iterator[Callable[[Ids], None]]:
        """Yield a function that appends ids to a new file at `path`."""
        dtype = _dtype(vocabulary)
        with path.open("wb") as file:

            def write(ids: Ids) -> None:
                file.write(ids.astype(dtype).tobytes())

            yield write


class TokenArray:
    """A sequence of token ids in memory, with the interface of a TokenFile."""

    def __init__(self, ids: Ids) -> None:
        self._ids = ids

    def __len__(self) -> int:
        return len(self._ids)

    def read(self, start: int, count: int) -> Ids:
        """Return ids (count,) from token `start` on; the first token follows the last one, as in a ring."""
        return self._ids.take(range(start, start + count), mode="wrap")


def _dtype(vocabulary: int) -> np.dtype[Any]:
    return np.min_scalar_type(max(vocabulary - 1, 0)).newbyteorder("<")
