"""The command `edgernn demo`: its options, and its steps in their order."""

from __future__ import annotations

import math
import os
import shlex
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgernn.cli.console import Json, result
from edgernn.cli.options import number
from edgernn.errors import ConfigError

if TYPE_CHECKING:
    from edgernn.cli.demo.screen import Screen

__all__ = ["demo", "walk"]

_MINUTES, _FAST_MINUTES = 1.0, 1 / 6


def demo(
    minutes: Annotated[
        float | None,
        typer.Option(parser=number("minutes", float, low=0.01), help="The minutes of training.", show_default="1"),
    ] = None,
    fast: Annotated[bool, typer.Option("--fast", help="Train for ten seconds only.")] = False,
    tokens: Annotated[
        int, typer.Option(parser=number("tokens", low=1), help="The number of characters to stream.")
    ] = 300,
    folder: Annotated[Path, typer.Option(help="Where runs/demo and bundles/ are written; they are replaced.")] = Path(),
    picture: Annotated[Path | None, typer.Option(help="Write what the demo shows to this file, as SVG.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print only one line for the result of each step.")] = False,
    json: Json = False,
) -> None:
    """Train, export, stream and suggest text, and describe a picture: the whole way in about two minutes.

    A network learns from the source code of Python's standard library, so nothing is downloaded. Every figure that the
    demo shows was measured in that run.

    [bold]Example:[/bold] edgernn demo --fast
    """
    if fast and minutes is not None:
        raise ConfigError("--fast sets the minutes of training: leave out --minutes or --fast")
    if picture is not None and (quiet or json):
        raise ConfigError("--picture draws what the demo shows: leave out --quiet and --json")
    from edgernn.cli.demo.screen import Screen

    screen = Screen(details=not (quiet or json), results=not json, bar=not quiet, record=picture is not None)
    values = walk(screen, folder, minutes or (_FAST_MINUTES if fast else _MINUTES), tokens)
    if json:
        result(values, "", as_json=True)
    if picture is not None:
        screen.save(picture, "edgernn demo")


def walk(screen: Screen, folder: Path, minutes: float, tokens: int) -> dict[str, Any]:
    """Go through the steps: what each came to, as `--json` prints it."""
    from edgernn.cli.demo import steps

    begun = time.perf_counter()
    learned = steps.learn(screen, folder, minutes)
    proven = steps.export(screen, learned.run, folder)
    streamed = steps.stream(screen, proven.int8.path, tokens)
    suggested = steps.suggest(screen, proven.int8.path)
    resumed = steps.resume(screen, proven.fp32.path, learned.run)
    described = steps.describe(screen, folder)
    seconds = time.perf_counter() - begun
    commands = [
        _command("run", str(proven.int8.path), "class "),
        _command("caption", str(described.bundle), str(described.picture)),
        _command("train", "language", "--resume", str(learned.run.path), "--minutes", _twice(learned.seconds)),
    ]
    screen.close(f"All of it took {seconds:.0f} s. Now try:", commands)
    outcomes: dict[str, steps.Outcome] = {
        "learn": learned,
        "export": proven,
        "stream": streamed,
        "suggest": suggested,
        "resume": resumed,
        "describe": described,
    }
    return {
        **{name: outcome.to_json() for name, outcome in outcomes.items()},
        "seconds": round(seconds, 3),
        "commands": commands,
    }


def _twice(seconds: float) -> str:
    """The minutes to which a training of so many seconds goes on."""
    return f"{math.ceil(2 * seconds / 60 * 10) / 10:g}"


def _command(*arguments: str) -> str:
    """A command line that works where the reader is."""
    return f"{_program()} {shlex.join(arguments)}"


def _program() -> str:
    """How this program is called: by its name if the shell finds it by that, by its path otherwise."""
    script = Path(sys.argv[0])
    if script.name == "__main__.py":
        return f"{_from_here(Path(sys.executable))} -m edgernn"
    found = shutil.which("edgernn")
    return "edgernn" if found and Path(found).samefile(script) else _from_here(script)


def _from_here(path: Path) -> str:
    """The path as the shell reads it: relative to the working directory if it is inside."""
    absolute = Path(os.path.abspath(path))
    return shlex.quote(str(absolute.relative_to(Path.cwd()) if absolute.is_relative_to(Path.cwd()) else absolute))
