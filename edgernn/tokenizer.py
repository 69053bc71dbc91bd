"""Tokenizers, which encode text as token ids and decode it, based on the `tokenizers` library."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property

import numpy as np
import numpy.typing as npt
import tokenizers
from tokenizers import Regex, decoders, models, pre_tokenizers

from edgernn.errors import ConfigError, TokenizerError, UnknownTokenError

__all__ = [
    "END",
    "PIECE",
    "START",
    "UNKNOWN",
    "UNKNOWN_CHOICES",
    "Ids",
    "TextDecoder",
    "Tokenizer",
    "byte_signs",
    "named",
    "pieces",
    "whole_pieces",
]

Ids = npt.NDArray[np.int64]

UNKNOWN = "<unk>"
START = "<start>"  # precedes the first token of a text, in vocabularies that have it
END = "<end>"
UNKNOWN_CHOICES = ("refuse", "skip", "replace")  # what becomes of the parts of a text that the vocabulary lacks
PIECE = 1 << 16  # the library holds about 400 bytes per character while it encodes
_WINDOW = 1 << 10
_CUT = re.compile(r"(?<=\S)(?= \S)|(?<=\n)(?=\S)")
_SURROGATE = re.compile("[\ud800-\udfff]")  # half of a character, which UTF-8 cannot write
_MAX_NAMED = 8


class Tokenizer:
    """A vocabulary and the rules that split text into its tokens. Immutable; threads can share it.

    unknown_id: the token that replaces characters or words that the vocabulary lacks. start_id, end_id: the tokens
    before and after a text. Each is None in a vocabulary without such a token.
    never_sampled: the ids of the unknown and the start token, which are never part of a generated text.
    """

    def __init__(self, backend: tokenizers.Tokenizer) -> None:
        """Wrap a tokenizer of the library. Raises TokenizerError for one that truncates or pads texts, or skips ids."""
        if backend.truncation is not None or backend.padding is not None:
            raise TokenizerError(
                "the tokenizer truncates or pads texts: remove truncation and padding from tokenizer.json"
            )
        vocabulary = backend.get_vocab()
        if sorted(vocabulary.values()) != list(range(len(vocabulary))):
            raise TokenizerError(f"the tokenizer's ids are not all the numbers from 0 to {len(vocabulary) - 1}")
        self._backend = backend
        self._size = len(vocabulary)
        self.unknown_id: int | None = vocabulary.get(UNKNOWN)
        self.start_id: int | None = vocabulary.get(START)
        self.end_id: int | None = vocabulary.get(END)
        self.never_sampled = tuple(token for token in (self.unknown_id, self.start_id) if token is not None)

    @classmethod
    def characters(cls, alphabet: Iterable[str]) -> Tokenizer:
        """Make a tokenizer of single characters: the unknown token, then `alphabet` in the order of code points."""
        vocabulary = {UNKNOWN: 0}
        vocabulary.update((character, index) for index, character in enumerate(sorted(set(alphabet)), start=1))
        backend = tokenizers.Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
        # (?m) makes the dot match a newline in the library's regular expressions.
        backend.pre_tokenizer = pre_tokenizers.Split(Regex("(?m)."), "isolated")
        backend.decoder = decoders.Fuse()
        return cls(backend)

    @classmethod
    def from_json(cls, text: str) -> Tokenizer:
        """Read what `to_json` wrote. Raises TokenizerError for anything else."""
        with _ours("the tokenizer cannot be read"):
            return cls(tokenizers.Tokenizer.from_str(text))

    def to_json(self) -> str:
        """Return the tokenizer as JSON text."""
        return self._backend.to_str()

    def __len__(self) -> int:
        """Return the number of tokens, including the unknown one."""
        return self._size

    def __repr__(self) -> str:
        kind = type(self._backend.model).__name__
        special = [token for token in (UNKNOWN, START, END) if self._backend.token_to_id(token) is not None]
        return f"<Tokenizer {kind}: {self._size:,} tokens{', with ' + ' '.join(special) if special else ''}>"

    def encode(self, text: str, *, unknown: str = "refuse") -> Ids:
        """Return the token ids (tokens,) of `text`.

        unknown: what becomes of the parts of the text that the vocabulary lacks. "refuse" raises UnknownTokenError,
        which names them; "skip" leaves them out; "replace" puts the unknown token in their place. A vocabulary of bytes
        lacks nothing. Raises ConfigError for another value of `unknown`.
        """
        if unknown not in UNKNOWN_CHOICES:
            raise ConfigError(f"unknown is one of {', '.join(UNKNOWN_CHOICES)}, not {str(unknown)[:40]!r}")
        if surrogates := list(dict.fromkeys(_SURROGATE.findall(text))):
            if unknown == "refuse":
                raise UnknownTokenError(f"{named(surrogates)} cannot be written in UTF-8, so no vocabulary has it")
            text = _SURROGATE.sub("" if unknown == "skip" else "\ufffd", text)
        with _ours("the tokenizer cannot write this text"):
            parts = [np.asarray(self._ids(piece), dtype=np.int64) for piece in pieces(text)]
        ids = np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)
        if self.unknown_id is None or unknown == "replace":
            return ids
        known = np.not_equal(ids, self.unknown_id)
        if unknown == "refuse" and not known.all():
            raise UnknownTokenError(f"the vocabulary has no {named(self.unknown_in(text))}")
        return ids[known]

    def unknown_in(self, text: str) -> list[str]:
        """Return the distinct parts of `text` that the vocabulary lacks, in order."""
        unknown: dict[str, None] = {}
        for piece in pieces(text):
            encoding = self._backend.encode(piece)
            found = zip(encoding.ids, encoding.offsets, strict=True)
            unknown.update((piece[start:end], None) for token, (start, end) in found if token == self.unknown_id)
        return list(unknown)

    def places(self, text: str) -> Ids:
        """Return the position in `text` of the last character of each token (tokens,).

        Unknown parts count as tokens. Tokens that are parts of one character all have its position.
        """
        found, start = [np.empty(0, dtype=np.int64)], 0
        with _ours("the tokenizer cannot write this text"):
            for piece in pieces(text):
                ends = [end for _, end in self._backend.encode(piece).offsets]
                found.append(np.asarray(ends, dtype=np.int64) + start - 1)
                start += len(piece)
        return np.concatenate(found)

    def first_chars(self, text: str) -> int:
        """Return the number of characters that belong to the first token of `text`, which must not be empty."""
        start = next(pieces(text))
        with _ours("the tokenizer cannot write this text"):
            return max(1, self._backend.encode(start).offsets[0][1])

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of `ids`."""
        with _ours("the tokenizer cannot read these ids"):
            return self._backend.decode([int(token) for token in ids], skip_special_tokens=False)

    def decoder(self, tail: Iterable[int] = ()) -> TextDecoder:
        """Return a decoder for a stream of tokens that continues after the tokens `tail`."""
        return TextDecoder(self._backend, self._texts, tail)

    @cached_property
    def _texts(self) -> list[str] | None:
        """The text of each token, if each is made of whole characters, so that U+FFFD never means an incomplete one."""
        if isinstance(self._backend.model, models.WordLevel) and isinstance(self._backend.decoder, decoders.Fuse):
            return [self._backend.id_to_token(token) or "" for token in range(len(self))]
        return None

    def _ids(self, piece: str) -> list[int]:
        (encoding,) = self._backend.encode_batch_fast([piece])  # skips the offsets: 2.5 times as fast as `encode`
        ids: list[int] = encoding.ids
        return ids


