"""The example programs in C compute what Python does, from the same bundle and from one of ONNX."""

import shutil
import subprocess
import wave
from pathlib import Path

import numpy as np
import pytest
from compilers import COMPILERS, STRICT
from conversions import convert_once
from pages import blocks

from edgernn.exporters import export
from edgernn.exporters.adoption import AdoptSpec, adopt
from edgernn.exporters.targets.c import CodeOptions, c_target
from edgernn.runtime import Model
from edgernn.runtime.compiled import CompiledEngine
from edgernn.training import Run

PROGRAM = Path(__file__).parents[2] / "runtime_demo" / "c"
SETTINGS = ("--temperature", "0.8", "--top-k", "40", "--max-tokens", "200")

pytestmark = pytest.mark.skipif(not COMPILERS or not shutil.which("make"), reason="a C compiler and make are needed")


@pytest.fixture(scope="module")
def bundles(trained, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles")
    source = Run.load(trained).source()
    with convert_once():
        for target in ("onnx", "c"):
            export(source, folder / target, target=target, precision="int8", steps=32)
    return folder


@pytest.fixture(scope="module", params=COMPILERS)
def program(request, bundles, tmp_path_factory):
    folder = tmp_path_factory.mktemp("program")
    shutil.copytree(PROGRAM, folder, dirs_exist_ok=True)
    flags = f"CFLAGS={' '.join(STRICT)} -O1"
    subprocess.run(["make", "-C", folder, f"CC={request.param}", flags, f"BUNDLE={bundles / 'c'}"], check=True)
    return folder / "stream_text"


@pytest.mark.parametrize("seed", [0, 7, 2**64 - 1])
def test_the_text_is_pythons(program, bundles, call, seed):
    given = [program, "the ", str(seed), "0.8", "40", "200"]
    printed = subprocess.run(given, capture_output=True, text=True, check=True).stdout
    assert len(printed) == len("the ") + 200 + len("\n")
    for target, engine in (("c", ("--engine", "c")), ("onnx", ())):
        status, text, error = call("run", bundles / target, "the ", "--seed", seed, *SETTINGS, *engine)
        assert (status, text, error) == (0, printed, "")


@pytest.mark.parametrize("compiler", COMPILERS)
def test_the_program_of_the_page_decodes_greedily(bundles, tmp_path, compiler):
    (tmp_path / "main.c").write_text(next(block.text for block in blocks("docs/c.md") if block.language == "c"))
    given = [tmp_path / "main.c", bundles / "c" / "model.c", "-I", bundles / "c", "-o", tmp_path / "main"]
    subprocess.run([compiler, *STRICT, "-O1", *given], check=True)
    printed = subprocess.run([tmp_path / "main"], capture_output=True, text=True, check=True).stdout
    stream = Model.load(bundles / "c", CompiledEngine).stream()
    assert [int(token) for token in printed.split()] == greedy(stream, 1, 20)


def greedy(stream, token, count):
    """The likeliest token after each, beginning with one."""
    tokens = [token]
    for _ in range(count):
        tokens.append(int(np.argmax(stream.step({"token": np.array([tokens[-1]])})["logits"][0])))
    return tokens[1:]


@pytest.mark.parametrize("arguments", [["THE"], ["e" * 5000], [""], ["the", "0", "-1"]])
def test_bad_arguments_are_refused(program, arguments):
    done = subprocess.run([program, *arguments], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.strip()


@pytest.fixture(scope="module")
def voice(tmp_path_factory, real_data):
    """The Silero voice detector, adopted for C and for onnxruntime."""
    folder = tmp_path_factory.mktemp("voice")
    (file,) = (real_data / "stateful_onnx" / "silero_vad").glob("*.onnx")
    given = AdoptSpec(constants={"sr": 16000}, carries={"input": 64})
    options = CodeOptions(name="silero", weights="array", sizes={"input_1": 512})
    adopt([file], given, folder / "c", target=c_target(options))
    adopt([file], given, folder / "onnx")
    return folder


@pytest.fixture(scope="module", params=COMPILERS)
def detector(request, voice, tmp_path_factory):
    folder = tmp_path_factory.mktemp("detector")
    shutil.copytree(PROGRAM, folder, dirs_exist_ok=True)
    given = [f"CC={request.param}", f"CFLAGS={' '.join(STRICT)} -O1", f"VOICE={voice / 'c'}"]
    subprocess.run(["make", "-C", folder, "voice_activity", *given], check=True)
    return folder / "voice_activity"


def listen(*given):
    """The lines that the program prints, each as the numbers in it."""
    printed = subprocess.run(given, capture_output=True, text=True, check=True).stdout
    return [[float(word) for word in line.split() if word not in ("to", "s")] for line in printed.splitlines()]


@pytest.mark.real_data
def test_speech_is_found_where_onnxruntime_finds_it(detector, voice, real_data):
    file = real_data / "stateful_onnx" / "silero_vad" / "test.wav"
    with wave.open(str(file)) as sound:
        samples = np.frombuffer(sound.readframes(sound.getnframes()), np.int16).astype(np.float32) / 32768
    stream = Model.load(voice / "onnx").stream()
    wanted = [stream.step({"input": step})["output"].item() for step in samples.reshape(-1, 1, 512)]
    steps = np.array(listen(detector, file, "steps"))
    np.testing.assert_allclose(steps[:, 0], 0.032 * np.arange(len(wanted)), atol=1e-9)
    np.testing.assert_allclose(steps[:, 1], wanted, atol=1e-4)
    assert np.mean(steps[:, 1]) == pytest.approx(0.77130, abs=5e-6)
    assert listen(detector, file) == pytest.approx(np.round(list(segments(wanted)), 3))


def segments(speech):
    """From when to when someone speaks: from a probability of 0.5 on, up to 4 steps below 0.35."""
    begun, silent = None, 0
    for step, probability in enumerate(speech):
        begun = step if begun is None and probability >= 0.5 else begun
        silent = silent + 1 if probability < 0.35 else 0
        if begun is not None and silent == 4:
            yield 0.032 * begun, 0.032 * (step - 3)
            begun = None
    if begun is not None:
        yield 0.032 * begun, 0.032 * (len(speech) - silent)


def save_sound(path, samples, *, rate=16000, channels=1, before=b""):
    """A WAV file of 16 bits, with another chunk before its samples."""
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(channels)
        sound.setsampwidth(2)
        sound.setframerate(rate)
        sound.writeframes(samples.astype("<i2").tobytes())
    data = path.read_bytes()
    path.write_bytes(data[:36] + before + data[36:])
    return path


@pytest.mark.real_data
def test_the_last_step_is_filled_with_zeros_and_other_chunks_are_skipped(detector, voice, tmp_path):
    samples = np.random.default_rng(0).integers(-9000, 9000, 700)
    file = save_sound(tmp_path / "short.wav", samples, before=b"LIST\x05\0\0\0hello\0")
    stream = Model.load(voice / "onnx").stream()
    whole = np.pad(samples, (0, 324)).astype(np.float32) / 32768
    wanted = [stream.step({"input": step})["output"].item() for step in whole.reshape(2, 1, 512)]
    np.testing.assert_allclose(np.array(listen(detector, file, "steps"))[:, 1], wanted, atol=1e-5)


@pytest.mark.real_data
def test_other_sounds_are_refused(detector, tmp_path):
    samples = np.zeros(2000)
    files = [
        save_sound(tmp_path / "fast.wav", samples, rate=44100),
        save_sound(tmp_path / "stereo.wav", samples, channels=2),
        tmp_path / "missing.wav",
    ]
    for given in ([], *([file] for file in files), [files[0], "what"]):
        done = subprocess.run([detector, *given], capture_output=True, text=True)
        assert done.returncode == 2
        assert "16,000 samples a second" in done.stderr
