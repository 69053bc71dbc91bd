"""What a comparison has measured so far, and the file that keeps it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import edgernn
from edgernn import records
from edgernn.atomic import replace_file
from edgernn.errors import FormatError, OutputExistsError, RunError

__all__ = ["RECORD", "Artifact", "Results", "Size", "Training"]

FORMAT = 1
RECORD = "compare.json"
_KEYS = {"format", "edgernn", "plan", "sha256", "sizes", "trainings", "artifacts"}


@dataclass(frozen=True)
class Size:
    """The size with which a cell is compared.

    cell: its name in the settings of runs, which has the digest of a file of the user. hidden: the size of the state.
    parameters: the number that the network then has.
    """

    cell: str
    hidden: int
    parameters: int

    def __post_init__(self) -> None:
        """Raise FormatError for a value of another type."""
        records.text(self.cell, "cell")
        records.integer(self.hidden, "hidden")
        records.integer(self.parameters, "parameters")


@dataclass(frozen=True)
class Training:
    """One training, so far.

    loss: the task's metric of the best weights on the whole held-out text, once training has ended. diverged: why it
    ended without a loss, or "". rate: characters per second without evaluations, the mean over `measured` steps.
    machine: where it was trained last.
    """

    steps: int = 0
    seconds: float = 0.0
    rate: float = 0.0
    measured: int = 0
    machine: str = ""
    loss: float | None = None
    diverged: str = ""

    def __post_init__(self) -> None:
        """Raise FormatError for a value of another type."""
        for name in ("steps", "measured"):
            records.integer(getattr(self, name), name)
        for name in ("seconds", "rate", *(["loss"] if self.loss is not None else [])):
            records.number(getattr(self, name), name)
        for name in ("machine", "diverged"):
            records.text(getattr(self, name), name)

    @property
    def ended(self) -> bool:
        """Whether nothing is left to train."""
        return self.loss is not None or bool(self.diverged)

    def measure(self, steps: int, rate: float) -> Self:
        """Return the training with the rate of `steps` further steps."""
        measured = self.measured + steps
        if not steps or not rate:
            return self
        times = (self.measured / self.rate if self.rate else 0.0) + steps / rate
        return replace(self, measured=measured, rate=measured / times)


@dataclass(frozen=True)
class Artifact:
    """One exported network.

    bytes: of its graph files. micros: the median time of a step in microseconds, once it is measured. machine: where it
    was measured.
    """

    bytes: int
    micros: float | None = None
    machine: str = ""

    def __post_init__(self) -> None:
        """Raise FormatError for a value of another type."""
        records.integer(self.bytes, "bytes")
        if self.micros is not None:
            records.number(self.micros, "micros")
        records.text(self.machine, "machine")


@dataclass
class Results:
    """What was measured so far.

    plan: as `Plan.to_json` returns it. sha256: of the corpus. sizes: by the name of the contender. trainings: by the
    name of the contender and the seed. artifacts: by the name of the contender, target and precision.
    """

    plan: Mapping[str, Any]
    sha256: str
    sizes: dict[str, Size]
    trainings: dict[tuple[str, int], Training] = field(default_factory=dict)
    artifacts: dict[tuple[str, str, str], Artifact] = field(default_factory=dict)

    @staticmethod
    def check_place(out: Path) -> bool:
        """Return whether there is a comparison at `out`; if not, a new one may be written there.

        Raises OutputExistsError for anything else than a comparison or an empty directory.
        """
        if (out / RECORD).is_file():
            return True
        if out.is_symlink() or (out.exists() and not out.is_dir()) or (out.is_dir() and any(out.iterdir())):
            raise OutputExistsError(
                f"{out} exists and is not a comparison, for it has no {RECORD}: choose another directory (--out)"
            )
        return False

    @classmethod
    def read(cls, out: Path) -> Self:
        """Read what was measured so far. Raises RunError for a damaged file."""
        path = out / RECORD
        try:
            values = records.mapping(records.parse(path.read_bytes(), RECORD), RECORD)
            if values.get("format") != FORMAT:
                raise FormatError(f"it has not the format {FORMAT} of this edgernn")
            values = records.record(values, RECORD, _KEYS, {"rows"})
            sizes = records.mapping(values["sizes"], "sizes")
            return cls(
                records.mapping(values["plan"], "plan"),
                records.text(values["sha256"], "sha256"),
                {name: records.construct(Size, each, f"the size of {name}") for name, each in sizes.items()},
                _read_trainings(values["trainings"]),
                _read_artifacts(values["artifacts"]),
            )
        except FormatError as error:
            raise RunError(f"{path} is damaged: {error}; choose another directory (--out)") from None
        except OSError as error:
            raise RunError(f"{path} cannot be read: {error.strerror}") from None

    def write(self, out: Path, rows: list[dict[str, Any]]) -> None:
        """Replace the file. rows: a summary for other programs, which is not read again."""
        values = {
            "format": FORMAT,
            "edgernn": edgernn.__version__,
            "plan": dict(self.plan),
            "sha256": self.sha256,
            "sizes": {name: asdict(size) for name, size in self.sizes.items()},
            "trainings": [
                {"cell": cell, "seed": seed, **asdict(each)} for (cell, seed), each in self.trainings.items()
            ],
            "artifacts": [
                {"cell": cell, "target": target, "precision": precision, **asdict(each)}
                for (cell, target, precision), each in self.artifacts.items()
            ],
            "rows": rows,
        }
        replace_file(out / RECORD, (json.dumps(values, indent=2) + "\n").encode())


def _read_trainings(value: Any) -> dict[tuple[str, int], Training]:
    found = {}
    for each in records.items(value, "trainings"):
        values = records.mapping(each, "a training")
        key = records.text(values.pop("cell", None), "cell"), records.integer(values.pop("seed", None), "seed")
        found[key] = records.construct(Training, values, "a training")
    return found


def _read_artifacts(value: Any) -> dict[tuple[str, str, str], Artifact]:
    found = {}
    for each in records.items(value, "artifacts"):
        values = records.mapping(each, "an artifact")
        cell, target, precision = (records.text(values.pop(k, None), k) for k in ("cell", "target", "precision"))
        found[cell, target, precision] = records.construct(Artifact, values, "an artifact")
    return found
