"""A search: candidates in generations until the minutes are over, then a longer comparison of the best."""

from __future__ import annotations

import math
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgernn.errors import ConfigError, counted
from edgernn.search.canonical import canonical, faults
from edgernn.search.directory import DATA, Comparison, Directory, State
from edgernn.search.evolution import Candidate, Trial, limits, next_formulas, ranked
from edgernn.search.formula import Formula, parse
from edgernn.search.known import GRU, KNOWN, LSTM
from edgernn.search.report import Entry, Report
from edgernn.search.settings import CHANGEABLE, SearchSettings
from edgernn.search.source import cell_source
from edgernn.search.trial import RUNGS, Job, fitted
from edgernn.search.workers import Run, workers
from edgernn.tasks.language.learner import LanguageLearner
from edgernn.tasks.language.settings import LanguageData
from edgernn.tasks.learner import Prepared
from edgernn.tasks.score import Progress
from edgernn.training.processes import refuse_torchrun
from edgernn.training.trainer import ignore_progress

__all__ = ["Compared", "Search", "Tried"]

_SEARCHED = 0.6  # the part of the minutes in which candidates are tried
_USED = 0.85  # the part of what remains that the comparison is planned to take
_SEEDS = 2  # of the comparison, if there is time for twice the steps of a candidate
_LONGEST = 40  # times as many steps as a candidate's are the most that a comparison has


@dataclass(frozen=True)
class Tried:
    """A candidate of the search came to its end. number: of the candidates so far. best: whether none is better."""

    candidate: Candidate
    number: int
    best: bool


@dataclass(frozen=True)
class Compared:
    """A training of the comparison came to its end. number: of them so far, of `total`."""

    name: str
    trial: Trial
    number: int
    total: int


