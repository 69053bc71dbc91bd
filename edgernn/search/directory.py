"""The directory of a search, in which everything is written atomically, so that it can be continued.

search.json        the settings, the record of the corpus, the minutes so far, and the comparison
candidates.jsonl   one line for each candidate
data/              the encoded corpus
cells/             the best formulas as cells: best1.py with the class Best1, and so on
search.md          the report
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgernn import records
from edgernn.atomic import replace_file
from edgernn.errors import ConfigError, EdgeRNNError, FormatError, OutputError, OutputExistsError, RunError
from edgernn.paths import identify
from edgernn.search.evolution import Candidate, Trial
from edgernn.settings import flag_of

__all__ = ["CELLS", "DATA", "REPORT", "Comparison", "Directory", "State"]

STATE, CANDIDATES, DATA, CELLS, REPORT = "search.json", "candidates.jsonl", "data", "cells", "search.md"
_FORMAT = 1


@dataclass
class Comparison:
    """The comparison of the best formulas with known cells: the steps and seeds of all, and the trials so far."""

    steps: int
    seeds: int
    formulas: dict[str, str]  # by name
    trials: list[tuple[int, Trial]] = field(default_factory=list)  # with the seed

    def to_json(self) -> dict[str, Any]:
        """Return the comparison as plain JSON values."""
        trials = [{"seed": seed, **trial.to_json()} for seed, trial in self.trials]
        return {"steps": self.steps, "seeds": self.seeds, "formulas": self.formulas, "trials": trials}

    @classmethod
    def from_json(cls, value: Any) -> Comparison:
        """Read what `to_json` wrote. Raises FormatError for anything else."""
        values = records.record(value, "the comparison", {"steps", "seeds", "formulas", "trials"})
        formulas = {
            name: records.text(each, name) for name, each in records.mapping(values["formulas"], "formulas").items()
        }
        trials = []
        for each in records.items(values["trials"], "trials"):
            trial = records.mapping(each, "a trial")
            trials.append((records.integer(trial.pop("seed", None), "seed"), Trial.from_json(trial)))
        if strangers := {trial.formula for _, trial in trials} - {*formulas.values()}:
            raise FormatError(f"the comparison has no formula {min(strangers)[:40]!r}, of which it has a trial")
        return cls(
            records.integer(values["steps"], "steps"),
            records.integer(values["seeds"], "seeds"),
            formulas,
            trials,
        )


@dataclass
class State:
    """What is known of a search. settings: those that cannot change. seconds: that the search of candidates took."""

    settings: Mapping[str, Any]
    corpus: Mapping[str, Any]
    seconds: float = 0.0
    comparison: Comparison | None = None
    candidates: list[Candidate] = field(default_factory=list)


class Directory:
    """Reads and writes the files of a search."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def begin(self, data: Path, state: State) -> State:
        """Return the state of the search at this path, which is `state` where nothing is.

        data: the encoded corpus, which is taken over. Raises OutputExistsError for something else at the path,
        ConfigError for a search with other settings or another corpus, RunError for one that is damaged.
        """
        if not (self.path / STATE).exists():
            if os.path.lexists(self.path) and not (self.path.is_dir() and not any(self.path.iterdir())):
                raise OutputExistsError(f"{self.path} is {identify(self.path).noun}: choose another name")
            self._create(data, state)
            return state
        found = self._read()
        for name, value in state.settings.items():
            if found.settings.get(name) != value:
                raise ConfigError(
                    f"{self.path} was begun with {flag_of(name)} {_shown(found.settings.get(name))}, not "
                    f"{_shown(value)}: give the same options, or another --out"
                )
        if found.corpus != state.corpus:
            raise ConfigError(
                f"{self.path} was begun with another text than {state.corpus['name']} is now: give that text, or "
                "another --out"
            )
        return found

    def write(self, state: State) -> None:
        """Write the state without the candidates."""
        comparison = None if state.comparison is None else state.comparison.to_json()
        values = {
            "format": _FORMAT,
            "settings": dict(state.settings),
            "corpus": dict(state.corpus),
            "seconds": state.seconds,
            "comparison": comparison,
        }
        self._replace(STATE, json.dumps(values, indent=2) + "\n")

    def write_candidates(self, candidates: Iterable[Candidate]) -> None:
        """Write one line for each candidate."""
        self._replace(CANDIDATES, "".join(json.dumps(each.to_json()) + "\n" for each in candidates))

    def write_report(self, text: str, cells: Mapping[str, str]) -> None:
        """Write the report and the cells, by file name; cells of an earlier comparison are removed."""
        try:
            (self.path / CELLS).mkdir(exist_ok=True)
            for path in (self.path / CELLS).glob("best*.py"):
                if path.name not in cells:
                    path.unlink()
        except OSError as error:
            raise self._unwritten(error) from None
        for name, source in cells.items():
            self._replace(f"{CELLS}/{name}", source)
        self._replace(REPORT, text)

    def _create(self, data: Path, state: State) -> None:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=self.path) as temporary:
                copied = shutil.copytree(data, Path(temporary) / DATA)
                copied.rename(self.path / DATA)
        except OSError as error:
            raise self._unwritten(error) from None
        self.write_candidates([])
        self.write(state)

    def _read(self) -> State:
        try:
            values = records.parse((self.path / STATE).read_bytes(), STATE)
            values = records.record(values, STATE, {"format", "settings", "corpus", "seconds", "comparison"})
            if values["format"] != _FORMAT:
                raise FormatError(f"it has the format {values['format']!r}, and this edgernn reads format {_FORMAT}")
            lines = (self.path / CANDIDATES).read_bytes().splitlines()
            comparison = values["comparison"]
            return State(
                records.mapping(values["settings"], "settings"),
                records.mapping(values["corpus"], "corpus"),
                records.number(values["seconds"], "seconds"),
                None if comparison is None else Comparison.from_json(comparison),
                [Candidate.from_json(records.parse(line, CANDIDATES)) for line in lines],
            )
        except OSError as error:
            raise RunError(f"{error.filename} cannot be read: {error.strerror}") from None
        except EdgeRNNError as error:
            raise RunError(f"{self.path} is damaged: {error}") from None

    def _replace(self, name: str, text: str) -> None:
        try:
            replace_file(self.path / name, text.encode())
        except OSError as error:
            raise self._unwritten(error) from None

    def _unwritten(self, error: OSError) -> OutputError:
        return OutputError(f"{self.path} cannot be written: {error.strerror or error}")


def _shown(value: Any) -> str:
    return "nothing" if value in (None, [], ()) else str(value)[:60]
