import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reader import exponential

from edgernn.errors import ConfigError, SamplingError
from edgernn.sampling import BatchSampler, Generator, Sampler, log_probabilities

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


settings_of_all_kinds = st.builds(
    Sampler,
    st.sampled_from([0.0, 0.3, 1.0, 2.5]),
    st.integers(0, 45),
    st.integers(0, 2**64 - 1),
    top_p=st.sampled_from([0.1, 0.5, 0.9, 1.0]),
    min_p=st.sampled_from([0.0, 0.05, 0.5, 1.0]),
    repetition_penalty=st.sampled_from([0.5, 1.0, 1.3]),
    repetition_window=st.integers(0, 5),
    bias=st.dictionaries(st.integers(0, 9), st.sampled_from([-np.inf, -2.0, 3.0]), max_size=3),
)
recents = st.lists(st.integers(0, 9), max_size=8)


def slowly(sampler, logits, generator, recent, forbidden):
    """The order of the document, in plain Python."""
    values = [float(value) for value in np.float32(logits)]
    if sampler.repetition_penalty != 1:
        for token in set(recent[len(recent) - min(len(recent), sampler.repetition_window) :]):
            by = sampler.repetition_penalty
            values[token] = values[token] / by if values[token] > 0 else values[token] * by
    for token, added in sampler.bias.items():
        values[token] += added
    for token in forbidden:
        values[token] = -np.inf
    highest = max(values)
    if sampler.temperature == 0:
        return values.index(highest)
    if 0 < sampler.top_k < len(values):
        values = [value if value >= sorted(values)[-sampler.top_k] else -np.inf for value in values]
    weights = [exponential((value - highest) / sampler.temperature) for value in values]
    if sampler.top_p < 1:
        falling, total = sorted(weights, reverse=True), 0.0
        sums = np.cumsum(falling)
        for weight in falling:
            total += weight
            if total >= sampler.top_p * sums[-1]:
                break
        weights = [each if each >= weight else 0.0 for each in weights]
    weights = [weight if weight >= sampler.min_p else 0.0 for weight in weights]
    sums = np.cumsum(weights)
    at = generator.uniform() * sums[-1]
    return next(token for token, value in enumerate(sums) if value > at)


longer_logits = st.lists(st.floats(-30, 30, width=32, allow_subnormal=False), min_size=12, max_size=40)


@given(longer_logits, settings_of_all_kinds, recents)
def test_every_setting_is_the_documents(logits, sampler, recent):
    ours, theirs = Generator(sampler.seed), Generator(sampler.seed)
    for _ in range(4):
        assert sampler(np.float32(logits), ours, recent, [10]) == slowly(sampler, logits, theirs, recent, [10])
    assert ours.state == theirs.state


@given(
    st.lists(st.tuples(settings_of_all_kinds, recents), min_size=1, max_size=6),
    st.integers(0, 99),
    st.sampled_from([20, 1000]),
    st.sampled_from([1.0, 1e4]),
)
def test_drawn_side_by_side_is_drawn_alone(streams, seed, vocabulary, spread):
    """Whatever the settings of each, greedy ones among them; a wide spread of logits leaves hardly any choice."""
    samplers, said = zip(*streams, strict=True)
    together, alone = ([Generator(seed + row) for row in range(len(streams))] for _ in range(2))
    draw = BatchSampler(samplers)
    for step in range(3):
        logits = np.random.default_rng(seed + step).normal(0, 4 * spread, (len(streams), vocabulary)).astype(np.float32)
        drawn = draw(logits, together, said, [10])
        expected = zip(samplers, logits, alone, said, strict=True)
        assert drawn == [sampler(row, generator, recent, [10]) for sampler, row, generator, recent in expected]
    assert [one.state for one in together] == [other.state for other in alone]


@pytest.mark.parametrize("top_p", [1.0, 1 - 1e-12])
def test_tokens_too_unlikely_to_change_a_sum_are_cut_by_a_limit_alone(top_p):
    logits = np.full((2, 3000), -40.0, np.float32)
    logits[:, 7] = 0.0
    samplers = [Sampler(seed=3, top_p=top_p), Sampler(seed=3, top_p=0.5)]
    drawn = BatchSampler(samplers)(logits, [Generator(3), Generator(3)], [(), ()])
    assert drawn == [sampler(logits[0], Generator(3)) for sampler in samplers]


