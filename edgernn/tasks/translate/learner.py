"""Train a translator by teacher forcing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from edgernn.contract import Array
from edgernn.data.batches import Passes
from edgernn.data.pairs import Pairs
from edgernn.data.unknown import UnknownTokens
from edgernn.errors import CorpusError, counted
from edgernn.models import Network
from edgernn.models.source import Feedback, HeldOut
from edgernn.runtime.pipelines.translate import MAX_TOKENS
from edgernn.tasks.learner import Learner, Loss, Origin, Placement, Prepared
from edgernn.tasks.score import Progress
from edgernn.tasks.settings import Chosen
from edgernn.tasks.translate.data import (
    DataRecord,
    EncodedPairs,
    Tokenizers,
    batches,
    open_pairs,
    pad_targets,
    special_tokens,
)
from edgernn.tasks.translate.decode import greedy
from edgernn.tasks.translate.network import Translator
from edgernn.tasks.translate.score import TranslationScore, score_translations
from edgernn.tasks.translate.settings import DATES, TranslateConfig, TranslateData, TranslateTraining
from edgernn.tokenizer import Tokenizer

__all__ = ["TranslateLearner"]

_EVALUATED = 500  # sentences that an evaluation during training translates
_SHOWN = 3  # translations that are printed after an evaluation
_HELD_OUT_PAIRS = 32  # for the parity gate


class TranslateLearner(Learner):
    """Trains a Translator on pairs of sentences, and evaluates it on held-out pairs."""

    unit = "tokens"
    network: Translator

    def __init__(
        self, network: Network, prepared: Prepared, folder: Path, placement: Placement, progress: Progress
    ) -> None:
        super().__init__(network, prepared, folder, placement, progress)
        training = prepared.chosen.training
        assert isinstance(training, TranslateTraining)
        self.training = training
        self.tokenizers = Tokenizers.from_assets(prepared.assets)
        self._pairs, self._held_out = DataRecord.from_json(dict(prepared.record)).open(folder)
        placement.share(training.batch_size)  # raises for a batch that cannot be split evenly
        self.steps_per_pass = math.ceil(len(self._pairs) / training.batch_size)
        self._passes = Passes(partial(batches, self._pairs, training.batch_size), training.seed)

    @classmethod
    def prepare(cls, sources: Sequence[str], chosen: Chosen, folder: Path, progress: Progress) -> Prepared:
        """Read the pairs, learn the vocabulary, and store the encoded sentences.

        Raises CorpusError for files that are missing or do not fit each other, ConfigError for impossible settings.
        """
        data = chosen.data
        assert isinstance(data, TranslateData)
        train, held_out = open_pairs(sources, data)
        return _prepared(sources, chosen, train, held_out, Tokenizers.learn(train, data), folder)

    @classmethod
    def prepare_from(
        cls, sources: Sequence[str], chosen: Chosen, folder: Path, progress: Progress, origin: Origin
    ) -> Prepared:
        """Like `prepare`, with the vocabulary of `origin`.

        Raises CorpusError if no token of the sentences is in the vocabulary.
        """
        data = chosen.data
        assert isinstance(data, TranslateData)
        train, held_out = open_pairs(sources, data)
        tokenizers = Tokenizers.from_assets(origin.assets)
        prepared = _prepared(sources, chosen, train, held_out, tokenizers, folder)
        notes = list(prepared.notes)
        for tokenizer, side in zip(tokenizers, (train.sources, train.targets), strict=True):
            unknown = UnknownTokens(tokenizer)
            for sentence in side:
                unknown.count(sentence, tokenizer.encode(sentence, unknown="replace"))
            notes += unknown.notes(origin.name)
        return replace(prepared, notes=notes)

    @classmethod
    def build(cls, prepared: Prepared) -> Translator:
        """Return a new Translator with the run's configuration."""
        config = prepared.chosen.model
        assert isinstance(config, TranslateConfig)
        return Translator(config)

    def loss(self, step: int, progress: float) -> Loss:
        """Return the loss of the batch of `step`, with label smoothing; its figure is without."""
        places, weight = self.placement.part_of(self._passes.batch(*divmod(step, self.steps_per_pass)))
        read, write = self.tokenizers
        sources = [self._drop_words(self._pairs.sources[place], read) for place in places]
        tokens, targets = pad_targets([self._pairs.targets[place] for place in places], write)
        wanted = torch.from_numpy(targets).to(self.placement.device)
        there = wanted >= 0
        with self.placement.autocast():
            memory = self.network.encoder.read(sources)
            x, _, _ = self.network.decoder.sequence(self._drop_words(tokens, write), memory)
            logits = self.network.decoder.logits(x[there]).float()
        log_probabilities, smoothing = torch.log_softmax(logits, dim=1), self.training.smoothing
        nats = nn.functional.nll_loss(log_probabilities, wanted[there])
        loss = (1 - smoothing) * nats - smoothing * log_probabilities.mean()
        return Loss(loss, {"nats": nats.item()}, int(there.sum()), weight * float(there.sum()))

    def evaluate(self, network: Network, *, whole: bool = False) -> TranslationScore:
        """Return the score of greedy translations of the held-out sentences."""
        pairs = self._held_out if whole else self._held_out.part(slice(_EVALUATED))
        return score_translations(self._translations(network, pairs.sources), pairs.targets)

    def samples(self, network: Network) -> Mapping[str, str]:
        """Return the translations of a few held-out sentences, by the sentence."""
        sentences = self._held_out.sources[:_SHOWN]
        return dict(zip(sentences, self._translations(network, sentences), strict=True))

    def _translations(self, network: Network, sentences: Sequence[str]) -> list[str]:
        assert isinstance(network, Translator)
        return [self.tokenizers.target.decode(ids) for ids in greedy(network, sentences, self.tokenizers)]

    def _drop_words(self, tokens: Array, tokenizer: Tokenizer) -> Tensor:
        """Return tokens with random ones made unknown, except the start token."""
        start, _, unknown = special_tokens(tokenizer)
        given = torch.from_numpy(tokens).to(self.placement.device)
        if not self.training.word_dropout:
            return given
        dropped = torch.rand(given.shape, device=given.device) < self.training.word_dropout
        return torch.where(dropped & (given != start), unknown, given)


