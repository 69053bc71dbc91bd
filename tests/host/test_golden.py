"""Golden vectors: a bundle proves itself later, without its source."""

import numpy as np
import pytest
import torch
from conversions import convert_once
from targets import TARGETS

from edgernn.arrays import from_npy, to_npy
from edgernn.bundle import Bundle, Manifest, new_bundle
from edgernn.engines import ENGINES
from edgernn.errors import BundleError, ParityError
from edgernn.exporters import export
from edgernn.models import HeldOut, Source
from edgernn.runtime.golden import verify
from edgernn.tasks.language.network import LanguageConfig, LanguageModel


@pytest.fixture(scope="module", autouse=True)
def _converted_once():
    with convert_once():
        yield


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    model = LanguageModel(LanguageConfig(17, embedding=6, hidden=24, layers=1)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return model


@pytest.fixture(scope="module")
def bundles(network, tmp_path_factory):
    ids = np.random.default_rng(0).integers(0, 17, (2, 257))
    source = Source(network, held_out=HeldOut({"token": ids[:, :-1]}, {"logits": ids[:, 1:]}))
    folder = tmp_path_factory.mktemp("golden")
    pairs = [(target, precision) for target in TARGETS for precision in TARGETS[target].precisions]
    paths = {pair: folder / "-".join(pair) for pair in pairs}
    for (target, precision), path in paths.items():
        export(source, path, target=target, precision=precision, steps=256)
    return paths


def changed(path, out, files, **manifest):
    """The bundle with other files, None for none, and right digests."""
    bundle = Bundle.load(path)
    values = {name: getattr(bundle.manifest, name) for name in Manifest.__dataclass_fields__}
    with new_bundle(out) as writer:
        for name, data in {**bundle.files, **files}.items():
            if data is not None:
                (writer.directory / name).parent.mkdir(parents=True, exist_ok=True)
                (writer.directory / name).write_bytes(data)
        writer.finish(Manifest(**{**values, **manifest}))
    return Bundle.load(out)


def test_every_bundle_proves_itself(bundles):
    for (target, precision), path in bundles.items():
        parity = verify(Bundle.load(path), ENGINES[target])
        assert parity.steps == 256
        assert parity.max_abs_diff_outputs <= parity.tolerance.absolute
        assert (parity.max_abs_diff_outputs < 1e-4) == (precision == "fp32")
        golden = list((path / "golden").rglob("*.npy"))
        assert sum(file.stat().st_size for file in golden) <= 64 << 10


def test_the_recorded_steps_are_the_sources(bundles, network):
    bundle = Bundle.load(bundles["onnx", "int8"])
    arrays = {name: from_npy(data, name) for name, data in bundle.files.items() if name.startswith("golden/step/")}
    tokens, chosen = arrays["golden/step/inputs.token.npy"], bundle.manifest.golden["step"]["chosen"]
    assert chosen == [1, 2, 4, 8, 16, 32, 64, 128, 256]
    with torch.no_grad():
        logits, (h, _) = network.sequence(torch.from_numpy(tokens), network.initial_state(1))
    picked = arrays["golden/step/outputs.logits.npy"]
    np.testing.assert_allclose(picked, logits.numpy()[np.array(chosen) - 1], atol=1e-5)
    np.testing.assert_allclose(arrays["golden/step/states.h.npy"], h, atol=1e-5)


def test_an_exchanged_graph_is_found(bundles, tmp_path):
    other = Bundle.load(bundles["onnx", "int4"]).files["step.onnx"]
    with pytest.raises(ParityError, match="graph step, logits at step"):
        verify(changed(bundles["onnx", "fp32"], tmp_path / "b", {"step.onnx": other}), ENGINES["onnx"])


@pytest.mark.parametrize(
    ("files", "golden", "words"),
    [
        ({}, {}, "has no golden vectors"),
        ({}, {"step": {"steps": 256}}, "lacks 'chosen'"),
        ({}, {"step": {"steps": 256, "chosen": [256], "tolerance": 1}}, "a tolerance is not an object"),
        ({}, {"step": {"steps": 256, "chosen": [0, 256]}}, "impossible steps"),
        ({}, {"step": {"steps": 256, "chosen": [256, 1]}}, "impossible steps"),
        ({}, {"step": {"steps": 9, "chosen": [9]}}, "do not hold 1 of 9 steps"),
        ({}, {"step": None}, "is not an object"),
        ({"inputs.token": None}, None, "inputs.token.npy is missing"),
        ({"inputs.token": b"\x93NUMPY"}, None, "is not a .npy file"),
        ({"inputs.token": to_npy(np.full((256, 1), 10**6))}, None, "token holds 1000000, outside"),
        ({"inputs.token": to_npy(np.zeros((256, 2), np.int64))}, None, "token has shape|h has shape"),
        ({"states.h": to_npy(np.zeros(3, np.float32))}, None, "the artifact's shape is"),
        ({"outputs.logits": to_npy(np.zeros((9, 1, 99), np.float32))}, None, "the artifact's shape is"),
    ],
)
def test_damaged_vectors_are_named(bundles, tmp_path, files, golden, words):
    files = {f"golden/step/{name}.npy": data for name, data in files.items()}
    more = {} if golden is None else {"golden": golden}
    bundle = changed(bundles["onnx", "fp32"], tmp_path / "b", files, **more)
    with pytest.raises((BundleError, ParityError), match=words):
        verify(bundle, ENGINES["onnx"])


@pytest.mark.parametrize("shape", [(10**12,), (-1,), (2**62, 2**62)])
def test_a_file_that_promises_more_than_it_has_is_no_array(shape):
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}".ljust(117) + "\n"
    data = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + b"1234"
    with pytest.raises(Exception, match=r"x\.npy (has 4 bytes|holds no plain|is not)") as caught:
        from_npy(data, "x.npy")
    assert type(caught.value).__name__ == "FormatError"


def test_vectors_of_a_large_vocabulary_are_small_and_still_prove(tmp_path):
    torch.manual_seed(0)
    model = LanguageModel(LanguageConfig(20_000, embedding=4, hidden=8, layers=1)).eval()
    path = export(Source(model), tmp_path / "b", steps=8).path
    bundle = Bundle.load(path)
    assert sum(len(data) for name, data in bundle.files.items() if name.startswith("golden/")) < 64 << 10
    assert from_npy(bundle.files["golden/step/outputs.logits.npy"], "logits").shape[1] == 4096
    assert verify(bundle, ENGINES["onnx"]).max_abs_diff_outputs < 1e-4
    with torch.no_grad():
        model.output.bias[7] += 1
    graph = export(Source(model), tmp_path / "c", steps=8).path / "step.onnx"
    with pytest.raises(ParityError, match="logits at step"):
        verify(changed(path, tmp_path / "d", {"step.onnx": graph.read_bytes()}), ENGINES["onnx"])


@pytest.mark.parametrize("array", [np.array(3), np.array(True), np.float32(2.5), np.zeros((2, 3)).T, np.arange(6)[::2]])
def test_arrays_of_every_form_survive_a_file(array):
    read = from_npy(to_npy(array), "a")
    assert (read.dtype, read.shape) == (array.dtype, array.shape)
    np.testing.assert_array_equal(read, array)
