"""Printing: results to stdout, talk to stderr, progress on a terminal only."""

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

from edgernn.errors import MissingExtraError

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

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object, for machines.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what edgernn wrote there before.")]

_OPTIONAL = {"torch", "safetensors", "onnx", "onnxscript", "matplotlib", "tensorboard", "sacrebleu", "PIL"}


@contextmanager
def require_extra(extra: str) -> Iterator[None]:
    """Around imports: a missing optional dependency becomes the pip line to type."""
    try:
        yield
    except ModuleNotFoundError as error:
        missing = (error.name or "").split(".")[0]
        if missing not in _OPTIONAL:
            raise
        raise MissingExtraError(missing, extra) from None


def option(help: str, default: str) -> Any:
    """An option whose default is the configuration's own."""
    return typer.Option(help=help, show_default=default)


def drop_none(options: Mapping[str, Any]) -> dict[str, Any]:
    """Those of `options` that were given."""
    return {name: value for name, value in options.items() if value is not None}


def on_terminal() -> bool:
    """Whether somebody is watching stderr, and this process is the one that speaks."""
    return sys.stderr.isatty() and is_main_process()


def is_main_process() -> bool:
    """Whether this process is the first of those that torchrun started, or alone."""
    return os.environ.get("RANK", "0") == "0"


def log(text: str) -> None:
    """Say something that is not a result."""
    if is_main_process():
        print("\n".join(map(printable, text.split("\n"))), file=sys.stderr, flush=True)


def printable(text: str) -> str:
    """`text` without what could move a terminal's cursor, whatever characters a file put into it."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def result(values: Mapping[str, Any], text: str, *, as_json: bool) -> None:
    """Print what the command found: one line of JSON, or text for people."""
    print(json.dumps(values, allow_nan=False) if as_json else text, flush=True)


@contextmanager
def progress(title: str) -> Iterator[Callable[[float, str], None]]:
    """A progress bar on stderr if that is a terminal, moved by calls with 0 to 1 and figures; silence otherwise."""
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
    seen = sys.stdout.isatty()  # then results go above the bar; in a file or a pipe they must not go through it
    with Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=seen) as display:
        task = display.add_task(title, total=1.0, figures="")
        yield lambda done, figures: display.update(task, completed=done, figures=figures)


@contextmanager
def on_interrupt(stop: Callable[[], None]) -> Iterator[None]:
    """The first Ctrl-C calls `stop`; the second is Ctrl-C again."""
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
