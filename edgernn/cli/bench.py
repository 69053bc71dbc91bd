"""`edgernn bench`: measure how fast bundles run on this machine."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgernn.cli.console import Json, log, require_extra, result, starting, waiting
from edgernn.cli.load import load_model
from edgernn.cli.options import Given, number
from edgernn.errors import ConfigError
from edgernn.execution import Execution

if TYPE_CHECKING:
    from rich.table import Table

    from edgernn.cli.startup import Start
    from edgernn.models.source import Source
    from edgernn.runtime import Model
    from edgernn.runtime.benchmark import Steps

__all__ = ["bench"]

EAGER = "torch eager"
_WIDTH = 120  # width of the table in characters, unless it is printed to a terminal
_NAME = 24  # number of characters of a bundle's path that are shown, counted from the end
_CAPTION = (
    "µs: microseconds of a step of one stream; median, 95th and 99th percentile. 1st ms: milliseconds from a prompt of "
    "16 tokens to the first sampled token. tok/s: tokens per second of one stream, sampled with temperature and top-k; "
    "×4, ×16, ×64: of that many streams in a batch. start, MiB: seconds that a new process takes to the end of its "
    "first step, and its peak memory. All on "
)


def bench(
    *,
    bundles: Annotated[list[Path] | None, typer.Argument(help="The bundles to measure.", show_default=False)] = None,
    peers: Annotated[
        Path | None,
        typer.Option(help="Also measure this run: in PyTorch, and exported to every target and precision."),
    ] = None,
    rounds: Annotated[
        int,
        typer.Option(
            parser=number("rounds", low=1),
            help="The number of measurements of each model, interleaved with the others.",
        ),
    ] = 15,
    out: Annotated[
        Path | None, typer.Option(help="Also draw the step times as a bar chart in this .png or .svg file.")
    ] = None,
    given: Given,
    json: Json = False,
) -> None:
    """Measure the speed, start-up time and memory of bundles, side by side.

    [bold]Example:[/bold] edgernn bench bundles/shakespeare --peers runs/shakespeare
    """
    from edgernn.cli.startup import measure_start
    from edgernn.runtime.benchmark import measure

    if not bundles and peers is None:
        raise ConfigError("bench needs a BUNDLE, or --peers RUN")
    if out is not None:
        with require_extra("plot"):
            from edgernn.training.curves import check_picture
        check_picture(out)
    execution = Execution(**given.of(Execution))
    threads = execution.threads or 1
    with tempfile.TemporaryDirectory() as folder:
        paths = {str(bundle): bundle for bundle in bundles or ()}
        models = {name: load_model(path, execution) for name, path in paths.items()}
        if peers is not None:
            with starting("export"):
                from edgernn.engines.eager import eager_model
                from edgernn.training import Run
            source = Run.load(peers).source()
            models |= {EAGER: eager_model(source, execution)}
            exported = _export_all(source, Path(folder))
            paths |= exported
            models |= {name: load_model(path, execution) for name, path in exported.items()}
        _set_threads(threads)
        with waiting("measuring"):
            steps = measure(models, rounds=rounds)
            starts = {name: measure_start(path, execution) for name, path in paths.items()}
    of_threads = "one thread" if threads == 1 else f"{threads:,} threads"
    if out is not None:
        _draw(steps, of_threads, out)
    if json:
        result(
            {"rows": [row for name in models for row in _rows(name, models[name], steps[name], starts)]},
            "",
            as_json=True,
        )
    else:
        _print(_table(steps, starts, of_threads))


def _set_threads(threads: int) -> None:
    """Let torch use as many threads as onnxruntime does here, if an engine has imported it."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)


def _export_all(source: Source, folder: Path) -> dict[str, Path]:
    """Export the run to every target and precision, and return the bundles.

    Targets with a missing extra are skipped.
    """
    from edgernn.errors import MissingExtraError
    from edgernn.exporters import TARGETS, export

    exported: dict[str, Path] = {}
    missing: list[str] = []
    with waiting("exporting") as wait:
        for target in TARGETS.values():
            for precision in target.precisions:
                wait.figures = f"{target.name} {precision}"
                path = folder / f"{target.name}-{precision}"
                try:
                    export(source, path, target=target.name, precision=precision, steps=64)
                except MissingExtraError as error:
                    missing.append(f"{target.name} is left out: {error}")
                    break
                exported[f"{target.name} {precision}"] = path
    for line in missing:
        log(line)
    return exported


def _rows(name: str, model: Model, steps: Steps, starts: Mapping[str, Start]) -> Iterator[dict[str, Any]]:
    """Yield the measurements of one model: a row for each batch size."""
    about = {"name": name, "engine": "eager" if name == EAGER else model.manifest.target}
    start = asdict(starts[name]) if name in starts else {}
    for row in steps.rows:
        figures = {**asdict(row), "first_token_ms": steps.first_token_ms, **start}
        yield {**about, "precision": model.manifest.precision, **figures}


def _table(steps: Mapping[str, Steps], starts: Mapping[str, Start], of_threads: str) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Column, Table

    sizes = sorted({row.batch for each in steps.values() for row in each.rows})
    many = [f"×{size}" if size > 1 else "tok/s" for size in sizes]
    titles = ["µs", "p95", "p99", "1st ms", *many, "start", "MiB"]
    columns = [Column("", no_wrap=True), *(Column(title, justify="right") for title in titles)]
    caption = f"{_CAPTION}{of_threads}."
    table = Table(
        *columns, box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), caption=caption, caption_justify="left"
    )
    for name, each in steps.items():
        start = starts.get(name)
        cells = [f"{each.one.median_us:.0f}", f"{each.one.p95_us:.0f}", f"{each.one.p99_us:.0f}"]
        cells.append("" if each.first_token_ms is None else f"{each.first_token_ms:.1f}")
        rates = {row.batch: row.tokens_per_second for row in each.rows}
        cells += ["" if (rate := rates.get(size)) is None else f"{rate / 1000:.1f}k" for size in sizes]
        cells += ["", ""] if start is None else [f"{start.first_step_s:.2f}", f"{start.memory_mib:.0f}"]
        table.add_row(name[-_NAME:], *cells)
    return table


def _print(table: Table) -> None:
    from rich.console import Console

    Console(width=None if sys.stdout.isatty() else _WIDTH).print(table)


def _draw(steps: Mapping[str, Steps], of_threads: str, out: Path) -> None:
    from edgernn.training.curves import plot_bars

    plot_bars(
        {name: each.one.median_us for name, each in steps.items()}, f"µs per step of one stream, {of_threads}", out
    )
