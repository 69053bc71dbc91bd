"""Write files and directories atomically: completely or not at all."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from edgernn.errors import EdgeRNNError, OutputError, OutputExistsError, few
from edgernn.paths import Kind, identify

__all__ = ["Strangers", "check_free", "new_directory", "replace_file"]

Strangers = Callable[[Path], Sequence[str]]  # the files in a directory that edgernn did not write there

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


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


def check_free(path: Path, *, overwrite: bool, kind: Kind, strangers: Strangers) -> None:
    """Raise OutputExistsError unless a directory of a kind may be written at `path`, OutputError where none can be.

    An existing one may be replaced only if `overwrite` is set and it is empty, or of the same kind and all edgernn's
    own: nobody loses a home directory, or notes kept beside a run, to an option.
    """
    if not os.path.lexists(path):
        above = next((parent for parent in path.parents if parent.exists()), path.parent)
        if above.is_file():
            raise OutputError(f"{path} cannot be written: {above} is a file")
        return
    if path.is_symlink():
        raise OutputExistsError(f"{path} is a symbolic link to {path.readlink()}; choose another name")
    if not path.is_dir():
        raise OutputExistsError(f"{path} exists and is not a directory; choose another name")
    found = identify(path)
    if found.kind in (Kind.RUN, Kind.BUNDLE, Kind.SITE) and found.kind is not kind:
        raise OutputExistsError(f"{path} is {found.noun}, which {kind.value} does not replace: choose another name")
    if not overwrite:
        raise OutputExistsError(f"{path} exists; choose another name, or replace it with overwrite=True (--overwrite)")
    if others := strangers(path):
        raise OutputExistsError(
            f"{path} holds files that edgernn did not write there: {few(others)}; it is not replaced: "
            "choose another name"
        )


@contextmanager
def new_directory(path: Path, *, overwrite: bool, kind: Kind, strangers: Strangers) -> Iterator[Path]:
    """A temporary directory that becomes `path` when the block ends without an exception.

    Otherwise it is removed and whatever stood at `path` is untouched. Raises OutputExistsError as `check_free` does,
    and OutputError where nothing can be written. Errors of the block that name the temporary directory name `path`.
    """
    check_free(path, overwrite=overwrite, kind=kind, strangers=strangers)
    typed, path = path, Path(os.path.abspath(path))
    with _naming(typed):
        missing = [parent for parent in path.parents if not parent.exists()]
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    try:
        with _naming(typed, temporary):
            yield temporary
        with _naming(typed):
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


@contextmanager
def _naming(path: Path, temporary: Path | None = None) -> Iterator[None]:
    """Raise OutputError, naming `path`, where the block cannot write.

    temporary: where the block writes; without it, every OSError is one of writing.
    """
    try:
        yield
    except OSError as error:
        if temporary and error.errno not in _NO_ROOM and not str(error.filename or "").startswith(str(temporary)):
            raise
        raise OutputError(f"{path} cannot be written: {error.strerror or error}") from error
    except EdgeRNNError as error:
        if temporary is not None:
            error.args = (str(error).replace(str(temporary), str(path)),)
        raise


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
