"""Reading texts, the same way wherever one is read: whatever cannot be read is a named error."""

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
_MARK = "\ufeff"  # a byte order mark as a character; files that were joined have it in their midst
_NO_TEXT = re.compile("[\0\ud800-\udfff]")


@dataclass(frozen=True, kw_only=True)
class TextFormat(Settings):
    """How files of text, and standard input, are read."""

    encoding: str | None = option(
        None,
        "The encoding of files and of standard input, by its name in Python, such as utf-16, cp1252 or shift_jis.",
        unset="utf-8",
    )
    field: str | None = option(
        None,
        "Read files as JSON lines, an object on each line, and take the text in this field of each; "
        "a field within an object is written as outer.inner.",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.encoding is not None:
            canonical(self.encoding)  # raises for one that does not exist

    @property
    def codec(self) -> str:
        """The name of the codec that reads a text."""
        name = _UTF_8 if self.encoding is None else canonical(self.encoding)
        return _UTF_8 if name == "utf-8-sig" else name

    def refuse_for(self, what: str) -> None:
        """Raise ConfigError if an option is given. what: all that is read, which is no file and not standard input."""
        values = {"--encoding": self.encoding, "--field": self.field}
        if given := [flag for flag, value in values.items() if value is not None]:
            says, them = ("says", "it") if len(given) == 1 else ("say", "them")
            how = f"{' and '.join(given)} {says} how files and standard input are read"
            raise ConfigError(f"{how}, and {what} is neither: leave {them} out")


PLAIN = TextFormat()


def read_text(source: Path | bytes, name: str = "", format: TextFormat = PLAIN) -> str:
    """The text of a file, or of its bytes, as `read_pieces` gives it."""
    return "".join(read_pieces(source, name, format))


def read_pieces(source: Path | bytes, name: str = "", format: TextFormat = PLAIN) -> Iterator[str]:
    r"""The text of a file of any size, or of its bytes, piece by piece, with every line break as "\n".

    Byte order marks are left out, wherever they stand; a file that begins with that of UTF-8 is read as UTF-8. With a
    field, the texts of all objects follow each other, each beginning on a line of its own.
    name: what the file is called in errors, if not by its path ("the text" for bytes).
    Raises CorpusError naming the file, what is wrong with it and where, and its likely encoding if it has another one.
    """
    name = name or ("the text" if isinstance(source, bytes) else str(source))
    pieces = _plain_pieces(source, name, format.codec)
    return pieces if format.field is None else field_texts(pieces, format.field, name, _checked)


def as_read(text: str, name: str) -> str:
    """A text that was typed, or handed over by a command line, as a file of it would be read.

    Raises CorpusError, which calls the text `name`, for what is no text.
    """
    try:
        text = text.encode(_UTF_8, "surrogateescape").decode(_UTF_8)  # Python hands on bytes that it could not read
    except UnicodeDecodeError as error:
        raise CorpusError(f"{name} is not UTF-8: byte {error.start} is 0x{error.object[error.start]:02x}") from None
    except UnicodeEncodeError as error:
        code = ord(text[error.start])
        raise CorpusError(f"{name} has half of a character, U+{code:04X}, at character {error.start}") from None
    return _checked(text, name)


def remarks(source: Path | bytes, name: str = "", format: TextFormat = PLAIN) -> list[str]:
    """What the beginning of a text that can be read suggests about how it should be read, in whole sentences."""
    if isinstance(source, Path) and not source.is_file():
        return []  # of a pipe, which can be read only once
    name = name or ("the text" if isinstance(source, bytes) else str(source))
    found = []
    try:
        with _opened(source, name) as file:
            block = _read(file, name)
        text = next(_plain_pieces(block, name, format.codec))
        if doubt := _doubt(block, text, name, format.codec):
            found.append(f"{name} is read as {format.encoding or _title(_UTF_8)}; {doubt}")
    except CorpusError:
        return []  # which whoever reads the text is told
    if format.field is None and (seen := looks_like_json(text, whole=len(block) < _BLOCK)):
        found.append(f"{name} {seen}")
    return found


def _doubt(block: bytes, text: str, name: str, encoding: str) -> str:
    """What speaks against the encoding in which `block` was read as `text`, as a clause; empty for nothing."""
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


def _plain_pieces(source: Path | bytes, name: str, encoding: str) -> Iterator[str]:
    decoder = _Decoder(name, encoding)
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
    """Turns the blocks of one file into text, and knows where in the file it is. An empty block ends the file."""

    def __init__(self, name: str, encoding: str) -> None:
        self._name, self._encoding, self._bytes, self._characters = name, encoding, 0, 0
        self._last = b""  # block
        self._decoder = codecs.getincrementaldecoder(encoding)()

    def __call__(self, block: bytes) -> str:
        """The text that `block` completes. Raises CorpusError for what is no text of the encoding."""
        if not self._bytes and block.startswith(_UTF_8_MARK) and self._encoding != _UTF_8:
            self._encoding, self._decoder = _UTF_8, codecs.getincrementaldecoder(_UTF_8)()
        if self._encoding == _UTF_8 and (zero := block.find(0)) >= 0:
            place = f"it has a zero byte at offset {self._bytes + zero}"
            raise CorpusError(f"{self._name} is not text: {place}{self._advice(block, unknown='')}")
        try:
            text = self._decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            # What was held back of the block before comes first; the end of both is the same.
            at = self._bytes + len(block) - len(error.object) + error.start
            wrong = f"{self._name} is not {_title(self._encoding)}: byte {at} is 0x{error.object[error.start]:02x}"
            raise CorpusError(wrong + self._advice(error.object if block else self._last)) from None
        except UnicodeError as error:  # a text of UTF-16 or UTF-32 without a byte order mark
            wrong = f"{self._name} cannot be read as {self._encoding}: {error}"
            raise CorpusError(wrong + self._advice(block)) from None
        if self._encoding != _UTF_8 and (found := _NO_TEXT.search(text)):
            place = f"character {self._characters + found.start()} is U+{ord(found[0]):04X}"
            read_so = f"{self._name}, read as {self._encoding}, is not text: {place}"
            raise CorpusError(read_so + self._advice(block))
        self._bytes, self._characters, self._last = self._bytes + len(block), self._characters + len(text), block
        return text

    def _advice(self, block: bytes, unknown: str = "; another encoding is named with --encoding") -> str:
        """What to do about a block that cannot be read, as the rest of a sentence."""
        if self._encoding != _UTF_8 and _reads_as_utf_8(block):
            return "; it can be read as UTF-8: leave out --encoding, which holds for every text, or convert this one"
        guess = guess_encoding(block, begins=not self._bytes)
        if guess is None or guess.encoding == self._encoding != _UTF_8:
            return unknown
        if guess.encoding == _UTF_8:
            return f"; {guess.reason}, so it is likely damaged there"
        likely = f"; its encoding is likely {guess.encoding}, since {guess.reason}"
        if self._encoding != _UTF_8:
            return f"{likely}: if so, convert it, or give --encoding {guess.encoding}, which then holds for every text"
        return f"{likely}: if so, add --encoding {guess.encoding}, which then holds for every text"


def _title(encoding: str) -> str:
    return encoding.upper() if encoding.startswith("utf") else encoding


def _extends_ascii(encoding: str) -> bool:
    """Whether a plain text in ASCII is the same one in `encoding`, which may spell other characters in ASCII too."""
    try:
        return codecs.decode(b"abcd", encoding) == "abcd"
    except UnicodeError:
        return False


def _reads_as_utf_8(block: bytes) -> bool:
    try:
        codecs.getincrementaldecoder(_UTF_8)().decode(block, final=len(block) < _BLOCK)  # a longer file may go on
    except UnicodeDecodeError:
        return False
    return 0 not in block


def _checked(text: str, name: str) -> str:
    """A whole text with every line break as a line feed, without byte order marks."""
    if "\0" in text:
        raise CorpusError(f"{name} is not text: character {text.index(chr(0))} is a zero character")
    return text.replace(_MARK, "").replace("\r\n", "\n").replace("\r", "\n")
