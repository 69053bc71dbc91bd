"""A few images of noise, with captions, from which a captioner learns in a second."""

import csv
from pathlib import Path

import numpy as np
from PIL import Image

CAPTIONS = {
    f"{number}.png": [f"a {word} number {number}", f"The {word}!"] for number, word in enumerate("abcdefghijkl")
}
SMALL = {"encoder": "small", "image_size": 32, "embedding": 12, "hidden": 16, "heads": 2, "dropout": 0.1}
FEW = {
    "steps": 6,
    "evaluations": 2,
    "batch_size": 4,
    "min_count": 1,
    "learning_rate": 0.01,
    "reward_fraction": 0.4,
    "autocast": "off",
}


def write_image(path: Path, seed: int = 0) -> None:
    """Write 20 rows of 30 pixels of noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (20, 30, 3), np.uint8)).save(path)


def write_gallery(folder: Path) -> Path:
    """The images and, beside them, a CSV file of their captions."""
    for number, name in enumerate(CAPTIONS):
        write_image(folder / "images" / name, number)
    with (folder / "all.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["image", "caption"], *([n, c] for n in CAPTIONS for c in CAPTIONS[n])])
    return folder / "all.csv"
