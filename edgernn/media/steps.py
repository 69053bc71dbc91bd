"""Cut the rows of a sequence into the steps in which a network reads them."""

from __future__ import annotations

import numpy as np

from edgernn.contract import Array

__all__ = ["number_steps", "sound_steps"]


def sound_steps(samples: Array, hop: int) -> Array:
    """Return samples (samples,) as steps (steps, hop); silence completes the last one."""
    return np.pad(samples, (0, -len(samples) % hop)).reshape(-1, hop)


def number_steps(rows: Array, hop: int) -> Array:
    """Return rows (rows, channels) as steps (steps, hop, channels); the last row completes the last one."""
    return np.pad(rows, ((0, -len(rows) % hop), (0, 0)), mode="edge").reshape(-1, hop, rows.shape[1])
