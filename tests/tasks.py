"""A tiny data set for each task, with settings by which it is learned in a second: what the laws are tested on."""

from __future__ import annotations

import gzip
import wave as wave_module
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from gallery import write_gallery, write_image
from PIL import Image

TEXT = "the quick brown fox jumps over the lazy dog.\n" * 60


@dataclass(frozen=True)
class Example:
    """Data of one task.

    write: writes the data into a folder and returns the sources, as `edgernn train` takes them. settings: of a training
    that takes a second. evaluation: by the sources, what `edgernn evaluate` is given; None if bundles cannot be scored.
    item: writes a file that the task's pipeline reads, or returns the text that it takes. options: of the pipeline.
    sizes: of the named axes of its graphs, for the target c.
    """

    write: Callable[[Path], list[str]]
    settings: Mapping[str, Any]
    evaluation: Callable[[list[str]], Mapping[str, Any]] | None
    item: Callable[[Path], Path | str]
    options: Mapping[str, Any] = field(default_factory=dict)
    sizes: Mapping[str, int] = field(default_factory=dict)


def _write_text(folder: Path) -> list[str]:
    (folder / "fox.txt").write_text(TEXT, encoding="utf-8")
    return [str(folder / "fox.txt")]


def _write_image(folder: Path) -> Path:
    write_image(folder / "image.png", seed=7)
    return folder / "image.png"


def _write_photographs(folder: Path) -> list[str]:
    for number in range(12):
        write_image(folder / f"{number}.png", seed=number)
    return [str(folder)]


RATE = 8000  # samples per second


def write_tone(path: Path, hertz: float, seconds: float = 0.15, seed: int = 0) -> Path:
    """A WAV file of a tone with a little noise: 8 kHz, 16 bits, one channel."""
    time = np.arange(int(seconds * RATE)) / RATE
    wave = 8000 * np.sin(2 * np.pi * hertz * time) + np.random.default_rng(seed).normal(0, 200, len(time))
    with closing(wave_module.open(str(path), "wb")) as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(wave.astype("<i2").tobytes())
    return path


def _write_tones(folder: Path) -> list[str]:
    for place in range(12):
        write_tone(folder / f"low_{place}.wav", 300 + 10 * place, 0.1 + 0.01 * place, place)
        write_tone(folder / f"high_{place}.wav", 1500 + 30 * place, 0.1 + 0.01 * place, 100 + place)
    return [str(folder)]


def _write_tone(folder: Path) -> Path:
    return write_tone(folder / "unheard.wav", 400, 0.13, 7)


FRAME_CLASSES = ("nothing", "left", "right")


def write_frames(path: Path, seed: int, **changed: Any) -> Path:
    """An .npz file of 48 frames of three numbers, of which the second or the third is high while something happens."""
    random = np.random.default_rng(seed)
    labels = np.repeat(random.permutation(np.arange(12) % len(FRAME_CLASSES)), 4)
    values = np.eye(len(FRAME_CLASSES))[labels] + random.normal(0, 0.1, (48, len(FRAME_CLASSES)))
    arrays = {"frames": values.astype(np.float32), "labels": labels, "classes": np.array(FRAME_CLASSES), **changed}
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return path


def _write_frame_labels(folder: Path) -> list[str]:
    for seed in range(6):
        write_frames(folder / f"{seed}.npz", seed)
    return [str(folder)]


_WORDS = {
    "ein": "a",
    "der": "the",
    "hund": "dog",
    "mann": "man",
    "läuft": "runs",
    "schläft": "sleeps",
    "am": "on",
    "strand": "beach",
}


