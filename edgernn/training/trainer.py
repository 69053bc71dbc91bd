"""The training loop for all tasks: optimizer, phases, averaged and best weights, checkpoints, several processes."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from edgernn import records
from edgernn.cell_names import UserCell
from edgernn.errors import CheckFailedError, ConfigError, DivergedError, FormatError, RunError, TrainingError, counted
from edgernn.models import Network
from edgernn.models.cells.user import load_cell
from edgernn.tasks.learner import Loss, Placement
from edgernn.tasks.score import Progress, Score
from edgernn.tasks.settings import LIMITS, TrainingSettings
from edgernn.tasks.task import Task
from edgernn.training.device import find_autocast, find_device, find_generator
from edgernn.training.events import Evaluated, Stepped
from edgernn.training.extension import Extension
from edgernn.training.optimizer import Optimizer
from edgernn.training.processes import ProcessGroup
from edgernn.training.run import CHECKPOINT, DATA, START, WEIGHTS, Run, check_tensors, open_learner
from edgernn.training.stages import Stage, is_early
from edgernn.training.start import Start

__all__ = ["Evaluated", "Stepped", "Trainer", "ignore_progress"]

_WARM = 10  # steps over which the averaged weights forget their initial values


def ignore_progress(done: float, figures: str) -> None:
    """Ignore the progress."""


class Trainer:
    """A network in training, with everything that a checkpoint stores.

    step: the number of optimizer steps so far. seconds: their duration, including evaluations. rate: examples per
    second in the last call of `fit`, without evaluations. best: the best value of the task's metric so far. network:
    the network that is trained. average: the network with averaged weights, which is evaluated and saved; it is
    `network` itself if no phase averages weights. notes: what the user should know about the data.
    """

    def __init__(self, run: Run, progress: Progress = ignore_progress) -> None:
        """Start at the beginning of `run`. Seeds torch's global generator, which draws weights and dropout."""
        self.run, self.task = run, run.task
        self.settings = run.training
        self.group = ProcessGroup.join(find_device(self.settings.device))
        self.step, self.seconds, self.phase = 0, 0.0, 0
        self.rate = 0.0
        self.best = self._written = -math.inf if self.task.higher_is_better else math.inf
        self._evaluations, self._stale = 0, 0  # evaluations so far, and since the last improvement
        self._sums: dict[str, tuple[float, int]] = {}  # of figures since the last evaluation
        self._asks_to_stop = self._stops = False  # requested in this process; agreed by all processes
        placement = _placement(self.settings, self.group)
        with self.group.main_process_first():  # the main process may fill a cache that the others read
            self.learner = open_learner(run, placement, progress)
        self.network: Network = self.learner.network
        self.notes = list(self.learner.notes)
        averages = any(map(self.learner.average_decay, range(self.learner.phase(1.0) + 1)))
        self.average = copy.deepcopy(self.network) if averages else self.network
        self.optimizer = self._new_optimizer()
        torch.manual_seed(self.settings.seed + self.group.rank)  # processes have equal weights but different dropout

    def __repr__(self) -> str:
        return f"<Trainer of {self.run.path}: {self.task.name}, {self.step:,} steps, {self.parameters:,} parameters>"

    @classmethod
    def begin(
        cls,
        task: Task,
        sources: Sequence[str],
        out: Path,
        *,
        preset: str | None = None,
        start_from: Path | None = None,
        overwrite: bool = False,
        progress: Progress = ignore_progress,
        **settings: Any,
    ) -> Trainer:
        """Create a run at `out`, and start at its beginning.

        sources: the sources of the task's data. preset: one of `Task.presets`; None for the default of the sources.
        start_from: a run of the task, whose best weights, network and vocabulary the new run takes; the optimizer
        starts anew. settings: changes to the preset, by field name; a file that `cell` names is executed. progress:
        called while data is read. Raises ConfigError, CorpusError, RunError or OutputExistsError; in that case nothing
        is written or replaced.
        """
        if not sources:
            raise ConfigError(f"edgernn train {task.name} needs a {task.sources[0]} to train on")
        if len(sources) > 1 and not task.several:
            raise ConfigError(f"{task.name} is trained on one {task.sources[0]}, not on {len(sources)}")
        given = UserCell.parse(settings.get("cell", ""))
        if given is not None and not given.digest:
            settings["cell"] = load_cell(str(given))
        start = None if start_from is None else Start.open(task, start_from)
        choose = task.choose if start is None else start.choose
        chosen = choose(sources, preset, **settings)
        group = ProcessGroup.join(find_device(chosen.training.device))
        notes: Sequence[str] = ()
        with group.main_process_first() as is_main:
            if is_main:
                with Run.create(out, overwrite=overwrite) as directory:
                    prepare = task.learner().prepare if start is None else start.prepare
                    prepared = prepare(sources, chosen, directory / DATA, progress)
                    notes = prepared.notes
                    run = Run(directory, task, prepared, {} if start is None else start.record)
                    run.begin(None if start is None else start.origin.network.state_dict())
                    open_learner(run, _placement(prepared.chosen.training, group), progress)  # may raise
        trainer = cls.resume(out, progress)
        trainer.notes = [*notes, *trainer.notes]
        return trainer

    @classmethod
    def resume(
        cls,
        path: Path,
        progress: Progress = ignore_progress,
        *,
        steps: int | None = None,
        passes: float | None = None,
        minutes: float | None = None,
    ) -> Trainer:
        """Continue from the last checkpoint of the run at `path`, or from its beginning if there is none.

        steps, passes, minutes: later limits of the whole training, with which a finished run continues. The learning
        rate then runs through a new cycle over the added part.
        Raises RunError if the checkpoint does not fit, CorpusError if the data has changed, ConfigError for limits of a
        run that is not finished, or that the training has already passed.
        """
        trainer = cls(Run.load(path), progress)
        if trainer.group.is_main:
            trainer.run.clean()
        if (path / CHECKPOINT).exists():
            trainer._restore(*trainer.run.read(CHECKPOINT))
        else:
            trainer._start()
            trainer.save()
        limits = {"steps": steps, "passes": passes, "minutes": minutes}
        if given := {name: limit for name, limit in limits.items() if limit is not None}:
            trainer._extend(given)
        return trainer

    def fit(self, *, early: bool = False) -> Iterator[Stepped | Evaluated]:
        """Train to the end, and yield an event for each step and evaluation; each evaluation writes a checkpoint.

        early: also evaluate after 1, 3, 10, 30 steps and so on up to the first evaluation. This only adds events and
        samples: it writes no checkpoint, keeps no weights, and does not count for the patience.
        Raises DivergedError if the loss or the gradient is not finite, TrainingError if training cannot continue for
        another reason; the last checkpoint is kept.
        """
        begun, since = self.seconds, time.perf_counter()
        learning, examples = 0.0, 0.0
        while not self._ended:
            before = time.perf_counter()
            progress = self._standing()
            learning_rate = self.learner.learning_rate(progress)
            loss, figures = self._learn(progress, learning_rate)
            now = time.perf_counter()
            self.step += 1
            self._agree(begun + now - since)
            learning, examples = learning + now - before, examples + loss.examples * self.group.count
            self.rate = examples / learning
            progress = self._progress()
            yield Stepped(self.step, min(progress, 1.0), figures, learning_rate, self.rate, self.seconds)
            if self._due(progress):
                yield self._evaluate(progress)
                self._agree(begun + time.perf_counter() - since)
                if progress < 1 <= self._progress():  # the time limit was reached during the evaluation
                    self.save()
            elif early and not self._evaluations and is_early(self.step):
                yield self._evaluated(self._held_out_score(), best=False)

    @property
    def parameters(self) -> int:
        """The number of weights."""
        return sum(parameter.numel() for parameter in self.network.parameters())

    @property
    def passes(self) -> float:
        """The number of passes over the training data so far."""
        return self.step / self.learner.steps_per_pass

    @property
    def trained(self) -> str:
        """How long the training was, in words."""
        return f"{counted(self.step, 'step')} ({_plain(self.passes)} passes) in {_plain(self.seconds / 60)} minutes"

    @property
    def further(self) -> str:
        """The arguments of `edgernn` that train a finished run further, and the meaning of N in them."""
        return f"{self.run.resume} --passes N, where N is above {_plain(self.passes)}"

    @property
    def stopped(self) -> bool:
        """Whether `fit` ended early because of `stop`."""
        return self._stops and not self.finished

    @property
    def finished(self) -> bool:
        """Whether training has reached a limit, or the allowed number of evaluations without an improvement."""
        return self._progress() >= 1 or self._stale == self.settings.patience

    def stop(self) -> None:
        """Make `fit` end after the present step, in all processes."""
        self._asks_to_stop = True
        self._stops = self._stops or self.group.count == 1  # several processes agree on it after a step

    def save(self) -> None:
        """Write a checkpoint for `resume`, between two events of `fit`; all processes must call this."""
        tensors = self._tensors()
        if self.group.is_main:
            self.run.write(CHECKPOINT, tensors, self._counters())
        self.group.wait()

    def score(self) -> Score:
        """Return the score of the best weights on all held-out data."""
        return self.learner.evaluate(self.run.network().to(self.group.device), whole=True)

    # One step

    def _learn(self, progress: float, learning_rate: float) -> tuple[Loss, dict[str, float]]:
        """Take one optimizer step; return the loss of this process, and the figures of all processes."""
        if (phase := self.learner.phase(progress)) != self.phase:
            self._enter(phase)
        self.network.train()
        loss = self.learner.loss(self.step, progress)
        names = list(loss.figures)
        total, *sums = self.group.total([loss.weight, *(loss.weight * loss.figures[name] for name in names)])
        if not total:
            raise TrainingError(f"the batch of step {self.step + 1} has no targets that count in the loss")
        figures = {name: value / total for name, value in zip(names, sums, strict=True)}
        self._check_finite("loss", figures[names[0]], f"at step {self.step + 1}")
        self.optimizer.zero_grad()
        self._scaled(loss, total).backward()
        self.group.average_gradients(self.optimizer.parameters)
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), self.settings.clip)
        self._check_finite("gradient", float(norm), f"at step {self.step + 1}")  # before any weight is updated
        self.optimizer.step(learning_rate)
        self.group.average_buffers(self.network)
        self._update_average()
        for name, value in figures.items():
            before, count = self._sums.get(name, (0.0, 0))
            self._sums[name] = (before + value, count + 1)
        return loss, figures

    def _scaled(self, loss: Loss, total: float) -> Tensor:
        """Return the loss, scaled so that the mean of all processes' gradients is the gradient of the whole batch."""
        share = loss.weight * self.group.count / total
        return loss.value if share == 1 else loss.value * share

    def _enter(self, phase: int) -> None:
        """Begin a phase with the averaged weights and a new optimizer."""
        if self.average is not self.network:
            self.network.load_state_dict(self.average.state_dict())
        self.phase = phase
        self.optimizer = self._new_optimizer()
        self._sums, self._stale = {}, 0

    def _new_optimizer(self) -> Optimizer:
        return Optimizer(self.network, self.learner.parameter_groups(self.phase), self.settings.learning_rate)

    @torch.no_grad()
    def _update_average(self) -> None:
        """Update the averaged weights."""
        if self.average is self.network:
            return
        part = 1 - min(self.learner.average_decay(self.phase), (1 + self.step) / (_WARM + self.step))
        torch._foreach_lerp_(list(self.average.parameters()), list(self.network.parameters()), part)
        for ours, theirs in zip(self.average.buffers(), self.network.buffers(), strict=True):
            ours.copy_(theirs)

    # Progress

    def _progress(self) -> float:
        """Return the fraction of training that is done, counted from the last extension if there is one."""
        last = self.run.extensions[-1:]
        begun = (last[0].step, last[0].seconds) if last else (0, 0.0)
        return self.settings.progress(self.step, self.seconds, self.learner.steps_per_pass, begun)

    def _standing(self) -> float:
        """Return the progress for the learner; in an extended training, earlier phases are not repeated."""
        progress, settled = self._progress(), self.learner.settled if self.run.extensions else 0.0
        return settled + (1 - settled) * progress

    def _extend(self, limits: Mapping[str, float]) -> None:
        """Extend a finished training up to `limits`; after early stopping, these may be the run's original limits."""
        given = " ".join(f"--{name} {limit:.15g}" for name, limit in limits.items())
        later = self.settings.but(**limits)
        same = all(getattr(later, name) == getattr(self.settings, name) for name in LIMITS)
        if same and self.finished == (self._progress() >= 1):
            return  # the command that extended the training was repeated
        if not self.finished:
            raise ConfigError(
                f"{given}: {self.run.path} has not come to its end, and only a finished run takes a later one: "
                f"finish it first with edgernn {self.run.resume}"
            )
        if later.progress(self.step, self.seconds, self.learner.steps_per_pass) >= 1:
            raise ConfigError(f"{given} is not beyond what {self.run.path} was trained for: {self.trained}")
        self.run = self.run.extended(
            Extension(self.step, self.seconds, **{name: getattr(later, name) for name in LIMITS})
        )
        if self.group.is_main:
            self.run.write_extensions()
        self.group.wait()
        self.settings = later
        self._evaluations, self._stale = 0, 0

    @property
    def _ended(self) -> bool:
        return self._stops or self.finished

    def _due(self, progress: float) -> bool:
        """Return whether an evaluation is due."""
        return progress >= (self._evaluations + 1) / self.settings.evaluations or progress >= 1

    def _agree(self, seconds: float) -> None:
        """Make all processes agree on whether to stop, and on the duration of the training."""
        stops, self.seconds = self.group.total([float(self._asks_to_stop), seconds if self.group.is_main else 0.0])
        self._stops = stops > 0

    # Evaluations

    def _evaluate(self, progress: float) -> Evaluated:
        score = self._held_out_score()
        figure = self.group.of_main(score.figures[self.task.metric])  # rounding could make processes disagree
        self._check_finite(self.task.metric, figure, "on the held-out data")
        best = self._better(figure, self.best)
        self._stale = 0 if best else self._stale + 1
        self.best = figure if best else self.best
        self._evaluations = math.floor(min(progress, 1.0) * self.settings.evaluations + 1e-9)
        if self.group.is_main:
            self._log(score)
            if best and not self._better(self._written, figure):  # better ones may precede a crash
                self._written = figure
                self.run.write(WEIGHTS, self.average.state_dict(), {"step": self.step, self.task.metric: figure})
        self._sums = {}
        event = self._evaluated(score, best=best)
        self.save()
        return event

    def _held_out_score(self) -> Score:
        """Return the score of the averaged network, in evaluation mode, on the held-out data."""
        self.average.eval()
        try:
            return self.learner.evaluate(self.average)
        except CheckFailedError:
            raise self._diverged("loss", "on the held-out data") from None

    def _evaluated(self, score: Score, *, best: bool) -> Evaluated:
        """Draw samples from the network that had `score`, and keep both in the run."""
        samples = self.learner.samples(self.average)
        if self.group.is_main:
            figures = {name: value for name, value in score.figures.items() if math.isfinite(value)}
            stage = Stage(self.step, self.passes, figures, str(score), samples)
            self.run.write_stages([each for each in self.run.stages() if each.step < self.step] + [stage])
        return Evaluated(self.step, min(self._progress(), 1.0), score, best, self.seconds, samples)

    def _log(self, score: Score) -> None:
        """Log the score's figures and the means over the steps since the last evaluation."""
        means = {f"train_{name}": total / count for name, (total, count) in self._sums.items()}
        line = {"step": self.step, "seconds": round(self.seconds, 3), **score.figures, **means}
        self.run.write_metrics([each for each in self.run.metrics() if each["step"] < self.step] + [line])

    def _better(self, figure: float, other: float) -> bool:
        return figure > other if self.task.higher_is_better else figure < other

    def _check_finite(self, what: str, figure: float, where: str) -> None:
        if not math.isfinite(figure):
            raise self._diverged(what, where)

    def _diverged(self, what: str, where: str) -> DivergedError:
        return DivergedError(
            f"the {what.replace('_', ' ')} is not finite {where}; the checkpoint before it is kept: "
            "train again with a smaller --learning-rate or --clip"
        )

    # Checkpoints

    def _tensors(self) -> dict[str, Tensor]:
        """Return all tensors of a checkpoint.

        Tensors that each process has separately, such as carried states and generators, are stacked: (processes, ...).
        """
        parts = {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.tensors(),
            "average": {} if self.average is self.network else self.average.state_dict(),
            "carried": {name: self.group.gather(tensor) for name, tensor in self.learner.carried().items()},
            "generator": {self.group.device.type: self.group.gather(find_generator(self.group.device).get_state())},
        }
        return {f"{part}.{name}": tensor.cpu() for part, each in parts.items() for name, tensor in each.items()}

    def _counters(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "seconds": self.seconds,
            "phase": self.phase,
            "evaluations": self._evaluations,
            "stale": self._stale,
            "sums": self._sums,
            "best": self.best if math.isfinite(self.best) else None,
        }

    def _start(self) -> None:
        """Load the initial weights, if the run starts from another one."""
        if self.run.extensions:
            raise RunError(
                f"{self.run.path / CHECKPOINT} is missing, and the training went on from it beyond its end: train again"
            )
        if not self.run.origin:
            return
        tensors, _ = self.run.read(START)
        check_tensors(tensors, dict(self.network.state_dict()), self.run.path / START)
        self.network.load_state_dict(tensors)
        if self.average is not self.network:
            self.average.load_state_dict(tensors)

    def _restore(self, tensors: dict[str, Tensor], about: dict[str, Any]) -> None:
        path = self.run.path / CHECKPOINT
        try:
            self._count_on(about)
        except (FormatError, ValueError) as error:
            raise RunError(f"{path} is damaged: {error}") from None
        self.optimizer = self._new_optimizer()
        expected = self._tensors()
        generators = {name: tensor for name, tensor in expected.items() if name.startswith("generator.")}
        if not generators.keys() & tensors.keys():  # the run began on another type of device, whose generator differs
            tensors = {name: t for name, t in tensors.items() if not name.startswith("generator.")} | generators
        for name in generators:
            if (processes := tensors[name].shape[:1].numel()) != self.group.count:
                raise RunError(
                    f"{path} was written by {counted(processes, 'process', 'processes')}: continue with as many"
                )
        check_tensors(tensors, expected, path)
        rank = self.group.rank
        try:
            find_generator(self.group.device).set_state(tensors[f"generator.{self.group.device.type}"][rank].clone())
        except (RuntimeError, ValueError) as error:
            raise RunError(f"{path} is damaged: {error}") from None
        self.network.load_state_dict(_strip_prefix("network.", tensors))
        if self.average is not self.network:
            self.average.load_state_dict(_strip_prefix("average.", tensors))
        self.optimizer.load(_strip_prefix("optimizer.", tensors))
        self.learner.restore({name: each[rank] for name, each in _strip_prefix("carried.", tensors).items()})
        if self.group.is_main:
            self.run.write_metrics([line for line in self.run.metrics() if line["step"] <= self.step])
            self.run.write_stages(stage for stage in self.run.stages() if stage.step <= self.step)

    def _count_on(self, about: dict[str, Any]) -> None:
        """Restore the values of `_counters`. Raises FormatError or ValueError for anything else."""
        about = records.record(about, "the checkpoint", set(self._counters()))
        self.step = records.integer(about["step"], "step")
        self.seconds = records.number(about["seconds"], "seconds")
        self.phase = records.integer(about["phase"], "phase")
        self._evaluations = records.integer(about["evaluations"], "evaluations")
        self._stale = records.integer(about["stale"], "stale")
        evaluated = self._evaluations > 0
        if self.run.extensions:
            begun = self.run.extensions[-1].step
            if self.step < begun:
                raise FormatError(f"it is of step {self.step}, and the training went on from step {begun}")
            if self.step == begun:  # no step beyond the original end has been taken yet
                self._evaluations, self._stale = 0, 0
        for name, pair in records.mapping(about["sums"], "sums").items():
            total, count = records.items(pair, name)
            self._sums[name] = (records.number(total, name), records.integer(count, name))
        if about["best"] is not None:
            self.best = records.number(about["best"], "best")
        elif evaluated:
            raise FormatError("it was written after an evaluation, and has no best figure")
        if about["best"] is not None and not (self.run.path / WEIGHTS).exists():
            raise FormatError(f"it was written after an evaluation, and {WEIGHTS} is missing: train again")
        if (self.run.path / WEIGHTS).exists():  # of this checkpoint, or of a later evaluation that was interrupted
            self._written = records.number(self.run.read(WEIGHTS)[1].get(self.task.metric), self.task.metric)


def _placement(settings: TrainingSettings, group: ProcessGroup) -> Placement:
    """Return the placement of this process. Raises ConfigError for an arithmetic that the device lacks."""
    return Placement(group.device, find_autocast(settings.autocast, group.device), group.rank, group.count)


def _plain(value: float) -> str:
    """Format a number with four significant digits, or as a whole number if it has more."""
    return f"{value:.4g}" if value < 1000 else f"{value:,.0f}"


def _strip_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return those of `tensors` whose names begin with `prefix`, with the prefix removed."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
