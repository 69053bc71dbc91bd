"""What a comparison compares, and how."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

from edgernn.cell_names import UserCell
from edgernn.comparison.settings import DIFFERING, MINUTES, ComparisonSettings
from edgernn.data.corpus import STDIN
from edgernn.errors import ConfigError
from edgernn.settings import declared_options, flag_of
from edgernn.tasks.language.task import LANGUAGE
from edgernn.tasks.settings import LIMITS, CellSettings

__all__ = ["Contender", "Plan", "of_cells"]


class Contender(NamedTuple):
    """A cell that is compared.

    name: in tables and names of files. cell: its name, or FILE.py:CLASS. layer_norm: whether it has layer normalisation
    even if the other cells have none.
    """

    name: str
    cell: str
    layer_norm: bool = False


@dataclass(frozen=True)
class Plan:
    """What is compared, and how. A comparison is continued only with an equal plan.

    sources: of the text. cells: as they were typed. preset: of language models. settings: those that all trainings
    share, by field name; they are complete.
    """

    sources: tuple[str, ...]
    cells: tuple[str, ...]
    seeds: int
    parameters: int | None
    targets: tuple[str, ...]
    precisions: tuple[str, ...]
    preset: str
    settings: Mapping[str, Any]

    @classmethod
    def of(
        cls, sources: Sequence[str], comparison: ComparisonSettings, preset: str | None = None, **options: Any
    ) -> Self:
        """Return the plan for the settings that are given.

        options: of language models and their training, by field name, except those in `DIFFERING`; a limit among them
        replaces the default limit. Raises ConfigError for a cell that does not exist, a list with an empty or repeated
        name, settings that are impossible, and a text that can be read only once.
        """
        for source in sources:
            if source == STDIN or (Path(source).exists() and not (Path(source).is_file() or Path(source).is_dir())):
                raise ConfigError(
                    f"{source} can be read only once, and each training reads the text: save it in a file"
                )
        limited = options if set(LIMITS) & options.keys() else {**options, "minutes": MINUTES}
        chosen = LANGUAGE.choose(sources, preset, **limited)
        parts = {type(part): part for part in (chosen.data, chosen.model, chosen.training)}
        declared = [each for each in declared_options(*parts).values() if each.field.name not in DIFFERING]
        plan = cls(
            tuple(sources),
            _listed("--cells", comparison.cells),
            comparison.seeds,
            comparison.parameters,
            _listed("--targets", comparison.targets),
            _listed("--precisions", comparison.precisions),
            LANGUAGE.preset_for(sources, options) if preset is None else preset,
            {each.field.name: getattr(parts[each.settings], each.field.name) for each in declared},
        )
        _refuse_repeated("--cells", [each.name for each in plan.contenders])
        return plan

    @property
    def contenders(self) -> tuple[Contender, ...]:
        """The cells. Raises ConfigError for one that does not exist."""
        return tuple(map(_contender, self.cells))

    @property
    def limits(self) -> str:
        """The limits of each training as options, such as "--minutes 4"."""
        values = ((name, self.settings[name]) for name in LIMITS)
        return " ".join(f"--{name} {value:.15g}" for name, value in values if value is not None)

    def to_json(self) -> dict[str, Any]:
        """Return the plan as plain JSON values: the sources, and the value of each option by its name."""
        return {
            "sources": list(self.sources),
            "cells": ",".join(self.cells),
            "seeds": self.seeds,
            "parameters": self.parameters,
            "targets": ",".join(self.targets),
            "precisions": ",".join(self.precisions),
            "preset": self.preset,
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


def _contender(text: str) -> Contender:
    """Return the contender of a text: CELL or CELL+ln. Raises ConfigError if there is no such cell."""
    cell = text.removesuffix(_NORMALISED)
    try:
        CellSettings(cell=cell)
    except ConfigError as error:
        raise of_cells(error) from None
    user = UserCell.parse(cell)
    name = cell if user is None else user.kind
    return Contender(f"{name}{_NORMALISED}" if cell != text else name, cell, layer_norm=cell != text)


def of_cells(error: ConfigError) -> ConfigError:
    """Return an error about the option for one cell as one about --cells."""
    flag = declared_options(CellSettings)["cell"].flag
    return ConfigError(re.sub(rf"{flag}\b(?!-)", f"{flag}s", str(error), count=1))


def _shown(value: Any) -> str:
    text = "not set" if value is None else ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


_NORMALISED = "+ln"  # after the name of a cell that has layer normalisation
_SHOWN = 80  # characters of a value in a message
