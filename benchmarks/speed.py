"""The speed of edgernn relative to bare calls of onnxruntime and torch, measured in turns within one process.

python benchmarks/speed.py             measure everything
python benchmarks/speed.py --only X    X: runtime, captions or train
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from torch import nn

from edgernn.bundle import TOKENIZER
from edgernn.data.words import learn_words
from edgernn.exporters import export
from edgernn.models.source import HeldOut, Source
from edgernn.runtime import Batch, Model, Sampler
from edgernn.runtime.pipelines.caption import start_caption
from edgernn.tasks.caption.network import Captioner
from edgernn.tasks.caption.settings import CaptionConfig
from edgernn.tasks.language.network import LanguageModel
from edgernn.tasks.language.settings import LanguageConfig
from edgernn.tasks.language.task import LANGUAGE
from edgernn.tokenizer import Tokenizer
from edgernn.training import Trainer

ALPHABET = [chr(code) for code in range(33, 33 + 64)]  # with the unknown token a vocabulary of 65
EMBEDDING, HIDDEN, LAYERS = 128, 256, 2
BATCH_SIZE, BPTT = 32, 128
WORDS = 12


def main() -> None:
    """Run the measurements and print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=["runtime", "captions", "train"], help="run one of the measurements")
    only = parser.parse_args().only
    with tempfile.TemporaryDirectory() as folder:
        for name, measure in (("runtime", runtime), ("captions", captions), ("train", train)):
            if only in (None, name):
                measure(Path(folder))


def runtime(folder: Path) -> None:
    """Measure Model.step, Stream.decode, a bare onnxruntime call and eager torch, and batches of streams."""
    for vocabulary, embedding, hidden in ((65, EMBEDDING, HIDDEN), (10_000, 256, 512)):
        source = untrained(vocabulary, embedding, hidden)
        print(f"vocabulary {vocabulary}, embedding {embedding}, hidden {hidden}, layers {LAYERS}, one thread")
        for precision in ("fp32", "int8"):
            bundle = export(source, folder / f"{vocabulary}-{precision}", precision=precision, steps=16).path
            one_stream(source, bundle, precision)
            if vocabulary == 65:
                many_streams(Model.load(bundle))


def untrained(vocabulary: int, embedding: int, hidden: int) -> Source:
    """A language model with random weights: its speed does not depend on their values."""
    torch.manual_seed(0)
    characters = [chr(33 + code) for code in range(vocabulary - 1)]
    config = LanguageConfig(vocabulary, embedding=embedding, hidden=hidden, layers=LAYERS)
    return Source(LanguageModel(config).eval(), {TOKENIZER: Tokenizer.characters(characters).to_json().encode()})


def one_stream(source: Source, bundle: Path, precision: str) -> None:
    """Measure one stream: the bare call, Model.step, Stream.decode and eager torch."""
    model = Model.load(bundle)
    session = bare_session(bundle / "step.onnx")
    names = [output.name for output in session.get_outputs()]
    token = np.array([5])
    _, state = model.begin()
    h, c = state["h"], state["c"]
    stream = model.stream(Sampler(temperature=0.8, top_k=40, seed=0))
    stream.prefill("A")

    def bare(count: int) -> None:
        a, b = h, c
        for _ in range(count):
            _, a, b = session.run(names, {"token": token, "h_in": a, "c_in": b})

    def step(count: int) -> None:
        carried = state
        for _ in range(count):
            _, carried = model.step({"token": token}, carried)

    def decode(count: int) -> None:
        for _ in stream.decode(count):
            pass

    @torch.no_grad()
    def eager(count: int) -> None:
        """The usual decoding loop in torch: the module, top-k, softmax and multinomial."""
        network = source.network
        carried = tuple(torch.from_numpy(each) for each in (h, c))
        drawn = torch.from_numpy(token)
        for _ in range(count):
            logits, *carried = network(drawn, *carried)
            best = torch.topk(logits[0] / 0.8, 40)
            drawn = best.indices[torch.multinomial(torch.softmax(best.values, 0), 1)]

    torch.set_num_threads(1)
    tasks = {"bare": bare, "step": step, "decode": decode, "eager": eager}
    times = interleaved(tasks, repeats=15, count=300)
    micros = {name: 1e6 * seconds for name, seconds in times.items()}
    print(f"  {precision} bare onnxruntime call {micros['bare']:8.1f} us")
    print(f"  {precision} Model.step            {micros['step']:8.1f} us   {micros['step'] / micros['bare']:.2f} of it")
    share, faster = micros["bare"] / micros["decode"], micros["eager"] / micros["decode"]
    print(f"  {precision} Stream.decode         {micros['decode']:8.1f} us   {share:.2f} of the bare rate")
    print(f"  {precision} torch eager decoding  {micros['eager']:8.1f} us   {faster:.1f} times as long")


