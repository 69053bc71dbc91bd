"""Reading text files: whatever is not UTF-8 text is a named error."""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterator
from pathlib import Path

from edgernn.errors import CorpusError

__all__ = ["read_pieces", "read_text"]

_BLOCK = 1 << 18  # bytes


def read_text(source: Path | bytes, name: str = "the text") -> str:
    """The text of a UTF-8 file, or of its bytes, which are called `name` in errors.

    Raises CorpusError naming the file and what is wrong with it.
    """
    return "".join(read_pieces(source, name if isinstance(source, bytes) else ""))


def read_pieces(source: Path | bytes, name: str = "") -> Iterator[str]:
    r"""The text of a UTF-8 file of any size, or of its bytes, piece by piece, with line breaks as "\n".

    name: what the file is called in errors, if not by its path.
    Raises CorpusError naming the file and what is wrong with it.
    """
    name = name or ("the text" if isinstance(source, bytes) else str(source))
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    offset, empty, carried = 0, True, ""
    try:
        with io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as file:
            while block := file.read(_BLOCK):
                if (zero := block.find(0)) >= 0:
                    raise CorpusError(f"{name} is not text: it has a zero byte at offset {offset + zero}")
                held_back = len(decoder.getstate()[0])
                text = carried + _decoded(decoder, block, name, offset - held_back)
                carried = "\r" if text.endswith("\r") else ""  # the block after it may begin with its "\n"
                text = text[: len(text) - len(carried)].replace("\r\n", "\n")
                offset += len(block)
                empty = empty and not (text or carried)
                yield text
            yield carried + _decoded(decoder, b"", name, offset - len(decoder.getstate()[0]))
    except OSError as error:
        raise CorpusError(f"{name}: cannot be read: {error.strerror}") from None
    except ValueError as error:  # a name with a zero character
        raise CorpusError(f"{name!r} is no file: {error}") from None
    if empty:
        raise CorpusError(f"{name} is empty")


def _decoded(decoder: codecs.IncrementalDecoder, block: bytes, name: str, offset: int) -> str:
    try:
        return decoder.decode(block, final=not block)
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise CorpusError(f"{name} is not UTF-8: byte {offset + error.start} is 0x{byte:02x}") from None
