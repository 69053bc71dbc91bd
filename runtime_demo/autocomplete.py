"""How do I suggest the next words, as the keyboard of a phone does?

    python runtime_demo/autocomplete.py bundles/demo "import o"

Needs numpy, onnxruntime and tokenizers (see docs/install.md); torch is not imported.
"""

import argparse
import os
import sys

from edgernn.errors import EdgeRNNError
from edgernn.runtime import Model, suggest


def main() -> None:
    parser = argparse.ArgumentParser(description="Suggest continuations of a text.")
    parser.add_argument("bundle")
    parser.add_argument("text")
    parser.add_argument("--count", type=int, default=3)
    options = parser.parse_args()

    model = Model.load(options.bundle)
    for suggestion in suggest(model, options.text, options.count):
        print(f"{suggestion.probability:6.1%}  {options.text}{suggestion.text}")


if __name__ == "__main__":
    try:
        main()
    except EdgeRNNError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # whoever read the output has stopped
        os._exit(0)
