"""Where edgernn stands beside the bare calls beneath it, as ratios from interleaved repeats of one run.

python benchmarks/speed.py             all figures
python benchmarks/speed.py --only step runtime | train
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import nn

from edgernn.exporters import Source, export
from edgernn.models import LanguageConfig, LanguageModel
from edgernn.runtime import Model, Sampler
from edgernn.tokenizer import Tokenizer
from edgernn.training import Trainer

ALPHABET = [chr(code) for code in range(33, 33 + 64)]  # with the unknown token a vocabulary of 65
EMBEDDING, HIDDEN, LAYERS = 128, 256, 2
LANES, CHUNK = 32, 128


def main() -> None:
    """Print what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=["runtime", "train"])
    only = parser.parse_args().only
    with tempfile.TemporaryDirectory() as folder:
        if only != "train":
            runtime(Path(folder))
        if only != "runtime":
            train(Path(folder))


def runtime(folder: Path) -> None:
    """Model.step and Stream.decode against the bare onnxruntime call on the same graph and options."""
    torch.manual_seed(0)
    tokenizer = Tokenizer.characters(ALPHABET)
    config = LanguageConfig(len(tokenizer), embedding=EMBEDDING, hidden=HIDDEN, layers=LAYERS)
    bundle = export(Source(LanguageModel(config).eval(), tokenizer), folder / "bundle").path
    model = Model.load(bundle)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    session = onnxruntime.InferenceSession(str(bundle / "step.onnx"), options, ["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    token = np.array([5])
    h = c = np.zeros((LAYERS, 1, HIDDEN), np.float32)
    _, state = model.begin()
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

    times = interleaved({"bare": bare, "step": step, "decode": decode}, repeats=21, count=1000)
    print(f"vocabulary {len(tokenizer)}, embedding {EMBEDDING}, hidden {HIDDEN}, layers {LAYERS}, one thread")
    print(f"  bare onnxruntime call   {times['bare'] * 1e6:7.1f} us")
    shares = times["step"] / times["bare"], times["bare"] / times["decode"]
    print(f"  Model.step              {times['step'] * 1e6:7.1f} us   {shares[0]:.2f} of the bare time")
    print(f"  Stream.decode           {times['decode'] * 1e6:7.1f} us   {shares[1]:.2f} of the bare rate")


class Bare(nn.Module):
    """The loop that anybody would write: nn.Embedding, nn.LSTM, nn.Linear."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, EMBEDDING)
        self.lstm = nn.LSTM(EMBEDDING, HIDDEN, LAYERS, dropout=0.3)
        self.output = nn.Linear(HIDDEN, vocabulary)
        self.dropout = nn.Dropout(0.3)
        self.optimizer = torch.optim.AdamW(self.parameters(), lr=4e-3, fused=True)
        self.state = (torch.zeros(LAYERS, LANES, HIDDEN), torch.zeros(LAYERS, LANES, HIDDEN))

    def learn(self, inputs: torch.Tensor, targets: torch.Tensor) -> None:
        """One step of the optimiser on tokens (time, lanes)."""
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
    """Characters per second of the training loop against a bare nn.LSTM loop at the same sizes."""
    text = folder / "text.txt"
    random = np.random.default_rng(0)
    text.write_text("".join(random.choice(ALPHABET, 1_000_000)))
    model = {"embedding": EMBEDDING, "hidden": HIDDEN, "layers": LAYERS, "dropout": 0.3}
    limits = {"lanes": LANES, "chunk": CHUNK, "steps": 10_000, "evaluations": 1}
    same = {"optimizer": "adamw", "autocast": "off"}  # as the bare loop
    events = Trainer.begin([str(text)], folder / "run", model=model, training={**limits, **same}).fit()
    next(events)
    bare = Bare(len(ALPHABET) + 1)
    tokens = torch.from_numpy(random.integers(0, len(ALPHABET), (CHUNK + 1, LANES)))

    def ours(count: int) -> None:
        for _ in range(count):
            next(events)

    def theirs(count: int) -> None:
        for _ in range(count):
            bare.learn(tokens[:-1], tokens[1:])

    times = interleaved({"bare": theirs, "edgernn": ours}, repeats=9, count=6)
    rates = {name: LANES * CHUNK / seconds for name, seconds in times.items()}
    print(f"training, vocabulary {len(ALPHABET) + 1}, {EMBEDDING}/{HIDDEN}/{LAYERS}, {LANES} lanes of {CHUNK}")
    print(f"  bare nn.LSTM loop       {rates['bare']:7,.0f} characters/s")
    print(f"  edgernn                 {rates['edgernn']:7,.0f} characters/s   {rates['edgernn'] / rates['bare']:.2f}")


def interleaved(tasks: dict[str, Callable[[int], None]], repeats: int, count: int) -> dict[str, float]:
    """Median seconds of one iteration of each task; the tasks take turns, so that noise falls on all alike."""
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
