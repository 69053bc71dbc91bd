"""Trainings, exports and measurements of a comparison. Each is done once, and kept in its directory."""

from __future__ import annotations

import platform
import shutil
import tempfile
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, Self

import torch

from edgernn.cell_names import UserCell
from edgernn.comparison.plan import Contender, Plan, of_cells
from edgernn.comparison.report import Row, rows_of
from edgernn.comparison.results import RECORD, Artifact, Results, Size, Training
from edgernn.comparison.sizes import count_parameters, largest_state
from edgernn.engines import ENGINES
from edgernn.errors import (
    CheckFailedError,
    ConfigError,
    CorpusError,
    DivergedError,
    EngineError,
    ExportError,
    ExportWarning,
    MissingExtraError,
    RunError,
)
from edgernn.exporters import TARGETS, export
from edgernn.models.cells.user import load_cell
from edgernn.runtime import Model
from edgernn.runtime.benchmark import measure
from edgernn.tasks.language.task import LANGUAGE
from edgernn.tasks.score import Progress, Score
from edgernn.training import Run, Trainer
from edgernn.training.processes import refuse_torchrun
from edgernn.training.trainer import ignore_progress

__all__ = ["BUNDLES", "Comparison", "Export", "Fit"]

BUNDLES = "bundles"

Fit = Callable[[Trainer], Score]  # trains to the end, and returns the score of the best weights on all held-out data


class Export(NamedTuple):
    """One export that is part of a comparison: of which contender, for which target and precision."""

    name: str
    target: str
    precision: str

    def __str__(self) -> str:
        return " ".join(self)


class Comparison:
    """A comparison of cells and its directory, which holds runs, bundles, and what was measured of them.

    left_out: sentences about the exports that `export` could not make.
    """

    def __init__(self, path: Path, plan: Plan, results: Results) -> None:
        self.path, self.plan, self.results = path, plan, results
        self.left_out: list[str] = []

    def __repr__(self) -> str:
        return f"<Comparison {self.path}: {', '.join(each.name for each in self.plan.contenders)}>"

    @classmethod
    def open(cls, path: Path, plan: Plan, progress: Progress = ignore_progress) -> Self:
        """Begin the comparison `plan` at `path`, or continue the one that is there.

        progress: called while the text is read. Raises ConfigError, CorpusError or OutputExistsError for a plan that is
        impossible, or another than that of the comparison at `path`; in that case nothing is written. Raises
        ConfigError among several processes of torchrun.
        """
        refuse_torchrun("a comparison (edgernn compare) runs in one process")
        _check_targets(plan)
        cells = {each.name: _loaded(each.cell) for each in plan.contenders}
        if Results.check_place(path):
            results = Results.read(path)
            plan.check_same(results.plan, path)
            if results.sizes.keys() != cells.keys():
                raise RunError(
                    f"{path / RECORD} is damaged: it has other cells than its plan; choose another directory (--out)"
                )
            if changed := [name for name, cell in cells.items() if cell != results.sizes[name].cell]:
                raise ConfigError(
                    f"the file of {changed[0]} has changed since {path} was begun: choose another directory (--out)"
                )
            return cls(path, plan, results)
        sizes, digest = _sizes(plan, cells, progress)
        comparison = cls(path, plan, Results(plan.to_json(), digest, sizes))
        path.mkdir(parents=True, exist_ok=True)
        comparison._write()
        return comparison

    @property
    def trainings(self) -> list[tuple[Contender, int]]:
        """All trainings, each a contender and a seed: every contender is trained once before one is trained twice."""
        return [(each, seed) for seed in range(self.plan.seeds) for each in self.plan.contenders]

    @property
    def untrained(self) -> list[tuple[Contender, int]]:
        """The trainings that have not ended."""
        trainings = self.results.trainings
        return [(each, seed) for each, seed in self.trainings if not trainings.get((each.name, seed), Training()).ended]

    def train(self, contender: Contender, seed: int, fit: Fit, progress: Progress = ignore_progress) -> Training:
        """Train a contender, or continue its training, and return what was measured.

        A training that diverged is a result too. Whatever ends `fit`, the steps up to the last checkpoint are kept.
        Raises CorpusError for a text that has changed since the comparison was begun, and what `Trainer.begin` raises.
        """
        key = contender.name, seed
        trainer = self._trainer(contender, seed, progress)
        begun = trainer.step
        training = replace(self.results.trainings.get(key, Training()), machine=_machine(trainer))
        try:
            training = replace(training, loss=fit(trainer).figures[LANGUAGE.metric])
        except (DivergedError, CheckFailedError) as error:
            training = replace(training, diverged=str(error))
        finally:
            training = replace(training, steps=trainer.step, seconds=trainer.seconds)
            training = training.measure(trainer.step - begun, trainer.rate)
            self.results.trainings[key] = training
            self._write()
        return training

    def export(self, show: Callable[[str], None] = lambda what: None) -> None:
        """Export the first training of each contender that ended well, unless that was done already.

        What cannot be exported is left out, and tried again by the next call: a target whose packages are missing, or
        one network that a target refuses. show: called with what is exported next.
        """
        missing: dict[str, str] = {}
        for one in self._exports():
            if one.target in missing or one in self.results.artifacts:
                continue
            show(str(one))
            try:
                self.results.artifacts[one] = self._export(one)
            except MissingExtraError as error:
                missing[one.target] = f"{one.target} is left out: {error}"
            except (CheckFailedError, EngineError, ExportError) as error:
                self.left_out.append(f"{one} is left out: {error}")
            self._write()
        self.left_out += missing.values()

    def measure(self, rounds: int = 15) -> None:
        """Measure the step times of all exported networks in turns, unless all are measured already.

        Libraries that are shared by the process run on one thread meanwhile.
        """
        artifacts = self.results.artifacts
        if all(each.micros is not None for each in artifacts.values()):
            return
        models = {" ".join(key): Model.load(self.path / BUNDLES / "-".join(key), ENGINES[key[1]]) for key in artifacts}
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            times = measure(models, rounds=rounds, batches=(1,))
        finally:
            torch.set_num_threads(threads)
        where = f"{_processor()}, one thread"
        for key, artifact in artifacts.items():
            artifacts[key] = replace(artifact, micros=times[" ".join(key)].one.median_us, machine=where)
        self._write()

    @property
    def rows(self) -> list[Row]:
        """What was found out, one row for each contender, the one with the lowest loss first."""
        return rows_of(self.plan, self.results)

    def _exports(self) -> list[Export]:
        """Return all exports of contenders of which a training has ended well."""
        return [
            Export(each.name, target, precision)
            for each in self.plan.contenders
            if self._representative(each.name) is not None
            for target in self.plan.targets
            for precision in self.plan.precisions
            if precision in TARGETS[target].precisions
        ]

    def _export(self, one: Export) -> Artifact:
        run = self._representative(one.name)
        assert run is not None, "only these are exported"
        source, out = Run.load(run).source(), self.path / BUNDLES / "-".join(one)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExportWarning)
            made = export(source, out, target=one.target, precision=one.precision, overwrite=True)
        return Artifact(made.bytes)

    def _trainer(self, contender: Contender, seed: int, progress: Progress) -> Trainer:
        path = self._run(contender.name, seed)
        if path.exists():
            return Trainer.resume(path, progress)
        size = self.results.sizes[contender.name]
        settings = {**self.plan.settings, **_cell(contender, size.cell), "hidden": size.hidden, "seed": seed}
        trainer = Trainer.begin(
            LANGUAGE, self.plan.sources, path, preset=self.plan.preset, progress=progress, **settings
        )
        if trainer.run.prepared.record["sha256"] != self.results.sha256:
            shutil.rmtree(path)
            names = ", ".join(self.plan.sources)
            raise CorpusError(f"{names} has changed since {self.path} was begun: choose another directory (--out)")
        return trainer

    def _run(self, name: str, seed: int) -> Path:
        return self.path / f"{name}-{seed}"

    def _representative(self, name: str) -> Path | None:
        """The run of the first training of a contender that ended well, which is exported."""
        seeds = range(self.plan.seeds)
        well = (s for s in seeds if self.results.trainings.get((name, s), Training()).loss is not None)
        return next((self._run(name, seed) for seed in well), None)

    def _write(self) -> None:
        self.results.write(self.path, [row.to_json() for row in self.rows])


