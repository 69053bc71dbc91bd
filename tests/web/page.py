"""Write the bundles that the page is tested with into a folder, and what Python does with them.

    python page.py FOLDER                       tiny, tiny-onnx, expected.json and python.snapshot
    python page.py FOLDER restore SNAPSHOT N    print N tokens that follow a snapshot

The network is untrained.
"""

import json
import sys
from pathlib import Path

from edgernn.bundle import TOKENIZER
from edgernn.runtime import Model, Sampler, Stream, suggest
from edgernn.runtime.wasm import WasmEngine
from edgernn.tokenizer import Tokenizer

ALPHABET = "abcdefghijklmnopqrstuvwxyz     ,.T\n"
TOKENS = 400


def main() -> None:
    folder = Path(sys.argv[1])
    if len(sys.argv) > 2:
        stream = load(folder).stream()
        stream.load(sys.argv[3])
        sys.stdout.write(json.dumps(continuation(stream, int(sys.argv[4]))))
        return
    write(folder)
    model = load(folder)
    first, onnx = (each.stream(Sampler(0.8, 40, 1)) for each in (model, Model.load(folder / "tiny-onnx")))
    first.prefill("The ")
    onnx.prefill("The ")
    saved = model.stream(Sampler(0.7, 0, 5))
    saved.prefill("the sea ")
    continuation(saved, 30)
    saved.save(folder / "python.snapshot")
    expected = {
        "text": continuation(first, TOKENS),
        "onnx": continuation(onnx, TOKENS),
        "suggestions": [each.text for each in suggest(model, "The ")],
        "resumed": continuation(saved, TOKENS),
    }
    (folder / "expected.json").write_text(json.dumps(expected))


def write(folder: Path) -> None:
    """Export an untrained network of characters, whose weights are large enough to write varied text."""
    import numpy as np
    import torch

    from edgernn.exporters import export
    from edgernn.models import HeldOut, Source
    from edgernn.tasks.language.network import LanguageConfig, LanguageModel

    torch.manual_seed(0)
    tokenizer = Tokenizer.characters(ALPHABET)
    network = LanguageModel(LanguageConfig(len(tokenizer), embedding=16, hidden=64, layers=1)).eval()
    with torch.no_grad():
        for weights in network.parameters():
            weights += 0.3 * torch.randn_like(weights)
    ids = np.random.default_rng(0).integers(1, len(tokenizer), (2, 33))
    held_out = HeldOut({"token": ids[:, :-1]}, {"logits": ids[:, 1:]})
    source = Source(network, assets={TOKENIZER: tokenizer.to_json().encode()}, held_out=held_out)
    export(source, folder / "tiny", target="wasm", precision="int8", steps=16)
    export(source, folder / "tiny-onnx", precision="int8", steps=16)


def load(folder: Path) -> Model:
    """Return the model of the bundle, whose code in C is compiled."""
    return Model.load(folder / "tiny", WasmEngine)


def continuation(stream: Stream, tokens: int) -> str:
    return "".join(stream.decode(tokens))


if __name__ == "__main__":
    main()