def bare_session(path: Path) -> onnxruntime.InferenceSession:
    """An onnxruntime session for a graph, with the settings of edgernn's own engine."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    return onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])


def many_streams(model: Model) -> None:
    """Measure 64 streams in a batch, and one stream."""
    stream = model.stream(Sampler(temperature=0.8, top_k=40, seed=0))
    stream.prefill("A")

    def filled(samplers: list[Sampler]) -> Callable[[int], None]:
        batch = Batch(model)
        for sampler in samplers:
            batch.join(model.stream(sampler), "A")
        batch.step()

        def steps(count: int) -> None:
            for _ in range(count):
                batch.step()

        return steps

    def one(count: int) -> None:
        for _ in stream.decode(64 * count):
            pass

    same = filled([Sampler(temperature=0.8, top_k=40, seed=seed) for seed in range(64)])
    others = filled([Sampler(temperature=0.8 + seed / 1000, top_k=40, seed=seed) for seed in range(64)])
    times = interleaved({"one": one, "same": same, "others": others}, repeats=9, count=10)
    for name, title in (("same", "one setting"), ("others", "64 settings")):
        rate = 64 / times[name]
        print(f"    64 streams, {title}: {rate:,.0f} tokens/s, {times['one'] / times[name]:.1f} times one stream's")


def captions(folder: Path) -> None:
    """Measure a greedy caption of an image of 224 x 224 pixels, and the bare onnxruntime calls for as many words."""
    torch.manual_seed(0)
    tokenizer = learn_words([" ".join(f"word{number}" for number in range(2500))], 1)
    network = Captioner(CaptionConfig(len(tokenizer))).eval()
    network.decoder.bias.data[tokenizer.end_id] = -100.0  # so that no caption ends early
    for precision in ("fp32", "int8"):
        source = Source(network, {TOKENIZER: tokenizer.to_json().encode()}, held_out=noise())
        path = export(source, folder / precision, precision=precision, steps=8).path
        ours, theirs = one_caption(path)
        print(f"caption of {WORDS} words, {precision}: {1e3 * ours:.2f} ms, {ours / theirs:.2f} of the bare calls")


def noise() -> HeldOut:
    """Random images, on which activation ranges are calibrated, and captions."""
    images = [{"image": image[None]} for image in np.random.default_rng(1).integers(0, 256, (8, 224, 224, 3), np.uint8)]
    tokens = np.tile(np.arange(3, 3 + WORDS), (len(images), 1))
    return HeldOut({"token": tokens}, {"logits": tokens}, images, calibration=images)


def one_caption(bundle: Path) -> tuple[float, float]:
    """The seconds that a caption takes, and the seconds that the bare onnxruntime calls for it take."""
    image = np.random.default_rng(0).integers(0, 256, (224, 224, 3), np.uint8)
    model = Model.load(bundle)
    looks, speaks = (bare_session(bundle / f"{name}.onnx") for name in ("encode", "step"))
    first = np.zeros(model.contract["step"].states[0].shape({"batch": 1}), np.float32)

    def bare(count: int) -> None:
        for _ in range(count):
            held = dict(zip(("vector", "cells"), looks.run(None, {"image": image[None]}), strict=True))
            h = c = first
            for _ in range(WORDS + 1):
                *_, h, c = speaks.run(None, {"token": np.array([5]), **held, "h_in": h, "c_in": c})

    def greedy(count: int) -> None:
        for _ in range(count):
            for _ in start_caption(model, image).decode(WORDS):
                pass

    times = interleaved({"bare": bare, "greedy": greedy}, repeats=15, count=3)
    return times["greedy"], times["bare"]


class Bare(nn.Module):
    """The usual training loop in torch: nn.Embedding, nn.LSTM and nn.Linear."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, EMBEDDING)
        self.lstm = nn.LSTM(EMBEDDING, HIDDEN, LAYERS, dropout=0.3)
        self.output = nn.Linear(HIDDEN, vocabulary)
        self.dropout = nn.Dropout(0.3)
        self.optimizer = torch.optim.AdamW(self.parameters(), lr=4e-3, fused=True)
        self.state = (torch.zeros(LAYERS, BATCH_SIZE, HIDDEN), torch.zeros(LAYERS, BATCH_SIZE, HIDDEN))

    def learn(self, inputs: torch.Tensor, targets: torch.Tensor) -> None:
        """One optimizer step on tokens (time, batch)."""
        x, state = self.lstm(self.dropout(self.embedding(inputs)), self.state)
        logits = self.output(self.dropout(x))
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters(), 1.0)
        self.optimizer.step()
        loss.item()
        self.state = tuple(s.detach() for s in state)


