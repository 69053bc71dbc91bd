"""ONNX files that somebody else exported, adopted in C and compared with the files in the gate."""

from dataclasses import replace

import numpy as np
import pytest
from compilers import NEEDS_COMPILER
from graphs import F, lstm, save

from edgernn.bundle import Bundle
from edgernn.errors import ConfigError, EngineError, ExportError, ParityError
from edgernn.execution import Execution
from edgernn.exporters.adoption import AdoptSpec, adopt
from edgernn.exporters.targets.c import CodeOptions, c_target
from edgernn.runtime import Model, OnnxEngine
from edgernn.runtime.compiled import CompiledEngine
from edgernn.runtime.golden import verify

pytestmark = NEEDS_COMPILER


def listener(path, *, opset=17):
    """The mean of a chunk of samples of any length, reflected at its end, in a state that decays."""
    nodes = [
        ("Pad", ["x", "pads"], ["wide"], {"mode": "reflect"}),
        ("ReduceMean", ["wide"], ["mean"], {"axes": [1]}),
        ("Add", ["mean", "h"], ["y"]),
        ("Mul", ["y", "half"], ["h_out"]),
    ]
    constants = {"pads": np.array([0, 0, 0, 3]), "half": np.float32(0.5)}
    inputs = {"x": (F, ["batch", "samples"]), "h": (F, ["batch", 1])}
    return save(path, inputs, {"y": (F, ["batch", 1]), "h_out": (F, ["batch", 1])}, nodes, constants, opset=opset)


def adopted(path, out, precision="fp32", **options):
    adopt([path], AdoptSpec(), out, target=c_target(CodeOptions(**options)), precision=precision)
    return Bundle.load(out)


@pytest.mark.parametrize(
    ("precision", "about"),
    [("fp32", {}), ("fp32", {"opset": 13}), ("fp32", {"inside": True}), ("fp16", {}), ("int8", {"inside": True})],
)
def test_a_stream_in_c_follows_the_file(tmp_path, precision, about):
    path = lstm(tmp_path / "lstm.onnx", **about)
    bundle = adopted(path, tmp_path / "c", precision)
    assert (bundle.manifest.target, bundle.manifest.precision, bundle.manifest.task) == ("c", precision, "adopted")
    assert bundle.manifest.parity["steps"] == 1024
    assert verify(bundle, CompiledEngine).max_share <= 1
    ours, plain = Model.load(tmp_path / "c", CompiledEngine).stream(), tmp_path / "onnx"
    adopt([path], AdoptSpec(), plain)
    theirs = Model.load(plain).stream()
    random = np.random.default_rng(1)
    for _ in range(30):
        x = {"x": random.standard_normal((1, 64)).astype(np.float32)}
        expected = theirs.step(x)["y"]
        if precision == "fp32":
            np.testing.assert_allclose(ours.step(x)["y"], expected, atol=1e-5)
        else:
            assert np.sqrt(np.mean((ours.step(x)["y"] - expected) ** 2)) < 0.1 * np.sqrt(np.mean(expected**2))


def test_lower_precisions_are_smaller(tmp_path):
    path = lstm(tmp_path / "lstm.onnx")
    stored = {
        precision: len(adopted(path, tmp_path / precision, precision, weights="blob").files["model.bin"])
        for precision in ("fp32", "fp16", "int8")
    }
    assert stored["fp16"] < 0.6 * stored["fp32"]
    assert stored["int8"] < 0.35 * stored["fp32"]


def test_all_levels_and_a_batch_give_the_same_bits(tmp_path):
    bundle = adopted(lstm(tmp_path / "lstm.onnx"), tmp_path / "c")
    spec, random = bundle.manifest.contract["step"], np.random.default_rng(0)
    feeds = {
        name: random.standard_normal(tensor.shape({"batch": 3})).astype(np.float32)
        for name, tensor in spec.feeds.items()
    }
    results = []
    for level in ("base", "avx2", "vnni"):
        try:
            engine = CompiledEngine(bundle.graph("step"), spec, Execution(level=level), bundle.files)
        except EngineError:
            continue  # this processor does not have it
        results.append([array.tobytes() for array in engine.run(feeds)])
    assert all(each == results[0] for each in results)


def test_a_free_axis_needs_a_size_which_the_contract_then_has(tmp_path):
    path = listener(tmp_path / "l.onnx")
    needed = r"C has no free axes, and needs the size of samples \(of x in the graph step\): give --size samples=N"
    with pytest.raises(ExportError, match=needed):
        adopted(path, tmp_path / "b")
    with pytest.raises(ConfigError, match=r"no axis 'time' to give a size \(--size\): the free axes are samples"):
        adopted(path, tmp_path / "b", sizes={"time": 8})
    assert not (tmp_path / "b").exists()
    spec = adopted(path, tmp_path / "b", sizes={"samples": 8}).manifest.contract["step"]
    assert [tensor.axes for tensor in spec.feeds.values()] == [("batch", 8), ("batch", 1)]
    stream = Model.load(tmp_path / "b", CompiledEngine).stream()
    x = np.arange(8, dtype=np.float32)[None]
    whole = np.pad(x, ((0, 0), (0, 3)), mode="reflect").mean()
    assert stream.step({"x": x})["y"].item() == pytest.approx(whole)
    assert stream.step({"x": x})["y"].item() == pytest.approx(1.5 * whole)


