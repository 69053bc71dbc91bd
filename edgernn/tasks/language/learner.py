"""Train a language model: truncated back-propagation through time, with the state carried from batch to batch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from edgernn.bundle import TOKENIZER
from edgernn.data.corpus import Corpus, CorpusRecord, open_corpus
from edgernn.data.tokens import TokenFile
from edgernn.data.unknown import UnknownTokens
from edgernn.data.vocabulary import learn_tokenizer
from edgernn.errors import ConfigError, SamplingError
from edgernn.models import Network
from edgernn.models.source import HeldOut
from edgernn.sampling import Generator, Sampler
from edgernn.score import Score
from edgernn.tasks.language.data import HELD_OUT, TRAIN, TokenBatch, TokenBatches, Tokens, open_held_out
from edgernn.tasks.language.network import LanguageModel
from edgernn.tasks.language.settings import LanguageConfig, LanguageData, LanguageTraining
from edgernn.tasks.learner import Learner, Loss, Origin, Placement, Prepared
from edgernn.tasks.score import Progress
from edgernn.tasks.settings import Chosen
from edgernn.tokenizer import Ids, Tokenizer, whole_pieces

__all__ = ["LanguageLearner", "sample_text", "score_tokens"]

_EVALUATION_BATCH = 32  # positions of the held-out text that are read in parallel during training
_CHUNK = 512  # tokens of a sequence that are scored in one call
_LOGITS = 1 << 22  # logits that are computed in one call, which limits the memory for large vocabularies
_PROMPT_TOKENS, _SAMPLE_TOKENS = 20, 500
_SAMPLER = Sampler(temperature=0.8, top_k=40)
_SEQUENCES, _STEPS = 16, 1024  # of the held-out text, for the parity gate


class LanguageLearner(Learner):
    """Trains a LanguageModel on the tokens of a text, and evaluates it on the held-out tokens."""

    unit = "characters"
    network: LanguageModel

    def __init__(
        self, network: Network, prepared: Prepared, folder: Path, placement: Placement, progress: Progress
    ) -> None:
        super().__init__(network, prepared, folder, placement, progress)
        training = prepared.chosen.training
        assert isinstance(training, LanguageTraining)
        self.training = training
        self.corpus = CorpusRecord.from_json(dict(prepared.record))
        self.tokenizer = Tokenizer.from_json(prepared.asset(TOKENIZER).decode())
        vocabulary = len(self.tokenizer)
        train = self.corpus.open(folder / TRAIN, vocabulary, self.corpus.train_tokens)
        self._held_out, self._held_out_chars = open_held_out(folder, prepared.record, vocabulary)
        self.batches = TokenBatches(train, training.batch_size, training.bptt, training.seed, training.reset)
        self._share = placement.share(self.batches.batch_size)
        self.steps_per_pass = self.batches.per_pass
        self._tokens_per_char = len(train) / max(1, self.corpus.train_chars)
        self._local = self._share.stop - self._share.start
        self._state = tuple(s.detach() for s in self.network.initial_state(self._local))

    @classmethod
    def prepare(cls, sources: Sequence[str], chosen: Chosen, folder: Path, progress: Progress) -> Prepared:
        """Learn the vocabulary from the training text, and encode both parts of the text as token files.

        Raises CorpusError for a text that is missing, unreadable or too short, ConfigError for impossible settings.
        """
        with _corpus(sources, chosen) as (text, data):
            tokenizer = learn_tokenizer(data.tokenizer, whole_pieces(text.train()), data.vocabulary)
            record = text.encode(tokenizer, folder / TRAIN, folder / HELD_OUT)
            return _prepared(chosen, record, tokenizer, folder, text.notes)

    @classmethod
    def prepare_from(
        cls, sources: Sequence[str], chosen: Chosen, folder: Path, progress: Progress, origin: Origin
    ) -> Prepared:
        """Like `prepare`, with the vocabulary of `origin`.

        Raises CorpusError if no token of the text is in the vocabulary.
        """
        tokenizer = Tokenizer.from_json(origin.assets[TOKENIZER].decode())
        unknown = UnknownTokens(tokenizer)
        with _corpus(sources, chosen) as (text, _):
            record = text.encode(tokenizer, folder / TRAIN, folder / HELD_OUT, unknown)
            notes = [*text.notes, *unknown.notes(origin.name)]
            return _prepared(chosen, record, tokenizer, folder, notes)

    @classmethod
    def build(cls, prepared: Prepared) -> LanguageModel:
        """Return a new LanguageModel with the run's configuration."""
        config = prepared.chosen.model
        assert isinstance(config, LanguageConfig)
        return LanguageModel(config)

    def parameter_groups(self, phase: int) -> list[dict[str, Any]]:
        """Return two groups: the recurrent matrices, for Muon unless the settings say AdamW, and all other parameters.

        Muon (Jordan et al. 2024) orthogonalises the averaged gradient, so that rare directions are learned as fast as
        frequent ones. Its steps are scaled to the size of AdamW's, so that one learning rate suits both.
        """
        matrices = [parameter for parameter in self.network.stack.layers.parameters() if parameter.ndim == 2]
        recurrent = set(matrices)
        others = [parameter for parameter in self.network.parameters() if parameter not in recurrent]
        return [
            {"params": others, "weight_decay": 0.0},
            {"params": matrices, "weight_decay": self.training.weight_decay, "optimizer": self.training.optimizer},
        ]

    def loss(self, step: int, progress: float) -> Loss:
        """Return the mean nats per token of the batch of `step`; each sequence continues from its carried state."""
        self.network.set_dropout(self.network.config.dropout * self._dropout(progress))
        batch = self.batches.read(step, self._share)
        device = self.placement.device
        inputs, targets = (torch.from_numpy(ids).to(device) for ids in (batch.inputs, batch.targets))
        with self.placement.autocast():
            logits, state = self.network.sequence(inputs, self._begin(batch))
        loss = nn.functional.cross_entropy(logits.flatten(0, 1).float(), targets.flatten())
        self._state = tuple(s.detach().float() for s in state)
        nats = loss.item()
        figures = {"nats": nats, "bits_per_char": nats / math.log(2) * self._tokens_per_char}
        return Loss(loss, figures, self._local * self.training.bptt / self._tokens_per_char)

    def evaluate(self, network: Network, *, whole: bool = False) -> Score:
        """Return the score on the held-out text: as one stream if `whole`, else faster, from parallel positions."""
        assert isinstance(network, LanguageModel)
        places = 1 if whole else _EVALUATION_BATCH
        return score_tokens(network, self._held_out, self._held_out_chars, self.tokenizer.unknown_id, places)

    def samples(self, network: Network) -> Mapping[str, str]:
        """Return a text that the network generates after the first words of the held-out text."""
        assert isinstance(network, LanguageModel)
        prompt = self._held_out.read(0, min(_PROMPT_TOKENS, len(self._held_out)))
        try:
            return {"sample": sample_text(network, self.tokenizer, prompt, _SAMPLE_TOKENS)}
        except SamplingError:  # NaN logits, from which training may yet recover
            return {}

    def carried(self) -> Mapping[str, Tensor]:
        """Return the state of every sequence of this process."""
        return {str(index): value for index, value in enumerate(self._state)}

    def restore(self, carried: Mapping[str, Tensor]) -> None:
        """Continue from states that `carried` returned."""
        self._state = tuple(carried[str(index)].to(self.placement.device) for index in range(len(self._state)))

    def _dropout(self, progress: float) -> float:
        """Return the fraction of the dropout probability that is left at `progress`, from 0 to 1."""
        second_half = max(0.0, 2 * progress - 1)
        return 1 - (1 - self.training.final_dropout) * second_half

    def _begin(self, batch: TokenBatch) -> tuple[Tensor, ...]:
        """Return the state of each sequence before its first token."""
        fresh = torch.from_numpy(batch.fresh).to(self.placement.device)[:, None]  # for states (layers, batch, hidden)
        initial = self.network.initial_state(self._local)
        return tuple(torch.where(fresh, new, carried) for new, carried in zip(initial, self._state, strict=True))


