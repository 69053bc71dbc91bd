"""Sizes of named axes to try."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from edgernn.exporters.adoption.symbols import Sizes

__all__ = ["of_weights", "ones", "usual"]

# The first axis gets the first number, and each further axis adds the second number. Odd sizes suit most networks; the
# others suit those that halve sizes or need enough samples.
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
_HALVED = (64, 32)  # comes first if sizes of states depend on it, as in image networks
_EQUAL = (7, 16, 64, 263, 521, 1607, 512, 160, 480, 1280, 4096)  # for axes that must be equal though their names differ
_BY_WEIGHTS = 64  # combinations of sizes that occur among the weights


def usual(free: Sequence[str], *, halved: bool) -> Iterator[Sizes]:
    """Yield a different size for each axis in `free`, then the same for all. halved: try powers of two first."""
    if not free:
        yield {}
        return
    for first, step in sorted(_LADDERS, key=lambda ladder: halved and ladder != _HALVED):
        yield {axis: first + step * place for place, axis in enumerate(free)}
    for size in _EQUAL if len(free) > 1 else ():
        yield dict.fromkeys(free, size)


def of_weights(free: Sequence[str], known: Sequence[int]) -> Iterator[Sizes]:
    """Yield sizes in `known`, such as sizes of weights, for one axis, then for two; other axes get arbitrary sizes."""
    return itertools.islice(_chosen(free, known), _BY_WEIGHTS)


def _chosen(free: Sequence[str], known: Sequence[int]) -> Iterator[Sizes]:
    rest = {axis: 7 + 2 * place for place, axis in enumerate(free)}
    for count in (1, 2):
        for axes in itertools.combinations(free, count):
            for sizes in itertools.product(known, repeat=count):
                yield {**rest, **dict(zip(axes, sizes, strict=True))}


def ones(free: Sequence[str]) -> Iterator[Sizes]:
    """Yield size 1 for all axes, which broadcasts."""
    if free:
        yield dict.fromkeys(free, 1)
