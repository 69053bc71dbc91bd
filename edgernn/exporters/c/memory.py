"""Scratch memory that tensors share, each as long as it is needed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from edgernn.exporters.c.program import Buffer, Place

__all__ = ["homes"]


@dataclass(frozen=True)
class _Span:
    """The elements of a buffer in the memory of its type, and the first and last statement that need them."""

    buffer: Buffer
    first: int
    last: int
    begin: int

    @property
    def end(self) -> int:
        return self.begin + self.buffer.aligned_room

    def lives_with(self, first: int, last: int) -> bool:
        """Return whether a statement from `first` to `last` needs it."""
        return self.first <= last and first <= self.last


def homes(needed: Iterable[tuple[int, Buffer]], pinned: Iterable[Buffer]) -> dict[Buffer, Place]:
    """Return where buffers lie in one array for each type of elements, none where another lies that is needed then.

    needed: numbers of statements, and the buffers that each needs. pinned: buffers that stay where they are.
    The largest buffers are placed first, each as near to the beginning as it fits.
    """
    lives: dict[Buffer, tuple[int, int]] = {}
    for number, buffer in needed:
        first, last = lives.get(buffer, (number, number))
        lives[buffer] = min(first, number), max(last, number)
    spans: list[_Span] = []
    for buffer in sorted(lives.keys() - set(pinned), key=lambda each: (-each.aligned_room, each.name)):
        first, last = lives[buffer]
        others = [each for each in spans if each.buffer.dtype == buffer.dtype and each.lives_with(first, last)]
        spans.append(_Span(buffer, first, last, _gap(buffer.aligned_room, others)))
    arrays = {
        kind: Buffer("scratch", f"of_{kind}", kind, max(each.end for each in spans if each.buffer.dtype == kind))
        for kind in dict.fromkeys(each.buffer.dtype for each in spans)
    }
    return {each.buffer: Place(arrays[each.buffer.dtype], each.begin) for each in spans}


def _gap(room: int, others: Sequence[_Span]) -> int:
    """Return the first element from which `room` of them are free."""
    begin = 0
    for other in sorted(others, key=lambda each: each.begin):
        if begin + room <= other.begin:
            break
        begin = max(begin, other.end)
    return begin
