"""How do I paint a photograph stroke by stroke, stop in mid-painting, and go on elsewhere?

    python runtime_demo/paint_photo.py bundles/paint photo.jpg --out painting.png
    python runtime_demo/paint_photo.py bundles/paint photo.jpg --stop-at 100 --snapshot photo.snapshot
    python runtime_demo/paint_photo.py bundles/paint photo.jpg --resume photo.snapshot --out painting.png

Needs edgernn with the extra image, which reads and writes pictures: no torch.
"""

import argparse
import os
import sys
from pathlib import Path

import numpy as np

from edgernn.errors import EdgeRNNError
from edgernn.media.image import read_image, resized, write_picture
from edgernn.runtime import Model
from edgernn.runtime.pipelines.paint import Paint


def main() -> None:
    parser = argparse.ArgumentParser(description="Paint a photograph stroke by stroke.")
    parser.add_argument("bundle", help="the bundle of a network that paints")
    parser.add_argument("photo", help="an image file; a painting that is resumed keeps its own")
    parser.add_argument("--strokes", type=int, help="the number of strokes")
    parser.add_argument("--stop-at", type=int, default=sys.maxsize, help="stop after this stroke")
    parser.add_argument("--snapshot", help="write the unfinished painting to this file")
    parser.add_argument("--resume", help="go on with the painting in this file")
    parser.add_argument("--out", type=Path, help="write the canvas to this image file")
    options = parser.parse_args()

    paint, photo = Paint(Model.load(options.bundle)), read_image(options.photo)
    stream = paint.stream(photo)
    if options.resume:
        stream.load(options.resume)
    strokes = min(paint.count(options.strokes), options.stop_at)
    while stream.steps < strokes:
        stroke = stream.step({})[paint.stroke_name][0]
        x, y = paint.side * stroke[:2]
        print(f"stroke {stream.steps} at ({x:5.1f}, {y:5.1f})", flush=True)
    if options.snapshot:
        stream.save(options.snapshot)
    if options.out:
        from PIL import Image

        canvas = stream.state[paint.canvas_name][0]
        levels = np.rint(255 * canvas.clip(0, 1)).astype(np.uint8)
        write_picture(Image.fromarray(resized(levels, *photo.shape[:2])), options.out)


if __name__ == "__main__":
    try:
        main()
    except EdgeRNNError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # whoever read the output has stopped
        os._exit(0)
