"""Write drawn scenes as PNG files, on which a captioner can be tried, and their captions as captions.csv.

python export/draw_scenes.py scenes/ --split novel --count 12
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image

from edgernn.data.captions import TEST
from edgernn.data.scenes import draw_scenes


def main() -> None:
    """Write the first scenes of a split, and their captions."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="the directory to write to")
    scenes = draw_scenes()
    parser.add_argument("--split", default=TEST, choices=list(scenes.splits), help="the split")
    parser.add_argument("--count", type=int, default=12, help="the number of scenes")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    lines = []
    for number, scene in enumerate(scenes[options.split][: options.count]):
        name = f"{number:03}.png"
        Image.fromarray(scene.read()).save(options.out / name)
        lines += [f'{name},"{caption}"\n' for caption in scene.captions]
    (options.out / "captions.csv").write_text("image,caption\n" + "".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
