"""`edgernn train TASK`: one subcommand for each task, with options generated from the task's settings."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from edgernn.cell_names import UserCell
from edgernn.cli.console import (
    Json,
    Overwrite,
    indented,
    log,
    on_interrupt,
    on_terminal,
    progress,
    require_extra,
    result,
    starting,
    stop_after_step,
)
from edgernn.cli.load import load_run
from edgernn.cli.options import Command, Given, Group, command_from, default_text, value_text
from edgernn.errors import ConfigError, counted
from edgernn.paths import Kind, identify
from edgernn.settings import Declared, declared_options, flag_of
from edgernn.tasks.settings import LIMITS
from edgernn.tasks.task import Task

if TYPE_CHECKING:
    from edgernn.tasks.score import Score
    from edgernn.training import Evaluated, Trainer
    from edgernn.training.board import TensorBoardLogger

__all__ = ["fit", "shown_default", "train_app", "train_command"]

Out = Annotated[Path | None, typer.Option(help="The run directory to write, which keeps checkpoints and weights.")]
Resume = Annotated[
    Path | None,
    typer.Option(
        help="Continue the interrupted run in this directory, with its own settings. To train a finished run further, "
        "add a later limit: --steps, --passes or --minutes."
    ),
]
_FROM = (
    "Fine-tune: start a new run from the best weights of the run in this directory, with its network and vocabulary."
)
Early = Annotated[
    bool,
    typer.Option(
        "--early-samples",
        help="Also evaluate the network after 1, 3, 10, 30, 100 steps and so on, up to the first evaluation, and "
        "keep its samples, which edgernn samples shows.",
    ),
]
Board = Annotated[Path | None, typer.Option(help="Write TensorBoard event files to this directory.")]
_SHOWN = 240  # characters of a sample on the terminal; the run keeps all


def train_command(task: Task) -> Callable[..., None]:
    """Return the command that trains `task`."""
    name, help_ = task.sources
    default = " ".join(task.default_sources) or False
    sources_type = Annotated[list[str] | None, typer.Argument(metavar=name, help=help_, show_default=default)]
    preset_help = f"A set of defaults, which other options override. One of: {', '.join(task.presets)}."
    preset_default = (
        f"by {name}"
        if task.preset_for((), {}) != task.preset_for(task.default_sources, {})
        else task.preset_for((), {})
    )
    from_type = Annotated[Path | None, typer.Option(*_from_flags(task), help=_FROM)]
    preset_type = Annotated[str | None, typer.Option(help=preset_help, show_default=preset_default)]

    def train_task(
        sources: list[str] | None = None,
        out: Out = None,
        preset: str | None = None,
        *,
        given: Given,
        start_from: Path | None = None,
        resume: Resume = None,
        tensorboard: Board = None,
        early: Early = False,
        overwrite: Overwrite = False,
        json: Json = False,
    ) -> None:
        with starting(task.extra):
            import edgernn.training
        if tensorboard is not None:
            with require_extra("tensorboard"):
                import edgernn.training.board  # noqa: F401 - checks that it can be imported
            _check_board(tensorboard, out or resume)  # before anything is written
        if resume is not None:
            plain = {
                name: sources,
                "--out": out,
                _from_flags(task)[0]: start_from,
                "--preset": preset,
                "--overwrite": overwrite,
            }
            settings = [flag_of(each) for each in given.values if each not in (*LIMITS, "cell")]
            _refuse_beside_resume([*(each for each, value in plain.items() if value), *settings])
        with _read_whole(task, out, resume, given), progress("reading the data") as show:
            if resume is None:
                trainer = _begin(
                    task, list(sources or ()), out, preset, start_from, given, overwrite=overwrite, show=show
                )
            else:
                trainer = _resume(task, resume, given, show)
        with ExitStack() as stack:
            board = stack.enter_context(_board(trainer, tensorboard)) if tensorboard and trainer.group.is_main else None
            score = fit(trainer, board, early=early)
        if trainer.group.is_main:
            _report(trainer, score, as_json=json)

    train_task.__annotations__ |= {"sources": sources_type, "preset": preset_type, "start_from": from_type}
    train_task.__doc__ = f"{task.help}\n\n[bold]Example:[/bold] {task.example}"
    return command_from(train_task, *task.settings, shown=lambda declared: shown_default(task, declared))


class _Tasks(Group):
    """The subcommands of `train`, one for each task."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command of a task. Raises ConfigError where data are named in its place."""
        name, tasks = args[0], list(self.commands)
        if name not in tasks and (Path(name).suffix or os.path.lexists(name)):
            first = tasks[0] if Path(name).suffix else "TASK"
            command = f"edgernn train {first} {shlex.quote(name)} --out runs/{shlex.quote(Path(name).stem)}"
            raise ConfigError(f"the task comes first ({', '.join(tasks[:-1])} or {tasks[-1]}), as in {command}")
        return super().resolve_command(ctx, args)


