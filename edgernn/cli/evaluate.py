"""`edgernn evaluate`: score a run or a bundle of any task, with the same code."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgernn.cli.console import Json, log, progress, require_extra, result
from edgernn.cli.load import CellFile, load_model, load_run, refuse_cell, run_model
from edgernn.cli.options import Given, command_from
from edgernn.errors import ConfigError, FormatError, RunError
from edgernn.execution import Execution
from edgernn.paths import CONFIG, Kind, identify, refusal
from edgernn.settings import Settings, declared_options
from edgernn.tasks.score import Evaluation, Progress, RunData
from edgernn.tasks.task import Task

if TYPE_CHECKING:
    from edgernn.runtime import Model

__all__ = ["evaluate_command"]


def evaluate_command(tasks: Mapping[str, Task]) -> Callable[..., None]:
    """Return the command that evaluates a run or a bundle of any of `tasks`."""

    def evaluate(
        path: Annotated[Path, typer.Argument(metavar="RUN_OR_BUNDLE", help="The run or bundle to evaluate.")],
        *,
        cell: CellFile = None,
        given: Given,
        json: Json = False,
    ) -> None:
        """Score a run or a bundle on data that it was not trained on: a text file (--text), or a data set (--data).

        Without either, a run is scored on the part of its data that the training held out.

        [bold]Example:[/bold] edgernn evaluate bundles/shakespeare --text held-out.txt

        [bold]Example:[/bold] edgernn evaluate runs/digits
        """
        task, load, own = _find(path, tasks, cell, Execution(**given.of(Execution)))
        flags = ", ".join(declared.flag for declared in declared_options(task.evaluation).values())
        given.refuse_others(task.evaluation, Execution, what=f"the task {task.name}, which has {flags}")
        settings = task.evaluation(**given.of(task.evaluation))
        with require_extra(task.extra), progress("evaluating") as show:
            score, notes, table = _evaluation(path, task, load(), settings, show, own)
        for note in notes:
            log(note)
        result(score.to_json(), "\n".join(filter(None, (str(score), table))), as_json=json)

    titles = {task.evaluation: name for name, task in tasks.items()}
    return command_from(evaluate, *(task.evaluation for task in tasks.values()), Execution, titles=titles)


def _evaluation(
    path: Path, task: Task, model: Model, settings: Settings, show: Progress, own: RunData | None
) -> Evaluation:
    """Evaluate `model`. Raises RunError if the record of the data in the run at `path` is damaged."""
    try:
        return task.evaluate(model, settings, show, own)
    except FormatError as error:
        raise RunError(f"{path}: {error}") from None


def _find(
    path: Path, tasks: Mapping[str, Task], cell: str | None, execution: Execution
) -> tuple[Task, Callable[[], Model], RunData | None]:
    """The task of a run or a bundle, what loads it as a model, and the data that a run keeps."""
    found = identify(path)
    if found.kind not in (Kind.RUN, Kind.BUNDLE) and not (path / CONFIG).is_file():
        raise ConfigError(refusal(path, Kind.RUN, Kind.BUNDLE))
    if found.kind is Kind.BUNDLE:
        refuse_cell(cell)
        model = load_model(path, execution)
        task = tasks.get(model.manifest.task)
        if task is None:
            raise ConfigError(
                f"{path} is a bundle of the task {model.manifest.task}; edgernn evaluate measures {', '.join(tasks)}"
            )
        return task, lambda: model, None
    run = load_run(path, cell)
    return run.task, run_model(run, execution), run.data
