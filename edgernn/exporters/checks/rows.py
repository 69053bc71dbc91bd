"""Check that the streams of a batch do not influence each other."""

from __future__ import annotations

import numpy as np

from edgernn.contract import select
from edgernn.errors import ExportError
from edgernn.exporters.checks.trial import Arrays, Trial

__all__ = ["check_rows"]

_APART = 1e-3  # relative difference of a row alone and in a batch; rounding errors are far smaller
_SAME = 1e-6  # relative difference of a row among other rows, where sums have the same order


def check_rows(trial: Trial, feeds: Arrays, together: Arrays) -> None:
    """Raise ExportError if the result of a stream depends on the other streams of its batch.

    together: the results of `feeds`.
    """
    spec = trial.spec
    count = next(feeds[name].shape[t.batch_axis] for name, t in spec.feeds.items() if t.batch_axis is not None)
    for row in range(count):
        alike = trial.call(_rows(trial, feeds, [row] * count))
        _compare(trial, together, alike, row, row, _SAME, "changes with the inputs of the others in its batch")
        alone = trial.call(_rows(trial, feeds, [row]))
        _compare(trial, together, alone, row, 0, _APART, "is not what it is alone, in a batch of one")


def _rows(trial: Trial, feeds: Arrays, rows: list[int]) -> Arrays:
    return {n: select([t], {t.name: feeds[n]}, rows)[t.name] for n, t in trial.spec.feeds.items()}


def _compare(trial: Trial, one: Arrays, other: Arrays, row: int, other_row: int, limit: float, what: str) -> None:
    for name, tensor in trial.spec.results.items():
        axis = tensor.batch_axis
        if axis is None or (tensor.numpy_dtype.kind != "f" and limit == _APART):
            continue  # rounding may change an integer
        a, b = one[name].take(row, axis).astype(np.float64), other[name].take(other_row, axis).astype(np.float64)
        if a.shape != b.shape or not np.allclose(a, b, rtol=limit, atol=limit, equal_nan=True):
            raise ExportError(
                f"graph {trial.spec.name}: {name} of a stream {what}; keep the streams apart, or declare no batch axis"
            )