@contextmanager
def _corpus(sources: Sequence[str], chosen: Chosen) -> Iterator[tuple[Corpus, LanguageData]]:
    """Yield the text that the settings describe, and the settings themselves."""
    data = chosen.data
    assert isinstance(data, LanguageData)
    if data.glob is not None and not any(Path(source).is_dir() for source in sources):
        raise ConfigError("--glob chooses files of a directory, and no corpus is one")
    with open_corpus(sources, data.held_out, data.glob, data) as text:
        yield text, data


def _prepared(
    chosen: Chosen, record: CorpusRecord, tokenizer: Tokenizer, folder: Path, notes: Sequence[str]
) -> Prepared:
    """Return what a run stores of a text that was encoded into `folder`."""
    model = chosen.model
    assert isinstance(model, LanguageConfig)
    return Prepared(
        replace(chosen, model=model.but(vocabulary=len(tokenizer))),
        asdict(record),
        {TOKENIZER: tokenizer.to_json().encode()},
        _held_out(TokenFile(folder / HELD_OUT, len(tokenizer))),
        notes,
    )


def _held_out(tokens: TokenFile) -> HeldOut:
    starts = (place * len(tokens) // _SEQUENCES for place in range(_SEQUENCES))
    ids = np.stack([tokens.read(start, _STEPS + 1) for start in starts])
    return HeldOut({"token": np.ascontiguousarray(ids[:, :-1])}, {"logits": np.ascontiguousarray(ids[:, 1:])})


@torch.no_grad()
def score_tokens(model: LanguageModel, tokens: Tokens, chars: int, unknown_id: int | None, places: int = 1) -> Score:
    """Return the score of `model`, in evaluation mode, on `tokens`.

    chars: the number of characters that all tokens but the first spell. places: 1 reads the tokens as one stream;
    larger numbers read them from several positions in parallel, which is faster. Then the first token of each position
    and the remaining tokens at the end are not scored, and `chars` is scaled accordingly. Raises CheckFailedError if
    the loss is not a number.
    """
    predicted = len(tokens) - 1
    places = max(1, min(places, predicted // _CHUNK))
    length = predicted // places
    device = next(model.parameters()).device
    nats, unknown, state = 0.0, 0, model.initial_state(places)
    chunk = max(1, min(_CHUNK, _LOGITS // (places * model.config.vocabulary)))
    for begin in range(0, length, chunk):
        count = min(chunk, length - begin)
        window = np.stack([tokens.read(place * length + begin, count + 1) for place in range(places)], axis=1)
        ids = torch.from_numpy(window).to(device)  # (time + 1, places)
        logits, state = model.sequence(ids[:-1], state)
        losses = nn.functional.cross_entropy(logits.flatten(0, 1), ids[1:].flatten(), reduction="none")
        nats += losses.double().sum().item()
        unknown += int((window[1:] == unknown_id).sum())
    scored = places * length
    return Score(nats, scored, max(1, round(chars * scored / predicted)), unknown)


@torch.no_grad()
def sample_text(model: LanguageModel, tokenizer: Tokenizer, prompt: Ids, tokens: int) -> str:
    """Return the text of `tokens` tokens that follow `prompt`, which depends only on the weights."""
    generator = Generator(0)
    device = next(model.parameters()).device
    state = model.initial_state(1)
    drawn: list[int] = []
    for token in prompt:
        logits, *state = model(torch.tensor([token], device=device), *state)
    for _ in range(tokens):
        scores = logits[0].float().cpu().numpy()
        drawn.append(_SAMPLER(scores, generator, forbidden=tokenizer.never_sampled))
        logits, *state = model(torch.tensor([drawn[-1]], device=device), *state)
    return tokenizer.decode(drawn)
