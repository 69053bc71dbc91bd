"""Recordings of every kind, and what is none; other rates; microphones."""

import io
import struct
import sys
import types
import wave

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from edgernn.errors import AudioError, MissingExtraError
from edgernn.media.audio import Audio, Resampler, is_clipped, microphone, mono, read_wav, resample

INT16 = np.array([0, 1, -1, 1000, -32768, 32767, 12345, -321], np.int16)
GUID = bytes.fromhex("000000001000800000aa00389b71")


def chunk(kind, data, length=None):
    size = len(data) if length is None else length
    return struct.pack("<4sI", kind, size) + data + b"\0" * (len(data) % 2)


def form(code, channels, bits, rate=8000, extra=b""):
    frame = channels * -(-bits // 8)
    return chunk(b"fmt ", struct.pack("<HHIIHH", code, channels, rate, rate * frame % 2**32, frame, bits) + extra)


def wav(data, code=1, channels=1, bits=16, *, length=None, before=b"", after=b"", riff=None, **more):
    body = b"WAVE" + form(code, channels, bits, **more) + before + chunk(b"data", data, length) + after
    return struct.pack("<4sI", b"RIFF", len(body) if riff is None else riff) + body


def of(samples, **more):
    return wav(samples.tobytes(), bits=8 * samples.itemsize, **more)


def test_16_bits_come_as_they_are(tmp_path):
    (tmp_path / "a.wav").write_bytes(of(INT16))
    audio = read_wav(tmp_path / "a.wav")
    assert audio.rate == 8000
    assert (audio.samples.dtype, audio.samples.shape) == (np.float32, (8, 1))
    np.testing.assert_array_equal(audio.samples[:, 0], INT16 / 32768)
    np.testing.assert_array_equal(mono(audio), INT16)


def test_a_file_of_the_standard_library_is_read():
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setparams((2, 2, 16000, 0, "NONE", ""))
        writer.writeframes(INT16.tobytes())
    audio = read_wav(file.getvalue())
    assert audio.rate == 16000
    np.testing.assert_array_equal(audio.samples * 32768, INT16.reshape(4, 2))


@pytest.mark.parametrize(
    ("data", "code", "bits"),
    [
        (np.uint8([0, 64, 128, 192]).tobytes(), 1, 8),
        (np.int16([-32768, -16384, 0, 16384]).tobytes(), 1, 16),
        (bytes.fromhex("000080 0000c0 000000 000040"), 1, 24),
        (np.int32([-(2**31), -(2**30), 0, 2**30]).tobytes(), 1, 32),
        (np.float32([-1, -0.5, 0, 0.5]).tobytes(), 3, 32),
        (np.float64([-1, -0.5, 0, 0.5]).tobytes(), 3, 64),
    ],
)
@pytest.mark.parametrize("extensible", [False, True])
def test_every_width_has_one_scale(data, code, bits, extensible):
    extra = struct.pack("<HHIH", 22, bits, 0, code) + GUID if extensible else b""
    audio = read_wav(wav(data, 0xFFFE if extensible else code, bits=bits, extra=extra))
    assert audio.samples[:, 0].tolist() == [-1, -0.5, 0, 0.5]
    assert mono(audio).tolist() == [-32768, -16384, 0, 16384]


def test_24_bits_keep_their_sign_and_their_last_bit():
    values = np.array([1, -1, 8388607, -8388608, 4660])
    data = b"".join(int(each).to_bytes(3, "little", signed=True) for each in values)
    np.testing.assert_array_equal(read_wav(wav(data, bits=24)).samples[:, 0] * 2**23, values)


def test_floats_beyond_full_scale_are_limited():
    assert read_wav(wav(np.float32([2, -3]).tobytes(), 3, bits=32)).samples[:, 0].tolist() == [1, -1]


def test_mono_is_the_mean_of_all_channels():
    samples = np.int16([[300, 100, -100], [9, 6, 3], [32767, 32767, 32767], [-32768, -32768, -32768]])
    assert mono(read_wav(of(samples, channels=3))).tolist() == [100, 6, 32767, -32768]


@given(arrays.arrays(np.int16, st.tuples(st.integers(1, 40), st.integers(1, 5))))
def test_any_samples_come_back(samples):
    np.testing.assert_array_equal(read_wav(of(samples, channels=samples.shape[1])).samples * 32768, samples)


def test_other_chunks_of_odd_lengths_are_passed_over():
    more = {"before": chunk(b"LIST", b"abc") + chunk(b"fact", b"1234"), "after": chunk(b"id3 ", b"xyz")}
    np.testing.assert_array_equal(mono(read_wav(of(INT16, **more))), INT16)


@pytest.mark.parametrize(
    ("length", "riff"), [(0, 36), (0, 0), (0, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x7FFFF000, 0x7FFFF024)]
)
def test_the_length_that_a_pipe_leaves_means_up_to_the_end(length, riff):
    data = of(INT16, length=length, riff=riff)
    np.testing.assert_array_equal(mono(read_wav(data)), INT16)


def test_half_a_frame_at_the_end_is_left_out():
    assert mono(read_wav(wav(INT16.tobytes() + b"\x07"))).tolist() == INT16.tolist()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is not a WAV file: it has 0 bytes"),
        (b"Not sound but text, in a file of that name.", "is not a WAV file: it begins with b'Not sound bu'"),
        (of(INT16)[:-3], "is cut off: it has 13 of 16 bytes of samples"),
        (of(INT16)[:30], "is cut off: its format has 10 bytes"),
        (of(INT16)[:36], "is cut off: its header ends before the samples"),
        (of(INT16[:0]), "has no samples"),
        (of(INT16[:0], after=chunk(b"LIST", b"abcd")), "has no samples"),
        (wav(b"\1" * 8, 7, bits=8), r"is compressed \(mu-law\): convert it to 16-bit PCM"),
        (wav(b"\1" * 8, 999, bits=8), r"is compressed \(format 999\)"),
        (of(INT16, channels=0), "declares 0 channels of 16 bits in 0 bytes"),
        (wav(b"\1" * 8, bits=0), "declares 1 channel of 0 bits"),
        (wav(b"\1" * 8, 3, bits=16), "declares 1 channel of 16 bits in 2 bytes"),
        (of(INT16, rate=0), "declares a rate of 0 samples per second"),
        (of(INT16, rate=2**31), "declares a rate of 2,147,483,648 samples per second"),
        (wav(np.float32([0, np.nan]).tobytes(), 3, bits=32), "has samples that are not finite"),
        (struct.pack("<4sI4s", b"RIFF", 20, b"WAVE") + chunk(b"data", b"12"), "has samples before their format"),
    ],
)
def test_what_is_no_sound_recording_is_refused_by_name(tmp_path, data, message):
    path = tmp_path / "five_1.wav"
    path.write_bytes(data)
    with pytest.raises(AudioError, match=f"five_1.wav {message}"):
        read_wav(path)


