"""Modules that users write, exported through the same gate as those of edgernn."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
import torch
from conversions import convert_once
from targets import TARGETS
from torch import nn

from edgernn.bundle import TOKENIZER, Bundle
from edgernn.contract import BATCH, ConditionSpec, Contract, FromFile, FromGraph, GraphSpec, StateSpec, TensorSpec
from edgernn.engines import ENGINES
from edgernn.errors import ConfigError, EngineError, ExportError, ParityError
from edgernn.exporters import export_module
from edgernn.runtime import Model
from edgernn.tokenizer import Tokenizer


class Denoiser(nn.Module):
    """A causal convolution that keeps its last frames, and a GRU behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(6, 8, kernel_size=3)
        self.cell = nn.GRUCell(8, 16)
        self.out = nn.Linear(16, 6)

    def forward(self, frame, cache, h):
        frames = torch.cat([cache, frame.unsqueeze(2)], dim=2)  # (batch, 6, 3)
        h = self.cell(torch.relu(self.conv(frames).squeeze(2)), h)
        return frame * torch.sigmoid(self.out(h)), frames[:, :, 1:], h


DENOISER = GraphSpec(
    "step",
    inputs=(TensorSpec("frame", "float32", (BATCH, 6)),),
    outputs=(TensorSpec("clean", "float32", (BATCH, 6)),),
    states=(StateSpec("cache", "float32", (BATCH, 6, 2)), StateSpec("h", "float32", (BATCH, 16), 1.0)),
)


EVERYWHERE = [(name, each) for name, target in TARGETS.items() for each in target.precisions]


@pytest.fixture(scope="module", autouse=True)
def _converted_once():
    with convert_once(Denoiser):
        yield


@pytest.mark.parametrize(("target", "precision"), EVERYWHERE)
def test_a_convolution_with_a_cache_and_a_gru(tmp_path, target, precision):
    torch.manual_seed(0)
    module = Denoiser()
    exported = export_module(module, DENOISER, out=tmp_path / "b", target=target, precision=precision, steps=64)
    assert module.training
    model = Model.load(exported.path, ENGINES[target])
    frames = torch.randn(20, 2, 6)
    cache, h = torch.zeros(2, 6, 2), torch.zeros(2, 16)
    _, state = model.begin(batch=2)
    for frame in frames:
        with torch.no_grad():
            clean, cache, h = module(frame, cache, h)
        outputs, state = model.step({"frame": frame.numpy()}, state)
        np.testing.assert_allclose(outputs["clean"], clean, atol=1e-5 if precision == "fp32" else 0.2)


def test_a_batch_that_a_lowering_froze_is_named(tmp_path, monkeypatch):
    """As that of ExecuTorch freezes the batch of what is split, which is why splits are written as slices."""
    monkeypatch.setattr("edgernn.exporters.targets.executorch.written_out", lambda program: program.module())
    with pytest.raises(ExportError, match=r"froze the batch of frame: declare one stream$"):
        export_module(Denoiser(), DENOISER, out=tmp_path / "b", target="executorch")
    assert list(tmp_path.iterdir()) == []


class Encoder(nn.Module):
    def forward(self, image):
        return image.mean(dim=1), image.amax(dim=1)


class Decoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Linear(5, 5)

    def forward(self, token, feature, h):
        h = torch.tanh(self.mix(h) + feature + token.unsqueeze(1))
        return h * 2, h


def test_several_graphs_in_one_bundle(tmp_path):
    image = TensorSpec("image", "float32", (BATCH, 4, 5))
    vector = (BATCH, 5)
    contract = Contract(
        (
            GraphSpec(
                "encode", (image,), (TensorSpec("mean", "float32", vector), TensorSpec("top", "float32", vector))
            ),
            GraphSpec(
                "step",
                (TensorSpec("token", "float32", (BATCH,)),),
                (TensorSpec("y", "float32", vector),),
                (StateSpec("h", "float32", vector, initial=FromGraph("encode", "top")),),
                (ConditionSpec("feature", "float32", vector, source=FromGraph("encode", "mean")),),
            ),
        )
    )
    torch.manual_seed(0)
    modules = {"encode": Encoder(), "step": Decoder()}
    export_module(modules, contract, out=tmp_path / "b", steps=16)
    picture = torch.randn(1, 4, 5)
    stream = Model.load(tmp_path / "b").stream(inputs={"image": picture.numpy()})
    feature, h = modules["encode"](picture)
    for token in (1.0, -2.0):
        with torch.no_grad():
            y, h = modules["step"](torch.tensor([token]), feature, h)
        np.testing.assert_allclose(stream.step({"token": np.array([token], np.float32)})["y"], y, atol=1e-5)
    with pytest.raises(ConfigError, match="encode is a graph without a module"):
        export_module({"step": Decoder()}, contract, out=tmp_path / "c")
    with pytest.raises(ConfigError, match="other is no graph"):
        export_module({**modules, "other": Decoder()}, contract, out=tmp_path / "c")


