"""Every command and code block of the README and the pages in `docs/` runs as it is written, in a copy of a checkout.

Sizes are replaced where they would take minutes, and `SHOWN_ONLY` lists what is not run.
"""

import json
import runpy
import shlex
import shutil
import sys
from dataclasses import replace

import numpy as np
import pytest
from conversions import convert_once
from gallery import FEW, SMALL, write_gallery, write_image
from graphs import I64, F, save
from pages import OF_THE_SITE, READ, ROOT, SHOWN, blocks, is_run
from tasks import EXAMPLES, write_bars, write_frames, write_pairs, write_tone
from torch import nn

from edgernn.cli import execute
from edgernn.data import drawn_digits, scenes, strokes
from edgernn.exporters import export, verify
from edgernn.runtime import Model, Sampler
from edgernn.runtime.parity import TOLERANCES
from edgernn.runtime.pipelines.translate import translate
from edgernn.tasks import TASKS
from edgernn.tasks.classify import data as classify_data
from edgernn.tasks.tag import data as tag_data
from edgernn.tasks.translate import dates
from edgernn.training import Run, Trainer

# Lines that start with one of these are not run: they install packages, or several processes.
SHOWN_ONLY = {
    "make demo": "installs packages; tests/host/test_demo.py runs the demo",
    "make test": "runs the tests, of which this is one",
    "make install": "installs packages, as the machine of these tests did",
    "make web": "builds the code of the page, as `make install` does",
    "make wheel": "builds the package, as `make test-device` does",
    ". .venv/bin/activate": "the tests run in an environment",
    "torchrun": "starts processes; tests/host/test_processes.py trains with two",
}
# What takes minutes, or is downloaded, and what is run in its place.
SMALLER = {
    '"steps": 2000': '"steps": 60, "batch_size": 4',  # docs/min-char-rnn.md
    "hidden=96, steps=200": "hidden=24, steps=20, bptt=16, batch_size=4",  # docs/training.md
    "--resume runs/NAME --passes 40": "--resume runs/NAME --passes 2",
    "tinyshakespeare": "shakespeare.txt",
    "--parameters 12000 --steps 300 --minutes 20": (  # docs/search.md
        "--parameters 6000 --steps 4 --batch-size 4 --bptt 8 --candidates 3 --final-steps 4"
    ),
    "--strokes 400": "--strokes 8",
    "--strokes 200": "--strokes 4",
    "--encoder-weights mobilenet_v2.safetensors": "--encoder small",  # weights of 14 MB
}
LANGUAGE = {
    "embedding": 8,
    "hidden": 24,
    "layers": 2,
    "batch_size": 4,
    "bptt": 16,
    "steps": 60,
    "evaluations": 3,
    "learning_rate": 0.02,
    "autocast": "off",
}
TRANSLATE = {
    "embedding": 8,
    "hidden": 12,
    "vocabulary": 80,
    "batch_size": 8,
    "steps": 6,
    "evaluations": 1,
    "autocast": "off",
}
PICTURES = {
    task: {**EXAMPLES[task].settings, "steps": 6, "evaluations": 1} for task in ("glimpse", "draw", "pens", "paint")
}
TAG = {**EXAMPLES["tag"].settings, "steps": 4, "evaluations": 1}
CLASSIFY = {**EXAMPLES["classify"].settings, "steps": 8, "evaluations": 1}
COMPARE = [
    *("--parameters", "5000", "--seeds", "1", "--targets", "onnx", "--precisions", "fp32"),
    *("--embedding", "8", "--layers", "1", "--batch-size", "4", "--bptt", "16", "--steps", "60", "--evaluations", "3"),
]
OF_A_TASK = {
    "classify": CLASSIFY,
    "language": LANGUAGE,
    "caption": SMALL | FEW,
    "tag": TAG,
    "translate": TRANSLATE,
    **PICTURES,
}
OF_THE_NETWORK = {"embedding", "hidden", "layers", *SMALL} - {"dropout"}
TEXT = 'ROMEO: The quick brown fox jumps over the lazy dog.\ndef import(fox): "I am there"\n' * 40


