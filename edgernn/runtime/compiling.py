"""Compiles source files in C with $CC, cc, gcc or clang. Compiled code is kept in the cache."""

from __future__ import annotations

import ctypes
import hashlib
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from edgernn.errors import EngineError
from edgernn.paths import cache_directory

__all__ = ["COMPILED", "compiler", "library"]

COMPILED = "compiled"  # the directory of compiled code in the cache
_COMPILERS = ("cc", "gcc", "clang")
_FLAGS = ("-std=c99", "-O3", "-fPIC", "-shared")
_LONGEST = 600  # seconds of one compilation


def library(source: bytes) -> ctypes.CDLL:
    """Return the functions of a source file, which is compiled unless it was before.

    Raises EngineError if it cannot be.
    """
    command = compiler()
    digest = hashlib.sha256(source)
    for part in (*command, _version(command), *_FLAGS):
        digest.update(b"\0" + part.encode())
    path = cache_directory() / COMPILED / f"{digest.hexdigest()}.so"
    if not path.exists():
        _compile(command, source, path)
    try:
        return ctypes.CDLL(str(path))
    except OSError as error:
        raise EngineError(f"the compiled code {path} cannot be loaded: {error}") from None


def compiler() -> tuple[str, ...]:
    """Return the command of the C compiler. Raises EngineError if there is none."""
    if given := os.environ.get("CC"):
        try:
            command = tuple(shlex.split(given))
        except ValueError as error:
            raise EngineError(f"the C compiler {given[:60]!r} (CC) is no command: {str(error).lower()}") from None
        if not command or not shutil.which(command[0]):
            raise EngineError(f"the C compiler {command[0] if command else repr(given)} (CC) is not installed")
        return command
    for name in _COMPILERS:
        if shutil.which(name):
            return (name,)
    raise EngineError("a bundle in C needs a C compiler: install gcc or clang, or name one in the variable CC")


@cache
def _version(compiler: tuple[str, ...]) -> str:
    found = subprocess.run([*compiler, "--version"], capture_output=True, text=True, check=False, timeout=_LONGEST)
    return found.stdout.splitlines()[0] if found.stdout else ""


def _compile(compiler: Sequence[str], source: bytes, path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            code, made = Path(folder) / "model.c", Path(folder) / "model.so"
            code.write_bytes(source)
            command = [*compiler, *_FLAGS, str(code), "-o", str(made)]
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_LONGEST)
            if done.returncode:
                lines = (done.stderr or done.stdout).strip().splitlines() or [f"exit status {done.returncode}"]
                line = next((line for line in lines if "error" in line), lines[0])  # gcc names the function first
                raise EngineError(f"{compiler[0]} cannot compile the bundle: {line.replace(folder, '…')[:200]}")
            made.replace(path)
    except OSError as error:
        raise EngineError(f"{path.parent} cannot be written: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        raise EngineError(f"{compiler[0]} has not compiled the bundle after {_LONGEST} seconds") from None
