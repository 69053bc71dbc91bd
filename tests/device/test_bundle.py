import json
import os
import shutil
from random import Random

import numpy as np
import pytest
from hostile import damage
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import TinyLanguage, manifest

from edgernn.bundle import MANIFEST, Bundle, new_bundle
from edgernn.contract import contract_from_json, contract_to_json
from edgernn.errors import BundleError, EdgeRNNError, FormatError, OutputExistsError
from edgernn.runtime import Model


@pytest.fixture
def copy(bundle, tmp_path):
    return shutil.copytree(bundle, tmp_path / "copy")


def edit(path, change):
    values = json.loads((path / MANIFEST).read_text())
    change(values)
    (path / MANIFEST).write_text(json.dumps(values))


def test_a_bundle_comes_back_as_it_was_written(bundle, tiny):
    loaded = Bundle.load(bundle)
    assert loaded.manifest == manifest(tiny.contract, {"step": "step.onnx"})
    assert loaded.graph("step") == tiny.onnx()
    assert loaded.tokenizer().to_json() == tiny.tokenizer.to_json()


def test_a_changed_byte_is_found(copy):
    data = bytearray((copy / "step.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (copy / "step.onnx").write_bytes(data)
    with pytest.raises(BundleError, match=r"step.onnx was changed"):
        Bundle.load(copy)


def test_a_cut_file_is_found(copy):
    os.truncate(copy / "tokenizer.json", 10)
    with pytest.raises(BundleError, match=r"tokenizer.json has 10 bytes"):
        Bundle.load(copy)


def test_a_missing_file_is_named(copy):
    (copy / "step.onnx").unlink()
    with pytest.raises(BundleError, match=r"the file step.onnx is missing"):
        Bundle.load(copy)


@pytest.mark.parametrize(
    "name", ["../secret", "/etc/hostname", "a/../../secret", "..\\secret", "c:secret", "", "a\0b", "\ud800", "a" * 300]
)
def test_a_path_that_leaves_the_bundle_is_refused(copy, name):
    (copy.parent / "secret").write_text("x")
    edit(copy, lambda values: values["files"].update({name: values["files"]["step.onnx"]}))
    with pytest.raises(BundleError, match="not a path inside the bundle"):
        Bundle.load(copy)


def test_a_link_that_leaves_the_bundle_is_refused(copy):
    shutil.move(copy / "step.onnx", copy.parent / "elsewhere")
    (copy / "step.onnx").symlink_to(copy.parent / "elsewhere")
    with pytest.raises(BundleError, match="leads out of the bundle"):
        Bundle.load(copy)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda v: v.update(format=99), "format 99; this edgernn reads format 1"),
        (lambda v: v.pop("contract"), "lacks 'contract'"),
        (lambda v: v.update(surprise=1), "unknown 'surprise'"),
        (lambda v: v.update(digest="short"), "digest 'short'"),
        (lambda v: v.update(graphs={"other": "step.onnx"}), "not those of the contract"),
        (lambda v: v["files"].pop("step.onnx"), "does not list step.onnx"),
        (lambda v: v.update(format=True), "format True"),
        (lambda v: v["contract"]["graphs"][0]["inputs"][0].update(bound=True), "cannot have the bound True"),
        (lambda v: v["contract"]["graphs"][0]["states"][0].update(input=""), "'' is no name for the input"),
        (lambda v: v["contract"]["graphs"][0]["states"][0].update(axes=[10**30]), "neither a name nor a size"),
        (lambda v: v["contract"]["graphs"][0]["states"][0].update(axes=[2**30, 2**30]), "elements a stream"),
        (lambda v: v["files"]["step.onnx"].update(bytes=-1), "-1 is not a whole number"),
        (lambda v: v["contract"]["graphs"][0].update(states=[{"name": "h"}]), "lacks 'axes'"),
        (lambda v: v["contract"]["graphs"][0]["states"][0].update(axes=[1, {}]), "neither a name nor a size"),
    ],
)
def test_a_malformed_manifest_is_named(copy, change, words):
    edit(copy, change)
    with pytest.raises(BundleError, match=words):
        Bundle.load(copy)


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b"[" * 100_000, b"3"])
def test_a_manifest_that_is_not_json_is_named(copy, data):
    (copy / MANIFEST).write_bytes(data)
    with pytest.raises(BundleError, match=r"bundle.json is not"):
        Bundle.load(copy)


def test_a_directory_without_a_manifest_is_no_bundle(tmp_path):
    with pytest.raises(BundleError, match=r"is an empty directory, and not a bundle"):
        Bundle.load(tmp_path)
    with pytest.raises(BundleError, match=r"there is no .*nowhere"):
        Bundle.load(tmp_path / "nowhere")


