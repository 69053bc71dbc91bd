"""What the runtime in TypeScript must reproduce, and what Python must read of it.

    PYTHONPATH=tests python tests/web/conformance.py write FOLDER
    PYTHONPATH=tests python tests/web/conformance.py check FOLDER

`write` writes bundles for WebAssembly, and what Python computes with them: `golden` are those of `export/golden`, of
the same networks, `texts` are language models, and `tasks` learned the data of `tests/tasks.py`. `check` continues in
Python the snapshots that the runtime wrote.
"""

import importlib.util
import json
import shutil
import sys
import wave
from dataclasses import fields, replace
from itertools import pairwise, takewhile
from pathlib import Path

import numpy as np
import torch
from conversions import convert_once
from PIL import Image
from tasks import EXAMPLES
from torch import nn
from untrained import TEXT, finish, make, tokenizer_of

from edgernn.arrays import from_npy
from edgernn.bundle import Bundle, Manifest
from edgernn.contract import BATCH, FromFile
from edgernn.exporters import export
from edgernn.exporters.target import OnnxGraph
from edgernn.exporters.targets.c import CodeOptions, _write
from edgernn.exporters.targets.onnx import ONNX
from edgernn.exporters.targets.wasm import WASM, _compiled
from edgernn.media.audio import is_clipped, mono, read_wav, resample
from edgernn.media.brushwork import Painted
from edgernn.media.events import EventStream
from edgernn.media.image import fitted, read_image, resized, shrunk
from edgernn.media.strokes import read_strokes, strokes_json, to_lines
from edgernn.runtime import Model, Sampler, beam_search, suggest
from edgernn.runtime.pipelines import pipeline_for
from edgernn.runtime.pipelines.caption import attention_maps, caption_image, open_image
from edgernn.runtime.pipelines.draw import Draw
from edgernn.runtime.pipelines.glimpse import GlimpseOptions, GlimpsePipeline
from edgernn.runtime.pipelines.paint import Paint
from edgernn.runtime.pipelines.pens import Pen
from edgernn.runtime.snapshot import settings
from edgernn.runtime.wasm import WasmEngine
from edgernn.tasks import TASKS
from edgernn.training import Run, Trainer

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "export" / "golden"
PRECISIONS = ("fp32", "fp16", "int8", "int4")
ONNX_PRECISIONS = PRECISIONS[:3]  # at int4 onnxruntime for the web differs from that in Python
STEPS_OF_SOURCE = 16  # the longest sequence that the attender of export/golden reads here
STRANGE = [
    "",
    " ",
    "a",
    "  two  spaces",
    "\r\n\t\0",
    "e\u0301 \U0001f469\u200d\U0001f680",
    "\ufeffx\ufffd\u2028",
    "ΑΒΓ ß ſ",
]
PHOTOS = {"flat": (20, 30), "tall": (75, 40), "small": (6, 5), "clear": (31, 33, 4)}  # height, width and channels
SHRUNK = {"line": (5, 4300), "block": (4101, 30), "wide": (40, 1025)}  # larger than 1,024 pixels
# The standard deviation of noise on weights; without it, all captions are alike.
NOISE = {"caption": 1.0, "draw": 0.3, "glimpse": 0.3, "pens": 0.1, "paint": 0.3, "classify": 0.0, "tag": 0.0}
BEGUN = np.array([[3.5, -20, 0], [11, 7.25, 1], [-30, 12, 0], [4, 40, 1]])  # what somebody drew, which is completed
STROKES = ((Sampler(0.5, seed=2**64 - 1), 4), (Sampler(1.5, seed=7), 3))  # and points of BEGUN
RENDERED = (67, 45)  # height and width of a painting
RESUMED = {"draw": 1, "glimpse": 2, "pens": 4, "paint": 5}  # after how many steps a snapshot is taken
RATE = 8000  # samples per second of the networks that listen
SOUNDS = {  # channels, bytes of a sample, samples per second
    "own": (1, 2, RATE),
    "bytes": (1, 1, RATE),
    "stereo": (2, 3, 16_000),
    "studio": (3, 4, 48_000),
    "disc": (2, 2, 44_100),
    "slow": (1, 2, 5_000),
    "float": (1, 0, 22_050),
    "clipped": (1, 2, RATE),
}
LIMITS = ((0, 1), (3, 1), (0, 4), (5, 5))  # of events: merged, shortest
DRAWINGS = ((Sampler(seed=1), "0"), (Sampler(0.5, seed=2**64 - 1), "1"), (Sampler(0, seed=0), "1"))
SAMPLERS = (
    Sampler(0.8, 40, seed=0),
    Sampler(1.0, seed=2**64 - 1),
    Sampler(1.3, 20, seed=7, top_p=0.9, min_p=0.02, repetition_penalty=1.2, repetition_window=16, bias={2: -1.5}),
    Sampler(0),
)


