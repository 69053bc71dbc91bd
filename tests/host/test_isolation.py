"""Exports of one process do not influence each other, whatever their order."""

import random

import pytest
import torch
from torch import nn

from edgernn.contract import BATCH, GraphSpec, StateSpec, TensorSpec
from edgernn.exporters import export_module


class Keyword(nn.Module):
    """Frames of any number through one of torch's recurrent layers."""

    def __init__(self, kind) -> None:
        super().__init__()
        self.layer, self.out = kind(8, 16, batch_first=True), nn.Linear(16, 4)

    def forward(self, frames, h, *c):
        state = (h, *c) if c else h
        y, state = self.layer(frames, state)
        return torch.sigmoid(self.out(y[:, -1])), *(state if c else (state,))


def keyword(kind):
    torch.manual_seed(0)
    states = [StateSpec(name, "float32", (1, BATCH, 16)) for name in ("hc" if kind is nn.LSTM else "h")]
    frames, score = TensorSpec("frames", "float32", (BATCH, "time", 8)), TensorSpec("score", "float32", (BATCH, 4))
    return Keyword(kind).eval(), GraphSpec("step", (frames,), (score,), states)


NETWORKS = {kind.__name__: keyword(kind) for kind in (nn.GRU, nn.LSTM)}


def artifact(folder, name, target, precision="fp32"):
    module, spec = NETWORKS[name]
    path = export_module(
        module, spec, out=folder / "b", target=target, precision=precision, steps=4, overwrite=True
    ).path
    return next(path.glob("step.*")).read_bytes()


@pytest.mark.slow
def test_the_order_of_exports_changes_nothing(tmp_path):
    """Each is exported twice, with others between, to the very same bytes."""
    kinds = [(name, target) for name in NETWORKS for target in ("onnx", "torchscript")]
    kinds += [("GRU", "ort")]
    order = kinds * 2
    random.Random(1).shuffle(order)
    files = {}
    for kind in order:
        data = artifact(tmp_path, *kind)
        if kind[1] == "onnx":  # torch numbers the classes in its archives, onnxruntime orders its files as it likes
            assert files.setdefault(kind, data) == data, kind


def test_a_layer_over_frames_of_any_number_is_exported_twice(tmp_path):
    assert artifact(tmp_path, "GRU", "onnx") == artifact(tmp_path, "GRU", "onnx")


def test_a_module_with_branches_is_exported_and_still_runs(tmp_path):
    class Branching(nn.Module):
        def forward(self, x, h):
            return torch.cond(h.sum() > 0, lambda a: 2 * a, lambda a: a - 1, (x,)), h + x

    spec = GraphSpec(
        "step",
        (TensorSpec("x", "float32", (5,)),),
        (TensorSpec("y", "float32", (5,)),),
        (StateSpec("h", "float32", (5,)),),
    )
    module, ones = Branching(), torch.ones(5)
    exported = export_module(module, spec, out=tmp_path / "b", steps=20)
    assert exported.parity.max_abs_diff_outputs == 0
    with torch.no_grad():
        assert module(ones, ones)[0].tolist() == [2.0] * 5
        assert module(ones, -ones)[0].tolist() == [0.0] * 5
