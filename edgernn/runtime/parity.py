"""Parity: an artifact must behave like its source, step by step, within a tolerance."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, NoReturn

import numpy as np

from edgernn.contract import Array, GraphSpec, StateSpec
from edgernn.errors import ConfigError, ParityError
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
    """The largest accepted differences between an artifact and its source.

    absolute, relative: an element v of a floating-point output at any step, or of a floating-point state after the last
    step (of a chaotic graph, after any step), may differ by max(absolute, relative * |v|), since rounding errors grow
    with the magnitude. For coarser element types, four units in the last place replace a smaller `relative` and `rms`.
    rms: root mean square of all differences of an output, or of a state after the same steps, divided by the root mean
    square of its values; differences whose root mean square is at most 1e-6 count as zero.
    mismatches: the fraction of the elements of an integer or boolean tensor, over all steps, that may differ.
    loss: the largest increase of the loss on held-out data, for text in nats per token.
    """

    absolute: float
    relative: float
    rms: float
    mismatches: float
    loss: float

    def __post_init__(self) -> None:
        """Raise ConfigError for a limit that is negative or not finite."""
        for name, limit in asdict(self).items():
            if type(limit) not in (int, float) or not math.isfinite(limit) or (limit < 0 and name != "loss"):
                raise ConfigError(f"the tolerance {name} is {str(limit)[:40]}: it is a number of at least 0")

    def allowed(self, compared: int) -> int:
        """Return how many of `compared` elements of an integer or boolean tensor may differ.

        If any may differ, one more than the fraction is accepted, since a fraction of few elements is unreliable.
        """
        return math.ceil(self.mismatches * compared) + 1 if self.mismatches else 0


TOLERANCES = {
    "fp32": Tolerance(absolute=1e-4, relative=1e-4, rms=1e-4, mismatches=0.0, loss=1e-5),
    "fp16": Tolerance(absolute=0.1, relative=0.02, rms=0.005, mismatches=0.01, loss=0.002),
    "int8": Tolerance(absolute=3.0, relative=0.3, rms=0.1, mismatches=0.1, loss=0.01),
    "int4": Tolerance(absolute=20.0, relative=1.0, rms=0.5, mismatches=0.5, loss=0.05),
}


# Wider limits for convolutional graphs, where rounding errors accumulate over dozens of layers. At fp32, torch itself
# differed by 5e-5 between two summation orders, and onnxruntime by 9e-5. At int8, relative root mean squares of 0.17 to
# 0.36 were measured without an increase of the held-out loss, and 0.9 when the network was destroyed; the held-out loss
# and whole sequences are checked in addition.
CONVOLUTION_TOLERANCES: Mapping[str, Mapping[str, float]] = {
    "fp32": {"absolute": 5e-4, "relative": 5e-4},
    "int8": {"rms": 0.75},
}


def tolerance_of(precision: str, *, convolutions: bool, changes: Mapping[str, float] | None = None) -> Tolerance:
    """Return the tolerance of a graph at `precision`; limits are wider for a graph with convolutions.

    changes: limits to replace, by name. Raises ConfigError for a limit that does not exist.
    """
    changes = changes or {}
    known = [field.name for field in fields(Tolerance)]
    if unknown := sorted(changes.keys() - set(known)):
        raise ConfigError(f"there is no tolerance {unknown[0]!r}; there is {', '.join(known)}")
    wider = CONVOLUTION_TOLERANCES.get(precision, {}) if convolutions else {}
    return replace(TOLERANCES[precision], **{**wider, **changes})


@dataclass(frozen=True)
class Loss:
    """Mean loss on held-out data, of the source and of the artifact.

    tokens: the number of targets that were averaged.
    """

    source: float
    artifact: float
    tokens: int


@dataclass(frozen=True)
class ExactMatches:
    """The number of whole sequences in which artifact and source agree exactly, out of `of` sequences."""

    same: int
    of: int


@dataclass(frozen=True)
class Parity:
    """The differences measured over `steps` chained steps, and the tolerance that they were checked against.

    max_abs: the largest absolute differences of floating-point tensors. max_share: the largest ratio of an element's
    difference to its tolerance. rms: as in `Tolerance`. mismatches: the number of differing elements of integer and
    boolean tensors. compared: the number of such elements.
    """

    steps: int
    tolerance: Tolerance
    max_abs_diff_outputs: float = 0.0
    max_abs_diff_state: float = 0.0
    max_share: float = 0.0
    rms_diff_outputs: float = 0.0
    rms_diff_state: float = 0.0
    mismatches: int = 0
    compared: int = 0
    loss: Loss | None = None
    matches: ExactMatches | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the figures as `export --json` and `verify --json` print them; NaN, which JSON lacks, becomes null."""
        values = {name: _plain(getattr(self, name)) for name in ("steps", *_MEASURES)}
        counts = {"mismatches": self.mismatches, "compared": self.compared}
        tolerance = asdict(self.tolerance)
        limits = {f"tolerance_{name}": tolerance[name] for name in ("relative", "rms", "mismatches")}
        loss = None if self.loss is None else {**asdict(self.loss), "tolerance": self.tolerance.loss}
        answers = None if self.matches is None else asdict(self.matches)
        return {
            **values,
            **counts,
            "tolerance": self.tolerance.absolute,
            **limits,
            "loss": loss,
            **({"answers": answers} if answers else {}),
        }


