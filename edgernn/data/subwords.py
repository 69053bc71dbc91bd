"""Parts of words for translation: byte-pair encoding over characters, with a start and an end token."""

from __future__ import annotations

import json
from collections.abc import Iterable

import tokenizers
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers, trainers

from edgernn.errors import ConfigError
from edgernn.tokenizer import END, START, UNKNOWN, Tokenizer

__all__ = ["learn_subwords"]

_SPECIAL = (UNKNOWN, START, END)


def learn_subwords(sentences: Iterable[str], vocabulary: int, *, lowercase: bool) -> Tokenizer:
    """Return a byte-pair encoding (Sennrich et al. 2016) of the words, with unknown, start and end tokens.

    Pairs are merged within words; each digit and each punctuation mark is a word of its own. The first mark of a word
    stands for the preceding space, so that decoded sentences have their spaces.
    vocabulary: the number of tokens. lowercase: whether sentences are read in lower case.
    Raises ConfigError for a vocabulary that is too small for the characters of the sentences.
    """
    backend = tokenizers.Tokenizer(models.BPE(unk_token=UNKNOWN))
    case = [normalizers.Lowercase()] if lowercase else []
    spaces = [normalizers.Replace(Regex(r"\s+"), " "), normalizers.Strip()]
    backend.normalizer = normalizers.Sequence([normalizers.NFC(), *case, *spaces])
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Metaspace(), pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.Punctuation()]
    )
    backend.decoder = decoders.Metaspace()
    trainer = trainers.BpeTrainer(vocab_size=vocabulary, special_tokens=list(_SPECIAL), show_progress=False)
    backend.train_from_iterator(sentences, trainer)
    learned = json.loads(backend.to_str())["model"]
    if len(learned["vocab"]) > vocabulary:
        needed = len(learned["vocab"])
        raise ConfigError(f"--vocabulary {vocabulary} is too small: the characters of the sentences alone are {needed}")
    # A new model, since that of the trainer also finds the special tokens where a text spells them.
    merges = [tuple(merge) for merge in learned["merges"]]
    found = tokenizers.Tokenizer(models.BPE(learned["vocab"], merges, unk_token=UNKNOWN))
    found.normalizer, found.pre_tokenizer, found.decoder = backend.normalizer, backend.pre_tokenizer, backend.decoder
    return Tokenizer(found)
