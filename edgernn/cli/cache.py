"""`edgernn cache`: what the cache holds, and a way to empty it."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from edgernn.cli.console import Json, result

__all__ = ["cache"]

_KINDS = {
    "text": "a text that was downloaded",
    "features": "features of images, computed by frozen layers of an encoder",
    "code": "a bundle in C, compiled",
    "interrupted": "left by a write that was interrupted, unless it is going on",
}
_DIGEST = re.compile(r"([0-9a-f]{12})[0-9a-f]{52}")  # of which the beginning is enough for people


def cache(
    empty: Annotated[
        bool, typer.Option("--empty", help="Remove everything that edgernn wrote into the cache.")
    ] = False,
    json: Json = False,
) -> None:
    """Show where the cache is, what it holds and how large that is, or empty it.

    The cache holds texts that edgernn downloaded, features that it computed from images, and bundles in C that it
    compiled; what is missing is made again. The cache is the directory that the environment variable EDGERNN_CACHE
    names, or ~/.cache/edgernn. Do not empty it while a training is running.

    [bold]Example:[/bold] edgernn cache --empty
    """
    from edgernn.data.cache import cache_entries, empty_cache
    from edgernn.paths import cache_directory

    root = cache_directory()
    entries = empty_cache() if empty else cache_entries()
    total = sum(entry.bytes for entry in entries)
    values = {"cache": str(root), "emptied": empty, "bytes": total, "entries": [entry.to_json() for entry in entries]}
    if not entries:
        text = f"{root} holds nothing of edgernn"
    elif empty:
        text = f"{root}: removed {_size(total)}"
    else:
        names = {entry.path: _DIGEST.sub(r"\1…", str(entry.path.relative_to(root))) for entry in entries}
        width = max(map(len, names.values()))
        lines = [f"{_size(entry.bytes):>10}  {names[entry.path]:<{width}}  {_KINDS[entry.kind]}" for entry in entries]
        text = "\n".join([f"{root}: {_size(total)}", *lines])
    result(values, text, as_json=json)


def _size(count: int) -> str:
    """A number of bytes for people."""
    return f"{count:,} bytes" if count < 1e5 else f"{count / 1e6:,.1f} MB"
