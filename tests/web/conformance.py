"""What the runtime in TypeScript must reproduce, and what Python must read of it.

    PYTHONPATH=tests python tests/web/conformance.py write FOLDER
    PYTHONPATH=tests python tests/web/conformance.py check FOLDER

`write` writes bundles for WebAssembly, and what Python computes with them: `golden` are those of `export/golden`, of
the same networks. `check` continues in Python the snapshots that the runtime wrote.
"""

import json
import shutil
import sys
from dataclasses import fields
from itertools import pairwise
from pathlib import Path

import numpy as np
from conversions import convert_once
from untrained import TEXT, finish, make, tokenizer_of

from edgernn.arrays import from_npy
from edgernn.bundle import Bundle, Manifest
from edgernn.contract import BATCH, FromFile
from edgernn.exporters.target import OnnxGraph
from edgernn.exporters.targets.c import CodeOptions, _write
from edgernn.exporters.targets.onnx import ONNX
from edgernn.exporters.targets.wasm import WASM, _compiled
from edgernn.runtime import Model, Sampler, beam_search, suggest
from edgernn.runtime.snapshot import settings
from edgernn.runtime.wasm import WasmEngine

GOLDEN = Path(__file__).parents[2] / "export" / "golden"
PRECISIONS = ("fp32", "fp16", "int8", "int4")
ONNX_PRECISIONS = PRECISIONS[:3]  # at int4 onnxruntime for the web differs from that in Python
STEPS_OF_SOURCE = 16  # the longest sequence that the attender of export/golden reads here
STRANGE = [
    "",
    " ",
    "a",
    "  two  spaces",
    "\r\n\t\0",
    "e\u0301 \U0001f469\u200d\U0001f680",
    "\ufeffx\ufffd\u2028",
    "ΑΒΓ ß ſ",
]
SAMPLERS = (
    Sampler(0.8, 40, seed=0),
    Sampler(1.0, seed=2**64 - 1),
    Sampler(1.3, 20, seed=7, top_p=0.9, min_p=0.02, repetition_penalty=1.2, repetition_window=16, bias={2: -1.5}),
    Sampler(0),
)


def write(folder: Path) -> None:
    """Write bundles, and in `expected.json` what Python computes with them."""
    shutil.rmtree(folder, ignore_errors=True)
    for name in ("characters-fp32", "characters-int8", "characters-int4", "looker", "attender"):
        convert(GOLDEN / name, folder / "golden" / name)
    for file in GOLDEN.iterdir():
        if file.is_file():
            shutil.copy(file, folder / "golden")
    bundles = {precision: ("characters", precision) for precision in PRECISIONS}
    bundles |= {"bpe": ("bpe", "int8")}
    with convert_once():
        for name, (kind, precision) in bundles.items():
            make(folder / "texts" / name, kind, precision, WASM)
        for precision in ONNX_PRECISIONS:
            make(folder / "texts" / f"onnx-{precision}", "characters", precision, ONNX)
    expected = {
        "texts": [text for name in bundles for text in texts(folder, name)],
        "onnx": [text for precision in ONNX_PRECISIONS for text in texts(folder, f"onnx-{precision}")],
        "snapshots": [snapshot(folder, name) for name in bundles],
        "searches": [search(folder, name) for name in ("fp32", "int8", "bpe")],
        "tokenizers": [tokens(kind) for kind in ("characters", "bytes", "bpe", "words")],
    }
    (folder / "expected.json").write_text(json.dumps(expected), encoding="utf-8")


def convert(bundle: Path, out: Path) -> None:
    """Write a bundle in ONNX as one for WebAssembly with the same digest."""
    loaded = Bundle.load(bundle)
    files = {name: data for name, data in loaded.files.items() if not name.endswith(".onnx")}
    sizes, graphs = {"source": STEPS_OF_SOURCE}, []
    for spec in loaded.manifest.contract.graphs:
        states = [state for state in spec.states if isinstance(state.initial, FromFile)]
        first = {state.name: state.first({BATCH: 1}, {state.initial.file: array(files, state)}) for state in states}
        graphs.append(OnnxGraph(spec, loaded.graph(spec.name), initial=first))
    artifacts = _compiled(_write(graphs, sizes, files, CodeOptions(weights="blob")))
    manifest = {field.name: getattr(loaded.manifest, field.name) for field in fields(Manifest)}
    finish(out, artifacts, files, manifest, WASM)


