"""The wall: each device module and demo runs in a process where torch, onnx and the host side cannot be imported.

The import linter reads the code and misses what is imported by name at run time; this test runs it.
"""

import pkgutil
import re
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest
from onnx import helper
from PIL import Image
from tiny import (
    SOUND_RATE,
    TinyLanguage,
    manifest,
    onnx_bytes,
    write_captioner,
    write_drawer,
    write_glimpser,
    write_painter,
    write_pen,
    write_sound_classifier,
    write_translator,
)

import edgernn
from edgernn.bundle import new_bundle
from edgernn.contract import BATCH, Contract, GraphSpec, StateSpec, TensorSpec
from edgernn.runtime import Model, Sampler, suggest
from edgernn.runtime.pipelines.caption import caption_image, open_image
from edgernn.runtime.pipelines.translate import translate

DEVICE_MODULES = [
    "arrays",
    "atomic",
    "bundle",
    "cell_names",
    "drawn_names",
    "errors",
    "examples",
    "execution",
    "exponential",
    "paths",
    "pens",
    "records",
    "sampling",
    "score",
    "settings",
    "syntax",
    "tokenizer",
]
PACKAGES = ["contract", "media", "page", "runtime", "runtime.pipelines", "runtime.units"]
HOST_PACKAGES = ["cli", "comparison", "data", "engines", "exporters", "models", "search", "tasks", "training"]
DEMOS = sorted((Path(__file__).parents[2] / "runtime_demo").glob("*.py"))

BLOCK = """
import sys
class Wall:
    blocked = ("torch", "onnx", "onnxscript", "safetensors", "edgernn.cli", "edgernn.models",
               "edgernn.data", "edgernn.comparison", "edgernn.tasks", "edgernn.training", "edgernn.engines",
               "edgernn.exporters")
    def find_spec(self, name, path=None, target=None):
        if any(name == each or name.startswith(each + ".") for each in self.blocked):
            raise ImportError("behind the wall: " + name)
sys.meta_path.insert(0, Wall())
"""


