"""Parity: an artifact must behave like the network that it was exported from, step for step, within a tolerance."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from edgernn.contract import Array, GraphSpec
from edgernn.errors import ParityError
from edgernn.runtime.engine import Engine

__all__ = [
    "CONVOLUTION_TOLERANCES",
    "TOLERANCES",
    "Comparison",
    "ExactMatches",
    "Loss",
    "Parity",
    "Step",
    "Tolerance",
    "chain",
    "pairs",
    "tolerance_of",
    "worst",
]


@dataclass(frozen=True)
class Tolerance:
    """How far an artifact may be from its source.

    largest: of any element of an output at any step, absolutely; of a state after the last step, divided by
    max(1, |state|), since a state may grow without bound (an LSTM's c passes 100), and with it the rounding of float32.
    rms: root mean square of all differences of an output or a last state, divided by that of its values.
    loss: rise of the loss on held-out data, for text in nats per token.
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


# Of graphs that hold convolutions, which come in dozens, one after the other, so that rounding errors accumulate. At
# fp32, torch itself differed by 5e-5 between two orders of the same sums, and onnxruntime by 9e-5. At int8, root mean
# squares of 0.17 to 0.36 were measured where the held-out loss did not rise, and 0.9 where the network was destroyed;
# the loss, and whole sequences, are checked as well.
CONVOLUTION_TOLERANCES: Mapping[str, Mapping[str, float]] = {"fp32": {"largest": 5e-4}, "int8": {"rms": 0.75}}


def tolerance_of(precision: str, *, convolutions: bool) -> Tolerance:
    """The tolerance of a graph at `precision`, which is wider where the graph holds convolutions."""
    return replace(TOLERANCES[precision], **(CONVOLUTION_TOLERANCES.get(precision, {}) if convolutions else {}))


@dataclass(frozen=True)
class Loss:
    """Mean loss on held-out data, of the source and of the artifact. tokens: how many targets it is the mean of."""

    source: float
    artifact: float
    tokens: int


@dataclass(frozen=True)
class ExactMatches:
    """How many whole sequences of the artifact are the same as the source's, and of how many."""

    same: int
    of: int


@dataclass(frozen=True)
class Parity:
    """What was measured over `steps` chained steps, and the tolerance that it was compared with.

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
    matches: ExactMatches | None = None

    def to_json(self) -> dict[str, Any]:
        """As `export --json` and `verify --json` print it; what is not a number, which JSON lacks, is null."""
        values = {name: _plain(getattr(self, name)) for name in ("steps", *_MEASURES)}
        limits = {"tolerance": self.tolerance.largest, "tolerance_rms": self.tolerance.rms}
        loss = None if self.loss is None else {**asdict(self.loss), "tolerance": self.tolerance.loss}
        answers = None if self.matches is None else asdict(self.matches)
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
    """The largest differences of several comparisons, and the widest of their tolerances."""
    measures = {name: [getattr(parity, name) for parity in parities] for name in _MEASURES}
    largest: dict[str, Any] = {name: float(np.max(values)) for name, values in measures.items()}  # keeps not-a-number
    limits = [asdict(parity.tolerance) for parity in parities]
    widest = Tolerance(**{name: max(limit[name] for limit in limits) for name in limits[0]})
    return Parity(max(parity.steps for parity in parities), widest, **largest)


@dataclass(frozen=True)
class Step:
    """One step of a graph: inputs and conditions, outputs by name, and next states by the input that they feed.

    outputs: those that are known; golden vectors do not hold all of them.
    """

    given: Mapping[str, Array]
    outputs: Mapping[str, Array]
    states: Mapping[str, Array]


def chain(
    engine: Engine, spec: GraphSpec, given: Iterable[Mapping[str, Array]], states: Mapping[str, Array]
) -> Iterator[Step]:
    """Run `engine` on one input after the other, each time with the states of the step before."""
    for inputs in given:
        outputs, states = _run(engine, spec, {**inputs, **states})
        yield Step(inputs, outputs, states)


def pairs(
    expected: Iterable[Step], artifact: Engine, spec: GraphSpec, states: Mapping[str, Array]
) -> Iterator[tuple[Step, Step]]:
    """Drive `artifact` in lock-step with its source, from `states` on: each step of the source and its own."""
    for step in expected:
        outputs, states = _run(artifact, spec, {**step.given, **states})
        yield step, Step(step.given, outputs, states)


def _run(engine: Engine, spec: GraphSpec, feeds: Mapping[str, Array]) -> tuple[dict[str, Array], dict[str, Array]]:
    results = engine.run(feeds)
    count = len(spec.outputs)
    outputs = zip((tensor.name for tensor in spec.outputs), results[:count], strict=True)
    return dict(outputs), dict(zip((state.input for state in spec.states), results[count:], strict=True))


class Comparison:
    """Compares the steps of an artifact with those of its source while they are taken.

    Every known output of every step is compared, and every state after the last step. Raises ParityError, which names
    graph, tensor, step, number of streams and size, at the first difference beyond the tolerance.
    """

    def __init__(self, spec: GraphSpec, tolerance: Tolerance) -> None:
        self._spec = spec
        self._measured = Parity(0, tolerance)
        self._outputs, self._states = _Squares(), _Squares()
        self._last: tuple[Step, Step] | None = None

    def add(self, expected: Step, actual: Step) -> None:
        """Compare the outputs of one step."""
        self._last = expected, actual
        self._measured = replace(self._measured, steps=self._measured.steps + 1)
        for name, values in expected.outputs.items():
            absolute, _ = self._differences(self._outputs, name, values, actual.outputs[name])
            self._note(max_abs_diff_outputs=absolute)
            self._check(name, absolute, self._measured.tolerance.largest)

    def result(self) -> Parity:
        """Compare the states after the last step and the root mean squares: what was measured."""
        assert self._last is not None
        expected, actual = self._last
        self._note(rms_diff_outputs=self._outputs.largest_ratio())
        for state in self._spec.states:
            values = expected.states[state.input], actual.states[state.input]
            absolute, scaled = self._differences(self._states, state.output, *values)
            self._note(max_abs_diff_state=absolute, max_scaled_diff_state=scaled)
            self._note(rms_diff_state=self._states.largest_ratio())
            self._check(state.output, scaled, self._measured.tolerance.largest)
        for squares in (self._outputs, self._states):
            for name in squares.values:
                limit = self._measured.tolerance.rms
                self._check(name, squares.ratio(name), limit, " in the root mean square")
        return self._measured

    def _note(self, **measures: float) -> None:
        """Keep the larger of each of `measures` and what was measured before; not-a-number is the largest."""
        larger = {name: float(np.maximum(getattr(self._measured, name), value)) for name, value in measures.items()}
        self._measured = replace(self._measured, **larger)  # type: ignore[arg-type] # `measures` names floats alone

    def _differences(self, squares: _Squares, name: str, expected: Array, actual: Array) -> tuple[float, float]:
        """The largest absolute difference and the largest scaled one of a tensor."""
        if actual.shape != expected.shape:
            raise ParityError(
                f"graph {self._spec.name}, {name} {self._place()}: the artifact's shape is {actual.shape}, "
                f"the source's {expected.shape}"
            )
        wide = expected.astype(np.float64)
        with np.errstate(invalid="ignore"):  # masked logits are infinite
            apart = np.where(actual == expected, 0.0, np.abs(actual.astype(np.float64) - wide))
        wide = np.where(np.isinf(wide), 0.0, wide)
        squares.add(name, apart, wide)
        scaled = apart / np.maximum(1, np.abs(wide))
        return float(np.max(apart, initial=0.0)), float(np.max(scaled, initial=0.0))

    def _check(self, name: str, difference: float, limit: float, kind: str = "") -> None:
        if not difference <= limit:  # not a number is beyond every tolerance
            raise ParityError(
                f"graph {self._spec.name}, {name} {self._place()}: the artifact differs from its source by "
                f"{difference:.3g}{kind}, beyond {limit:g}",
                self._measured.to_json(),
            )

    def _place(self) -> str:
        """The step and the number of streams, for a message."""
        assert self._last is not None
        streams = _streams(self._spec, self._last[0].given)
        return f"at step {self._measured.steps} with {streams} stream{'s' if streams > 1 else ''}"


@dataclass(frozen=True)
class _Squares:
    """Sums of squares, by tensor: of the differences, and of the values that they are compared with."""

    differences: dict[str, float] = field(default_factory=dict)
    values: dict[str, float] = field(default_factory=dict)

    def add(self, name: str, differences: Array, values: Array) -> None:
        self.differences[name] = self.differences.get(name, 0.0) + float(np.sum(differences**2))
        self.values[name] = self.values.get(name, 0.0) + float(np.sum(values**2))

    def ratio(self, name: str) -> float:
        """Root mean square of the differences over that of the values of one tensor."""
        difference = self.differences[name]
        return math.sqrt(difference / self.values[name]) if self.values[name] else (math.inf if difference else 0.0)

    def largest_ratio(self) -> float:
        """The largest ratio of all tensors."""
        return float(np.max([self.ratio(name) for name in self.values], initial=0.0))


def _streams(spec: GraphSpec, given: Mapping[str, Array]) -> int:
    axes = ((given[name], tensor.batch_axis) for name, tensor in spec.feeds.items() if name in given)
    return next((array.shape[axis] for array, axis in axes if axis is not None), 1)
