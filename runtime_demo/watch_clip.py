"""How do I label the frames of a clip one by one, as a camera delivers them?

    python runtime_demo/watch_clip.py bundles/clips clip.gif

Needs edgernn with the extra `image`, which installs Pillow, and no torch.
"""

import argparse
import os
import sys

import numpy as np

from edgernn.errors import EdgeRNNError
from edgernn.media.events import EventStream
from edgernn.media.frames import read_frames
from edgernn.runtime import Model
from edgernn.runtime.pipelines.class_scores import label_output, probabilities
from edgernn.runtime.pipelines.sequence_input import VIDEO, SequenceInput

WIDTH = 30


def main() -> None:
    parser = argparse.ArgumentParser(description="Label the frames of a clip.")
    parser.add_argument("bundle", help="the bundle of a tagger of clips")
    parser.add_argument("clip", help="a GIF, or a directory of numbered pictures")
    options = parser.parse_args()

    model = Model.load(options.bundle)
    source, output = SequenceInput(model), label_output(model)
    if source.kind != VIDEO:
        sys.exit(f"{options.bundle} reads {source.what}: name the bundle of a tagger of clips")
    names = model.labels or ()
    frames = source.steps(read_frames(options.clip))
    stream, events = model.stream(), EventStream()
    for number, frame in enumerate([*frames, *[frames[-1]] * output.delay]):
        scores = stream.step({source.name: frame[None]})[output.name][0]
        labelled = number - output.delay  # the frame that these scores describe
        if labelled < 0:
            continue
        chances = probabilities(scores)
        label = int(np.argmax(chances))
        print(f"frame {labelled:4}  |{'#' * round(WIDTH * float(chances[label])):{WIDTH}}|  {names[label]}", flush=True)
        for event in events.push(label):
            print(f"            {names[event.label]}: frames {event.start} to {event.end - 1}")
    for event in events.finish():
        print(f"            {names[event.label]}: frames {event.start} to {event.end - 1}")


if __name__ == "__main__":
    try:
        main()
    except EdgeRNNError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # whoever read the output has stopped
        os._exit(0)
