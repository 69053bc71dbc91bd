"""`edgernn evaluate`: the score of a run or a bundle of any task, measured by the same code."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgernn.cli.console import Json, log, progress, require_extra, result
from edgernn.cli.load import load_model
from edgernn.cli.options import Given, command_from
from edgernn.errors import ConfigError
from edgernn.tasks import TASKS
from edgernn.tasks.task import Task

if TYPE_CHECKING:
    from edgernn.runtime import Model

__all__ = ["evaluate"]


def _evaluate(
    path: Annotated[Path, typer.Argument(metavar="RUN_OR_BUNDLE", help="The run or bundle to evaluate.")],
    *,
    given: Given,
    json: Json = False,
) -> None:
    """Measure a run or a bundle on data that you name. The options depend on the task.

    [bold]Example:[/bold] edgernn evaluate bundles/shakespeare --text held-out.txt
    """
    task, load = _find(path)
    given.refuse_others(task.evaluation, what=f"the task {task.name}")
    settings = task.evaluation(**given.of(task.evaluation))
    with require_extra(task.extra), progress("evaluating") as show:
        score, notes = task.evaluate(load(), settings, show)
    for note in notes:
        log(note)
    result(score.to_json(), str(score), as_json=json)


evaluate = command_from(
    _evaluate,
    *(task.evaluation for task in TASKS.values()),
    titles={task.evaluation: name for name, task in TASKS.items()},
)


def _find(path: Path) -> tuple[Task, Callable[[], Model]]:
    """The task of a run or a bundle, and what loads it as a model."""
    from edgernn.bundle import MANIFEST

    if (path / MANIFEST).exists():
        model = load_model(path)
        if model.manifest.task not in TASKS:
            raise ConfigError(f"{path} is of the task {model.manifest.task}; evaluate knows {', '.join(TASKS)}")
        return TASKS[model.manifest.task], lambda: model
    with require_extra("train"):
        import torch

        from edgernn.engines.eager import eager_model
        from edgernn.training import Run
    run = Run.load(path)
    torch.set_num_threads(1)  # single steps are too small to share between threads
    return run.task, lambda: eager_model(run.source())