def write(folder: Path) -> None:
    """Write bundles, and in `expected.json` what Python computes with them."""
    shutil.rmtree(folder, ignore_errors=True)
    for name in ("characters-fp32", "characters-int8", "characters-int4", "looker", "attender"):
        convert(GOLDEN / name, folder / "golden" / name)
    for file in GOLDEN.iterdir():
        if file.is_file():
            shutil.copy(file, folder / "golden")
    bundles = {precision: ("characters", precision) for precision in PRECISIONS}
    bundles |= {"bpe": ("bpe", "int8")}
    pictures = draw_pictures(folder / "pictures")
    record_sounds(folder / "sounds")
    with convert_once(nn.Module):
        for task, noise in NOISE.items():
            learn(task, noise, folder / "tasks")
        for name, (kind, precision) in bundles.items():
            make(folder / "texts" / name, kind, precision, WASM)
        for precision in ONNX_PRECISIONS:
            make(folder / "texts" / f"onnx-{precision}", "characters", precision, ONNX)
    expected = {
        "texts": [text for name in bundles for text in texts(folder, name)],
        "onnx": [text for precision in ONNX_PRECISIONS for text in texts(folder, f"onnx-{precision}")],
        "snapshots": [snapshot(folder, name) for name in bundles],
        "searches": [search(folder, name) for name in ("fp32", "int8", "bpe")],
        "pictures": pictures,
        "captions": [caption(folder, name) for name in PHOTOS],
        "drawings": [draw(folder, sampler, label) for sampler, label in DRAWINGS],
        "looks": [look(folder, name) for name in PHOTOS],
        "strokes": [strokes(folder, sampler, given) for sampler, given in ((long_drawing(folder), 0), *STROKES)],
        "paintings": [paint(folder, name) for name in ("tall", "small")],
        "resumed": [resume(folder, task, steps) for task, steps in RESUMED.items()],
        "sounds": [sound(folder, name) for name in SOUNDS],
        "events": [events(*limits) for limits in LIMITS],
        "tokenizers": [tokens(kind) for kind in ("characters", "bytes", "bpe", "words")],
    }
    (folder / "expected.json").write_text(json.dumps(expected), encoding="utf-8")


def convert(bundle: Path, out: Path) -> None:
    """Write a bundle in ONNX as one for WebAssembly with the same digest."""
    loaded = Bundle.load(bundle)
    files = {name: data for name, data in loaded.files.items() if not name.endswith(".onnx")}
    sizes, graphs = {"source": STEPS_OF_SOURCE}, []
    for spec in loaded.manifest.contract.graphs:
        states = [state for state in spec.states if isinstance(state.initial, FromFile)]
        first = {state.name: state.first({BATCH: 1}, {state.initial.file: array(files, state)}) for state in states}
        graphs.append(OnnxGraph(spec, loaded.graph(spec.name), initial=first))
    artifacts = _compiled(_write(graphs, sizes, files, CodeOptions(weights="blob")))
    manifest = {field.name: getattr(loaded.manifest, field.name) for field in fields(Manifest)}
    finish(out, artifacts, files, manifest, WASM)


def array(files, state):
    return from_npy(files[state.initial.file], state.initial.file)


def load(folder: Path, name: str) -> Model:
    return Model.load(folder / "texts" / name, None if name.startswith("onnx") else WasmEngine)


