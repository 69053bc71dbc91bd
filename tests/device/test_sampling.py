import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgernn.errors import ConfigError, SamplingError
from edgernn.sampling import Generator, Sampler

# The first onnxruntime session makes denormals zero, see OnnxEngine, and then hypothesis refuses to draw them.
logit_lists = st.lists(st.floats(-30, 30, width=32, allow_subnormal=False), min_size=1, max_size=40)


def test_the_generator_is_splitmix64():
    # The first outputs for seed 1234567, as published with the reference implementation.
    reference = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    generator = Generator(1234567)
    assert [generator.uniform() for _ in reference] == [(word >> 11) * 2.0**-53 for word in reference]


@given(logit_lists)
def test_greedy_takes_the_likeliest_and_the_lowest_of_equals(logits):
    generator = Generator(0)
    assert Sampler(temperature=0)(np.float32(logits), generator) == logits.index(max(logits))
    assert generator.state == 0


@given(logit_lists, st.integers(0, 2**64 - 1), st.floats(0.01, 5), st.integers(0, 45))
def test_a_draw_is_the_inverse_of_the_cumulative_distribution(logits, seed, temperature, top_k):
    """A slow oracle in plain Python."""
    drawn = Sampler(temperature, top_k)(np.float32(logits), Generator(seed))
    scaled = [value - max(logits) for value in logits]
    if 0 < top_k < len(logits):
        level = sorted(scaled)[-top_k]
        scaled = [value if value >= level else -np.inf for value in scaled]
    weights = [np.exp(value / temperature) for value in scaled]
    at, below = Generator(seed).uniform() * sum(weights), 0.0
    assert weights[drawn] > 0
    below = sum(weights[:drawn])
    assert below - 1e-9 <= at <= below + weights[drawn] + 1e-9


def test_frequencies_follow_the_softmax():
    logits = np.float32([2.0, 0.0, 1.0, -np.inf])
    generator = Generator(7)
    draws = np.bincount([Sampler(temperature=0.5)(logits, generator) for _ in range(20_000)], minlength=4) / 20_000
    expected = np.exp(logits / 0.5) / np.exp(logits / 0.5).sum()
    np.testing.assert_allclose(draws, expected, atol=0.01)
    assert draws[3] == 0


@pytest.mark.parametrize("logits", [[np.nan, 0.0], [0.0, np.inf], [-np.inf, -np.inf]])
@pytest.mark.parametrize("temperature", [0, 1])
def test_logits_that_are_not_numbers_are_named(logits, temperature):
    with pytest.raises(SamplingError, match="the highest logit is"):
        Sampler(temperature)(np.float32(logits), Generator(0))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"temperature": -1}, "temperature -1"),
        ({"temperature": float("nan")}, "temperature nan"),
        ({"temperature": float("inf")}, "temperature inf"),
        ({"temperature": 1e-9}, "temperature 1e-09"),
        ({"temperature": "hot"}, "temperature, top_k and seed are numbers"),
        ({"temperature": 10**400}, "temperature, top_k and seed are numbers"),
        ({"top_k": 1.5}, "temperature, top_k and seed are numbers"),
        ({"top_k": -1}, "top_k -1"),
        ({"seed": -1}, "seed -1"),
        ({"seed": 2**64}, "seed 18446744073709551616"),
    ],
)
def test_impossible_settings_are_named(settings, words):
    with pytest.raises(ConfigError, match=words):
        Sampler(**settings)


def test_numpys_numbers_are_numbers():
    sampler = Sampler(np.float32(0.5), np.int64(4), np.uint8(3))
    assert [type(value) for value in (sampler.temperature, sampler.top_k, sampler.seed)] == [float, int, int]
