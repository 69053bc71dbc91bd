"""Resident memory of a process that decodes a million tokens from a bundle, printed and plotted.

python benchmarks/endurance.py bundles/demo --out docs/endurance.png
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

from matplotlib.figure import Figure

DECODE = """
import sys
from edgernn.runtime import Model, Sampler
stream = Model.load(sys.argv[1]).stream(Sampler(temperature=0.8, top_k=40, seed=0))
stream.prefill("A")
for begun in range(0, int(sys.argv[2]), int(sys.argv[3])):
    for _ in stream.decode(int(sys.argv[3])):
        pass
    resident = next(line for line in open("/proc/self/status") if line.startswith("VmRSS"))
    print(stream.steps, int(resident.split()[1]) / 1024, flush=True)
"""


def main() -> None:
    """Print the memory at about ten points, and plot all of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path, help="the bundle of a language model")
    parser.add_argument("--tokens", type=int, default=1_000_000, help="the number of tokens to decode")
    parser.add_argument("--every", type=int, default=10_000, help="tokens between two measurements")
    parser.add_argument("--out", type=Path, default=Path("endurance.png"), help="the plot to write")
    arguments = parser.parse_args()
    began = time.perf_counter()
    points = measure(arguments.bundle, arguments.tokens, arguments.every)
    for steps, resident in points[:: max(1, len(points) // 10)] + points[-1:]:
        print(f"{steps:>10,} tokens: {resident:.1f} MiB")
    print(f"{time.perf_counter() - began:.0f} s")
    draw(points, arguments.out)


def measure(bundle: Path, tokens: int, every: int) -> list[tuple[int, float]]:
    """The number of tokens decoded so far and the resident memory in MiB, measured in a separate process."""
    command = [sys.executable, "-c", DECODE, str(bundle), str(tokens), str(every)]
    lines = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    return [(int(steps), float(resident)) for steps, resident in map(str.split, lines)]


def draw(points: list[tuple[int, float]], out: Path) -> None:
    """Plot memory over tokens. The axis starts at zero, so that small steps do not look large."""
    figure = Figure(figsize=(8, 3), layout="constrained")
    axes = figure.subplots()
    axes.plot([steps / 1e6 for steps, _ in points], [resident for _, resident in points])
    axes.set_ylim(0, 1.25 * max(resident for _, resident in points))
    axes.set_xlabel("million tokens decoded")
    axes.set_ylabel("resident memory, MiB")
    axes.grid(alpha=0.3)
    figure.savefig(out, dpi=120)


if __name__ == "__main__":
    main()
