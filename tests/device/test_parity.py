"""Tolerances: what differences an artifact may have, and how they are counted."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from edgernn.contract import BATCH, GraphSpec, StateSpec, TensorSpec
from edgernn.errors import ConfigError, ParityError
from edgernn.runtime.parity import TOLERANCES, Comparison, Step, Tolerance, tolerance_of, worst

SPEC = GraphSpec(
    "step",
    (),
    (TensorSpec("y", "float32", (BATCH, 2)), TensorSpec("action", "int64", (BATCH,))),
    (StateSpec("h", "float32", (BATCH, 2)), StateSpec("woken", "bool", (BATCH,))),
)


def step(y=(0, 0), action=0, h=(0, 0), woken=False):
    outputs = {"y": np.array([y], np.float32), "action": np.array([action])}
    return Step({}, outputs, {"h_in": np.array([h], np.float32), "woken_in": np.array([woken])})


def compare(pairs, tolerance=TOLERANCES["fp32"], **more):
    comparison = Comparison(SPEC, tolerance, **more)
    for expected, actual in pairs:
        comparison.add(expected, actual)
    return comparison.result()


def test_pascals_may_differ_by_a_unit_in_the_last_place():
    near = np.nextafter(np.float32(101325), np.float32(2e5))
    parity = compare([(step(y=(101325, 60)), step(y=(near, 60)))])
    assert parity.max_abs_diff_outputs == pytest.approx(0.0078125)
    assert parity.max_share == pytest.approx(0.0078125 / 10.1325)


@given(
    st.floats(-1e6, 1e6, width=32, allow_subnormal=False),
    st.sampled_from(sorted(TOLERANCES)),
    st.sampled_from(["output", "state"]),
)
def test_an_element_is_held_to_its_own_size_with_an_absolute_floor(value, precision, where):
    tolerance = replace(TOLERANCES[precision], rms=1e300)
    allowed = max(tolerance.absolute, tolerance.relative * abs(value))
    make = (lambda v: step(y=(v, 0))) if where == "output" else (lambda v: step(h=(v, 0)))
    assume(value)  # of zeros alone, the root mean square would be the measure
    expected = make(value)
    rounding = 1e-6 * abs(value)
    assert compare([(expected, make(value + 0.99 * allowed - rounding))], tolerance).max_share <= 1
    with pytest.raises(ParityError, match=f"{'y' if where == 'output' else 'h_out'} at step 1 with 1 stream"):
        compare([(expected, make(value + 1.02 * allowed + rounding))], tolerance)


def test_whole_numbers_are_equal_at_fp32_and_the_first_mismatch_is_named():
    words = "action at step 2 with 1 stream: the artifact gives 3 where its source gives 2; 1 of 1 elements differ"
    with pytest.raises(ParityError, match=words) as caught:
        compare([(step(action=1), step(action=1)), (step(action=2), step(action=3))])
    assert caught.value.measured["mismatches"] == 1
    with pytest.raises(ParityError, match="woken_out at step 1 with 1 stream: the artifact gives True where"):
        compare([(step(woken=False), step(woken=True))])


@pytest.mark.parametrize("precision", ["fp16", "int8", "int4"])
def test_mismatches_are_counted_and_bounded_at_lower_precisions(precision):
    share = TOLERANCES[precision].mismatches
    allowed = TOLERANCES[precision].allowed(200)
    assert allowed == int(np.ceil(200 * share)) + 1

    def steps(wrong):
        return [(step(action=1), step(action=1 + (number < wrong))) for number in range(200)]

    parity = compare(steps(allowed), TOLERANCES[precision])
    assert (parity.mismatches, parity.compared) == (allowed, 400)  # actions, and the flags that are states
    words = f"action: {allowed + 1} of 200 elements over 200 steps differ from its source's, beyond {100 * share:g} %"
    with pytest.raises(ParityError, match=words):
        compare(steps(allowed + 1), TOLERANCES[precision])


def test_rare_values_are_not_held_to_their_root_mean_square():
    pairs = [(step(y=(1e-5, 0)), step(y=(3e-5, 0)))]
    with pytest.raises(ParityError, match=r"y at step 1 .* in the root mean square, beyond 0.0001"):
        compare(pairs)
    assert compare(pairs, rare=True).max_abs_diff_outputs == pytest.approx(2e-5)


def test_zeros_may_differ_by_the_rounding_of_single_precision():
    assert compare([(step(y=(0, 0)), step(y=(1e-6, 0)))]).rms_diff_outputs == 0
    with pytest.raises(ParityError, match="by inf in the root mean square"):
        compare([(step(y=(0, 0)), step(y=(5e-5, 0)))])


def test_a_number_that_is_none_is_beyond_every_tolerance():
    with pytest.raises(ParityError, match="the artifact gives nan where its source gives 1; they differ by nan"):
        compare([(step(y=(0, 1)), step(y=(0, np.nan)))], replace(TOLERANCES["int4"], absolute=1e30))


def test_what_callers_set_takes_the_place_of_the_limits_of_the_precision():
    changed = tolerance_of("fp32", convolutions=True, changes={"absolute": 0.25})
    assert changed == Tolerance(absolute=0.25, relative=5e-4, rms=1e-4, mismatches=0.0, loss=1e-5)
    with pytest.raises(ConfigError, match="there is no tolerance 'largest'; there is absolute, relative, rms"):
        tolerance_of("fp32", convolutions=False, changes={"largest": 1})
    with pytest.raises(ConfigError, match="the tolerance relative is -1: it is a number of at least 0"):
        tolerance_of("fp32", convolutions=False, changes={"relative": -1})


def test_the_worst_of_several_comparisons_adds_mismatches_up():
    one = compare([(step(action=1), step(action=2))], TOLERANCES["int8"])
    both = worst([one, one])
    assert (both.mismatches, both.compared, both.steps) == (2, 4, 1)
    assert both.to_json()["tolerance_mismatches"] == 0.1


def test_half_precision_is_held_to_its_own_units():
    spec = GraphSpec("step", (), (TensorSpec("y", "float16", (2,)),))
    value = np.array([1.0, -3.0], np.float16)
    for off, fits in ((0.003, True), (0.012, False)):
        comparison = Comparison(spec, TOLERANCES["fp32"])
        comparison_step = Step({}, {"y": value}, {}), Step({}, {"y": (value + np.float16(off)).astype(np.float16)}, {})
        if fits:
            comparison.add(*comparison_step)
            assert comparison.result().max_share < 1
        else:
            with pytest.raises(ParityError, match="y at step 1"):
                comparison.add(*comparison_step)