def run_behind_the_wall(code: str, *arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", BLOCK + code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def device_modules():
    root = Path(edgernn.__file__).parent
    inside = [
        f"{package}.{m.name}"
        for package in PACKAGES
        for m in pkgutil.iter_modules([str(root.joinpath(*package.split(".")))])
    ]
    return [f"edgernn.{name}" for name in (*DEVICE_MODULES, *PACKAGES, *inside)]


def test_every_module_is_on_one_side_of_the_wall():
    found = {m.name for m in pkgutil.iter_modules(edgernn.__path__)}
    assert found - {"__main__"} == {*DEVICE_MODULES, *(p for p in PACKAGES if "." not in p), *HOST_PACKAGES}


@pytest.mark.parametrize("module", device_modules())
def test_a_device_module_imports_alone(module):
    done = run_behind_the_wall(f"import {module}")
    assert done.returncode == 0, done.stderr


def test_the_whole_runtime_works_alone(bundle):
    code = """
from edgernn.runtime import Model, Sampler
stream = Model.load(sys.argv[1]).stream(Sampler(seed=0))
stream.prefill("abc")
print(len("".join(stream.decode(20))))
stream.restore(stream.snapshot())
assert not {"torch", "onnx"} & set(sys.modules)
"""
    done = run_behind_the_wall(code, str(bundle))
    assert (done.returncode, done.stdout) == (0, "20\n"), done.stderr


def test_the_wall_of_this_test_holds():
    assert "behind the wall: torch" in run_behind_the_wall("import importlib; importlib.import_module('torch')").stderr


def play(demo, *arguments):
    """What a demo prints behind the wall."""
    path = next(path for path in DEMOS if path.stem == demo)
    done = run_behind_the_wall(
        f"import runpy; runpy.run_path({str(path)!r}, run_name='__main__')", *map(str, arguments)
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_demo_is_played():
    source = Path(__file__).read_text(encoding="utf-8")
    assert all(f'play("{path.stem}"' in source for path in DEMOS)


def test_the_demo_of_text(bundle):
    text = play("stream_text", bundle, "abc", "--tokens", 20, "--seed", 0)
    assert text.startswith("abc")
    assert len(text) == len("abc") + 20 + 1


def test_the_demo_of_suggestions(bundle, model):
    lines = play("autocomplete", bundle, "abc", "--count", 2).splitlines()
    assert lines == [f"{each.probability:6.1%}  abc{each.text}" for each in suggest(model, "abc", 2)]


def test_the_demo_of_resuming_goes_on_exactly(bundle, model, tmp_path):
    first = play("resume", bundle, tmp_path / "snapshot", "abc", "--tokens", 30)
    assert first.startswith("abc")
    stream = model.stream()
    stream.load(tmp_path / "snapshot")
    assert play("resume", bundle, tmp_path / "snapshot", "--tokens", 30) == "".join(stream.decode(30)) + "\n"
    lower = TinyLanguage.random().write(tmp_path / "lower", precision="int8")
    again = "".join(stream.decode(30)) + "\n"
    assert play("resume", lower, tmp_path / "snapshot", "--tokens", 30, "--any-precision") == again


def test_the_demo_of_many_streams(bundle, model):
    printed = play("many_streams", bundle, "--streams", 9, "--at-once", 4, "--tokens", 12, "--prompt", "ab")
    alone = model.stream(Sampler(temperature=0.8, top_k=40, seed=0)).complete("ab", 12, echo=True)
    assert printed.splitlines()[0] == repr(alone)
    assert "9 streams, 108 tokens" in printed


def test_the_demo_of_latency(bundle):
    assert "64 streams" in play("latency", bundle, "--rounds", 1)


def test_the_demo_of_captions(captioner, tmp_path):
    Image.new("RGB", (30, 20), "red").save(tmp_path / "red.png")
    speaker = Model.load(captioner)
    image = open_image(speaker, tmp_path / "red.png")
    found = caption_image(speaker, image, 2)
    assert play("caption_image", captioner, tmp_path / "red.png") == f"{caption_image(speaker, image).text}\n"
    printed = play("caption_image", captioner, tmp_path / "red.png", "--beam", 2)
    assert printed == "".join(f"{each.score:7.3f}  {each.text}\n" for each in found.candidates)


def test_the_demo_of_translation(tmp_path):
    path = write_translator(tmp_path / "translator")
    model = Model.load(path)
    sentences = ["ein hund läuft", "hund"]
    expected = "".join(f"{translate(model, sentence, 1).text}\n" for sentence in sentences)
    assert play("translate", path, *sentences) == expected


def test_the_demo_of_a_voice_detector(tmp_path):
    """A model of somebody else: a mean that is carried from chunk to chunk."""
    spec = GraphSpec(
        "step",
        (TensorSpec("input", "float32", (BATCH, 512)),),
        (TensorSpec("output", "float32", (BATCH, 1)),),
        (StateSpec("level", "float32", (BATCH, 1)),),
    )
    nodes = [
        helper.make_node("ReduceMax", ["input"], ["peak"], axes=[1], keepdims=1),
        helper.make_node("Max", ["peak", "level_in"], ["level_out"]),
        helper.make_node("Identity", ["level_out"], ["output"]),
    ]
    with new_bundle(tmp_path / "b") as writer:
        (writer.directory / "step.onnx").write_bytes(onnx_bytes(spec, nodes, {}, opset=17))
        writer.finish(manifest(Contract((spec,)), {"step": "step.onnx"}, task="adopted"))
    sound = np.concatenate([np.zeros(512), np.full(512, 16384)]).astype("<i2")
    with wave.open(str(tmp_path / "sound.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes(sound.tobytes())
    printed = play("voice_activity", tmp_path / "b", tmp_path / "sound.wav", "--fast")
    assert "0.1 s of sound, mean probability 0.25000" in printed


def test_the_demo_of_a_clip(tmp_path):
    """A frame is bright if its sum is above a limit; its label comes one step later."""
    spec = GraphSpec(
        "step",
        (TensorSpec("frame", "uint8", (BATCH, 4, 4, 3), kind="image"),),
        (TensorSpec("scores", "float32", (BATCH, 2), kind="label", delay=1),),
        (StateSpec("h", "float32", (BATCH, 1)),),
    )
    nodes = [
        helper.make_node("Cast", ["frame"], ["x"], to=1),
        helper.make_node("Flatten", ["x"], ["pixels"]),
        helper.make_node("ReduceMean", ["pixels"], ["h_out"], axes=[1], keepdims=1),
        helper.make_node("MatMul", ["h_in", "weight"], ["product"]),
        helper.make_node("Add", ["product", "bias"], ["scores"]),
    ]
    weights = {"weight": np.float32([[0, 1]]), "bias": np.float32([[100, 0]])}
    with new_bundle(tmp_path / "b") as writer:
        (writer.directory / "step.onnx").write_bytes(onnx_bytes(spec, nodes, weights, opset=17))
        (writer.directory / "labels.json").write_text('["dark", "bright"]')
        writer.finish(manifest(Contract((spec,)), {"step": "step.onnx"}, task="tag"))
    first, *others = (Image.new("RGB", (4, 4), colour) for colour in ("black", "white", "#fefefe", "black"))
    first.save(tmp_path / "x.gif", save_all=True, append_images=others)
    lines = play("watch_clip", tmp_path / "b", tmp_path / "x.gif").splitlines()
    assert [line.split()[-1] for line in lines if line.startswith("frame")] == ["dark", "bright", "bright", "dark"]
    assert lines[4:] == ["            bright: frames 1 to 2"]


def test_the_demo_of_glimpses(tmp_path):
    write_glimpser(tmp_path / "b")
    Image.new("L", (20, 10), 255).save(tmp_path / "white.png")
    lines = play("look_at_digit", tmp_path / "b", tmp_path / "white.png", "--certainty", 0.9).splitlines()
    assert [line.split("  |")[0] for line in lines] == ["glimpse 1 at (  1.0,   1.0)", "glimpse 2 at (  2.0,   1.0)"]
    assert all(line.endswith("|  bright") for line in lines)


def test_the_demo_of_drawing(tmp_path):
    write_drawer(tmp_path / "b")
    whole = play("draw_digit", tmp_path / "b", "bright", "--seed", 3, "--temperature", 0)
    assert whole.split("\n\n")[0] == "step 1\n" + "\n".join(["▓▓▓▓▓▓"] * 3)
    assert whole.count("step") == 3
    begun = play("draw_digit", tmp_path / "b", "dark", "--seed", 3, "--stop-at", 2, "--snapshot", tmp_path / "s")
    ended = play("draw_digit", tmp_path / "b", "dark", "--resume", tmp_path / "s")
    assert begun + ended == play("draw_digit", tmp_path / "b", "dark", "--seed", 3)
    assert play("draw_digit", tmp_path / "b", "dark", "--stop-at", 0) == ""


def test_the_demo_of_strokes(tmp_path):
    write_pen(tmp_path / "b")
    whole = play("draw_strokes", tmp_path / "b", "--seed", 3)
    assert re.fullmatch(r"( +-?\d+\.\d +-?\d+\.\d(  lift)?\n)+", whole)
    begun = play("draw_strokes", tmp_path / "b", "--seed", 3, "--stop-at", 2, "--snapshot", tmp_path / "s")
    assert begun + play("draw_strokes", tmp_path / "b", "--resume", tmp_path / "s") == whole
    assert play("draw_strokes", tmp_path / "b", "--stop-at", 0) == ""
    (tmp_path / "begun.json").write_text("[[[5, 5], [15, 5]]]")
    completed = play("draw_strokes", tmp_path / "b", "--seed", 3, "--complete", tmp_path / "begun.json")
    assert completed.splitlines()[0].split()[0] != whole.splitlines()[0].split()[0]


def test_the_demo_of_painting(tmp_path):
    write_painter(tmp_path / "b")
    Image.new("RGB", (20, 10), "blue").save(tmp_path / "blue.png")
    given = (tmp_path / "b", tmp_path / "blue.png", "--strokes", 3)
    whole = play("paint_photo", *given, "--out", tmp_path / "whole.png")
    assert whole.splitlines()[0] == "stroke 1 at (  2.0,   4.0)"
    begun = play("paint_photo", *given, "--stop-at", 2, "--snapshot", tmp_path / "s")
    ended = play("paint_photo", *given, "--resume", tmp_path / "s", "--out", tmp_path / "ended.png")
    assert begun + ended == whole
    assert play("paint_photo", *given, "--stop-at", 0) == ""
    assert (tmp_path / "ended.png").read_bytes() == (tmp_path / "whole.png").read_bytes()
    with Image.open(tmp_path / "whole.png") as picture:
        assert (picture.size, picture.getpixel((9, 5))) == ((20, 10), (0, 0, 223))


def test_the_demo_of_listening(tmp_path):
    """A loud sound, a pause, and a faint one: each has its own label and time."""
    write_sound_classifier(tmp_path / "b")
    pause = np.zeros(500)
    sound = np.concatenate([pause, np.full(200, 16000), pause, np.full(300, 1000), pause]).astype("<i2")
    with wave.open(str(tmp_path / "sound.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SOUND_RATE)
        file.writeframes(sound.tobytes())
    printed = play("listen", tmp_path / "b", tmp_path / "sound.wav", "--fast").splitlines()
    assert printed == ["   0.40 to 0.70 s  loud (99%)", "   1.10 to 1.50 s  faint (99%)"]


@pytest.mark.parametrize(
    ("demo", "arguments", "words"),
    [
        ("voice_activity", ["BUNDLE", "noise.wav"], "noise.wav is not a WAV file: convert it to one of 16 kHz"),
        ("voice_activity", ["BUNDLE", "none.wav"], "none.wav cannot be read: No such file or directory"),
        ("stream_text", ["none", "abc"], "there is no none"),
        ("stream_text", ["captioner", "abc"], "or describe image files with edgernn caption"),
        ("caption_image", ["BUNDLE", "noise.wav"], "it does not describe images: drive it with edgernn run"),
        ("watch_clip", ["BUNDLE", "noise.wav"], "it scores no classes"),
        ("watch_clip", ["sound", "noise.wav"], "sound reads sound files (WAV): name the bundle of a tagger of clips"),
        ("look_at_digit", ["BUNDLE", "noise.wav"], "it scores no classes"),
        ("look_at_digit", ["glimpser", "noise.wav"], "noise.wav cannot be read as an image"),
        ("draw_digit", ["BUNDLE", "7"], "it does not draw"),
        ("draw_digit", ["drawer", "7"], "there is no class 7 to draw: there is dark, bright"),
        ("draw_digit", ["drawer", "dark", "--resume", "noise.wav"], "noise.wav: these bytes are not a snapshot"),
        ("draw_strokes", ["BUNDLE"], "it does not draw strokes"),
        ("draw_strokes", ["pen", "--temperature", "0"], "at temperature 0 no point is drawn"),
        ("draw_strokes", ["pen", "--complete", "noise.wav"], "noise.wav is not JSON"),
        ("draw_strokes", ["pen", "--resume", "noise.wav"], "noise.wav: these bytes are not a snapshot"),
        ("paint_photo", ["BUNDLE", "noise.wav"], "it does not paint"),
        ("paint_photo", ["painter", "noise.wav"], "noise.wav cannot be read as an image"),
        ("resume", ["BUNDLE", "noise.wav"], "noise.wav: these bytes are not a snapshot"),
        ("listen", ["BUNDLE", "noise.wav"], "the bundle's task is language, but it scores no classes"),
        ("listen", ["sound", "noise.wav"], "noise.wav is not a WAV file: it has 5 bytes"),
        ("latency", ["BUNDLE", "--rounds", "0"], "rounds 0 is not a whole number of at least 1"),
    ],
)
def test_what_a_demo_cannot_use_is_one_line(bundle, tmp_path, demo, arguments, words):
    (tmp_path / "noise.wav").write_bytes(b"noise")
    write_captioner(tmp_path / "captioner")
    write_sound_classifier(tmp_path / "sound")
    write_glimpser(tmp_path / "glimpser")
    write_drawer(tmp_path / "drawer")
    write_pen(tmp_path / "pen")
    write_painter(tmp_path / "painter")
    path = next(path for path in DEMOS if path.stem == demo)
    given = [str(bundle) if each == "BUNDLE" else each for each in arguments]
    command = [sys.executable, path, *given]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert words in done.stderr


def test_a_demo_whose_reader_stops_is_silent(bundle):
    path = next(path for path in DEMOS if path.stem == "stream_text")
    command = f"{sys.executable} {path} {bundle} abc --tokens 5000 | head -c 5"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    assert (len(done.stdout), done.stderr) == (5, "")


def test_help_run_and_cells_need_no_torch(bundle, tmp_path):
    block = BLOCK.replace('"edgernn.cli", ', "").replace('"edgernn.comparison", "edgernn.tasks", ', "")
    code = "from edgernn.cli import main; main()"
    for arguments in (["--help"], ["train", "language", "--help"], ["run", "--help"], ["caption", "--help"]):
        command = [sys.executable, "-c", block + code, *arguments]
        assert subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 0
    command = [sys.executable, "-c", block + code, "run", str(bundle), "abc", "--max-tokens", "9"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, len(done.stdout)) == (0, 13), done.stderr
    (tmp_path / "abc.txt").write_text("abc\n" * 40)
    command = [
        sys.executable,
        "-c",
        block + code,
        "cells",
        str(bundle),
        "--text",
        "abc.txt",
        "--clamp",
        "--max-tokens=9",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("arguments", [["train", "language", "stdlib", "--out", "r"], ["adopt", "a.onnx", "--out=b"]])
def test_a_missing_extra_is_the_line_to_type(tmp_path, arguments):
    code = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "onnx"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Missing())
from edgernn.cli import main
main()
"""
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path)
    assert done.returncode == 2
    assert "is not installed: in edgernn's checkout, make install brings everything" in done.stderr
    assert "pip install -e '.[" in done.stderr
    assert done.stderr.count("\n") == 1
