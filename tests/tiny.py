"""Tiny bundles made without torch, and the numpy oracle for each: exact, offline, in milliseconds."""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import tokenizers
from onnx import TensorProto, helper, numpy_helper
from tokenizers import models, pre_tokenizers

from edgernn.bundle import LABELS, STROKES, TOKENIZER, Manifest, new_bundle
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
    canonical_json,
)
from edgernn.tokenizer import Tokenizer

ALPHABET = "abcdefgh \n"


@dataclass(frozen=True)
class TinyLanguage:
    """A character LSTM with random weights: the numpy oracle of the bundle that `write` makes."""

    embedding: np.ndarray  # (vocabulary, embedding)
    weight: np.ndarray  # (embedding + hidden, 4 hidden), gates i, f, g, o
    bias: np.ndarray  # (4 hidden,)
    output: np.ndarray  # (hidden, vocabulary)
    tokenizer: Tokenizer

    @classmethod
    def random(cls, seed: int = 0, hidden: int = 8, embedding: int = 4) -> TinyLanguage:
        random = np.random.default_rng(seed)
        tokenizer = Tokenizer.characters(ALPHABET)
        shapes = [
            (len(tokenizer), embedding),
            (embedding + hidden, 4 * hidden),
            (4 * hidden,),
            (hidden, len(tokenizer)),
        ]
        return cls(*(random.standard_normal(shape).astype(np.float32) for shape in shapes), tokenizer)

    @property
    def hidden(self) -> int:
        return len(self.output)

    @property
    def contract(self) -> Contract:
        vocabulary = len(self.tokenizer)
        state = (1, BATCH, self.hidden)
        return Contract(
            (
                GraphSpec(
                    "step",
                    inputs=(TensorSpec("token", "int64", (BATCH,), bound=vocabulary),),
                    outputs=(TensorSpec("logits", "float32", (BATCH, vocabulary)),),
                    states=(StateSpec("h", "float32", state), StateSpec("c", "float32", state)),
                ),
            )
        )

    def step(self, token: np.ndarray, h: np.ndarray, c: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Logits (batch, vocabulary) and the next h, c (batch, hidden)."""
        gates = np.concatenate([self.embedding[token], h], axis=1) @ self.weight + self.bias
        i, f, g, o = np.split(gates, 4, axis=1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        return h @ self.output, h, c

    def write(self, path: Path, **changes: object) -> Path:
        with new_bundle(path) as writer:
            (writer.directory / "step.onnx").write_bytes(self.onnx())
            (writer.directory / TOKENIZER).write_text(self.tokenizer.to_json(), encoding="utf-8")
            contract = changes.pop("contract", self.contract)
            writer.finish(manifest(contract, {"step": "step.onnx"}, **changes))
        return path

    def onnx(self) -> bytes:
        nodes = [
            helper.make_node("Gather", ["embedding", "token"], ["x"], axis=0),
            helper.make_node("Squeeze", ["h_in", "first"], ["h"]),
            helper.make_node("Squeeze", ["c_in", "first"], ["c"]),
            helper.make_node("Concat", ["x", "h"], ["xh"], axis=1),
            helper.make_node("MatMul", ["xh", "weight"], ["product"]),
            helper.make_node("Add", ["product", "bias"], ["gates"]),
            helper.make_node("Split", ["gates"], ["i", "f", "g", "o"], axis=1, num_outputs=4),
            *(helper.make_node("Sigmoid", [gate], [f"s{gate}"]) for gate in "ifo"),
            helper.make_node("Tanh", ["g"], ["tg"]),
            helper.make_node("Mul", ["sf", "c"], ["kept"]),
            helper.make_node("Mul", ["si", "tg"], ["new"]),
            helper.make_node("Add", ["kept", "new"], ["c2"]),
            helper.make_node("Tanh", ["c2"], ["tc"]),
            helper.make_node("Mul", ["so", "tc"], ["h2"]),
            helper.make_node("MatMul", ["h2", "output"], ["logits"]),
            helper.make_node("Unsqueeze", ["h2", "first"], ["h_out"]),
            helper.make_node("Unsqueeze", ["c2", "first"], ["c_out"]),
        ]
        weights = {"embedding": self.embedding, "weight": self.weight, "bias": self.bias, "output": self.output}
        return onnx_bytes(self.contract["step"], nodes, {**weights, "first": np.array([0])})


CONDITIONED = Contract(
    (
        GraphSpec(
            "encode",
            inputs=(TensorSpec("image", "float32", (BATCH, 3)),),
            outputs=(TensorSpec("features", "float32", (BATCH, 2)), TensorSpec("h0", "float32", (BATCH, 2))),
        ),
        GraphSpec(
            "step",
            inputs=(TensorSpec("x", "float32", (BATCH, 2)),),
            conditions=(
                ConditionSpec("features", "float32", (BATCH, 2), source=FromGraph("encode", "features")),
                ConditionSpec("gain", "float32", (BATCH, 1)),
            ),
            outputs=(TensorSpec("y", "float32", (BATCH, 2)),),
            states=(
                StateSpec("h", "float32", (BATCH, 2), initial=FromGraph("encode", "h0")),
                StateSpec("p", "float32", (BATCH, 2), initial=FromFile("initial/p.npy")),
            ),
        ),
    )
)
CONDITIONED_WEIGHT = np.array([[1.0, -2.0], [0.5, 0.25], [3.0, 1.0]], np.float32)
CONDITIONED_START = np.array([7.0, 9.0], np.float32)


def write_conditioned(path: Path) -> Path:
    """Two graphs: features = image W, h0 = 2 features; then h' = h + gain x, p' = p + 1, y = h' + features + p."""
    encode = [
        helper.make_node("MatMul", ["image", "weight"], ["features"]),
        helper.make_node("Add", ["features", "features"], ["h0"]),
    ]
    step = [
        helper.make_node("Mul", ["gain", "x"], ["gx"]),
        helper.make_node("Add", ["h_in", "gx"], ["h_out"]),
        helper.make_node("Add", ["p_in", "one"], ["p_out"]),
        helper.make_node("Add", ["h_out", "features"], ["hf"]),
        helper.make_node("Add", ["hf", "p_in"], ["y"]),
    ]
    with new_bundle(path) as writer:
        (writer.directory / "encode.onnx").write_bytes(
            onnx_bytes(CONDITIONED["encode"], encode, {"weight": CONDITIONED_WEIGHT})
        )
        (writer.directory / "step.onnx").write_bytes(onnx_bytes(CONDITIONED["step"], step, {"one": np.float32([1.0])}))
        (writer.directory / "initial").mkdir()
        start = io.BytesIO()
        np.save(start, CONDITIONED_START)
        (writer.directory / "initial" / "p.npy").write_bytes(start.getvalue())
        writer.finish(manifest(CONDITIONED, {"encode": "encode.onnx", "step": "step.onnx"}, task="sum"))
    return path


CAPTION_WORDS = ["<unk>", "<start>", "<end>", "a", "blue", "green", "is", "red", "sea", "the", "wood"]


def write_captioner(path: Path, seed: int = 0) -> Path:
    """Two graphs: v = mean colour W; h' = tanh(0.5 h + E[token] + v U), logits = h' O, attention = softmax(h' A)."""
    random = np.random.default_rng(seed)
    weights = {
        name: random.normal(0, 1.5, shape).astype(np.float32)
        for name, shape in (("W", (3, 4)), ("E", (11, 6)), ("U", (4, 6)), ("O", (6, 11)), ("A", (6, 4)))
    }
    sides = {"height": 64, "width": 64}
    vector = ConditionSpec("vector", "float32", (BATCH, 4), source=FromGraph("encode", "vector"))
    contract = Contract(
        (
            GraphSpec(
                "encode",
                (TensorSpec("image", "uint8", (BATCH, "height", "width", 3), max_sizes=sides),),
                (TensorSpec("vector", "float32", (BATCH, 4)),),
            ),
            GraphSpec(
                "step",
                (TensorSpec("token", "int64", (BATCH,), bound=11),),
                (TensorSpec("logits", "float32", (BATCH, 11)), TensorSpec("attention", "float32", (BATCH, 4))),
                (StateSpec("h", "float32", (BATCH, 6)),),
                (vector,),
            ),
        )
    )
    encode = [
        helper.make_node("Cast", ["image"], ["levels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["levels", "sides"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "scale"], ["scaled"]),
        helper.make_node("MatMul", ["scaled", "W"], ["vector"]),
    ]
    step = [
        helper.make_node("Gather", ["E", "token"], ["word"]),
        helper.make_node("MatMul", ["vector", "U"], ["seen"]),
        helper.make_node("Mul", ["h_in", "half"], ["kept"]),
        helper.make_node("Sum", ["word", "seen", "kept"], ["x"]),
        helper.make_node("Tanh", ["x"], ["h_out"]),
        helper.make_node("MatMul", ["h_out", "O"], ["logits"]),
        helper.make_node("MatMul", ["h_out", "A"], ["asked"]),
        helper.make_node("Softmax", ["asked"], ["attention"]),
    ]
    of_encode = {"W": weights["W"], "sides": np.array([1, 2]), "scale": np.float32([1 / 255])}
    of_step = {**{name: weights[name] for name in "EUOA"}, "half": np.float32([0.5])}
    backend = tokenizers.Tokenizer(models.WordLevel({w: i for i, w in enumerate(CAPTION_WORDS)}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    with new_bundle(path) as writer:
        (writer.directory / "encode.onnx").write_bytes(onnx_bytes(contract["encode"], encode, of_encode))
        (writer.directory / "step.onnx").write_bytes(onnx_bytes(contract["step"], step, of_step))
        (writer.directory / TOKENIZER).write_text(Tokenizer(backend).to_json())
        writer.finish(manifest(contract, {"encode": "encode.onnx", "step": "step.onnx"}, task="caption"))
    return path


TRANSLATOR_WORDS = ["<unk>", "<start>", "<end>", "ein", "hund", "läuft", "schläft", "a", "dog", "runs", "sleeps"]
TRANSLATOR_LONGEST = 12


def write_translator(path: Path, seed: int = 0, *, attends: bool = True) -> Path:
    """Two graphs: m = h' = tanh(0.5 h + E[source]); then h' = tanh(0.5 h + F[token]), from the last h' of the first on.

    With attention, logits = (h' + a m) O, where a = softmax(m h') over all steps of the first graph; else h' O.
    """
    random = np.random.default_rng(seed)
    weights = {
        name: random.normal(0, 1.5, shape).astype(np.float32)
        for name, shape in (("E", (11, 6)), ("F", (11, 6)), ("O", (6, 11)))
    }
    token = TensorSpec("token", "int64", (BATCH,), bound=11, kind="token")
    limit = {"max_sizes": {"source": TRANSLATOR_LONGEST}}
    made = (TensorSpec("memory", "float32", (BATCH, 6)), TensorSpec("mask", "float32", (BATCH, 1)))
    read = GraphSpec("read", (replace(token, name="source"),), made, (StateSpec("h", "float32", (BATCH, 6)),))
    logits = TensorSpec("logits", "float32", (BATCH, 11), kind="next-token")
    attention = TensorSpec("attention", "float32", (BATCH, "source"), kind="alignment")
    step = GraphSpec(
        "step",
        (token,),
        (logits, attention) if attends else (logits,),
        (StateSpec("h", "float32", (BATCH, 6), initial=FromGraph("read", "h_out")),),
        tuple(
            ConditionSpec(
                each.name,
                "float32",
                (BATCH, "source", *each.axes[1:]),
                source=FromSteps("read", each.name, "source"),
                **limit,
            )
            for each in made
            if attends
        ),
    )
    reading = [
        helper.make_node("Gather", ["E", "source"], ["word"]),
        helper.make_node("Mul", ["h_in", "half"], ["kept"]),
        helper.make_node("Add", ["word", "kept"], ["x"]),
        helper.make_node("Tanh", ["x"], ["h_out"]),
        helper.make_node("Identity", ["h_out"], ["memory"]),
        helper.make_node("ReduceSum", ["h_out", "last"], ["sum"], keepdims=1),
        helper.make_node("Mul", ["sum", "zero"], ["nothing"]),
        helper.make_node("Add", ["nothing", "one"], ["mask"]),
    ]
    attending = [
        helper.make_node("Unsqueeze", ["h_out", "one_axis"], ["query"]),
        helper.make_node("Mul", ["memory", "query"], ["products"]),
        helper.make_node("ReduceSum", ["products", "last"], ["scores"], keepdims=1),
        helper.make_node("Sub", ["mask", "one"], ["padding"]),
        helper.make_node("Mul", ["padding", "far"], ["below"]),
        helper.make_node("Add", ["scores", "below"], ["there"]),
        helper.make_node("Softmax", ["there"], ["weights"], axis=1),
        helper.make_node("Mul", ["memory", "weights"], ["weighted"]),
        helper.make_node("ReduceSum", ["weighted", "one_axis"], ["found"], keepdims=0),
        helper.make_node("Add", ["h_out", "found"], ["y"]),
        helper.make_node("ReduceSum", ["weights", "last"], ["attention"], keepdims=0),
    ]
    writing = [
        helper.make_node("Gather", ["F", "token"], ["word"]),
        helper.make_node("Mul", ["h_in", "half"], ["kept"]),
        helper.make_node("Add", ["word", "kept"], ["x"]),
        helper.make_node("Tanh", ["x"], ["h_out"]),
        *(attending if attends else [helper.make_node("Identity", ["h_out"], ["y"])]),
        helper.make_node("MatMul", ["y", "O"], ["logits"]),
    ]
    numbers = {"half": np.float32([0.5]), "zero": np.float32([0]), "one": np.float32([1]), "far": np.float32([1e4])}
    axes = {"last": np.array([-1]), "one_axis": np.array([1])}
    contract = Contract((read, step))
    backend = tokenizers.Tokenizer(models.WordLevel({w: i for i, w in enumerate(TRANSLATOR_WORDS)}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    with new_bundle(path) as writer:
        for spec, nodes, name in ((read, reading, "E"), (step, writing, "F")):
            held = {name: weights[name], "O": weights["O"], **numbers, **axes}
            used = {given for node in nodes for given in node.input}
            data = onnx_bytes(spec, nodes, {key: array for key, array in held.items() if key in used})
            (writer.directory / f"{spec.name}.onnx").write_bytes(data)
        (writer.directory / TOKENIZER).write_text(Tokenizer(backend).to_json())
        writer.finish(manifest(contract, {"read": "read.onnx", "step": "step.onnx"}, task="translate"))
    return path


def write_text_classifier(path: Path, **changes: object) -> Path:
    """A graph that reads tokens and scores three classes: h' = tanh(0.5 h + E[token]), scores = h' O.

    labels: the names of the classes, by default none.
    """
    random = np.random.default_rng(0)
    tokenizer = Tokenizer.characters(ALPHABET)
    values: dict[str, object] = {"bound": len(tokenizer), "dtype": "int64", "classes": 3, "task": "classify", **changes}
    spec = GraphSpec(
        "step",
        (TensorSpec("token", str(values["dtype"]), (BATCH,), bound=values["bound"], kind="token"),),
        (TensorSpec("scores", "float32", (BATCH, values["classes"]), kind=values.get("kind", "label")),),
        (StateSpec("h", "float32", (BATCH, 6)),),
    )
    weights = {
        "E": random.standard_normal((len(tokenizer), 6)).astype(np.float32),
        "O": random.standard_normal((6, values["classes"])).astype(np.float32),
        "half": np.float32([0.5]),
    }
    nodes = [
        helper.make_node("Gather", ["E", "token"], ["word"]),
        helper.make_node("Mul", ["h_in", "half"], ["kept"]),
        helper.make_node("Add", ["word", "kept"], ["x"]),
        helper.make_node("Tanh", ["x"], ["h_out"]),
        helper.make_node("MatMul", ["h_out", "O"], ["scores"]),
    ]
    with new_bundle(path) as writer:
        (writer.directory / "step.onnx").write_bytes(onnx_bytes(spec, nodes, weights))
        (writer.directory / TOKENIZER).write_text(tokenizer.to_json(), encoding="utf-8")
        if "labels" in values:
            (writer.directory / LABELS).write_text(json.dumps(values["labels"]), encoding="utf-8")
        writer.finish(manifest(Contract((spec,)), {"step": "step.onnx"}, task=values["task"]))
    return path


SOUND_RATE, SOUND_HOP = 1000, 10  # samples per second, and in a step


def write_sound_classifier(path: Path) -> Path:
    """A graph that tells loud from faint sound by its peak so far: p' = max(p, |samples|), scores = [20 p', 5]."""
    spec = GraphSpec(
        "step",
        (TensorSpec("samples", "int16", (BATCH, SOUND_HOP), kind="audio", rate=SOUND_RATE),),
        (TensorSpec("scores", "float32", (BATCH, 2), kind="label"),),
        (StateSpec("peak", "float32", (BATCH, 1)),),
    )
    nodes = [
        helper.make_node("Cast", ["samples"], ["levels"], to=TensorProto.FLOAT),
        helper.make_node("Abs", ["levels"], ["sizes"]),
        helper.make_node("ReduceMax", ["sizes", "second"], ["largest"], keepdims=1),
        helper.make_node("Mul", ["largest", "scale"], ["now"]),
        helper.make_node("Max", ["now", "peak_in"], ["peak_out"]),
        helper.make_node("MatMul", ["peak_out", "weight"], ["product"]),
        helper.make_node("Add", ["product", "bias"], ["scores"]),
    ]
    weights = {
        "second": np.array([1]),
        "scale": np.float32([1 / 32768]),
        "weight": np.float32([[20, 0]]),
        "bias": np.float32([0, 5]),
    }
    with new_bundle(path) as writer:
        (writer.directory / "step.onnx").write_bytes(onnx_bytes(spec, nodes, weights))
        (writer.directory / LABELS).write_text('["loud", "faint"]', encoding="utf-8")
        writer.finish(manifest(Contract((spec,)), {"step": "step.onnx"}, task="classify"))
    return path


def write_glimpser(path: Path, side: int | str = 8) -> Path:
    """A graph that looks at a square of 2 pixels in the upper left corner, then one place to the right at each step.

    The counter n' = min(n + 1, 3); the score of "bright" is the brightness of the whole picture, that of "dark" 0.5.
    """
    spec = GraphSpec(
        "step",
        (),
        (
            TensorSpec("scores", "float32", (BATCH, 2), kind="label"),
            TensorSpec("boxes", "float32", (BATCH, 1, 4), kind="boxes"),
        ),
        (StateSpec("glimpse", "float32", (BATCH, 1), bound=3.0, low=0.0),),
        (ConditionSpec("image", "uint8", (BATCH, side, side, 3), kind="image"),),
    )
    nodes = [
        helper.make_node("Cast", ["image"], ["levels"], to=TensorProto.FLOAT),
        helper.make_node("Flatten", ["levels"], ["pixels"]),
        helper.make_node("ReduceMean", ["pixels", "second"], ["mean"], keepdims=1),
        helper.make_node("Mul", ["mean", "scale"], ["bright"]),
        helper.make_node("Mul", ["bright", "glimpse_out"], ["sum"]),
        helper.make_node("MatMul", ["sum", "weight"], ["product"]),
        helper.make_node("Add", ["product", "bias"], ["scores"]),
        helper.make_node("MatMul", ["glimpse_in", "across"], ["moved"]),
        helper.make_node("Add", ["moved", "corner"], ["box"]),
        helper.make_node("Unsqueeze", ["box", "second"], ["boxes"]),
        helper.make_node("Add", ["glimpse_in", "one"], ["next"]),
        helper.make_node("Min", ["next", "most"], ["glimpse_out"]),
    ]
    weights = {
        "second": np.array([1]),
        "scale": np.float32([1 / 255]),
        "weight": np.float32([[2, 0]]),
        "bias": np.float32([0, 0.5]),
        "across": np.float32([[1, 0, 1, 0]]),
        "corner": np.float32([0, 0, 2, 2]),
        "one": np.float32([1]),
        "most": np.float32([3]),
    }
    with new_bundle(path) as writer:
        (writer.directory / "step.onnx").write_bytes(onnx_bytes(spec, nodes, weights))
        (writer.directory / LABELS).write_text('["bright", "dark"]', encoding="utf-8")
        writer.finish(manifest(Contract((spec,)), {"step": "step.onnx"}, task="glimpse"))
    return path


def write_drawer(path: Path, side: int = 6, *, labels: str | None = '["dark", "bright"]') -> Path:
    """A graph that adds the first noise, and 1 for the class "bright", to all pixels; the window moves to the right.

    canvas' = clip(canvas + noise[0] + label, -12, 12); the counter n' = min(n + 1, 3); picture = sigmoid(canvas').
    """
    spec = GraphSpec(
        "step",
        (TensorSpec("noise", "float32", (BATCH, 2), kind="noise"),),
        (
            TensorSpec("picture", "float32", (BATCH, side, side), bound=1.0, low=0.0, kind="canvas"),
            TensorSpec("boxes", "float32", (BATCH, 1, 4), kind="boxes"),
        ),
        (
            StateSpec("canvas", "float32", (BATCH, side, side), bound=12.0),
            StateSpec("step", "float32", (BATCH, 1), bound=3.0, low=0.0),
        ),
        (ConditionSpec("label", "int64", (BATCH,), bound=2, kind="class"),),
    )
    nodes = [
        helper.make_node("MatMul", ["noise", "first"], ["level"]),
        helper.make_node("Cast", ["label"], ["number"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["number", "second"], ["column"]),
        helper.make_node("Add", ["level", "column"], ["sum"]),
        helper.make_node("Unsqueeze", ["sum", "second"], ["added"]),
        helper.make_node("Add", ["canvas_in", "added"], ["drawn"]),
        helper.make_node("Clip", ["drawn", "least", "most"], ["canvas_out"]),
        helper.make_node("Sigmoid", ["canvas_out"], ["picture"]),
        helper.make_node("MatMul", ["step_in", "across"], ["moved"]),
        helper.make_node("Add", ["moved", "corner"], ["box"]),
        helper.make_node("Unsqueeze", ["box", "second"], ["boxes"]),
        helper.make_node("Add", ["step_in", "one"], ["next"]),
        helper.make_node("Min", ["next", "last"], ["step_out"]),
    ]
    weights = {
        "first": np.float32([[1], [0]]),
        "second": np.array([1]),
        "least": np.float32(-12),
        "most": np.float32(12),
        "across": np.float32([[1, 0, 1, 0]]),
        "corner": np.float32([0, 0, 2, 2]),
        "one": np.float32([1]),
        "last": np.float32([3]),
    }
    with new_bundle(path) as writer:
        (writer.directory / "step.onnx").write_bytes(onnx_bytes(spec, nodes, weights))
        if labels is not None:
            (writer.directory / LABELS).write_text(labels, encoding="utf-8")
        writer.finish(manifest(Contract((spec,)), {"step": "step.onnx"}, task="draw"))
    return path


PEN_SCALE, PEN_LONGEST = 10.0, 20
PEN_MIXTURE = np.float32([0, 1, 0, 0.5, 0.25, 0.6, 1, 0, -9])  # of the next point after no steps
PEN_AGES = np.float32([0, 0, 0.5, 0, 0, 0, 0, 0, 2])  # what each step adds


def write_pen(path: Path, *, scale: float = PEN_SCALE, units: str | None = None, state: str = "pen") -> Path:
    """A graph that goes to the right and ever more down, and ends after some points; its mixture has one component.

    count' = count + 1; mixture = PEN_MIXTURE + count' PEN_AGES; the state is where the pen is. units: the content of
    strokes.json; "" for none.
    """
    spec = GraphSpec(
        "step",
        (TensorSpec("point", "float32", (BATCH, 5), kind="point"),),
        (TensorSpec("mixture", "float32", (BATCH, 9), kind="next-point"),),
        (
            StateSpec(state, "float32", (BATCH, 5), initial=FromFile("initial/pen.npy")),
            StateSpec("count", "float32", (BATCH, 1)),
        ),
    )
    nodes = [
        helper.make_node("Add", ["count_in", "one"], ["count_out"]),
        helper.make_node("MatMul", ["count_out", "ages"], ["aged"]),
        helper.make_node("Add", ["aged", "first"], ["mixture"]),
        helper.make_node("Mul", [f"{state}_in", "place"], ["before"]),
        helper.make_node("Add", ["point", "before"], [f"{state}_out"]),
    ]
    weights = {
        "one": np.float32([1]),
        "ages": PEN_AGES[None],
        "first": PEN_MIXTURE,
        "place": np.float32([1, 1, 0, 0, 0]),
    }
    if units is None:
        units = json.dumps({"scale": scale, "longest": PEN_LONGEST})
    with new_bundle(path) as writer:
        (writer.directory / "step.onnx").write_bytes(onnx_bytes(spec, nodes, weights))
        (writer.directory / "initial").mkdir()
        np.save(writer.directory / "initial" / "pen.npy", np.float32([0, 0, 0, 1, 0]))
        if units:
            (writer.directory / STROKES).write_text(units, encoding="utf-8")
        writer.finish(manifest(Contract((spec,)), {"step": "step.onnx"}, task="pens"))
    return path


def write_painter(path: Path, side: int = 8) -> Path:
    """A graph that moves its canvas half the way to the image, and whose red, horizontal strokes move to the right.

    canvas' = (canvas + image / 255) / 2; the counter n' = min(n + 1, 30); a stroke is at x = (n + 1) / 4 of the side.
    """
    size = (BATCH, side, side, 3)
    spec = GraphSpec(
        "step",
        (),
        (TensorSpec("stroke", "float32", (BATCH, 12), kind="stroke"),),
        (
            StateSpec("canvas", "float32", size, bound=1.0, low=0.0, kind="canvas"),
            StateSpec("step", "float32", (BATCH, 1), bound=30.0, low=0.0),
        ),
        (ConditionSpec("image", "uint8", size, kind="image"),),
    )
    nodes = [
        helper.make_node("Cast", ["image"], ["bytes"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["bytes", "scale"], ["target"]),
        helper.make_node("Add", ["canvas_in", "target"], ["sum"]),
        helper.make_node("Mul", ["sum", "half"], ["canvas_out"]),
        helper.make_node("MatMul", ["step_in", "along"], ["moved"]),
        helper.make_node("Add", ["moved", "first"], ["stroke"]),
        helper.make_node("Add", ["step_in", "one"], ["next"]),
        helper.make_node("Min", ["next", "last"], ["step_out"]),
    ]
    weights = {
        "scale": np.float32(1 / 255),
        "half": np.float32(0.5),
        "along": np.float32([[0.25, *[0] * 11]]),
        "first": np.float32([0.25, 0.5, 0.25, 0, 0.125, 0, 0, 1, 0, 1, 0, 0]),
        "one": np.float32([1]),
        "last": np.float32([30]),
    }
    with new_bundle(path) as writer:
        (writer.directory / "step.onnx").write_bytes(onnx_bytes(spec, nodes, weights))
        writer.finish(manifest(Contract((spec,)), {"step": "step.onnx"}, task="paint"))
    return path


PLANTED_ALPHABET = 'ab12" \n'


def write_planted(path: Path, *, batched: bool = True) -> Path:
    """A language model whose units are known: two of noise, 1 in a quotation, and the hundredth of the place in a line.

    It predicts letters while a quotation is open and digits otherwise, and now and then a quotation mark.
    """
    tokenizer = Tokenizer.characters(PLANTED_ALPHABET)
    ids = {character: int(tokenizer.encode(character)[0]) for character in PLANTED_ALPHABET}
    random = np.random.default_rng(0)
    noise = random.standard_normal((len(tokenizer), 2)).astype(np.float32)
    mark, kept = np.zeros((len(tokenizer), 1), np.float32), np.ones((len(tokenizer), 1), np.float32)
    mark[ids['"']], kept[ids["\n"]] = 1, 0
    inside, outside = (np.full(len(tokenizer), -20, np.float32) for _ in range(2))
    inside[[ids["a"], ids["b"]]], outside[[ids["1"], ids["2"]]] = 3, 3
    inside[ids['"']] = outside[ids['"']] = 1
    outside[ids["\n"]] = 1
    spec = GraphSpec(
        "step",
        (TensorSpec("token", "int64", (BATCH,), bound=len(tokenizer), kind="token"),),
        (TensorSpec("logits", "float32", (BATCH, len(tokenizer)), kind="next-token"),),
        (StateSpec("h", "float32", (1, BATCH if batched else 1, 4)),),
    )
    nodes = [
        helper.make_node("Squeeze", ["h_in", "first"], ["h"]),
        helper.make_node("Split", ["h", "sizes"], ["n", "q", "p"], axis=1),
        helper.make_node("Gather", ["noise", "token"], ["e"]),
        helper.make_node("Gather", ["mark", "token"], ["m"]),
        helper.make_node("Gather", ["kept", "token"], ["k"]),
        helper.make_node("Mul", ["n", "half"], ["fading"]),
        helper.make_node("Add", ["fading", "e"], ["n2"]),
        helper.make_node("Sub", ["q", "m"], ["turned"]),
        helper.make_node("Mul", ["turned", "turned"], ["q2"]),
        helper.make_node("Add", ["p", "hundredth"], ["longer"]),
        helper.make_node("Mul", ["longer", "k"], ["p2"]),
        helper.make_node("Concat", ["n2", "q2", "p2"], ["h2"], axis=1),
        helper.make_node("Unsqueeze", ["h2", "first"], ["h_out"]),
        helper.make_node("Mul", ["q2", "change"], ["changed"]),
        helper.make_node("Add", ["changed", "outside"], ["logits"]),
    ]
    weights = {
        **{"first": np.array([0]), "sizes": np.array([2, 1, 1]), "half": np.float32([0.5])},
        **{"noise": noise, "mark": mark, "kept": kept, "hundredth": np.float32([0.01])},
        **{"change": inside - outside, "outside": outside},
    }
    with new_bundle(path) as writer:
        (writer.directory / "step.onnx").write_bytes(onnx_bytes(spec, nodes, weights))
        (writer.directory / TOKENIZER).write_text(tokenizer.to_json(), encoding="utf-8")
        writer.finish(manifest(Contract((spec,)), {"step": "step.onnx"}))
    return path


def write_namesake(path: Path, axes: tuple[int | str, ...] = (BATCH, 2), task: str = "adopted") -> Path:
    """A graph without kinds whose input happens to be called token, and whose output logits: the sum of all inputs."""
    spec = GraphSpec(
        "step",
        (TensorSpec("token", "float32", axes),),
        (TensorSpec("logits", "float32", axes),),
        (StateSpec("total", "float32", axes),),
    )
    nodes = [
        helper.make_node("Add", ["token", "total_in"], ["total_out"]),
        helper.make_node("Identity", ["total_out"], ["logits"]),
    ]
    with new_bundle(path) as writer:
        (writer.directory / "step.onnx").write_bytes(onnx_bytes(spec, nodes, {}))
        writer.finish(manifest(Contract((spec,)), {"step": "step.onnx"}, task=task))
    return path


def manifest(contract: Contract, graphs: dict[str, str], **changes: object) -> Manifest:
    values: dict[str, object] = {
        "task": "language",
        "target": "onnx",
        "precision": "fp32",
        "digest": hashlib.sha256(canonical_json(contract).encode()).hexdigest(),
        "contract": contract,
        "graphs": graphs,
        "provenance": {},
        "parity": {},
        "weights": {},
        "golden": {},
    }
    return Manifest(**{**values, **changes})


def onnx_bytes(spec: GraphSpec, nodes: list, weights: dict[str, np.ndarray], opset: int = 20) -> bytes:
    graph = helper.make_graph(
        nodes,
        spec.name,
        [_value_info(name, tensor) for name, tensor in spec.feeds.items()],
        [_value_info(name, tensor) for name, tensor in spec.results.items()],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    return model.SerializeToString()


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def _value_info(name: str, spec: TensorSpec):
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(spec.numpy_dtype), list(spec.axes))
