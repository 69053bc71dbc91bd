"""Printing: results to standard output, messages to standard error, progress on a terminal only."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from edgernn.errors import EXTRAS, MissingExtraError

__all__ = [
    "Json",
    "Overwrite",
    "drop_none",
    "is_main_process",
    "log",
    "on_interrupt",
    "on_terminal",
    "option",
    "printable",
    "progress",
    "require_extra",
    "result",
]

Json = Annotated[bool, typer.Option("--json", help="Print JSON: one object on one line for each result.")]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace the run or bundle at --out, if edgernn wrote it.")
]


@contextmanager
def require_extra(extra: str) -> Iterator[None]:
    """For imports: a missing optional dependency raises MissingExtraError, which says what to install."""
    try:
        yield
    except ModuleNotFoundError as error:
        missing = (error.name or "").split(".")[0]
        if missing not in EXTRAS:
            raise
        raise MissingExtraError(missing, extra) from None


def option(help: str, default: str) -> Any:
    """An option that is None if it is not given. default: what the help shows as its default."""
    return typer.Option(help=help, show_default=default)


def drop_none(options: Mapping[str, Any]) -> dict[str, Any]:
    """`options` without those that are None: those that were given."""
    return {name: value for name, value in options.items() if value is not None}


def on_terminal() -> bool:
    """Whether standard error is a terminal, and this process is the one that prints."""
    return sys.stderr.isatty() and is_main_process()


def is_main_process() -> bool:
    """Whether this process is the only one, or the first of those that torchrun started: the one that prints."""
    return os.environ.get("RANK", "0") == "0"


def log(text: str) -> None:
    """Print a message, which is not a result, on standard error; only the main process does."""
    if is_main_process():
        print("\n".join(map(printable, text.split("\n"))), file=sys.stderr, flush=True)


def printable(text: str) -> str:
    """`text` with control characters escaped, so that text from a file cannot control the terminal."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def result(values: Mapping[str, Any], text: str, *, as_json: bool) -> None:
    """Print the result of a command on standard output: `values` as one line of JSON, or `text`."""
    print(json.dumps(values, allow_nan=False) if as_json else text, flush=True)


@contextmanager
def progress(title: str) -> Iterator[Callable[[float, str], None]]:
    """A progress bar on standard error, if that is a terminal; nothing otherwise.

    It is moved by calls with the fraction that is done, 0 to 1, and a text to show beside it.
    """
    if not on_terminal():
        yield lambda done, figures: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TaskProgressColumn(),
        TextColumn("{task.fields[figures]}"),
        TimeRemainingColumn(),
        TextColumn("left"),
    )
    redirected = sys.stdout.isatty()  # results are printed above the bar, unless they go to a file or a pipe
    with Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=redirected) as display:
        task = display.add_task(title, total=1.0, figures="")
        yield lambda done, figures: display.update(task, completed=done, figures=figures)


@contextmanager
def on_interrupt(stop: Callable[[], None]) -> Iterator[None]:
    """Within the block, the first Ctrl-C calls `stop`; the second raises KeyboardInterrupt as usual."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def first(*_: object) -> None:
        stop()
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, first)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
