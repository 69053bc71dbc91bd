"""Words of captions: in lower case, without punctuation; rare words are unknown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import tokenizers
from tokenizers import Regex, models, normalizers, pre_tokenizers

from edgernn.errors import ConfigError
from edgernn.tokenizer import END, START, UNKNOWN, Tokenizer

__all__ = ["learn_words", "words"]

_SIGN = r"[^\w\s]|_"


def learn_words(captions: Iterable[str], least: int) -> Tokenizer:
    """Return a vocabulary of the words that occur at least `least` times, after the unknown, start and end tokens.

    Raises ConfigError if there are none.
    """
    counts = Counter(word for caption in captions for word in words(caption))
    known = sorted(word for word, count in counts.items() if count >= least)
    if not known:
        raise ConfigError(f"--min-count {least} is too high: no word of the captions occurs so often")
    vocabulary = {word: place for place, word in enumerate((UNKNOWN, START, END, *known))}
    backend = tokenizers.Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    backend.normalizer = _NORMALIZER
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return Tokenizer(backend)


def words(caption: str) -> list[str]:
    """Return the words of a caption."""
    return str(_NORMALIZER.normalize_str(caption)).split()


_NORMALIZER = normalizers.Sequence([normalizers.Lowercase(), normalizers.Replace(Regex(_SIGN), "")])
