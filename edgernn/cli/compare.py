"""`edgernn compare`: train several cells with about the same number of parameters, and compare them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgernn.cli.console import Json, log, progress, require_extra, result, starting, waiting
from edgernn.cli.options import Given, command_from, default_text
from edgernn.cli.train import fit, shown_default
from edgernn.comparison.settings import DIFFERING, MINUTES, ComparisonSettings
from edgernn.settings import Declared
from edgernn.tasks.language.task import LANGUAGE
from edgernn.tasks.settings import LIMITS

if TYPE_CHECKING:
    from edgernn.comparison.comparison import Comparison

__all__ = ["compare_command"]

_CORPUS = (
    "The text to train on: files, directories, stdlib for the source code of Python's standard library, or "
    "tinyshakespeare, which is downloaded once."
)
_PRESET = f"A set of defaults, which other options override. One of: {', '.join(LANGUAGE.presets)}."
_AGAIN = "give the same command again"


def compare_command() -> Callable[..., None]:
    """Return the command `compare`, with the options of language models that do not differ between cells."""
    return command_from(compare, ComparisonSettings, *LANGUAGE.settings, shown=_shown_default, without=DIFFERING)


def compare(
    corpus: Annotated[list[str], typer.Argument(metavar="CORPUS", help=_CORPUS, show_default=False)],
    out: Annotated[
        Path,
        typer.Option(
            help="The directory to write, which keeps a run of each training, the exported bundles, and the results in "
            "compare.json, compare.md and compare.png. A comparison that was begun there with the same options "
            "continues."
        ),
    ],
    *,
    preset: Annotated[str | None, typer.Option(help=_PRESET, show_default=next(iter(LANGUAGE.presets)))] = None,
    given: Given,
    json: Json = False,
) -> None:
    """Compare recurrent cells by training a language model with each of them on the same text.

    The networks of all cells have about the same number of parameters and the same training settings, and each is
    trained with several seeds. The results are the loss on the held-out text and its spread, the speed of training, and
    the time of a step and the size on each target.

    After Ctrl-C, the same command continues the comparison; trainings that have ended are not repeated.

    [bold]Example:[/bold] edgernn compare tinyshakespeare --out runs/cells --cells lstm,gru,elman
    """
    from edgernn.comparison.plan import Plan

    comparison_settings = ComparisonSettings(**given.of(ComparisonSettings))
    plan = Plan.of(corpus, comparison_settings, preset, **given.of(*LANGUAGE.settings))
    with starting("export"):
        from edgernn.comparison.comparison import Comparison
        from edgernn.comparison.report import table
    with require_extra("plot"):
        from edgernn.comparison.picture import plot_comparison
    with _interruptible(), progress("reading the text") as show:
        comparison = Comparison.open(out, plan, show)
    _train(comparison)
    with _interruptible(), waiting("exporting and measuring") as wait:
        comparison.export(partial(setattr, wait, "figures"))
        wait.figures = ""
        comparison.measure()
    text = table(plan, comparison.results, comparison.left_out)
    (out / "compare.md").write_text(text, encoding="utf-8")
    plot_comparison(comparison.rows, out / "compare.png")
    for line in comparison.left_out:
        log(line)
    values = {
        "comparison": str(out),
        "rows": [row.to_json() for row in comparison.rows],
        "left_out": comparison.left_out,
    }
    result(values, text, as_json=json)


def _shown_default(declared: Declared) -> str:
    if declared.settings is ComparisonSettings:
        return default_text(declared)
    if declared.field.name in LIMITS:
        return f"{MINUTES:g}" if declared.field.name == "minutes" else ""
    return shown_default(LANGUAGE, declared)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Within the block, Ctrl-C prints how to continue; a training does so itself."""
    try:
        yield
    except KeyboardInterrupt:
        log(f"what was measured is kept; to continue: {_AGAIN}")
        raise


def _train(comparison: Comparison) -> None:
    """Carry out the trainings that have not ended."""
    number = {each: place for place, each in enumerate(comparison.trainings, start=1)}
    for contender, seed in comparison.untrained:
        size = comparison.results.sizes[contender.name]
        place = f"training {number[contender, seed]:,} of {len(number):,}"
        log(f"{place}: {contender.name}, seed {seed}, {size.parameters:,} parameters")
        training = comparison.train(contender, seed, partial(fit, title=place, resume=_AGAIN))
        if training.loss is None:
            log(f"  it diverged: {training.diverged}")
        else:
            speed = f"{training.steps:,} steps, {training.rate:,.0f} characters/s"
            log(f"  {training.loss:.4f} nats per character; {speed}")
