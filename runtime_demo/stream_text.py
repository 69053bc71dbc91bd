"""How do I stream text from a bundle on the device?

    python runtime_demo/stream_text.py bundles/demo "def "

Needs edgernn without extras, and no torch.
"""

import argparse
import os
import sys

from edgernn.errors import EdgeRNNError
from edgernn.runtime import Model, Sampler


def main() -> None:
    parser = argparse.ArgumentParser(description="Stream text from a bundle.")
    parser.add_argument("bundle", help="the bundle of a language model")
    parser.add_argument("prompt", help="the text to continue")
    parser.add_argument("--tokens", type=int, default=300, help="the number of tokens to decode")
    parser.add_argument("--temperature", type=float, default=0.8, help="the sampling temperature; 0 is greedy")
    parser.add_argument("--seed", type=int, default=None, help="equal seeds give equal texts")
    options = parser.parse_args()

    model = Model.load(options.bundle)  # the weights: load them once, share them between threads
    stream = model.stream(Sampler(temperature=options.temperature, top_k=40, seed=options.seed))  # owns one state
    stream.prefill(options.prompt)
    print(options.prompt, end="", flush=True)
    for text in stream.decode(max_tokens=options.tokens):
        print(text, end="", flush=True)
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
