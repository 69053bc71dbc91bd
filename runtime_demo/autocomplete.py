"""How do I suggest the next words, as the keyboard of a phone does?

    python runtime_demo/autocomplete.py bundles/demo "import o"

Needs edgernn without extras, and no torch.
"""

import argparse
import os
import sys

from edgernn.errors import EdgeRNNError
from edgernn.runtime import Model, suggest


def main() -> None:
    parser = argparse.ArgumentParser(description="Suggest the most likely next words of a text.")
    parser.add_argument("bundle", help="the bundle of a language model")
    parser.add_argument("text", help="the text so far; it may end within a word")
    parser.add_argument("--count", type=int, default=3, help="the number of suggestions")
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
