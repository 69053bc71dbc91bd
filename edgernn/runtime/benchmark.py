"""How fast bundles run here: all of them in one run, taking turns, so that noise falls on all alike."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from edgernn.contract import BATCH, Array, GraphSpec
from edgernn.errors import EngineError
from edgernn.examples import axis_sizes, example
from edgernn.runtime.batch import Batch
from edgernn.runtime.model import STEP, Model
from edgernn.runtime.stream import Stream
from edgernn.sampling import Sampler

__all__ = ["BATCHES", "Row", "Start", "Steps", "measure", "measure_start"]

BATCHES = (1, 4, 16, 64)
_PROMPT = 16  # tokens


@dataclass(frozen=True)
class Row:
    """Microseconds of a step of `batch` streams together.

    tokens_per_second: of decoding so many streams with temperature and top-k, or None without text.
    """

    batch: int
    median_us: float
    p95_us: float
    p99_us: float
    tokens_per_second: float | None


@dataclass(frozen=True)
class Steps:
    """A row for each size of batch, one stream first.

    first_token_ms: from a prompt of 16 tokens to the first one drawn, or None without text.
    """

    rows: tuple[Row, ...]
    first_token_ms: float | None

    @property
    def one(self) -> Row:
        """The row of one stream."""
        return self.rows[0]


@dataclass(frozen=True)
class Start:
    """What beginning costs in a new process.

    first_step_s: from the start of the process to the end of the first step. load_s: of loading the bundle alone.
    memory_mib: the largest resident memory.
    """

    first_step_s: float
    load_s: float
    memory_mib: float


def measure(
    models: Mapping[str, Model], *, rounds: int = 15, steps: int = 100, batches: Sequence[int] = BATCHES
) -> dict[str, Steps]:
    """Step every model for `rounds` rounds of about `steps` for each size of batch, in turns."""
    steppers = {name: _steppers(model, batches) for name, model in models.items()}
    texts = {name: _texts(model, steppers[name]) for name, model in models.items()}
    firsts: dict[str, list[float]] = {name: [] for name in models}
    times: dict[str, dict[int, list[float]]] = {name: {size: [] for size in steppers[name]} for name in models}
    taken: dict[str, dict[int, list[float]]] = {name: {size: [] for size in texts[name]} for name in models}
    for _ in range(rounds):
        for name, sizes in steppers.items():
            for size, step in sizes.items():
                for _ in range(max(2, steps // size)):
                    times[name][size].append(_seconds(step))
        for name, model in models.items():
            if _writes(model):
                firsts[name].append(_seconds(partial(_first_token, model)))
        for name, streams in texts.items():
            for size, decode in streams.items():
                count = max(2, steps // size)
                taken[name][size].append(_seconds(partial(decode, count)) / (count * size))
    return {name: _steps(times[name], firsts[name], taken[name]) for name in models}


def _seconds(task: Callable[[], object]) -> float:
    begun = time.perf_counter()
    task()
    return time.perf_counter() - begun


def _steps(
    seconds: Mapping[int, Sequence[float]], firsts: Sequence[float], per_token: Mapping[int, Sequence[float]]
) -> Steps:
    rows = []
    for size, each in seconds.items():
        median, p95, p99 = (1e6 * np.percentile(each, (50, 95, 99))).tolist()
        rows.append(Row(size, median, p95, p99, float(1 / np.median(per_token[size])) if size in per_token else None))
    return Steps(tuple(rows), float(1e3 * np.median(firsts)) if firsts else None)


def _writes(model: Model) -> bool:
    """Whether a prompt is all that the model needs to write."""
    return model.tokenizer is not None and not model.contract[STEP].conditions


def _begun(model: Model) -> Stream:
    """A stream that has read a prompt and never ends by itself."""
    assert model.tokenizer is not None
    ends = {} if model.tokenizer.end_id is None else {model.tokenizer.end_id: -math.inf}
    stream = model.stream(Sampler(temperature=0.8, top_k=40, seed=0, bias=ends))
    stream.prefill(np.arange(_PROMPT) % len(model.tokenizer))
    return stream


def _first_token(model: Model) -> None:
    next(_begun(model).tokens(1))


def _spec(model: Model) -> GraphSpec:
    names = {graph.name for graph in model.contract.graphs}
    return model.contract[STEP] if STEP in names else model.contract.graphs[0]


def _steppers(model: Model, sizes: Sequence[int]) -> dict[int, Callable[[], object]]:
    """One step of so many streams, over and over; of one stream where the graph takes no more."""
    spec = _spec(model)
    several = [size for size in sizes if size > 1] if spec.batched else []
    return {1: _stepper(model, spec), **{size: _together(model, spec, size) for size in several}}


def _stepper(model: Model, spec: GraphSpec) -> Callable[[], object]:
    inputs, conditions, state = _feeds(spec, 1)
    cursor = model.cursor(conditions, state, graph=spec.name)
    return lambda: cursor.step(inputs)


def _together(model: Model, spec: GraphSpec, size: int) -> Callable[[], object]:
    inputs, conditions, state = _feeds(spec, size)
    return lambda: model.step(inputs, state, conditions=conditions, graph=spec.name)


def _feeds(spec: GraphSpec, size: int) -> tuple[dict[str, Array], dict[str, Array], dict[str, Array]]:
    """Inputs, conditions and states of `size` streams."""
    tensors = {tensor.name: tensor for tensor in (*spec.inputs, *spec.conditions)}
    arrays = example(tensors, size, np.random.default_rng(0), axis_sizes(spec))
    inputs = {tensor.name: arrays.pop(tensor.name) for tensor in spec.inputs}
    return inputs, arrays, {s.name: np.zeros(s.shape({BATCH: size}), s.numpy_dtype) for s in spec.states}


def _texts(model: Model, sizes: Iterable[int]) -> dict[int, Callable[[int], None]]:
    """What decodes so many tokens in each of so many streams."""
    if not _writes(model):
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

    return {size: alone if size == 1 else together(size) for size in sizes}


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
    _stepper(model, _spec(model))()


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
