"""Quality, size and step time of runs of any task, on every target at every precision.

python benchmarks/exports.py runs/shakespeare,text=held-out.txt runs/digits runs/kanji,data=kanji/,split=dev

A run is evaluated as `edgernn evaluate` does with the options that follow it, such as text=FILE for --text FILE;
without any, on what its training held out. In C, named axes have the largest sizes that the contract declares. Prints a
Markdown table. Step times are medians of the graph `step` at batch size 1 on one thread; the artifacts of a run are
measured in turns.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from edgernn.engines import ENGINES
from edgernn.engines.eager import eager_model
from edgernn.errors import ConfigError, EdgeRNNError
from edgernn.examples import axis_sizes, example
from edgernn.exporters import TARGETS, Exported, export
from edgernn.exporters.targets.c import CodeOptions, c_target
from edgernn.models import Source
from edgernn.runtime import Model
from edgernn.runtime.model import STEP
from edgernn.settings import Settings, declared_options
from edgernn.training import Run

ROUNDS, STEPS = 15, 50


@dataclass(frozen=True)
class Row:
    """One artifact, or the source network in eager torch."""

    name: str
    model: Model
    exported: Exported | None = None


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "runs", nargs="+", metavar="RUN[,OPTION=VALUE]...", help="a run, and options of edgernn evaluate for it"
    )
    parser.add_argument("--limit", nargs="*", metavar="TARGET", help="only these targets", default=list(TARGETS))
    torch.set_num_threads(1)
    arguments = parser.parse_args()
    print("| run | artifact | bytes | of fp32 ONNX | quality | outputs within | µs a step |")
    print("|---|---|---|---|---|---|---|")
    for named in arguments.runs:
        path, *options = named.split(",")
        run = Run.load(Path(path))
        with tempfile.TemporaryDirectory() as folder:
            show(run, evaluation(run, options), Path(folder), arguments.limit)


def evaluation(run: Run, options: list[str]) -> Settings:
    """Return the settings of an evaluation of `run`. options: as "name=value".

    Raises ConfigError for an option that `edgernn evaluate` does not have for this run.
    """
    declared = {each.flag.removeprefix("--"): each for each in declared_options(run.task.evaluation).values()}
    values = {}
    for each in options:
        name, _, value = each.partition("=")
        if name not in declared:
            raise ConfigError(f"edgernn evaluate {run.path} has no --{name}; it has {', '.join(declared)}")
        values[declared[name].field.name] = declared[name].type(value)
    return run.task.evaluation(**values)


def show(run: Run, settings: Settings, folder: Path, targets: list[str]) -> None:
    """Print the rows of one run."""
    source = run.source()
    rows = [Row("torch eager fp32", eager_model(source)), *exports(source, folder, targets)]
    times = medians([row.model for row in rows])
    whole = next((row.exported.bytes for row in rows if row.exported is not None), 0)
    for row, micros in zip(rows, times, strict=True):
        cells = [run.path.name, row.name, "", "", quality(run, row.model, settings), "", f"{micros:.0f}"]
        if row.exported is not None:
            cells[2:4] = f"{row.exported.bytes:,}", f"{row.exported.bytes / whole:.3f}"
            cells[5] = f"{row.exported.parity.max_abs_diff_outputs:.1e}"
        print(f"| {' | '.join(cells)} |", flush=True)


def exports(source: Source, folder: Path, targets: list[str]) -> Iterator[Row]:
    """Export to every target at every precision. A refusal is printed in place of its row."""
    tensors = [tensor for graph in source.network.graphs() for tensor in graph.spec.feeds.values()]
    in_c = c_target(CodeOptions(sizes={axis: size for each in tensors for axis, size in each.max_sizes.items()}))
    for name in targets:
        for precision in TARGETS[name].precisions:
            out = folder / f"{name}-{precision}"
            try:
                exported = export(source, out, target=in_c if name == "c" else name, precision=precision)
            except EdgeRNNError as error:
                print(f"| | {name} {precision} | refused: {error} | | | | |", flush=True)
                continue
            yield Row(f"{name} {precision}", Model.load(out, ENGINES.get(name)), exported)


def quality(run: Run, model: Model, settings: Settings) -> str:
    """Return the figures that `edgernn evaluate` prints."""
    score = run.task.evaluate(model, settings, lambda done, what: None, run.data).score
    return ", ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in score.figures.items())


def medians(models: list[Model]) -> list[float]:
    """The median step time of each model, in microseconds."""
    spec = models[0].contract[STEP]
    given = example(spec.feeds, 1, np.random.default_rng(0), axis_sizes(spec))
    conditions = {each.name: given[each.name] for each in spec.conditions}
    inputs = {each.name: given[each.name] for each in spec.inputs}
    state = {each.name: given[each.input] for each in spec.states}
    cursors = [model.cursor(conditions, state) for model in models]
    times: list[list[float]] = [[] for _ in models]
    for _ in range(ROUNDS):
        for cursor, taken in zip(cursors, times, strict=True):
            for _ in range(STEPS):
                begun = time.perf_counter()
                cursor.step(inputs)
                taken.append(1e6 * (time.perf_counter() - begun))
    return [statistics.median(taken) for taken in times]


if __name__ == "__main__":
    main()
