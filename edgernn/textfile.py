"""Reading text files: whatever is not UTF-8 text is a named error."""

from __future__ import annotations

import codecs
from pathlib import Path

from edgernn.errors import CorpusError

__all__ = ["read_text"]


def read_text(path: Path) -> str:
    """The text of a UTF-8 file. Raises CorpusError naming the file and what is wrong with it."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError as error:  # a name with a zero character
        raise CorpusError(f"{str(path)!r} is no file: {error}") from None
    if not data.removeprefix(codecs.BOM_UTF8):
        raise CorpusError(f"{path} is empty")
    if b"\0" in data:
        raise CorpusError(f"{path} is not text: it has a zero byte at offset {data.index(0)}")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CorpusError(f"{path} is not UTF-8: byte {error.start} is 0x{data[error.start]:02x}") from None
    return text.replace("\r\n", "\n")
