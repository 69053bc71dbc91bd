"""Where the demo is shown: results on standard output, a progress bar of what takes a while on standard error."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.terminal_theme import MONOKAI
from rich.text import Text

from edgernn.atomic import replace_file
from edgernn.cli.console import on_terminal, printable

__all__ = ["Screen"]

_WIDTH = 100
_INDENT = 3
_FONTS = re.compile(r"\s*@font-face \{\{.*?\}\}", re.DOTALL)  # which a picture would fetch from the network


class Screen:
    """Shows headings, details and results of numbered steps.

    details: whether headings and details are shown. results: whether results are. bar: whether progress is. record:
    whether `save` will be called.
    """

    def __init__(self, *, details: bool = True, results: bool = True, bar: bool = True, record: bool = False) -> None:
        self._details, self._results, self._shows_bar = details, results, bar and on_terminal()
        output = Console(highlight=False)
        output.width = min(output.width, _WIDTH) if output.is_terminal else _WIDTH
        self._consoles = [output]
        if record:
            paper = io.StringIO()
            recorder = Console(
                file=paper, highlight=False, record=True, force_terminal=True, color_system="truecolor", width=_WIDTH
            )
            self._consoles.append(recorder)
        self._bar: Progress | None = None
        self._steps = 0
        self._line_is_open = False  # by a piece of a text

    def heading(self, title: str) -> None:
        """Begin the next step."""
        self._steps += 1
        if self._details:
            self._print(Text(f"\n{self._steps}. {title}", style="bold cyan"))

    def detail(self, content: RenderableType) -> None:
        """Show what a step did, indented."""
        if self._details:
            self._print(Padding(content, (0, 0, 0, _INDENT), expand=False))

    def result(self, text: str) -> None:
        """Show what a step came to, in one sentence."""
        if self._results:
            sentence = Text(f"→ {text}", style="green")
            self._print(Padding(sentence, (0, 0, 0, _INDENT if self._details else 0), expand=False))

    def close(self, text: str, commands: Sequence[str]) -> None:
        """Show what the reader can do next."""
        if self._details:
            self._print(Text(f"\n{text}"))
            for command in commands:
                self._print(Padding(Text(command, style="bold"), (0, 0, 0, _INDENT), expand=False))

    def write(self, text: str) -> None:
        """Show a piece of a text as it is generated."""
        if not self._details:
            return
        margin = " " * _INDENT
        lines = f"\n{margin}".join(map(printable, text.split("\n")))
        for console in self._consoles:
            console.print(Text(lines if self._line_is_open else margin + lines), end="", soft_wrap=True)
        self._line_is_open = True

    @contextmanager
    def busy(self, title: str) -> Iterator[Callable[[float, str], None]]:
        """A progress bar while the block runs, if standard error is a terminal; nothing otherwise.

        It is moved by calls with the fraction that is done, 0 to 1, and a text to show beside it. Until the first call
        it only shows that time passes. What is shown within the block appears above the bar.
        """
        if not self._shows_bar:
            yield lambda done, figures: None
            return
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[figures]}"),
            TimeElapsedColumn(),
        )
        bar = self._bar = Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=False)
        task = bar.add_task(title, total=None, figures="")
        try:
            with bar:
                yield lambda done, figures: bar.update(task, total=1.0, completed=done, figures=figures)
        finally:
            self._bar = None

    def save(self, path: Path, title: str) -> None:
        """Write what was shown to `path`, as an SVG picture that needs no other file."""
        svg = self._consoles[-1].export_svg(title=title, theme=MONOKAI, code_format=_FONTS.sub("", CONSOLE_SVG_FORMAT))
        replace_file(path, svg.encode())

    def _print(self, content: RenderableType) -> None:
        with self._without_bar():
            for console in self._consoles:
                if self._line_is_open:
                    console.print()
                console.print(content)
        self._line_is_open = False

    @contextmanager
    def _without_bar(self) -> Iterator[None]:
        """Take the progress bar away while the block prints, since it may be on the same terminal."""
        if self._bar is not None:
            self._bar.stop()
        yield
        if self._bar is not None:
            self._bar.start()
