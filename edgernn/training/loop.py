"""The training loop: truncated back-propagation through time with the state carried from chunk to chunk."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from edgernn.atomic import check_free
from edgernn.errors import RunError, TrainingError
from edgernn.models import LanguageConfig, LanguageModel
from edgernn.score import Score
from edgernn.tokenizer import Tokenizer
from edgernn.training.config import TrainingConfig
from edgernn.training.corpus import Corpus, load_corpus
from edgernn.training.evaluation import HeldOut
from edgernn.training.lanes import Chunk, Lanes, Tokens, pack
from edgernn.training.run import CHECKPOINT, CONFIG, WEIGHTS, Run, load_weights

__all__ = ["Evaluated", "Stepped", "Trainer"]

_EVALUATION_LANES = 32


@dataclass(frozen=True)
class Stepped:
    """One step of the optimiser: mean nats per token of its chunk, and how far the training is.

    progress: 0 to 1. chars_per_second: of this call of `fit`, evaluations not counted. seconds: of the whole training.
    """

    step: int
    progress: float
    nats: float
    chars_per_second: float
    seconds: float


@dataclass(frozen=True)
class Evaluated:
    """A look at the held-out text; the checkpoint that belongs to it is on disk."""

    step: int
    progress: float
    score: Score
    best: bool
    seconds: float


class Trainer:
    """A network in training: everything that a checkpoint keeps."""

    def __init__(self, run: Run, corpus: Corpus) -> None:
        """Stand at the beginning of `run`. Seeds torch's global generator, from which dropout draws."""
        config = run.training
        torch.manual_seed(config.seed)
        self.run = run
        self.model = LanguageModel(run.model)
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
        )
        vocabulary = run.model.vocabulary
        tokens: Tokens = pack(run.tokenizer.encode(corpus.train), vocabulary)
        self.lanes = Lanes(tokens, config.lanes, config.chunk, config.seed)
        self._held_out = HeldOut(run.tokenizer, corpus.held_out)
        self._chars_per_step = self.lanes.lanes * config.chunk * len(corpus.train) / len(tokens)
        self._state = self.model.initial_state(self.lanes.lanes)
        self.step = 0
        self.seconds = 0.0
        self.best = math.inf  # nats per character
        self._evaluations = 0

    @classmethod
    def begin(
        cls,
        corpus: str,
        out: Path,
        held_out: str = "0.1",
        *,
        model: Mapping[str, Any],
        training: Mapping[str, Any],
        overwrite: bool = False,
    ) -> Trainer:
        """Stand at the beginning of a new run of a character language model at `out`.

        model, training: settings of LanguageConfig and TrainingConfig that are not the default.
        Raises ConfigError, CorpusError or OutputExistsError; then nothing was written and nothing replaced.
        """
        config = TrainingConfig.of(**training)
        check_free(out, overwrite=overwrite, marker=CONFIG)
        text = load_corpus(corpus, held_out)
        tokenizer = Tokenizer.characters(text.train)
        shape = LanguageConfig(len(tokenizer), **model)
        Lanes.check(len(text.train), config.chunk)
        return cls(Run.create(out, shape, config, text, held_out, tokenizer, overwrite=overwrite), text)

    @classmethod
    def resume(cls, path: Path) -> Trainer:
        """Stand where the last checkpoint of the run at `path` was written.

        Raises RunError if the corpus is not the one that the run was begun with, or the checkpoint does not fit.
        """
        run = Run.load(path)
        corpus = load_corpus(run.corpus["name"], run.corpus["held_out"])
        if corpus.sha256 != run.corpus["sha256"]:
            raise RunError(
                f"{corpus.name} has changed since {run.path} was begun: a run goes on with its own text only"
            )
        trainer = cls(run, corpus)
        trainer._restore(*run.read(CHECKPOINT))
        return trainer

    def fit(self) -> Iterator[Stepped | Evaluated]:
        """Train to the end, reporting each step and evaluation; each evaluation writes a checkpoint.

        Raises TrainingError if the loss is not a number; the last good checkpoint stays.
        """
        if self.step == 0:
            self._write()
        total = self.run.training.total_steps(self.lanes.chunks_per_pass)
        begun, since = self.seconds, time.perf_counter()
        training_seconds, steps = 0.0, 0
        for chunk in self.lanes.chunks(self.step):
            progress = self._progress(total)
            if progress >= 1:
                break
            before = time.perf_counter()
            nats = self._learn(chunk, self.run.training.learning_rate_at(progress))
            now = time.perf_counter()
            self.step, steps = self.step + 1, steps + 1
            self.seconds, training_seconds = begun + now - since, training_seconds + now - before
            progress = self._progress(total)
            rate = self._chars_per_step * steps / training_seconds
            yield Stepped(self.step, min(progress, 1.0), nats, rate, self.seconds)
            if progress >= (self._evaluations + 1) / self.run.training.evaluations or progress >= 1:
                yield self._evaluate(progress)
                self.seconds = begun + time.perf_counter() - since

    @property
    def parameters(self) -> int:
        """Number of trained weights."""
        return sum(parameter.numel() for parameter in self.model.parameters())

    def score(self) -> Score:
        """The run's best weights on the whole held-out text, as one stream."""
        return self._held_out.score(self.run.network())

    def _progress(self, total: int | None) -> float:
        if total is not None:
            return self.step / total
        minutes = self.run.training.minutes
        assert minutes is not None
        return self.seconds / (60 * minutes)

    def _learn(self, chunk: Chunk, learning_rate: float) -> float:
        """One step of the optimiser: mean nats per token."""
        self.model.train()
        if chunk.first:
            self._state = self.model.initial_state(self.lanes.lanes)
        logits, state = self.model.sequence(torch.from_numpy(chunk.inputs), self._state)
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), torch.from_numpy(chunk.targets).flatten())
        nats = loss.item()
        if not math.isfinite(nats):
            raise TrainingError(
                f"the loss is {nats} at step {self.step + 1}; the checkpoint before it is kept: "
                "try a smaller --learning-rate or --clip"
            )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), self.run.training.clip)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        self.optimizer.step()
        self._state = tuple(s.detach() for s in state)
        return nats

    def _evaluate(self, progress: float) -> Evaluated:
        score = self._held_out.score(self.model, _EVALUATION_LANES)
        best = score.nats_per_char < self.best
        if best:
            self.best = score.nats_per_char
        self._evaluations = math.floor(progress * self.run.training.evaluations + 1e-9)
        lines = [line for line in self.run.metrics() if line["step"] < self.step]
        line = {"step": self.step, "seconds": round(self.seconds, 3), "nats_per_char": score.nats_per_char}
        self.run.write_metrics([*lines, line])
        self._write(best=best)
        return Evaluated(self.step, min(progress, 1.0), score, best, self.seconds)

    def _write(self, *, best: bool = True) -> None:
        """Write the checkpoint, and the weights if they are the best."""
        about = {"step": self.step, "nats_per_char": self.best if math.isfinite(self.best) else None}
        if best:
            self.run.write(WEIGHTS, dict(self.model.state_dict()), about)
        about |= {"seconds": self.seconds, "evaluations": self._evaluations}
        self.run.write(CHECKPOINT, self._tensors(), about)

    def _tensors(self) -> dict[str, Tensor]:
        tensors = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        for index, values in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{name}": value for name, value in values.items()}
        tensors |= {f"state.{index}": value.contiguous() for index, value in enumerate(self._state)}
        return {**tensors, "generator": torch.get_rng_state()}

    def _restore(self, tensors: dict[str, Tensor], about: dict[str, Any]) -> None:
        path = self.run.path / CHECKPOINT
        load_weights(self.model, _under("model.", tensors), path)
        optimizer = self.optimizer.state_dict()
        for key, value in _under("optimizer.", tensors).items():
            index, name = key.split(".")
            optimizer["state"].setdefault(int(index), {})[name] = value
        try:
            self.optimizer.load_state_dict(optimizer)
            torch.set_rng_state(tensors["generator"])
            self.step, self._evaluations = about["step"], about["evaluations"]
            self.seconds, best = about["seconds"], about["nats_per_char"]
        except (KeyError, ValueError, RuntimeError, TypeError) as error:
            raise RunError(f"{path} does not fit the run: {error}") from None
        self.best = math.inf if best is None else best
        state = _under("state.", tensors)
        self._state = tuple(state[str(index)] for index in range(len(state)))


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
