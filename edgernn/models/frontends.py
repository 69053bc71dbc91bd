"""Front ends: the first layer of a network that labels sequences, from one step of input to features.

A front end is part of the exported graph. What it needs of earlier input is a declared state, so that a sequence may be
cut anywhere. Each has a step, which is exported, and a sequence path on the same weights, which is used in training.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import ClassVar, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from edgernn.contract import BATCH, Array, StateSpec, TensorSpec
from edgernn.errors import CorpusError

__all__ = [
    "FrontEnd",
    "FrontEndConfig",
    "LogMel",
    "Pictures",
    "Rows",
    "State",
    "Tokens",
    "front_end",
    "scale_front_end",
]

_FULL_SCALE = 32768.0  # of 16-bit samples
_FLOOR = 1e-6  # of the power in a mel band: about that of the rounding of 16-bit samples
_LOWEST = 60.0  # Hz: the lower edge of the first mel band
_TINY = 1e-6
_FITTED = 4096  # windows or rows from which scaling is computed

State = tuple[Tensor, ...]


class FrontEnd(nn.Module, ABC):
    """Features of one step of input. size: the number of features.

    exact: the names of matrices that stay in single precision at every precision, relative to this module.
    """

    exact: ClassVar[tuple[str, ...]] = ()
    size: int

    @abstractmethod
    def input_spec(self) -> TensorSpec:
        """Return the specification of the input of one step."""

    def state_specs(self) -> tuple[StateSpec, ...]:
        """Return the specifications of the states."""
        return ()

    def initial_state(self, batch: int) -> State:
        """Return the state before the first step."""
        return ()

    @abstractmethod
    def sequence(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Return features (time, batch, size) and the last state from inputs x (time, batch, ...)."""

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Return features (batch, size) and the next state from input x (batch, ...)."""
        features, state = self.sequence(x.unsqueeze(0), state)
        return features.squeeze(0), state


class _Framed(FrontEnd):
    """A front end whose step reads `hop` rows, and sees the last `window` rows: a frame.

    The state `carry` (batch, window - hop, ...) is what a frame shares with earlier steps, at first zeros.
    """

    def __init__(self, window: int, hop: int, row: tuple[int, ...]) -> None:
        super().__init__()
        assert 1 <= hop <= window
        self.window, self.hop, self.row = window, hop, row

    def state_specs(self) -> tuple[StateSpec, ...]:
        """Return the specification of `carry`; a window of one step has none."""
        if self.window == self.hop:
            return ()
        return (StateSpec("carry", "float32", (BATCH, self.window - self.hop, *self.row), bound=self._bound),)

    def initial_state(self, batch: int) -> State:
        """Return zeros for `carry`."""
        if self.window == self.hop:
            return ()
        device = next(self.buffers()).device
        return (torch.zeros(batch, self.window - self.hop, *self.row, device=device),)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Return features (batch, size) and the next state from rows x (batch, hop, ...)."""
        frame = self._scaled(x)
        if not state:
            return self._features(frame), ()
        frame = torch.cat([state[0], frame], dim=1)
        return self._features(frame), (frame[:, self.hop :],)

    def sequence(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Return features (time, batch, size) and the last state from rows x (time, batch, hop, ...)."""
        rows = self._scaled(x.transpose(0, 1).flatten(1, 2))  # (batch, time * hop, ...)
        if state:
            rows = torch.cat([state[0], rows], dim=1)
        frames = rows.unfold(1, self.window, self.hop).movedim(-1, 2).transpose(0, 1)
        return self._features(frames), ((rows[:, rows.shape[1] - state[0].shape[1] :],) if state else ())

    @property
    def _bound(self) -> float | None:
        """The bound of scaled rows, or None."""
        return None

    @abstractmethod
    def _scaled(self, rows: Tensor) -> Tensor:
        """Return rows in the scale in which they are carried."""

    @abstractmethod
    def _features(self, frames: Tensor) -> Tensor:
        """Return features (..., size) of frames (..., window, ...)."""


class LogMel(_Framed):
    """Logarithmic mel energies of sound: 16-bit samples, in windows of 25 ms every 10 ms.

    The spectrum is a product with the matrix of the discrete Fourier transform, under a Hann window; its power is added
    up in triangular bands, which are evenly spaced on the mel scale of O'Shaughnessy (1987), 2595 log10(1 + f / 700).
    `mean` and `deviation` are those of the logarithms in the training data.
    """

    exact = ("spectrum", "bands")
    spectrum: Tensor
    bands: Tensor
    mean: Tensor
    deviation: Tensor

    def __init__(self, rate: int, mels: int) -> None:
        super().__init__(window=rate // 40, hop=rate // 100, row=())
        self.rate, self.size = rate, mels
        self.register_buffer("spectrum", _spectrum(self.window), persistent=False)
        self.register_buffer("bands", _bands(self.window, rate, mels), persistent=False)
        self.register_buffer("mean", torch.zeros(mels))
        self.register_buffer("deviation", torch.ones(mels))

    def input_spec(self) -> TensorSpec:
        """Return `samples`, (batch, hop)."""
        return TensorSpec("samples", "int16", (BATCH, self.hop), kind="audio", rate=self.rate)

    @torch.no_grad()
    def fit(self, windows: Tensor) -> None:
        """Set mean and deviation to those of the samples windows (windows, window)."""
        logarithms = self._logarithms(self._scaled(windows.to(self.mean.device)))
        self.mean.copy_(logarithms.mean(0))
        self.deviation.copy_(logarithms.std(0).clamp_min(_TINY))

    @property
    def _bound(self) -> float:
        return 1.0

    def _scaled(self, rows: Tensor) -> Tensor:
        return rows.to(torch.float32) / _FULL_SCALE

    def _features(self, frames: Tensor) -> Tensor:
        return (self._logarithms(frames) - self.mean) / self.deviation

    def _logarithms(self, frames: Tensor) -> Tensor:
        waves = frames @ self.spectrum
        half = self.spectrum.shape[1] // 2
        real, imaginary = waves[..., :half], waves[..., half:]
        return torch.log((real * real + imaginary * imaginary) @ self.bands + _FLOOR)


class Rows(_Framed):
    """Features of rows of numbers: a learned linear map of the scaled rows of a window, and a rectifier.

    `mean` and `deviation` scale each channel as in the training data.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, channels: int, window: int, hop: int, features: int) -> None:
        super().__init__(window, hop, (channels,))
        self.channels, self.size = channels, features
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("deviation", torch.ones(channels))
        self.linear = nn.Linear(window * channels, features)

    def input_spec(self) -> TensorSpec:
        """Return `values`, (batch, hop, channels)."""
        return TensorSpec("values", "float32", (BATCH, self.hop, self.channels))

    @torch.no_grad()
    def fit(self, rows: Tensor) -> None:
        """Set mean and deviation to those of the rows (rows, channels)."""
        rows = rows.to(self.mean.device)
        self.mean.copy_(rows.mean(0))
        self.deviation.copy_(rows.std(0).clamp_min(_TINY))

    def _scaled(self, rows: Tensor) -> Tensor:
        return (rows - self.mean) / self.deviation

    def _features(self, frames: Tensor) -> Tensor:
        return torch.relu(self.linear(frames.flatten(-2)))


