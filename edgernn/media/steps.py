"""Cut the rows of a sequence into the steps in which a network reads them."""

from __future__ import annotations

from collections.abc import Generator, Iterable

import numpy as np

from edgernn.contract import Array

__all__ = ["followed", "live_sound_steps", "number_steps", "sound_steps"]

_SOUND_AXES = 2  # of steps: time and samples


def sound_steps(samples: Array, hop: int) -> Array:
    """Return samples (samples,) as steps (steps, hop); silence completes the last one."""
    return np.pad(samples, (0, -len(samples) % hop)).reshape(-1, hop)


def live_sound_steps(blocks: Iterable[Array], hop: int) -> Generator[Array]:
    """Yield the steps (hop,) of sound that arrives in blocks (samples,) of any size, as soon as each is complete.

    They are those that `sound_steps` returns of all blocks together.
    """
    rest = np.empty(0, np.int16)
    for block in blocks:
        rest = np.concatenate([rest, block])
        whole = len(rest) - len(rest) % hop
        yield from rest[:whole].reshape(-1, hop)
        rest = rest[whole:]
    yield from sound_steps(rest, hop)


def number_steps(rows: Array, hop: int) -> Array:
    """Return rows (rows, channels) as steps (steps, hop, channels); the last row completes the last one."""
    return np.pad(rows, ((0, -len(rows) % hop), (0, 0)), mode="edge").reshape(-1, hop, rows.shape[1])


def followed(steps: Array, count: int) -> Array:
    """Return steps (steps, ...) and `count` more: silence after samples (steps, hop), else the last step again.

    With them, a network whose labels come `count` steps late labels every step of the sequence.
    """
    if steps.ndim == _SOUND_AXES:
        return np.pad(steps, ((0, count), (0, 0)))
    return np.concatenate([steps, np.repeat(steps[-1:], count, axis=0)])
