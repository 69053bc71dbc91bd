"""Continuous speech from recordings: where the words are, how loud they are, and the noise between them."""

from itertools import pairwise

import numpy as np
import pytest

from edgernn.data.speech import Recording, coloured_noise, spoken, string_together
from edgernn.errors import CorpusError
from edgernn.media.events import events

RATE, HOP = 8000, 80
WORD = 0.3  # seconds


def tone(frequency, before=0.0, after=0.0, level=8000):
    """A tone of WORD seconds with near-silence before and after it, in seconds."""
    times = np.arange(round(WORD * RATE)) / RATE
    word = level * np.sin(2 * np.pi * frequency * times)
    quiet = [5 * np.ones(round(each * RATE)) for each in (before, after)]
    return np.concatenate([quiet[0], word, quiet[1]]).astype(np.int16)


TONES = [Recording(tone(500, 0.1, 0.2), 0), Recording(tone(1000, 0.3, 0.0), 1), Recording(tone(2000, 0.0, 0.5), 2)]


def strung(seed, seconds=20.0, recordings=TONES):
    return string_together(recordings, np.random.default_rng(seed), seconds, RATE)


def test_near_silence_at_the_ends_of_a_recording_is_not_spoken():
    assert spoken(tone(500, 0.1, 0.2), HOP) == slice(800, 800 + 2400)
    assert spoken(tone(500), HOP) == slice(0, 2400)
    assert spoken(tone(500)[:-30], HOP) == slice(0, 2370)  # the last hop is not whole
    assert spoken(np.zeros(500, np.int16), HOP) == slice(0, 0)
    assert spoken(np.zeros(0, np.int16), HOP) == slice(0, 0)


def test_every_hop_has_a_label():
    speech = strung(0, 3.0)
    assert (speech.samples.shape, speech.samples.dtype) == ((24_000,), np.int16)
    assert (speech.labels.shape, speech.labels.dtype) == ((300,), np.int64)
    odd = string_together(TONES, np.random.default_rng(0), 1.0, 11_025, hop=100)
    assert (len(odd.samples), len(odd.labels)) == (11_000, 110)


def test_speech_depends_on_the_seed_alone():
    one, again, other = strung(1), strung(1), strung(2)
    assert np.array_equal(one.samples, again.samples)
    assert np.array_equal(one.labels, again.labels)
    assert not np.array_equal(one.labels, other.labels)


def test_words_last_as_long_as_they_are_spoken_and_pauses_are_neither_short_nor_long():
    words = events(strung(0, 60.0).labels)
    assert {each.label for each in words} == {1, 2, 3}
    assert all(abs(each.end - each.start - 30) <= 1 for each in words[:-1])
    pauses = [later.start - word.end for word, later in pairwise(words)]
    assert min(pauses) >= 9
    assert max(pauses) <= 81
    assert max(pauses) > 2 * min(pauses)


def test_a_label_names_what_is_heard_in_its_hop():
    speech = strung(3)
    for word in events(speech.labels)[:-1]:
        heard = speech.samples[(word.start + 1) * HOP : (word.end - 1) * HOP].astype(float)
        spectrum = np.abs(np.fft.rfft(heard * np.hanning(len(heard))))
        frequency = int(spectrum.argmax()) * RATE / len(heard)
        assert frequency == pytest.approx((500, 1000, 2000)[word.label - 1], abs=30)


def test_gains_differ_by_at_most_12_db_and_the_noise_is_10_to_40_db_quieter():
    ratios, quietest, loudest = [], [], []
    for seed in range(20):
        speech = strung(seed)
        hops = np.square(speech.samples.astype(float)).reshape(-1, HOP).mean(axis=1)
        silence = hops[(speech.labels == 0) & (np.roll(speech.labels, 1) == 0) & (np.roll(speech.labels, -1) == 0)]
        ratios.append(10 * np.log10(hops[speech.labels > 0].mean() / silence.mean()))
        levels = [10 * np.log10(hops[word.start + 1 : word.end - 1].mean()) for word in events(speech.labels)[:-1]]
        quietest.append(min(levels))
        loudest.append(max(levels))
    assert 8 < min(ratios) < 18
    assert 32 < max(ratios) < 42
    spreads = np.subtract(loudest, quietest)
    assert 6 < spreads.mean() < 12
    assert spreads.max() < 13


def test_samples_stay_within_16_bits():
    peaks = Recording(np.concatenate([np.full(80, -30_000), np.full(16_000, 1000)]).astype(np.int16), 0)
    lowest = [int(strung(seed, recordings=[peaks]).samples.min()) for seed in range(10)]
    assert min(lowest) == -32_767  # the loudest would wrap around or be clipped at the common level


def test_levels_vary_from_quiet_to_loud():
    levels = []
    for seed in range(30):
        speech = strung(seed, 5.0)
        levels.append(10 * np.log10(np.square(speech.samples[speech.labels.repeat(HOP) > 0] / 32_767).mean()))
    assert -46 < min(levels) < -38
    assert -20 < max(levels) < -12


@pytest.mark.parametrize(("colour", "octave"), [(0.0, 0.0), (1.0, -3.01), (2.0, -6.02)])
def test_noise_has_power_1_and_falls_by_its_colour_in_each_octave(colour, octave):
    noise = coloured_noise(np.random.default_rng(0), 1 << 18, colour, RATE)
    assert np.square(noise).mean() == pytest.approx(1)
    power = np.square(np.abs(np.fft.rfft(noise)))
    low, high = power[8_000:12_000].mean(), power[16_000:24_000].mean()  # around 300 and 600 Hz
    assert 10 * np.log10(high / low) == pytest.approx(octave, abs=0.3)
    deep, deepest = power[800:1_600].mean(), power[1:800].mean()  # below 50 Hz
    assert 10 * np.log10(deep / deepest) == pytest.approx(0, abs=0.5)


def test_silent_recordings_are_passed_over_and_are_an_error_if_there_are_no_others():
    silent = Recording(np.zeros(4000, np.int16), 0)
    assert {each.label for each in events(strung(0, recordings=[silent, TONES[1]]).labels)} == {2}
    for recordings in ([silent], [silent, Recording(np.zeros(0, np.int16), 1)], []):
        with pytest.raises(CorpusError, match="nothing is heard"):
            strung(0, recordings=recordings)