@pytest.fixture(scope="module", autouse=True)
def _converted_once():
    with convert_once(nn.Module):
        yield


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """A directory like a checkout, with the files, runs and bundles that pages take as given."""
    folder = tmp_path_factory.mktemp("desk")
    for name in ("export", "runtime_demo", "benchmarks", "docs", "Makefile"):
        (folder / name).symlink_to(ROOT / name)
    for name in ("shakespeare", "held-out", "letters", "input"):
        (folder / f"{name}.txt").write_text(TEXT)
    write_image(folder / "holiday.jpg")
    _write_flickr(folder / "flickr8k")
    (folder / "mnist").mkdir()
    write_bars(folder / "mnist")
    (folder / "kanji").mkdir()
    EXAMPLES["pens"].write(folder / "kanji")
    (folder / "multi30k").mkdir()
    write_pairs(folder / "multi30k")
    write_gallery(folder).rename(folder / "photos.csv")
    for path in (folder / "images").iterdir():
        path.rename(folder / path.name)
    _write_detector(folder)
    for place in range(4):
        for name, hertz in (("low", 300), ("high", 1500)):
            (folder / "recordings").mkdir(exist_ok=True)
            write_tone(folder / "recordings" / f"{name}_{place}.wav", hertz, seed=place)
        write_frames(folder / "machine" / f"{place}.npz", place)
    for name in (
        "linux-6.1/kernel/time.c",
        "linux-6.1/kernel/rcu/tree.c",
        "stacks-project/sets.tex",
        "stacks-project/topology.tex",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(TEXT)
    write_tone(folder / "speech.wav", 400)
    _write_labelled(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGERNN_CACHE", str(folder / "cache"))
        for task, source, name, settings in (
            ("language", "shakespeare.txt", "shakespeare", LANGUAGE),
            ("caption", "photos.csv", "photos", SMALL | FEW),
        ):
            trainer = Trainer.begin(TASKS[task], [str(folder / source)], folder / "runs" / name, **settings)
            for _ in trainer.fit():
                pass
            bundle = "demo" if task == "language" else name
            export(Run.load(folder / "runs" / name).source(), folder / "bundles" / bundle, steps=8)
    return folder


def _write_flickr(folder):
    write_gallery(folder)
    lines = (folder / "all.csv").read_text().splitlines()[1:]
    captions = [line.split(",", 1) for line in lines]
    (folder / "Flickr8k.token.txt").write_text(
        "".join(f"{name}#{number % 2}\t{caption}\n" for number, (name, caption) in enumerate(captions))
    )
    names = list(dict.fromkeys(name for name, _ in captions))
    for split, chosen in (("train", names[:8]), ("dev", names[8:10]), ("test", names[10:])):
        (folder / f"Flickr_8k.{split}Images.txt").write_text("\n".join(chosen) + "\n")


def _write_labelled(folder):
    """Names of two languages, and movements of two kinds."""
    (folder / "names").mkdir()
    (folder / "names" / "German.txt").write_text("Schneider\nSchmidt\nBach\nWeber\n")
    (folder / "names" / "Italian.txt").write_text("Rossi\nBruno\nConti\nRicci\n")
    (folder / "movements").mkdir()
    values = np.random.default_rng(0).normal(0, 1, (48, 3)).astype(np.float32)
    labels = np.tile([0, 1], 4).astype(np.int16)
    np.savez(
        folder / "movements" / "watch.npz",
        values=values,
        ends=np.arange(6, 54, 6),
        labels=labels,
        classes=np.array(["walks", "climbs"]),
        subjects=np.arange(8) // 2,
    )
    np.savetxt(folder / "movement.csv", values[:9], delimiter=",")


def _write_detector(folder):
    """A file with the inputs and outputs of the Silero voice detector, and samples for it."""
    random = np.random.default_rng(0)
    weights = {
        "weight": random.normal(0, 0.05, (64, 8)).astype(np.float32),
        "back": random.normal(0, 0.3, (8, 8)).astype(np.float32),
        "out": random.normal(0, 0.5, (8, 1)).astype(np.float32),
    }
    save(
        folder / "silero_vad.onnx",
        {"input": (F, [None, None]), "state": (F, [None, 8]), "sr": (I64, [])},
        {"output": (F, [None, 1]), "stateN": (F, [None, 8])},
        [
            ("Slice", ["input", "from", "to", "axis"], ["first"]),
            ("MatMul", ["first", "weight"], ["a"]),
            ("MatMul", ["state", "back"], ["b"]),
            ("Cast", ["sr"], ["rate"], {"to": F}),
            ("Mul", ["rate", "none"], ["nothing"]),
            ("Sum", ["a", "b", "nothing"], ["c"]),
            ("Tanh", ["c"], ["stateN"]),
            ("MatMul", ["stateN", "out"], ["d"]),
            ("Sigmoid", ["d"], ["output"]),
        ],
        weights
        | {"none": np.zeros((), np.float32)}
        | {"from": np.array([0]), "to": np.array([64]), "axis": np.array([1])},
    )
    np.savez(folder / "speech.npz", input=random.normal(0, 1, (40, 1, 512)).astype(np.float32))


@pytest.fixture
def place(desk, tmp_path, monkeypatch):
    """A fresh copy of the desk for a page, as the working directory."""
    folder = tmp_path / "checkout"
    shutil.copytree(desk, folder, symlinks=True)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("EDGERNN_CACHE", str(desk / "cache"))
    for function in (export, verify):
        monkeypatch.setitem(function.__kwdefaults__, "steps", 32)
    for precision in ("int8", "int4"):  # networks that have hardly learned are rounded further
        monkeypatch.setitem(TOLERANCES, precision, replace(TOLERANCES[precision], rms=1.0, loss=1.0))
    monkeypatch.setattr(classify_data, "_DRAWN", dict.fromkeys(classify_data._DRAWN, 20))
    for name in ("_DRAWN", "_STRUNG"):
        monkeypatch.setattr(tag_data, name, dict.fromkeys(getattr(tag_data, name), 2))
    monkeypatch.setattr(strokes, "_DRAWN", dict.fromkeys(strokes._DRAWN, 40))
    for generated in (scenes, dates, drawn_digits):
        monkeypatch.setattr(generated, "_COUNT", {name: min(count, 64) for name, count in generated._COUNT.items()})
    dates.dates.cache_clear()
    return folder


GIVEN = {  # runs and bundles that a page takes as given, by the name of the desk's
    "docs/adopt.md": {},
    "docs/android.md": {"runs/demo": "runs/shakespeare"},
    "docs/benchmarks.md": {},
    "docs/c.md": {"runs/demo": "runs/shakespeare"},
    "docs/captioning.md": {},
    "docs/cells.md": {"bundles/linux": "bundles/demo"},
    "docs/classification.md": {},
    "docs/devices.md": {"runs/demo": "runs/shakespeare"},
    "docs/export.md": {"runs/shakespeare": "runs/shakespeare"},
    "docs/ios.md": {"runs/demo": "runs/shakespeare"},
    "docs/raspberry-pi.md": {"runs/demo": "runs/shakespeare"},
    "docs/gradients.md": {f"runs/{cell}": "runs/shakespeare" for cell in ("elman-relu", "gru", "lstm")},
    "docs/page.md": {"runs/demo": "runs/shakespeare"},
    "docs/quantisation.md": {"runs/shakespeare": "runs/shakespeare"},
    "docs/runtime.md": {"bundles/demo": "bundles/demo"},
    "docs/tagging.md": {},
    "docs/training.md": {"runs/NAME": "runs/shakespeare"},
    "docs/web.md": {"runs/demo": "runs/shakespeare"},
    "README.md": {
        **{f"bundles/{name}": "bundles/demo" for name in ("demo", "demo-fp32")},
        "bundles/scenes": "bundles/photos",
    },
}


def _smaller(text):
    for size, other in SMALLER.items():
        text = text.replace(size, other)
    return text


def _run(line, place):
    words = shlex.split(line)
    if words[0] == "python":
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", words[1:])
            runpy.run_path(str(place / words[1]), run_name="__main__")
        return
    assert words[0] == "edgernn", line
    assert execute(words[1:] + _settings(words)) == 0, line


def _settings(words):
    """Options that make a training short; those of the network are left out where another run gives them."""
    if words[1] == "compare":
        return COMPARE
    if words[1] != "train" or "--resume" in words:
        return []
    given = OF_THE_NETWORK if "--from" in words and words[2] != "translate" else ()
    settings = {name: value for name, value in OF_A_TASK[words[2]].items() if name not in given}
    options = [(f"--{name.replace('_', '-')}", str(value)) for name, value in settings.items()]
    return [word for option in options for word in option]


def _check_readme(names):
    assert "".join(names["stream"].decode(20)) == "".join(names["twin"].decode(20))
    assert names["outputs"]["logits"].shape == (1, len(names["model"].tokenizer))


def _check_min_char_rnn(names):
    assert len(names["ids"]) == 201
    assert names["exported"].parity.max_abs_diff_outputs < 1e-4


def _check_captioning(names):
    assert names["maps"].shape[0] == len(names["found"].candidates[0].tokens)
    np.testing.assert_allclose(names["maps"].sum(axis=(1, 2)), 1, rtol=1e-5)


def _check_classification(names):
    assert list(names["found"].probabilities) in (["low", "high"], ["high", "low"])
    assert names["guess"][1] == pytest.approx(max(names["found"].probabilities.values()))


def _check_devices(names):
    """The loop without edgernn writes the texts of edgernn and of the conformance test."""
    stream = Model.load("bundles/phone").stream(Sampler(temperature=0.8, top_k=40, seed=0))
    assert names["text"] == stream.complete("def ", 200)
    others = {"top_p": 1.0, "min_p": 0.0, "repetition_penalty": 1.0, "bias": []}  # what the loop leaves out
    golden = ROOT / "export" / "golden"
    cases = json.loads((golden / "texts.json").read_text(encoding="utf-8"))
    cases = [case for case in cases if others.items() <= case["sampler"].items()]
    assert {(case["sampler"]["temperature"], case["sampler"]["top_k"]) for case in cases} > {(0.0, 0), (0.7, 5)}
    for case in cases:
        seed, temperature, top_k = (case["sampler"][name] for name in ("seed", "temperature", "top_k"))
        found = names["generate"](
            golden / case["bundle"], case["prompt"], int(seed), temperature, top_k, len(case["text"])
        )
        assert found == case["text"]


def _check_export(names):
    assert Model.load("bundles/shakespeare-int4").manifest.precision == "int4"
    stream = Model.load("bundles/denoiser").stream()
    assert stream.step({"frame": np.ones((1, 6), np.float32)})["clean"].shape == (1, 6)


def _check_runtime(names):
    np.testing.assert_allclose(names["outputs"]["logits"], names["logits"])
    assert names["rows"]["logits"].shape == (4, *names["logits"].shape[1:])
    assert [len(slot.text) for slot in names["slots"]] == [50] * 64


def _check_translate(names):
    assert names["pieces"] == translate(names["model"], "the twenty-first of march, 1998", 1, 30).text


def _check_glimpse(names):
    assert len(names["guesses"]) == names["look"].glimpses == 3


def _check_draw(names):
    assert names["stream"].steps == names["draw"].steps == 3
    assert names["other"].steps == 3


def _check_pens(names):
    assert len(names["points"]) <= 5
    assert names["stream"].steps >= names["other"].steps - 1


def _check_training(names):
    assert names["source"].network.config.hidden == 24


CHECKS = {  # what the names that a page's Python defines must be
    "README.md": _check_readme,
    "docs/captioning.md": _check_captioning,
    "docs/classification.md": _check_classification,
    "docs/devices.md": _check_devices,
    "docs/draw.md": _check_draw,
    "docs/export.md": _check_export,
    "docs/glimpse.md": _check_glimpse,
    "docs/min-char-rnn.md": _check_min_char_rnn,
    "docs/pens.md": _check_pens,
    "docs/runtime.md": _check_runtime,
    "docs/training.md": _check_training,
    "docs/translate.md": _check_translate,
}


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in READ if any(map(is_run, blocks(page)))])
def test_every_block_of_a_page_runs_as_written(page, place, desk, capsys):
    for kind in ("runs", "bundles"):
        shutil.rmtree(place / kind)
    for name, given in GIVEN.get(page, {}).items():
        shutil.copytree(desk / given, place / name)
    if page == "README.md":
        write_image(place / "bundles" / "scene.png")
    names = {}
    for block in filter(is_run, blocks(page)):
        if block.language == "python":
            exec(compile(_smaller(block.text), page, "exec"), names)
            continue
        for line in block.commands:
            if not line.startswith(tuple(SHOWN_ONLY)):
                _run(_smaller(line), place)
    CHECKS.get(page, lambda names: None)(names)


