"""How do I draw strokes point by point, complete a drawing, stop in mid-drawing, and go on elsewhere?

    python runtime_demo/draw_strokes.py bundles/pens --seed 1
    python runtime_demo/draw_strokes.py bundles/pens --complete begun.json
    python runtime_demo/draw_strokes.py bundles/pens --seed 1 --stop-at 20 --snapshot half.snapshot
    python runtime_demo/draw_strokes.py bundles/pens --resume half.snapshot

Prints each point as it is drawn: where the pen is, and "lift" where it lifts. Needs edgernn without extras: no torch,
and no library for pictures.
"""

import argparse
import os
import sys

from edgernn.errors import EdgeRNNError
from edgernn.media.strokes import read_strokes
from edgernn.runtime import Model, Sampler
from edgernn.runtime.pipelines.pens import Pen


def main() -> None:
    parser = argparse.ArgumentParser(description="Draw strokes point by point.")
    parser.add_argument("bundle", help="the bundle of a network that draws strokes")
    parser.add_argument("--seed", type=int, help="the seed of the random numbers")
    parser.add_argument("--temperature", type=float, default=1.0, help="a lower one draws what is likelier")
    begun = parser.add_mutually_exclusive_group()
    begun.add_argument("--complete", help="complete the drawing in this file, a JSON list of strokes")
    begun.add_argument("--resume", help="go on with the drawing in this snapshot")
    parser.add_argument("--stop-at", type=int, help="stop after this number of points")
    parser.add_argument("--snapshot", help="write the unfinished drawing to this file")
    options = parser.parse_args()

    pen = Pen(Model.load(options.bundle))
    given = None if options.complete is None else read_strokes(options.complete)
    stream = pen.stream(Sampler(options.temperature, seed=options.seed), given)
    if options.resume:
        stream.load(options.resume)
    most = pen.units.longest if options.stop_at is None else options.stop_at
    while stream.steps <= most and (point := pen.draw(stream)) is not None:  # the first step read the start
        x, y = pen.place(stream)
        print(f"{x:8.1f} {y:8.1f}{'  lift' if point[2] else ''}", flush=True)
    if options.snapshot:
        stream.save(options.snapshot)


if __name__ == "__main__":
    try:
        main()
    except EdgeRNNError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # whoever read the output has stopped
        os._exit(0)