def write_pairs(folder: Path, pairs: int = 60, held_out: int = 12) -> Path:
    """Sentences of a few words, each with its translation, as `train.de`, `train.en`, `val.de` and so on."""
    random = np.random.default_rng(0)
    for split, count in (("train", pairs), ("val", held_out), ("test_2016", held_out)):
        lengths = random.integers(1, 7, count)
        sentences = [random.choice(list(_WORDS), length).tolist() for length in lengths]
        for language, known in (("de", {word: word for word in _WORDS}), ("en", _WORDS)):
            lines = [" ".join(known[word] for word in sentence).capitalize() + ".\n" for sentence in sentences]
            (folder / f"{split}.{language}").write_text("".join(lines), encoding="utf-8")
    return folder


def idx(array: np.ndarray) -> bytes:
    """The IDX file of an array of unsigned bytes."""
    header = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
    return header + array.astype(np.uint8).tobytes()


def zipped(data: bytes) -> bytes:
    """The same bytes for the same data: test processes that disagree on the name of a parameter do not start."""
    return gzip.compress(data, mtime=0)


def bars(count: int, seed: int = 0, side: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Pictures of one bright bar, upright (class 0) or level (class 1), and their classes."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 2, count)
    images = random.integers(0, 60, (count, side, side))
    for image, label, place in zip(images, labels, random.integers(2, side - 3, count), strict=True):
        (image if label else image.T)[place : place + 2] = 220
    return images.astype(np.uint8), labels.astype(np.uint8)


def write_bars(folder: Path) -> Path:
    """IDX files of bars: a part to train on, gzipped, and one to test on."""
    for part, count, seed in (("train", 48, 0), ("t10k", 20, 1)):
        images, labels = bars(count, seed)
        for name, array in (("images-idx3", images), ("labels-idx1", labels)):
            data = idx(array)
            if part == "train":
                (folder / f"{part}-{name}-ubyte.gz").write_bytes(gzip.compress(data))
            else:
                (folder / f"{part}-{name}-ubyte").write_bytes(data)
    return folder


def write_bar(path: Path) -> Path:
    """An image file of a bar."""
    Image.fromarray(bars(1, 7)[0][0]).save(path)
    return path


def figures(count: int, seed: int = 0) -> list[np.ndarray]:
    """Drawings, int16 (points, 3) of dx, dy and 1 where the pen lifts: a triangle, or two parallel lines."""
    random = np.random.default_rng(seed)
    drawn = []
    for kind in random.integers(0, 2, count):
        corners = [[0, 0, 0], [20, 30, 0], [-40, 0, 0], [20, -30, 1]] if kind else [[0, 0, 0], [0, 40, 1]]
        lines = corners if kind else [*corners, [30, -40, 0], [0, 25, 0], [0, 15, 1]]
        points = np.array(lines, np.int16)
        points[1:, :2] += random.integers(-3, 4, (len(points) - 1, 2)).astype(np.int16)
        drawn.append(points)
    return drawn


def write_figures(path: Path, count: int, seed: int = 0, **changed: Any) -> Path:
    """An .npz file of figures. changed: other arrays, or None for one that is left out."""
    drawn = figures(count, seed)
    ends = np.cumsum([len(each) for each in drawn], dtype=np.int32)
    arrays = {"points": np.concatenate(drawn), "ends": ends, **changed}
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return path


def _write_figure_parts(folder: Path) -> list[str]:
    for part, count, seed in (("train", 48, 0), ("val", 20, 1)):
        write_figures(folder / f"{part}.npz", count, seed)
    return [str(folder)]


EXAMPLES: dict[str, Example] = {
    "language": Example(
        _write_text,
        {
            "embedding": 8,
            "hidden": 24,
            "dropout": 0.1,
            "batch_size": 4,
            "bptt": 16,
            "steps": 24,
            "evaluations": 3,
            "learning_rate": 0.02,
            "autocast": "off",
        },
        lambda sources: {"text": sources[0]},
        lambda folder: "the ",
        {"max_tokens": 12, "seed": 3},
    ),
    "caption": Example(
        lambda folder: [str(write_gallery(folder))],
        {
            "encoder": "small",
            "image_size": 32,
            "embedding": 12,
            "hidden": 16,
            "heads": 2,
            "dropout": 0.1,
            "batch_size": 4,
            "min_count": 1,
            "steps": 8,
            "evaluations": 2,
            "learning_rate": 0.01,
            "reward_fraction": 0.4,
            "autocast": "off",
        },
        lambda sources: {"data": sources[0], "split": "dev"},
        _write_image,
        {"beam": 2, "max_tokens": 6},
    ),
    "translate": Example(
        lambda folder: [str(write_pairs(folder))],
        {
            "source_language": "de",
            "target_language": "en",
            "vocabulary": 60,
            "embedding": 12,
            "hidden": 16,
            "dropout": 0.1,
            "longest": 40,
            "batch_size": 8,
            "word_dropout": 0.1,
            "steps": 24,
            "evaluations": 3,
            "learning_rate": 0.02,
            "autocast": "off",
        },
        lambda sources: {"data": sources[0], "split": "test"},
        lambda folder: "ein hund läuft.",
        {"beam": 2, "max_tokens": 6},
        {"source": 40},
    ),
    "classify": Example(
        _write_tones,
        {
            "features": 12,
            "hidden": 12,
            "layers": 1,
            "dropout": 0.1,
            "batch_size": 4,
            "steps": 24,
            "evaluations": 3,
            "learning_rate": 0.02,
            "autocast": "off",
        },
        lambda sources: {"data": sources[0]},
        _write_tone,
        {"threshold": 0.1},
    ),
    "tag": Example(
        _write_frame_labels,
        {
            "features": 12,
            "hidden": 12,
            "layers": 1,
            "dropout": 0.1,
            "delay": 1,
            "batch_size": 4,
            "excerpt": 20,
            "steps": 24,
            "evaluations": 3,
            "learning_rate": 0.02,
            "autocast": "off",
        },
        lambda sources: {"data": sources[0]},
        lambda folder: write_frames(folder / "unseen.npz", 7),
        {"shortest": 2},
    ),
    "glimpse": Example(
        lambda folder: [str(write_bars(folder))],
        {
            "held_out": 0.25,
            "glimpses": 3,
            "side": 4,
            "features": 12,
            "hidden": 12,
            "batch_size": 8,
            "steps": 24,
            "evaluations": 3,
            "learning_rate": 0.02,
            "autocast": "off",
        },
        lambda sources: {"data": sources[0]},
        lambda folder: write_bar(folder / "bar.png"),
        {"certainty": 0.99},
    ),
    "draw": Example(
        lambda folder: [str(write_bars(folder))],
        {
            "held_out": 0.25,
            "writes": 3,
            "window": 4,
            "latents": 2,
            "hidden": 10,
            "batch_size": 8,
            "steps": 24,
            "evaluations": 3,
            "learning_rate": 0.02,
            "autocast": "off",
        },
        None,
        lambda folder: "",
        {"label": "1", "seed": 3, "count": 2},
    ),
    "pens": Example(
        _write_figure_parts,
        {
            "components": 3,
            "features": 6,
            "hidden": 12,
            "dropout": 0.1,
            "batch_size": 8,
            "steps": 24,
            "evaluations": 3,
            "learning_rate": 0.02,
            "autocast": "off",
        },
        lambda sources: {"data": sources[0], "split": "dev"},
        lambda folder: "",
        {"seed": 3, "count": 2, "max_points": 12},
    ),
    "paint": Example(
        _write_photographs,
        {
            "held_out": 0.25,
            "side": 24,
            "train_side": 16,
            "strokes": 12,
            "points": 4,
            "features": 8,
            "hidden": 8,
            "batch_size": 4,
            "unroll": 2,
            "steps": 24,
            "evaluations": 3,
            "learning_rate": 0.02,
            "autocast": "off",
        },
        lambda sources: {"data": sources[0], "pictures": 3},
        _write_image,
        {"strokes": 6, "tiles": 2},
    ),
}
