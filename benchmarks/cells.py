"""Measure the training of minGRU and minLSTM by their parallel path against the loop over steps.

python benchmarks/cells.py [--length 512] [--batch 32] [--hidden 256]

The parallel path computes the gates of all steps at once, and only the recurrence h' = a h + b step by step. Both paths
take the same weights and inputs, in one process and in turn; a training step is one forward and one backward pass of a
layer. The times are the least of all rounds.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from torch import Tensor

from edgernn.models.cells import CELLS, Cell, CellState

_ROUNDS = 5


def main() -> None:
    """Print a table of both paths."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--hidden", type=int, default=256)
    options = parser.parse_args()
    print("| cell | loop, ms | parallel, ms | ratio |\n|---|---|---|---|")
    for name in ("mingru", "minlstm"):
        torch.manual_seed(0)
        cell = CELLS[name](options.hidden, options.hidden)
        x = torch.randn(options.length, options.batch, options.hidden)
        rounds = [(_seconds(Cell.sequence, cell, x), _seconds(type(cell).sequence, cell, x)) for _ in range(_ROUNDS)]
        loop, parallel = (1000 * min(times) for times in zip(*rounds, strict=True))
        print(f"| {name} | {loop:.0f} | {parallel:.0f} | {loop / parallel:.1f} |")


def _seconds(path: Callable[..., tuple[Tensor, CellState]], cell: Cell, x: Tensor) -> float:
    begun = time.perf_counter()
    outputs, _ = path(cell, x, (torch.zeros(x.shape[1], cell.hidden_size),))
    outputs.sum().backward()
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()