def texts(folder: Path, name: str):
    """Yield texts of 300 sampled tokens: the tokens, the text, and the pieces in which it is decoded."""
    for sampler in SAMPLERS[2:3] if name == "bpe" else SAMPLERS:
        stream = load(folder, name).stream(sampler)
        stream.prefill("The lazy fox", unknown="skip")
        made = list(stream.tokens(300))
        yield {
            "bundle": name,
            "prompt": "The lazy fox",
            "sampler": described(sampler),
            "tokens": [each.token for each in made],
            "pieces": [each.text for each in made],
            "scores": [each.log_probability for each in made],
            "logits": stream.logits.tolist(),
        }


def learn(task: str, noise: float, folder: Path) -> None:
    """Write a bundle of a network that learned the task's tiny data set for a second, and then got noisy weights."""
    example, run = EXAMPLES[task], folder / f"{task}-run"
    if task in ("classify", "tag"):  # both of sound, and sure of what they hear
        example = replace(example, write=EXAMPLES["classify"].write, settings={**example.settings, "steps": 240})
    run.parent.mkdir(parents=True, exist_ok=True)
    data = folder / f"{task}-data"
    data.mkdir()
    sources = write_spirals(data) if task == "pens" else example.write(data)
    for _ in Trainer.begin(TASKS[task], sources, run, **example.settings).fit():
        pass
    source = Run.load(run).source()
    torch.manual_seed(0)
    with torch.no_grad():
        for name, parameter in source.network.named_parameters():
            if name.startswith("encoder."):  # of pictures, which amplifies differences of rounding
                continue
            parameter += noise * torch.randn_like(parameter)
    export(source, folder / task, target=WASM, precision="int8", steps=16, tolerance={"loss": 100})


def write_spirals(folder: Path) -> list[str]:
    """Drawings of a spiral in three strokes, longer than those of `tasks`: there is time to take the pen."""
    random = np.random.default_rng(0)
    angles = np.linspace(0, 4 * np.pi, 31)
    for part, count in (("train", 48), ("val", 12)):
        places = np.stack([angles * np.cos(angles), angles * np.sin(angles)], axis=1) * random.uniform(
            6, 9, (count, 1, 1)
        )
        offsets = np.diff(places, axis=1).round()
        lifts = np.tile((np.arange(30) % 10 == 9)[:, None], (count, 1, 1))
        points = np.concatenate([offsets, lifts], axis=2).astype(np.int16).reshape(-1, 3)
        np.savez(folder / f"{part}.npz", points=points, ends=30 * np.arange(1, count + 1))
    return [str(folder)]


def load_task(folder: Path, task: str) -> Model:
    return Model.load(folder / "tasks" / task, WasmEngine)


