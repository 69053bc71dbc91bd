"""The data of translators: open data sets, store encoded sentences in a run, and make batches of similar length."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from edgernn import records
from edgernn.bundle import TOKENIZER, tokenizer_file
from edgernn.contract import Array
from edgernn.data.pairs import DEV, TRAIN, Pairs, read_pairs
from edgernn.data.subwords import learn_subwords
from edgernn.errors import ConfigError, CorpusError, counted
from edgernn.tasks.translate.dates import dates
from edgernn.tasks.translate.settings import DATES, READ, TranslateData
from edgernn.tokenizer import Ids, Tokenizer

__all__ = [
    "IGNORED",
    "DataRecord",
    "EncodedPairs",
    "Tokenizers",
    "batches",
    "open_pairs",
    "pad_targets",
    "special_tokens",
]

IGNORED = -100  # targets with this value do not contribute to the loss
STORED, HELD_OUT = "pairs.npz", "held-out.json"
_HELD_OUT = 10  # the pairs of every tenth sentence are held out if there are no files of a split for them
_MOST_HELD_OUT = 1000


def open_pairs(sources: Sequence[str], data: TranslateData) -> tuple[Pairs, Pairs]:
    """Return the pairs to train and those to evaluate on. Raises CorpusError and ConfigError as `read_pairs` does."""
    if list(sources) == [DATES]:
        if data.source_language or data.target_language:
            raise ConfigError(f"--from and --to name the languages of files, and {DATES} are none: leave them out")
        return dates(TRAIN), dates(DEV)
    paths = [Path(source) for source in sources]
    languages = data.source_language, data.target_language
    train, held_out = (read_pairs(paths, split, *languages) for split in (TRAIN, DEV))
    if train is None:
        raise CorpusError(f"{', '.join(sources)}: there are no files train.{languages[0]} and train.{languages[1]}")
    if held_out is None or not paths[0].is_dir():
        train, held_out = _divided(train, lowercase=data.lowercase, name=", ".join(sources))
    return train, held_out


def _divided(pairs: Pairs, *, lowercase: bool, name: str) -> tuple[Pairs, Pairs]:
    """Return the pairs to train on, and those of every tenth sentence, of about a thousand at most, that are held out.

    Equal sentences stay together: a network would know those that it was trained on. lowercase: whether sentences are
    read in lower case, in which more of them are equal. Raises CorpusError, which calls the data `name`, if nothing can
    be held out.
    """
    read = [sentence.lower() if lowercase else sentence for sentence in pairs.sources]
    numbers = {sentence: number for number, sentence in enumerate(dict.fromkeys(read))}
    every = max(_HELD_OUT, len(numbers) // _MOST_HELD_OUT)
    if len(numbers) < every:
        found = counted(len(numbers), "different sentence")
        raise CorpusError(f"{name}: {found} to translate, too few to hold some out: {every} are needed")
    train, held_out = (
        [place for place, sentence in enumerate(read) if (numbers[sentence] % every == every - 1) is held]
        for held in (False, True)
    )
    return replace(pairs.at(train), empty=pairs.empty), pairs.at(held_out)


def special_tokens(tokenizer: Tokenizer) -> tuple[int, int, int]:
    """Return the ids of the start, end and unknown tokens of a vocabulary of translators."""
    assert tokenizer.start_id is not None
    assert tokenizer.end_id is not None
    assert tokenizer.unknown_id is not None
    return tokenizer.start_id, tokenizer.end_id, tokenizer.unknown_id


class Tokenizers(NamedTuple):
    """The tokenizers of the language that is read and of the one that is written, which may be one and the same."""

    source: Tokenizer
    target: Tokenizer

    @classmethod
    def learn(cls, pairs: Pairs, data: TranslateData) -> Tokenizers:
        """Learn the vocabularies of pairs."""
        joint = data.vocabularies == "joint"
        texts = [[*pairs.sources, *pairs.targets]] if joint else [pairs.sources, pairs.targets]
        learned = [learn_subwords(text, data.vocabulary, lowercase=data.lowercase) for text in texts]
        return cls(learned[0], learned[-1])

    @classmethod
    def from_assets(cls, assets: Mapping[str, bytes]) -> Tokenizers:
        """Read what `to_assets` returned."""
        target = Tokenizer.from_json(assets[TOKENIZER].decode())
        return cls(Tokenizer.from_json(assets[_SOURCE].decode()) if _SOURCE in assets else target, target)

    def to_assets(self) -> dict[str, bytes]:
        """Return the files of a bundle."""
        own = {} if self.source is self.target else {_SOURCE: self.source.to_json().encode()}
        return {TOKENIZER: self.target.to_json().encode(), **own}


_SOURCE = tokenizer_file(READ)


@dataclass(frozen=True)
class EncodedPairs:
    """Pairs of sentences as token ids, each sentence with the end token."""

    sources: Sequence[Ids]
    targets: Sequence[Ids]

    def __len__(self) -> int:
        return len(self.sources)

    @classmethod
    def encode(cls, pairs: Pairs, tokenizers: Tokenizers, longest: int) -> EncodedPairs:
        """Encode pairs, without those of which a side has more than `longest` tokens."""
        sides = [
            [
                np.append(tokenizer.encode(sentence, unknown="replace"), special_tokens(tokenizer)[1])
                for sentence in side
            ]
            for tokenizer, side in zip(tokenizers, (pairs.sources, pairs.targets), strict=True)
        ]
        kept = [place for place, both in enumerate(zip(*sides, strict=True)) if max(map(len, both)) <= longest]
        return cls(*([side[place] for place in kept] for side in sides))

    def to_bytes(self) -> bytes:
        """Return the pairs as the content of an npz file."""
        file = io.BytesIO()
        sides = {"sources": self.sources, "targets": self.targets}
        arrays = {name: np.concatenate(ids).astype(np.int32) for name, ids in sides.items()}
        ends = {f"{name}_ends": np.cumsum([len(each) for each in ids]) for name, ids in sides.items()}
        np.savez_compressed(file, allow_pickle=False, **arrays, **ends)
        return file.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> EncodedPairs:
        """Read what `to_bytes` returned. Raises ValueError or KeyError for anything else."""
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            return cls(*(np.split(file[name].astype(np.int64), file[f"{name}_ends"][:-1]) for name in _SIDES))


_SIDES = ("sources", "targets")


@dataclass(frozen=True)
class DataRecord:
    """A run's record of its data.

    source: the data set as given on the command line. train, dev: the number of pairs to train and to evaluate on.
    sha256: the digests of the stored files, by name.
    """

    source: str
    train: int
    dev: int
    sha256: Mapping[str, str]

    @classmethod
    def store(cls, source: str, train: EncodedPairs, held_out: Pairs, folder: Path) -> DataRecord:
        """Write the data into the folder of a run, and return its record."""
        sentences = [list(each) for each in zip(held_out.sources, held_out.targets, strict=True)]
        files = {STORED: train.to_bytes(), HELD_OUT: json.dumps(sentences, ensure_ascii=False).encode()}
        for name, data in files.items():
            (folder / name).write_bytes(data)
        digests = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
        return cls(source, len(train), len(held_out), digests)

    @classmethod
    def from_json(cls, value: Any) -> DataRecord:
        """Read the record in `config.json`. Raises FormatError for anything else."""
        record = records.construct(cls, value, "the data")
        records.text(record.source, "the data")
        for count in (record.train, record.dev):
            records.integer(count, "pairs")
        records.mapping(record.sha256, "the digests of the data")
        return record

    def open(self, folder: Path) -> tuple[EncodedPairs, Pairs]:
        """Read the data that `store` wrote. Raises CorpusError if it is missing or was changed."""
        return EncodedPairs.from_bytes(self._read(folder / STORED)), self.open_held_out(folder)

    def open_held_out(self, folder: Path) -> Pairs:
        """Read the held-out pairs that `store` wrote. Raises CorpusError if they are missing or were changed."""
        sentences = json.loads(self._read(folder / HELD_OUT))
        return Pairs([source for source, _ in sentences], [target for _, target in sentences])

    def _read(self, path: Path) -> bytes:
        try:
            data = path.read_bytes()
        except OSError as error:
            raise CorpusError(f"{path} cannot be read: {error.strerror}") from None
        if hashlib.sha256(data).hexdigest() != self.sha256.get(path.name):
            raise CorpusError(f"{path} is not what the run began with: train again")
        return data


def batches(pairs: EncodedPairs, size: int, random: np.random.Generator) -> list[Array]:
    """Return the places of the pairs of each batch of one pass, in random order.

    Pairs of similar length are in one batch, so that little is padded.
    """
    order = random.permutation(len(pairs))
    lengths = [[len(side[place]) for place in order] for side in (pairs.targets, pairs.sources)]
    order = order[np.lexsort(lengths)]  # by the length of the source, then of the target, then at random
    cut = [order[at : at + size] for at in range(0, len(order), size)]
    return [cut[place] for place in random.permutation(len(cut))]


def pad_targets(targets: Sequence[Ids], tokenizer: Tokenizer) -> tuple[Ids, Ids]:
    """Return input tokens (sentences, steps), which begin with the start token, and the targets for each of them.

    Padding and unknown tokens are ignored as targets.
    """
    start, end, unknown = special_tokens(tokenizer)
    longest = max(map(len, targets))
    tokens = np.full((len(targets), longest), end, np.int64)
    wanted = np.full((len(targets), longest), IGNORED, np.int64)
    tokens[:, 0] = start
    for row, ids in enumerate(targets):
        tokens[row, 1 : len(ids)] = ids[:-1]
        wanted[row, : len(ids)] = ids
    wanted[wanted == unknown] = IGNORED
    return tokens, wanted
