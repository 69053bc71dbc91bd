"""Write drawn clips as GIF files, on which a tagger or a classifier can be tried, and their labels as labels.csv.

python export/draw_clips.py clips/ --split test --count 12
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image

from edgernn.data.captions import DEV, TEST, TRAIN
from edgernn.data.clips import CLIP_CLASSES, FRAME_CLASSES, DrawnClips

_SHOWN = 80  # milliseconds for each frame


def main() -> None:
    """Write the first clips of a split, and their labels: of the clip, and of each frame."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="the directory to write to")
    parser.add_argument("--split", default=TEST, choices=(TRAIN, DEV, TEST), help="the split")
    parser.add_argument("--count", type=int, default=12, help="the number of clips")
    parser.add_argument("--digits", type=Path, help="a directory of MNIST's IDX files, to draw digits")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    lines = ["clip,label,frame_labels\n"]
    for number, clip in enumerate(DrawnClips(options.count, split=options.split, digits=options.digits)):
        name = f"{number:03}.gif"
        first, *others = map(Image.fromarray, clip.frames)
        first.save(options.out / name, save_all=True, append_images=others, duration=_SHOWN, loop=0)
        labels = " ".join(FRAME_CLASSES[label] for label in clip.frame_labels)
        lines.append(f"{name},{CLIP_CLASSES[clip.label]},{labels}\n")
    (options.out / "labels.csv").write_text("".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