def test_a_state_that_starts_from_a_tensor(tmp_path):
    start = torch.tensor([[0.5, -0.5, 0.25, 0.0, 1.0]])
    spec = GraphSpec(
        "step",
        (TensorSpec("token", "float32", (BATCH,)), TensorSpec("feature", "float32", (BATCH, 5))),
        (TensorSpec("y", "float32", (BATCH, 5)),),
        (StateSpec("h", "float32", (BATCH, 5), initial=FromFile("initial/h.npy")),),
    )
    with pytest.raises(ConfigError, match=r"the initial value initial/h\.npy is missing"):
        export_module(Decoder(), spec, out=tmp_path / "b")
    export_module(Decoder(), spec, out=tmp_path / "b", initial={"initial/h.npy": start}, steps=8)
    np.testing.assert_array_equal(Model.load(tmp_path / "b").stream().state["h"], start)


class Changed(Denoiser):
    def __init__(self, change) -> None:
        super().__init__()
        self.change = change

    def forward(self, frame, cache, h):
        return self.change(frame, cache, h, *super().forward(frame, cache, h))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x, c, h, y, k, n: (y, k), r"returns Tensor, Tensor; its contract says clean, cache_out, h_out"),
        (lambda x, c, h, y, k, n: [y, k, n], "returns list; its contract says"),
        (
            lambda x, c, h, y, k, n: (y, k, n.double()),
            r"h_out is float64\[1, 16\]; its contract says float32\[batch, 16\]",
        ),
        (lambda x, c, h, y, k, n: (y, k[:, :, :1], n), r"cache_out is float32\[1, 6, 1\]; its contract says"),
        (lambda x, c, h, y, k, n: (y[:1], k, n), r"clean is float32\[1, 6\]; its contract says float32\[batch, 6\]"),
        (lambda x, c, h, y, k, n: (y, n, k), r"cache_out is float32\[1, 16\]"),
        (lambda x, c, h, y, k, n: 1 / 0, r"refuses frame float32\[1, 6\], .*: division by zero"),
    ],
)
def test_a_module_that_breaks_its_contract_is_named(tmp_path, change, words):
    with pytest.raises(ExportError, match=words):
        export_module(Changed(change), DENOISER, out=tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_a_module_that_takes_other_tensors_is_named(tmp_path):
    with pytest.raises(ExportError, match=r"graph step refuses frame float32\[1, 6\], cache_in"):
        export_module(nn.GRUCell(8, 16), DENOISER, out=tmp_path / "b")


class Step(nn.Module):
    """x and h in, y and the next h out, as a function says; weights by name."""

    def __init__(self, function, **weights) -> None:
        super().__init__()
        self.function = function
        for name, value in weights.items():
            setattr(self, name, value) if isinstance(value, nn.Module) else self.register_buffer(name, value)

    def forward(self, x, h):
        return self.function(self, x, h)


def plain(size=4, *, bound=None, dtype="float32", **tensors):
    x, y = (TensorSpec(name, "float32", (BATCH, 4)) for name in "xy")
    state = StateSpec("h", dtype, (BATCH, size), bound=bound)
    return GraphSpec("step", **{"inputs": (x,), "outputs": (y,), "states": (state,), **tensors})


def test_graphs_are_told_apart_whatever_they_are_called(tmp_path):
    """A dot is no underscore, and a graph may be called like a method of a module."""
    graphs = {name: replace(plain(), name=name) for name in ("a.b", "a_b", "update")}
    modules = {
        name: Step(lambda self, x, h, by=by: (by * x + h, torch.tanh(by * x + h))) for by, name in enumerate(graphs)
    }
    export_module(modules, Contract(tuple(graphs.values())), out=tmp_path / "b", steps=8, confirm=["h"])
    model = Model.load(tmp_path / "b")
    x, h = np.ones((1, 4), np.float32), np.zeros((1, 4), np.float32)
    found = [float(model.step({"x": x}, {"h": h}, graph=name)[0]["y"][0, 0]) for name in graphs]
    assert found == [0, 1, 2]


@pytest.mark.parametrize(
    ("function", "spec", "words"),
    [
        (
            lambda s, x, h: (x + h, torch.tanh(h - h.mean(0) + x)),
            plain(),
            "h_out of a stream changes with the inputs of the others",
        ),
        (
            lambda s, x, h: (x + h, 5 * torch.tanh(x + h)),
            plain(bound=1.0),
            "h_out reaches [-45].*its contract says -1 to 1",
        ),
    ],
)
def test_what_a_contract_promises_of_values_is_checked(tmp_path, function, spec, words):
    with pytest.raises(ExportError, match=words):
        export_module(Step(function), spec, out=tmp_path / "b")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("dtype", ["int64", "bool"])
def test_states_may_be_whole_numbers_and_flags(tmp_path, target, dtype):
    def step(self, x, h):
        following = h + 1 if dtype == "int64" else h ^ (x[:, :1] > 0)
        return x + h.to(torch.float32), following

    spec = plain(1, dtype=dtype)
    export_module(Step(step), spec, out=tmp_path / "b", target=target, steps=16)
    stream = Model.load(tmp_path / "b", ENGINES[target]).stream()
    for _ in range(3):
        stream.step({"x": np.ones((1, 4), np.float32)})
    assert stream.state["h"].item() == (3 if dtype == "int64" else True)


def test_masked_logits_are_equal_where_both_are_infinite(tmp_path):
    def step(self, x, h):
        h = torch.tanh(x + h)
        return torch.where(torch.arange(4) < 2, h, -torch.inf), h

    parity = export_module(Step(step), plain(), out=tmp_path / "b", steps=16).parity
    assert parity.max_abs_diff_outputs < 1e-5


def looped(self, x, h):
    """A Python loop over time, which tracing unrolls."""
    for frame in range(x.shape[1]):
        h = torch.tanh(x[:, frame] + h)
    return x.sum(1) + h, h


def test_an_axis_that_tracing_froze_is_found(tmp_path):
    spec = plain(inputs=(TensorSpec("x", "float32", (BATCH, "time", 4)),))
    with pytest.raises((ExportError, ParityError, EngineError), match="graph step"):
        export_module(Step(looped), spec, out=tmp_path / "b", target="torchscript")
    assert list(tmp_path.iterdir()) == []


def tied():
    module = Step(
        lambda s, x, h: (torch.tanh(s.two(h)), torch.tanh(x + s.one(h))), one=nn.Linear(4, 4), two=nn.Linear(4, 4)
    )
    module.two.weight = module.one.weight
    return module


def shared():
    matrix = torch.randn(4, 4)
    return Step(
        lambda s, x, h: (h @ s.one, torch.tanh(x + h @ s.two)),
        one=matrix,
        two=matrix,
    )


def rows_of_a_table():
    """The next state is a row of an embedding, which the contract bounds."""
    return Step(
        lambda s, x, h: (s.out(h) + x, s.table((x[:, 0] > 0).long())), table=nn.Embedding(2, 4), out=nn.Linear(4, 4)
    )


def column():
    """A state whose last axis is not what products take."""
    return Step(
        lambda s, x, h: (s.out(h.squeeze(2)), torch.tanh(s.out(x) + h.squeeze(2)).unsqueeze(2)), out=nn.Linear(4, 4)
    )


@pytest.mark.parametrize("target", ["onnx", "torchscript", "executorch"])
@pytest.mark.parametrize("make", [tied, shared, rows_of_a_table, column])
def test_matrices_in_unusual_places_are_quantised(tmp_path, target, make):
    torch.manual_seed(0)
    module = make()
    spec = plain(bound=5.0)
    if make is column:
        spec = replace(spec, states=(StateSpec("h", "float32", (BATCH, 4, 1), bound=5.0),))
    export_module(module, spec, out=tmp_path / "b", target=target, precision="int8", steps=32)
    weights = Bundle.load(tmp_path / "b").manifest.weights["step"]
    assert weights
    assert {weight["bits"] for weight in weights} == {8}


def test_a_step_of_the_gate_is_the_least(tmp_path):
    with pytest.raises(ConfigError, match="steps 0"):
        export_module(tied(), plain(), out=tmp_path / "b", steps=0)
    with pytest.raises(ConfigError, match=r"needs an nn\.Module"):
        export_module({"step": lambda x, h: (x, h)}, plain(), out=tmp_path / "b")


class Reader(nn.Module):
    """Letters of a text, one after the other, to the scores of two labels."""

    def __init__(self) -> None:
        super().__init__()
        self.letter, self.cell, self.out = nn.Embedding(12, 4), nn.GRUCell(4, 6), nn.Linear(6, 2)

    def forward(self, ids, h):
        h = self.cell(self.letter(ids), h)
        return self.out(h), h


def test_a_classifier_of_texts(tmp_path):
    """What its tensors mean is said by their kinds, not by names of a language model."""
    tokenizer = Tokenizer.characters("abcdefghijk")
    spec = GraphSpec(
        "step",
        (TensorSpec("ids", "int64", (BATCH,), bound=12, kind="token"),),
        (TensorSpec("scores", "float32", (BATCH, 2), kind="label"),),
        (StateSpec("h", "float32", (BATCH, 6), bound=1.0),),
    )
    torch.manual_seed(0)
    module, assets = Reader(), {TOKENIZER: tokenizer.to_json().encode(), "labels.json": b'["good", "bad"]'}
    exported = export_module(module, spec, out=tmp_path / "b", assets=assets, steps=16)
    assert exported.bytes == (tmp_path / "b" / "step.onnx").stat().st_size
    assert exported.parity.max_abs_diff_outputs < 1e-4
    bundle = Bundle.load(tmp_path / "b")
    assert bundle.files["labels.json"] == assets["labels.json"]
    model = Model(bundle)
    (_, state), h = model.begin(), torch.zeros(1, 6)
    for token in model.tokenizer.encode("bad cab".replace(" ", "")):
        outputs, state = model.step({"ids": np.array([token])}, state)
        with torch.no_grad():
            scores, h = module(torch.tensor([token]), h)
        np.testing.assert_allclose(outputs["scores"], scores, atol=1e-5)


def test_ranges_of_activations_are_measured_on_examples(tmp_path):
    """So that the convolutions of a module without state are of integers at int8."""

    class Look(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, image):
            return torch.relu(self.conv(image)).mean(dim=(2, 3))

    spec = GraphSpec(
        "look", (TensorSpec("image", "float32", (BATCH, 3, 8, 8)),), (TensorSpec("y", "float32", (BATCH, 4)),)
    )
    torch.manual_seed(0)
    examples = [{"image": np.random.default_rng(n).normal(size=(1, 3, 8, 8)).astype(np.float32)} for n in range(8)]
    export_module(Look(), spec, out=tmp_path / "b", precision="int8", examples=examples, steps=4)
    (weight,) = Bundle.load(tmp_path / "b").manifest.weights["look"]
    assert (weight["bits"], weight["arithmetic"]) == (8, "int8, static quantisation")


@pytest.mark.parametrize("target", ["onnx", "executorch"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_compiled_part_is_named(tmp_path, target):
    module = Denoiser()
    module.cell = torch.jit.script(module.cell)
    words = "its part module.cell is compiled by torch.jit.script: use the module that was compiled"
    with pytest.raises(ExportError, match=words.replace("module.cell", "cell")):
        export_module(module, DENOISER, out=tmp_path / "b", target=target)


@pytest.mark.parametrize("target", TARGETS)
def test_results_may_be_named_and_states_may_have_no_axes(tmp_path, target):
    class Results(NamedTuple):
        y: torch.Tensor
        level: torch.Tensor

    def forward(self, x, level):
        level = 0.9 * level + 0.1 * x.abs().mean()
        return Results(x / (level + 1), level)

    module = nn.Module()
    module.forward = forward.__get__(module)
    x, y = (TensorSpec(name, "float32", (1, 4)) for name in "xy")
    spec = GraphSpec("step", (x,), (y,), (StateSpec("level", "float32", ()),))
    assert export_module(module, spec, out=tmp_path / "b", target=target, steps=32).parity.max_share < 0.01


def test_types_without_a_kernel_of_onnxruntime_are_computed_at_wider_ones(tmp_path):
    """A choice between flags, and 16-bit samples that are clipped."""

    def forward(self, x, on, last):
        on = torch.where(x[:, 0] > 1, torch.ones_like(on), torch.where(x[:, 0] < -1, torch.zeros_like(on), on))
        samples = torch.clamp((100 * x).to(torch.int16), -50, 50)
        return samples + last, on, samples

    module = nn.Module()
    module.forward = forward.__get__(module)
    states = StateSpec("on", "bool", (BATCH,)), StateSpec("last", "int16", (BATCH, 2), low=-50, bound=51)
    y = TensorSpec("y", "int16", (BATCH, 2))
    spec = GraphSpec("step", (TensorSpec("x", "float32", (BATCH, 2)),), (y,), states)
    parity = export_module(module, spec, out=tmp_path / "b", steps=64, confirm=["on"]).parity
    assert parity.mismatches == 0 < parity.compared
    outputs, state = Model.load(tmp_path / "b").step(
        {"x": np.array([[2, -3]], np.float32)}, {"on": np.array([False]), "last": np.array([[7, 8]], np.int16)}
    )
    assert outputs["y"].tolist() == [[57, -42]]
    assert state["on"].tolist() == [True]
