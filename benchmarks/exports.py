"""Size, held-out loss, parity and step time of runs of language models, on every target at every precision.

python benchmarks/exports.py runs/lstm runs/gru runs/elman

Prints a Markdown table. Step times are medians at batch size 1 on one thread; the artifacts are measured in turns.
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

from edgernn.engines import EagerEngine
from edgernn.examples import example
from edgernn.exporters import TARGETS, Exported, export
from edgernn.exporters.gate.held_out import held_out_loss
from edgernn.models import Graph, HeldOut, Source
from edgernn.runtime import Engine
from edgernn.tasks.language.learner import held_out_tokens
from edgernn.training import Run
from edgernn.training.run import DATA

SEQUENCES = 32
ROUNDS, STEPS = 15, 100


@dataclass(frozen=True)
class Row:
    """One artifact, or the source network in eager torch."""

    name: str
    engine: Engine
    exported: Exported | None = None


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", help="runs of the task language")
    torch.set_num_threads(1)
    print("| run | artifact | bytes | of fp32 ONNX | loss | change | outputs within | µs a step |")
    print("|---|---|---|---|---|---|---|---|")
    for run in parser.parse_args().runs:
        with tempfile.TemporaryDirectory() as folder:
            show(run, Path(folder))


def show(run: Path, folder: Path) -> None:
    """Print the rows of one run."""
    source = Run.load(run).source()
    (graph,) = source.network.graphs()
    rows = [Row("torch eager fp32", EagerEngine(graph.module, graph.spec)), *exports(source, graph, folder)]
    text = held_out(run)
    losses = [held_out_loss([graph], {graph.spec.name: row.engine}, text) for row in rows]
    times = medians(rows, graph)
    whole = next(row.exported.bytes for row in rows if row.exported is not None)
    for row, loss, micros in zip(rows, losses, times, strict=True):
        cells = [run.name, row.name, "", "", f"{loss:.4f}", f"{loss - losses[0]:+.4f}", "", f"{micros:.0f}"]
        if row.exported is not None:
            cells[2:4] = f"{row.exported.bytes:,}", f"{row.exported.bytes / whole:.3f}"
            cells[6] = f"{row.exported.parity.max_abs_diff_outputs:.1e}"
        print(f"| {' | '.join(cells)} |", flush=True)


def exports(source: Source, graph: Graph, folder: Path) -> Iterator[Row]:
    """Export to every target at every precision."""
    for name, target in TARGETS.items():
        for precision in target.precisions:
            exported = export(source, folder / f"{name}-{precision}", target=name, precision=precision)
            data = (exported.path / f"{graph.spec.name}{target.suffix}").read_bytes()
            yield Row(f"{name} {precision}", target.engine(data, graph.spec), exported)


def held_out(run: Path) -> HeldOut:
    """All held-out tokens of a run, as sequences of equal length."""
    tokens = held_out_tokens(Run.load(run).prepared, run / DATA)
    length = (len(tokens) - 1) // SEQUENCES
    ids = np.stack([tokens.read(number * length, length + 1) for number in range(SEQUENCES)])
    return HeldOut(steps={"token": ids[:, :-1]}, targets={"logits": ids[:, 1:]})


def medians(rows: list[Row], graph: Graph) -> list[float]:
    """The median step time of each row, in microseconds."""
    feeds = example(graph.spec.feeds, 1, np.random.default_rng(0))
    times: list[list[float]] = [[] for _ in rows]
    for _ in range(ROUNDS):
        for row, taken in zip(rows, times, strict=True):
            for _ in range(STEPS):
                begun = time.perf_counter()
                row.engine.run(feeds)
                taken.append(1e6 * (time.perf_counter() - begun))
    return [statistics.median(taken) for taken in times]


if __name__ == "__main__":
    main()
