"""Golden vectors on the device: a source that is nothing but numpy, and an artifact checked against its record."""

import numpy as np
import pytest
from tiny import TinyLanguage, manifest

from edgernn.arrays import from_npy, to_npy
from edgernn.bundle import Bundle, new_bundle
from edgernn.errors import FormatError, ParityError
from edgernn.runtime import OnnxEngine
from edgernn.runtime.golden import record, verify
from edgernn.runtime.parity import random_inputs


class Oracle:
    """The numpy network as an engine."""

    def __init__(self, network):
        self.network = network

    def run(self, feeds):
        logits, h, c = self.network.step(feeds["token"], feeds["h_in"][0], feeds["c_in"][0])
        return [array.astype(np.float32) for array in (logits, h[None], c[None])]


def write(path, network, recorded):
    spec = network.contract["step"]
    about, arrays = record(Oracle(recorded), spec, {})
    with new_bundle(path) as writer:
        for name, data in {"step.onnx": network.onnx(), **{n: to_npy(a) for n, a in arrays.items()}}.items():
            (writer.directory / name).parent.mkdir(parents=True, exist_ok=True)
            (writer.directory / name).write_bytes(data)
        writer.finish(manifest(network.contract, {"step": "step.onnx"}, golden={"step": about}))
    return Bundle.load(path)


def test_an_artifact_is_checked_against_what_its_source_did(tmp_path):
    network = TinyLanguage.random()
    parity = verify(write(tmp_path / "right", network, network), OnnxEngine)
    assert parity.steps == 256
    assert 0 < parity.max_abs_diff_outputs < 1e-4
    with pytest.raises(ParityError, match="graph step, logits at step 1 with 1 stream: the artifact differs"):
        verify(write(tmp_path / "wrong", network, TinyLanguage.random(1)), OnnxEngine)


def test_recorded_steps_follow_each_other(tmp_path):
    network = TinyLanguage.random()
    about, arrays = record(Oracle(network), network.contract["step"], {})
    h = c = np.zeros((1, network.hidden), np.float32)
    for number, token in enumerate(arrays["golden/step/inputs.token.npy"], start=1):
        logits, h, c = network.step(token, h, c)
        if number in about["chosen"]:
            recorded = arrays["golden/step/outputs.logits.npy"][about["chosen"].index(number)]
            np.testing.assert_allclose(recorded, logits, atol=1e-4)
    np.testing.assert_allclose(arrays["golden/step/states.h.npy"][0], h, atol=1e-4)
    assert sum(array.nbytes for array in arrays.values()) < 64 << 10
    tokens = random_inputs(network.contract["step"], 1, np.random.default_rng(0))
    assert [next(tokens)["token"].item() for _ in range(3)] == arrays["golden/step/inputs.token.npy"][:3, 0].tolist()


def test_arrays_come_back_as_they_went():
    for array in (np.arange(6, dtype=np.int64).reshape(2, 3), np.float32(2.5), np.zeros((0, 4), np.uint8)):
        back = from_npy(to_npy(np.asarray(array)), "x.npy")
        np.testing.assert_array_equal(back, array)
        assert (back.dtype, back.flags.writeable) == (np.asarray(array).dtype, True)


@pytest.mark.parametrize("cut", [0, 5, 9, 60, 129, -1])
def test_a_cut_file_is_no_array(cut):
    data = to_npy(np.arange(4.0))
    with pytest.raises(FormatError, match=r"x\.npy"):
        from_npy(data[:cut], "x.npy")


@pytest.mark.parametrize("header", [b"{'descr': (", b"{'descr': '''", b"{"])
def test_a_damaged_header_is_named(header):
    """numpy reads it with Python's tokenizer, whose own errors are no ValueError."""
    padded = header.ljust(117) + b"\n"
    with pytest.raises(FormatError, match=r"x is not a \.npy file"):
        from_npy(b"\x93NUMPY\x01\x00" + len(padded).to_bytes(2, "little") + padded, "x")
