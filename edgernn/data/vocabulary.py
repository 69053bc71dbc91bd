"""Learn vocabularies from a text: characters, bytes, words, or byte-pair encoding."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import tokenizers
from tokenizers import Regex, decoders, models, pre_tokenizers, trainers

from edgernn.errors import ConfigError
from edgernn.tokenizer import UNKNOWN, Tokenizer, byte_signs

__all__ = ["TOKENIZERS", "learn_tokenizer"]

_WORDS = 10_000
_PAIRS = 1_000
_BYTES = 256
_LARGEST = 1_000_000
# A word or a run of symbols with the preceding space, or one whitespace character: joined, they are the text.
_WORD = r" ?\w+| ?[^\w\s]+|\s"


def learn_tokenizer(kind: str, pieces: Iterable[str], vocabulary: int | None = None) -> Tokenizer:
    """Return the tokenizer of `kind` for a text that comes in pieces.

    vocabulary: the number of tokens of words (10,000 by default) or bpe (1,000 by default); other kinds have a fixed
    size.
    Raises ConfigError for a kind that does not exist or a size that the kind cannot have.
    """
    if kind not in TOKENIZERS:
        raise ConfigError(f"--tokenizer {kind} is not one of {', '.join(TOKENIZERS)}")
    if vocabulary is not None and kind not in ("words", "bpe"):
        raise ConfigError(
            f"--vocabulary goes with --tokenizer words or bpe: --tokenizer {kind} takes its size from the text"
        )
    if vocabulary is not None and vocabulary > _LARGEST:
        raise ConfigError(f"--vocabulary {str(vocabulary)[:40]} is above {_LARGEST:,}")
    return TOKENIZERS[kind](pieces, vocabulary)


def _characters(pieces: Iterable[str], _: int | None) -> Tokenizer:
    alphabet: set[str] = set()
    for piece in pieces:
        alphabet.update(piece)
    return Tokenizer.characters(alphabet)


def _bytes(_: Iterable[str], __: int | None) -> Tokenizer:
    """Return a tokenizer with one token for each byte of UTF-8, numbered by its value: it can encode every text."""
    backend = tokenizers.Tokenizer(models.BPE({sign: byte for byte, sign in enumerate(byte_signs())}, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    return Tokenizer(backend)


def _words(pieces: Iterable[str], vocabulary: int | None) -> Tokenizer:
    """Return a tokenizer of the most frequent words; all others become the unknown token."""
    size = _WORDS if vocabulary is None else vocabulary
    if size < 2:
        raise ConfigError(f"--vocabulary {size} is below 2, the least that --tokenizer words takes")
    learned = tokenizers.Tokenizer(models.WordLevel(unk_token=UNKNOWN))
    learned.pre_tokenizer = pre_tokenizers.Split(Regex(_WORD), "isolated")
    trainer = trainers.WordLevelTrainer(vocab_size=size, special_tokens=[UNKNOWN], show_progress=False)
    learned.train_from_iterator(pieces, trainer)
    # A new tokenizer, since that of the trainer also finds the unknown token where a text spells it.
    backend = tokenizers.Tokenizer(models.WordLevel(learned.get_vocab(), unk_token=UNKNOWN))
    backend.pre_tokenizer = learned.pre_tokenizer
    backend.decoder = decoders.Fuse()
    return Tokenizer(backend)


def _pairs(pieces: Iterable[str], vocabulary: int | None) -> Tokenizer:
    """Return a byte-pair encoding (Sennrich et al. 2016) over the bytes of UTF-8: it can encode every text."""
    size = _PAIRS if vocabulary is None else vocabulary
    if size < _BYTES:
        raise ConfigError(f"--vocabulary {size} is below {_BYTES}: --tokenizer bpe starts from the {_BYTES} bytes")
    backend = tokenizers.Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, show_progress=False)
    backend.train_from_iterator(pieces, trainer)
    return Tokenizer(backend)


TOKENIZERS: dict[str, Callable[[Iterable[str], int | None], Tokenizer]] = {
    "characters": _characters,
    "bytes": _bytes,
    "words": _words,
    "bpe": _pairs,
}