def train(folder: Path) -> None:
    """Measure the training loop, and a bare nn.LSTM loop of the same sizes."""
    text = folder / "text.txt"
    random = np.random.default_rng(0)
    text.write_text("".join(random.choice(ALPHABET, 1_000_000)))
    model: dict[str, Any] = {"embedding": EMBEDDING, "hidden": HIDDEN, "layers": LAYERS, "dropout": 0.3}
    training: dict[str, Any] = {"batch_size": BATCH_SIZE, "bptt": BPTT, "steps": 10_000, "evaluations": 1}
    same: dict[str, Any] = {"optimizer": "adamw", "autocast": "off"}  # like the bare loop
    events = Trainer.begin(LANGUAGE, [str(text)], folder / "run", **model, **training, **same).fit()
    next(events)
    bare = Bare(len(ALPHABET) + 1)
    tokens = torch.from_numpy(random.integers(0, len(ALPHABET), (BPTT + 1, BATCH_SIZE)))

    def ours(count: int) -> None:
        for _ in range(count):
            next(events)

    def theirs(count: int) -> None:
        for _ in range(count):
            bare.learn(tokens[:-1], tokens[1:])

    times = interleaved({"bare": theirs, "edgernn": ours}, repeats=9, count=6)
    rates = {name: BATCH_SIZE * BPTT / seconds for name, seconds in times.items()}
    print(f"training, vocabulary {len(ALPHABET) + 1}, {EMBEDDING}/{HIDDEN}/{LAYERS}, batches of {BATCH_SIZE} x {BPTT}")
    print(f"  bare nn.LSTM loop       {rates['bare']:7,.0f} characters/s")
    print(f"  edgernn                 {rates['edgernn']:7,.0f} characters/s   {rates['edgernn'] / rates['bare']:.2f}")


def interleaved(tasks: Mapping[str, Callable[[int], None]], repeats: int, count: int) -> dict[str, float]:
    """The median seconds of one iteration of each task. The tasks take turns, so that noise affects all alike."""
    times: dict[str, list[float]] = {name: [] for name in tasks}
    for task in tasks.values():
        task(max(1, count // 10))
    for _ in range(repeats):
        for name, task in tasks.items():
            begun = time.perf_counter()
            task(count)
            times[name].append((time.perf_counter() - begun) / count)
    return {name: statistics.median(values) for name, values in times.items()}


if __name__ == "__main__":
    main()