class Tokens(FrontEnd):
    """Learned embeddings of tokens."""

    def __init__(self, vocabulary: int, size: int) -> None:
        super().__init__()
        self.vocabulary, self.size = vocabulary, size
        self.embedding = nn.Embedding(vocabulary, size)

    def input_spec(self) -> TensorSpec:
        """Return `token`, (batch,)."""
        return TensorSpec("token", "int64", (BATCH,), bound=self.vocabulary, kind="token")

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Return embeddings (batch, size) of tokens (batch,)."""
        return self.embedding(x), ()

    def sequence(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Return embeddings (time, batch, size) of tokens (time, batch)."""
        return self.embedding(x), ()


class Pictures(FrontEnd):
    """Features of one picture of a clip: three convolutions of stride 2, and a learned linear map."""

    widths: ClassVar[tuple[int, ...]] = (3, 16, 32, 32)

    def __init__(self, height: int, width: int, size: int) -> None:
        super().__init__()
        self.height, self.width, self.size = height, width, size
        layers: list[nn.Module] = []
        for inputs, outputs in zip(self.widths, self.widths[1:], strict=False):
            layers += [nn.Conv2d(inputs, outputs, 3, stride=2, padding=1), nn.ReLU()]
        self.convolutions = nn.Sequential(*layers)
        strides = 2 ** (len(self.widths) - 1)
        cells = math.ceil(height / strides) * math.ceil(width / strides)
        self.linear = nn.Linear(cells * self.widths[-1], size)

    def input_spec(self) -> TensorSpec:
        """Return `frame`, (batch, height, width, 3), of RGB bytes."""
        return TensorSpec("frame", "uint8", (BATCH, self.height, self.width, 3), kind="image")

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Return features (batch, size) of pictures (batch, height, width, 3)."""
        pixels = x.permute(0, 3, 1, 2).to(torch.float32) / 127.5 - 1.0
        return torch.relu(self.linear(self.convolutions(pixels).flatten(1))), ()

    def sequence(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Return features (time, batch, size) of pictures (time, batch, height, width, 3)."""
        features, _ = self.step(x.flatten(0, 1), ())
        return features.unflatten(0, x.shape[:2]), ()


