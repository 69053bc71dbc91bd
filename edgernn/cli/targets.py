"""The options of the targets c and wasm, which `export` and `adopt` share."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from edgernn.errors import ConfigError

if TYPE_CHECKING:
    from edgernn.exporters.target import Target

__all__ = ["Name", "Size", "Weights", "chosen"]

Name = Annotated[
    str, typer.Option(help="In C and WebAssembly, the word with which the names of files and functions begin.")
]
Weights = Annotated[
    str,
    typer.Option(
        help="In C, how the weights are stored: array stores them in the source file, blob in a file of their own; "
        "auto chooses blob for weights of more than 1 MiB."
    ),
]
Size = Annotated[
    list[str] | None,
    typer.Option(
        metavar="AXIS=N",
        help="In C and WebAssembly, the size of a named axis, such as source=40. Every named axis needs a size, except "
        "the batch, and the height and width of a captioner's pictures, which have a default. Can be given more than "
        "once.",
    ),
]


def chosen(to: str, name: str, weights: str, sizes: Iterable[str]) -> str | Target:
    """Return the target that the options of a command describe. Raises ConfigError if they do not fit it."""
    from edgernn.exporters.targets.c import CodeOptions, c_target
    from edgernn.exporters.targets.wasm import wasm_target

    options = CodeOptions(name, weights, _sizes(sizes))
    if to == "c":
        return c_target(options)
    if to == "wasm" and weights == CodeOptions().weights:
        return wasm_target(options)
    if options != CodeOptions():
        raise ConfigError(
            "--name and --size are options of the targets c and wasm, and --weights of c alone: leave them out"
        )
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
