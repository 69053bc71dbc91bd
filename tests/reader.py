"""A runtime written from `export/CONTRACT.md` alone: like one in another language it imports nothing of edgernn."""

from __future__ import annotations

import hashlib
import json
import math
import re
import struct
from itertools import accumulate
from pathlib import Path

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

MASK = (1 << 64) - 1
DOCUMENT = (Path(__file__).parents[1] / "export" / "CONTRACT.md").read_text(encoding="utf-8")
POWERS = [struct.unpack(">d", bytes.fromhex(bits))[0] for bits in re.findall(r"\b3F[EF][0-9A-F]{13}\b", DOCUMENT)]


def exponential(x: float) -> float:
    """The exponential of step 5."""
    if x < -700:
        return 0.0
    n = round(-x * 92.33248261689366)
    if n > 61440:
        return 0.0
    r = (x + n * 0.010830424696223417) + n * 2.572804622327669e-14
    c3, c4, c5 = 0.16666666666666666, 0.041666703066666665, 0.008333333333333333
    p = r * (1 + r * (0.5 + r * (c3 + r * (c4 + r * c5))))
    power = math.ldexp(POWERS[n % 64], -(n // 64))
    return power + power * p


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

        def from_graph(tensor: dict, source: dict):
            if source["graph"] not in made:
                made[source["graph"]] = self.run(source["graph"], given)
            steps = [results[source["output"]] for results in made[source["graph"]]]
            return np.stack(steps, tensor["axes"].index(source["axis"])) if "axis" in source else steps[-1]

        conditions = {
            c["name"]: from_graph(c, c["source"]) if c["source"] else given[c["name"]] for c in graph["conditions"]
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
        return from_graph(state, initial)

    def run(self, name: str, given: dict) -> list[dict]:
        """Outputs and next states, by the names of the graph's results, of each step of a graph that begins another."""
        graph = self.graphs[name]
        inputs = {tensor["name"]: given[tensor["name"]] for tensor in graph["inputs"]}
        if not graph["states"]:
            inputs = {key: array[None] for key, array in inputs.items()}
        _, states = self.begin(name, {})
        made = []
        for place in range(len(next(iter(inputs.values())))):
            outputs, states = self.call(name, {key: array[place] for key, array in inputs.items()}, states)
            made.append({**outputs, **{state["output"]: states[state["name"]] for state in graph["states"]}})
        return made

    def write(self, prompt: str, tokens: int, sampler: dict) -> str:
        """The text that the bundle goes on with."""
        tokenizer = Tokenizer.from_file(str(self.path / "tokenizer.json"))
        _, states = self.begin("step", {})
        draw, drawn = Sampler(sampler, tokenizer.token_to_id("<unk>")), []
        draw.said += tokenizer.encode(prompt).ids
        for token in draw.said:
            outputs, states = self.call("step", {"token": np.array([token])}, states)
        for _ in range(tokens):
            drawn.append(draw(outputs["logits"][0]))
            outputs, states = self.call("step", {"token": np.array(drawn[-1:])}, states)
        return tokenizer.decode(drawn)

    def go_on(self, snapshot: bytes, tokens: int) -> str:
        """The text that a stream goes on with."""
        magic, version, size = struct.unpack_from("<8sII", snapshot)
        assert (magic, version) == (b"edgernn\0", 1)
        assert hashlib.sha256(snapshot[:-32]).digest() == snapshot[-32:]
        header, offset = json.loads(snapshot[16 : 16 + size]), 16 + size
        assert header["digest"] == self.manifest["digest"]
        groups: dict[str, dict] = {"state": {}, "conditions": {}, "initial": {}, "logits": {}}
        for tensor in header["tensors"]:
            dtype, shape = np.dtype(tensor["dtype"]).newbyteorder("<"), tensor["shape"]
            array = np.frombuffer(snapshot, dtype, int(np.prod(shape)), offset).reshape(shape)
            groups[tensor["group"]][tensor["name"]] = array
            offset += array.nbytes
        tokenizer = Tokenizer.from_file(str(self.path / "tokenizer.json"))
        draw = Sampler({**header["sampler"], "seed": int(header["generator"], 16)}, tokenizer.token_to_id("<unk>"))
        draw.said = list(header["recent"])
        (logits,), states, drawn = groups["logits"].values(), groups["state"], []
        for _ in range(tokens):
            drawn.append(draw(logits))
            outputs, states = self.call(header["graph"], {"token": np.array(drawn[-1:])}, states)
            logits = outputs["logits"][0]
        return tokenizer.decode(drawn)

    def golden(self, name: str) -> tuple[dict, dict]:
        """Largest difference, and that in the root mean square, of outputs and of last states."""
        graph, about = self.graphs[name], self.manifest["golden"][name]

        def load(kind: str, tensor: dict) -> np.ndarray:
            return np.load(self.path / "golden" / name / f"{kind}.{tensor['name']}.npy", allow_pickle=False)

        inputs = {tensor["name"]: load("inputs", tensor) for tensor in graph["inputs"]}
        held = {tensor["name"]: load("conditions", tensor) for tensor in graph["conditions"]}

        def zeros(state: dict, _: dict) -> np.ndarray:
            return np.zeros([1 if axis == "batch" else axis for axis in state["axes"]], state["dtype"])

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
        self.settings, self.state, self.unknown = settings, int(settings["seed"]), unknown
        self.said: list[int] = []

    def __call__(self, logits) -> int:
        """The next token, which then counts as said."""
        token = self.draw([float(value) for value in logits])
        self.said.append(token)
        return token

    def draw(self, values: list[float]) -> int:
        """Steps 1 to 8."""
        of = self.settings
        for token in {*self.said[len(self.said) - min(len(self.said), of["repetition_window"]) :]}:
            by = of["repetition_penalty"]
            values[token] = values[token] / by if values[token] > 0 else values[token] * by
        for token, added in of["bias"]:
            values[token] += -np.inf if added is None else added
        if self.unknown is not None:
            values[self.unknown] = -np.inf
        highest = max(values)
        if of["temperature"] == 0:
            return values.index(highest)
        if 0 < of["top_k"] < len(values):
            least = sorted(values)[-of["top_k"]]
            values = [value if value >= least else -np.inf for value in values]
        weights = [exponential((value - highest) / of["temperature"]) for value in values]
        if of["top_p"] < 1:
            falling = sorted(weights, reverse=True)
            sums = list(accumulate(falling))
            least = next(weight for weight, at in zip(falling, sums, strict=True) if at >= of["top_p"] * sums[-1])
            weights = [weight if weight >= least else 0.0 for weight in weights]
        sums = list(accumulate(weight if weight >= of["min_p"] else 0.0 for weight in weights))
        drawn = self.uniform() * sums[-1]
        return next(token for token, at in enumerate(sums) if at > drawn)

    def uniform(self) -> float:
        """SplitMix64."""
        self.state = (self.state + 0x9E3779B97F4A7C15) & MASK
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        return ((z ^ (z >> 31)) >> 11) / 2**53

    def normal(self) -> float:
        """The ratio of two uniform numbers."""
        while True:
            u, v = 1 - self.uniform(), self.uniform()
            x = 1.7155277699214135 * (v - 0.5) / u
            if u <= exponential(x * x * -0.25):
                return x

    def point(self, mixture: list[float]) -> list[float]:
        """A point of a pen: its offset, before it is rounded, and its state."""
        count = (len(mixture) - 3) // 6
        state = self.draw(mixture[-3:])
        pen = [float(state == each) for each in range(3)]
        if state == 2:
            return [0.0, 0.0, *pen]
        component = self.draw(mixture[:count])
        x, y, sx, sy, r = (mixture[at * count + component] for at in range(1, 6))
        a, b = self.normal(), self.normal()
        t = self.settings["temperature"] ** 0.5
        return [x + t * (sx * a), y + t * (sy * (r * a + max(0.0, 1 - r * r) ** 0.5 * b)), *pen]
