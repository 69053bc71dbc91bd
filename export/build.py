"""Build and verify the artifacts that this repository ships: one for each bundle of each recipe.

    python export/build.py                       every recipe, into build/
    python export/build.py python-chars --out X  one of them, into X/

A recipe that fails does not hide the others; the exit status is 1 if any failed.
"""

from __future__ import annotations

import argparse
import sys
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgernn.errors import ConfigError, EdgeRNNError
from edgernn.exporters import Exported, Source, export, verify
from edgernn.training import Evaluated, Trainer

RECIPES = Path(__file__).parent / "recipes"
_REQUIRED = {"task", "corpus", "bundles"}
_OPTIONAL = {"held_out", "model", "training"}


@dataclass(frozen=True)
class Recipe:
    """How one model is trained, and the bundles that it is shipped as."""

    name: str
    corpus: str
    held_out: str
    model: dict[str, Any]
    training: dict[str, Any]
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
        if any(
            not isinstance(bundle, dict) or bundle.keys() != {"target", "precision"} for bundle in values["bundles"]
        ):
            raise ConfigError(f"{path}: each of its bundles needs a target and a precision, and nothing else")
        if values["task"] != "language":
            raise ConfigError(f"{path}: there is no task {values['task']!r}")
        return cls(
            path.stem,
            values["corpus"],
            values.get("held_out", "0.1"),
            values.get("model", {}),
            values.get("training", {}),
            values["bundles"],
        )

    def build(self, out: Path) -> Iterator[Exported]:
        """Train the model, then export and verify each bundle."""
        run = out / "runs" / self.name
        trainer = Trainer.begin(
            [self.corpus], run, self.held_out, model=self.model, training=self.training, overwrite=True
        )
        for event in trainer.fit():
            if isinstance(event, Evaluated):
                say(f"{self.name}: {event.progress:4.0%}, {event.score.nats_per_char:.4f} nats per character")
        source = Source.load(run)
        for bundle in self.bundles:
            target, precision = bundle["target"], bundle["precision"]
            path = out / "bundles" / f"{self.name}-{target}-{precision}"
            exported = export(source, path, target=target, precision=precision, overwrite=True)
            verify(exported.path, source)
            yield exported


def main(arguments: Sequence[str] | None = None) -> int:
    """Build what was asked for: 0 when all of it was built and verified, 1 otherwise."""
    parser = argparse.ArgumentParser(description="Build and verify the artifacts that this repository ships.")
    parser.add_argument("recipes", nargs="*", help="names, or paths of .toml files; all of export/recipes by default")
    parser.add_argument("--out", type=Path, default=Path("build"), help="where runs/ and bundles/ go")
    options = parser.parse_args(arguments)
    paths = [_path(name) for name in options.recipes] or sorted(RECIPES.glob("*.toml"))
    rows: list[str] = []
    failed = 0
    for path in paths:
        try:
            rows.extend(map(_row, Recipe.read(path).build(options.out)))
        except (EdgeRNNError, OSError) as error:
            failed += 1
            say(f"{path.stem}: {error}")
            rows.append(f"{path.stem}  FAILED")
    print("\n".join(rows))
    return 1 if failed else 0


def _row(built: Exported) -> str:
    return f"{built.path}  {built.bytes:,} bytes  outputs within {built.parity.max_abs_diff_outputs:.1e}"


def say(text: str) -> None:
    """Report progress on stderr."""
    print(text, file=sys.stderr, flush=True)


def _path(name: str) -> Path:
    return Path(name) if name.endswith(".toml") else RECIPES / f"{name}.toml"


if __name__ == "__main__":
    sys.exit(main())
