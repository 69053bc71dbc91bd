"""Write `golden/`: small bundles, sampled tokens and streams, as a conformance test for runtimes in any language.

    python export/golden.py

`CONTRACT.md` specifies the files.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from edgernn.bundle import TOKENIZER
from edgernn.contract import (
    BATCH,
    ConditionSpec,
    Contract,
    FromFile,
    FromGraph,
    FromSteps,
    GraphSpec,
    StateSpec,
    TensorSpec,
)
from edgernn.exporters import export, export_module
from edgernn.models.source import Source
from edgernn.pens import draw_point
from edgernn.runtime import Model, Sampler
from edgernn.runtime.snapshot import settings
from edgernn.sampling import Generator
from edgernn.tasks.language.network import LanguageModel
from edgernn.tasks.language.settings import LanguageConfig
from edgernn.tokenizer import Tokenizer

GOLDEN = Path(__file__).parent / "golden"
ALPHABET = "abcdefghijklmnopqrstuvwxyz .,\n"
SAMPLERS = (
    Sampler(0, 0, 0),
    Sampler(1, 0, 0),
    Sampler(0.7, 5, 1),
    Sampler(1.5, 3, 2**64 - 1),
    Sampler(0.9, 0, 2, top_p=0.8),
    Sampler(1.2, 0, 3, min_p=0.1),
    Sampler(
        0.8, 20, 4, repetition_penalty=1.3, repetition_window=5, bias={1: 1.5, 3: -math.inf}, top_p=0.95, min_p=0.01
    ),
    Sampler(0, 0, 5, repetition_penalty=2.0),
)
LOOKER = Contract(
    (
        GraphSpec(
            "look",
            inputs=(TensorSpec("image", "float32", (BATCH, 4)),),
            outputs=(TensorSpec("features", "float32", (BATCH, 3)), TensorSpec("start", "float32", (BATCH, 5))),
        ),
        GraphSpec(
            "step",
            inputs=(TensorSpec("x", "float32", (BATCH, 2)),),
            conditions=(
                ConditionSpec("features", "float32", (BATCH, 3), source=FromGraph("look", "features")),
                ConditionSpec("gain", "float32", (BATCH, 1)),
            ),
            outputs=(TensorSpec("y", "float32", (BATCH, 2)),),
            states=(
                StateSpec("h", "float32", (BATCH, 5), initial=FromGraph("look", "start")),
                StateSpec("p", "float32", (BATCH, 5), initial=FromFile("initial/p.npy")),
            ),
        ),
    )
)
ATTENDER = Contract(
    (
        GraphSpec(
            "read",
            inputs=(TensorSpec("u", "float32", (BATCH, 3)),),
            outputs=(TensorSpec("memory", "float32", (BATCH, 4)), TensorSpec("mask", "float32", (BATCH, 1), 1.0)),
            states=(StateSpec("h", "float32", (BATCH, 4), 1.0),),
        ),
        GraphSpec(
            "step",
            inputs=(TensorSpec("x", "float32", (BATCH, 2)),),
            conditions=(
                ConditionSpec("memory", "float32", (BATCH, "source", 4), source=FromSteps("read", "memory", "source")),
                ConditionSpec("mask", "float32", (BATCH, "source", 1), 1.0, source=FromSteps("read", "mask", "source")),
                ConditionSpec("last", "float32", (BATCH, 4), source=FromGraph("read", "memory")),
            ),
            outputs=(
                TensorSpec("y", "float32", (BATCH, 2)),
                TensorSpec("weights", "float32", (BATCH, "source"), 1.0, kind="alignment"),
            ),
            states=(StateSpec("s", "float32", (BATCH, 4), 1.0, initial=FromGraph("read", "h_out")),),
        ),
    )
)


class Look(nn.Module):
    """Computes a condition and an initial state from an image, once for each stream."""

    def __init__(self) -> None:
        super().__init__()
        self.features, self.start = nn.Linear(4, 3), nn.Linear(4, 5)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Features (batch, 3) and the initial h (batch, 5) from image (batch, 4)."""
        return self.features(image), torch.tanh(self.start(image))