def test_paths_that_are_no_files_are_refused(tmp_path):
    with pytest.raises(AudioError, match=r"there is no .*absent.wav"):
        read_wav(tmp_path / "absent.wav")
    with pytest.raises(AudioError, match="is not a file"):
        read_wav(tmp_path)


@given(st.binary(max_size=80), st.integers(0, 60))
def test_damaged_bytes_are_read_or_refused(data, at):
    good = of(INT16)
    try:
        audio = read_wav(good[:at] + data + good[at + len(data) :])
    except AudioError:
        return
    assert len(audio.samples)
    assert np.isfinite(audio.samples).all()


def test_clipping_is_three_samples_at_full_scale():
    assert is_clipped(np.int16([0, 32767, 32767, 32767, 5]))
    assert is_clipped(np.int16([-32768, 32767, -32768]))
    assert not is_clipped(np.int16([32767, 32767, 0, 32767, 32767]))
    assert not is_clipped(np.int16([32767, 32767]))
    assert not is_clipped(np.int16([]))


RATES = [(16000, 8000), (44100, 8000), (8000, 16000), (11025, 8000), (48000, 44100)]


def tone(rate, seconds=0.5, hertz=440):
    return np.int16(12000 * np.sin(2 * np.pi * hertz * np.arange(int(rate * seconds)) / rate))


