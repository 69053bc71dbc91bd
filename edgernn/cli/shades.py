"""Text in the colours of a unit, on a terminal."""

from __future__ import annotations

import sys
from functools import cache
from typing import TYPE_CHECKING

from edgernn.cli.console import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from edgernn.runtime.units.drawing import Drawing

__all__ = ["paint", "print_piece", "shows_colours"]


def shows_colours() -> bool:
    """Whether standard output is a terminal that shows colours; not so if NO_COLOR is set."""
    console = _console()
    return console.is_terminal and console.color_system is not None and not console.no_color


def paint(drawing: Drawing) -> None:
    """Print a drawing: the shade is the background, and characters at which the property holds are underlined."""
    from rich.text import Text

    from edgernn.runtime.units.shades import runs

    text = Text()
    for run, level, mark in runs(drawing.text, drawing.shades, drawing.holds):
        _append(text, run, level, mark=mark)
    _console().print(text, soft_wrap=True, end="" if drawing.text.endswith("\n") else "\n")


def print_piece(text: str) -> None:
    """Print a piece of text at once, without a line break; on a background of its shade, if it has one."""
    from edgernn.runtime.units.shading import Shaded

    if not isinstance(text, Shaded) or not shows_colours():
        print(text, end="", flush=True)
        return
    from rich.text import Text

    from edgernn.runtime.units.shades import level

    coloured = Text()
    for number, line in enumerate(text.split("\n")):
        _append(coloured, "\n" if number else "", 0)
        _append(coloured, line, level(text.shade))
    _console().print(coloured, soft_wrap=True, end="")
    sys.stdout.flush()


def _append(text: Text, run: str, level: int, *, mark: bool = False) -> None:
    from rich.style import Style

    from edgernn.runtime.units.shades import colour

    if run == "\n" or not run:
        text.append(run)
    else:
        shown = "\t".join(map(printable, run.split("\t")))  # rich widens a tab
        text.append(shown, Style(color="black", bgcolor=colour(level), underline=mark))


@cache
def _console() -> Console:
    from rich.console import Console

    return Console(highlight=False)
