"""Write files and directories atomically: completely or not at all."""

from __future__ import annotations

import ctypes
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from edgernn.errors import OutputExistsError

__all__ = ["Owns", "check_free", "new_directory", "replace_file"]

Owns = Callable[[Path], bool]  # returns whether edgernn wrote a directory and everything in it

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


def replace_file(path: Path, data: bytes) -> None:
    """Write `data` to `path` atomically: readers, also after a crash, see either the old or the new content."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o666 & ~_umask())
        os.replace(temporary, path)
        _sync(path.parent)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def check_free(path: Path, *, overwrite: bool, owns: Owns) -> None:
    """Raise OutputExistsError unless a directory may be written at `path`.

    An existing directory may be replaced only if `overwrite` is set and it is empty or `owns` confirms that edgernn
    wrote everything in it. So `--overwrite` can delete neither a home directory nor notes that the user kept beside a
    run.
    """
    if not os.path.lexists(path):
        return
    if not path.is_dir() or path.is_symlink():
        raise OutputExistsError(f"{path} exists and is not a directory; choose another name")
    if not overwrite:
        raise OutputExistsError(f"{path} exists; choose another name, or replace it with --overwrite")
    if any(path.iterdir()) and not owns(path):
        raise OutputExistsError(f"{path} holds files that edgernn did not write there, so it is not replaced")


@contextmanager
def new_directory(path: Path, *, overwrite: bool, owns: Owns) -> Iterator[Path]:
    """Yield a temporary directory that is moved to `path` when the block ends without an exception.

    After an exception it is removed, and an existing directory at `path` stays unchanged. Raises OutputExistsError as
    `check_free` does.
    """
    check_free(path, overwrite=overwrite, owns=owns)
    path = Path(os.path.abspath(path))
    missing = [parent for parent in path.parents if not parent.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    try:
        yield temporary
        temporary.chmod(0o777 & ~_umask())
        for file in temporary.rglob("*"):
            _sync(file)
        if overwrite and path.exists():
            _swap(temporary, path)
        else:
            _move(temporary, path)
        _sync(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        for parent in missing:  # innermost first; a directory that is no longer empty stays
            with suppress(OSError):
                parent.rmdir()


def _move(new: Path, path: Path) -> None:
    try:
        new.rename(path)
    except OSError:
        if not path.exists():
            raise
        raise OutputExistsError(f"{path} appeared meanwhile; it is left as it is") from None


def _swap(new: Path, path: Path) -> None:
    """Replace the directory `path` by `new`: atomically if the system can, else the old one is restored on failure."""
    if _exchange(new, path):
        return
    old = new.with_name(f"{new.name}.old")
    path.rename(old)
    try:
        new.rename(path)
    except BaseException:
        old.rename(path)
        raise
    old.rename(new)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two directories with Linux's renameat2, and return whether that worked; False on other systems."""
    try:
        rename = ctypes.CDLL(None).renameat2
    except (AttributeError, OSError, TypeError):
        return False
    return bool(rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0)


def _sync(path: Path) -> None:
    """Flush a file, or the entries of a directory, to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
