"""Print results to standard output, messages to standard error, and progress to a terminal."""

from __future__ import annotations

import json
import os
import signal
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Annotated, Any, TextIO

import typer

from edgernn.errors import EXTRAS, MissingExtraError

__all__ = [
    "Json",
    "Overwrite",
    "Waiting",
    "discard",
    "is_main_process",
    "log",
    "on_interrupt",
    "on_terminal",
    "printable",
    "progress",
    "require_extra",
    "result",
    "starting",
    "stop_after_step",
    "waiting",
]

Json = Annotated[bool, typer.Option("--json", help="Print each result as a JSON object on one line.")]
Overwrite = Annotated[
    bool,
    typer.Option("--overwrite", help="Replace an existing run or bundle at --out; other files are never replaced."),
]


@contextmanager
def require_extra(extra: str) -> Iterator[None]:
    """Within the block, a missing optional dependency raises MissingExtraError, which says what to install."""
    try:
        yield
    except ModuleNotFoundError as error:
        missing = (error.name or "").split(".")[0]
        if missing not in EXTRAS:
            raise
        raise MissingExtraError(missing, extra) from None


def on_terminal() -> bool:
    """Return whether standard error is a terminal and this is the main process."""
    return sys.stderr.isatty() and is_main_process()


def is_main_process() -> bool:
    """Return whether this process is the only one, or the first of those that torchrun started; only it prints."""
    return os.environ.get("RANK", "0") == "0"


def log(text: str) -> None:
    """Print a message on standard error, from the main process only."""
    if is_main_process():
        try:
            print("\n".join(map(printable, text.split("\n"))), file=sys.stderr, flush=True)
        except BrokenPipeError:
            discard(2)


def discard(descriptor: int) -> None:
    """Put the null device in place of an output that nobody reads any more: 1 for standard output, 2 for errors."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)


def printable(text: str) -> str:
    """Return `text` with control characters escaped, so that text from a file cannot control the terminal."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def indented(samples: Mapping[str, str], margin: str = "    | ") -> str:
    """Return the samples of a network as lines that begin with `margin`; several ones are named."""
    named = len(samples) > 1
    texts = (f"{name}: {text}" if named else text for name, text in samples.items())
    return textwrap.indent("\n".join(texts).strip("\n"), margin, lambda line: True)


def result(values: Mapping[str, Any], text: str, *, as_json: bool) -> None:
    """Print the result of a command on standard output: `values` as one line of JSON, or `text`."""
    print(json.dumps(values, allow_nan=False) if as_json else text, flush=True)


@contextmanager
def progress(title: str) -> Iterator[Callable[[float, str], None]]:
    """Show a progress bar on standard error if that is a terminal.

    Yields a function that takes the fraction that is done, from 0 to 1, and a text to show beside the bar.
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


class Waiting:
    """A line on standard error that shows what a command is busy with, for how long, and `figures`, if they are set."""

    def __init__(self, title: str) -> None:
        self.figures = ""
        self._title, self._ended = title, threading.Event()
        self._thread: threading.Thread | None = None
        if on_terminal():
            # A copy, since libraries in C++ are silenced by closing standard error for a while.
            terminal = os.fdopen(os.dup(sys.stderr.fileno()), "w", encoding=sys.stderr.encoding, errors="replace")
            self._thread = threading.Thread(target=self._show, args=[terminal], daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Remove the line, for good."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()

    def _show(self, terminal: TextIO) -> None:
        begun = time.monotonic()
        with terminal:
            while not self._ended.wait(_EVERY):
                seconds = time.monotonic() - begun
                print(f"{_CLEAR}{self._title} … {seconds:.0f} s  {self.figures}", end="", file=terminal, flush=True)
            if time.monotonic() - begun >= _EVERY:
                print(_CLEAR, end="", file=terminal, flush=True)


_EVERY = 1.0  # seconds: nothing is shown of what takes less
_CLEAR = "\r\x1b[2K"


@contextmanager
def waiting(title: str) -> Iterator[Waiting]:
    """Show that a command is alive while the block takes its time, if standard error is a terminal."""
    wait = Waiting(title)
    try:
        yield wait
    finally:
        wait.stop()


@contextmanager
def starting(extra: str) -> Iterator[None]:
    """For imports that take seconds: as `require_extra`, and shown as `waiting` shows it."""
    with require_extra(extra), waiting("starting"):
        yield


def stop_after_step(stop: Callable[[], None]) -> None:
    """Call `stop`, which ends the work after its present step, and say so at once."""
    stop()
    with suppress(RuntimeError):  # the signal came while the same stream was being written to
        log("stopping after this step; Ctrl-C again ends it now")


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