class TextDecoder:
    """Decodes tokens as they arrive, and holds back incomplete characters."""

    def __init__(
        self, backend: tokenizers.Tokenizer, texts: Sequence[str] | None = None, tail: Iterable[int] = ()
    ) -> None:
        """Begin after the tokens `tail`. texts: the text of each token, where none depends on other tokens."""
        self._backend, self._texts = backend, texts
        self._stream = decoders.DecodeStream(skip_special_tokens=False)
        self._decided: list[int] = []
        self._pending: list[int] = []
        for token in tail:
            self.push(token)

    @property
    def tail(self) -> list[int]:
        """The tokens that another decoder needs to continue: those of the last complete text and those held back."""
        return [*self._decided, *self._pending]

    def push(self, token: int) -> str:
        """Return the text that `token` completes; empty while a character is incomplete."""
        if self._texts is not None:
            return self._texts[token]
        self._pending.append(token)
        text: str | None = self._stream.step(self._backend, token)
        if text is None:
            return ""
        self._decided, self._pending = self._pending, []
        return text


@contextmanager
def _ours(what: str) -> Iterator[None]:
    """Turn what the library raises, both exceptions and panics, into TokenizerError."""
    try:
        yield
    except TokenizerError:
        raise
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt | SystemExit | MemoryError):
            raise
        raise TokenizerError(f"{what}: {str(error)[:200]}") from None


def named(parts: Sequence[str]) -> str:
    """Format parts of a text for a message: the first few, characters with their code points."""
    listed = ", ".join(f"{c!r} (U+{ord(c):04X})" if len(c) == 1 else repr(c[:40]) for c in parts[:_MAX_NAMED])
    return listed + (f" and {len(parts) - _MAX_NAMED} more" if len(parts) > _MAX_NAMED else "")


def byte_signs() -> list[str]:
    """Return the character by which the library writes each byte: itself if printable, else one from U+0100."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = (byte for byte in range(256) if byte not in printable)
    shifted = {byte: chr(256 + index) for index, byte in enumerate(others)}
    return [shifted.get(byte, chr(byte)) for byte in range(256)]


def pieces(text: str) -> Iterator[str]:
    """Split `text` into pieces of at most 64 Ki characters, at places where a token of every tokenizer ends.

    These places are before a space that follows a word, or after a line break that precedes one; a text with neither is
    split anywhere.
    """
    start = 0
    while start < len(text):
        end = start + PIECE
        if end < len(text):
            cuts = [match.end() for match in _CUT.finditer(text, max(start + 1, end - _WINDOW), end)]
            end = cuts[-1] if cuts else end
        yield text[start:end]
        start = end


def whole_pieces(text: Iterable[str]) -> Iterator[str]:
    """Regroup a text that comes in pieces of any size into pieces that end where a token ends."""
    rest = ""
    for piece in text:
        *whole, rest = pieces(rest + piece) if rest + piece else [""]
        yield from whole
    if rest:
        yield rest
