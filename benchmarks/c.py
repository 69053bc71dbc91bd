"""The C target beside onnxruntime and the floor, which is the time to read the weights once.

python benchmarks/c.py                    all sizes and precisions
python benchmarks/c.py --only S int8      one size and one precision

Each figure is the smallest of many bursts, which take turns in one process, on one thread: microseconds a step.
"""

from __future__ import annotations

import argparse
import ctypes
import subprocess
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import onnxruntime

from edgernn.bundle import TOKENIZER, Bundle
from edgernn.contract import BATCH, Array, GraphSpec
from edgernn.execution import LEVELS, Execution
from edgernn.exporters import export
from edgernn.models.source import Source
from edgernn.runtime import Model, Sampler
from edgernn.runtime.compiled import CompiledEngine, about
from edgernn.runtime.compiling import compiler
from edgernn.runtime.floor import reader
from edgernn.tasks.language.network import LanguageModel
from edgernn.tasks.language.settings import LanguageConfig
from edgernn.tokenizer import Tokenizer

SIZES = {"S": (65, 64, 128, 1), "M": (65, 128, 256, 2), "L": (10_000, 256, 512, 2)}
PRECISIONS = ("fp32", "int8", "int4")
BURSTS, BURST = 60, 3e-3  # seconds of one burst
DRAWN = 20_000  # tokens of one stream


def main() -> None:
    """Measure, and print a row for each size and precision."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs=2, metavar=("SIZE", "PRECISION"))
    only = parser.parse_args().only
    print("| | floor | onnxruntime | C | C, avx2 | C, base | onnxruntime / C | C / floor | decoding in Python |")
    print("|---|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        loops = compiled_loops(Path(folder))
        for size, sizes in SIZES.items():
            source = untrained(*sizes)
            for precision in PRECISIONS:
                if only in (None, [size, precision]):
                    print(f"| {size} {precision} {row(source, precision, Path(folder) / size, loops)}", flush=True)


def row(source: Source, precision: str, folder: Path, loops: ctypes.CDLL) -> str:
    """Return the figures of one model."""
    paths = {
        target: export(source, folder / f"{target}-{precision}", target=target, precision=precision, steps=16).path
        for target in ("onnx", "c")
    }
    bundle = Bundle.load(paths["c"])
    spec = bundle.manifest.contract["step"]
    described = about(bundle.graph("step"))["graphs"]["step"]
    best = LEVELS[CompiledEngine(bundle.graph("step"), spec, files=bundle.files).level]
    calls = {}
    for level in dict.fromkeys((best, "avx2", "base")):
        if LEVELS.index(level) <= LEVELS.index(best):
            engine = CompiledEngine(bundle.graph("step"), spec, Execution(level=level), bundle.files)
            calls[level] = engine.call(*tensors(spec))
    weights, read = calls[best].weights, reader()
    tasks: dict[str, Callable[[int], object]] = {
        "floor": lambda count: read(weights, described["read"], count),
        "onnxruntime": partial(run_bound, bound(paths["onnx"] / "step.onnx", spec)),
        **{level: partial(call.repeat, loops.steps) for level, call in calls.items()},
    }
    micros = {name: 1e6 * seconds for name, seconds in smallest(tasks).items()}
    own, floor, other = micros[best], micros["floor"], micros["onnxruntime"]
    lower = " | ".join(f"{micros[level]:.2f}" if level in micros else "-" for level in ("avx2", "base"))
    figures = f"{floor:.2f} | {other:.2f} | {own:.2f} | {lower} | {other / own:.1f} | {own / floor:.2f}"
    return f"| {figures} | {rate(paths['c']):,.0f} tokens/s |"


def untrained(vocabulary: int, embedding: int, hidden: int, layers: int) -> Source:
    """Return a language model with random weights: its speed does not depend on their values."""
    config = LanguageConfig(vocabulary, embedding=embedding, hidden=hidden, layers=layers)
    tokens = Tokenizer.characters([chr(0x4E00 + code) for code in range(vocabulary - 1)])
    return Source(LanguageModel(config).eval(), {TOKENIZER: tokens.to_json().encode()})


def tensors(spec: GraphSpec) -> tuple[list[Array], list[Array]]:
    """Return inputs and outputs of one stream, of zeros."""
    shapes = (spec.feeds.values(), spec.results.values())
    feeds, results = ([np.zeros(each.shape({BATCH: 1}), each.numpy_dtype) for each in part] for part in shapes)
    return feeds, results


def compiled_loops(folder: Path) -> ctypes.CDLL:
    """Compile loops.c."""
    path = folder / "loops.so"
    source = Path(__file__).with_name("loops.c")
    subprocess.run([*compiler(), "-O3", "-march=native", "-fPIC", "-shared", str(source), "-o", str(path)], check=True)
    return ctypes.CDLL(str(path))


def bound(path: Path, spec: GraphSpec) -> tuple[onnxruntime.InferenceSession, onnxruntime.IOBinding]:
    """Return a session of onnxruntime on one thread, with its inputs and outputs bound."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])
    binding = session.io_binding()
    feeds, results = tensors(spec)
    for name, array in zip(spec.input_names, feeds, strict=True):
        binding.bind_ortvalue_input(name, onnxruntime.OrtValue.ortvalue_from_numpy(array))
    for name, array in zip(spec.output_names, results, strict=True):
        binding.bind_ortvalue_output(name, onnxruntime.OrtValue.ortvalue_from_numpy(array))
    return session, binding


def run_bound(pair: tuple[onnxruntime.InferenceSession, onnxruntime.IOBinding], count: int) -> None:
    """Run a session so many times."""
    session, binding = pair
    for _ in range(count):
        session.run_with_iobinding(binding)


def smallest(tasks: dict[str, Callable[[int], object]]) -> dict[str, float]:
    """Return the smallest time of one repetition of each task."""
    counts = {name: max(1, int(BURST / min(seconds(task, 1) for _ in range(5)))) for name, task in tasks.items()}
    times: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(BURSTS):
        for name, task in tasks.items():
            times[name].append(seconds(task, counts[name]))
    return {name: min(each) for name, each in times.items()}


def seconds(task: Callable[[int], object], count: int) -> float:
    """Return the time of one of `count` repetitions."""
    begun = time.perf_counter()
    task(count)
    return (time.perf_counter() - begun) / count


def rate(path: Path) -> float:
    """Return the tokens that one stream decodes in a second, in Python, with temperature and top-k."""
    stream = Model.load(path, CompiledEngine).stream(Sampler(temperature=0.8, top_k=40, seed=0))
    stream.prefill(np.arange(16))
    best = []
    for _ in range(5):
        begun = time.perf_counter()
        for _ in stream.decode(DRAWN // 5):
            pass
        best.append(time.perf_counter() - begun)
    return DRAWN / 5 / min(best)


if __name__ == "__main__":
    main()