def test_the_command_writes_verifies_and_measures(tmp_path, call):
    path, out = listener(tmp_path / "l.onnx", opset=13), tmp_path / "b"
    options = ["--to", "c", "--size", "samples=8", "--name", "listener", "--weights", "array"]
    status, _, err = call("adopt", path, *options, "--out", out)
    assert (status, "states: h <- h_out" in err) == (0, True)
    assert {"listener.c", "listener.h", "listener_check.c"} <= {file.name for file in out.iterdir()}
    status, text, _ = call("verify", out, "--engine", "c")
    assert status == 0
    assert "agrees with its golden vectors" in text
    status, text, _ = call("bench", out, "--engine", "c", "--rounds", "1", "--json")
    assert status == 0
    assert '"engine": "c"' in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--name", "listener"],
            "--name and --size are options of the targets c and wasm, and --weights of c alone: leave them out",
        ),
        (["--to", "ort"], "the target ort (--to) is not one for which ONNX files are adopted: onnx, c"),
        (["--to", "cobol"], "the target cobol (--to) is not one of onnx, ort, c"),
        (["--to", "c", "--size", "samples"], "--size 'samples' is not of the form AXIS=N"),
    ],
)
def test_options_that_do_not_fit_the_target_are_refused(tmp_path, call, options, message):
    status, _, err = call("adopt", listener(tmp_path / "l.onnx"), *options, "--out", tmp_path / "b")
    assert status == 2
    assert message in err
    assert not (tmp_path / "b").exists()


def test_an_operator_without_a_kernel_is_named(tmp_path):
    path = save(
        tmp_path / "a.onnx",
        {"x": (F, [1, 4]), "h": (F, [1, 4])},
        {"h_out": (F, [1, 4])},
        [("Add", ["x", "h"], ["s"]), ("Atan", ["s"], ["h_out"])],
    )
    with pytest.raises(ExportError, match=r"operators that C has no kernel for: Atan \(which makes h_out\)"):
        adopted(path, tmp_path / "b")


def test_what_another_file_computes_does_not_pass_the_gate(tmp_path):
    path = lstm(tmp_path / "lstm.onnx")
    target = c_target(CodeOptions())

    def wrong(graphs):
        written = target.adopt(graphs)
        return {
            name: replace(each, data=each.data.replace(b"model_tanh(x", b"model_sigmoid(x"))
            for name, each in written.items()
        }

    with pytest.raises(ParityError, match=r"the inputs were random: give real ones with --example"):
        adopt([path], AdoptSpec(), tmp_path / "b", target=replace(target, adopt=wrong))
    assert not (tmp_path / "b").exists()


@pytest.mark.real_data
def test_a_voice_detector_from_elsewhere_in_c(real_data, tmp_path):
    (file,) = (real_data / "stateful_onnx" / "silero_vad").glob("*.onnx")
    given = AdoptSpec(constants={"sr": 16000}, carries={"input": 64})
    adopt([file], given, tmp_path / "onnx")
    adopt([file], given, tmp_path / "c", target=c_target(CodeOptions(sizes={"input_1": 512})))
    bundle = Bundle.load(tmp_path / "c")
    assert verify(bundle, CompiledEngine).max_share <= 1
    assert bundle.manifest.contract["step"].inputs[0].axes == ("batch", 512)
    ours, theirs = Model.load(tmp_path / "c", CompiledEngine).stream(), Model.load(tmp_path / "onnx").stream()
    random = np.random.default_rng(0)
    for _ in range(50):
        x = {"input": 0.1 * random.standard_normal((1, 512)).astype(np.float32)}
        assert ours.step(x)["output"].item() == pytest.approx(theirs.step(x)["output"].item(), abs=1e-5)


@pytest.mark.real_data
def test_a_noise_suppressor_of_two_graphs_from_elsewhere_in_c(real_data, tmp_path):
    files = [real_data / "stateful_onnx" / "dtln" / f"model_{n}.onnx" for n in (1, 2)]
    given = AdoptSpec(["input_3:tf_op_layer_stack_2", "input_5:tf_op_layer_stack_5"])
    adopt(files, given, tmp_path / "c", target="c")
    bundle = Bundle.load(tmp_path / "c")
    assert verify(bundle, CompiledEngine).max_share <= 1
    random = np.random.default_rng(0)
    for file, graph in zip(files, ("model_1", "model_2"), strict=True):
        spec = bundle.manifest.contract[graph]
        source = OnnxEngine(file.read_bytes(), spec)
        stream = Model.load(tmp_path / "c", CompiledEngine).stream(graph=graph)
        (name, *_) = spec.input_names
        for _ in range(20):
            x = {name: random.random(spec.inputs[0].shape({}), np.float32)}
            before = dict(stream.state)
            made = stream.step(x)
            wanted, *_ = source.run({**x, **{each.input: before[each.name] for each in spec.states}})
            np.testing.assert_allclose(made[spec.outputs[0].name], wanted, atol=1e-4)
