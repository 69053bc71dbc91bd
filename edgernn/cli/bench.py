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
from edgernn.cli.load import CellFile, load_model, load_run, refuse_cell
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
_TITLES = ("µs", "p95", "p99", "RTF", "1st ms", "tok/s", "×4", "×16", "×64", "start", "MiB")
_STEPS = "µs: microseconds of a step of one stream; median, 95th and 99th percentile."
_SOUND = "RTF: real-time factor, the time of a step as a fraction of that of the sound in it."
_FLOOR = "floor: the time to read once the weights that a step of the code in C reads."
_TEXT = (
    "1st ms: milliseconds from a prompt of 16 tokens to the first sampled token. tok/s: tokens per second of one "
    "stream, sampled with temperature and top-k; ×4, ×16, ×64: of that many streams in a batch."
)
_START = "start, MiB: seconds that a new process takes to the end of its first step, and its peak memory."


def bench(
    *,
    bundles: Annotated[list[Path] | None, typer.Argument(help="The bundles to measure.", show_default=False)] = None,
    peers: Annotated[
        Path | None,
        typer.Option(help="Also measure this run: in PyTorch, and exported to every target and precision."),
    ] = None,
    cell: CellFile = None,
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

    if peers is None:
        refuse_cell(cell)
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
        executions = dict.fromkeys(paths, execution)
        models = {name: load_model(path, execution) for name, path in paths.items()}
        if peers is not None:
            with starting("export"):
                from edgernn.engines.eager import eager_model
            source = load_run(peers, cell).source()
            models |= {EAGER: eager_model(source, execution)}
            exported = _export_all(source, Path(folder))
            paths |= exported
            trusted = execution.but(engine="c")  # the code in C was generated just now
            executions |= dict.fromkeys(exported, trusted)
            models |= {name: load_model(path, trusted) for name, path in exported.items()}
        _set_threads(threads)
        with waiting("measuring"):
            steps = measure(models, rounds=rounds)
            starts = {name: measure_start(path, executions[name]) for name, path in paths.items()}
    of_threads = "one thread" if threads == 1 else f"{threads:,} threads"
    if out is not None:
        _draw(steps, of_threads, out)
    if json:
        result(
            {"rows": [row for name in steps for row in _rows(name, models.get(name), steps[name], starts)]},
            "",
            as_json=True,
        )
    else:
        _print(_table(models, steps, starts, of_threads))


def _set_threads(threads: int) -> None:
    """Let torch use as many threads as onnxruntime does here, if an engine has imported it."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)


def _export_all(source: Source, folder: Path) -> dict[str, Path]:
    """Export the run to every target and precision, and return the bundles.

    Targets with a missing extra are skipped, and C where it needs the size of an axis. Bundles for WebAssembly run in
    Python as those in C, and are left out.
    """
    from edgernn.errors import MissingExtraError, MissingSizeError
    from edgernn.exporters import TARGETS, export
    from edgernn.runtime.wasm import WasmEngine

    exported: dict[str, Path] = {}
    missing: list[str] = []
    with waiting("exporting") as wait:
        for target in (each for each in TARGETS.values() if each.engine is not WasmEngine):
            for precision in target.precisions:
                wait.figures = f"{target.name} {precision}"
                path = folder / f"{target.name}-{precision}"
                try:
                    export(source, path, target=target.name, precision=precision, steps=64)
                except MissingExtraError as error:
                    missing.append(f"{target.name} is left out: {error}")
                    break
                except MissingSizeError as error:
                    missing.append(f"{target.name} is left out: {error} to edgernn export, and the bundle to bench")
                    break
                exported[f"{target.name} {precision}"] = path
    for line in missing:
        log(line)
    return exported


def _rows(name: str, model: Model | None, steps: Steps, starts: Mapping[str, Start]) -> Iterator[dict[str, Any]]:
    """Yield the measurements of one model, or of the floor of one: a row for each batch size."""
    if model is None:
        yield from ({"name": name, "median_us": row.median_us, "p95_us": row.p95_us} for row in steps.rows)
        return
    about = {"name": name, "engine": "eager" if name == EAGER else model.manifest.target}
    start = asdict(starts[name]) if name in starts else {}
    for row in steps.rows:
        figures = {**asdict(row), "first_token_ms": steps.first_token_ms, **start}
        if row.batch == 1 and (seconds := _step_of_sound(model)) is not None:
            figures["real_time_factor"] = row.median_us / 1e6 / seconds
        yield {**about, "precision": model.manifest.precision, **figures}


def _step_of_sound(model: Model) -> float | None:
    """Return the seconds of sound that the model's step reads; None for a model of something else."""
    graph = next((each for each in model.contract.graphs if each.name == "step"), None)
    sound = None if graph is None else graph.input_of("audio")
    samples = None if sound is None else sound.axes[-1]
    return samples / sound.rate if sound is not None and sound.rate and isinstance(samples, int) else None


def _table(
    models: Mapping[str, Model], steps: Mapping[str, Steps], starts: Mapping[str, Start], of_threads: str
) -> Table:
    """Return the table, without the columns that are empty for all models."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Column, Table

    rows = {name: _cells(models.get(name), each, starts.get(name)) for name, each in steps.items()}
    titles = [title for title in _TITLES if any(title in row for row in rows.values())]
    columns = [Column("", no_wrap=True), *(Column(title, justify="right") for title in titles)]
    about = {"µs": _STEPS, "RTF": _SOUND, "tok/s": _TEXT, "start": _START}
    floor = [] if steps.keys() == models.keys() else [_FLOOR]
    caption = " ".join([*(text for title, text in about.items() if title in titles), *floor, f"All on {of_threads}."])
    table = Table(
        *columns, box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), caption=caption, caption_justify="left"
    )
    for name, row in rows.items():
        table.add_row(name[-_NAME:], *(row.get(title, "") for title in titles))
    return table


def _cells(model: Model | None, steps: Steps, start: Start | None) -> dict[str, str]:
    """Return the cells of one model, by the titles of their columns."""
    one = steps.one
    cells = {"µs": f"{one.median_us:.0f}", "p95": f"{one.p95_us:.0f}", "p99": f"{one.p99_us:.0f}"}
    if model is not None and (seconds := _step_of_sound(model)) is not None:
        cells["RTF"] = f"{one.median_us / 1e6 / seconds:.4f}"
    if steps.first_token_ms is not None:
        cells["1st ms"] = f"{steps.first_token_ms:.1f}"
    for row in steps.rows:
        if row.tokens_per_second is not None:
            cells["tok/s" if row.batch == 1 else f"×{row.batch}"] = f"{row.tokens_per_second / 1000:.1f}k"
    if start is not None:
        cells |= {"start": f"{start.first_step_s:.2f}", "MiB": f"{start.memory_mib:.0f}"}
    return cells


def _print(table: Table) -> None:
    from rich.console import Console

    Console(width=None if sys.stdout.isatty() else _WIDTH).print(table)


def _draw(steps: Mapping[str, Steps], of_threads: str, out: Path) -> None:
    from edgernn.training.curves import plot_bars

    plot_bars(
        {name: each.one.median_us for name, each in steps.items()}, f"µs per step of one stream, {of_threads}", out
    )
