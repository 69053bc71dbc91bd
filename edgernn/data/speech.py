"""Continuous speech with a label for every hop, strung together from recordings of single words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from edgernn.contract import Array
from edgernn.errors import CorpusError
from edgernn.media.events import BACKGROUND

__all__ = ["SILENCE", "Recording", "Speech", "coloured_noise", "spoken", "string_together"]

SILENCE = "silence"  # the class of hops in which nothing is spoken; its index is 0
_QUIETER = 35  # dB: hops that are quieter than the loudest one by more are near-silence
_PAUSES = 0.1, 0.8  # seconds
_LEVELS = -42.0, -16.0  # dB from full scale: the root mean square of speech, which is drawn once for all recordings
_GAINS = -6.0, 6.0  # dB, from that level
_NOISE = 10.0, 40.0  # dB: how much louder the speech is than the noise
_COLOURS = 0.0, 2.0  # the power of the noise falls with this power of the frequency: 0 is white, 1 pink, 2 brown
_LOWEST = 50.0  # Hz: below, the noise does not become louder
_PEAK = 32_767


class Recording(NamedTuple):
    """samples: int16 (samples,). label: the index of the class that is spoken."""

    samples: Array
    label: int


class Speech(NamedTuple):
    """samples: int16 (hops * hop,). labels: int64 (hops,): 0 for silence, 1 + the label of the recording for speech."""

    samples: Array
    labels: Array


def spoken(samples: Array, hop: int) -> slice:
    """Return the part of a recording, in samples, without near-silence at the start and at the end.

    It is a whole number of hops, except that it may end with the last sample. It is empty for digital silence.
    samples: int16 (samples,). hop: the number of samples over which the energy is measured.
    """
    hops = -(-len(samples) // hop)
    padded = np.zeros(hops * hop)
    padded[: len(samples)] = samples
    energies = np.square(padded.reshape(hops, hop)).sum(axis=1)
    loud = np.flatnonzero(energies > energies.max(initial=0) * 10 ** (-_QUIETER / 10))
    return slice(int(loud[0]) * hop, min(int(loud[-1] + 1) * hop, len(samples))) if len(loud) else slice(0, 0)


def coloured_noise(random: np.random.Generator, count: int, colour: float, rate: int) -> Array:
    """Return noise of power 1 (mean square): float64 (count,).

    colour: the power spectral density is proportional to frequency to the power of -colour, and constant below 50 Hz,
    so that the noise can be heard. rate: samples per second.
    """
    spectrum = np.fft.rfft(random.standard_normal(count))
    frequencies = np.maximum(np.fft.rfftfreq(count, 1 / rate), _LOWEST)
    noise = np.fft.irfft(spectrum * frequencies ** (-colour / 2), count)
    return np.asarray(noise / np.sqrt(np.mean(np.square(noise))))


def string_together(
    recordings: Sequence[Recording], random: np.random.Generator, seconds: float, rate: int, hop: int | None = None
) -> Speech:
    """String random recordings together, with pauses of 0.1 to 0.8 seconds before, between and after them, and noise.

    Near-silence at both ends of a recording is cut off, and the cuts are faded. All recordings are brought to a random
    common level (root mean square) from -42 to -16 dB of full scale, and each gets a random gain of up to 6 dB from
    there. The noise, which is also heard in the pauses, has a random colour from white to brown and is 10 to 40 dB
    quieter than the speech on average. A hop has the label of the recording to which most of its samples belong. The
    last recording is cut off where the time is over.

    rate: samples per second. hop: the number of samples for each label, by default 10 ms.
    Raises CorpusError if nothing is heard in any of the recordings.
    """
    hop = hop or round(rate / 100)
    hops = max(1, round(seconds * rate / hop))
    audio, speaker = np.zeros(hops * hop), np.full(hops * hop, BACKGROUND, np.int64)
    level = _PEAK * _factor(random.uniform(*_LEVELS))
    at = _pause(random, rate)
    while at < len(audio):
        recording = _drawn(recordings, random, hop, level)
        word = recording.samples[: len(audio) - at]
        audio[at : at + len(word)], speaker[at : at + len(word)] = word, 1 + recording.label
        at += len(word) + _pause(random, rate)
    heard = speaker != BACKGROUND
    power = np.square(audio[heard]).mean() if heard.any() else level**2
    noise = coloured_noise(random, len(audio), random.uniform(*_COLOURS), rate)
    audio += noise * np.sqrt(power) * _factor(-random.uniform(*_NOISE))
    audio *= min(1, _PEAK / np.abs(audio).max())
    return Speech(np.rint(audio).astype(np.int16), np.sort(speaker.reshape(hops, hop), axis=1)[:, hop // 2])


def _drawn(recordings: Sequence[Recording], random: np.random.Generator, hop: int, level: float) -> Recording:
    """Return the spoken part of a random recording, at a random gain from `level`: float64 (samples,)."""
    for index in random.permutation(len(recordings)):
        samples, label = recordings[index]
        part = samples[spoken(samples, hop)].astype(np.float64)
        if len(part):
            gain = level / np.sqrt(np.square(part).mean()) * _factor(random.uniform(*_GAINS))
            return Recording(part * gain * _fades(len(part), hop), label)
    raise CorpusError("nothing is heard in any of the recordings: all of their samples are 0")


def _factor(decibels: float) -> float:
    return float(10 ** (decibels / 20))


def _fades(count: int, hop: int) -> Array:
    """Return factors (count,) that rise and fall over half a hop at the ends, so that no cut is heard as a click."""
    steps = np.arange(1, count + 1)
    return np.asarray(np.minimum(1, np.minimum(steps, steps[::-1]) * 2 / hop))


def _pause(random: np.random.Generator, rate: int) -> int:
    return round(random.uniform(*_PAUSES) * rate)
