"""`edgernn plot`: learning curves."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgernn.cli.console import Json, result, starting

__all__ = ["plot"]


def plot(
    runs: Annotated[list[Path], typer.Argument(help="The runs to draw; all of the same task.")],
    out: Annotated[Path, typer.Option(help="The picture to write: a .png or .svg file.")] = Path("curves.png"),
    json: Json = False,
) -> None:
    """Draw the learning curves of runs in one picture: the held-out metric by optimizer steps.

    [bold]Example:[/bold] edgernn plot runs/small runs/large --out curves.png
    """
    with starting("plot"):
        from edgernn.training.curves import plot_curves

    plot_curves(runs, out)
    result({"picture": str(out), "runs": [str(run) for run in runs]}, f"{out}", as_json=json)
