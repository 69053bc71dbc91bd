"""The training loop: truncated back-propagation through time with the state carried from chunk to chunk."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from edgernn.data.corpus import open_corpus
from edgernn.data.vocabulary import learn_tokenizer
from edgernn.errors import CheckFailedError, ConfigError, FormatError, RunError, SamplingError
from edgernn.models.stack import StackState
from edgernn.score import Score
from edgernn.tasks.language.data import Chunk, Lanes
from edgernn.tasks.language.network import LanguageConfig, LanguageModel
from edgernn.tokenizer import whole_pieces
from edgernn.training.base import Loop, under
from edgernn.training.device import find_autocast, find_device
from edgernn.training.evaluation import score_tokens
from edgernn.training.optimizer import language_optimizer
from edgernn.training.presets import DEFAULT, find_preset
from edgernn.training.processes import ProcessGroup
from edgernn.training.run import CHECKPOINT, HELD_OUT, TRAIN, Run, check_tensors
from edgernn.training.sample import sample

__all__ = ["Evaluated", "Stepped", "Trainer"]

_EVALUATION_LANES = 32
_PROMPT_TOKENS = 20
_SAMPLE_TOKENS = 160


@dataclass(frozen=True)
class Stepped:
    """One step of the optimiser: mean nats per token of its chunk, and how far the training is.

    progress: 0 to 1. bits_per_char: the same loss in other units.
    chars_per_second: of this call of `fit`, evaluations not counted. seconds: of the whole training.
    """

    step: int
    progress: float
    nats: float
    bits_per_char: float
    learning_rate: float
    chars_per_second: float
    seconds: float


@dataclass(frozen=True)
class Evaluated:
    """A look at the held-out text; the checkpoint that belongs to it is on disk.

    sample: what the network writes after the held-out text's first words.
    """

    step: int
    progress: float
    score: Score
    best: bool
    seconds: float
    sample: str


class Trainer(Loop):
    """A network in training: everything that a checkpoint keeps."""

    figure, higher = "nats_per_char", False
    run: Run
    model: LanguageModel

    def __init__(self, run: Run) -> None:
        """Stand at the beginning of `run`. Seeds torch's global generator, from which dropout draws."""
        super().__init__()
        config = run.training
        self.run = run
        self.device = find_device(config.device)
        self.ranks = ProcessGroup.join(self.device)
        torch.manual_seed(config.seed)
        self._autocast = find_autocast(config.autocast, self.device)
        self.model = _build(run.model).to(self.device)
        self.optimizer = language_optimizer(self.model, self.model.stack.layers, config)
        tokens = run.tokens(TRAIN)
        self.lanes = Lanes(tokens, config.lanes, config.chunk, config.seed, config.reset)
        self.lanes.share = self.ranks.share(self.lanes.lanes)
        self._local_lanes = self.lanes.lanes // self.ranks.count
        self._sequence = self.ranks.average_gradients(_Sequence(self.model))
        torch.manual_seed(config.seed + self.ranks.rank)  # equal weights, but dropout of its own
        self._held_out = run.tokens(HELD_OUT)
        self._tokens_per_char = len(tokens) / max(1, run.corpus.train_chars)
        self._chars_per_step = self.lanes.lanes * config.chunk / self._tokens_per_char
        self._state = tuple(s.detach() for s in self.model.initial_state(self._local_lanes))
        self._asks_to_stop = False  # in this process

    @classmethod
    def begin(
        cls,
        corpus: Sequence[str],
        out: Path,
        held_out: str = "0.1",
        *,
        model: Mapping[str, Any],
        training: Mapping[str, Any],
        glob: str = "*.txt",
        tokenizer: str = "characters",
        vocabulary: int | None = None,
        preset: str = DEFAULT,
        overwrite: bool = False,
    ) -> Trainer:
        """Stand at the beginning of a new run of a language model at `out`.

        corpus, held_out, glob: see `open_corpus`.
        model, training: settings of LanguageConfig and TrainingConfig that are not those of `preset`, one of PRESETS.
        tokenizer, vocabulary: see `learn_tokenizer`, which sees the training text only.
        Raises ConfigError, CorpusError or OutputExistsError; then nothing was written and nothing replaced.
        """
        size = find_preset(preset)
        config = size.training.but(**training)
        ranks = ProcessGroup.join(find_device(config.device))
        with ranks.main_process_first() as first:
            if not first:
                return cls.resume(out)
            Run.check_free(out, overwrite=overwrite)
            with open_corpus(corpus, held_out, glob) as text:
                learned = learn_tokenizer(tokenizer, whole_pieces(text.train()), vocabulary)
                shape = LanguageConfig.of(len(learned), **{**size.model, **model})
                with Run.create(out, text, learned, shape, config, overwrite=overwrite) as run:
                    _check(run, ranks)
        return cls.resume(out)

    @classmethod
    def resume(cls, path: Path) -> Trainer:
        """Stand where the last checkpoint of the run at `path` was written, or at its beginning.

        Raises RunError if the checkpoint does not fit.
        """
        trainer = cls(Run.load(path))
        if trainer.ranks.first:
            trainer.run.clean()
        if (path / CHECKPOINT).exists():
            trainer._restore(*trainer.run.read(CHECKPOINT))
        else:
            trainer.save()
        return trainer

    def fit(self) -> Iterator[Stepped | Evaluated]:
        """Train to the end, reporting each step and evaluation; each evaluation writes a checkpoint.

        Raises TrainingError if the loss is not a number; the last good checkpoint stays.
        """
        begun, since = self.seconds, time.perf_counter()
        learning, steps = 0.0, 0
        for chunk in self.lanes.chunks(self.step):
            if self._ended:
                break
            before = time.perf_counter()
            learning_rate = self.run.training.learning_rate_at(self._progress())
            nats = self._learn(chunk, learning_rate)
            self._count_loss(nats)
            now = time.perf_counter()
            self.step, steps = self.step + 1, steps + 1
            self._agree(begun + now - since)
            learning += now - before
            progress = self._progress()
            rate = self._chars_per_step * steps / learning
            bits = nats / math.log(2) * self._tokens_per_char
            yield Stepped(self.step, min(progress, 1.0), nats, bits, learning_rate, rate, self.seconds)
            if self._due(progress):
                yield self._evaluate(progress)
                self._agree(begun + time.perf_counter() - since)

    def stop(self) -> None:
        """Have `fit` end after the step that is under way, in all processes."""
        self._asks_to_stop = True

    def _agree(self, seconds: float) -> None:
        """Whether to stop, and how long the training took, are the same in all processes."""
        mine = [float(self._asks_to_stop), seconds if self.ranks.first else 0.0]
        stops, self.seconds = self.ranks.total(mine, self.device)
        self._stops = stops > 0

    def save(self) -> None:
        """Write a checkpoint, from which `resume` goes on, between two events of `fit`; all processes call it."""
        tensors = self._tensors()
        if self.ranks.first:
            self.run.write(CHECKPOINT, tensors, self._counters())
        self.ranks.wait()

    def score(self) -> Score:
        """The run's best weights on the whole held-out text, as one stream."""
        return self._score(self.run.network())

    def _score(self, model: LanguageModel, lanes: int = 1) -> Score:
        corpus, unknown = self.run.corpus, self.run.tokenizer.unknown_id
        return score_tokens(model, self._held_out, corpus.predicted_chars, unknown, lanes)

    def _progress(self) -> float:
        return self.run.training.progress(self.step, self.seconds, self.lanes.chunks_per_pass)

    def _learn(self, chunk: Chunk, learning_rate: float) -> float:
        """One step of the optimiser: mean nats per token."""
        self.model.train()
        inputs, targets = (torch.from_numpy(ids).to(self.device) for ids in (chunk.inputs, chunk.targets))
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._autocast):
            logits, *state = self._sequence(inputs, *self._begin(chunk))
        loss = nn.functional.cross_entropy(logits.flatten(0, 1).float(), targets.flatten())
        nats = self.ranks.total([loss.item()], self.device)[0] / self.ranks.count
        if not math.isfinite(nats):
            raise self._diverged(f"at step {self.step + 1}")
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), self.run.training.clip)
        self.optimizer.step(learning_rate)
        self._state = tuple(s.detach().float() for s in state)
        return nats

    def _begin(self, chunk: Chunk) -> StackState:
        """The state that each lane has at the first token of `chunk`."""
        fresh = torch.from_numpy(chunk.fresh).to(self.device)[:, None]  # (lanes, 1), against (layers, lanes, hidden)
        initial = self.model.initial_state(self._local_lanes)
        return tuple(torch.where(fresh, new, carried) for new, carried in zip(initial, self._state, strict=True))

    def _evaluate(self, progress: float) -> Evaluated:
        try:
            score = self._score(self.model, _EVALUATION_LANES)
        except CheckFailedError:
            raise self._diverged("on the held-out text") from None
        nats = score.nats_per_char
        best = self._count_evaluation(nats, progress)
        if self.ranks.first:
            self._log({"nats_per_char": nats}, "train_nats")
            if best:
                self._keep(self.model, nats)
        self.save()
        prompt = self._held_out.read(0, min(_PROMPT_TOKENS, len(self._held_out)))
        try:
            text = sample(self.model, self.run.tokenizer, prompt, _SAMPLE_TOKENS)
        except SamplingError:  # logits that are not numbers, from which training may yet recover
            text = ""
        return Evaluated(self.step, min(progress, 1.0), score, best, self.seconds, text)

    def _tensors(self) -> dict[str, Tensor]:
        """Everything that a checkpoint keeps but for the counters."""
        tensors = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        tensors |= {f"optimizer.{name}": tensor for name, tensor in self.optimizer.tensors().items()}
        for index, value in enumerate(self._state):
            tensors[f"state.{index}"] = torch.cat(self.ranks.gather(value), dim=1)
        tensors = {name: tensor.cpu() for name, tensor in tensors.items()}
        return tensors | self._generators()

    def _generators(self) -> dict[str, Tensor]:
        """The generator that dropout draws from, of every process: (processes, bytes)."""
        state = _generator(self.device).get_state().to(self.device if self.device.type == "cuda" else "cpu")
        return {f"generator.{self.device.type}": torch.stack(self.ranks.gather(state)).cpu()}

    def _restore(self, tensors: dict[str, Tensor], about: dict[str, Any]) -> None:
        path = self.run.path / CHECKPOINT
        expected = self._tensors()
        generators = {name: tensor for name, tensor in expected.items() if name.startswith("generator.")}
        if not generators.keys() & tensors.keys():  # begun on another kind of device, which drew other numbers
            tensors = {name: t for name, t in tensors.items() if not name.startswith("generator.")} | generators
        for name in generators:
            if (processes := tensors[name].shape[:1].numel()) != self.ranks.count:
                raise RunError(f"{path} was written by {processes} processes: go on with as many")
        check_tensors(tensors, expected, path)
        try:
            self._count_on(about)
            _generator(self.device).set_state(tensors[f"generator.{self.device.type}"][self.ranks.rank].clone())
        except (FormatError, RuntimeError, ValueError) as error:
            raise RunError(f"{path} is damaged: {error}") from None
        self.model.load_state_dict(under("model.", tensors))
        self.optimizer.load(under("optimizer.", tensors))
        share = self.lanes.share
        self._state = tuple(tensors[f"state.{index}"][:, share].to(self.device) for index in range(len(self._state)))
        if self.ranks.first:
            self.run.write_metrics([line for line in self.run.metrics() if line["step"] <= self.step])


class _Sequence(nn.Module):
    """The trained path as a module's forward, which is what data-parallel training wraps."""

    def __init__(self, model: LanguageModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        logits, carried = self.model.sequence(tokens, state)
        return (logits, *carried)


def _check(run: Run, ranks: ProcessGroup) -> None:
    """Raise what `Trainer` would, before anything is replaced; in one process, so that no other is waited for."""
    config = run.training
    find_autocast(config.autocast, find_device(config.device))
    ranks.share(Lanes(run.tokens(TRAIN), config.lanes, config.chunk, config.seed).lanes)
    _build(run.model)


def _generator(device: torch.device) -> torch.Generator:
    """The generator that dropout on `device` draws from."""
    if device.type == "cuda":
        return torch.cuda.default_generators[device.index or 0]
    return torch.mps._get_default_mps_generator() if device.type == "mps" else torch.default_generator


def _build(config: LanguageConfig) -> LanguageModel:
    try:
        return LanguageModel(config)
    except RuntimeError as error:  # torch's word for no memory
        raise ConfigError(f"the model cannot be built: {str(error).splitlines()[0]}") from None
