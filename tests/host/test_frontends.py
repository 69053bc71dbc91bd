"""Front ends: each against a numpy oracle, and its sequence path against its step, however the sequence is cut."""

import math

import numpy as np
import pytest
import torch

from edgernn.models.frontends import LogMel, Pictures, Rows, Tokens

RATES = [8000, 11_025, 16_000]


def mel(hertz):
    return 2595 * math.log10(1 + hertz / 700)


def log_mel(samples, rate, mels):
    """The logarithmic mel energies of every window of 25 ms that ends at a multiple of 10 ms."""
    window, hop = rate // 40, rate // 100
    wave = np.concatenate([np.zeros(window - hop), samples / 32768])
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * (np.arange(window) + 0.5) / window)
    edges = 700 * (10 ** (np.linspace(mel(60), mel(rate / 2), mels + 2) / 2595) - 1)
    frequencies, bin_width = np.fft.rfftfreq(window, 1 / rate), rate / window
    bands = [
        np.interp(frequencies, [min(low, peak - bin_width), peak, max(high, peak + bin_width)], [0, 1, 0])
        for low, peak, high in zip(edges, edges[1:], edges[2:], strict=False)
    ]
    frames = [wave[start : start + window] for start in range(0, len(wave) - window + 1, hop)]
    power = np.array([np.abs(np.fft.rfft(frame * hann)) ** 2 for frame in frames])
    return np.log(power @ np.array(bands).T + 1e-6)


def front_ends():
    """Every front end with a batch of input (time, batch, ...), scaled as if by training data."""
    torch.manual_seed(0)
    random = np.random.default_rng(0)
    sound = LogMel(8000, 12)
    samples = random.integers(-32768, 32768, (13, 2, 80)).astype(np.int16)
    sound.fit(torch.from_numpy(samples.reshape(-1, 80).repeat(3, axis=1)[:, :200]))
    yield "sound", sound, samples
    for window, hop in ((1, 1), (5, 1), (8, 8), (20, 8), (32, 8)):
        rows = Rows(3, window, hop, 7)
        values = random.normal(5, 3, (13, 2, hop, 3)).astype(np.float32)
        rows.fit(torch.from_numpy(values.reshape(-1, 3)))
        yield f"rows-{window}-{hop}", rows, values
    yield "tokens", Tokens(11, 6), random.integers(0, 11, (13, 2))
    yield "pictures", Pictures(9, 14, 6), random.integers(0, 256, (13, 2, 9, 14, 3)).astype(np.uint8)


