"""A runtime written from `export/CONTRACT.md` alone: like one in another language it imports nothing of edgernn."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

MASK = (1 << 64) - 1


class Reader:
    """A bundle of ONNX graphs."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.manifest = json.loads((path / "bundle.json").read_text(encoding="utf-8"))
        assert self.manifest["format"] == 1
        assert self.manifest["target"] == "onnx"
        for name, record in self.manifest["files"].items():
            data = (path / name).read_bytes()
            assert len(data) == record["bytes"]
            assert hashlib.sha256(data).hexdigest() == record["sha256"]
        self.graphs = {graph["name"]: graph for graph in self.manifest["contract"]["graphs"]}
        self.sessions = {
            name: onnxruntime.InferenceSession(path / file) for name, file in self.manifest["graphs"].items()
        }

    def call(self, name: str, given: dict, states: dict) -> tuple[dict, dict]:
        """One step: outputs, and next states by state name."""
        graph = self.graphs[name]
        feeds = {**given, **{state["input"]: states[state["name"]] for state in graph["states"]}}
        asked = [*(t["name"] for t in graph["outputs"]), *(s["output"] for s in graph["states"])]
        results = dict(zip(asked, self.sessions[name].run(asked, feeds), strict=True))
        carried = {state["name"]: results.pop(state["output"]) for state in graph["states"]}
        return results, carried

    def begin(self, name: str, given: dict) -> tuple[dict, dict]:
        """Conditions and first states of one stream."""
        graph, made = self.graphs[name], {}

        def from_graph(source: dict):
            if source["graph"] not in made:
                needed = {t["name"]: given[t["name"]] for t in self.graphs[source["graph"]]["inputs"]}
                made[source["graph"]], _ = self.call(source["graph"], needed, {})
            return made[source["graph"]][source["output"]]

        conditions = {
            c["name"]: from_graph(c["source"]) if c["source"] else given[c["name"]] for c in graph["conditions"]
        }
        return conditions, {state["name"]: self.first(state, from_graph) for state in graph["states"]}

    def first(self, state: dict, from_graph) -> np.ndarray:
        """The first value of a state."""
        shape = [1 if axis == "batch" else axis for axis in state["axes"]]
        initial = state["initial"]
        if initial == "zeros":
            return np.zeros(shape, state["dtype"])
        if "file" in initial:
            return np.ascontiguousarray(np.broadcast_to(np.load(self.path / initial["file"]), shape))
        return from_graph(initial)

    def write(self, prompt: str, tokens: int, sampler: dict) -> str:
        """The text that the bundle goes on with."""
        tokenizer = Tokenizer.from_file(str(self.path / "tokenizer.json"))
        _, states = self.begin("step", {})
        draw, drawn = Sampler(sampler, tokenizer.token_to_id("<unk>")), []
        for token in tokenizer.encode(prompt).ids:
            outputs, states = self.call("step", {"token": np.array([token])}, states)
        for _ in range(tokens):
            drawn.append(draw(outputs["logits"][0]))
            outputs, states = self.call("step", {"token": np.array(drawn[-1:])}, states)
        return tokenizer.decode(drawn)

    def golden(self, name: str) -> tuple[dict, dict]:
        """Largest difference, and that in the root mean square, of outputs and of last states."""
        graph, about = self.graphs[name], self.manifest["golden"][name]

        def load(kind: str, tensor: dict) -> np.ndarray:
            return np.load(self.path / "golden" / name / f"{kind}.{tensor['name']}.npy", allow_pickle=False)

        inputs = {tensor["name"]: load("inputs", tensor) for tensor in graph["inputs"]}
        held = {tensor["name"]: load("conditions", tensor) for tensor in graph["conditions"]}

        def zeros(source: dict) -> np.ndarray:
            (tensor,) = (t for t in self.graphs[source["graph"]]["outputs"] if t["name"] == source["output"])
            return np.zeros([1 if axis == "batch" else axis for axis in tensor["axes"]], tensor["dtype"])

        states = {state["name"]: self.first(state, zeros) for state in graph["states"]}
        seen: dict[str, list] = {tensor["name"]: [] for tensor in graph["outputs"]}
        for number in range(1, about["steps"] + 1):
            given = {**held, **{key: array[number - 1] for key, array in inputs.items()}}
            outputs, states = self.call(name, given, states)
            for key in seen if number in about["chosen"] else ():
                whole = outputs[key]
                seen[key].append(whole if whole.size <= 4096 else whole.ravel()[:4096])
        apart = {key: (np.stack(rows), load("outputs", {"name": key})) for key, rows in seen.items()}
        last = {key: (array, load("states", {"name": key})) for key, array in states.items()}
        return apart, last


class Sampler:
    """Draws tokens as the contract says."""

    def __init__(self, settings: dict, unknown: int | None = None) -> None:
        self.temperature, self.top_k, self.state = settings["temperature"], settings["top_k"], int(settings["seed"])
        self.unknown = unknown

    def __call__(self, logits) -> int:
        """The next token."""
        values = [float(value) for value in logits]
        if self.unknown is not None:
            values[self.unknown] = -np.inf
        highest = max(values)
        if self.temperature == 0:
            return values.index(highest)
        kept = [value - highest for value in values]
        if 0 < self.top_k < len(kept):
            least = sorted(kept)[-self.top_k]
            kept = [value if value >= least else -np.inf for value in kept]
        sums, total = [], 0.0
        for value in kept:
            total += float(np.exp(value / self.temperature))
            sums.append(total)
        drawn = self.uniform() * total
        return next(token for token, value in enumerate(sums) if value > drawn)

    def uniform(self) -> float:
        """SplitMix64."""
        self.state = (self.state + 0x9E3779B97F4A7C15) & MASK
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        return ((z ^ (z >> 31)) >> 11) / 2**53
