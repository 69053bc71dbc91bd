"""Cells from Python files of the user, which are executed only when the user names them."""

from __future__ import annotations

import hashlib
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from edgernn.cell_names import UserCell
from edgernn.errors import ConfigError, first_line
from edgernn.models.cells.base import Cell
from edgernn.models.cells.checks import check_cell

__all__ = ["find_loaded", "load_cell", "loaded_cell", "path_of", "source_text"]

_SHOWN = 12  # digits of a SHA-256 in messages


@dataclass(frozen=True)
class _Loaded:
    cell: type[Cell]
    path: Path
    text: str


_loaded: dict[UserCell, _Loaded] = {}


def load_cell(name: str) -> str:
    """Execute a file, check the cell in it, and return the name by which networks and runs refer to it.

    name: FILE.py:CLASS. The name that is returned has the file's name without its directory, the class and the SHA-256
    of the text. Raises ConfigError for a file that cannot be read or executed or a class that is no cell, and CellError
    for one that does not do what `Cell` says.
    """
    given = UserCell.parse(name)
    if given is None:
        raise ConfigError(f"--cell {name} is not FILE.py:CLASS")
    path = Path(given.file)
    try:
        content = path.read_bytes()
        text = content.decode()
    except OSError as error:
        raise ConfigError(f"--cell {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"--cell {path} is not UTF-8 text") from None
    known = UserCell(path.name, given.kind, hashlib.sha256(content).hexdigest())
    if known not in _loaded:
        try:
            cell = _class(_execute(path, content, _module_name(known)), path, given.kind)
            check_cell(cell, f"--cell {path}:{given.kind}")
        except ConfigError:
            _unload(known)
            raise
        _loaded[known] = _Loaded(cell, path, text)
    return str(known)


@contextmanager
def loaded_cell(name: str) -> Iterator[str]:
    """Load a cell for the block alone, and yield what `load_cell` returns. If it was loaded before, it stays loaded.

    Raises what `load_cell` raises.
    """
    before = set(_loaded)
    cell = load_cell(name)
    try:
        yield cell
    finally:
        known = UserCell.parse(cell)
        if known is not None and known not in before:
            _unload(known)


def find_loaded(name: str) -> type[Cell]:
    """Return the cell of a name that `load_cell` returned.

    Raises ConfigError if its file is not loaded, or is loaded with another text.
    """
    wanted = UserCell.parse(name)
    if wanted is None or not wanted.digest:
        raise ConfigError(f"there is no cell {name[:40]!r}")
    if wanted in _loaded:
        return _loaded[wanted].cell
    said, digest = f"the cell {wanted.file}:{wanted.kind}", f"the SHA-256 {wanted.digest[:_SHOWN]}…"
    for other, loaded in _loaded.items():
        if other.kind == wanted.kind:
            raise ConfigError(
                f"{said} has {digest}, and {loaded.path} has {other.digest[:_SHOWN]}…: give the file as it was in "
                "training; the run keeps its text in cell.py"
            )
    raise ConfigError(
        f"{said} is Python code of a user, which is executed only on request: add --cell FILE.py:{wanted.kind}, with "
        f"the file that has {digest}"
    )


def source_text(cell: UserCell) -> str:
    """Return the text of the file of a cell that is loaded."""
    return _loaded[cell].text


def path_of(cell: UserCell) -> str:
    """Return the path of the file of a cell, as it was named; FOLDER/NAME if it is not loaded."""
    return str(_loaded[cell].path) if cell in _loaded else f"FOLDER/{cell.file}"


def _unload(cell: UserCell) -> None:
    """Forget a cell, and its module unless another cell of the same text is loaded."""
    _loaded.pop(cell, None)
    if all(other.digest != cell.digest for other in _loaded):
        sys.modules.pop(_module_name(cell), None)


def _module_name(cell: UserCell) -> str:
    return f"edgernn_cell_{cell.digest[:16]}"


def _class(module: types.ModuleType, path: Path, kind: str) -> type[Cell]:
    found = getattr(module, kind, None)
    if found is None:
        own = [name for name, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__]
        cells = [name for name in own if _is_cell(vars(module)[name])]
        raise ConfigError(f"--cell {path} has no class {kind}" + (f": it has {', '.join(cells)}" if cells else ""))
    if not _is_cell(found):
        raise ConfigError(f"--cell {path}:{kind} is no subclass of edgernn.models.cells.Cell")
    cell: type[Cell] = found
    return cell


def _is_cell(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, Cell) and value is not Cell


def _execute(path: Path, text: bytes, name: str) -> types.ModuleType:
    """Return the module of a file's text. Raises ConfigError, naming the line, if the text fails."""
    module = types.ModuleType(name)
    module.__file__ = str(path)
    sys.modules[name] = module  # where dataclasses and torch look a class's module up
    try:
        exec(compile(text, str(path), "exec"), vars(module))
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a user's code may raise anything
        raise ConfigError(
            f"--cell {path}{_line(error, str(path))}: {type(error).__name__}: {first_line(error)}"
        ) from None
    return module


def _line(error: BaseException, file: str) -> str:
    """Return the last line of `file` that an exception passed through, as ", line 3"; empty if there is none."""
    if isinstance(error, SyntaxError):
        return f", line {error.lineno}" if error.lineno else ""
    lines, trace = [0], error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == file:
            lines.append(trace.tb_lineno)
        trace = trace.tb_next
    return f", line {lines[-1]}" if lines[-1] else ""
