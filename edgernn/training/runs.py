"""Runs of every task."""

from __future__ import annotations

from pathlib import Path

from edgernn.errors import FormatError, RunError
from edgernn.training.captioning.run import CaptionRun
from edgernn.training.run import Run, read_config

__all__ = ["RUNS", "load_run"]

RUNS: dict[str, type[Run] | type[CaptionRun]] = {run.task: run for run in (Run, CaptionRun)}


def load_run(path: str | Path) -> Run | CaptionRun:
    """Read the run at `path`, of whatever task. Raises RunError, which says what is wrong with it."""
    path = Path(path)
    try:
        task = read_config(path)["task"]
    except FormatError as error:
        raise RunError(f"{path}: {error}") from None
    except OSError as error:
        raise RunError(f"{path}: {error.filename} cannot be read: {error.strerror}") from None
    if task not in RUNS:
        raise RunError(f"{path} has the task {str(task)[:40]!r}, which this edgernn does not know")
    return RUNS[task].load(path)
