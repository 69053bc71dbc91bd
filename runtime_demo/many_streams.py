"""How do I serve hundreds of streams from one model?

    python runtime_demo/many_streams.py bundles/demo --streams 200

Streams join and leave a batch at any step. Each stream decodes the text that it would decode alone.
Needs edgernn without extras, and no torch.
"""

import argparse
import os
import sys
import time

from edgernn.errors import EdgeRNNError
from edgernn.runtime import Batch, Model, Sampler


def main() -> None:
    parser = argparse.ArgumentParser(description="Decode many streams in a batch.")
    parser.add_argument("bundle", help="the bundle of a language model")
    parser.add_argument("--streams", type=int, default=200, help="the number of streams in all")
    parser.add_argument("--at-once", type=int, default=64, help="the largest number of streams in the batch")
    parser.add_argument("--tokens", type=int, default=60, help="the number of tokens of each stream")
    parser.add_argument("--prompt", default="def ", help="the text that every stream continues")
    options = parser.parse_args()

    model = Model.load(options.bundle)
    batch = Batch(model)
    waiting = list(range(options.streams))
    done = []
    begun = time.perf_counter()
    while waiting or len(batch):
        while waiting and len(batch) < max(1, options.at_once):  # fill the places of streams that have ended
            stream = model.stream(Sampler(temperature=0.8, top_k=40, seed=waiting.pop(0)))
            done.append(batch.join(stream, options.prompt, max_tokens=options.tokens))
        batch.step()
    seconds = time.perf_counter() - begun

    for slot in done[:3]:
        print(repr(options.prompt + slot.text))
    tokens = sum(slot.tokens for slot in done)
    print(f"{options.streams} streams, {tokens:,} tokens, {tokens / seconds:,.0f} tokens/s")


if __name__ == "__main__":
    try:
        main()
    except EdgeRNNError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # whoever read the output has stopped
        os._exit(0)
