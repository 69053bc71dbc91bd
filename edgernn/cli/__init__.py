"""The command line: it parses, calls the library, prints and exits. Nothing heavy is imported before a command runs."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from edgernn.cli.adopt import adopt
from edgernn.cli.bench import bench
from edgernn.cli.cache import cache
from edgernn.cli.caption import caption
from edgernn.cli.cells import CellsSettings, cells
from edgernn.cli.compare import compare_command
from edgernn.cli.console import discard, log
from edgernn.cli.demo import demo
from edgernn.cli.evaluate import evaluate_command
from edgernn.cli.export import export, verify
from edgernn.cli.inspect import inspect
from edgernn.cli.options import Command, DeferredCommand, Group, command_from, renamed, unknown_option
from edgernn.cli.page import page, serve
from edgernn.cli.plot import plot
from edgernn.cli.run import run
from edgernn.cli.samples import samples
from edgernn.cli.search import search
from edgernn.cli.train import train_app
from edgernn.cli.version import show_version
from edgernn.errors import EXTRAS, CheckFailedError, EdgeRNNError, MissingExtraError
from edgernn.execution import Execution
from edgernn.search.settings import SearchSettings
from edgernn.tasks import TASKS
from edgernn.tasks.language.settings import LanguageData

__all__ = ["app", "application", "execute", "main"]

_INTERRUPTED = 130
_LONGEST = 600  # characters of an error message
_COMMANDS: tuple[Callable[..., object], ...] = (
    *(export, adopt, command_from(verify, Execution), run, caption, inspect),
    *(command_from(bench, Execution), command_from(cells, CellsSettings, Execution), compare_command()),
    command_from(search, SearchSettings, LanguageData),
    *(page, serve, plot, samples, cache, demo),
)


def application() -> typer.Typer:
    """Return the command line, with a subcommand of `train` for each task in TASKS."""
    app = typer.Typer(
        name="edgernn",
        cls=Group,
        help="Train recurrent networks and export them to devices, with explicit state and checked exports.",
        context_settings={"help_option_names": ["-h", "--help"]},
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
    )
    app.callback()(_application_options)
    app.add_typer(train_app(TASKS.values()), name="train")
    app.command(cls=Command)(evaluate_command(TASKS))
    for command in _COMMANDS:
        app.command(cls=DeferredCommand if command in (run, caption) else Command)(command)
    return app


def _application_options(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            "-V",
            callback=show_version,
            is_eager=True,
            help="Show the versions of edgernn, Python and the libraries that it runs on, and exit.",
        ),
    ] = False,
) -> None:
    """Options of the application itself."""


app = application()


def main() -> None:
    """The entry point of the `edgernn` script."""
    _open_missing()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # shows characters that the terminal lacks as codes
    sys.exit(execute(sys.argv[1:]))


def _open_missing() -> None:
    """Put the null device in place of standard streams that are closed: whoever closed one wants to hear nothing."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115 - for the whole process


def execute(arguments: Sequence[str], app: typer.Typer = app) -> int:
    """Run one command line of `app`.

    Returns 0 when it worked, 1 for a failed check, 2 for wrong usage or bad input, 130 when it was interrupted.
    """
    try:
        status = app(list(arguments), prog_name="edgernn", standalone_mode=False)
    except CheckFailedError as error:
        return _fail(str(error), 1)
    except EdgeRNNError as error:
        return _fail(str(error), 2)
    except typer.TyperException as error:
        return _fail(_usage(error), 2)
    except ModuleNotFoundError as error:  # of a module that is imported only when it is used
        module = (error.name or "").partition(".")[0]
        if module not in EXTRAS:
            raise
        return _fail(str(MissingExtraError(module, EXTRAS[module])), 2)
    except OSError as error:
        return _fail(f"{error.filename or 'the system'}: {error.strerror or error}", 2)
    except SystemExit:  # typer raises it for a closed pipe: the reader of the output has stopped reading
        discard(1)
        return 0
    if status == _INTERRUPTED:
        return _fail("interrupted", _INTERRUPTED)
    return status if isinstance(status, int) else 0


def _usage(error: typer.TyperException) -> str:
    if message := renamed(error):
        return message
    context = getattr(error, "ctx", None)
    hint = f" (see {context.command_path} --help)" if context is not None else ""
    return (unknown_option(error) or error.format_message().rstrip(".")) + hint


def _fail(message: str, status: int) -> int:
    """Print what is wrong in one line on standard error, and return the exit status."""
    line = " ".join(message.split())
    log(f"edgernn: {line if len(line) <= _LONGEST else line[:_LONGEST] + ' …'}")
    return status
