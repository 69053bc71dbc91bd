"""How fast bundles run here: all of them in one run, taking turns, so that noise falls on all alike."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgernn.contract import BATCH, Array
from edgernn.errors import EngineError
from edgernn.runtime.batch import Batch
from edgernn.runtime.model import STEP, Model
from edgernn.runtime.parity import axis_sizes, example
from edgernn.runtime.stream import Stream
from edgernn.sampling import Sampler

__all__ = ["BATCHES", "Start", "Steps", "measure", "measure_start"]

BATCHES = (1, 4, 16, 64)
_PROMPT = 16  # tokens


@dataclass(frozen=True)
class Steps:
    """Microseconds of a step of one stream, and tokens per second.

    first_token_ms: from a prompt of 16 tokens to the first one drawn, or None without text.
    tokens_per_second: of decoding with temperature and top-k, by how many streams go together; empty without text.
    """

    median_us: float
    p95_us: float
    p99_us: float
    first_token_ms: float | None
    tokens_per_second: Mapping[int, float]

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {**asdict(self), "tokens_per_second": {str(size): rate for size, rate in self.tokens_per_second.items()}}


@dataclass(frozen=True)
class Start:
    """What beginning costs in a new process.

    first_step_s: from the start of the process to the end of the first step. load_s: of loading the bundle alone.
    memory_mib: the largest resident memory.
    """

    first_step_s: float
    load_s: float
    memory_mib: float

    def to_json(self) -> dict[str, float]:
        """As plain JSON values."""
        return asdict(self)


def measure(
    models: Mapping[str, Model], *, rounds: int = 15, steps: int = 100, batches: Sequence[int] = BATCHES
) -> dict[str, Steps]:
    """Step every model for `rounds` rounds of `steps`, in turns."""
    singles = {name: _stepper(model) for name, model in models.items()}
    texts = {name: _texts(model, batches) for name, model in models.items()}
    firsts: dict[str, list[float]] = {name: [] for name in models}
    times: dict[str, list[float]] = {name: [] for name in models}
    taken: dict[str, dict[int, list[float]]] = {name: {size: [] for size in texts[name]} for name in models}
    for _ in range(rounds):
        for name, step in singles.items():
            for _ in range(steps):
                begun = time.perf_counter()
                step()
                times[name].append(time.perf_counter() - begun)
        for name, model in models.items():
            if model.tokenizer is not None:
                firsts[name].append(_first_token(model))
        for name, sizes in texts.items():
            for size, decode in sizes.items():
                count = max(2, steps // size)
                begun = time.perf_counter()
                decode(count)
                taken[name][size].append((time.perf_counter() - begun) / (count * size))
    return {name: _steps(times[name], firsts[name], taken[name]) for name in models}


def _steps(seconds: Sequence[float], firsts: Sequence[float], per_token: Mapping[int, Sequence[float]]) -> Steps:
    median, p95, p99 = (1e6 * np.percentile(seconds, (50, 95, 99))).tolist()
    first = float(1e3 * np.median(firsts)) if firsts else None
    return Steps(median, p95, p99, first, {size: float(1 / np.median(taken)) for size, taken in per_token.items()})


def _begun(model: Model) -> Stream:
    """A stream that has read a prompt and never ends by itself."""
    assert model.tokenizer is not None
    ends = {} if model.tokenizer.end_id is None else {model.tokenizer.end_id: -math.inf}
    stream = model.stream(Sampler(temperature=0.8, top_k=40, seed=0, bias=ends))
    stream.prefill(np.arange(_PROMPT) % len(model.tokenizer))
    return stream


def _first_token(model: Model) -> float:
    """Seconds from a prompt to the first token."""
    begun = time.perf_counter()
    next(_begun(model).tokens(1))
    return time.perf_counter() - begun


def _stepper(model: Model) -> Callable[[], object]:
    """One step of one stream, over and over."""
    spec = model.contract[STEP] if STEP in {graph.name for graph in model.contract.graphs} else model.contract.graphs[0]
    tensors = {tensor.name: tensor for tensor in (*spec.inputs, *spec.conditions)}
    arrays = example(tensors, 1, np.random.default_rng(0), axis_sizes(spec))
    inputs: dict[str, Array] = {tensor.name: arrays.pop(tensor.name) for tensor in spec.inputs}
    state = {carried.name: np.zeros(carried.shape({BATCH: 1}), carried.numpy_dtype) for carried in spec.states}
    cursor = model.cursor(arrays, state, graph=spec.name)
    return lambda: cursor.step(inputs)


def _texts(model: Model, sizes: Sequence[int]) -> dict[int, Callable[[int], None]]:
    """What decodes so many tokens in each of so many streams."""
    if model.tokenizer is None:
        return {}
    stream = _begun(model)

    def alone(count: int) -> None:
        for _ in stream.decode(count):
            pass

    def together(size: int) -> Callable[[int], None]:
        batch = Batch(model)
        for _ in range(size):
            batch.join(_begun(model))

        def decode(count: int) -> None:
            for _ in range(count):
                batch.step()

        decode(1)
        return decode

    several = [size for size in sizes if size > 1] if model.contract[STEP].batched else []
    return {1: alone, **{size: together(size) for size in several}}


_CHILD = """
import json, sys, time
begun = time.perf_counter()
from edgernn.cli.load import load_model
from pathlib import Path
loading = time.perf_counter()
model = load_model(Path(sys.argv[1]))
load_s = time.perf_counter() - loading
from edgernn.runtime.benchmark import first_step, peak_memory
first_step(model)
print(json.dumps([load_s, peak_memory()]), flush=True)
"""


def first_step(model: Model) -> None:
    """Take one step."""
    _stepper(model)()


def peak_memory() -> float:
    """The largest resident memory of this process in MiB.

    Linux keeps it for the program itself; `getrusage` would count what the parent had when it started the program.
    """
    status = Path("/proc/self/status")
    if status.exists():
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20)  # bytes on a Mac


def measure_start(bundle: Path) -> Start:
    """Load `bundle` in a new process and take a step. Raises EngineError if that process fails."""
    begun = time.perf_counter()
    command = [sys.executable, "-c", _CHILD, str(bundle)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - begun
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["it said nothing"]
        raise EngineError(f"{bundle} cannot be started in a new process: {lines[-1]}")
    load, memory = json.loads(done.stdout)
    return Start(seconds, load, memory)
