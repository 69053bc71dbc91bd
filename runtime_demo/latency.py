"""How fast is a bundle on this device?

    python runtime_demo/latency.py bundles/demo bundles/demo-fp32

Needs edgernn without extras, and no torch.
"""

import argparse
import os
import sys

from edgernn.errors import EdgeRNNError
from edgernn.runtime import Model
from edgernn.runtime.benchmark import measure


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the time of a step and the decoding rate.")
    parser.add_argument("bundles", nargs="+", help="bundles, which are measured in turns")
    parser.add_argument("--rounds", type=int, default=15, help="the number of measurements of each bundle")
    options = parser.parse_args()

    models = {bundle: Model.load(bundle) for bundle in options.bundles}
    for bundle, figures in measure(models, rounds=options.rounds).items():
        print(bundle)
        for row in figures.rows:
            times = f"step {row.median_us:.0f} µs (95 %: {row.p95_us:.0f}, 99 %: {row.p99_us:.0f})"
            rate = "" if row.tokens_per_second is None else f"{row.tokens_per_second:>9,.0f} tokens/s"
            print(f"  {row.batch:>3} streams  {times:<40}{rate}")


if __name__ == "__main__":
    try:
        main()
    except EdgeRNNError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # whoever read the output has stopped
        os._exit(0)
