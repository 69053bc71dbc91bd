"""Build and verify the artifacts that this repository ships: one for each bundle of each recipe.

    python export/build.py                       every recipe, into build/
    python export/build.py python-chars --out X  one of them, into X/

A recipe or bundle that fails does not hide the others; the exit status is 1 if any failed.
"""

from __future__ import annotations

import argparse
import sys
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Column, Table

from edgernn.cli.train import fit
from edgernn.errors import ConfigError, EdgeRNNError
from edgernn.exporters import Exported, export, verify
from edgernn.tasks import TASKS
from edgernn.training import Trainer

RECIPES = Path(__file__).parent / "recipes"
_REQUIRED = {"task", "sources", "bundles"}
_OPTIONAL = {"preset", "settings"}


@dataclass(frozen=True)
class Recipe:
    """How one model is trained, and the bundles that it is shipped as.

    sources, preset, settings: as `Trainer.begin` takes them.
    """

    name: str
    task: str
    sources: list[str]
    preset: str | None
    settings: dict[str, Any]
    bundles: list[dict[str, str]]

    @classmethod
    def read(cls, path: Path) -> Recipe:
        """Read a recipe. Raises ConfigError for one that does not say what to build."""
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, tomllib.TOMLDecodeError) as error:
            raise ConfigError(f"{path}: {error}") from None
        if wrong := sorted((_REQUIRED - values.keys()) | (values.keys() - _REQUIRED - _OPTIONAL)):
            raise ConfigError(f"{path}: {', '.join(wrong)} missing or unknown")
        if not isinstance(values.get("settings", {}), dict) or not isinstance(values["sources"], list):
            raise ConfigError(f"{path}: sources must be a list, and [settings] a table")
        if not isinstance(values["bundles"], list) or any(
            not isinstance(bundle, dict) or bundle.keys() != {"target", "precision"} for bundle in values["bundles"]
        ):
            raise ConfigError(f"{path}: each of its bundles needs a target and a precision, and nothing else")
        if values["task"] not in TASKS:
            raise ConfigError(f"{path}: the task {values['task']!r} is not one of {', '.join(TASKS)}")
        settings = values.get("settings", {})
        return cls(path.stem, values["task"], values["sources"], values.get("preset"), settings, values["bundles"])

    def build(self, out: Path) -> Iterator[Row]:
        """Train the model, then export and verify each bundle; one that fails does not hide the others."""
        task, path = TASKS[self.task], out / "runs" / self.name
        trainer = Trainer.begin(task, self.sources, path, preset=self.preset, overwrite=True, **self.settings)
        say(f"{self.name}: training {trainer.parameters:,} parameters -> {path}")
        score = fit(trainer)
        say(f"{self.name}: {score}, after {trainer.seconds:.0f} s")
        source = trainer.run.source()
        for bundle in self.bundles:
            target, precision = bundle["target"], bundle["precision"]
            path = out / "bundles" / f"{self.name}-{target}-{precision}"
            say(f"{self.name}: exporting {target} {precision} -> {path}")
            try:
                exported = export(source, path, target=target, precision=precision, overwrite=True)
                verify(exported.path, source)
            except (EdgeRNNError, OSError) as error:
                yield Row(path.name, failure=str(error))
            else:
                yield Row(path.name, exported)


@dataclass(frozen=True)
class Row:
    """What became of one bundle: what was exported, or why it was not."""

    name: str
    exported: Exported | None = None
    failure: str = ""

    def cells(self) -> tuple[str, ...]:
        """As the summary shows it."""
        if self.exported is None:
            return (self.name, "FAILED", "", "", "", "")
        parity = self.exported.parity
        loss = "" if parity.loss is None else f"{parity.loss.artifact - parity.loss.source:+.4f}"
        size = f"{self.exported.bytes:,}"
        seconds = f"{self.exported.seconds:.1f}"
        return (self.name, "verified", size, f"{parity.max_abs_diff_outputs:.1e}", loss, seconds)


def main(arguments: Sequence[str] | None = None) -> int:
    """Build what was asked for: 0 when all of it was built and verified, 1 otherwise."""
    parser = argparse.ArgumentParser(description="Build and verify the artifacts that this repository ships.")
    parser.add_argument("recipes", nargs="*", help="names, or paths of .toml files; all of export/recipes by default")
    parser.add_argument("--out", type=Path, default=Path("build"), help="where runs/ and bundles/ go")
    options = parser.parse_args(arguments)
    paths = [_path(name) for name in options.recipes] or sorted(RECIPES.glob("*.toml"))
    rows: list[Row] = []
    for path in paths:
        try:
            rows.extend(Recipe.read(path).build(options.out))
        except (EdgeRNNError, OSError) as error:
            rows.append(Row(path.stem, failure=str(error)))
    show(rows)
    return 1 if any(row.failure for row in rows) else 0


def show(rows: list[Row]) -> None:
    """Print the summary, and the reason of each failure."""
    table = Table(Column("bundle", no_wrap=True), "", "bytes", "within", "loss", "seconds", box=SIMPLE_HEAD)
    for column in table.columns[2:]:
        column.justify = "right"
    for row in rows:
        table.add_row(*row.cells())
    Console().print(table)
    for row in rows:
        if row.failure:
            say(f"{row.name}: {row.failure}")


def say(text: str) -> None:
    """Report progress on stderr."""
    print(text, file=sys.stderr, flush=True)


def _path(name: str) -> Path:
    return Path(name) if name.endswith(".toml") else RECIPES / f"{name}.toml"


if __name__ == "__main__":
    sys.exit(main())