def draw_pictures(folder: Path):
    """Write pictures of noise, as the pixels that a canvas holds and as PNG; return what Python makes of them."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    for name, shape in {**PHOTOS, **SHRUNK}.items():
        levels = random.integers(0, 256, (*shape, 3)[: max(3, len(shape))], np.uint8)
        mode = "RGB" if levels.shape[2] == 3 else "RGBA"
        Image.fromarray(levels).save(folder / f"{name}.png")
        opaque = np.full((*levels.shape[:2], 1), 255, np.uint8)
        np.save(folder / f"{name}.npy", levels if mode == "RGBA" else np.concatenate([levels, opaque], axis=2))
        image = np.array(shrunk(Image.fromarray(levels), 1024))
        made = {"shrunk": image, "resized": resized(image, 24, 17), "enlarged": resized(image, 90, 61)}
        made |= {"fitted": fitted(image, 28, 24)}
        for what, array in made.items():
            np.save(folder / f"{name}.{what}.npy", array)
    return [*PHOTOS, *SHRUNK]


def caption(folder: Path, name: str):
    """Describe a picture: the greedy caption with its attention, and the candidates of a beam."""
    model = load_task(folder, "caption")
    image = open_image(model, folder / "pictures" / f"{name}.png")
    greedy, beam = (caption_image(model, image, width, 8) for width in (1, 3))
    tokens = greedy.candidates[0].tokens
    return {
        "picture": name,
        "text": greedy.text,
        "tokens": tokens,
        "attention": attention_maps(model, image, tokens).reshape(len(tokens), -1).tolist(),
        "candidates": [{"tokens": each.tokens, "text": each.text, "score": each.score} for each in beam.candidates],
    }


def draw(folder: Path, sampler: Sampler, label: str):
    """Draw: the picture and the window after each step, and the picture after three more."""
    drawer = Draw(load_task(folder, "draw"))
    stream = drawer.stream(sampler, label)
    steps = [stream.step(stream.noise()) for _ in range(drawer.steps + 3)]
    return {
        "sampler": described(sampler),
        "label": label,
        "pictures": [each[drawer.canvas_name].ravel().tolist() for each in steps],
        "boxes": [each[drawer.boxes_name].ravel().tolist() for each in steps],
    }


def look(folder: Path, name: str):
    """Look at a picture, and at its negative."""
    pipeline = GlimpsePipeline(load_task(folder, "glimpse"))
    source = folder / "pictures" / f"{name}.png"
    found = [pipeline(pipeline.read_as(source, each), each) for each in (GlimpseOptions(), GlimpseOptions(invert=True))]
    return {
        "picture": name,
        "glimpses": [
            [
                {"boxes": each.boxes.tolist(), "label": each.label, "probability": each.probability}
                for each in looked.glimpses
            ]
            for looked in found
        ],
    }


def record_sounds(folder: Path):
    """Write recordings of tones with pauses between them, as WAV files."""
    folder.mkdir(parents=True)
    for name, (channels, width, rate) in SOUNDS.items():
        random = np.random.default_rng(0)
        time = np.arange(int(2.51 * rate)) / rate
        loud = np.isin((time / 0.35).astype(int), (1, 3, 4, 6))
        hertz = np.where(time < 1.2, 400, 1600)
        tone = (3 if name == "clipped" else 0.5) * loud * np.sin(2 * np.pi * hertz * time)
        levels = tone[:, None] + random.normal(0, 0.002, (len(time), channels))
        path = folder / f"{name}.wav"
        if width:
            write_wav(path, levels, width, rate)
        else:
            write_float_wav(path, levels, rate)


def write_wav(path: Path, levels: np.ndarray, width: int, rate: int):
    scale = 2.0 ** (8 * width - 1)
    values = np.rint(levels * scale).clip(-scale, scale - 1).astype(np.int64)
    stored = values + 128 if width == 1 else values
    with wave.open(str(path), "wb") as file:
        file.setnchannels(levels.shape[1])
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(stored.astype("<i8").view(np.uint8).reshape(-1, 8)[:, :width].tobytes())


def write_float_wav(path: Path, levels: np.ndarray, rate: int):
    data = levels.astype("<f4").tobytes()
    layout = [3, 1, rate, 4 * rate, 4, 32]
    form = b"".join(value.to_bytes(size, "little") for value, size in zip(layout, (2, 2, 4, 4, 2, 2), strict=True))
    chunks = b"fmt " + len(form).to_bytes(4, "little") + form + b"data" + len(data).to_bytes(4, "little") + data
    path.write_bytes(b"RIFF" + (4 + len(chunks)).to_bytes(4, "little") + b"WAVE" + chunks)


def sound(folder: Path, name: str):
    """Write the samples of a recording; of one at the rate of the networks, return also what is heard in it."""
    path = folder / "sounds" / f"{name}.wav"
    audio = read_wav(path)
    samples = mono(audio)
    np.save(folder / "sounds" / f"{name}.mono.npy", samples)
    made = samples if audio.rate == RATE else resample(samples, audio.rate, RATE)
    np.save(folder / "sounds" / f"{name}.resampled.npy", made)
    found = {"name": name, "rate": audio.rate, "clipped": is_clipped(samples)}
    if audio.rate != RATE:
        return found
    for task in ("classify", "tag"):
        pipeline = pipeline_for(load_task(folder, task))
        result = pipeline(pipeline.read(path), pipeline.options())
        found[task] = result.to_json() | {"scores": scores(folder, task, path)}
    assert {each["label"] for each in found["tag"]["events"]} == {"low", "high"}
    return found | {"heard": heard(folder, path)}


def scores(folder: Path, task: str, path: Path):
    """The scores after each step of a recording."""
    pipeline = pipeline_for(load_task(folder, task))
    stream = pipeline.model.stream()
    ((name, steps),) = pipeline.read(path).items()
    return [stream.step({name: step[None]})["scores"][0].tolist() for step in steps]


def heard(folder: Path, path: Path):
    """The sounds between pauses that the demo finds: begin and end in seconds, and the label."""
    spec = importlib.util.spec_from_file_location("listen", ROOT / "runtime_demo" / "listen.py")
    demo = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(demo)
    found = []

    class Listener(demo.Listener):
        def end(self):
            if self.stream is not None:
                label, _, share = self.answer.rpartition(" ")
                found.append([self.begun / self.rate, self.loud / self.rate, label, share])
            self.stream, self.guess = None, ""

    listener = Listener(load_task(folder, "classify"), level=0.01, pause=0.3)
    for step in listener.source.read(path):
        listener.hear(step)
    listener.end()
    return found


def events(merged: int, shortest: int):
    """Random labels of frames, and the events that each completes; the last are those at the end."""
    random = np.random.default_rng(merged + shortest)
    labels = np.repeat(random.integers(-1, 4, 300), random.integers(1, 9, 300)).tolist()
    stream = EventStream(merged, shortest)
    found = [[stream.push(label), list(stream.begun)] for label in labels]
    return {
        "merged": merged,
        "shortest": shortest,
        "labels": labels,
        "events": [*found, [stream.finish(), []]],
    }


def long_drawing(folder: Path) -> Sampler:
    """The first seed whose drawing begins with a line, and ends by itself after 20 to 28 points."""
    pen = Pen(load_task(folder, "pens"))
    for seed in range(1, 1000):
        stream = pen.stream(Sampler(seed=seed))
        points = list(takewhile(lambda point: point is not None, (pen.draw(stream) for _ in range(29))))
        if 20 <= len(points) <= 28 and points[0][2] == 0:
            return Sampler(seed=seed)
    raise AssertionError("no seed draws a long drawing")


def strokes(folder: Path, sampler: Sampler, given: int):
    """Complete the first points of a drawing: the points, where the pen then is, and whether the drawing has ended."""
    pen = Pen(load_task(folder, "pens"))
    stream = pen.stream(sampler, BEGUN[:given])
    points = []
    while len(points) < 40 and (point := pen.draw(stream)) is not None:
        points.append(point.tolist())
    whole = np.array([*BEGUN[:given].tolist(), *points])
    file = strokes_json([whole])
    return {
        "sampler": described(sampler),
        "given": BEGUN[:given].tolist(),
        "points": points,
        "place": pen.place(stream),
        "ended": pen.ended(stream),
        "lines": [line.tolist() for line in to_lines(whole)],
        "json": file.decode(),
        "read": read_strokes(file).tolist(),
    }


def paint(folder: Path, name: str):
    """Paint a picture: each stroke, the error after it, and the canvas, also rendered at another size."""
    painter = Paint(load_task(folder, "paint"))
    stream = painter.stream(read_image(folder / "pictures" / f"{name}.png", 8192))
    target = stream.conditions[painter.image_name] / np.float32(255)
    plain = np.square(target - target.mean(axis=(1, 2))).mean()
    numbers, canvases, errors = [], [], []
    for _ in range(painter.strokes + 2):
        numbers.append(stream.step({})[painter.stroke_name][0])
        canvases.append(stream.state[painter.canvas_name][0])
        errors.append(float(np.square(target - canvases[-1]).mean() / plain))
    np.save(folder / "pictures" / f"{name}.canvases.npy", np.array(canvases))
    scaled = np.array(numbers[: painter.strokes])
    scaled[:, :7] *= painter.side
    painted = Painted(scaled, painter.ground, painter.side, painter.side, 1.0)
    *_, rendered = painted.rendered(*RENDERED)
    np.save(folder / "pictures" / f"{name}.rendered.npy", rendered)
    levels = np.rint(255 * canvases[-1].clip(0, 1)).astype(np.uint8)
    np.save(folder / "pictures" / f"{name}.painted.npy", levels)
    return {"picture": name, "strokes": np.array(numbers).tolist(), "errors": errors}


def begin(folder: Path, task: str):
    """Begin a stream of a network of a task."""
    model, sampler = load_task(folder, task), Sampler(0.7, seed=5)
    picture = folder / "pictures" / "tall.png"
    if task == "glimpse":
        seen = GlimpsePipeline(model).read(picture)
        return model.stream(sampler, inputs={name: image[None] for name, image in seen.items()})
    if task == "paint":
        return Paint(model).stream(read_image(picture))
    return Pen(model).stream(long_drawing(folder)) if task == "pens" else Draw(model).stream(sampler, "1")


def advance(stream):
    """Take a step of a stream, and return all outputs."""
    kinds = {tensor.kind for tensor in stream.spec.inputs}
    inputs = stream.noise() if "noise" in kinds else stream.next_point() if "point" in kinds else {}
    return {name: array.ravel().tolist() for name, array in stream.step(inputs).items()}


def resume(folder: Path, task: str, steps: int):
    """Write a snapshot after some steps, and return the outputs of those that follow it."""
    stream = begin(folder, task)
    for _ in range(steps):
        advance(stream)
    stream.save(folder / "tasks" / f"{task}.snapshot")
    return {"task": task, "steps": stream.steps, "outputs": [advance(stream) for _ in range(3)]}


def snapshot(folder: Path, name: str):
    """Write a snapshot, and return the tokens that follow it."""
    stream = load(folder, name).stream(SAMPLERS[2])
    stream.prefill("The fox", unknown="skip")
    for _ in stream.tokens(41):
        pass
    (folder / "texts" / f"{name}.snapshot").write_bytes(stream.snapshot())
    made = list(stream.tokens(60))
    return {"bundle": name, "tokens": [each.token for each in made], "pieces": [each.text for each in made]}


def search(folder: Path, name: str):
    """Return the candidates of a beam, and suggestions."""
    model = load(folder, name)
    stream = model.stream()
    stream.prefill("The ", unknown="skip")
    found = beam_search(stream, 4, 12)
    words = suggest(model, "The ", 3, unknown="skip")
    return {
        "bundle": name,
        "prompt": "The ",
        "candidates": [{"tokens": each.tokens, "text": each.text, "score": each.score} for each in found],
        "suggestions": [{"text": each.text, "probability": each.probability} for each in words],
    }


def tokens(kind: str):
    """Return a tokenizer with texts and their tokens, and the pieces in which a decoder returns random tokens."""
    tokenizer = tokenizer_of(kind)
    alphabet = [*TEXT, *"".join(STRANGE)]
    random = np.random.default_rng(0)
    made = ["".join(random.choice(alphabet, 12)) for _ in range(200)]
    written = [TEXT, *STRANGE, *made, *(TEXT[a:b] for a, b in pairwise(range(0, len(TEXT), 7)))]
    unknown = ["replace" if tokenizer.unknown_id is not None else "refuse", "skip"]
    sequences = [random.integers(0, len(tokenizer), 50).tolist() for _ in range(20)]
    return {
        "json": tokenizer.to_json(),
        "texts": [[text, each, tokenizer.encode(text, unknown=each).tolist()] for text in written for each in unknown],
        "sequences": [[ids, tokenizer.decode(ids), *pieces(tokenizer, ids)] for ids in sequences],
    }


def pieces(tokenizer, ids):
    """Return the text that each token completes, and what another decoder would need after it."""
    decoder = tokenizer.decoder()
    made = [(decoder.push(token), decoder.tail) for token in ids]
    return [text for text, _ in made], [tail for _, tail in made]


def described(sampler: Sampler):
    return {**settings(sampler), "seed": str(sampler.seed or 0)}


def check(folder: Path) -> None:
    """Continue each snapshot under FOLDER/written as the runtime that wrote it did."""
    records = sorted((folder / "written").rglob("*.json"))
    for path in records:
        record = json.loads(path.read_text(encoding="utf-8"))
        if "outputs" in record:
            stream = begin(folder, record["task"])
            stream.load(path.with_suffix(".snapshot"))
            assert [advance(stream) for _ in record["outputs"]] == record["outputs"], path
            continue
        stream = load(folder, record["bundle"]).stream()
        stream.load(path.with_suffix(".snapshot"))
        made = list(stream.tokens(len(record["tokens"])))
        assert [each.token for each in made] == record["tokens"], path
        assert [each.text for each in made] == record["pieces"], path
    assert records, "no snapshots were written"
    sys.stdout.write(f"Python continued {len(records)} snapshots of the runtime in TypeScript, to the bit\n")


if __name__ == "__main__":
    {"write": write, "check": check}[sys.argv[1]](Path(sys.argv[2]))
