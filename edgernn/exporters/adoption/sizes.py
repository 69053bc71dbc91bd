"""Sizes that named axes are tried with."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from edgernn.exporters.adoption.symbols import Sizes

__all__ = ["of_weights", "ones", "usual"]

# The first axis has the first number, each of the others the second one more. Odd ones are for networks that take any;
# the rest for those that halve, or need enough samples.
_LADDERS = (
    (7, 2),
    (16, 8),
    (64, 32),
    (263, 2),
    (521, 2),
    (1607, 2),
    (512, 512),
    (160, 160),
    (480, 480),
    (1280, 1280),
    (4096, 4096),
)
_HALVED = (64, 32)  # comes first where sizes of states follow, as those of pictures do
_EQUAL = (7, 16, 64, 263, 521, 1607, 512, 160, 480, 1280, 4096)  # for axes of one size under different names
_BY_WEIGHTS = 64  # choices of sizes that occur among the weights


def usual(free: Sequence[str], *, halved: bool) -> Iterator[Sizes]:
    """Sizes of the axes `free`, each another one, and then all the same. halved: whether they should be halved well."""
    if not free:
        yield {}
        return
    for first, step in sorted(_LADDERS, key=lambda ladder: halved and ladder != _HALVED):
        yield {axis: first + step * place for place, axis in enumerate(free)}
    for size in _EQUAL if len(free) > 1 else ():
        yield dict.fromkeys(free, size)


def of_weights(free: Sequence[str], known: Sequence[int]) -> Iterator[Sizes]:
    """Sizes in `known`, such as those of the weights: for one axis and then for two, while the others have any."""
    return itertools.islice(_chosen(free, known), _BY_WEIGHTS)


def _chosen(free: Sequence[str], known: Sequence[int]) -> Iterator[Sizes]:
    rest = {axis: 7 + 2 * place for place, axis in enumerate(free)}
    for count in (1, 2):
        for axes in itertools.combinations(free, count):
            for sizes in itertools.product(known, repeat=count):
                yield {**rest, **dict(zip(axes, sizes, strict=True))}


def ones(free: Sequence[str]) -> Iterator[Sizes]:
    """All of size 1, which is what broadcasts."""
    if free:
        yield dict.fromkeys(free, 1)