_MEASURES = ("max_abs_diff_outputs", "max_abs_diff_state", "max_share", "rms_diff_outputs", "rms_diff_state")


def _plain(value: float) -> float | None:
    return value if math.isfinite(value) else None


def worst(parities: Sequence[Parity]) -> Parity:
    """Return the largest differences of several comparisons, with the widest of their tolerances."""
    measures = {name: [getattr(parity, name) for parity in parities] for name in _MEASURES}
    largest: dict[str, Any] = {name: float(np.max(values)) for name, values in measures.items()}  # max drops NaN
    limits = [asdict(parity.tolerance) for parity in parities]
    widest = Tolerance(**{name: max(limit[name] for limit in limits) for name in limits[0]})
    counts = {name: sum(getattr(parity, name) for parity in parities) for name in ("mismatches", "compared")}
    return Parity(max(parity.steps for parity in parities), widest, **largest, **counts)


@dataclass(frozen=True)
class Step:
    """One step of a graph: inputs and conditions, outputs by name, and next states by the graph input that they feed.

    outputs, states: may be incomplete, since golden vectors do not store all of them.
    """

    given: Mapping[str, Array]
    outputs: Mapping[str, Array]
    states: Mapping[str, Array]


def chain(
    engine: Engine, spec: GraphSpec, given: Iterable[Mapping[str, Array]], states: Mapping[str, Array]
) -> Iterator[Step]:
    """Run `engine` on one input after another, each time with the states that the previous step returned."""
    for inputs in given:
        outputs, states = _run(engine, spec, {**inputs, **states})
        yield Step(inputs, outputs, states)


def pairs(
    expected: Iterable[Step],
    artifact: Engine,
    spec: GraphSpec,
    states: Mapping[str, Array],
    *,
    rejoin: bool = False,
) -> Iterator[tuple[Step, Step]]:
    """Drive `artifact` in lock-step with its source, starting from `states`.

    rejoin: let the artifact take each step from the states of the source, and not from its own.
    Yields (source's step, artifact's step).
    """
    for step in expected:
        outputs, states = _run(artifact, spec, {**step.given, **states})
        yield step, Step(step.given, outputs, states)
        if rejoin:
            states = step.states


def _run(engine: Engine, spec: GraphSpec, feeds: Mapping[str, Array]) -> tuple[dict[str, Array], dict[str, Array]]:
    results = engine.run(feeds)
    count = len(spec.outputs)
    outputs = zip((tensor.name for tensor in spec.outputs), results[:count], strict=True)
    return dict(outputs), dict(zip((state.input for state in spec.states), results[count:], strict=True))


