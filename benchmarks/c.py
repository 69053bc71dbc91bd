"""The C target beside onnxruntime and the floor, which is the time to read the weights once.

python benchmarks/c.py                    all sizes and precisions
python benchmarks/c.py --only S int8      one size and one precision
python benchmarks/c.py --bundles C ONNX   two bundles of one model, such as those of `edgernn adopt` for c and for onnx

Each figure is the smallest of many bursts, which take turns in one process, on one thread: microseconds a step.
"""

from __future__ import annotations

import argparse
import ctypes
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
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
from edgernn.runtime.golden import first_given
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
    parser.add_argument("--bundles", nargs=2, type=Path, metavar=("C", "ONNX"))
    given = parser.parse_args()
    only = given.only
    decoding = "" if given.bundles else " decoding in Python |"
    print(f"| | floor | onnxruntime | C | C, avx2 | C, base | onnxruntime / C | C / floor |{decoding}")
    print(f"|---|---|---|---|---|---|---|---|{'---|' if decoding else ''}")
    with tempfile.TemporaryDirectory() as folder:
        loops = compiled_loops(Path(folder))
        if given.bundles:
            compiled, other = map(Bundle.load, given.bundles)
            for spec in compiled.manifest.contract.graphs:
                print(f"| {spec.name} | {figures(compiled, other, spec.name, loops)} |", flush=True)
            return
        for size, sizes in SIZES.items():
            source = untrained(*sizes)
            for precision in PRECISIONS:
                if only in (None, [size, precision]):
                    print(f"| {size} {precision} {row(source, precision, Path(folder) / size, loops)}", flush=True)


def row(source: Source, precision: str, folder: Path, loops: ctypes.CDLL) -> str:
    """Return the figures of one language model."""
    paths = {
        target: export(source, folder / f"{target}-{precision}", target=target, precision=precision, steps=16).path
        for target in ("c", "onnx")
    }
    compiled, other = map(Bundle.load, paths.values())
    return f"| {figures(compiled, other, 'step', loops)} | {rate(paths['c']):,.0f} tokens/s |"


def figures(compiled: Bundle, other: Bundle, graph: str, loops: ctypes.CDLL) -> str:
    """Return the figures of one graph in a bundle in C, and in a bundle of the same model for onnxruntime."""
    spec, source = compiled.manifest.contract[graph], compiled.graph(graph)
    described, recorded = about(source)["graphs"][graph], first_given(spec, compiled.files)
    best = LEVELS[CompiledEngine(source, spec, files=compiled.files).level]
    calls = {}
    for level in dict.fromkeys((best, "avx2", "base")):
        if LEVELS.index(level) <= LEVELS.index(best):
            engine = CompiledEngine(source, spec, Execution(level=level), compiled.files)
            calls[level] = engine.call(*tensors(spec, recorded))
    weights, read = calls[best].weights, reader()
    tasks: dict[str, Callable[[int], object]] = {
        "floor": lambda count: read(weights, described["read"], count),
        "onnxruntime": partial(
            run_bound, bound(other.graph(graph), spec, recorded, fixed_sizes(other.manifest.contract[graph], spec))
        ),
        **{level: partial(call.repeat, loops.steps) for level, call in calls.items()},
    }
    micros = {name: 1e6 * seconds for name, seconds in smallest(tasks).items()}
    own, floor, theirs = micros[best], micros["floor"], micros["onnxruntime"]
    lower = " | ".join(f"{micros[level]:.2f}" if level in micros else "-" for level in ("avx2", "base"))
    return f"{floor:.2f} | {theirs:.2f} | {own:.2f} | {lower} | {theirs / own:.1f} | {own / floor:.2f}"


def untrained(vocabulary: int, embedding: int, hidden: int, layers: int) -> Source:
    """Return a language model with random weights: its speed does not depend on their values."""
    config = LanguageConfig(vocabulary, embedding=embedding, hidden=hidden, layers=layers)
    tokens = Tokenizer.characters([chr(0x4E00 + code) for code in range(vocabulary - 1)])
    return Source(LanguageModel(config).eval(), {TOKENIZER: tokens.to_json().encode()})


def tensors(spec: GraphSpec, recorded: Mapping[str, Array]) -> tuple[list[Array], list[Array]]:
    """Return inputs and outputs of one stream: those that are recorded, and zeros."""
    shapes = (spec.feeds.values(), spec.results.values())
    feeds, results = ([np.zeros(each.shape({BATCH: 1}), each.numpy_dtype) for each in part] for part in shapes)
    return [recorded.get(name, zeros) for name, zeros in zip(spec.input_names, feeds, strict=True)], results


def compiled_loops(folder: Path) -> ctypes.CDLL:
    """Compile loops.c."""
    path = folder / "loops.so"
    source = Path(__file__).with_name("loops.c")
    subprocess.run([*compiler(), "-O3", "-march=native", "-fPIC", "-shared", str(source), "-o", str(path)], check=True)
    return ctypes.CDLL(str(path))


def fixed_sizes(free: GraphSpec, fixed: GraphSpec) -> dict[str, int]:
    """Return the sizes of the named axes of a graph, if that in C has other axes; onnxruntime then knows them too."""
    if free == fixed:
        return {}
    pairs = zip(free.feeds.values(), fixed.feeds.values(), strict=True)
    sizes = (zip(one.axes, other.shape({BATCH: 1}), strict=True) for one, other in pairs)
    return {axis: size for each in sizes for axis, size in each if isinstance(axis, str)}


def bound(
    data: bytes, spec: GraphSpec, recorded: Mapping[str, Array], sizes: Mapping[str, int]
) -> tuple[onnxruntime.InferenceSession, onnxruntime.IOBinding]:
    """Return a session of onnxruntime on one thread, with its inputs and outputs bound, and sizes of named axes."""
    options = onnxruntime.SessionOptions()
    for axis, size in sizes.items():
        options.add_free_dimension_override_by_name(axis, size)
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(data, options, ["CPUExecutionProvider"])
    binding = session.io_binding()
    feeds, results = tensors(spec, recorded)
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