class Step(nn.Module):
    """A recurrent step with conditions."""

    def __init__(self) -> None:
        super().__init__()
        self.inward, self.outward = nn.Linear(2 + 3 + 5, 5), nn.Linear(5, 2)

    def forward(self, x: Tensor, features: Tensor, gain: Tensor, h: Tensor, p: Tensor) -> tuple[Tensor, ...]:
        """The output y (batch, 2) and the next h and p, each (batch, 5)."""
        h = torch.tanh(self.inward(torch.cat([x * gain, features, h], dim=1)) + p)
        return self.outward(h), h, 0.5 * p + 0.1 * h


class Read(nn.Module):
    """A recurrent step whose outputs another graph attends to."""

    def __init__(self) -> None:
        super().__init__()
        self.inward, self.memory = nn.Linear(3 + 4, 4), nn.Linear(4, 4)

    def forward(self, u: Tensor, h: Tensor) -> tuple[Tensor, ...]:
        """The outputs memory (batch, 4) and mask (batch, 1), which is 1, and the next h (batch, 4)."""
        h = torch.tanh(self.inward(torch.cat([u, h], dim=1)))
        return self.memory(h), torch.ones_like(h[:, :1]), h


class Attend(nn.Module):
    """A recurrent step that attends to all steps of another graph."""

    def __init__(self) -> None:
        super().__init__()
        self.inward, self.outward = nn.Linear(2 + 4 + 4, 4), nn.Linear(4 + 4, 2)

    def forward(self, x: Tensor, memory: Tensor, mask: Tensor, last: Tensor, s: Tensor) -> tuple[Tensor, ...]:
        """The outputs y (batch, 2) and weights (batch, source), and the next s (batch, 4)."""
        s = torch.tanh(self.inward(torch.cat([x, last, s], dim=1)))
        scores = (memory * s.unsqueeze(1)).sum(dim=2, keepdim=True)
        weights = torch.softmax(scores + (mask - 1) * 1e4, dim=1)
        found = (weights * memory).sum(dim=1)
        return self.outward(torch.cat([s, found], dim=1)), weights.sum(dim=2), s


def main() -> None:
    """Write all files of `golden/`."""
    torch.manual_seed(0)
    model = LanguageModel(LanguageConfig(len(ALPHABET) + 1, embedding=8, hidden=32, layers=1, initial="learned")).eval()
    with torch.no_grad():
        model.output.weight *= 12  # so that some letters are more likely than others
    source = Source(model, {TOKENIZER: Tokenizer.characters(ALPHABET).to_json().encode()})
    bundles = {precision: GOLDEN / f"characters-{precision}" for precision in ("fp32", "int8", "int4")}
    for precision, path in bundles.items():
        export(source, path, precision=precision, overwrite=True)
    modules = {"look": Look(), "step": Step()}
    start = torch.linspace(-1, 1, 5)
    export_module(modules, LOOKER, out=GOLDEN / "looker", initial={"initial/p.npy": start}, overwrite=True)
    torch.manual_seed(1)
    export_module({"read": Read(), "step": Attend()}, ATTENDER, out=GOLDEN / "attender", overwrite=True)
    write("draws.json", list(draws()))
    write("normals.json", list(normals()))
    write("points.json", list(points()))
    write("texts.json", list(texts(bundles["fp32"])))
    write("streams.json", [looked(), attended()])
    write("snapshots.json", [kept(bundles["fp32"])])


def draws() -> Iterator[dict[str, Any]]:
    """For each sampler, logits and the tokens that the sampler draws from them."""
    random = np.random.default_rng(0)
    rows = [random.normal(0, 2, 40), np.array([1.0, 3.0, 3.0, 2.0])]
    for logits in rows:
        for sampler in SAMPLERS:
            assert sampler.seed is not None
            generator = Generator(sampler.seed)
            single = logits.astype(np.float32)
            drawn: list[int] = []
            for _ in range(12):
                drawn.append(sampler(single, generator, drawn))
            yield {"sampler": seeded(sampler), "logits": [float(value) for value in single], "tokens": drawn}


