"""Tokenizers, which turn text into token ids and back, over the `tokenizers` library."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import tokenizers
from tokenizers import Regex, decoders, models, pre_tokenizers

from edgernn.errors import TokenizerError, UnknownTokenError

__all__ = ["END", "PIECE", "START", "UNKNOWN", "Ids", "TextDecoder", "Tokenizer", "named", "pieces", "whole_pieces"]

Ids = npt.NDArray[np.int64]

UNKNOWN = "<unk>"
START = "<start>"  # before the first token of a text that has one
END = "<end>"
PIECE = 1 << 16  # the library holds about 400 bytes per character while it encodes
_WINDOW = 1 << 10
_CUT = re.compile(r"(?<=\S)(?= \S)|(?<=\n)(?=\S)")
_MAX_NAMED = 8


class Tokenizer:
    """A vocabulary and the rules that cut text into its tokens. Immutable and shared between threads.

    unknown_id: the token that stands for what the vocabulary lacks. start_id, end_id: the tokens before and after a
    text. Each is None where the vocabulary has no such token.
    never_sampled: the unknown and the start token, which occur in no text that is drawn.
    """

    def __init__(self, backend: tokenizers.Tokenizer) -> None:
        """Wrap a tokenizer of the library. Raises TokenizerError for one that cuts or pads texts or leaves ids out."""
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
        # In the library's regular expressions (?m) lets the dot match a newline.
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
        """Number of tokens, the unknown one included."""
        return self._size

    def encode(self, text: str, *, strict: bool = True) -> Ids:
        """Return the token ids (tokens,) of `text`.

        Raises UnknownTokenError, which names the characters that the vocabulary lacks; with `strict` off the unknown
        token stands in for them.
        """
        if surrogates := [c for c in dict.fromkeys(text) if "\ud800" <= c <= "\udfff"]:
            raise UnknownTokenError(f"{named(surrogates)} cannot be written in UTF-8, so no vocabulary has it")
        with _ours("the tokenizer cannot write this text"):
            parts = [np.asarray(self._ids(piece), dtype=np.int64) for piece in pieces(text)]
        ids = np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)
        if strict and self.unknown_id is not None and np.any(ids == self.unknown_id):
            raise UnknownTokenError(f"the vocabulary has no {named(self.unknown_in(text))}")
        return ids

    def unknown_in(self, text: str) -> list[str]:
        """The different parts of `text` that the vocabulary lacks, in order."""
        unknown: dict[str, None] = {}
        for piece in pieces(text):
            encoding = self._backend.encode(piece)
            found = zip(encoding.ids, encoding.offsets, strict=True)
            unknown.update((piece[start:end], None) for token, (start, end) in found if token == self.unknown_id)
        return list(unknown)

    def first_chars(self, text: str) -> int:
        """Count the characters of `text`, which is not empty, that belong to its first token."""
        start = next(pieces(text))
        with _ours("the tokenizer cannot write this text"):
            return max(1, self._backend.encode(start).offsets[0][1])

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of `ids`."""
        with _ours("the tokenizer cannot read these ids"):
            return self._backend.decode([int(token) for token in ids], skip_special_tokens=False)

    def decoder(self, tail: Iterable[int] = ()) -> TextDecoder:
        """Return a decoder for a stream of tokens, which goes on after the tokens of `tail`."""
        return TextDecoder(self._backend, tail)

    def _ids(self, piece: str) -> list[int]:
        (encoding,) = self._backend.encode_batch_fast([piece])  # no offsets: 2.5 times as fast as `encode`
        ids: list[int] = encoding.ids
        return ids


class TextDecoder:
    """Turns tokens into text as they arrive, and holds back what is not yet a whole character."""

    def __init__(self, backend: tokenizers.Tokenizer, tail: Iterable[int] = ()) -> None:
        self._backend = backend
        self._stream = None if _tokens_are_text(backend) else decoders.DecodeStream(skip_special_tokens=False)
        self._decided: list[int] = []
        self._pending: list[int] = []
        for token in tail:
            self.push(token)

    @property
    def tail(self) -> list[int]:
        """The tokens from which another decoder can go on: those of the last whole text, and those held back."""
        return [*self._decided, *self._pending]

    def push(self, token: int) -> str:
        """Return the text that `token` completes, which is empty while a character is incomplete."""
        if self._stream is None:
            return self._backend.id_to_token(token) or ""
        self._pending.append(token)
        text: str | None = self._stream.step(self._backend, token)
        if text is None:
            return ""
        self._decided, self._pending = self._pending, []
        return text


def _tokens_are_text(backend: tokenizers.Tokenizer) -> bool:
    """Whether every token is whole characters, so that U+FFFD is a character and no sign of half of one."""
    return isinstance(backend.model, models.WordLevel) and isinstance(backend.decoder, decoders.Fuse)


@contextmanager
def _ours(what: str) -> Iterator[None]:
    """Turn what the library raises, bare exceptions and panics that are no exceptions, into TokenizerError."""
    try:
        yield
    except TokenizerError:
        raise
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt | SystemExit | MemoryError):
            raise
        raise TokenizerError(f"{what}: {str(error)[:200]}") from None


def named(parts: Sequence[str]) -> str:
    """Parts of a text as messages name them: characters with their code points, and only the first few."""
    listed = ", ".join(f"{c!r} (U+{ord(c):04X})" if len(c) == 1 else repr(c[:40]) for c in parts[:_MAX_NAMED])
    return listed + (f" and {len(parts) - _MAX_NAMED} more" if len(parts) > _MAX_NAMED else "")


def pieces(text: str) -> Iterator[str]:
    """Cut `text` into pieces of at most 64 Ki characters, where every kind of tokenizer ends a token.

    That is before a space that follows a word, or after a line break that precedes one; in a text without either,
    anywhere.
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
    """Cut a text that comes in pieces of any size into pieces that end where a token ends."""
    rest = ""
    for piece in text:
        *whole, rest = pieces(rest + piece) if rest + piece else [""]
        yield from whole
    if rest:
        yield rest
