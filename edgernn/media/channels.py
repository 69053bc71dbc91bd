"""Channels of numbers that are known by their names, in whatever order a file has them."""

from __future__ import annotations

from collections.abc import Sequence

from edgernn.errors import CorpusError, few

__all__ = ["channel_places"]


def channel_places(names: Sequence[str], wanted: Sequence[str], file: str, whose: str) -> list[int]:
    """Return the place among `names`, the channels of `file`, of each of the channels `wanted`.

    whose: the beginning of a sentence that `wanted` ends, such as "the model reads". Raises CorpusError, which names
    the channels that differ, unless `names` and `wanted` are the same ones.
    """
    if lacking := [name for name in wanted if name not in names]:
        raise CorpusError(f"{file} has no channel {few(lacking)}: it has {few(names)}, and {whose} {few(wanted)}")
    if others := [name for name in names if name not in wanted]:
        raise CorpusError(f"{file} has the channel {few(others)} too, and {whose} {few(wanted)}: remove it")
    return [names.index(name) for name in wanted]