def normals() -> Iterator[dict[str, Any]]:
    """For each seed, the first normal deviates."""
    for seed in (0, 1, 7, 2**64 - 1):
        yield {"seed": str(seed), "normals": Generator(seed).normal(24).tolist()}


def points() -> Iterator[dict[str, Any]]:
    """For each seed and temperature, a mixture and the points that are drawn from it."""
    random = np.random.default_rng(0)
    for seed, temperature, components in ((0, 1.0, 1), (1, 0.4, 5), (7, 1.7, 20), (2**64 - 1, 0.001, 3)):
        logits, x, y, wide, high, steep = random.normal(size=(6, components))
        parts = [logits, x, y, np.exp(wide), np.exp(high), np.tanh(steep), [0.5, 0.3, -1.0]]
        mixture = np.concatenate(parts).astype(np.float32)
        generator = Generator(seed)
        drawn = [draw_point(mixture, temperature, generator).tolist() for _ in range(16)]
        yield {"seed": str(seed), "temperature": temperature, "mixture": mixture.tolist(), "points": drawn}


def texts(bundle: Path) -> Iterator[dict[str, Any]]:
    """For each sampler, a prompt and the text with which the bundle continues it."""
    model = Model.load(bundle)
    for sampler in SAMPLERS:
        stream = model.stream(sampler)
        stream.prefill("the quick brown fox")
        yield {
            "sampler": seeded(sampler),
            "bundle": bundle.name,
            "prompt": "the quick brown fox",
            "text": "".join(stream.decode(40)),
        }


def kept(bundle: Path) -> dict[str, Any]:
    """A snapshot in the middle of a text, and the text with which the stream continues."""
    stream = Model.load(bundle).stream(SAMPLERS[6])
    stream.complete("the quick brown fox", 7)
    stream.save(GOLDEN / "characters.snapshot")
    return {"bundle": bundle.name, "snapshot": "characters.snapshot", "text": "".join(stream.decode(40))}


def looked() -> dict[str, Any]:
    """A stream whose condition and initial state are outputs of another graph."""
    random = np.random.default_rng(0)
    begin = {"image": random.normal(size=(1, 4)).astype(np.float32), "gain": np.full((1, 1), 0.7, np.float32)}
    return begun("looker", begin, random)


def attended() -> dict[str, Any]:
    """A stream whose conditions and initial state are the steps and the last state of another graph."""
    random = np.random.default_rng(0)
    return begun("attender", {"u": random.normal(size=(5, 1, 3)).astype(np.float32)}, random)


def begun(bundle: str, begin: dict[str, Any], random: np.random.Generator) -> dict[str, Any]:
    """A stream of a bundle that begins with `begin`, of a few steps."""
    steps = [{"x": random.normal(size=(1, 2)).astype(np.float32)} for _ in range(6)]
    stream = Model.load(GOLDEN / bundle).stream(inputs=begin)
    outputs = [stream.step(inputs) for inputs in steps]
    return {
        "bundle": bundle,
        "begin": plain(begin),
        "inputs": [*map(plain, steps)],
        "outputs": [*map(plain, outputs)],
    }


def plain(arrays: dict[str, Any]) -> dict[str, Any]:
    """Arrays as nested lists."""
    return {name: array.tolist() for name, array in arrays.items()}


def seeded(sampler: Sampler) -> dict[str, Any]:
    """The settings of a sampler for JSON. The seed is a string, because some JSON readers do not keep 64 bits."""
    return {**settings(sampler), "seed": str(sampler.seed)}


def write(name: str, value: list[dict[str, Any]]) -> None:
    """Write a JSON list with one object on each line."""
    lines = ",\n".join(json.dumps(each) for each in value)
    (GOLDEN / name).write_text(f"[\n{lines}\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
