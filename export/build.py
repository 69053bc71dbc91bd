"""Train the models of the recipes in `export/recipes/`, and export and verify their bundles.

    python export/build.py                       build all recipes into build/
    python export/build.py python-chars --out X  build one recipe into X/

If a recipe or a bundle fails, the others are still built. The exit status is 1 if any failed.
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
    """How one model is trained, and the bundles that it is exported to.

    sources, preset, settings: arguments of `Trainer.begin`. bundles: a target and a precision for each bundle.
    """

    name: str
    task: str
    sources: list[str]
    preset: str | None
    settings: dict[str, Any]
    bundles: list[dict[str, str]]

    @classmethod
    def read(cls, path: Path) -> Recipe:
        """Read a recipe. Raises ConfigError if the file is not a valid recipe."""
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, tomllib.TOMLDecodeError) as error:
            raise ConfigError(f"{path}: {error}") from None
        if wrong := sorted((_REQUIRED - values.keys()) | (values.keys() - _REQUIRED - _OPTIONAL)):
            raise ConfigError(f"{path}: missing or unknown keys: {', '.join(wrong)}")
        if not isinstance(values.get("settings", {}), dict) or not isinstance(values["sources"], list):
            raise ConfigError(f"{path}: sources must be a list, and [settings] a table")
        if not isinstance(values["bundles"], list) or any(
            not isinstance(bundle, dict) or bundle.keys() != {"target", "precision"} for bundle in values["bundles"]
        ):
            raise ConfigError(f"{path}: each of [[bundles]] must have a target and a precision, and nothing else")
        if values["task"] not in TASKS:
            raise ConfigError(f"{path}: the task {values['task']!r} is not one of {', '.join(TASKS)}")
        settings = values.get("settings", {})
        return cls(path.stem, values["task"], values["sources"], values.get("preset"), settings, values["bundles"])

    def build(self, out: Path) -> Iterator[Row]:
        """Train the model, then export and verify each bundle. A failure is a row, and the next bundle follows."""
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
    """The outcome for one bundle: the export, or the reason of the failure."""

    name: str
    exported: Exported | None = None
    failure: str = ""

    def cells(self) -> tuple[str, ...]:
        """The cells of its row in the summary."""
        if self.exported is None:
            return (self.name, "FAILED", "", "", "", "")
        parity = self.exported.parity
        loss = "" if parity.loss is None else f"{parity.loss.artifact - parity.loss.source:+.4f}"
        size = f"{self.exported.bytes:,}"
        seconds = f"{self.exported.seconds:.1f}"
        return (self.name, "verified", size, f"{parity.max_abs_diff_outputs:.1e}", loss, seconds)


def main(arguments: Sequence[str] | None = None) -> int:
    """Build the recipes that `arguments` name. Returns 0 if all bundles were built and verified, and 1 otherwise."""
    parser = argparse.ArgumentParser(description="Train the models of recipes, and export and verify their bundles.")
    parser.add_argument(
        "recipes", nargs="*", help="names of recipes, or paths of .toml files; default: all of export/recipes"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("build"), help="the directory in which runs/ and bundles/ are written"
    )
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
    """Print the summary table, and the reason of each failure."""
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
