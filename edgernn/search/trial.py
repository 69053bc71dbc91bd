"""The trial of one formula: a language model of a given number of parameters, trained for some steps and scored."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from edgernn.bundle import TOKENIZER
from edgernn.comparison.sizes import count_parameters, largest_size
from edgernn.data.tokens import TokenArray, TokenFile
from edgernn.errors import CellError, CheckFailedError, GrowingStateError
from edgernn.models.cells.user import loaded_cell
from edgernn.search.evolution import EXPLODED, FINISHED, REFUSED, STOPPED, Trial
from edgernn.search.formula import parse
from edgernn.search.source import cell_source
from edgernn.tasks.language.data import open_held_out
from edgernn.tasks.language.learner import LanguageLearner, score_tokens
from edgernn.tasks.language.network import LanguageModel
from edgernn.tasks.language.settings import LanguageConfig
from edgernn.tasks.learner import Placement, Prepared
from edgernn.tokenizer import Tokenizer
from edgernn.training.optimizer import Optimizer
from edgernn.training.trainer import ignore_progress

__all__ = ["RUNGS", "Job", "Laboratory", "Stop", "fitted"]

RUNGS = (0.25, 0.5)  # fractions of the steps after which a trial may be stopped
_SCORED = 32 * 1024 + 1  # tokens of the held-out text on which candidates are compared
_PLACES = 32  # that are read in parallel
_LARGEST_STATE = 1e4  # absolute value: a state that is larger grows without limit

Stop = Callable[[], bool]


@dataclass(frozen=True)
class Job:
    """A formula to try.

    seed: of the weights and batches. limits: the largest loss at each of `RUNGS`, or None. reports: whether the half of
    the held-out text that candidates are not chosen by is scored too.
    """

    formula: str
    steps: int
    seed: int
    limits: tuple[float | None, ...] = (None,) * len(RUNGS)
    reports: bool = False


class _Exploded(Exception):  # noqa: N818 - never leaves this module
    """The loss, the gradient or a state is not finite, or a state grows without limit."""


class Laboratory:
    """Tries formulas on one corpus. The held-out text has two halves: one to choose by, and one to report on."""

    def __init__(self, prepared: Prepared, folder: Path, parameters: int) -> None:
        """prepared: of a language model. folder: where its data are. parameters: of every network."""
        self._prepared, self._folder, self._parameters = prepared, folder, parameters
        tokenizer = Tokenizer.from_json(prepared.asset(TOKENIZER).decode())
        held_out = open_held_out(folder, prepared.record, len(tokenizer))
        self._unknown_id = tokenizer.unknown_id
        self._chars_per_token = held_out.chars / (len(held_out.tokens) - 1)
        half = len(held_out.tokens) // 2
        self._chosen_by = _span(held_out.tokens, 0, min(half, _SCORED))
        self._reported_on = _span(held_out.tokens, half, len(held_out.tokens))

    def try_formula(self, job: Job, stop: Stop) -> Trial | None:
        """Train and score a formula. Returns None if `stop` returned true before the end."""
        begun = time.perf_counter()
        try:
            with _cell(job.formula) as cell:
                trial = self._try_cell(cell, job, stop)
        except GrowingStateError as error:
            return Trial(job.formula, EXPLODED, reason=error.reason)
        except CellError as error:
            return Trial(job.formula, REFUSED, reason=error.reason)
        return None if trial is None else replace(trial, seconds=round(time.perf_counter() - begun, 3))

    def _try_cell(self, cell: str, job: Job, stop: Stop) -> Trial | None:
        """Train and score the cell of a job's formula, which is loaded."""
        hidden, parameters = fitted(self._prepared, self._parameters, cell=cell)
        torch.manual_seed(job.seed)
        network = LanguageModel(self._config().but(cell=cell, hidden=hidden))
        run = _Run(network, self._learner(network, job), job, stop)
        trial = self._trained(run)
        if run.stopped:
            return None
        return replace(trial, hidden=hidden, parameters=parameters, steps=run.step)

    def _trained(self, run: _Run) -> Trial:
        """Train a network, and return what became of its formula."""
        job, rungs = run.job, list[float]()
        try:
            for step in run.steps():
                rungs.append(self._score(run.network, self._chosen_by))
                limit = job.limits[len(rungs) - 1]
                if limit is not None and rungs[-1] > limit:
                    reason = f"worse than the median after {step} steps"
                    return Trial(job.formula, STOPPED, rungs=tuple(rungs), reason=reason)
            loss = self._score(run.network, self._chosen_by)
            reported = self._score(run.network, self._reported_on) if job.reports else None
        except _Exploded as error:
            return Trial(job.formula, EXPLODED, rungs=tuple(rungs), reason=str(error))
        return Trial(job.formula, FINISHED, loss, reported, tuple(rungs))

    def _config(self) -> LanguageConfig:
        config = self._prepared.chosen.model
        assert isinstance(config, LanguageConfig)
        return config

    def _learner(self, network: LanguageModel, job: Job) -> LanguageLearner:
        training = self._prepared.chosen.training.but(steps=job.steps, seed=job.seed)
        chosen = replace(self._prepared.chosen, training=training)
        return LanguageLearner(
            network, replace(self._prepared, chosen=chosen), self._folder, Placement(), ignore_progress
        )

    def _score(self, network: LanguageModel, tokens: TokenArray) -> float:
        """Return nats per character. Raises _Exploded if they are not a number."""
        chars = max(1, round((len(tokens) - 1) * self._chars_per_token))
        network.eval()
        try:
            return score_tokens(network, tokens, chars, self._unknown_id, _PLACES).nats_per_char
        except CheckFailedError:
            raise _Exploded("the loss of the held-out text is not finite") from None
        finally:
            network.train()