class Search:
    """A search for formulas in a directory, which is continued if it was begun.

    notes: what the user should know about the corpus. stopped: whether `run` ended early because of `stop`.
    """

    def __init__(
        self,
        sources: Sequence[str],
        out: Path,
        settings: SearchSettings | None = None,
        data: LanguageData | None = None,
        progress: Progress = ignore_progress,
    ) -> None:
        """Read the corpus.

        Raises CorpusError for a corpus that is missing, unreadable or too short; ConfigError for a formula that is no
        cell, too few parameters, a directory that was begun with other settings or another corpus, or several processes
        of torchrun; OutputExistsError for a path at which something else is.
        """
        refuse_torchrun("a search (edgernn search) starts its own processes (--processes)")
        if not sources:
            raise ConfigError("edgernn search needs a CORPUS to train on")
        self.settings = SearchSettings() if settings is None else settings
        chosen = self.settings.chosen(LanguageData() if data is None else data)
        self._first = [*KNOWN.values(), *(_given(text) for text in self.settings.formula)]
        self.directory = Directory(out)
        self.stopped = False
        with tempfile.TemporaryDirectory(prefix="edgernn-") as folder:
            self._prepared = LanguageLearner.prepare(list(sources), chosen, Path(folder), progress)
            _check_parameters(self._prepared, self.settings.parameters)
            about = {**self.settings.to_json(), **chosen.data.to_json()}
            fixed = {name: value for name, value in about.items() if name not in CHANGEABLE}
            self.state = self.directory.begin(Path(folder), State(_plain(fixed), dict(self._prepared.record)))
        self.notes = list(self._prepared.notes)

    def __repr__(self) -> str:
        return f"<Search {self.directory.path}: {counted(len(self.state.candidates), 'candidate')}>"

    def run(self) -> Iterator[Tried | Compared]:
        """Search to the end, and yield an event for each candidate and each training of the comparison.

        What came to its end is written before its event. Raises TrainingError if a process ends.
        """
        with workers(
            self._prepared, self.directory.path / DATA, self.settings.parameters, self.settings.processes
        ) as run:
            if not self._ended:
                yield from self._search(run)
            if not self.stopped:
                yield from self._compare(run)
        if not self.stopped:
            self._write_report()

    def stop(self) -> None:
        """Make `run` end within a step; what came to its end is kept."""
        self.stopped = True

    @property
    def report(self) -> Report:
        """The result of a finished search."""
        comparison = self.state.comparison
        assert comparison is not None, "a search is reported when it is finished"
        entries = [
            Entry(name, formula, [trial for _, trial in comparison.trials if trial.formula == formula])
            for name, formula in comparison.formulas.items()
        ]
        outcomes = Counter(each.trial.outcome for each in self.state.candidates)
        return Report(self.settings, self.state.corpus, comparison, entries, outcomes, self.state.seconds)

    # Candidates

    @property
    def _ended(self) -> bool:
        """Whether no further candidate is to be tried."""
        return self.state.seconds >= 60 * self.settings.minutes * _SEARCHED or self._left <= 0

    @property
    def _left(self) -> float:
        """The number of candidates that may yet be tried."""
        most = self.settings.candidates
        return math.inf if most is None else most - len(self.state.candidates)

    def _search(self, run: Run) -> Iterator[Tried]:
        """Try candidates until the time is over. `seconds` counts the time of candidates that were not finished too."""
        since = time.monotonic() - self.state.seconds
        end = since + 60 * self.settings.minutes * _SEARCHED
        generation = max((each.generation for each in self.state.candidates), default=0)
        while not self.stopped and time.monotonic() < end and self._left > 0:
            before = [each for each in self.state.candidates if each.generation < generation]
            formulas = next_formulas(generation, self._first, before, self.settings.seed)
            if not formulas:
                break  # no change leads to anything new
            done = {each.place for each in self.state.candidates if each.generation == generation}
            places = [place for place in range(len(formulas)) if place not in done]
            places = places[: len(places) if self._left == math.inf else int(self._left)]
            allowed = limits(before, len(RUNGS))
            jobs = [Job(str(formulas[place]), self.settings.steps, self.settings.seed, allowed) for place in places]
            for number, trial in run(jobs, lambda: self.stopped or time.monotonic() >= end):
                self.state.seconds = round(time.monotonic() - since, 3)
                yield self._keep(Candidate(generation, places[number], trial))
            generation += 1
        self.state.seconds = round(time.monotonic() - since, 3)
        self.directory.write(self.state)

    def _keep(self, candidate: Candidate) -> Tried:
        best = ranked(self.state.candidates)[:1]
        self.state.candidates.append(candidate)
        self.state.candidates.sort(key=lambda each: (each.generation, each.place))
        self.state.comparison = None  # it was one of the best without this candidate
        self.directory.write_candidates(self.state.candidates)
        self.directory.write(self.state)
        loss = candidate.trial.loss
        better = loss is not None and (not best or loss < (best[0].trial.loss or math.inf))
        return Tried(candidate, len(self.state.candidates), better)

    # The comparison

    def _compare(self, run: Run) -> Iterator[Compared]:
        formulas, wanted = self._finalists(), self.settings.final_steps
        comparison = self.state.comparison
        if comparison is None or comparison.formulas != formulas or wanted not in (None, comparison.steps):
            comparison = self.state.comparison = self._plan(formulas)
            self.directory.write(self.state)
        done = {(seed, trial.formula) for seed, trial in comparison.trials}
        names = {formula: name for name, formula in comparison.formulas.items()}
        seeds = range(self.settings.seed + 1, self.settings.seed + 1 + comparison.seeds)
        jobs = [
            Job(formula, comparison.steps, seed, reports=True)
            for seed in seeds
            for formula in names
            if (seed, formula) not in done
        ]
        total = len(names) * comparison.seeds
        for number, trial in run(jobs, lambda: self.stopped):
            comparison.trials.append((jobs[number].seed, trial))
            comparison.trials.sort(key=lambda each: (each[0], list(names).index(each[1].formula)))
            self.directory.write(self.state)
            yield Compared(names[trial.formula], trial, len(comparison.trials), total)

    def _finalists(self) -> dict[str, str]:
        """The formulas to compare, by name: the best of the search, and the known cells beside which they are put."""
        known = {name: str(KNOWN[name]) for name in (LSTM, GRU)}
        best = [each.trial.formula for each in ranked(self.state.candidates)]
        new = [formula for formula in best if formula not in known.values()][: self.settings.best]
        return {f"best{number}": formula for number, formula in enumerate(new, start=1)} | known

    def _plan(self, formulas: Mapping[str, str]) -> Comparison:
        """Return a comparison of as many steps as the time allows."""
        settings = self.settings
        if settings.final_steps is not None:
            return Comparison(settings.final_steps, 1, dict(formulas))
        took = {each.trial.formula: each.trial.seconds / each.trial.steps for each in ranked(self.state.candidates)}
        left = _USED * 60 * settings.minutes * (1 - _SEARCHED) * settings.processes
        steps = int(left / sum(took.get(formula, math.inf) for formula in formulas.values()))
        seeds = _SEEDS if steps >= 2 * _SEEDS * settings.steps else 1
        return Comparison(min(max(steps // seeds, settings.steps), _LONGEST * settings.steps), seeds, dict(formulas))

    def _write_report(self) -> None:
        report = self.report
        cells = {
            f"{entry.name}.py": cell_source(parse(entry.formula), entry.name.capitalize(), report.origin(entry))
            for entry in report.entries
            if entry.name not in KNOWN
        }
        self.directory.write_report(report.markdown(), cells)


def _given(text: str) -> Formula:
    """Return the cell of a formula that a user gave. Raises ConfigError if it is none."""
    formula = canonical(parse(text))
    if fault := faults(formula):
        raise ConfigError(f"the formula {'; '.join(formula.lines)!r} is no cell: {fault}")
    return formula


def _check_parameters(prepared: Prepared, parameters: int) -> None:
    size, least = fitted(prepared, 0)
    if least > parameters:
        raise ConfigError(f"--parameters {parameters} is too few: with a state of {size} unit there are {least:,}")


def _plain(values: Mapping[str, object]) -> dict[str, object]:
    """Return settings as JSON gives them back."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
