"""How do I translate a sentence while it is being typed?

    python runtime_demo/translate.py bundles/dates "the twenty-first of march 1998"
    python runtime_demo/translate.py bundles/dates < dates.txt

The encoder reads each word as soon as it is there; only the translation waits for the end of the sentence. Needs
edgernn without extras, and no torch.
"""

import argparse
import os
import sys
from collections.abc import Iterable, Iterator

from edgernn.errors import EdgeRNNError
from edgernn.runtime import Model
from edgernn.runtime.pipelines.translate import SentenceReader


def translated(model: Model, words: Iterable[str]) -> Iterator[str]:
    """The translation of the words, piece by piece."""
    reader = SentenceReader(model)
    for word in words:
        reader.push(f"{word} ")  # the encoder reads the word
    return reader.begin().decode(max_tokens=100)


def main() -> int:
    parser = argparse.ArgumentParser(description="Translate sentences.")
    parser.add_argument("bundle", help="the bundle of a translator")
    parser.add_argument("sentences", nargs="*", help="sentences; without any, the lines of standard input")
    options = parser.parse_args()

    model = Model.load(options.bundle)
    damaged = 0
    for sentence in options.sentences or sys.stdin:
        try:
            for text in translated(model, sentence.split()) if sentence.strip() else ():
                print(text, end="", flush=True)
            print()
        except EdgeRNNError as error:
            print(error, file=sys.stderr)
            damaged += 1
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
