"""How do I look at a picture glimpse by glimpse, and stop when I am sure?

    python runtime_demo/look_at_digit.py bundles/glimpses seven.png --certainty 0.95

Needs edgernn with the extra `image`, which installs Pillow, and no torch.
"""

import argparse
import os
import sys

from edgernn.errors import EdgeRNNError
from edgernn.media.image import read_image
from edgernn.runtime import Model
from edgernn.runtime.pipelines.class_scores import probabilities
from edgernn.runtime.pipelines.glimpse import Look

WIDTH = 30


def main() -> None:
    parser = argparse.ArgumentParser(description="Look at a picture glimpse by glimpse.")
    parser.add_argument("bundle", help="the bundle of a network that looks by glimpses")
    parser.add_argument("image", help="an image file")
    parser.add_argument("--certainty", type=float, default=0.95, help="stop once a class has this probability")
    options = parser.parse_args()

    model = Model.load(options.bundle)
    look = Look(model)
    stream = model.stream(inputs={look.image_name: look.fit(read_image(options.image))[None]})
    for number in range(1, look.glimpses + 1):
        outputs = stream.step({})
        chances = probabilities(outputs[look.scores_name][0])
        best = int(chances.argmax())
        left, top, right, bottom = outputs[look.boxes_name][0, 0]
        place = f"({(left + right) / 2:5.1f}, {(top + bottom) / 2:5.1f})"
        bar = "#" * round(WIDTH * float(chances[best]))
        print(f"glimpse {number} at {place}  |{bar:{WIDTH}}|  {look.labels[best]}", flush=True)
        if chances[best] >= options.certainty:
            break


if __name__ == "__main__":
    try:
        main()
    except EdgeRNNError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # whoever read the output has stopped
        os._exit(0)