def array(files, state):
    return from_npy(files[state.initial.file], state.initial.file)


def load(folder: Path, name: str) -> Model:
    return Model.load(folder / "texts" / name, None if name.startswith("onnx") else WasmEngine)


def texts(folder: Path, name: str):
    """Yield texts of 300 sampled tokens: the tokens, the text, and the pieces in which it is decoded."""
    for sampler in SAMPLERS[2:3] if name == "bpe" else SAMPLERS:
        stream = load(folder, name).stream(sampler)
        stream.prefill("The lazy fox", unknown="skip")
        made = list(stream.tokens(300))
        yield {
            "bundle": name,
            "prompt": "The lazy fox",
            "sampler": described(sampler),
            "tokens": [each.token for each in made],
            "pieces": [each.text for each in made],
            "scores": [each.log_probability for each in made],
            "logits": stream.logits.tolist(),
        }


def snapshot(folder: Path, name: str):
    """Write a snapshot, and return the tokens that follow it."""
    stream = load(folder, name).stream(SAMPLERS[2])
    stream.prefill("The fox", unknown="skip")
    for _ in stream.tokens(41):
        pass
    (folder / "texts" / f"{name}.snapshot").write_bytes(stream.snapshot())
    made = list(stream.tokens(60))
    return {"bundle": name, "tokens": [each.token for each in made], "pieces": [each.text for each in made]}


def search(folder: Path, name: str):
    """Return the candidates of a beam, and suggestions."""
    model = load(folder, name)
    stream = model.stream()
    stream.prefill("The ", unknown="skip")
    found = beam_search(stream, 4, 12)
    words = suggest(model, "The ", 3, unknown="skip")
    return {
        "bundle": name,
        "prompt": "The ",
        "candidates": [{"tokens": each.tokens, "text": each.text, "score": each.score} for each in found],
        "suggestions": [{"text": each.text, "probability": each.probability} for each in words],
    }


def tokens(kind: str):
    """Return a tokenizer with texts and their tokens, and the pieces in which a decoder returns random tokens."""
    tokenizer = tokenizer_of(kind)
    alphabet = [*TEXT, *"".join(STRANGE)]
    random = np.random.default_rng(0)
    made = ["".join(random.choice(alphabet, 12)) for _ in range(200)]
    written = [TEXT, *STRANGE, *made, *(TEXT[a:b] for a, b in pairwise(range(0, len(TEXT), 7)))]
    unknown = ["replace" if tokenizer.unknown_id is not None else "refuse", "skip"]
    sequences = [random.integers(0, len(tokenizer), 50).tolist() for _ in range(20)]
    return {
        "json": tokenizer.to_json(),
        "texts": [[text, each, tokenizer.encode(text, unknown=each).tolist()] for text in written for each in unknown],
        "sequences": [[ids, tokenizer.decode(ids), *pieces(tokenizer, ids)] for ids in sequences],
    }


def pieces(tokenizer, ids):
    """Return the text that each token completes, and what another decoder would need after it."""
    decoder = tokenizer.decoder()
    made = [(decoder.push(token), decoder.tail) for token in ids]
    return [text for text, _ in made], [tail for _, tail in made]


def described(sampler: Sampler):
    return {**settings(sampler), "seed": str(sampler.seed or 0)}


def check(folder: Path) -> None:
    """Continue each snapshot under FOLDER/written as the runtime that wrote it did."""
    records = sorted((folder / "written").rglob("*.json"))
    for path in records:
        record = json.loads(path.read_text(encoding="utf-8"))
        stream = load(folder, record["bundle"]).stream()
        stream.load(path.with_suffix(".snapshot"))
        made = list(stream.tokens(len(record["tokens"])))
        assert [each.token for each in made] == record["tokens"], path
        assert [each.text for each in made] == record["pieces"], path
    assert records, "no snapshots were written"
    sys.stdout.write(f"Python continued {len(records)} snapshots of the runtime in TypeScript, token for token\n")


if __name__ == "__main__":
    {"write": write, "check": check}[sys.argv[1]](Path(sys.argv[2]))
