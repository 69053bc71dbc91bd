"""How do I describe an image?

    python runtime_demo/caption_image.py bundles/photos holiday.jpg

Needs edgernn with the extra `image`, which installs Pillow, and no torch.
"""

import argparse
import os
import sys

from edgernn.errors import EdgeRNNError, ImageError
from edgernn.runtime import Model
from edgernn.runtime.pipelines.caption import caption_image, open_image, start_caption


def main() -> int:
    parser = argparse.ArgumentParser(description="Describe images.")
    parser.add_argument("bundle", help="the bundle of a captioner")
    parser.add_argument("images", nargs="+", help="image files")
    parser.add_argument("--beam", type=int, default=1, help="the beam width; 1 is greedy decoding")
    options = parser.parse_args()

    model = Model.load(options.bundle)
    damaged = 0
    for path in options.images:
        try:
            image = open_image(model, path)
        except ImageError as error:
            print(error, file=sys.stderr)
            damaged += 1
            continue
        if len(options.images) > 1:
            print(f"{path}:")
        if options.beam == 1:
            for text in start_caption(model, image).decode(max_tokens=20):  # word by word
                print(text, end="", flush=True)
            print()
        else:
            for candidate in caption_image(model, image, options.beam).candidates:
                print(f"{candidate.score:7.3f}  {candidate.text}")
    return 1 if damaged else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except EdgeRNNError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # whoever read the output has stopped
        os._exit(0)