def test_what_is_shown_and_not_run_is_listed():
    languages = {block.language for page in READ for block in blocks(page)}
    assert languages - {"", "python"} <= SHOWN | OF_THE_SITE
    lines = [line for page in READ for block in blocks(page) if block.language == "" for line in block.commands]
    assert {line.split()[0] for line in lines} <= {"edgernn", "python", "make", "torchrun", "."}
    for start in SHOWN_ONLY:
        assert any(line.startswith(start) for line in lines), start
    text = "".join(block.text for page in READ for block in blocks(page) if is_run(block))
    assert [size for size in SMALLER if size not in text] == []


def test_what_is_not_run_is_what_cannot_be_run_here():
    shown = {page: [b.language for b in blocks(page) if b.language in SHOWN] for page in READ}
    assert {page: languages for page, languages in shown.items() if languages} == {
        "docs/android.md": ["console", "kotlin", "kotlin"],
        "docs/c.md": ["c", "console", "text"],  # tests/host/test_c_demo.py compiles the first
        "docs/classification.md": ["console"],
        "docs/devices.md": ["console"],
        "docs/install.md": ["console"] * 3,
        "docs/ios.md": ["console", "swift", "swift", "console"],
        "docs/min-char-rnn.md": ["text"],
        "docs/page.md": ["console"] * 2,
        "docs/pens.md": ["text"],
        "docs/quantisation.md": ["text"],
        "docs/raspberry-pi.md": ["console"] * 3,
        "docs/search.md": ["text", "text"],
        "docs/tagging.md": ["console"],
        "docs/texts.md": ["console"],
        "docs/web.md": ["ts"] * 3,
    }
