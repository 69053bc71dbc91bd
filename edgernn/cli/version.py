"""`edgernn --version`: what a report of a bug begins with."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

import typer

import edgernn

__all__ = ["show_version", "versions"]

_LIBRARIES = ("numpy", "onnxruntime", "tokenizers", "torch", "onnx", "executorch")


def versions() -> dict[str, str]:
    """The versions of edgernn, Python and the libraries beneath it that are installed; nothing is imported for it."""
    found = {"edgernn": edgernn.__version__, "python": platform.python_version()}
    for library in _LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            continue
    return found


def show_version(asked: bool) -> None:
    """Print the versions and exit, if that was asked for."""
    if asked:
        print(", ".join(f"{name} {number}" for name, number in versions().items()))
        raise typer.Exit
