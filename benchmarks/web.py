"""The runtime in TypeScript beside onnxruntime in Python: microseconds, the smallest of many bursts, on one thread.

python benchmarks/web.py                 all precisions of the language model S of `benchmarks/c.py`
python benchmarks/web.py --only int8     one precision

It takes clang, Node, and what `make test-web` installs into runtime_demo/web; Chromium where it is installed.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgernn.bundle import TOKENIZER
from edgernn.exporters import export
from edgernn.models.source import Source
from edgernn.runtime import Model
from edgernn.tasks.language.network import LanguageModel
from edgernn.tasks.language.settings import LanguageConfig
from edgernn.tokenizer import Tokenizer

WEB = Path(__file__).parents[1] / "runtime_demo" / "web"
PRECISIONS = ("fp32", "fp16", "int8", "int4")
SMALL = LanguageConfig(65, embedding=64, hidden=128, layers=1)
BURSTS, BURST = 400, 50
HEAD = (
    "",
    "onnxruntime, Python",
    "Node",
    "Chromium",
    "no SIMD, Node",
    "decoding, Node",
    "decoding, Chromium",
    "growth",
)


def main() -> None:
    """Measure, and print a row for each precision."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=PRECISIONS)
    only = parser.parse_args().only
    subprocess.run(["npx", "tsc"], cwd=WEB, check=True)
    print("|", " | ".join(HEAD), "|")
    print("|---" * len(HEAD) + "|")
    for precision in PRECISIONS if only is None else [only]:
        with tempfile.TemporaryDirectory() as folder:
            print(f"| S {precision} | {row(precision, Path(folder))} |", flush=True)


def row(precision: str, folder: Path) -> str:
    """Return the figures of one precision."""
    tokens = Tokenizer.characters([chr(0x4E00 + code) for code in range(SMALL.vocabulary - 1)])
    source = Source(LanguageModel(SMALL).eval(), {TOKENIZER: tokens.to_json().encode()})
    bundle = export(source, folder / "bundle", target="wasm", precision=precision, steps=16).path
    other = export(source, folder / "onnx", precision=precision, steps=16).path
    command = ["node", "--expose-gc", "dist/test/speed.js", str(bundle.parent)]
    done = subprocess.run(command, cwd=WEB, capture_output=True, text=True, check=True)
    found: Mapping[str, Any] = json.loads(done.stdout)
    shutil.rmtree(bundle)
    node, chromium = found["node"], found["chromium"] or {"step": np.nan, "decode": np.nan}
    times = [in_python(other), node["step"], chromium["step"], node["base"], node["decode"], chromium["decode"]]
    return " | ".join([*(f"{each:.1f}" for each in times), f"{found['growth']:,}"])


def in_python(bundle: Path) -> float:
    """Return the time of a step in onnxruntime through `Model.cursor`."""
    model = Model.load(bundle)
    cursor = model.cursor(*model.begin())
    inputs = {"token": np.array([1])}
    least = np.inf
    for _ in range(BURSTS):
        begun = time.perf_counter()
        for _ in range(BURST):
            cursor.step(inputs)
        least = min(least, time.perf_counter() - begun)
    return float(1e6 * least / BURST)


if __name__ == "__main__":
    main()
