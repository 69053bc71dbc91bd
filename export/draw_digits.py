"""Write drawn digits as PNG files, at which a network can look by glimpses.

python export/draw_digits.py pictures/ --canvas 60 --clutter 4
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from edgernn.data.captions import DEV, TEST, TRAIN
from edgernn.data.drawn_digits import draw_digits
from edgernn.tasks.glimpse.data import Canvas


def main() -> None:
    """Write the first digits of a split, as they are or on a canvas."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="the directory to write to")
    parser.add_argument("--split", default=TEST, choices=[TRAIN, DEV, TEST], help="the split")
    parser.add_argument("--count", type=int, default=12, help="the number of digits")
    parser.add_argument("--canvas", type=int, help="the side of the canvas on which each is placed, in pixels")
    parser.add_argument("--clutter", type=int, default=0, help="the number of pieces of other digits on the canvas")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    digits = draw_digits(options.split)
    images = digits.images[: options.count]
    if options.canvas:
        images = Canvas(options.canvas, options.clutter).place(images, digits.images, np.random.default_rng(0))
    for number, image in enumerate(images):
        Image.fromarray(image).save(options.out / f"{number:03}.png")


if __name__ == "__main__":
    main()
