"""Modules that are not ours, through the same gate."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from edgernn.contract import BATCH, ConditionSpec, Contract, FromFile, FromGraph, GraphSpec, StateSpec, TensorSpec
from edgernn.engines import ENGINES
from edgernn.errors import ConfigError, ExportError
from edgernn.exporters import TARGETS, export_module
from edgernn.runtime import Model


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


@pytest.mark.parametrize(("target", "precision"), [pair for pair in EVERYWHERE if pair[0] != "executorch"])
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


def alone(tensors):
    return tuple(replace(t, axes=tuple(1 if axis == BATCH else axis for axis in t.axes)) for t in tensors)


@pytest.mark.parametrize("precision", TARGETS["executorch"].precisions)
def test_executorch_takes_one_stream_where_it_loses_the_batch(tmp_path, precision):
    torch.manual_seed(0)
    module = Denoiser()
    with pytest.raises(ExportError, match=r"froze the batch of .*: declare one stream, or choose onnx"):
        export_module(module, DENOISER, out=tmp_path / "b", target="executorch", precision=precision)
    single = replace(DENOISER, **{kind: alone(getattr(DENOISER, kind)) for kind in ("inputs", "outputs", "states")})
    export_module(module, single, out=tmp_path / "b", target="executorch", precision=precision, steps=64)
    stream = Model.load(tmp_path / "b", ENGINES["executorch"]).stream()
    cache, h = torch.zeros(1, 6, 2), torch.zeros(1, 16)
    for frame in torch.randn(20, 1, 6):
        with torch.no_grad():
            clean, cache, h = module(frame, cache, h)
        outputs = stream.step({"frame": frame.numpy()})
        np.testing.assert_allclose(outputs["clean"], clean, atol=1e-5 if precision == "fp32" else 0.2)


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
        (lambda x, c, h, y, k, n: (x, x.unsqueeze(2).expand(-1, -1, 2) * 2, n), "ignores the state .* as cache_in"),
        (lambda x, c, h, y, k, n: 1 / 0, r"refuses frame float32\[1, 6\], .*: division by zero"),
    ],
)
def test_a_module_that_breaks_its_contract_is_named(tmp_path, change, words):
    module = Changed(change)
    if "ignores" in words:
        module.forward = lambda frame, cache, h: change(frame, cache, h, frame, cache, module.cell(h[:, :8], h))
    with pytest.raises(ExportError, match=words):
        export_module(module, DENOISER, out=tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_a_module_that_takes_other_tensors_is_named(tmp_path):
    with pytest.raises(ExportError, match=r"graph step refuses frame float32\[1, 6\], cache_in"):
        export_module(nn.GRUCell(8, 16), DENOISER, out=tmp_path / "b")