@given(st.integers(1, 60), st.integers(0, 99), st.sampled_from([1, 3, 1000]), st.integers(1, 5000))
def test_top_k_of_a_large_vocabulary_is_that_of_a_small_one(k, seed, levels, size):
    """The k largest and all level with the k-th, however many there are."""
    logits = np.random.default_rng(seed).integers(0, levels, size).astype(np.float32)
    sampler, generator = Sampler(1.0, k), Generator(seed)
    drawn = {sampler(logits, generator) for _ in range(20)}
    least = np.sort(logits)[-min(k, size)]
    assert all(logits[token] >= least for token in drawn)
    weights = np.array([exponential(value - max(logits.tolist())) * (value >= least) for value in logits.tolist()])
    at = Generator(seed).uniform() * weights.cumsum()[-1]
    assert sampler(logits, Generator(seed)) == int((weights.cumsum() <= at).sum())


def test_a_bias_outside_the_vocabulary_is_named():
    with pytest.raises(SamplingError, match="a bias is given for token 7, and the vocabulary ends at 2"):
        Sampler(bias={7: 1.0})(np.zeros(3, np.float32), Generator(0))


def test_a_bias_outside_the_vocabulary_is_named_among_several():
    with pytest.raises(SamplingError, match="a bias is given for token 7, and the vocabulary ends at 2"):
        BatchSampler([Sampler(), Sampler(bias={7: 1.0})])(np.zeros((2, 3), np.float32), [Generator(0)] * 2, [(), ()])


def test_logits_that_are_not_numbers_are_named_among_several():
    logits = np.float32([[0, 1, 2], [np.nan, 0, 0]])
    with pytest.raises(SamplingError, match="the highest logit is nan"):
        BatchSampler([Sampler(), Sampler(0)])(logits, [Generator(0)] * 2, [(), ()])


def test_log_probabilities_are_the_softmaxs():
    logits = np.float32([[1.0, 2.0, -np.inf], [500.0, 0.0, 0.0]])
    probabilities = np.exp(log_probabilities(logits))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    np.testing.assert_allclose(probabilities[0], [1 / (1 + np.e), np.e / (1 + np.e), 0])


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
        ({"temperature": "hot"}, "a setting of the sampler is not a number"),
        ({"temperature": 10**400}, "a setting of the sampler is not a number"),
        ({"top_k": 1.5}, "a setting of the sampler is not a number"),
        ({"top_k": -1}, "top_k -1"),
        ({"seed": -1}, "seed -1"),
        ({"top_p": 0}, r"top_p 0\.0 is not above 0"),
        ({"top_p": 1.1}, r"top_p 1\.1"),
        ({"top_p": float("nan")}, "top_p nan"),
        ({"min_p": -0.1}, r"min_p -0\.1 is not from 0 to 1"),
        ({"repetition_penalty": 0}, r"repetition_penalty 0\.0 is not a number above 0"),
        ({"repetition_window": -1}, "repetition_window -1"),
        ({"top_k": 2**53}, "top_k 9007199254740992"),
        ({"bias": {-1: 0.0}}, "the bias 0.0 for token -1"),
        ({"bias": {1: float("inf")}}, "the bias inf for token 1"),
        ({"bias": {"a": 1.0}}, "a setting of the sampler is not a number"),
        ({"bias": 3}, "a setting of the sampler is not a number"),
        ({"seed": 2**64}, "seed 18446744073709551616"),
    ],
)
def test_impossible_settings_are_named(settings, words):
    with pytest.raises(ConfigError, match=words):
        Sampler(**settings)


def test_numpys_numbers_are_numbers():
    sampler = Sampler(np.float32(0.5), np.int64(4), np.uint8(3))
    assert [type(value) for value in (sampler.temperature, sampler.top_k, sampler.seed)] == [float, int, int]
