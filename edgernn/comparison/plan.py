"""What a comparison compares, and how."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

from edgernn.comparison.settings import SHARED, ComparedModel, ComparedTraining, ComparisonSettings
from edgernn.data.corpus import STDIN
from edgernn.errors import ConfigError
from edgernn.settings import Settings, declared_options, flag_of
from edgernn.tasks.language.settings import LanguageConfig, LanguageData

__all__ = ["Contender", "Plan"]


class Contender(NamedTuple):
    """A cell that is compared. name: in tables and names of files. cell: its name in the settings of a network."""

    name: str
    cell: str


@dataclass(frozen=True)
class Plan:
    """What is compared, and how. A comparison is continued only with an equal plan.

    sources: of the text. settings: of all networks and trainings, by field name; they are complete.
    """

    sources: tuple[str, ...]
    contenders: tuple[Contender, ...]
    seeds: int
    parameters: int | None
    targets: tuple[str, ...]
    precisions: tuple[str, ...]
    settings: Mapping[str, Any]

    @classmethod
    def of(cls, sources: Sequence[str], comparison: ComparisonSettings, **options: Any) -> Self:
        """Return the plan for the settings that are given.

        options: of networks and trainings, by field name; a limit among them replaces the default limit. Raises
        ConfigError for a cell that does not exist, a list with an empty or repeated name, settings that are impossible,
        and a text that can be read only once.
        """
        for source in sources:
            if source == STDIN or (Path(source).exists() and not (Path(source).is_file() or Path(source).is_dir())):
                raise ConfigError(
                    f"{source} can be read only once, and each training reads the text: save it in a file"
                )
        contenders = tuple(map(_contender, _listed("--cells", comparison.cells)))
        _refuse_repeated("--cells", [each.name for each in contenders])
        return cls(
            tuple(sources),
            contenders,
            comparison.seeds,
            comparison.parameters,
            _listed("--targets", comparison.targets),
            _listed("--precisions", comparison.precisions),
            _complete(options),
        )

    @property
    def limits(self) -> str:
        """The limits of each training as options, such as "--minutes 4"."""
        values = ((name, self.settings[name]) for name in ("steps", "passes", "minutes"))
        return " ".join(f"--{name} {value:.15g}" for name, value in values if value is not None)

    def to_json(self) -> dict[str, Any]:
        """Return the plan as plain JSON values: the sources, and the value of each option by its name."""
        return {
            "sources": list(self.sources),
            "cells": ",".join(each.cell for each in self.contenders),
            "seeds": self.seeds,
            "parameters": self.parameters,
            "targets": ",".join(self.targets),
            "precisions": ",".join(self.precisions),
            **self.settings,
        }

    def check_same(self, recorded: Mapping[str, Any], out: Path) -> None:
        """Raise ConfigError unless `recorded`, which `to_json` returned, is this plan. out: where it was recorded."""
        now = self.to_json()
        for name in (*now, *recorded):
            if now.get(name) != recorded.get(name):
                what = "the corpus" if name == "sources" else flag_of(name)
                before, after = (_shown(values.get(name)) for values in (recorded, now))
                raise ConfigError(
                    f"{what} was {before} when {out} was begun, and is {after} now: "
                    "give the same options, or choose another directory (--out)"
                )


def _complete(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return all settings that trainings share, by field name. Raises ConfigError for an impossible value."""
    data, model, training = ({name: options[name] for name in _fields(kind) if name in options} for kind in SHARED)
    parts: list[Settings] = [LanguageData(**data), ComparedModel(**model), ComparedTraining.of(training)]
    return {name: getattr(part, name) for part in parts for name in _fields(type(part))}


def _fields(kind: type[Settings]) -> list[str]:
    return [declared.field.name for declared in declared_options(kind).values()]


def _listed(flag: str, text: str) -> tuple[str, ...]:
    """Return names that are separated by commas. Raises ConfigError for an empty or repeated one."""
    names = tuple(name.strip() for name in text.split(","))
    if "" in names:
        raise ConfigError(f"{flag} {text[:80]!r} has an empty name: give names that are separated by commas")
    _refuse_repeated(flag, names)
    return names


def _refuse_repeated(flag: str, names: Sequence[str]) -> None:
    if repeated := next((name for name in names if names.count(name) > 1), None):
        raise ConfigError(f"{flag} names {repeated} twice")


def _contender(cell: str) -> Contender:
    """Return the contender that is called `cell`, or FILE.py:CLASS. Raises ConfigError if it does not exist."""
    try:
        LanguageConfig(cell=cell)
    except ConfigError as error:
        flag = declared_options(LanguageConfig)["cell"].flag
        raise ConfigError(str(error).replace(flag, f"{flag}s", 1)) from None
    return Contender(cell.rpartition(":")[2], cell)


def _shown(value: Any) -> str:
    text = "not set" if value is None else ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


_SHOWN = 80  # characters of a value in a message