class Comparison:
    """Compares the steps of an artifact with those of its source as they are computed.

    Every available output of every step is compared, and every state after the last step; integer and boolean states
    are compared at every step. Raises ParityError, naming graph, tensor, step, number of streams and difference, at the
    first difference beyond the tolerance.
    rejoined: whether each step began from the states of the source. Then every state is compared at every step, since a
    wrong one does not show in the steps after it.
    rare: for steps on values at the limits of the contract. Root mean squares are not checked, and integer outputs may
    differ, since ties can be broken either way (by argmax, for example).
    """

    def __init__(self, spec: GraphSpec, tolerance: Tolerance, *, rejoined: bool = False, rare: bool = False) -> None:
        self._spec, self._tolerance, self._rejoined, self._rare = spec, tolerance, rejoined, rare
        self._measured = Parity(0, tolerance)
        self._outputs, self._states = _Squares(), _Squares()
        self._mismatches = _Mismatches()
        self._last: tuple[Step, Step] | None = None

    def add(self, expected: Step, actual: Step) -> None:
        """Compare the outputs of one step, and those states that are compared at every step."""
        self._last = expected, actual
        self._measured = replace(self._measured, steps=self._measured.steps + 1)
        for name, values in expected.outputs.items():
            if self._rare and values.dtype.kind in "iu" and values.shape == actual.outputs[name].shape:
                continue
            self._compare(self._outputs, name, values, actual.outputs[name])
        for state in self._spec.states:
            if self._is_compared_always(state) and state.input in expected.states:
                self._compare(self._states, state.output, expected.states[state.input], actual.states[state.input])

    def result(self) -> Parity:
        """Compare the states after the last step, root mean squares and mismatches; return the measured differences."""
        assert self._last is not None
        expected, actual = self._last
        for state in self._spec.states:
            if not self._is_compared_always(state):
                values = expected.states[state.input], actual.states[state.input]
                self._compare(self._states, state.output, *values)
        self._check_mismatches()
        if not self._rare:
            outputs, states = self._outputs.ratios(), self._states.ratios()
            self._note(
                rms_diff_outputs=float(np.max([*outputs.values()], initial=0.0)),
                rms_diff_state=float(np.max([*states.values()], initial=0.0)),
            )
            for squares in (self._outputs, self._states):
                for name, ratio in squares.ratios().items():
                    self._check_rms(name, ratio, max(self._tolerance.rms, squares.coarseness(name)))
        return self._measured

    def _is_compared_always(self, state: StateSpec) -> bool:
        return self._rejoined or state.numpy_dtype.kind != "f"

    def _compare(self, squares: _Squares, name: str, expected: Array, actual: Array) -> None:
        """Compare one tensor: floating-point elements by their differences, others by the number of mismatches."""
        if actual.shape != expected.shape:
            raise ParityError(
                f"graph {self._spec.name}, {name} {self._place()}: the artifact's shape is {actual.shape}, "
                f"the source's {expected.shape}"
            )
        if expected.dtype.kind != "f":
            self._count(name, expected, actual)
            return
        wide = expected.astype(np.float64)
        with np.errstate(invalid="ignore"):  # masked logits are infinite, and inf - inf is NaN
            apart = np.where(actual == expected, 0.0, np.abs(actual.astype(np.float64) - wide))
        wide = np.where(np.isinf(wide), 0.0, wide)
        coarseness = _ULPS * float(np.finfo(expected.dtype).eps)
        squares.add(name, apart, wide, coarseness)
        tolerance = self._tolerance
        allowed = np.maximum(tolerance.absolute, max(tolerance.relative, coarseness) * np.abs(wide))
        with np.errstate(divide="ignore", invalid="ignore"):
            shares = np.where(apart == 0, 0.0, apart / allowed)
        largest = float(np.max(apart, initial=0.0))
        measure = "max_abs_diff_outputs" if squares is self._outputs else "max_abs_diff_state"
        self._note(**{measure: largest, "max_share": float(np.max(shares, initial=0.0))})
        if not np.all(apart <= allowed):  # also true for NaN
            self._refuse(name, expected, actual, apart, allowed, shares)

    def _refuse(
        self, name: str, expected: Array, actual: Array, apart: Array, allowed: Array, shares: Array
    ) -> NoReturn:
        worst_at = np.unravel_index(np.argmax(np.where(np.isnan(shares), np.inf, shares)), shares.shape)
        raise ParityError(
            f"graph {self._spec.name}, {name} {self._place()}: the artifact gives {actual[worst_at]:.6g} where its "
            f"source gives {expected[worst_at]:.6g}; they differ by {apart[worst_at]:.3g}, beyond "
            f"{allowed[worst_at]:.3g}",
            self._measured.to_json(),
        )

    def _count(self, name: str, expected: Array, actual: Array) -> None:
        differ = expected != actual
        self._mismatches.add(name, differ)
        count = int(np.count_nonzero(differ))
        self._measured = replace(
            self._measured,
            mismatches=self._measured.mismatches + count,
            compared=self._measured.compared + expected.size,
        )
        if count and not self._tolerance.mismatches:
            raise ParityError(
                f"graph {self._spec.name}, {name} {self._place()}: the artifact gives {actual[differ][0]} where its "
                f"source gives {expected[differ][0]}; {count} of {expected.size} elements differ, and {expected.dtype} "
                f"must be equal",
                self._measured.to_json(),
            )

    def _check_mismatches(self) -> None:
        for name, (count, compared) in self._mismatches.counts.items():
            if count > self._tolerance.allowed(compared):
                raise ParityError(
                    f"graph {self._spec.name}, {name}: {count} of {compared} elements over {self._measured.steps} "
                    f"steps differ from its source's, beyond {100 * self._tolerance.mismatches:g} %",
                    self._measured.to_json(),
                )

    def _check_rms(self, name: str, ratio: float, limit: float) -> None:
        if not ratio <= limit:
            raise ParityError(
                f"graph {self._spec.name}, {name} {self._place()}: the artifact differs from its source by {ratio:.3g} "
                f"in the root mean square, beyond {limit:g}",
                self._measured.to_json(),
            )

    def _note(self, **measures: float) -> None:
        """Update the maximum of each of `measures`; NaN counts as the largest."""
        larger = {name: float(np.maximum(getattr(self._measured, name), value)) for name, value in measures.items()}
        self._measured = replace(self._measured, **larger)  # type: ignore[arg-type] # `measures` names floats alone

    def _place(self) -> str:
        """Return the step and the number of streams, for a message."""
        assert self._last is not None
        streams = _streams(self._spec, self._last[0].given)
        return f"at step {self._measured.steps} with {streams} stream{'s' if streams > 1 else ''}"


