"""Measure step and decoding times of models, interleaved, so that noise of the machine affects all of them alike."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from edgernn.contract import BATCH, Array, FromGraph, GraphSpec, TensorSpec
from edgernn.errors import ConfigError
from edgernn.examples import axis_sizes, example
from edgernn.runtime.batch import Batch
from edgernn.runtime.model import STEP, Model
from edgernn.runtime.stream import Stream
from edgernn.sampling import Sampler

__all__ = ["BATCHES", "Row", "Steps", "measure", "stepper"]

BATCHES = (1, 4, 16, 64)
_PROMPT = 16  # tokens


@dataclass(frozen=True)
class Row:
    """The time of one step of `batch` streams, in microseconds.

    tokens_per_second: the rate of decoding in `batch` streams with temperature and top-k; None for a model that does
    not decode.
    """

    batch: int
    median_us: float
    p95_us: float
    p99_us: float
    tokens_per_second: float | None


@dataclass(frozen=True)
class Steps:
    """The measurements for each batch size, beginning with one stream.

    first_token_ms: the time from a prompt of 16 tokens to the first sampled token; None for a model that does not
    decode.
    """

    rows: tuple[Row, ...]
    first_token_ms: float | None

    @property
    def one(self) -> Row:
        """The measurements with one stream."""
        return self.rows[0]


def measure(
    models: Mapping[str, Model], *, rounds: int = 15, steps: int = 100, batches: Sequence[int] = BATCHES
) -> dict[str, Steps]:
    """Time every model in turns: `rounds` rounds of about `steps` steps for each size of batch.

    A model in compiled code has a second entry, named "floor of NAME": the time to read the weights of a step once.
    Raises ConfigError for less than one round.
    """
    if rounds < 1:
        raise ConfigError(f"rounds {rounds} is not a whole number of at least 1")
    steppers = {name: _steppers(model, batches) for name, model in models.items()} | _floors(models)
    texts = {name: _texts(model, steppers[name]) for name, model in models.items()}
    firsts: dict[str, list[float]] = {name: [] for name in steppers}
    times: dict[str, dict[int, list[float]]] = {name: {size: [] for size in steppers[name]} for name in steppers}
    taken: dict[str, dict[int, list[float]]] = {name: {size: [] for size in texts.get(name, ())} for name in steppers}
    for _ in range(rounds):
        for name, sizes in steppers.items():
            for size, step in sizes.items():
                for _ in range(max(2, steps // size)):
                    times[name][size].append(_seconds(step))
        for name, model in models.items():
            if _decodes(model):
                firsts[name].append(_seconds(partial(_first_token, model)))
        for name, streams in texts.items():
            for size, decode in streams.items():
                count = max(2, steps // size)
                taken[name][size].append(_seconds(partial(decode, count)) / (count * size))
    return {name: _steps(times[name], firsts[name], taken[name]) for name in steppers}


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


def _decodes(model: Model) -> bool:
    """Return whether the model generates text from nothing but a prompt."""
    spec = _spec(model)
    from_graphs = [state for state in spec.states if isinstance(state.initial, FromGraph)]
    return spec.name == STEP and model.text_of(STEP).decodes and not (spec.conditions or from_graphs)


def _begun(model: Model) -> Stream:
    """Return a stream that has read a prompt and never samples the end token."""
    assert model.tokenizer is not None
    ends = {} if model.tokenizer.end_id is None else {model.tokenizer.end_id: -math.inf}
    stream = model.stream(Sampler(temperature=0.8, top_k=40, seed=0, bias=ends))
    stream.prefill(np.arange(_PROMPT) % len(model.tokenizer))
    return stream


def _first_token(model: Model) -> None:
    next(_begun(model).tokens(1))


def stepper(model: Model) -> Callable[[], object]:
    """Return a function that takes one step of one stream, with inputs that fit the contract."""
    return _stepper(model, _spec(model))


def _spec(model: Model) -> GraphSpec:
    names = {graph.name for graph in model.contract.graphs}
    return model.contract[STEP] if STEP in names else model.contract.graphs[0]


def _floors(models: Mapping[str, Model]) -> dict[str, dict[int, Callable[[], object]]]:
    """Return, for each model in compiled code, a function that reads the weights of a step once."""
    floors = {name: model.floor(graph=_spec(model).name) for name, model in models.items()}
    return {f"floor of {name}": {1: floor} for name, floor in floors.items() if floor is not None}


def _steppers(model: Model, sizes: Sequence[int]) -> dict[int, Callable[[], object]]:
    """Return a function for each batch size that takes one step; only for one stream if the graph cannot be batched."""
    spec = _spec(model)
    several = [size for size in sizes if size > 1] if spec.batched else []
    return {1: _stepper(model, spec), **{size: _together(model, spec, size) for size in several}}


def _stepper(model: Model, spec: GraphSpec) -> Callable[[], object]:
    inputs, conditions, state = _feeds(model, spec, 1)
    cursor = model.cursor(conditions, state, graph=spec.name)
    return lambda: cursor.step(inputs)


def _together(model: Model, spec: GraphSpec, size: int) -> Callable[[], object]:
    inputs, conditions, state = _feeds(model, spec, size)
    return lambda: model.step(inputs, state, conditions=conditions, graph=spec.name)


def _feeds(model: Model, spec: GraphSpec, size: int) -> tuple[dict[str, Array], dict[str, Array], dict[str, Array]]:
    """Return inputs, conditions and zero states for `size` streams: those of the golden vectors, or random ones."""
    tensors = {tensor.name: tensor for tensor in (*spec.inputs, *spec.conditions)}
    recorded = model.recorded(spec.name)
    sizes = axis_sizes(spec)
    for name, array in recorded.items():
        sizes |= tensors[name].named_sizes(array)
    arrays = example(tensors, size, np.random.default_rng(0), sizes)
    arrays |= {name: _repeat(tensors[name], array, size) for name, array in recorded.items()}
    inputs = {tensor.name: arrays.pop(tensor.name) for tensor in spec.inputs}
    sizes[BATCH] = size
    return inputs, arrays, {state.name: np.zeros(state.shape(sizes), state.numpy_dtype) for state in spec.states}


def _repeat(tensor: TensorSpec, array: Array, size: int) -> Array:
    return array if tensor.batch_axis is None else np.repeat(array, size, axis=tensor.batch_axis)


def _texts(model: Model, sizes: Iterable[int]) -> dict[int, Callable[[int], None]]:
    """Return a function for each batch size that decodes a given number of tokens in each stream."""
    if not _decodes(model):
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