def _from_flags(task: Task) -> tuple[str, ...]:
    """Return the names of the option for the run to start from: --from-run, and --from unless the task has that one."""
    taken = {declared.flag for declared in declared_options(*task.settings).values()}
    return tuple(flag for flag in ("--from", "--from-run") if flag not in taken)


def train_app(tasks: Iterable[Task]) -> typer.Typer:
    """Return the command `train`, with a subcommand for each of `tasks`."""
    app = typer.Typer(cls=_Tasks, help="Train a network. Each task has its own subcommand.")
    app.callback()(lambda: None)  # without a callback, a single subcommand would become the command itself
    for task in tasks:
        app.command(task.name, cls=Command)(train_command(task))
    return app


def _begin(
    task: Task,
    sources: list[str],
    out: Path | None,
    preset: str | None,
    start_from: Path | None,
    given: Given,
    *,
    overwrite: bool,
    show: Callable[[float, str], None],
) -> Trainer:
    from edgernn.training import Trainer

    sources = sources or list(task.default_sources)
    if not sources or out is None:
        raise ConfigError(f"edgernn train {task.name} needs {task.sources[0]} and --out RUN, or --resume RUN")
    settings = given.of(*task.settings)
    return Trainer.begin(
        task, sources, out, preset=preset, start_from=start_from, overwrite=overwrite, progress=show, **settings
    )


@contextmanager
def _read_whole(task: Task, out: Path | None, resume: Path | None, given: Given) -> Iterator[None]:
    """Within the block, Ctrl-C prints what is left of a training that has not begun, and how to go on."""
    free = out is None or not os.path.lexists(out)
    try:
        yield
    except KeyboardInterrupt:
        log("stopped while the data were being read")
        run = resume or (out if free else None)
        if run is not None and identify(run).kind is Kind.RUN:
            cell = given.values.get("cell", "")
            own = "" if UserCell.parse(cell) is None else f" --cell {shlex.quote(cell)}"
            log(f"to continue: edgernn train {task.name} --resume {shlex.quote(str(run))}{own}")
        else:
            log("there is nothing to continue: give the same command again")
        raise


def _resume(task: Task, path: Path, given: Given, show: Callable[[float, str], None]) -> Trainer:
    from edgernn.training import Trainer

    run = load_run(path, given.values.get("cell"))
    if run.task.name != task.name:
        raise ConfigError(f"{path} is a run of the task {run.task.name}: continue it with edgernn {run.resume}")
    trainer = Trainer.resume(path, show, **given.of(task.training))
    if trainer.finished:
        log(f"{path} is finished: it was trained for {trainer.trained}")
        log(f"to train it further: edgernn {trainer.further}")
    return trainer


def shown_default(task: Task, declared: Declared) -> str:
    """Return the default for the help: that of the first preset, and those of other presets if they differ."""
    defaults = {name: _text(declared, value) for name, value in task.presets_of(declared).items()}
    first, *others = defaults.items()
    return "; ".join([first[1], *(f"{name}: {text}" for name, text in others if text != first[1])])


