"""Public texts by name: downloaded once, checked against a pinned digest, and kept in a cache."""

from __future__ import annotations

import hashlib
import urllib.error
import urllib.request
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

from edgernn.atomic import replace_file
from edgernn.errors import CorpusError
from edgernn.paths import cache_directory

__all__ = ["IMAGES", "TEXTS", "PublicText", "cached_text"]

IMAGES = "images"  # the directory in the cache for what frozen layers make of images
_SECONDS = 60
_LIMIT = 1 << 30  # bytes


@dataclass(frozen=True)
class PublicText:
    """The address, size and digest of a public text."""

    url: str
    sha256: str


TEXTS = {
    "tinyshakespeare": PublicText(
        "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",
        "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
    ),
}


def cached_text(name: str) -> Path:
    """Return the file of the public text `name`, which is downloaded unless it is in the cache.

    The cache is $EDGERNN_CACHE, or edgernn in $XDG_CACHE_HOME or ~/.cache. Raises CorpusError if the text cannot be
    downloaded or its digest is wrong; then nothing is kept.
    """
    text = TEXTS[name]
    path = cache_directory() / f"{name}.txt"
    if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == text.sha256:
        return path
    data = _download(name, text.url)
    found = hashlib.sha256(data).hexdigest()
    if found != text.sha256:
        raise CorpusError(f"{name}: {text.url} has changed: its SHA-256 is {found}, not {text.sha256}")
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, data)
    return path


def _download(name: str, url: str) -> bytes:
    try:
        with urllib.request.urlopen(url, timeout=_SECONDS) as answer:
            data: bytes = answer.read(_LIMIT)
    except (urllib.error.URLError, HTTPException, TimeoutError, ConnectionError, ValueError) as error:
        raise CorpusError(
            f"{name} cannot be downloaded from {url}: {getattr(error, 'reason', error)}; give the text as a file"
        ) from None
    return data