@pytest.mark.parametrize(("rate_in", "rate_out"), RATES)
def test_a_tone_stays_the_same_tone(rate_in, rate_out):
    pytest.importorskip("soxr")
    found, expected = resample(tone(rate_in), rate_in, rate_out), tone(rate_out)
    assert abs(len(found) - len(expected)) <= 1
    inner = slice(rate_out // 50, min(len(found), len(expected)) - rate_out // 50)
    np.testing.assert_allclose(found[inner], expected[inner], atol=15)


@pytest.mark.parametrize(("rate_in", "rate_out"), RATES)
@pytest.mark.parametrize("size", [1, 7, 160, 3001])
def test_chunks_of_any_size_give_the_same_samples(rate_in, rate_out, size):
    pytest.importorskip("soxr")
    sound = np.random.default_rng(0).integers(-32768, 32768, 6000).astype(np.int16)
    resampler = Resampler(rate_in, rate_out)
    pieces = [resampler.push(sound[at : at + size]) for at in range(0, len(sound), size)]
    found = np.concatenate([*pieces, resampler.push(sound[:0]), resampler.finish()])
    assert found.dtype == np.int16
    np.testing.assert_array_equal(found, resample(sound, rate_in, rate_out))


def test_equal_rates_need_no_library_and_change_nothing(monkeypatch):
    monkeypatch.setitem(sys.modules, "soxr", None)
    np.testing.assert_array_equal(resample(INT16, 8000, 8000), INT16)
    with pytest.raises(MissingExtraError, match=r"soxr is not installed: .* pip install -e '\.\[audio\]'"):
        Resampler(16000, 8000)


@pytest.mark.parametrize("rates", [(0, 8000), (8000, -1), (8000, 2**31)])
def test_rates_that_no_recording_has_are_refused(rates):
    with pytest.raises(AudioError, match="is not within 1,000 and 1,000,000"):
        Resampler(*rates)


@pytest.fixture
def sounddevice(monkeypatch):
    """A microphone that counts, in the interface of the package sounddevice."""
    module = types.ModuleType("sounddevice")
    module.opened = []

    class PortAudioError(Exception):
        pass

    class InputStream:
        def __init__(self, **options):
            if options["samplerate"] == 1:
                raise PortAudioError("Invalid sample rate")
            module.opened.append(options)
            self.at, self.buffer = 0, None

        def __enter__(self):
            return self

        def __exit__(self, *error):
            module.opened.append("closed")

        def read(self, frames):
            if self.buffer is None:
                self.buffer = np.empty((frames, 1), np.int16)
            self.buffer[:, 0] = np.arange(self.at, self.at + frames)  # as some drivers reuse theirs
            self.at += frames
            return self.buffer, False

    module.InputStream, module.PortAudioError = InputStream, PortAudioError
    monkeypatch.setitem(sys.modules, "sounddevice", module)
    return module


def test_a_microphone_yields_blocks_until_it_is_closed(sounddevice):
    blocks = microphone(8000)
    first, second = next(blocks), next(blocks)
    blocks.close()
    np.testing.assert_array_equal(np.concatenate([first, second]), np.arange(1600))
    options = {"samplerate": 8000, "blocksize": 800, "channels": 1, "dtype": "int16"}
    assert sounddevice.opened == [options, "closed"]


def test_a_microphone_that_cannot_record_is_an_error(sounddevice, monkeypatch):
    with pytest.raises(AudioError, match="the microphone cannot be used: Invalid sample rate"):
        next(microphone(1))
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(AudioError, match=r"sounddevice is not installed: .* pip install sounddevice"):
        next(microphone(8000))


def test_mono_averages_without_rounding_twice():
    assert mono(Audio(np.float32([[3 / 32768, 0]]), 8000)).tolist() == [2]