class _Run:
    """The training of one network. step: the optimizer steps so far. stopped: whether it was asked to stop."""

    def __init__(self, network: LanguageModel, learner: LanguageLearner, job: Job, stop: Stop) -> None:
        self.network, self.job = network, job
        self._learner, self._stop = learner, stop
        self._training = learner.training
        self._optimizer = Optimizer(network, learner.parameter_groups(0), self._training.learning_rate)
        self.step, self.stopped = 0, False

    def steps(self) -> Iterator[int]:
        """Train, and yield the number of steps at each of `RUNGS`. Raises _Exploded."""
        rungs = {max(1, round(rung * self.job.steps)) for rung in RUNGS}
        while self.step < self.job.steps:
            if self._stop():
                self.stopped = True
                return
            self._learn(self.step / self.job.steps)
            self.step += 1
            if self.step in rungs:
                yield self.step

    def _learn(self, progress: float) -> None:
        loss = self._learner.loss(self.step, progress)
        self._check("loss", loss.figures["nats"])
        self._optimizer.zero_grad()
        loss.value.backward()
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), self._training.clip)
        self._check("gradient", float(norm))
        self._optimizer.step(self._learner.learning_rate(progress))
        largest = max(float(state.abs().max()) for state in self._learner.carried().values())
        if largest > _LARGEST_STATE:
            raise _Exploded(f"a state grew to {largest:.3g} by step {self.step + 1}")

    def _check(self, what: str, value: float) -> None:
        if not math.isfinite(value):
            raise _Exploded(f"the {what} is not finite at step {self.step + 1}")


def fitted(prepared: Prepared, parameters: int, **cell: str) -> tuple[int, int]:
    """Return the size of the state with which a language model has about `parameters` parameters, and their number.

    prepared, cell: as for `count_parameters`. No other size comes closer.
    """

    def count(hidden: int) -> int:
        return count_parameters(prepared, hidden, **cell)

    size = largest_size(count, parameters)
    found = [(each, count(each)) for each in (size, size + 1) if each]
    return min(found, key=lambda each: abs(each[1] - parameters))


@contextmanager
def _cell(formula: str) -> Iterator[str]:
    """Yield the name of the cell of a formula, which is loaded for the block alone: a search tries thousands.

    Raises CellError for a formula whose state grows or ignores what the formula says that it reads.
    """
    with tempfile.TemporaryDirectory(prefix="edgernn-") as folder:
        path = Path(folder) / "candidate.py"
        path.write_text(cell_source(parse(formula), "Candidate", "A candidate."), encoding="utf-8")
        with loaded_cell(f"{path}:Candidate") as cell:
            yield cell


def _span(tokens: TokenFile, start: int, end: int) -> TokenArray:
    return TokenArray(tokens.read(start, end - start))