FRONT_ENDS = [pytest.param(front, values, id=name) for name, front, values in front_ends()]


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("mels", [12, 40])
def test_log_mel_energies_are_those_of_a_fourier_transform(rate, mels):
    random = np.random.default_rng(1)
    times = np.arange(rate // 100 * 30) / rate
    sound = 9000 * np.sin(2 * np.pi * 440 * times * (1 + times)) + random.normal(0, 300, len(times))
    samples = sound.astype(np.int16)
    samples[: rate // 10] = 0  # silence has the energy of the floor
    front = LogMel(rate, mels)
    steps = torch.from_numpy(samples.reshape(-1, 1, rate // 100))
    found, _ = front.sequence(steps, front.initial_state(1))
    expected = log_mel(samples, rate, mels)
    assert found.shape == (30, 1, mels)
    np.testing.assert_allclose(found[:, 0], expected, atol=1e-3)
    assert expected[0] == pytest.approx(math.log(1e-6))


@pytest.mark.parametrize("mels", [8, 40, 80])
def test_every_band_has_a_bin_and_its_peak_is_one_at_most(mels):
    bands = LogMel(8000, mels).bands
    assert (bands.amax(dim=0) > 0.4).all()
    assert bands.max() <= 1
    assert (bands >= 0).all()
    centres = (bands * torch.arange(len(bands))[:, None]).sum(0) / bands.sum(0)
    assert (centres[1:] > centres[:-1]).all()


def test_sound_is_scaled_by_the_mean_and_deviation_of_what_it_was_fitted_to():
    front = LogMel(8000, 12)
    windows = np.random.default_rng(0).normal(0, 3000, (500, 200)).astype(np.int16)
    front.fit(torch.from_numpy(windows))
    features = front._features(front._scaled(torch.from_numpy(windows)))
    np.testing.assert_allclose(features.mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(features.std(0), 1, atol=1e-4)


@pytest.mark.parametrize(("window", "hop"), [(1, 1), (4, 1), (8, 8), (20, 8)])
def test_rows_are_a_rectified_linear_map_of_scaled_windows(window, hop):
    torch.manual_seed(0)
    front, values = Rows(3, window, hop, 7), np.random.default_rng(0).normal(5, 3, (4 * hop, 3)).astype(np.float32)
    front.fit(torch.from_numpy(values))
    scaled = (values - values.mean(0)) / values.std(0, ddof=1)
    padded = np.concatenate([np.zeros((window - hop, 3)), scaled])
    frames = np.stack([padded[start : start + window].ravel() for start in range(0, 4 * hop, hop)])
    weight, bias = front.linear.weight.detach().numpy(), front.linear.bias.detach().numpy()
    expected = np.maximum(frames @ weight.T + bias, 0)
    found, _ = front.sequence(torch.from_numpy(values.reshape(4, 1, hop, 3)), front.initial_state(1))
    np.testing.assert_allclose(found[:, 0].detach(), expected, atol=1e-5)


def test_a_channel_that_never_changes_is_scaled_to_zero():
    front = Rows(2, 1, 1, 3)
    rows = torch.tensor([[1.0, 7.0], [3.0, 7.0]])
    front.fit(rows)
    assert front._scaled(rows)[:, 1].tolist() == [0, 0]


def test_tokens_are_looked_up():
    front = Tokens(5, 3)
    found, _ = front.step(torch.tensor([4, 0]), ())
    assert torch.equal(found, front.embedding.weight[[4, 0]])


def test_pictures_are_convolved_from_bytes_between_minus_one_and_one():
    torch.manual_seed(0)
    front = Pictures(9, 14, 6)
    picture = np.random.default_rng(0).integers(0, 256, (9, 14, 3)).astype(np.uint8)
    maps = (picture / 127.5 - 1).transpose(2, 0, 1)
    for layer in list(front.convolutions)[::2]:
        weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
        padded = np.pad(maps, ((0, 0), (1, 1), (1, 1)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))[:, ::2, ::2]
        maps = np.maximum(np.einsum("chwij,ocij->ohw", windows, weight) + bias[:, None, None], 0)
    linear = front.linear.weight.detach().numpy() @ maps.ravel() + front.linear.bias.detach().numpy()
    found, _ = front.step(torch.from_numpy(picture[None]), ())
    np.testing.assert_allclose(found[0].detach(), np.maximum(linear, 0), atol=1e-5)


@pytest.mark.parametrize(("front", "values"), FRONT_ENDS)
@pytest.mark.parametrize("size", [1, 4, 12])
def test_a_sequence_may_be_cut_anywhere(front, values, size):
    x = torch.from_numpy(values)
    whole, last = front.sequence(x, front.initial_state(2))
    state, features = front.initial_state(2), []
    for start in range(0, len(x), size):
        found, state = front.sequence(x[start : start + size], state)
        features.append(found)
    torch.testing.assert_close(torch.cat(features), whole, atol=1e-5, rtol=1e-5)
    assert all(map(torch.equal, state, last))


@pytest.mark.parametrize(("front", "values"), FRONT_ENDS)
def test_steps_are_the_sequence(front, values):
    x = torch.from_numpy(values)
    whole, last = front.sequence(x, front.initial_state(2))
    state = front.initial_state(2)
    for step, expected in zip(x, whole, strict=True):
        found, state = front.step(step, state)
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert all(map(torch.equal, state, last))


@pytest.mark.parametrize(("front", "values"), FRONT_ENDS)
def test_the_specifications_are_the_shapes(front, values):
    spec = front.input_spec()
    assert spec.axes[1:] == values.shape[2:]
    assert spec.dtype == str(values.dtype)
    states = front.initial_state(2)
    assert [each.axes[1:] for each in front.state_specs()] == [each.shape[1:] for each in states]
    features, _ = front.step(torch.from_numpy(values[0]), states)
    assert features.shape == (2, front.size)
