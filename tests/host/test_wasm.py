"""Bundles for WebAssembly: their modules compute the bits of the code in C, which also runs them in Python."""

import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from compilers import NEEDS_COMPILER
from conversions import convert_once

from edgernn.bundle import Bundle
from edgernn.errors import EngineError, ExportError, ParityError
from edgernn.exporters import export
from edgernn.exporters.c import webassembly
from edgernn.exporters.targets import wasm
from edgernn.runtime import Model, Sampler
from edgernn.runtime.compiled import CompiledEngine, about
from edgernn.runtime.wasm import WasmEngine, about_module
from edgernn.training import Run

MISSING = [tool for tool in ("clang", "wasm-ld", "node") if not shutil.which(tool)]
pytestmark = [
    NEEDS_COMPILER,
    pytest.mark.skipif(bool(MISSING) and "CI" not in os.environ, reason=f"not installed: {', '.join(MISSING)}"),
]
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def source(trained):
    with convert_once():
        yield Run.load(trained).source()


@pytest.fixture(scope="module")
def bundles(source, tmp_path_factory):
    """Bundles of one run at int8, in C and for WebAssembly."""
    folder = tmp_path_factory.mktemp("bundles")
    made = {
        target: export(source, folder / target, target=target, precision="int8", steps=32) for target in ("c", "wasm")
    }
    assert not any("Node" in line for line in made["wasm"].report)
    return folder


@pytest.fixture
def bundle(bundles):
    return Bundle.load(bundles / "wasm")


def test_a_bundle_has_two_modules_the_weights_once_and_the_code(bundle):
    names = {name for name in bundle.files if "/" not in name}
    modules = {"model.wasm", "model.base.wasm"}
    assert names == {*modules, "model.bin", "model.c", "model.h", "tokenizer.json"}
    assert dict(bundle.manifest.graphs) == {"step": "model.wasm"}
    weights = len(bundle.files["model.bin"])
    assert all(len(bundle.files[name]) < weights for name in modules)
    assert bundle.files["model.wasm"] != bundle.files["model.base.wasm"]
    assert [about_module(bundle.files[name]) for name in modules] == [about(bundle.files["model.c"])] * 2


def test_python_runs_it_as_the_code_in_c(bundles):
    def said(target, engine):
        stream = Model.load(bundles / target, engine).stream(Sampler(0.9, 20, seed=3))
        text = stream.complete("the ", 200)
        return text, stream.logits.tobytes(), stream.state["h"].tobytes()

    assert said("wasm", WasmEngine) == said("c", CompiledEngine)


def test_the_commands_know_it(bundles, call):
    path = bundles / "wasm"
    status, _, error = call("run", path, "the ")
    assert (status, "has source code in C" in error) == (2, True)
    status, output, _ = call("run", path, "the ", "--max-tokens", 3, "--engine", "c", "--json")
    assert (status, json.loads(output)["tokens"]) == (0, 3)
    assert call("verify", path, "--engine", "c")[0] == 0
    status, output, _ = call("inspect", path, "--json")
    assert (status, json.loads(output)["bytes"]) == (0, len((path / "model.bin").read_bytes()))


def recorded(bundle):
    """The arguments of `replay` for a bundle."""
    manifest = bundle.manifest
    specs = manifest.contract.graphs
    engines = {spec.name: WasmEngine(bundle.graph(spec.name), spec, files=bundle.files) for spec in specs}
    return about(bundle.files["model.c"]), specs, engines, manifest.golden


def test_both_modules_compute_the_bits_of_the_code(bundle):
    webassembly.replay(["model.wasm", "model.base.wasm"], *recorded(bundle), bundle.files)


def test_a_module_with_another_rounding_is_refused(bundle):
    record, *rest = recorded(bundle)
    source = bundle.files["model.c"]
    other = re.sub(rb"6\.5e-?\d*f|0\.5f", b"0.50001f", source)
    assert other != source
    files = {**bundle.files, "model.wasm": webassembly.compile_module(other, record, webassembly.SIMD)}
    with pytest.raises(ParityError, match=r"graph step: model\.wasm computes other bits than the code in C"):
        webassembly.replay(["model.wasm"], record, *rest, files)


def test_a_module_that_node_cannot_run_is_refused(bundle):
    files = {**bundle.files, "model.wasm": bundle.files["model.wasm"][:-9]}
    with pytest.raises(ExportError, match=r"Node cannot run the module of WebAssembly: .*Error"):
        webassembly.replay(["model.wasm"], *recorded(bundle), files)


def test_without_clang_nothing_is_written(trained, tmp_path, monkeypatch, call):
    monkeypatch.setattr(webassembly, "_TOOLS", ("no-such-clang", "wasm-ld"))
    status, output, error = call("export", trained, "--to", "wasm", "--out", tmp_path / "b")
    assert (status, output, [*tmp_path.iterdir()]) == (2, "", [])
    assert re.fullmatch(r"edgernn: .*no-such-clang is not installed: install clang and lld .*\n", error)


def test_without_node_the_export_says_what_was_not_run(source, tmp_path, monkeypatch):
    monkeypatch.setattr(wasm, "NODE", "no-such-node")
    exported = export(source, tmp_path / "b", target="wasm", steps=8)
    assert exported.report == (
        "Node is not installed: the code was proven as it runs in C, and its modules of WebAssembly were not run",
    )


def test_code_that_clang_refuses_is_named(bundle):
    record = about(bundle.files["model.c"])
    with pytest.raises(ExportError, match=r"clang cannot compile the code to WebAssembly: .*error"):
        webassembly.compile_module(b"int broken(", record, webassembly.BASE)


def test_a_bundle_without_its_code_is_refused(bundle):
    files = {name: data for name, data in bundle.files.items() if name != "model.c"}
    with pytest.raises(EngineError, match=r"has no model\.c, from which its modules were compiled"):
        WasmEngine(bundle.graph("step"), bundle.manifest.contract["step"], files=files)


@pytest.mark.parametrize("damage", ["cut", "random", "empty", "no section"])
def test_what_is_no_module_of_edgernn_is_refused(bundle, damage):
    module = bundle.files["model.wasm"]
    random = np.random.default_rng(0)
    damaged = {
        "cut": [module[:size] for size in random.integers(0, len(module), 50)],
        "random": [b"\0asm\1\0\0\0" + random.bytes(40) for _ in range(50)],
        "empty": [b""],
        "no section": [module[: module.index(b"\x07edgernn") - 2]],
    }[damage]
    for data in damaged:
        with pytest.raises(EngineError, match="this is not a module of WebAssembly of edgernn, or a damaged one"):
            about_module(data)


@pytest.mark.parametrize(
    ("number", "written"), [(0, b"\0"), (127, b"\x7f"), (128, b"\x80\1"), (624485, b"\xe5\x8e\x26")]
)
def test_lengths_are_in_leb128(number, written):
    assert webassembly._length(number) == written


def test_the_lock_file_of_the_web_package_names_no_host():
    text = (ROOT / "runtime_demo" / "web" / "package-lock.json").read_text(encoding="utf-8")
    assert "integrity" in text
    assert "://" not in text
    assert "resolved" not in text
