"""Sound: read WAV files, mix to one channel, change the rate as samples arrive, and listen to a microphone.

Networks take sound as 16-bit integers (samples,) of one channel at the rate that their contract states.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgernn.contract import Array
from edgernn.errors import AudioError, MissingExtraError, counted

__all__ = ["Audio", "Resampler", "is_clipped", "microphone", "mono", "read_wav", "resample"]

_MOST_BYTES = 1 << 30  # of a file, whose samples may take eight times as much memory
_RATES = range(1_000, 1_000_001)  # samples per second
_HEADER = struct.Struct("<4sI4s")
_CHUNK = struct.Struct("<4sI")
_FORMAT = struct.Struct("<HHIIHH")  # code, channels, rate, bytes per second, bytes per frame, bits per sample
_INTEGER, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_SUBFORMAT = 24  # where the format code of WAVE_FORMAT_EXTENSIBLE is
_STREAMED = 0x7FFF0000  # from this length on, a length that the file does not have is that of a pipe's writer
_COMPRESSED: Mapping[int, str] = {2: "ADPCM", 6: "A-law", 7: "mu-law", 17: "ADPCM", 49: "GSM 6.10", 85: "MP3"}
_FULL_SCALE = 32768
_CLIPPED_RUN = 3  # samples at full scale, one after the other, that speech and music hardly ever have


@dataclass(frozen=True)
class Audio:
    """Sound. samples: float32 (samples, channels) in [-1, 1]. rate: in samples per second."""

    samples: Array
    rate: int


def read_wav(source: Path | bytes, name: str = "") -> Audio:
    """Read a WAV file, or its bytes: integers of 8 to 32 bits or floats of 32 or 64, and any number of channels.

    A length of 0 or of more than the file has, as programs that write to a pipe leave it, means up to the end.
    name: what errors call the file, by default its path.
    Raises AudioError for a file that is not a WAV file, is compressed, cut off or larger than 1 GiB, for samples that
    are not finite, and for a file without samples.
    """
    name = name or ("the recording" if isinstance(source, bytes) else str(source))
    data = source if isinstance(source, bytes) else _content(source, name)
    layout, samples = _chunks(data, name)
    decoded = _decoded(samples, layout, name)
    if not len(decoded):
        raise AudioError(f"{name} has no samples: record it again, or remove it")
    return Audio(decoded, layout.rate)


def mono(audio: Audio) -> Array:
    """Return the mean of the channels as int16 (samples,). One channel of 16 bits comes as it is in its file."""
    mean = audio.samples[:, 0] if audio.samples.shape[1] == 1 else audio.samples.mean(axis=1, dtype=np.float64)
    return _integers(mean)


def is_clipped(samples: Array) -> bool:
    """Whether the int16 samples (samples,) stay at full scale for three samples or longer."""
    full = (samples >= _FULL_SCALE - 1) | (samples <= -_FULL_SCALE)
    runs = len(full) - _CLIPPED_RUN + 1
    return runs > 0 and bool(np.all([full[start : start + runs] for start in range(_CLIPPED_RUN)], axis=0).any())


class Resampler:
    """Changes the rate of sound as it arrives. The samples do not depend on where the sound is cut.

    They come in blocks, up to 0.2 seconds after the sound that they are made of.
    Uses soxr (the extra `audio`) unless both rates are equal; then samples pass unchanged.
    """

    def __init__(self, rate_in: int, rate_out: int) -> None:
        """Rates in samples per second. Raises AudioError for one that no recording has, MissingExtraError for soxr."""
        for rate in (rate_in, rate_out):
            if rate not in _RATES:
                raise AudioError(f"a rate of {rate} samples per second is not within {_RATES[0]:,} and {_RATES[-1]:,}")
        self._stream = None
        if rate_in == rate_out:
            return
        try:
            import soxr
        except ImportError:
            raise MissingExtraError("soxr", "audio") from None
        # In float32, because soxr adds a random dither to integers.
        self._stream = soxr.ResampleStream(rate_in, rate_out, 1, dtype="float32")

    def push(self, samples: Array) -> Array:
        """Take int16 samples (any number,), and return those (number,) that can be computed now."""
        return samples if self._stream is None else self._pushed(samples, last=False)

    def finish(self) -> Array:
        """Return the last samples (number,). Nothing can be pushed afterwards."""
        empty = np.empty(0, np.int16)
        return empty if self._stream is None else self._pushed(empty, last=True)

    def _pushed(self, samples: Array, *, last: bool) -> Array:
        assert self._stream is not None
        return _integers(self._stream.resample_chunk(samples.astype(np.float32) / _FULL_SCALE, last=last))


def resample(samples: Array, rate_in: int, rate_out: int) -> Array:
    """Return the int16 samples (samples,) of a whole recording at another rate, as a Resampler returns them."""
    resampler = Resampler(rate_in, rate_out)
    return np.concatenate([resampler.push(samples), resampler.finish()])


def microphone(rate: int, block: int | None = None) -> Iterator[Array]:
    """Yield int16 samples (block,) of the default microphone as they are recorded, without end.

    rate: in samples per second. block: samples at a time, by default a tenth of a second.
    Raises AudioError if the package sounddevice is not installed, or if it cannot record.
    """
    try:
        import sounddevice
    except ImportError:
        raise AudioError("sounddevice is not installed: a microphone needs pip install sounddevice") from None
    except OSError as error:
        raise AudioError(f"the microphone cannot be used: {error}; install the library PortAudio") from None
    block = block or max(1, rate // 10)
    try:
        with sounddevice.InputStream(samplerate=rate, blocksize=block, channels=1, dtype="int16") as stream:
            while True:
                samples, _ = stream.read(block)
                yield samples[:, 0].copy()
    except sounddevice.PortAudioError as error:
        raise AudioError(f"the microphone cannot be used: {error}") from None


@dataclass(frozen=True)
class _Layout:
    """How samples are stored. width: bytes of a sample. frame: bytes of the samples of all channels."""

    floating: bool
    channels: int
    rate: int
    width: int

    @property
    def frame(self) -> int:
        return self.channels * self.width


def _content(path: Path, name: str) -> bytes:
    try:
        if not path.exists():
            raise AudioError(f"there is no {name}")
        if not path.is_file():
            raise AudioError(f"{name} is not a file")
        if path.stat().st_size > _MOST_BYTES:
            raise AudioError(f"{name} is larger than {_MOST_BYTES >> 30} GiB: cut it into shorter recordings")
        return path.read_bytes()
    except OSError as error:
        raise AudioError(f"{name} cannot be read: {error.strerror or error}") from None


def _chunks(data: bytes, name: str) -> tuple[_Layout, memoryview]:
    """Return the layout and the bytes of the samples."""
    if len(data) < _HEADER.size:
        raise AudioError(f"{name} is not a WAV file: it has {counted(len(data), 'byte')}")
    riff, declared, wave = _HEADER.unpack_from(data)
    if riff != b"RIFF" or wave != b"WAVE":
        raise AudioError(f"{name} is not a WAV file: it begins with {data[:12]!r}")
    layout, at = None, _HEADER.size
    while at + _CHUNK.size <= len(data):
        kind, length = _CHUNK.unpack_from(data, at)
        at += _CHUNK.size
        if kind == b"data":
            if layout is None:
                raise AudioError(f"{name} has samples before their format: it is damaged")
            left = len(data) - at
            if length >= max(left, _STREAMED) or (length == 0 and declared + 8 != len(data)):
                length = left
            if length > left:
                raise AudioError(f"{name} is cut off: it has {left:,} of {length:,} bytes of samples")
            return layout, memoryview(data)[at : at + length]
        if kind == b"fmt ":
            layout = _layout(data[at : at + length], name)
        at += length + length % 2
    raise AudioError(f"{name} is cut off: its header ends before the samples")


def _layout(data: bytes, name: str) -> _Layout:
    if len(data) < _FORMAT.size:
        raise AudioError(f"{name} is cut off: its format has {counted(len(data), 'byte')}")
    code, channels, rate, _, frame, bits = _FORMAT.unpack_from(data)
    if code == _EXTENSIBLE and len(data) >= _SUBFORMAT + 2:
        (code,) = struct.unpack_from("<H", data, _SUBFORMAT)
    if code not in (_INTEGER, _FLOAT):
        raise AudioError(f"{name} is compressed ({_COMPRESSED.get(code, f'format {code}')}): convert it to 16-bit PCM")
    width = -(-bits // 8)
    if not channels or width not in ((1, 2, 3, 4) if code == _INTEGER else (4, 8)) or frame != channels * width:
        stored = f"{counted(channels, 'channel')} of {counted(bits, 'bit')} in {counted(frame, 'byte')}"
        raise AudioError(f"{name} declares {stored}, which no WAV file has: it is damaged")
    if rate not in _RATES:
        raise AudioError(f"{name} declares a rate of {counted(rate, 'sample')} per second: it is damaged")
    return _Layout(code == _FLOAT, channels, rate, width)


def _decoded(data: memoryview, layout: _Layout, name: str) -> Array:
    """Return float32 (samples, channels). An incomplete last frame is left out."""
    frames = len(data) // layout.frame
    data = data[: frames * layout.frame]
    if layout.floating:
        values = np.frombuffer(data, f"<f{layout.width}").astype(np.float32)
        if not np.isfinite(values).all():
            raise AudioError(f"{name} has samples that are not finite: it is damaged")
        return values.clip(-1, 1).reshape(frames, layout.channels)
    if layout.width == 1:
        scaled = (np.frombuffer(data, np.uint8).astype(np.float32) - 128) / 128  # bytes have no sign
    elif layout.width == 3:
        wide = np.zeros((frames * layout.channels, 4), np.uint8)
        wide[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
        scaled = wide.view("<i4")[:, 0].astype(np.float32) / (1 << 31)
    else:
        scaled = np.frombuffer(data, f"<i{layout.width}").astype(np.float32) / (1 << 8 * layout.width - 1)
    return scaled.reshape(frames, layout.channels)


def _integers(values: Array) -> Array:
    """Return samples in [-1, 1] as int16."""
    integers: Array = np.rint(values * _FULL_SCALE).clip(-_FULL_SCALE, _FULL_SCALE - 1).astype(np.int16)
    return integers
