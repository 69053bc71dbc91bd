"""Read text files, in the same way for every purpose; unreadable files raise a CorpusError."""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edgernn.errors import ConfigError, CorpusError
from edgernn.media.encodings import canonical, guess_encoding, guess_escaped
from edgernn.media.json_lines import field_texts, looks_like_json
from edgernn.settings import Settings, option

__all__ = ["PLAIN", "TextFormat", "as_read", "read_pieces", "read_text", "remarks"]

_BLOCK = 1 << 18  # bytes
_UTF_8 = "utf-8"
_UTF_8_MARK = codecs.BOM_UTF8
_MARK = "\ufeff"  # a byte order mark as a character, which concatenated files have in the middle
_NO_TEXT = re.compile("[\0\ud800-\udfff]")


@dataclass(frozen=True, kw_only=True)
class TextFormat(Settings):
    """The encoding and layout of text files and standard input."""

    encoding: str | None = option(
        None,
        "The encoding of text files and standard input, as Python names it: utf-16, cp1252, shift_jis and so on.",
        unset="utf-8",
    )
    field: str | None = option(
        None,
        "Read files as JSON lines (one object per line) and use the text in this field; write a nested field as "
        "outer.inner. Without this option, files are plain text.",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.encoding is not None:
            canonical(self.encoding)  # raises for an encoding that does not exist

    @property
    def codec(self) -> str:
        """The name of the codec that decodes the text."""
        name = _UTF_8 if self.encoding is None else canonical(self.encoding)
        return _UTF_8 if name == "utf-8-sig" else name

    def refuse_for(self, what: str) -> None:
        """Raise ConfigError if an option of this class is given.

        what: the name of the sources, which are neither files nor standard input.
        """
        values = {"--encoding": self.encoding, "--field": self.field}
        if given := [flag for flag, value in values.items() if value is not None]:
            says, them = ("says", "it") if len(given) == 1 else ("say", "them")
            how = f"{' and '.join(given)} {says} how files and standard input are read"
            raise ConfigError(f"{how}, and {what} is neither: leave {them} out")


PLAIN = TextFormat()


def read_text(source: Path | bytes, name: str = "", format: TextFormat | None = PLAIN) -> str:
    """Return the text of a file, or of its bytes, as `read_pieces` yields it."""
    return "".join(read_pieces(source, name, format))


def read_pieces(source: Path | bytes, name: str = "", format: TextFormat | None = PLAIN) -> Iterator[str]:
    r"""Yield the text of a file of any size, or of its bytes, in pieces, with every line break as "\n".

    Byte order marks are removed everywhere. A file that begins with the UTF-8 mark is decoded as UTF-8. With
    `format.field`, the texts of all objects follow each other, each on a new line.
    name: the file's name in errors; if empty, its path, or "the text" for bytes. format: None for UTF-8 where no option
    names another encoding.
    Raises CorpusError naming the file, what is wrong with it and where, and its likely encoding if that is another one.
    """
    name = name or ("the text" if isinstance(source, bytes) else str(source))
    if format is None:
        return _plain_pieces(source, name, _UTF_8, optional=False)
    pieces = _plain_pieces(source, name, format.codec)
    return pieces if format.field is None else field_texts(pieces, format.field, name, _checked)


def as_read(text: str, name: str) -> str:
    """Return a text that was typed or given on the command line, normalised as the text of a file is.

    Raises CorpusError, which calls the text `name`, for invalid characters.
    """
    try:
        text = text.encode(_UTF_8, "surrogateescape").decode(_UTF_8)  # arguments hold invalid bytes as surrogates
    except UnicodeDecodeError as error:
        raise CorpusError(f"{name} is not UTF-8: byte {error.start} is 0x{error.object[error.start]:02x}") from None
    except UnicodeEncodeError as error:
        code = ord(text[error.start])
        raise CorpusError(f"{name} has half of a character, U+{code:04X}, at character {error.start}") from None
    return _checked(text, name)


def remarks(source: Path | bytes, name: str = "", format: TextFormat = PLAIN) -> list[str]:
    """Return sentences that suggest other options for reading a text, judged by its beginning."""
    if isinstance(source, Path) and not source.is_file():
        return []  # a pipe can be read only once
    name = name or ("the text" if isinstance(source, bytes) else str(source))
    found = []
    try:
        with _opened(source, name) as file:
            block = _read(file, name)
        text = next(_plain_pieces(block, name, format.codec))
        if doubt := _doubt(block, text, name, format.codec):
            found.append(f"{name} is read as {format.encoding or _title(_UTF_8)}; {doubt}")
    except CorpusError:
        return []  # the error is raised when the text itself is read
    if format.field is None and (seen := looks_like_json(text, whole=len(block) < _BLOCK)):
        found.append(f"{name} {seen}")
    return found


def _doubt(block: bytes, text: str, name: str, encoding: str) -> str:
    """Return the reason to doubt that `encoding`, which decoded `block` to `text`, is the right one; "" for none."""
    if encoding == _UTF_8:
        guess = guess_escaped(block)
    elif _reads_as_utf_8(block):
        if next(_plain_pieces(block, name, _UTF_8)) == text or (block.isascii() and _extends_ascii(encoding)):
            return ""
        return "its beginning can be read as UTF-8 too: if it is UTF-8, leave out --encoding"
    else:
        guess = guess_encoding(block)
        if guess is None or not guess.wide or next(_plain_pieces(block, name, guess.encoding)) == text:
            return ""
    return "" if guess is None else f"its encoding is likely {guess.encoding}, since {guess.reason}"


def _plain_pieces(source: Path | bytes, name: str, encoding: str, *, optional: bool = True) -> Iterator[str]:
    decoder = _Decoder(name, encoding, optional=optional)
    breaks = io.IncrementalNewlineDecoder(None, translate=True)
    empty = True
    with _opened(source, name) as file:
        ended = False
        while not ended:
            block = _read(file, name)
            ended = not block
            text: str = breaks.decode(decoder(block).replace(_MARK, ""), final=ended)
            empty = empty and not text
            if ended and empty:
                raise CorpusError(f"{name} is empty")
            yield text


def _opened(source: Path | bytes, name: str) -> io.BufferedReader | io.BytesIO:
    try:
        return io.BytesIO(source) if isinstance(source, bytes) else source.open("rb")
    except OSError as error:
        raise CorpusError(f"{name}: cannot be read: {error.strerror}") from None
    except ValueError as error:  # a name with a zero character
        raise CorpusError(f"{name!r} is no file: {error}") from None


def _read(file: io.BufferedReader | io.BytesIO, name: str) -> bytes:
    try:
        return file.read(_BLOCK)
    except OSError as error:
        raise CorpusError(f"{name}: cannot be read: {error.strerror}") from None


class _Decoder:
    """Decodes the blocks of one file and tracks the position for error messages. An empty block ends the file."""

    def __init__(self, name: str, encoding: str, *, optional: bool = True) -> None:
        """optional: whether the option --encoding names the encoding."""
        self._name, self._encoding, self._bytes, self._characters = name, encoding, 0, 0
        self._optional = optional
        self._last = b""  # the last block
        self._decoder = codecs.getincrementaldecoder(encoding)()

    def __call__(self, block: bytes) -> str:
        """Return the text that `block` completes. Raises CorpusError for bytes that are invalid in the encoding."""
        if not self._bytes and block.startswith(_UTF_8_MARK) and self._encoding != _UTF_8:
            self._encoding, self._decoder = _UTF_8, codecs.getincrementaldecoder(_UTF_8)()
        if self._encoding == _UTF_8 and (zero := block.find(0)) >= 0:
            place = f"it has a zero byte at offset {self._bytes + zero}"
            raise CorpusError(f"{self._name} is not text: {place}{self._advice(block, unknown='')}")
        try:
            text = self._decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            # `error.object` may begin with bytes held back from the previous block; both end at the same offset.
            at = self._bytes + len(block) - len(error.object) + error.start
            wrong = f"{self._name} is not {_title(self._encoding)}: byte {at} is 0x{error.object[error.start]:02x}"
            raise CorpusError(wrong + self._advice(error.object if block else self._last)) from None
        except UnicodeError as error:  # UTF-16 or UTF-32 without a byte order mark
            wrong = f"{self._name} cannot be read as {self._encoding}: {error}"
            raise CorpusError(wrong + self._advice(block)) from None
        if self._encoding != _UTF_8 and (found := _NO_TEXT.search(text)):
            place = f"character {self._characters + found.start()} is U+{ord(found[0]):04X}"
            read_so = f"{self._name}, read as {self._encoding}, is not text: {place}"
            raise CorpusError(read_so + self._advice(block))
        self._bytes, self._characters, self._last = self._bytes + len(block), self._characters + len(text), block
        return text

    def _advice(self, block: bytes, unknown: str = "; another encoding is named with --encoding") -> str:
        """Return what to do about a block that cannot be decoded, as the end of a sentence."""
        if self._encoding != _UTF_8 and _reads_as_utf_8(block):
            return "; it can be read as UTF-8: leave out --encoding, which holds for every text, or convert this one"
        guess = guess_encoding(block, begins=not self._bytes)
        if guess is None or guess.encoding == self._encoding != _UTF_8:
            return unknown if self._optional else "; convert it to UTF-8"
        if guess.encoding == _UTF_8:
            return f"; {guess.reason}, so it is likely damaged there"
        likely = f"; its encoding is likely {guess.encoding}, since {guess.reason}"
        if not self._optional:
            return f"{likely}: if so, convert it to UTF-8"
        if self._encoding != _UTF_8:
            return f"{likely}: if so, convert it, or give --encoding {guess.encoding}, which then holds for every text"
        return f"{likely}: if so, add --encoding {guess.encoding}, which then holds for every text"


def _title(encoding: str) -> str:
    return encoding.upper() if encoding.startswith("utf") else encoding


def _extends_ascii(encoding: str) -> bool:
    """Return whether `encoding` encodes ASCII letters as themselves; it may use ASCII for other characters too."""
    try:
        return codecs.decode(b"abcd", encoding) == "abcd"
    except UnicodeError:
        return False


def _reads_as_utf_8(block: bytes) -> bool:
    try:
        codecs.getincrementaldecoder(_UTF_8)().decode(block, final=len(block) < _BLOCK)  # may end in a character
    except UnicodeDecodeError:
        return False
    return 0 not in block


def _checked(text: str, name: str) -> str:
    """Return a whole text with every line break as a line feed, without byte order marks."""
    if "\0" in text:
        raise CorpusError(f"{name} is not text: character {text.index(chr(0))} is a zero character")
    return text.replace(_MARK, "").replace("\r\n", "\n").replace("\r", "\n")
