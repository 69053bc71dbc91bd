"""What the commands that train have in common: options, how a training ends early, and what it came to."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, Protocol

import typer

from edgernn.cli.console import drop_none, log, option, result
from edgernn.errors import ConfigError

if TYPE_CHECKING:
    from edgernn.training.base import Loop

__all__ = [
    "Autocast",
    "Device",
    "Out",
    "Patience",
    "Resume",
    "Steps",
    "end_early",
    "refuse_beside_resume",
    "report",
]

Out = Annotated[Path | None, typer.Option(help="The run directory to write.")]
Steps = Annotated[int | None, typer.Option(help="End after so many optimiser steps.")]
Patience = Annotated[int | None, typer.Option(help="End after so many evaluations without a better one.")]
Device = Annotated[str | None, option("Where to train: auto, cpu, cuda or mps.", "auto")]
Autocast = Annotated[str | None, option("Multiply in bfloat16: auto, off or bf16.", "auto")]
Resume = Annotated[Path | None, typer.Option(help="Go on with an interrupted run, with its own settings.")]


class Figures(Protocol):
    """How good the best weights are."""

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""


def refuse_beside_resume(settings: Mapping[str, Any]) -> None:
    """Raise ConfigError if any of `settings` was given: names of arguments are in capitals, of options are not."""
    if refused := drop_none(settings):
        names = ", ".join(name if name.isupper() else f"--{name.replace('_', '-')}" for name in refused)
        raise ConfigError(f"--resume takes its settings from the run: leave out {names}")


def end_early(trainer: Loop, resume: str) -> NoReturn:
    """After Ctrl-C: keep what was learned and say by which command it goes on."""
    trainer.save()
    log(f"stopped at step {trainer.step:,}; everything up to it is kept")
    log(f"to go on: {resume}")
    raise KeyboardInterrupt


def report(trainer: Loop, figures: Figures, text: str, *, as_json: bool) -> None:
    """Print what a training came to. text: the figures in words."""
    values = {
        "run": str(trainer.run.path),
        "parameters": trainer.parameters,
        "steps": trainer.step,
        "seconds": round(trainer.seconds, 3),
        "best": figures.to_json(),
    }
    cost = f"{trainer.parameters:,} parameters, {trainer.step:,} steps, {trainer.seconds:.0f} s"
    result(values, f"{trainer.run.path}: {text}; {cost}", as_json=as_json)
