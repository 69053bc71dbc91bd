"""The options of the target c, which `export` and `adopt` share."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from edgernn.errors import ConfigError

if TYPE_CHECKING:
    from edgernn.exporters.target import Target

__all__ = ["Name", "Size", "Weights", "chosen"]

Name = Annotated[str, typer.Option(help="In C, what the names of files and functions begin with.")]
Weights = Annotated[
    str,
    typer.Option(
        help="In C, where the weights are: array, in the source file; blob, in a file of their own; or auto, which "
        "is a blob above 1 MiB."
    ),
]
Size = Annotated[
    list[str] | None,
    typer.Option(
        metavar="AXIS=N",
        help="In C, the size of a named axis, such as source=40. Each axis but the batch needs one.",
    ),
]


def chosen(to: str, name: str, weights: str, sizes: Iterable[str]) -> str | Target:
    """Return the target that the options of a command describe. Raises ConfigError if they do not fit it."""
    from edgernn.exporters.targets.c import CodeOptions, c_target

    options = CodeOptions(name, weights, _sizes(sizes))
    if to == "c":
        return c_target(options)
    if options != CodeOptions():
        raise ConfigError("--name, --weights and --size are options of the target c: leave them out")
    return to


def _sizes(texts: Iterable[str]) -> dict[str, int]:
    """Return the sizes of axes, written AXIS=N. Raises ConfigError for another text."""
    sizes = {}
    for text in texts:
        axis, _, size = text.partition("=")
        if not axis or not size.isdecimal():
            raise ConfigError(f"--size {text[:40]!r} is not of the form AXIS=N, such as source=40")
        sizes[axis] = int(size)
    return sizes
