"""Random variations of training sequences."""

from __future__ import annotations

import numpy as np

from edgernn.contract import Array

__all__ = ["augment", "turn"]

_SPEED = 0.12  # the largest relative change of speed
_GAIN = 2.0  # the largest factor of loudness
_PAUSE = 0.1  # seconds of silence before and after sound, at most
_NOISE = (20.0, 60.0)  # decibels of the peak above the noise
_SCALE, _JITTER = 0.1, 0.1  # of numbers: relative change of scale, noise as a part of the standard deviation
_SHORTEST = 0.85  # of the extent of a sequence of numbers that is cut
_CUT = 64  # rows from which sequences of numbers are cut


def augment(kind: str, value: Array, random: np.random.Generator, rate: int = 0) -> Array:
    """Return a random variation of a sequence; text and video are not varied."""
    if kind == "sound":
        return _sound(value, random, rate)
    return _numbers(value, random) if kind == "numbers" else value


def turn(frames: Array, random: np.random.Generator) -> Array:
    """Return square frames (time, height, width, 3), mirrored, transposed and with exchanged colours at random.

    It suits drawn clips, whose events do not depend on directions or colours.
    """
    if random.integers(2):
        frames = frames[:, ::-1]
    if random.integers(2):
        frames = frames.transpose(0, 2, 1, 3)
    return np.ascontiguousarray(frames[..., random.permutation(3)])


def _sound(samples: Array, random: np.random.Generator, rate: int) -> Array:
    """Return samples at another speed and loudness, between pauses, with white noise."""
    wave: Array = _stretched(samples.astype(np.float32)[:, None], random)[:, 0]
    wave = wave * np.exp(random.uniform(-1, 1) * np.log(_GAIN))
    before, after = (int(random.uniform(0, _PAUSE) * rate) for _ in range(2))
    wave = np.pad(wave, (before, after))
    peak = max(1.0, float(np.abs(wave).max(initial=0.0)))
    level = peak * 10 ** (-random.uniform(*_NOISE) / 20)
    wave = wave + level * random.standard_normal(len(wave)).astype(np.float32)
    return np.clip(np.rint(wave), -32768, 32767).astype(np.int16)


def _numbers(rows: Array, random: np.random.Generator) -> Array:
    """Return a random extent of long sequences, at another speed and scale, with noise."""
    if len(rows) >= _CUT:
        length = int(len(rows) * random.uniform(_SHORTEST, 1))
        start = int(random.integers(0, len(rows) - length + 1))
        rows = rows[start : start + length]
    rows = _stretched(rows, random)
    deviation = rows.std(axis=0, keepdims=True)
    scale = 1 + random.uniform(-_SCALE, _SCALE, (1, rows.shape[1]))
    noise = _JITTER * deviation * random.standard_normal(rows.shape)
    varied: Array = (rows * scale + noise).astype(np.float32)
    return varied


def _stretched(rows: Array, random: np.random.Generator) -> Array:
    """Return rows (rows, channels) at another speed, interpolated linearly."""
    count = max(1, round(len(rows) * (1 + random.uniform(-_SPEED, _SPEED))))
    places = np.linspace(0, len(rows) - 1, count)
    known = np.arange(len(rows))
    return np.stack([np.interp(places, known, channel) for channel in rows.T], axis=1)
