"""The gate: an artifact must behave like its source over many chained steps, or it is not written."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from edgernn.contract import Array, GraphSpec
from edgernn.errors import ParityError
from edgernn.exporters.target import example
from edgernn.runtime import Engine

__all__ = ["STEPS", "TOLERANCES", "Parity", "compare", "worst"]

STEPS = 1024
BATCHES = (1, 4)  # streams driven together: alone, and in company
TOLERANCES = {"fp32": 1e-4}  # largest absolute difference of any element, by precision


@dataclass(frozen=True)
class Parity:
    """The largest differences over `steps` chained steps.

    Outputs are held to `tolerance` in absolute terms. A state may grow without bound (an LSTM's c passes 100), and
    with it the rounding of its float32, so states are held to it in scaled terms: |a - b| / max(1, |a|).
    """

    steps: int
    max_abs_diff_outputs: float
    max_abs_diff_state: float
    max_scaled_diff_state: float
    tolerance: float

    def to_json(self) -> dict[str, Any]:
        """As `export --json` and `verify --json` print it; what is not a number, which JSON lacks, is null."""
        values = asdict(self)
        return {name: value if math.isfinite(value) else None for name, value in values.items()}


def compare(
    source: Engine, artifact: Engine, spec: GraphSpec, *, tolerance: float, steps: int = STEPS, seed: int = 0
) -> Parity:
    """Drive both with the same random inputs, each on its own state from step to step.

    Every output is compared at every step, and every state after the last. A graph that carries nothing is driven with
    fresh inputs each time. Raises ParityError, naming step, tensor and size, at the first difference beyond tolerance.
    """
    parities = [
        _drive(source, artifact, spec, tolerance, steps, batch, np.random.default_rng((seed, batch)))
        for batch in (BATCHES if spec.batched else (1,))
    ]
    return worst(parities)


def worst(parities: Sequence[Parity]) -> Parity:
    """The largest differences of several comparisons."""
    return Parity(
        min(parity.steps for parity in parities),
        *(
            float(np.max([getattr(parity, name) for parity in parities]))  # which, unlike max, keeps not-a-number
            for name in ("max_abs_diff_outputs", "max_abs_diff_state", "max_scaled_diff_state", "tolerance")
        ),
    )


def _drive(
    source: Engine,
    artifact: Engine,
    spec: GraphSpec,
    tolerance: float,
    steps: int,
    batch: int,
    random: np.random.Generator,
) -> Parity:
    inputs = {tensor.name: tensor for tensor in spec.inputs}
    held = example({tensor.name: tensor for tensor in spec.conditions}, batch, random)
    states = ours = example({state.input: state for state in spec.states}, batch, random)
    measured = Parity(steps, 0.0, 0.0, 0.0, tolerance)
    for step in range(1, steps + 1):
        given = {**held, **example(inputs, batch, random)}
        outputs, states = _step(source, spec, {**given, **states})
        our_outputs, ours = _step(artifact, spec, {**given, **ours})
        where = f"at step {step} with {batch} stream{'s' if batch > 1 else ''}"
        for tensor in spec.outputs:
            absolute, _ = _differences(spec, tensor.name, outputs[tensor.name], our_outputs[tensor.name], where)
            measured = worst([measured, replace(measured, steps=step, max_abs_diff_outputs=absolute)])
            _hold(spec, tensor.name, absolute, measured, where)
    measured = replace(measured, steps=steps)
    for state in spec.states:
        absolute, scaled = _differences(spec, state.output, states[state.input], ours[state.input], where)
        measured = worst([measured, replace(measured, max_abs_diff_state=absolute, max_scaled_diff_state=scaled)])
        _hold(spec, state.output, scaled, measured, where)
    return measured


def _step(engine: Engine, spec: GraphSpec, feeds: Mapping[str, Array]) -> tuple[dict[str, Array], dict[str, Array]]:
    """Outputs by name, and next states by the input that they feed."""
    results = engine.run(feeds)
    count = len(spec.outputs)
    outputs = zip((tensor.name for tensor in spec.outputs), results[:count], strict=True)
    return dict(outputs), dict(zip((state.input for state in spec.states), results[count:], strict=True))


def _differences(spec: GraphSpec, name: str, expected: Array, actual: Array, where: str) -> tuple[float, float]:
    """The largest absolute difference, and the largest scaled one."""
    if actual.shape != expected.shape:
        raise ParityError(
            f"graph {spec.name}, {name} {where}: the artifact's shape is {actual.shape}, the source's {expected.shape}"
        )
    wide = expected.astype(np.float64)
    difference = np.abs(actual.astype(np.float64) - wide)
    return float(np.max(difference, initial=0.0)), float(np.max(difference / np.maximum(1, np.abs(wide)), initial=0.0))


def _hold(spec: GraphSpec, name: str, difference: float, measured: Parity, where: str) -> None:
    if not difference <= measured.tolerance:  # not a number is beyond every tolerance
        raise ParityError(
            f"graph {spec.name}, {name} {where}: the artifact differs from its source by {difference:.3g}, "
            f"beyond {measured.tolerance:g}",
            measured.to_json(),
        )
