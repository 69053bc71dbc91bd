"""Bundles in C: they check themselves, stream as the others do, and say what is wrong with what they are given."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from compilers import COMPILERS, NEEDS_COMPILER, STRICT
from conversions import convert_once
from torch import nn

from edgernn.bundle import Bundle
from edgernn.contract import BATCH, GraphSpec, StateSpec, TensorSpec
from edgernn.data.cache import cache_entries, empty_cache
from edgernn.errors import ConfigError, EngineError, ExportError
from edgernn.execution import Execution
from edgernn.exporters import export, export_module
from edgernn.exporters.targets.c import CodeOptions, c_target
from edgernn.runtime import Model, Sampler
from edgernn.runtime.compiled import CompiledEngine, _level, about
from edgernn.training import Run

pytestmark = NEEDS_COMPILER
C = ("--engine", "c")


@pytest.fixture(scope="module")
def bundles(trained, tmp_path_factory):
    """Bundles of one run: in C with the weights in the source file, with a blob, and in ONNX."""
    folder = tmp_path_factory.mktemp("bundles")
    source = Run.load(trained).source()
    with convert_once():
        for precision in ("fp32", "int8"):
            export(source, folder / f"onnx-{precision}", precision=precision, steps=32)
            export(source, folder / f"c-{precision}", target="c", precision=precision, steps=32)
        blob = c_target(CodeOptions(name="fox", weights="blob"))
        export(source, folder / "blob", target=blob, precision="int8", steps=32)
    return folder


@pytest.fixture
def bundle(bundles):
    return bundles / "c-int8"


def checked(folder: Path, out: Path, compiler: str, name="model", *flags: str):
    """Compile and run the program that checks a bundle."""
    files = [str(folder / f"{name}.c"), str(folder / f"{name}_check.c")]
    made = subprocess.run([compiler, *STRICT, "-O1", *flags, *files, "-o", str(out)], capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    blob = folder / f"{name}.bin"
    return subprocess.run([out, *([blob] if blob.exists() else [])], capture_output=True, text=True)


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize(("folder", "name"), [("c-fp32", "model"), ("c-int8", "model"), ("blob", "fox")])
def test_a_bundle_checks_itself(bundles, tmp_path, compiler, folder, name):
    done = checked(bundles / folder, tmp_path / "check", compiler, name)
    lines = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (0, "")
    assert len({re.fullmatch(r"step, level \d: 32 steps, .* bits ([0-9a-f]{16})", line)[1] for line in lines}) == 1
    assert [int(line.split()[2][0]) for line in lines] == list(range(len(lines)))


def test_one_other_weight_is_noticed(bundle, tmp_path):
    shutil.copytree(bundle, tmp_path / "other")
    path = tmp_path / "other" / "model.c"
    before = path.read_text()
    first = re.compile(r"(/\* output_weight_int8 \*/\n +\{\n +)(-?)")
    after = first.sub(lambda found: found[1] + ("" if found[2] else "-"), before)  # the other sign
    assert after != before
    path.write_text(after)
    done = checked(tmp_path / "other", tmp_path / "check", COMPILERS[0])
    assert done.returncode == 1
    assert "which are not those of the export" in done.stdout


def test_a_check_without_its_blob_fails(bundles, tmp_path):
    shutil.copytree(bundles / "blob", tmp_path / "cut")
    (tmp_path / "cut" / "fox.bin").write_bytes((bundles / "blob" / "fox.bin").read_bytes()[:-8])
    done = checked(tmp_path / "cut", tmp_path / "check", COMPILERS[0], "fox")
    assert (done.returncode, done.stderr) == (1, "this is not the fox.bin that fox.c was written with\n")
    done = subprocess.run([tmp_path / "check"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, "give the path of fox.bin\n")


class Padded(nn.Module):
    """Adds what it is given, of an axis whose size is free."""

    def forward(self, x, total):
        total = total + x.sum(1)
        return x * 2.0, total


PADDED = GraphSpec(
    "step",
    inputs=(TensorSpec("x", "float32", (BATCH, "width")),),
    outputs=(TensorSpec("y", "float32", (BATCH, "width")),),
    states=(StateSpec("total", "float32", (BATCH,)),),
)


def test_free_axes_need_a_size_and_others_have_none(tmp_path, trained, call):
    with pytest.raises(ExportError, match=r"needs the size of width \(of x in the graph step\): give --size width=N"):
        export_module(Padded(), PADDED, out=tmp_path / "p", target="c")
    with pytest.raises(ConfigError, match=r"no axis 'depth' to give a size \(--size\): the free axes are width"):
        export_module(Padded(), PADDED, out=tmp_path / "p", target=c_target(CodeOptions(sizes={"depth": 3})))
    status, _, error = call("export", trained, "--to", "c", "--size", "depth=3", "--out", tmp_path / "p")
    assert (status, "no free axis, so leave it out" in error) == (2, True)
    assert not (tmp_path / "p").exists()


def test_a_fixed_size_is_in_the_contract(tmp_path):
    export_module(Padded(), PADDED, out=tmp_path / "p", target=c_target(CodeOptions(sizes={"width": 5})), steps=8)
    spec = Bundle.load(tmp_path / "p").manifest.contract.graphs[0]
    assert (spec.inputs[0].axes, spec.outputs[0].axes) == ((BATCH, 5), (BATCH, 5))


class Decay(nn.Module):
    """Adds its inputs, and forgets half at each step."""

    def forward(self, *given):
        state = 0.5 * given[-1] + sum(given[:-1])
        return state * 2.0, state


def decay(inputs, output, state, graph="step"):
    """Return the specification of `Decay` with these names."""
    given = tuple(TensorSpec(name, "float32", (BATCH, 3)) for name in inputs)
    made = (TensorSpec(output, "float32", (BATCH, 3)),)
    return GraphSpec(graph, given, made, (StateSpec(state, "float32", (BATCH, 3)),))


@pytest.mark.parametrize(
    ("inputs", "output", "state"),
    [
        (("state", "int", "x.y", "memcpy", "NULL"), "out", "level"),
        (("in", "restrict", "int64_t"), "state", "a.b"),
        (("x",), "double", "state"),
    ],
)
def test_tensors_may_have_names_that_the_code_uses_itself(tmp_path, inputs, output, state):
    export_module(Decay(), decay(inputs, output, state), out=tmp_path / "b", target="c", steps=8)
    for compiler in COMPILERS:
        assert checked(tmp_path / "b", tmp_path / "check", compiler).returncode == 0


@pytest.mark.parametrize("name", ["a.b", "level", "is_blob"])
def test_a_graph_that_cannot_be_a_function_is_refused(tmp_path, name):
    with pytest.raises(ExportError, match=f"the graph name '{name}' cannot be a function in C"):
        export_module(Decay(), decay(("x",), "y", "h", name), out=tmp_path / "b", target="c", steps=8)
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("name", ["model.h", "model_check.c"])
def test_an_asset_does_not_replace_a_generated_file(tmp_path, name):
    sized = c_target(CodeOptions(sizes={"width": 5}))
    with pytest.raises(ExportError, match=f"the asset '{name}' would take the place of another file"):
        export_module(Padded(), PADDED, out=tmp_path / "p", target=sized, assets={name: b"mine"})
    assert not (tmp_path / "p").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--to", "c", "--name", "9lives"], "the name '9lives' (--name) is no identifier of C"),
        (["--to", "c", "--name", "double"], "the name 'double' (--name) is no identifier of C"),
        (["--to", "c", "--weights", "heap"], "weights 'heap' (--weights) is not one of auto, array, blob"),
        (["--to", "c", "--size", "width"], "--size 'width' is not of the form AXIS=N"),
        (["--to", "c", "--size", "width=0"], "the size 0 (--size) of the axis width is below 1"),
        (["--to", "c", "--precision", "fp64"], "fp64 (--precision) is not one that c has: fp32, fp16, int8, int4"),
        (
            ["--name", "fox"],
            "--name and --size are options of the targets c and wasm, and --weights of c alone: leave them out",
        ),
        (
            ["--to", "ort", "--weights", "blob"],
            "--name and --size are options of the targets c and wasm, and --weights of c alone",
        ),
        (["--size", "width=3"], "--name and --size are options of the targets c and wasm, and --weights of c alone"),
    ],
)
def test_options_of_the_code_are_checked(trained, tmp_path, call, options, words):
    status, printed, error = call("export", trained, *options, "--out", tmp_path / "b")
    assert (status, printed) == (2, "")
    assert words in error
    assert not (tmp_path / "b").exists()


def test_code_runs_only_if_the_caller_says_so(bundle, call):
    for command in (["run", bundle, "the"], ["verify", bundle], ["bench", bundle]):
        status, printed, error = call(*command)
        assert (status, printed) == (2, "")
        assert "has source code in C, which would be compiled and executed: if you trust it, add --engine c" in error


def test_levels_are_checked(bundle, call, monkeypatch):
    status, _, error = call("verify", bundle, *C, "--level", "avx9")
    assert (status, "avx9" in error) == (2, True)
    monkeypatch.setattr("edgernn.runtime.compiled._level", _level_of_an_old_processor)
    loaded = Bundle.load(bundle)
    with pytest.raises(EngineError, match=r"this processor has no vnni \(--level\); its best is base"):
        CompiledEngine(loaded.graph("step"), loaded.manifest.contract["step"], Execution(level="vnni"))


def _level_of_an_old_processor(library, name, execution):
    class Old(dict):
        def __missing__(self, key):
            return lambda: 0

    return _level(Old(), name, execution)


def test_compilers_that_are_missing_or_fail_are_named(bundle, call, monkeypatch, tmp_path):
    monkeypatch.setenv("EDGERNN_CACHE", str(tmp_path / "cache"))
    (tmp_path / "bin").mkdir()
    failing = tmp_path / "bin" / "failing"
    lines = ("model.c: In function f:", "model.c:1: error: no such thing", "more")
    failing.write_text("#!/bin/sh\n" + "".join(f"echo '{line}' >&2\n" for line in lines) + "exit 1\n")
    silent = tmp_path / "bin" / "silent"
    silent.write_text("#!/bin/sh\nexit 3\n")
    for path in (failing, silent):
        path.chmod(0o755)
    for given, words in (
        ("no-such-cc -O2", "the C compiler no-such-cc (CC) is not installed"),
        (str(failing), f"{failing} cannot compile the bundle: model.c:1: error: no such thing\n"),
        (str(silent), f"{silent} cannot compile the bundle: exit status 3\n"),
        (" ", "the C compiler ' ' (CC) is not installed"),
        ("'gcc", 'the C compiler "\'gcc" (CC) is no command: no closing quotation'),
    ):
        monkeypatch.setenv("CC", given)
        status, _, error = call("verify", bundle, *C)
        assert (status, words in error) == (2, True), error
    monkeypatch.delenv("CC")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "needs a C compiler: install gcc or clang, or name one in the variable CC" in call("verify", bundle, *C)[2]


def test_a_blob_of_another_model_is_refused(bundles):
    loaded = Bundle.load(bundles / "blob")
    graph, spec = loaded.graph("step"), loaded.manifest.contract["step"]
    blob = loaded.files["fox.bin"]
    for bad in (blob[:-8], blob + bytes(8), blob[:-1] + bytes([blob[-1] ^ 1]), b""):
        with pytest.raises(EngineError, match=r"fox\.bin is not the file that fox\.c was written with"):
            CompiledEngine(graph, spec, files={"fox.bin": bad})
    with pytest.raises(EngineError, match="not a C source file of edgernn, or a damaged one"):
        CompiledEngine(b"int main(void) { return 0; }\n", spec)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_batch_is_its_streams(bundles, precision):
    model = Model.load(bundles / f"c-{precision}", CompiledEngine)
    tokens = np.random.default_rng(0).integers(0, len(model.tokenizer), (20, 3))
    conditions, states = model.begin(batch=3)
    alone = [model.begin()[1] for _ in range(3)]
    for row in tokens:
        together, states = model.step({"token": row}, states, conditions=conditions)
        for at, token in enumerate(row):
            single, alone[at] = model.step({"token": np.array([token])}, alone[at])
            np.testing.assert_array_equal(together["logits"][at], single["logits"][0])


@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("window", [20, 100])  # in compiled code, and above its history
def test_a_snapshot_goes_on_in_c_and_back(bundles, precision, window):
    models = [Model.load(bundles / f"onnx-{precision}"), Model.load(bundles / f"c-{precision}", CompiledEngine)]
    sampler = Sampler(temperature=0.8, top_k=10, seed=4, repetition_penalty=1.2, repetition_window=window)
    whole = models[0].stream(sampler)
    whole.prefill("the ")
    text, stream = "".join(whole.decode(60)), models[0].stream(sampler)
    stream.prefill("the ")
    parts = []
    for number in range(4):
        parts.append("".join(stream.decode(15)))
        saved, stream = stream.snapshot(), models[(number + 1) % 2].stream(sampler)
        stream.restore(saved)
    assert "".join(parts) == text


def test_a_bundle_in_c_is_verified_against_its_run(bundles, trained, call):
    status, printed, error = call("verify", bundles / "blob", "--against", trained, *C)
    assert (status, "agrees with" in printed) == (0, True), error


class Halving(nn.Module):
    """A state that decays."""

    def forward(self, x, h):
        h = h * 0.5 + x
        return h, h


HALVING = GraphSpec(
    "step",
    inputs=(TensorSpec("x", "float32", (BATCH, 1)),),
    outputs=(TensorSpec("y", "float32", (BATCH, 1)),),
    states=(StateSpec("h", "float32", (BATCH, 1)),),
)


def test_a_thread_that_flushes_denormals_computes_the_same_bits(tmp_path):
    """That of these tests does, since onnxruntime has run in it."""
    bundle = Bundle.load(export_module(Halving(), HALVING, out=tmp_path / "b", target="c").path)
    engine = CompiledEngine(bundle.graph("step"), HALVING, files=bundle.files)
    h = np.array([[107_044]], np.int32).view(np.float32)  # a multiple of 2 ** -149
    y, _ = engine.run({"x": np.zeros((1, 1), np.float32), "h_in": h})
    assert y.view(np.int32)[0, 0] == 53_522


def test_the_bytes_of_a_bundle_in_c_are_those_of_its_weights(bundles, call):
    for folder, name in (("c-fp32", "model"), ("c-int8", "model"), ("blob", "fox")):
        inside = about((bundles / folder / f"{name}.c").read_bytes())["graphs"]["step"]
        report = json.loads(call("inspect", bundles / folder, "--json")[1])
        assert (report["bytes"], report["operators"]) == (inside["weights"], inside["operators"])


def test_compiled_code_is_in_the_cache(bundle, monkeypatch, tmp_path, call):
    monkeypatch.setenv("EDGERNN_CACHE", str(tmp_path / "cache"))
    compiler = tmp_path / "cc"
    compiler.write_text(f'#!/bin/sh\nexec {COMPILERS[0]} -O0 "$@"\n')
    compiler.chmod(0o755)
    monkeypatch.setenv("CC", str(compiler))
    assert call("verify", bundle, *C)[0] == 0
    (tmp_path / "cache" / "compiled" / "tmpx1").mkdir()
    (tmp_path / "cache" / "compiled" / "notes.txt").write_text("mine")
    assert [entry.kind for entry in cache_entries()] == ["code", "interrupted"]
    assert "a bundle in C, compiled" in call("cache")[1]
    assert len(empty_cache()) == 2
    assert [path.name for path in (tmp_path / "cache" / "compiled").iterdir()] == ["notes.txt"]
