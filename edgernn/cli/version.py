"""`edgernn --version`: the versions that a bug report should contain."""

from __future__ import annotations

import platform

import typer

import edgernn

__all__ = ["show_version", "versions"]

_LIBRARIES = ("numpy", "onnxruntime", "tokenizers", "torch", "onnx", "executorch")


def versions() -> dict[str, str]:
    """Return the versions of edgernn, of Python and of the libraries that are installed, which are not imported."""
    from importlib.metadata import PackageNotFoundError, version  # a tenth of the time that `edgernn --help` takes

    found = {"edgernn": edgernn.__version__, "python": platform.python_version()}
    for library in _LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            continue
    return found


def show_version(asked: bool) -> None:
    """Print the versions and exit if `--version` was given."""
    if asked:
        print(", ".join(f"{name} {number}" for name, number in versions().items()))
        raise typer.Exit
