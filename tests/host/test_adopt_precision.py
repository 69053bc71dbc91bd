"""Adopted models at lower precisions, compared with the files that they came from."""

import numpy as np
import pytest
from graphs import F, lstm, save

from edgernn.bundle import Bundle
from edgernn.engines import ENGINES
from edgernn.errors import ConfigError, ExportError, ParityError
from edgernn.exporters.adoption import AdoptSpec, adopt
from edgernn.runtime import Model
from edgernn.runtime.golden import verify

BITS = {"fp16": 16, "int8": 8, "int4": 4}


@pytest.mark.parametrize("precision", BITS)
@pytest.mark.parametrize("about", [{}, {"opset": 13}, {"inside": True}])
def test_weights_are_stored_in_fewer_bits_and_the_stream_follows_the_file(tmp_path, precision, about):
    path = lstm(tmp_path / "lstm.onnx", **about)
    adoption = adopt([path], AdoptSpec(), tmp_path / "b", precision=precision)
    plain = adopt([path], AdoptSpec(), tmp_path / "plain")
    assert adoption.states == plain.states == {"h": "h_out", "c": "c_out"}
    bundle, single = Bundle.load(tmp_path / "b"), Bundle.load(tmp_path / "plain")
    assert (bundle.manifest.precision, single.manifest.precision) == (precision, "fp32")
    assert bundle.manifest.digest == single.manifest.digest
    assert len(bundle.graph("step")) < 1.2 * BITS[precision] / 32 * len(single.graph("step")) + 8000
    assert [weight["bits"] for weight in bundle.manifest.weights["step"]].count(BITS[precision]) >= 1
    assert bundle.manifest.parity["steps"] == 1024
    assert verify(bundle, ENGINES["onnx"]).max_share <= 1
    ours, theirs = (Model.load(tmp_path / name).stream() for name in ("b", "plain"))
    random = np.random.default_rng(1)
    for _ in range(30):
        x = {"x": random.standard_normal((1, 64)).astype(np.float32)}
        expected = theirs.step(x)["y"]
        assert np.sqrt(np.mean((ours.step(x)["y"] - expected) ** 2)) < 0.3 * np.sqrt(np.mean(expected**2))


def test_what_changes_too_much_is_refused_with_what_the_inputs_were(tmp_path):
    path = lstm(tmp_path / "wild.onnx", scale=3.0)
    with pytest.raises(ParityError, match=r"differ.*; the inputs were random: give real ones with --example"):
        adopt([path], AdoptSpec(), tmp_path / "b", precision="int4")
    assert not (tmp_path / "b").exists()


def test_a_file_without_matrices_has_no_lower_precision(tmp_path):
    path = save(
        tmp_path / "sum.onnx",
        {"x": (F, [1, 4]), "h": (F, [1, 4])},
        {"y": (F, [1, 4]), "h_out": (F, [1, 4])},
        [("Add", ["x", "h"], ["y"]), ("Tanh", ["y"], ["h_out"])],
    )
    words = "no weight matrix of graph step can be stored at int8: it has no floating-point matrix of two axes or more"
    with pytest.raises(ExportError, match=words):
        adopt([path], AdoptSpec(), tmp_path / "b", precision="int8")


def test_a_model_that_grows_says_so(tmp_path, call):
    random = np.random.default_rng(0)
    path = save(
        tmp_path / "small.onnx",
        {"x": (F, [1, 4]), "h": (F, [1, 4])},
        {"y": (F, [1, 4]), "h_out": (F, [1, 4])},
        [("Add", ["x", "h"], ["s"]), ("MatMul", ["s", "w"], ["y"]), ("Tanh", ["y"], ["h_out"])],
        {"w": random.standard_normal((4, 4)).astype(np.float32)},
    )
    status, _, err = call("adopt", path, "--out", tmp_path / "b", "--precision", "int8")
    assert status == 0
    assert "note: 1 of 1 matrices are stored in 8 bits" in err
    assert "int8 takes" in err
    assert "and fp32" in err


def test_a_precision_that_does_not_exist_is_refused(tmp_path, call):
    status, _, err = call("adopt", lstm(tmp_path / "l.onnx"), "--out", tmp_path / "b", "--precision", "int3")
    assert status == 2
    assert "the precision int3 (--precision) is not one that onnx has: fp32, fp16, int8, int4" in err
    with pytest.raises(ConfigError, match="the precision int3"):
        adopt([tmp_path / "l.onnx"], AdoptSpec(), tmp_path / "b", precision="int3")
