"""How do I draw a digit step by step, stop in mid-drawing, and go on elsewhere?

    python runtime_demo/draw_digit.py bundles/draw 7 --seed 1
    python runtime_demo/draw_digit.py bundles/draw 7 --seed 1 --stop-at 4 --snapshot seven.snapshot
    python runtime_demo/draw_digit.py bundles/draw 7 --resume seven.snapshot

Needs edgernn without extras: no torch, and no library for pictures.
"""

import argparse
import os
import sys

from edgernn.errors import EdgeRNNError
from edgernn.media.drawings import block_text
from edgernn.runtime import Model, Sampler
from edgernn.runtime.pipelines.draw import Draw


def main() -> None:
    parser = argparse.ArgumentParser(description="Draw a digit step by step.")
    parser.add_argument("bundle", help="the bundle of a network that draws")
    parser.add_argument("label", help="the class to draw; a drawing that is resumed keeps its own")
    parser.add_argument("--seed", type=int, help="the seed of the random numbers")
    parser.add_argument("--temperature", type=float, default=1.0, help="the factor of the random numbers")
    parser.add_argument("--stop-at", type=int, default=sys.maxsize, help="stop after this step")
    parser.add_argument("--snapshot", help="write the unfinished drawing to this file")
    parser.add_argument("--resume", help="go on with the drawing in this file")
    options = parser.parse_args()

    draw = Draw(Model.load(options.bundle))
    stream = draw.stream(Sampler(options.temperature, seed=options.seed), options.label)
    if options.resume:
        stream.load(options.resume)
    while stream.steps < min(draw.steps, options.stop_at):
        outputs = stream.step(stream.noise())
        print(f"step {stream.steps}\n{block_text(outputs[draw.canvas_name])}", flush=True)
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
