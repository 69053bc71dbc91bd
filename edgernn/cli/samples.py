"""`edgernn samples`: what the network of a run generated as it learned."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgernn.cli.console import Json, indented, printable, result, starting
from edgernn.cli.options import number
from edgernn.errors import RunError

if TYPE_CHECKING:
    from edgernn.training.stages import Stage

__all__ = ["samples"]


def samples(
    run: Annotated[Path, typer.Argument(help="The run whose samples are shown.")],
    *,
    stages: Annotated[
        int,
        typer.Option(
            parser=number("stages", low=1),
            help="The largest number of stages to show: the first, the last, and others whose steps grow by about "
            "equal ratios.",
        ),
    ] = 6,
    out: Annotated[
        Path | None, typer.Option(help="Write the samples side by side to this file, as a table in HTML.")
    ] = None,
    json: Json = False,
) -> None:
    """Show what the network of a run generated at several stages of its training, and its scores on held-out data.

    [bold]Example:[/bold] edgernn samples runs/shakespeare --stages 4
    """
    with starting("train"):
        from edgernn.training import Run
        from edgernn.training.stages import side_by_side, spread

    loaded = Run.load(run)
    chosen = spread(loaded.stages(), stages)
    if not chosen:
        raise RunError(
            f"{run} has no samples: continue it up to its first evaluation with edgernn {loaded.resume}, or train it "
            "again if it was trained with an earlier version"
        )
    if out is not None:
        out.write_text(side_by_side([(_title(stage), indented(stage.samples, "")) for stage in chosen]) + "\n", "utf-8")
    values = {"run": str(run), "stages": [stage.to_json() for stage in chosen]}
    result(values, str(out) if out is not None else "\n\n".join(map(_shown, chosen)), as_json=json)


def _title(stage: Stage) -> str:
    return f"step {stage.step:,} ({stage.passes:.3g} passes): {stage.score}"


def _shown(stage: Stage) -> str:
    """A stage as it is printed: its title, and its samples below."""
    lines = indented(stage.samples).expandtabs().split("\n") if stage.samples else []
    return "\n".join([_title(stage), *map(printable, lines)])