def test_a_graph_that_is_not_the_contracts_is_named(tiny, tmp_path):
    contract = contract_to_json(TinyLanguage.random(hidden=8).contract)
    contract["graphs"][0]["states"].pop()
    with new_bundle(tmp_path / "b") as writer:
        (writer.directory / "step.onnx").write_bytes(tiny.onnx())
        writer.finish(manifest(contract_from_json(contract), {"step": "step.onnx"}))
    with pytest.raises(EdgeRNNError, match="has the inputs token, h_in, c_in; its contract says token, h_in"):
        Model.load(tmp_path / "b")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda g: g["states"][0].update(axes=[1, "batch", 9]), r"h_in is \[1, 'batch', 8\]; its contract says"),
        (lambda g: g["states"][0].update(axes=["batch", 8]), "h_in is"),
        (lambda g: g["inputs"][0].update(dtype="int32"), r"token is tensor\(int64\)"),
        (
            lambda g: g["inputs"][0].update(bound=99),
            "does not read the 11 tokens of the tokenizer: its input token",
        ),
        (lambda g: g["outputs"][0].update(axes=["batch", 12]), "does not predict the 11 tokens of the tokenizer"),
        (lambda g: g["outputs"][0].update(axes=[11]), r"logits is \['batch', 11\]; its contract says \[11\]"),
    ],
)
def test_a_contract_that_is_not_the_graphs_is_named(tiny, tmp_path, change, words):
    contract = contract_to_json(tiny.contract)
    change(contract["graphs"][0])
    path = tiny.write(tmp_path / "b", contract=contract_from_json(contract))
    with pytest.raises(EdgeRNNError, match=words):
        Model.load(path)


def test_links_that_lead_to_each_other_are_refused(copy):
    (copy / "step.onnx").unlink()
    (copy / "step.onnx").symlink_to(copy / "other")
    (copy / "other").symlink_to(copy / "step.onnx")
    with pytest.raises(BundleError, match=r"leads out of the bundle|is missing"):
        Bundle.load(copy)


def test_a_directory_in_place_of_a_file_is_named(copy):
    (copy / "step.onnx").unlink()
    (copy / "step.onnx").mkdir()
    with pytest.raises(BundleError, match=r"step.onnx is missing"):
        Bundle.load(copy)


def test_overwriting_spares_what_is_not_a_bundles(copy, tiny):
    (copy / "notes.txt").write_text("dear diary")
    with (
        pytest.raises(OutputExistsError, match="holds files that edgernn did not write"),
        new_bundle(copy, overwrite=True),
    ):
        pass
    assert (copy / "notes.txt").exists()


def test_another_engines_bundle_is_refused(tiny, tmp_path):
    path = tiny.write(tmp_path / "b", target="torchscript")
    with pytest.raises(BundleError, match="the bundle is for torchscript and OnnxEngine runs onnx"):
        Model.load(path)


def test_an_existing_bundle_is_kept(bundle, tiny):
    with pytest.raises(OutputExistsError, match="exists"):
        tiny.write(bundle)


def test_an_unfinished_bundle_does_not_appear(tmp_path):
    with pytest.raises(BundleError, match="not finished"), new_bundle(tmp_path / "b"):
        pass
    assert not (tmp_path / "b").exists()


@given(st.data())
def test_whatever_is_damaged_is_an_error_of_ours(bundle, tmp_path_factory, data):
    path = shutil.copytree(bundle, tmp_path_factory.mktemp("fuzz") / "b")
    victim = path / data.draw(st.sampled_from([MANIFEST, "step.onnx", "tokenizer.json"]))
    content = bytearray(victim.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        del content[at:]
    else:
        content[at] ^= data.draw(st.integers(1, 255))
    victim.write_bytes(content)
    try:
        Model.load(path)
    except EdgeRNNError:
        return
    assert victim.name == MANIFEST  # a changed note in the provenance, say


@settings(max_examples=400)
@given(st.integers(0, 2**32), st.booleans())
def test_whatever_a_bundle_says_is_refused_or_works(bundle, conditioned, tmp_path_factory, seed, text):
    """Values of the manifest replaced, removed and moved; files changed, and their digests with them."""
    path = shutil.copytree(bundle if text else conditioned, tmp_path_factory.mktemp("hostile") / "b")
    damage(path, Random(seed), sealed=True)
    inputs = {} if text else {"image": np.ones((1, 3), np.float32), "gain": np.ones((1, 1), np.float32)}
    try:
        stream = Model.load(path).stream(inputs=inputs)
        if text:
            stream.prefill("abc")
            list(stream.decode(3))
        else:
            stream.step({"x": np.ones((1, 2), np.float32)})
    except EdgeRNNError:
        pass
    finally:
        shutil.rmtree(path)


def test_the_digest_must_be_a_digest(tiny):
    with pytest.raises(FormatError, match="not a SHA-256"):
        manifest(tiny.contract, {"step": "step.onnx"}, digest="0")
