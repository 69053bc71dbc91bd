"""What a path leads to: a run, a bundle, a file of one, something else or nothing. Nothing is loaded to learn it."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from edgernn.errors import few

__all__ = ["CONFIG", "MANIFEST", "SITE", "Found", "Kind", "cache_directory", "identify", "refusal"]

MANIFEST = "bundle.json"  # of a bundle
CONFIG = "config.json"  # of a run
SITE = "site.json"  # of a page for the browser
_LARGEST = 4 << 20  # bytes of a JSON file that is looked into
_NAMED = 100  # characters of a name that comes from a file
_HEAD = 16  # bytes that tell what kind of file it is


class Kind(Enum):
    """What a path can lead to. The value is the noun in messages."""

    NOTHING = "nothing"
    RUN = "a run"
    BUNDLE = "a bundle"
    SITE = "a site"
    DIRECTORY = "a directory"
    EMPTY_DIRECTORY = "an empty directory"
    ONNX = "an ONNX file"
    ORT = "an ONNX Runtime (.ort) file"
    EXECUTORCH = "an ExecuTorch (.pte) file"
    TORCHSCRIPT = "a TorchScript (.ptl) file"
    SAFETENSORS = "a safetensors file"
    EMPTY_FILE = "an empty file"
    FILE = "a file"
    OTHER = "neither a file nor a directory"


_GRAPHS = (Kind.ONNX, Kind.ORT, Kind.EXECUTORCH, Kind.TORCHSCRIPT)


@dataclass(frozen=True)
class Found:
    """What `path` leads to. made_from: the run that a bundle was made from, by its name, where the bundle says it."""

    path: Path
    kind: Kind
    made_from: str = ""

    @property
    def noun(self) -> str:
        """What it is in words, such as "a bundle, made from the run demo"."""
        return self.kind.value + (f", made from the run {self.made_from}" if self.made_from else "")


def identify(path: Path) -> Found:
    """What `path` leads to. A directory is taken for what its manifest says, whole or damaged."""
    if not path.exists():
        return Found(path, Kind.NOTHING)
    if path.is_dir():
        return _directory(path)
    return Found(path, _file_kind(path) if path.is_file() else Kind.OTHER)


def refusal(path: Path, *wanted: Kind) -> str:
    """Why `path` cannot be taken for one of `wanted`, and what to do about it, as one line."""
    found = identify(path)
    if found.kind is Kind.NOTHING:
        link = f"{path} is a symbolic link to {path.readlink()}, which does not exist" if path.is_symlink() else ""
        return link or f"there is no {path}"
    names = " or ".join(kind.value for kind in wanted)
    if found.kind in (Kind.DIRECTORY, Kind.FILE):
        lacking = {Kind.BUNDLE: MANIFEST, Kind.RUN: CONFIG}
        files = " and ".join(f"no {lacking[kind]}" for kind in wanted if kind in lacking)
        why = f": it has {files}" if files and found.kind is Kind.DIRECTORY else ""
        text = f"{path} is not {names}{why}"
    else:
        text = f"{path} is {found.noun}, and not {names}"
    remedy = _remedy(found, wanted)
    return f"{text}{'; ' if ': ' in text else ': '}{remedy}" if remedy else text


def _remedy(found: Found, wanted: tuple[Kind, ...]) -> str:
    """What to do with something that is not `wanted`; empty where nothing is known."""
    path, around = found.path, identify(found.path.absolute().parent)
    if path.is_file() and around.kind in wanted:
        return f"name {around.kind.value.replace('a ', 'the ', 1)} that it belongs to, {path.parent}"
    if inside := sorted(_inside(path, wanted)):
        return f"it holds {few(inside)}: name one of them"
    if Kind.BUNDLE in wanted and found.kind is Kind.RUN:
        return f"export it with edgernn export {shlex.quote(str(path))} --out BUNDLE"
    if Kind.BUNDLE in wanted and found.kind is Kind.ONNX and Kind.RUN not in wanted:
        return f"make a bundle of it with edgernn adopt {shlex.quote(str(path))} --out BUNDLE"
    if Kind.RUN in wanted and path.suffix == ".py":
        return (
            "a module in a Python file is exported in Python, with edgernn.exporters.export_module: see docs/export.md"
        )
    if wanted == (Kind.RUN,) and found.kind is Kind.BUNDLE:
        return "name the run"
    if Kind.ONNX in wanted and found.kind in _GRAPHS and around.kind is Kind.BUNDLE:
        return f"name the bundle that it belongs to, {path.parent}"
    return ""


def _inside(path: Path, wanted: tuple[Kind, ...]) -> Iterator[str]:
    """The names of the runs or bundles that are in a directory, where these are wanted."""
    if not path.is_dir():
        return
    files = [file for kind, file in ((Kind.RUN, CONFIG), (Kind.BUNDLE, MANIFEST)) if kind in wanted]
    for each in path.iterdir():
        if any((each / file).is_file() for file in files) and identify(each).kind in wanted:
            yield each.name


def _directory(path: Path) -> Found:
    if (path / MANIFEST).is_file():
        provenance = _read(path / MANIFEST).get("provenance")
        run = provenance.get("run") if isinstance(provenance, dict) else None
        return Found(path, Kind.BUNDLE, run[:_NAMED] if isinstance(run, str) else "")
    if "task" in _read(path / CONFIG):
        return Found(path, Kind.RUN)
    if "first_visit" in _read(path / SITE):
        return Found(path, Kind.SITE)
    return Found(path, Kind.DIRECTORY if any(path.iterdir()) else Kind.EMPTY_DIRECTORY)


def _read(path: Path) -> dict[str, Any]:
    """The object in a JSON file; an empty one if there is none."""
    try:
        if path.stat().st_size > _LARGEST:
            return {}
        values = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}


def _file_kind(path: Path) -> Kind:
    """The kind of a file, by its first bytes or, where these do not tell, by its name."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError:
        return Kind.FILE
    if not head:
        return Kind.EMPTY_FILE
    if head[4:8] == b"ORTM":
        return Kind.ORT
    if head[4:6] == b"ET" and head[6:8].isdigit():
        return Kind.EXECUTORCH
    if path.suffix == ".onnx":
        return Kind.ONNX
    if head.startswith(b"PK\3\4") and path.suffix in (".ptl", ".pt", ".pth"):
        return Kind.TORCHSCRIPT
    return Kind.SAFETENSORS if head[8:9] == b"{" and path.suffix == ".safetensors" else Kind.FILE


def cache_directory() -> Path:
    """Return the directory where edgernn keeps files that it can download or compute again."""
    if chosen := os.environ.get("EDGERNN_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgernn"