def _prepared(
    sources: Sequence[str], chosen: Chosen, train: Pairs, held_out: Pairs, tokenizers: Tokenizers, folder: Path
) -> Prepared:
    """Return what a run stores of its data, which is written into `folder`."""
    model = chosen.model
    assert isinstance(model, TranslateConfig)
    encoded = EncodedPairs.encode(train, tokenizers, model.longest)
    checked = EncodedPairs.encode(held_out.part(slice(_HELD_OUT_PAIRS)), tokenizers, model.longest)
    if not (len(encoded) and len(checked)):
        raise CorpusError(
            f"no pair of sentences has at most {model.longest} tokens on each side: give a larger --longest"
        )
    named = " ".join(source if source == DATES else str(Path(source).resolve()) for source in sources)
    record = DataRecord.store(named, encoded, held_out, folder)
    notes = []
    if train.empty or held_out.empty:
        notes.append(f"lines that are empty on both sides are left out, {train.empty + held_out.empty:,} in all")
    if len(encoded) < len(train):
        missing = counted(len(train) - len(encoded), "pair")
        notes.append(
            f"{missing} of sentences with more than {model.longest} tokens (--longest) are left out of training"
        )
    return Prepared(
        replace(chosen, model=model.but(source_vocabulary=len(tokenizers.source), vocabulary=len(tokenizers.target))),
        asdict(record),
        tokenizers.to_assets(),
        _for_gate(checked, tokenizers.target),
        notes,
    )


def _for_gate(pairs: EncodedPairs, tokenizer: Tokenizer) -> HeldOut:
    """Return encoded pairs for the parity gate."""
    tokens, targets = pad_targets(pairs.targets, tokenizer)
    return HeldOut(
        {"token": tokens},
        {"logits": targets},
        [{"source": ids[:, None]} for ids in pairs.sources],
        {"token": Feedback("logits", MAX_TOKENS, tokenizer.never_sampled, tokenizer.end_id)},
    )
