"""`edgernn evaluate`: score a run or a bundle of any task, with the same code."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgernn.cli.console import Json, log, progress, require_extra, result, starting
from edgernn.cli.load import load_model
from edgernn.cli.options import Given, command_from
from edgernn.errors import ConfigError
from edgernn.execution import Execution
from edgernn.paths import CONFIG, Kind, identify, refusal
from edgernn.settings import declared_options
from edgernn.tasks.task import Task

if TYPE_CHECKING:
    from edgernn.runtime import Model

__all__ = ["evaluate_command"]


def evaluate_command(tasks: Mapping[str, Task]) -> Callable[..., None]:
    """Return the command that evaluates a run or a bundle of any of `tasks`."""

    def evaluate(
        path: Annotated[Path, typer.Argument(metavar="RUN_OR_BUNDLE", help="The run or bundle to evaluate.")],
        *,
        given: Given,
        json: Json = False,
    ) -> None:
        """Score a run or a bundle on held-out data: a text file (--text), or images with captions or sentences
        with translations (--data).

        [bold]Example:[/bold] edgernn evaluate bundles/shakespeare --text held-out.txt
        """
        task, load = _find(path, tasks, Execution(**given.of(Execution)))
        own = ", ".join(declared.flag for declared in declared_options(task.evaluation).values())
        given.refuse_others(task.evaluation, Execution, what=f"the task {task.name}, which has {own}")
        settings = task.evaluation(**given.of(task.evaluation))
        with require_extra(task.extra), progress("evaluating") as show:
            score, notes = task.evaluate(load(), settings, show)
        for note in notes:
            log(note)
        result(score.to_json(), str(score), as_json=json)

    titles = {task.evaluation: name for name, task in tasks.items()}
    return command_from(evaluate, *(task.evaluation for task in tasks.values()), Execution, titles=titles)


def _find(path: Path, tasks: Mapping[str, Task], execution: Execution) -> tuple[Task, Callable[[], Model]]:
    """The task of a run or a bundle, and what loads it as a model."""
    found = identify(path)
    if found.kind not in (Kind.RUN, Kind.BUNDLE) and not (path / CONFIG).is_file():
        raise ConfigError(refusal(path, Kind.RUN, Kind.BUNDLE))
    if found.kind is Kind.BUNDLE:
        model = load_model(path, execution)
        task = tasks.get(model.manifest.task)
        if task is None:
            raise ConfigError(
                f"{path} is a bundle of the task {model.manifest.task}; edgernn evaluate measures {', '.join(tasks)}"
            )
        return task, lambda: model
    with starting("train"):
        import torch

        from edgernn.engines.eager import eager_model
        from edgernn.training import Run
    run = Run.load(path)
    torch.set_num_threads(1)  # single steps are too small to share between threads
    return run.task, lambda: eager_model(run.source(), execution)
