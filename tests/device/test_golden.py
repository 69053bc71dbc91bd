"""Golden vectors on the device: a source that is nothing but numpy, and an artifact checked against its record."""

from dataclasses import asdict, replace

import numpy as np
import pytest
from tiny import TinyLanguage, manifest

from edgernn.arrays import from_npy, to_npy
from edgernn.bundle import Bundle, new_bundle
from edgernn.errors import ConfigError, FormatError, ParityError
from edgernn.runtime import OnnxEngine
from edgernn.runtime.golden import replay, verify
from edgernn.runtime.parity import TOLERANCES


def vectors(network, steps=20):
    """What the manifest says, and the files, of the first steps of a network that is nothing but numpy."""
    chosen = [1, 2, steps]
    tokens = np.random.default_rng(0).integers(0, len(network.tokenizer), (steps, 1))
    h = c = np.zeros((1, network.hidden), np.float32)
    outputs = []
    for number, token in enumerate(tokens, start=1):
        logits, h, c = (array.astype(np.float32) for array in network.step(token, h, c))
        outputs += [logits] if number in chosen else []
    arrays = {"inputs.token": tokens, "outputs.logits": np.stack(outputs), "states.h": h[None], "states.c": c[None]}
    files = {f"golden/step/{name}.npy": to_npy(array) for name, array in arrays.items()}
    return {"steps": steps, "chosen": chosen}, files


def write(path, network, recorded):
    about, files = vectors(recorded)
    with new_bundle(path) as writer:
        for name, data in {"step.onnx": network.onnx(), **files}.items():
            (writer.directory / name).parent.mkdir(parents=True, exist_ok=True)
            (writer.directory / name).write_bytes(data)
        writer.finish(manifest(network.contract, {"step": "step.onnx"}, golden={"step": about}))
    return Bundle.load(path)


def test_an_artifact_is_checked_against_what_its_source_did(tmp_path):
    network = TinyLanguage.random()
    parity = verify(write(tmp_path / "right", network, network), OnnxEngine)
    assert parity.steps == 20
    assert 0 < parity.max_abs_diff_outputs < 1e-4
    with pytest.raises(ParityError, match="graph step, logits at step 1 with 1 stream: the artifact gives"):
        verify(write(tmp_path / "wrong", network, TinyLanguage.random(1)), OnnxEngine)


class Near:
    """An engine of whose logits one is a little off at the first step."""

    def __init__(self, engine, off):
        self.engine, self.off = engine, np.float32(off)

    def run(self, feeds):
        logits, *states = self.engine.run(feeds)
        logits[0, 0] += self.off
        self.off = np.float32(0)
        return [logits, *states]


@pytest.mark.parametrize(("recorded", "limit"), [({}, 1e-4), ({"absolute": 5e-4}, 5e-4), ({"absolute": 1e-5}, 1e-5)])
def test_the_recorded_tolerance_holds(recorded, limit):
    network = TinyLanguage.random()
    record, files = vectors(network)
    record = {"steps": record["steps"], "chosen": record["chosen"]}
    if recorded:
        record["tolerance"] = asdict(replace(TOLERANCES["fp32"], relative=0.0, **recorded))
    spec = network.contract["step"]
    engine = OnnxEngine(network.onnx(), spec)
    parity = replay(Near(engine, 0.9 * limit), spec, record, files, "fp32")
    assert parity.tolerance.absolute == limit
    with pytest.raises(
        ParityError, match=r"logits at step 1 with 1 stream: the artifact gives \S+ where its source gives"
    ):
        replay(Near(engine, 1.3 * limit), spec, record, files, "fp32")


@pytest.mark.parametrize(
    ("tolerance", "words"),
    [
        (1, "a tolerance is not an object"),
        ({"absolute": 1}, "a tolerance lacks 'loss'"),
        ({**asdict(TOLERANCES["fp32"]), "absolute": "1"}, "the tolerance absolute is 1: it is a number of at least 0"),
        ({**asdict(TOLERANCES["fp32"]), "rms": float("inf")}, "the tolerance rms is inf"),
        ({**asdict(TOLERANCES["fp32"]), "mismatches": -0.1}, "the tolerance mismatches is -0.1"),
    ],
)
def test_a_tolerance_that_is_none_is_named(tolerance, words):
    record, files = vectors(network := TinyLanguage.random())
    spec = network.contract["step"]
    with pytest.raises((FormatError, ConfigError), match=words):
        replay(OnnxEngine(network.onnx(), spec), spec, {**record, "tolerance": tolerance}, files, "fp32")


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
