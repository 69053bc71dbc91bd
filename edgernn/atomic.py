"""Files and directories that are written whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgernn.errors import OutputExistsError

__all__ = ["check_free", "new_directory", "replace_file"]


def replace_file(path: Path, data: bytes) -> None:
    """Write `data` to `path` so that a reader, or a crash, sees the old content or the new one, nothing between."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def check_free(path: Path, *, overwrite: bool, marker: str) -> None:
    """Raise OutputExistsError unless a directory may be written at `path`.

    An existing one may be replaced only if `overwrite` is set and it is empty or holds `marker`, the file by which
    edgernn knows its own: nobody loses a home directory to a mistyped path.
    """
    if not os.path.lexists(path):
        return
    if not path.is_dir() or path.is_symlink():
        raise OutputExistsError(f"{path} exists and is not a directory; choose another name")
    if not overwrite:
        raise OutputExistsError(f"{path} exists; choose another name, or replace it with --overwrite")
    if any(path.iterdir()) and not (path / marker).is_file():
        raise OutputExistsError(f"{path} holds no {marker}, so edgernn did not write it and will not replace it")


@contextmanager
def new_directory(path: Path, *, overwrite: bool, marker: str) -> Iterator[Path]:
    """A temporary directory that becomes `path` when the block ends without an exception.

    Otherwise it is removed and whatever stood at `path` is untouched. Raises OutputExistsError as `check_free` does.
    """
    check_free(path, overwrite=overwrite, marker=marker)
    path = Path(os.path.abspath(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    try:
        yield temporary
        temporary.chmod(0o777 & ~_umask())
        _sync(temporary)
        _swap(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _swap(new: Path, path: Path) -> None:
    """Move `new` to `path`; what was at `path` ends up at `new`."""
    if not path.exists():
        new.rename(path)
        return
    old = new.with_name(f"{new.name}.old")
    path.rename(old)
    try:
        new.rename(path)
    except OSError:
        old.rename(path)
        raise
    old.rename(new)


def _sync(directory: Path) -> None:
    for file in directory.rglob("*"):
        if file.is_file():
            with file.open("rb") as handle:
                os.fsync(handle.fileno())


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
