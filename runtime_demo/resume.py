"""How do I stop in the middle of a text and continue later, in another process?

    python runtime_demo/resume.py bundles/demo snapshot.bin "def "     write some text and save a snapshot
    python runtime_demo/resume.py bundles/demo snapshot.bin            continue the text exactly, any number of times

Needs edgernn without extras, and no torch.
"""

import argparse
import os
import sys

from edgernn.errors import EdgeRNNError
from edgernn.runtime import Model, Sampler


def main() -> None:
    parser = argparse.ArgumentParser(description="Continue a text from where it stopped.")
    parser.add_argument("bundle", help="the bundle of a language model")
    parser.add_argument("snapshot", help="the file of the snapshot")
    parser.add_argument("prompt", nargs="?", help="start a new text with this prompt")
    parser.add_argument("--tokens", type=int, default=80, help="the number of tokens to decode")
    parser.add_argument("--any-precision", action="store_true", help="continue in a bundle of another precision")
    options = parser.parse_args()

    stream = Model.load(options.bundle).stream(Sampler(temperature=0.8, top_k=40))
    if options.prompt is None:
        stream.load(
            options.snapshot, any_precision=options.any_precision
        )  # the state, the random generator and the sampler
    else:
        stream.prefill(options.prompt)
        print(options.prompt, end="")
    for text in stream.decode(options.tokens):
        print(text, end="", flush=True)
    stream.save(options.snapshot)
    print()


if __name__ == "__main__":
    try:
        main()
    except EdgeRNNError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # whoever read the output has stopped
        os._exit(0)