def _check_targets(plan: Plan) -> None:
    """Raise ConfigError for a target that does not exist, or a precision that none of the targets has."""
    for target in plan.targets:
        if target not in TARGETS:
            raise ConfigError(f"--targets {target} is not one of {', '.join(TARGETS)}")
    known = {each: None for target in plan.targets for each in TARGETS[target].precisions}
    for precision in plan.precisions:
        if precision not in known:
            raise ConfigError(f"--precisions {precision} is not one of {', '.join(known)}")


def _loaded(cell: str) -> str:
    """Return the name of a cell in the settings of runs, for which the file of a user's cell is executed."""
    try:
        return cell if UserCell.parse(cell) is None else load_cell(cell)
    except ConfigError as error:
        raise of_cells(error) from None


def _cell(contender: Contender, cell: str) -> dict[str, Any]:
    """Return the settings of a contender's cell, by field name. cell: its name in the settings of runs."""
    return {"cell": cell, **({"layer_norm": True} if contender.layer_norm else {})}


def _sizes(plan: Plan, cells: Mapping[str, str], progress: Progress) -> tuple[dict[str, Size], str]:
    """Return the size of each contender by its name, and the digest of the text.

    cells: by the name of the contender, as the settings of runs have them. Begins a training that is thrown away, which
    raises what the trainings of the comparison would raise.
    """
    with tempfile.TemporaryDirectory(prefix="edgernn-") as folder:
        out = Path(folder) / "run"
        trial = Trainer.begin(LANGUAGE, plan.sources, out, preset=plan.preset, progress=progress, **plan.settings)
        prepared, default = trial.run.prepared, trial.parameters
    wanted = default if plan.parameters is None else plan.parameters
    sizes = {}
    for each in plan.contenders:
        settings = _cell(each, cells[each.name])
        try:
            hidden = largest_state(prepared, wanted, **settings)
        except ConfigError as error:
            raise ConfigError(f"{each.name}: {error}") from None
        sizes[each.name] = Size(cells[each.name], hidden, count_parameters(prepared, hidden, **settings))
    return sizes, str(prepared.record["sha256"])


def _machine(trainer: Trainer) -> str:
    """Where a training runs, in words."""
    if trainer.group.device.type == "cuda":
        return torch.cuda.get_device_name(trainer.group.device)
    threads = torch.get_num_threads()
    return f"{_processor()}, {'one thread' if threads == 1 else f'{threads} threads'}"


def _processor() -> str:
    """The name of the processor of this machine, as its system gives it."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if Path("/proc/cpuinfo").exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()