@dataclass(frozen=True)
class _Mismatches:
    """The numbers of differing and of compared elements, by tensor."""

    counts: dict[str, tuple[int, int]] = field(default_factory=dict)

    def add(self, name: str, differ: Array) -> None:
        count, compared = self.counts.get(name, (0, 0))
        self.counts[name] = count + int(np.count_nonzero(differ)), compared + differ.size


@dataclass
class _Sums:
    """Sums of squared differences and of squared values, and the number of elements.

    coarseness: the rounding of the tensor's element type, relative to a value.
    """

    differences: float = 0.0
    values: float = 0.0
    count: int = 0
    coarseness: float = 0.0

    def ratio(self) -> float:
        """Return the root mean square of the differences over that of the values; 0 if below float32 rounding."""
        if not self.differences > _ROUNDING**2 * self.count:
            return 0.0 if math.isfinite(self.differences) else math.nan
        return math.sqrt(self.differences / self.values) if self.values else math.inf


_ULPS = 4  # units in the last place by which any two implementations may differ
_ROUNDING = 1e-6  # differences with a smaller root mean square count as zero, however small the values are


class _Squares:
    """The sums of squares of each tensor."""

    def __init__(self) -> None:
        self._sums: dict[str, _Sums] = {}

    def add(self, name: str, differences: Array, values: Array, coarseness: float) -> None:
        """Add the elements of one tensor at one step."""
        sums = self._sums.setdefault(name, _Sums(coarseness=coarseness))
        sums.differences += float(np.sum(differences**2))
        sums.values += float(np.sum(values**2))
        sums.count += values.size

    def coarseness(self, name: str) -> float:
        """Return the rounding of a tensor's element type, relative to a value."""
        return self._sums[name].coarseness

    def ratios(self) -> dict[str, float]:
        """Return the relative root mean square of the differences, by tensor."""
        return {name: sums.ratio() for name, sums in self._sums.items()}


def _streams(spec: GraphSpec, given: Mapping[str, Array]) -> int:
    axes = ((given[name], tensor.batch_axis) for name, tensor in spec.feeds.items() if name in given)
    return next((array.shape[axis] for array, axis in axes if axis is not None), 1)
