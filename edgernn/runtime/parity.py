"""The gate: an artifact must behave like its source over many chained steps, or it is not written."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from typing import Any

import numpy as np

from edgernn.contract import BATCH, Array, GraphSpec, TensorSpec
from edgernn.errors import ParityError
from edgernn.runtime.engine import Engine

__all__ = [
    "OTHER_AXIS",
    "STEPS",
    "TOLERANCES",
    "ExactMatches",
    "Inputs",
    "Loss",
    "Parity",
    "Step",
    "Tolerance",
    "axis_sizes",
    "chain",
    "compare",
    "example",
    "measure",
    "random_inputs",
    "tolerance_of",
    "worst",
]

# Of each step, without end, for so many streams; conditions may be among them, the same ones at every step.
Inputs = Callable[[int], Iterable[Mapping[str, Array]]]

STEPS = 1024
BATCHES = (1, 4)  # streams driven together: alone, and in company
OTHER_AXIS = 7  # size given to the first of the named axes other than the batch


@dataclass(frozen=True)
class Tolerance:
    """How far an artifact may be from its source.

    largest: of any element of an output at any step, absolutely; of a state's after the last step, scaled by
    max(1, |state|), since a state may grow without bound (an LSTM's c passes 100), and with it the rounding of float32.
    rms: of all differences of an output or last state, as a part of the root mean square of its values.
    loss: rise of the loss on held-out text, in nats per token.
    """

    largest: float
    rms: float
    loss: float


TOLERANCES = {
    "fp32": Tolerance(largest=1e-4, rms=1e-4, loss=1e-5),
    "fp16": Tolerance(largest=0.1, rms=0.005, loss=0.002),
    "int8": Tolerance(largest=3.0, rms=0.1, loss=0.01),
    "int4": Tolerance(largest=20.0, rms=0.5, loss=0.05),
}


# What adds up over dozens of convolutions, one after the other, in graphs without state. Single precision: torch itself
# came to 5e-5 between two orders of the same sums, and onnxruntime to 9e-5. Bytes: root mean squares of 0.17 to 0.36
# where the loss did not rise, and 0.9 where all was lost; the loss, and whole answers, are held beside it.
CONVOLUTION_TOLERANCES: Mapping[str, Mapping[str, float]] = {"fp32": {"largest": 5e-4}, "int8": {"rms": 0.75}}


def tolerance_of(precision: str, spec: GraphSpec) -> Tolerance:
    """How far a graph at `precision` may be from its source; one without state, which looks once, may be farther."""
    return replace(TOLERANCES[precision], **({} if spec.states else CONVOLUTION_TOLERANCES.get(precision, {})))


@dataclass(frozen=True)
class Loss:
    """Nats per token of held-out text, of the source and of the artifact."""

    source: float
    artifact: float
    tokens: int


@dataclass(frozen=True)
class ExactMatches:
    """Whole answers of the artifact that are the source's, and of how many."""

    same: int
    of: int


@dataclass(frozen=True)
class Parity:
    """What was measured over `steps` chained steps, and the tolerance that it was held to.

    max_abs: largest absolute differences; max_scaled and rms: as `Tolerance` explains them.
    """

    steps: int
    tolerance: Tolerance
    max_abs_diff_outputs: float = 0.0
    max_abs_diff_state: float = 0.0
    max_scaled_diff_state: float = 0.0
    rms_diff_outputs: float = 0.0
    rms_diff_state: float = 0.0
    loss: Loss | None = None
    answers: ExactMatches | None = None

    def to_json(self) -> dict[str, Any]:
        """As `export --json` and `verify --json` print it; what is not a number, which JSON lacks, is null."""
        values = {name: _plain(getattr(self, name)) for name in ("steps", *_MEASURES)}
        limits = {"tolerance": self.tolerance.largest, "tolerance_rms": self.tolerance.rms}
        loss = None if self.loss is None else {**asdict(self.loss), "tolerance": self.tolerance.loss}
        answers = None if self.answers is None else asdict(self.answers)
        return {**values, **limits, "loss": loss, **({"answers": answers} if answers else {})}


_MEASURES = (
    "max_abs_diff_outputs",
    "max_abs_diff_state",
    "max_scaled_diff_state",
    "rms_diff_outputs",
    "rms_diff_state",
)


def _plain(value: float) -> float | None:
    return value if math.isfinite(value) else None


def worst(parities: Sequence[Parity]) -> Parity:
    """The largest differences of several comparisons."""
    measures = {name: [getattr(parity, name) for parity in parities] for name in _MEASURES}
    largest: dict[str, Any] = {name: float(np.max(values)) for name, values in measures.items()}  # keeps not-a-number
    losses = [parity.loss for parity in parities if parity.loss is not None]
    return Parity(max(p.steps for p in parities), parities[0].tolerance, **largest, loss=losses[0] if losses else None)


@dataclass(frozen=True)
class Step:
    """What a graph was given and what it made of it: outputs by name, next states by the input that they feed.

    outputs: those that are known, which of recorded steps are not all.
    """

    given: Mapping[str, Array]
    outputs: Mapping[str, Array]
    states: Mapping[str, Array]


def compare(
    source: Engine,
    artifact: Engine,
    spec: GraphSpec,
    *,
    tolerance: Tolerance,
    steps: int = STEPS,
    seed: int = 0,
    inputs: Inputs | None = None,
) -> Parity:
    """Drive both with the same inputs, alone and four streams at once, each on its own state.

    inputs: those of each step for so many streams, endless; random ones if None.
    Raises ParityError, naming step, tensor and size, at the first difference beyond `tolerance`.
    """
    parities = []
    for turn, batch in enumerate(BATCHES if spec.batched else (1,)):
        random = np.random.default_rng((seed, batch))
        sizes = axis_sizes(spec, OTHER_AXIS - 4 * turn)
        held = example({tensor.name: tensor for tensor in spec.conditions}, batch, random, sizes)
        states = example({state.input: state for state in spec.states}, batch, random, sizes)
        each = random_inputs(spec, batch, random, sizes) if inputs is None else inputs(batch)
        given = ({**held, **one} for one in islice(each, steps))
        parities.append(measure(chain(source, spec, given, states), states, artifact, spec, tolerance))
    return worst(parities)


def axis_sizes(spec: GraphSpec, smallest: int = OTHER_AXIS) -> dict[str, int]:
    """A size for every named axis but the batch, each another, from `smallest` on."""
    tensors = (*spec.feeds.values(), *spec.results.values())
    names = dict.fromkeys(axis for tensor in tensors for axis in tensor.axes if isinstance(axis, str) and axis != BATCH)
    return {name: smallest + 2 * place for place, name in enumerate(names)}


def random_inputs(
    spec: GraphSpec, batch: int, random: np.random.Generator, sizes: Mapping[str, int] | None = None
) -> Iterator[dict[str, Array]]:
    """Random inputs of one step after the other, without end."""
    tensors = {tensor.name: tensor for tensor in spec.inputs}
    while True:
        yield example(tensors, batch, random, axis_sizes(spec) if sizes is None else sizes)


def chain(
    engine: Engine, spec: GraphSpec, given: Iterable[Mapping[str, Array]], states: Mapping[str, Array]
) -> Iterator[Step]:
    """Run `engine` on one input after the other, each time with the states of the step before."""
    for inputs in given:
        outputs, states = _run(engine, spec, {**inputs, **states})
        yield Step(inputs, outputs, states)


def measure(
    expected: Iterable[Step], states: Mapping[str, Array], artifact: Engine, spec: GraphSpec, tolerance: Tolerance
) -> Parity:
    """Drive `artifact` through the steps that its source took, from `states` on, and compare what comes out.

    Every known output is compared, and every state after the last step. Raises ParityError at the first difference
    beyond `tolerance`.
    """
    measured, sums = Parity(0, tolerance), _Sums()
    streams, step = 0, None
    for step in expected:
        outputs, states = _run(artifact, spec, {**step.given, **states})
        measured = replace(measured, steps=measured.steps + 1)
        streams = streams or _streams(spec, step.given)
        where = _Where(spec, measured.steps, streams)
        for name, values in step.outputs.items():
            absolute, _ = sums.add(name, values, outputs[name], where)
            largest = float(np.maximum(measured.max_abs_diff_outputs, absolute))
            measured = replace(measured, max_abs_diff_outputs=largest)
            where.hold(name, absolute, tolerance.largest, measured)
    assert step is not None
    measured = replace(measured, rms_diff_outputs=sums.ratio())
    state_sums = _Sums()
    for state in spec.states:
        absolute, scaled = state_sums.add(state.output, step.states[state.input], states[state.input], where)
        measured = replace(
            measured,
            max_abs_diff_state=float(np.maximum(measured.max_abs_diff_state, absolute)),
            max_scaled_diff_state=float(np.maximum(measured.max_scaled_diff_state, scaled)),
            rms_diff_state=state_sums.ratio(),
        )
        where.hold(state.output, scaled, tolerance.largest, measured)
    for each in (sums, state_sums):
        for name in each.names:
            where.hold(name, each.ratio(name), tolerance.rms, measured, " in the root mean square")
    return measured


@dataclass(frozen=True)
class _Where:
    """The place of a comparison, for the message of a failed one."""

    spec: GraphSpec
    step: int
    streams: int

    def __str__(self) -> str:
        return f"at step {self.step} with {self.streams} stream{'s' if self.streams > 1 else ''}"

    def hold(self, name: str, difference: float, limit: float, measured: Parity, kind: str = "") -> None:
        if not difference <= limit:  # not a number is beyond every tolerance
            raise ParityError(
                f"graph {self.spec.name}, {name} {self}: the artifact differs from its source by "
                f"{difference:.3g}{kind}, beyond {limit:g}",
                measured.to_json(),
            )


@dataclass(frozen=True)
class _Sums:
    """Sums of squares of differences and of what they are measured against, by tensor."""

    differences: dict[str, float] = field(default_factory=dict)
    values: dict[str, float] = field(default_factory=dict)

    @property
    def names(self) -> Iterable[str]:
        return self.values.keys()

    def add(self, name: str, expected: Array, actual: Array, where: _Where) -> tuple[float, float]:
        """The largest absolute difference, and the largest scaled one."""
        if actual.shape != expected.shape:
            raise ParityError(
                f"graph {where.spec.name}, {name} {where}: the artifact's shape is {actual.shape}, "
                f"the source's {expected.shape}"
            )
        wide = expected.astype(np.float64)
        with np.errstate(invalid="ignore"):  # of infinities, which masked logits are
            apart = np.where(actual == expected, 0.0, np.abs(actual.astype(np.float64) - wide))
        wide = np.where(np.isinf(wide), 0.0, wide)
        self.differences[name] = self.differences.get(name, 0.0) + float(np.sum(apart**2))
        self.values[name] = self.values.get(name, 0.0) + float(np.sum(wide**2))
        scaled = apart / np.maximum(1, np.abs(wide))
        return float(np.max(apart, initial=0.0)), float(np.max(scaled, initial=0.0))

    def ratio(self, name: str = "") -> float:
        """Root mean square of the differences over that of the values, of one tensor or the worst."""
        if not name:
            return float(np.max([self.ratio(each) for each in self.names], initial=0.0))
        difference = self.differences[name]
        return math.sqrt(difference / self.values[name]) if self.values[name] else (math.inf if difference else 0.0)


def _run(engine: Engine, spec: GraphSpec, feeds: Mapping[str, Array]) -> tuple[dict[str, Array], dict[str, Array]]:
    results = engine.run(feeds)
    count = len(spec.outputs)
    outputs = zip((tensor.name for tensor in spec.outputs), results[:count], strict=True)
    return dict(outputs), dict(zip((state.input for state in spec.states), results[count:], strict=True))


def _streams(spec: GraphSpec, given: Mapping[str, Array]) -> int:
    axes = ((given[name], tensor.batch_axis) for name, tensor in spec.feeds.items() if name in given)
    return next((array.shape[axis] for array, axis in axes if axis is not None), 1)


def example(
    specs: Mapping[str, TensorSpec], batch: int, random: np.random.Generator, sizes: Mapping[str, int] | None = None
) -> dict[str, Array]:
    """Random tensors that fit `specs`: uniform within their bounds, other floats normally distributed.

    sizes: of named axes that are not the batch; those that it lacks get 7.
    """
    return {name: _example(spec, {**(sizes or {}), BATCH: batch}, random) for name, spec in specs.items()}


def _example(spec: TensorSpec, sizes: Mapping[str, int], random: np.random.Generator) -> Array:
    shape = spec.shape({axis: sizes.get(axis, OTHER_AXIS) for axis in spec.axes if isinstance(axis, str)})
    kind = spec.numpy_dtype.kind
    if kind == "f" and spec.bound is not None:
        return random.uniform(-spec.bound, spec.bound, shape).astype(spec.numpy_dtype)
    if kind == "f":
        return random.standard_normal(shape).astype(spec.numpy_dtype)
    highest = 256 if spec.dtype == "uint8" else 2
    return random.integers(0, int(spec.bound or highest), shape).astype(spec.numpy_dtype)