class FrontEndConfig(Protocol):
    """What a front end needs to know of a network's configuration."""

    @property
    def kind(self) -> str:
        """The kind of data: "sound", "text", "numbers" or "video"."""

    @property
    def features(self) -> int:
        """The number of features."""

    @property
    def rate(self) -> int:
        """Of sound, in samples per second."""

    @property
    def vocabulary(self) -> int:
        """Of text: the number of tokens."""

    @property
    def channels(self) -> int:
        """Of numbers, in a row."""

    @property
    def window(self) -> int | None:
        """Rows of numbers that the front end sees in a step."""

    @property
    def hop(self) -> int | None:
        """Rows of numbers that a step reads."""

    @property
    def height(self) -> int:
        """Of pictures, in pixels."""

    @property
    def width(self) -> int:
        """Of pictures, in pixels."""


def front_end(config: FrontEndConfig) -> FrontEnd:
    """Return the front end for the configuration's kind of data."""
    if config.kind == "sound":
        return LogMel(config.rate, config.features)
    if config.kind == "text":
        return Tokens(config.vocabulary, config.features)
    if config.kind == "video":
        return Pictures(config.height, config.width, config.features)
    assert config.window is not None
    assert config.hop is not None
    return Rows(config.channels, config.window, config.hop, config.features)


def scale_front_end(front: FrontEnd, values: Array) -> None:
    """Set the scaling of a front end of sound or numbers from training data, at places that are always the same.

    values: samples (samples,) or rows (rows, channels). Raises CorpusError for fewer samples than a window has.
    """
    random = np.random.default_rng(0)
    if isinstance(front, LogMel):
        if len(values) < front.window:
            raise CorpusError(f"all recordings together have {len(values)} samples, too few to train on")
        starts = random.integers(0, len(values) - front.window + 1, _FITTED)
        front.fit(torch.from_numpy(np.stack([values[start : start + front.window] for start in starts])))
    elif isinstance(front, Rows):
        front.fit(torch.from_numpy(values[random.integers(0, len(values), _FITTED)]))


def _spectrum(window: int) -> Tensor:
    """Return the discrete Fourier transform under a Hann window: (window, 2 * bins), the real parts first."""
    time = torch.arange(window, dtype=torch.float64)
    bins = torch.arange(window // 2 + 1, dtype=torch.float64)
    hann = 0.5 - 0.5 * torch.cos(2 * math.pi * (time + 0.5) / window)
    angles = 2 * math.pi * time[:, None] * bins[None, :] / window
    return (torch.cat([torch.cos(angles), torch.sin(angles)], dim=1) * hann[:, None]).to(torch.float32)


def _bands(window: int, rate: int, mels: int) -> Tensor:
    """Return the weight of each bin in each of `mels` triangular bands up to half the rate: (bins, mels)."""
    low, high = (2595 * math.log10(1 + f / 700) for f in (_LOWEST, rate / 2))
    edges = 700 * (10 ** (torch.linspace(low, high, mels + 2, dtype=torch.float64) / 2595) - 1)
    frequencies = torch.arange(window // 2 + 1, dtype=torch.float64)[:, None] * rate / window
    # A side that is narrower than a bin is widened to it, so that no band is empty.
    distance = frequencies - edges[1:-1]
    sides = torch.where(distance < 0, edges[1:-1] - edges[:-2], edges[2:] - edges[1:-1])
    return (1 - distance.abs() / sides.clamp_min(rate / window)).clamp_min(0).to(torch.float32)
