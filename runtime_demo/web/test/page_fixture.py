"""Write the bundles that the page is tested with into a folder, and what Python does with them.

    python page_fixture.py FOLDER                       tiny and other, for the page, tiny-c, and expected.json
    python page_fixture.py FOLDER restore SNAPSHOT N    print N tokens that follow a snapshot in tiny-c

The networks are untrained.
"""

import json
import sys
from pathlib import Path

import numpy as np

from edgernn.bundle import TOKENIZER
from edgernn.engines import ENGINES
from edgernn.execution import Execution
from edgernn.runtime import Model, Sampler, suggest
from edgernn.tokenizer import Tokenizer

ALPHABET = "abcdefghijklmnopqrstuvwxyz     ,.T\n"
SEED, TOKENS = 1, 400


def main() -> None:
    folder = Path(sys.argv[1])
    if len(sys.argv) > 2:
        stream = load(folder / "tiny-c").stream()
        stream.load(sys.argv[3])
        print(json.dumps("".join(stream.decode(int(sys.argv[4])))))
        return
    write(folder / "tiny", "wasm", seed=0)
    write(folder / "tiny-c", "c", seed=0)
    write(folder / "other", "wasm", seed=1)
    model = load(folder / "tiny-c")
    stream = model.stream(Sampler(0.8, 40, SEED))
    stream.prefill("The ")
    text = "".join(stream.decode(TOKENS))
    saved = model.stream(Sampler(0.7, 0, 5))
    saved.prefill("the sea ")
    list(saved.decode(30))
    saved.save(folder / "python.snapshot")
    expected = {
        "text": text,
        "suggestions": [each.text for each in suggest(model, "The ")],
        "resumed": "".join(saved.decode(TOKENS)),
    }
    (folder / "expected.json").write_text(json.dumps(expected))


def write(path: Path, target: str, seed: int) -> None:
    """Export an untrained network of characters, whose weights are large enough to write varied text."""
    import torch

    from edgernn.exporters import export
    from edgernn.models import HeldOut, Source
    from edgernn.tasks.language.network import LanguageConfig, LanguageModel

    torch.manual_seed(seed)
    tokenizer = Tokenizer.characters(ALPHABET)
    network = LanguageModel(LanguageConfig(len(tokenizer), embedding=16, hidden=64, layers=1)).eval()
    with torch.no_grad():
        for weights in network.parameters():
            weights += 0.3 * torch.randn_like(weights)
    ids = np.random.default_rng(seed).integers(1, len(tokenizer), (2, 33))
    held_out = HeldOut({"token": ids[:, :-1]}, {"logits": ids[:, 1:]})
    source = Source(network, assets={TOKENIZER: tokenizer.to_json().encode()}, held_out=held_out)
    export(source, path, target=target, precision="int8", steps=16)


def load(path: Path) -> Model:
    """Return the model of a bundle in C, which is compiled."""
    execution = Execution(engine="c")
    return Model.load(path, ENGINES["c"], execution=execution)


if __name__ == "__main__":
    main()