def _text(declared: Declared, value: Any) -> str:
    if value == declared.field.default:
        return default_text(declared)
    return declared.option.unset or "none" if value is None else value_text(value)


def _refuse_beside_resume(names: list[str]) -> None:
    if names:
        raise ConfigError(f"--resume takes its settings from the run: leave out {', '.join(names)}")


def _check_board(directory: Path, run: Path | None) -> None:
    """Raise ConfigError unless event files can be written to `directory`, which must be outside the run."""
    if run is not None and directory.resolve().is_relative_to(run.resolve()):
        raise ConfigError(f"--tensorboard {directory} is inside the run: choose another directory")
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--tensorboard {directory}: {error.strerror}") from None


def _board(trainer: Trainer, directory: Path) -> closing[TensorBoardLogger]:
    from edgernn.training.board import TensorBoardLogger

    return closing(TensorBoardLogger(directory, trainer.step, trainer.learner.unit))


def fit(
    trainer: Trainer,
    board: TensorBoardLogger | None = None,
    *,
    early: bool = False,
    title: str = "training",
    resume: str = "",
) -> Score:
    """Train to the end with a progress bar, and return the score of the best weights.

    board: also logs the figures. early: also evaluate and sample before the first evaluation. title: of the progress
    bar. resume: what continues the training; by default the command for its run.

    The first Ctrl-C ends training after the present step and writes a checkpoint; the second one ends it at once,
    with the last checkpoint. Either way, the command that continues the training is printed.
    """
    from edgernn.training import Evaluated

    resume = resume or _command(trainer)
    for note in trainer.notes:
        log(note)
    try:
        with on_interrupt(lambda: stop_after_step(trainer.stop)), progress(title) as show:
            for event in trainer.fit(early=early):
                if board is not None:
                    board.log(event)
                if isinstance(event, Evaluated):
                    _show(event)
                else:
                    show(event.progress, _figures(event.figures, event.rate, trainer.learner.unit))
        if trainer.stopped:
            trainer.save()
    except KeyboardInterrupt:  # the second one
        log("stopped at once; the last checkpoint is kept")
        log(f"to continue: {resume}")
        raise
    if trainer.stopped:
        _end_early(trainer, resume)
    try:
        return trainer.score()
    except KeyboardInterrupt:
        log(f"the training is finished; to see its score: {resume}")
        raise


def _command(trainer: Trainer) -> str:
    """The command that continues the training."""
    processes = trainer.group.count
    program = "edgernn" if processes == 1 else f"torchrun --nproc-per-node {processes} -m edgernn"
    return f"{program} {trainer.run.resume}"


def _figures(figures: Mapping[str, float], rate: float, unit: str) -> str:
    parts = [f"{name.replace('_', ' ')} {value:.3f}" for name, value in figures.items()]
    return " · ".join([*parts, f"{rate:,.0f} {unit}/s"])


def _show(event: Evaluated) -> None:
    if not on_terminal():
        return
    log(f"  step {event.step:,}: {event.score}")
    log(indented({name: _beginning(text) for name, text in event.samples.items()}).expandtabs())


def _beginning(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]} …"


def _end_early(trainer: Trainer, resume: str) -> NoReturn:
    """After Ctrl-C, and a checkpoint: print what continues the training."""
    log(f"stopped at step {trainer.step:,}; everything up to it is kept")
    log(f"to continue: {resume}")
    raise KeyboardInterrupt


def _report(trainer: Trainer, score: Score, *, as_json: bool) -> None:
    """Print the result of a training."""
    values = {
        "run": str(trainer.run.path),
        "parameters": trainer.parameters,
        "steps": trainer.step,
        "seconds": round(trainer.seconds, 3),
        "best": score.to_json(),
    }
    cost = f"{trainer.parameters:,} parameters, {counted(trainer.step, 'step')}, {trainer.seconds:.0f} s"
    result(values, f"{trainer.run.path}: {score}; {cost}", as_json=as_json)
