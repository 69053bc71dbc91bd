"""Peak memory of training for texts of different length: reading, encoding, and 1,000 steps.

python benchmarks/memory.py --megabytes 1 10 100 1000
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MEGABYTE = 1_000_000
LINE = "{:>9,} MB of text: peak {:>6,.0f} MiB, {:>6,.0f} s"
MODEL = ["--hidden", "8", "--embedding", "4", "--layers", "1"]
TRAINING = ["--steps", "1000", "--batch-size", "64", "--held-out", "0.001", "--evaluations", "2"]


def main() -> None:
    """Print a line for each length of text."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, nargs="+", default=[1, 10, 100], help="lengths of texts")
    parser.add_argument(
        "--text", type=Path, default=Path(__file__), help="a file whose text is repeated up to each length"
    )
    arguments = parser.parse_args()
    for megabytes in arguments.megabytes:
        with tempfile.TemporaryDirectory() as folder:
            text = Path(folder) / "text.txt"
            repeat(arguments.text.read_bytes(), megabytes * MEGABYTE, text)
            began = time.perf_counter()
            peak = peak_of_training(text, Path(folder) / "run")
            print(LINE.format(megabytes, peak, time.perf_counter() - began), flush=True)


def repeat(text: bytes, size: int, out: Path) -> None:
    """Write whole copies of `text` to `out`, up to `size` bytes."""
    with out.open("wb") as file:
        for _ in range(max(1, size // len(text))):
            file.write(text)


def peak_of_training(text: Path, run: Path) -> float:
    """The peak resident memory, in MiB, of a process that trains a small model on `text`."""
    command = [sys.executable, "-m", "edgernn", "train", "language", str(text), "--out", str(run), *MODEL, *TRAINING]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"training on {text} failed")
    return usage.ru_maxrss / 1024


if __name__ == "__main__":
    main()
