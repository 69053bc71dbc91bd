"""Bundles from ONNX files that somebody else exported."""

import json
import wave

import numpy as np
import onnx
import pytest
from edgernn.exporters.adopt import AdoptSpec, adopt, infer_states
from onnx import TensorProto, helper, numpy_helper

from edgernn.bundle import Bundle
from edgernn.cli import execute
from edgernn.contract import BATCH
from edgernn.engines import ENGINES
from edgernn.errors import ConfigError, EngineError, ExportError
from edgernn.runtime import Model
from edgernn.runtime.golden import verify


def save(path, inputs, outputs, nodes, constants=()):
    values = [
        [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in each.items()]
        for each in (inputs, outputs)
    ]
    weights = [numpy_helper.from_array(array, name) for name, array in dict(constants).items()]
    graph = helper.make_graph([helper.make_node(op, i, o, **a) for op, i, o, a in nodes], "g", *values, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path


F = TensorProto.FLOAT


@pytest.fixture
def summer(tmp_path):
    """y = gain * sum of x over its samples + h; h' = y / 2; the gain is an input."""
    return save(
        tmp_path / "summer.onnx",
        {"x": (F, [None, None]), "gain": (F, []), "h_in": (F, [None, 1])},
        {"y": (F, [None, 1]), "h_out": (F, [None, 1])},
        [
            ("ReduceSum", ["x", "axes"], ["s"], {"keepdims": 1}),
            ("Mul", ["s", "gain"], ["m"], {}),
            ("Add", ["m", "h_in"], ["y"], {}),
            ("Mul", ["y", "half"], ["h_out"], {}),
        ],
        {"axes": np.array([1]), "half": np.array(0.5, np.float32)},
    )


def test_a_file_becomes_a_bundle_that_streams_and_batches(summer, tmp_path):
    states = infer_states([summer])
    assert states == {"h_in": "h_out"}
    contract = adopt([summer], AdoptSpec(states, constants={"gain": 2.0}), tmp_path / "b")
    (spec,) = contract.graphs
    assert [t.name for t in spec.inputs] == ["x"]
    assert (spec.inputs[0].axes, spec.outputs[0].axes) == ((BATCH, "x_1"), (BATCH, 1))
    assert (spec.states[0].axes, spec.states[0].output) == ((BATCH, 1), "h_out")
    model = Model.load(tmp_path / "b")
    stream, h = model.stream(), 0.0
    for x in ([1.0, 2.0], [3.0], [0.5, 0.25, 4.0]):
        y = stream.step({"x": np.array([x], np.float32)})["y"]
        assert y.item() == 2 * sum(x) + h
        h = y.item() / 2
    outputs, state = model.step({"x": np.ones((3, 5), np.float32)}, model.begin(batch=3)[1])
    np.testing.assert_array_equal(outputs["y"], np.full((3, 1), 10.0))
    np.testing.assert_array_equal(state["h_in"], np.full((3, 1), 5.0))
    assert verify(Bundle.load(tmp_path / "b"), ENGINES["onnx"]).max_abs_diff_outputs < 1e-5


def test_a_carry_puts_the_last_samples_before_the_next_ones(summer, tmp_path):
    spec_ = AdoptSpec({"h_in": "h_out"}, conditions=("gain",), carries={"x": 2})
    contract = adopt([summer], spec_, tmp_path / "b")
    assert contract.graphs[0].states[1].axes == (BATCH, 2)
    stream = Model.load(tmp_path / "b").stream(inputs={"gain": np.array(1.0, np.float32)})
    samples, h = np.arange(1, 13, dtype=np.float32), 0.0
    for begin in range(0, 12, 3):
        y = stream.step({"x": samples[None, begin : begin + 3]})["y"].item()
        assert y == samples[max(0, begin - 2) : begin + 3].sum() + h
        h = y / 2


def test_a_carry_reaches_into_branches(tmp_path):
    """A branch reads its surroundings' tensors by name."""
    branch = helper.make_graph(
        [helper.make_node("ReduceSum", ["x"], ["r"], keepdims=0)], "b", [], [helper.make_tensor_value_info("r", F, [])]
    )
    always = {"yes": np.array(True)}
    node = ("If", ["yes"], ["y"], {"then_branch": branch, "else_branch": branch})
    path = save(tmp_path / "f.onnx", {"x": (F, [1, None])}, {"y": (F, [])}, [node], always)
    adopt([path], AdoptSpec(carries={"x": 4}), tmp_path / "b")
    stream = Model.load(tmp_path / "b").stream()
    sums = [stream.step({"x": np.full((1, 2), value, np.float32)})["y"].item() for value in (1.0, 2.0, 3.0)]
    assert sums == [2.0, 6.0, 12.0]


def test_a_graph_that_only_takes_one_stream_says_so(tmp_path):
    path = save(
        tmp_path / "one.onnx",
        {"x": (F, [1, 3]), "state": (F, [1, 3])},
        {"y": (F, ["N", 3]), "stateN": (F, ["N", 3])},
        [("Add", ["x", "state"], ["stateN"], {}), ("Neg", ["stateN"], ["y"], {})],
    )
    (spec,) = adopt([path], AdoptSpec(infer_states([path])), tmp_path / "b").graphs
    assert (spec.batched, spec.outputs[0].axes, spec.states[0].axes) == (False, (1, 3), (1, 3))


def test_what_could_be_a_state_is_listed_where_names_do_not_tell(tmp_path):
    path = save(
        tmp_path / "x.onnx",
        {"a": (F, [1, 3]), "b": (F, [1, 3])},
        {"c": (F, [1, 3]), "d": (F, [1, 3])},
        [("Neg", ["a"], ["c"], {}), ("Neg", ["b"], ["d"], {})],
    )
    with pytest.raises(ConfigError, match=r"say so with --state: a:c, a:d, b:c, b:d$"):
        infer_states([path])
    assert infer_states([path], {"a", "b"}) == {}


@pytest.mark.parametrize(
    ("spec_", "words"),
    [
        (AdoptSpec({"z": "y"}), r"--state z: there is no such input; there is gain, h_in, x"),
        (AdoptSpec({"h_in": "z"}), "--state h_in:z: there is no such output of step; there is h_out, y"),
        (AdoptSpec(conditions=("z",)), "--condition z: there is no such input"),
        (AdoptSpec(constants={"z": 1}), "--constant z: there is no such input"),
        (AdoptSpec(constants={"x": 1}), "--constant x: its shape is not known"),
        (AdoptSpec(carries={"z": 1}), "--carry z: there is no such input"),
        (AdoptSpec(carries={"x": 0}), "--carry x:0 needs"),
        (AdoptSpec(carries={"gain": 2}), "--carry gain:2 needs"),
        (AdoptSpec({"h_in": "y", "gain": "h_out"}), "graph step runs neither"),
    ],
)
def test_wishes_that_cannot_be_fulfilled_are_named(summer, tmp_path, spec_, words):
    with pytest.raises((ConfigError, ExportError), match=words):
        adopt([summer], spec_, tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_files_that_are_no_models_are_named(tmp_path, capsys):
    (tmp_path / "x.onnx").write_bytes(b"nothing")
    with pytest.raises(EngineError, match="not an ONNX file"):
        infer_states([tmp_path / "x.onnx"])
    with pytest.raises(EngineError, match="cannot be read: No such file"):
        infer_states([tmp_path / "y.onnx"])
    for option, words in (("--state", "'oops' is not --state INPUT:OUTPUT"), ("--constant", "--constant INPUT=VALUE")):
        assert execute(["adopt", str(tmp_path / "x.onnx"), option, "oops", "--out", str(tmp_path / "b")]) == 2
        assert words in capsys.readouterr().err


@pytest.mark.real_data
def test_a_voice_detector_from_elsewhere(real_data, tmp_path, capsys):
    folder = real_data / "stateful_onnx" / "silero_vad"
    (file,) = folder.glob("*.onnx")
    options = ["--constant", "sr=16000", "--carry", "input:64", "--out", str(tmp_path / "b"), "--json"]
    assert execute(["adopt", str(file), *options]) == 0
    captured = capsys.readouterr()
    assert "states: state <- stateN" in captured.err
    assert json.loads(captured.out)["bundle"] == str(tmp_path / "b")
    with wave.open(str(folder / "test.wav")) as sound:
        samples = np.frombuffer(sound.readframes(sound.getnframes()), np.int16).astype(np.float32) / 32768
    model = Model.load(tmp_path / "b")
    stream = model.stream()
    steps = samples[: len(samples) // 512 * 512].reshape(-1, 1, 512)
    voice = [stream.step({"input": step})["output"].item() for step in steps]
    assert np.mean(voice) == pytest.approx(0.77130, abs=5e-6)
    _, state = model.begin(batch=2)
    for number, step in enumerate(steps[:50]):
        outputs, state = model.step({"input": np.concatenate([step, steps[900 + number]])}, state)
        assert outputs["output"][0].item() == pytest.approx(voice[number], abs=1e-4)


@pytest.mark.real_data
def test_a_noise_suppressor_of_two_graphs_from_elsewhere(real_data, tmp_path):
    files = [real_data / "stateful_onnx" / "dtln" / f"model_{n}.onnx" for n in (1, 2)]
    with pytest.raises(ConfigError, match="input_3:tf_op_layer_stack_2"):
        infer_states(files)
    states = {"input_3": "tf_op_layer_stack_2", "input_5": "tf_op_layer_stack_5"}
    adopt(files, AdoptSpec(states), tmp_path / "b")
    model = Model.load(tmp_path / "b")
    first, second = model.stream(graph="model_1"), model.stream(graph="model_2")
    random = np.random.default_rng(0)
    mask = first.step({"input_2": random.random((1, 1, 257), np.float32)})["activation_2"]
    assert mask.shape == (1, 1, 257)
    assert 0 <= mask.min() < mask.max() <= 1
    sounds = [second.step({"input_4": random.random((1, 1, 512), np.float32)})["conv1d_3"] for _ in range(2)]
    assert sounds[0].shape == (1, 1, 512)
    fresh = model.stream(graph="model_2")
    fresh.step({"input_4": np.zeros((1, 1, 512), np.float32)})
    assert not np.array_equal(fresh.state["input_5"], second.state["input_5"])


@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [
        ({"frame": (F, [1, 4]), "h": (F, [1, 4])}, {"frame_out": (F, [1, 4]), "h_out": (F, [1, 4])}),
        ({"x": (F, [1, 2]), "h": (F, [1, 4]), "h_in": (F, [1, 4])}, {"h_out": (F, [1, 4]), "y": (F, [1, 2])}),
    ],
)
def test_proposals_that_cannot_all_be_states_are_listed(tmp_path, inputs, outputs):
    """Nothing would be left to be given, or one output would feed two states."""
    given, made = list(inputs), list(outputs)
    nodes = [("Identity", [given[0] if name == "y" else given[1]], [name], {}) for name in made]
    path = save(tmp_path / "f.onnx", inputs, outputs, nodes)
    with pytest.raises(ConfigError, match="which of these are states"):
        infer_states([path])


def test_rows_that_are_no_streams_are_not_batched(tmp_path):
    """The first axis is time, and each row depends on those before it."""
    nodes = [
        ("CumSum", ["x", "zero"], ["s"], {}),
        ("Add", ["s", "h"], ["y"], {}),
        ("ReduceMax", ["y", "axes"], ["m"], {"keepdims": 1}),
        ("Tanh", ["m"], ["h_out"], {}),
    ]
    constants = {"zero": np.array(0), "axes": np.array([0])}
    path = save(
        tmp_path / "f.onnx",
        {"x": (F, [None, 4]), "h": (F, [None, 4])},
        {"y": (F, [None, 4]), "h_out": (F, [None, 4])},
        [node if node[0] != "ReduceMax" else ("ReduceMax", ["y"], ["m"], {"axes": [0]}) for node in nodes],
        constants,
    )
    contract = adopt([path], AdoptSpec({"h": "h_out"}), tmp_path / "b")
    assert not contract["step"].batched


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--constant", "gain=1", "--condition", "gain"], "gain is in --condition and in --constant"),
        (["--state", "h_in:h_out", "--carry", "h_in:2"], "h_in is in --state and in --carry"),
        (["--constant", "gain=1", "--constant", "gain=2"], "--constant names gain twice"),
        (["--carry", "x:2.7"], "--carry: '2.7' is not a whole number"),
        (["--carry", "x:nan"], "--carry: 'nan' is not a whole number"),
        (["--carry", "x:1000000000000"], "--carry x:1000000000000 needs an input"),
    ],
)
def test_wishes_that_contradict_each_other_are_named(summer, tmp_path, capsys, options, words):
    states = [] if "--state" in options else ["--state", "h_in:h_out"]
    assert execute(["adopt", str(summer), *states, *options, "--out", str(tmp_path / "b")]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "b").exists()


def test_graphs_with_equal_names_inside_have_their_own_states(summer, tmp_path):
    one, other = (tmp_path / f"{name}.onnx" for name in ("one", "other"))
    one.write_bytes(summer.read_bytes())
    model = onnx.load(summer)
    for node in model.graph.node:
        node.output[:] = ["h_next" if name == "h_out" else name for name in node.output]
    model.graph.output[1].name = "h_next"
    onnx.save(model, other)
    states = infer_states([one, other], {"gain"})
    assert states == {"one.h_in": "h_out", "other.h_in": "h_next"}
    contract = adopt([one, other], AdoptSpec(states, constants={"gain": 1.0}), tmp_path / "b")
    assert [graph.states[0].output for graph in contract.graphs] == ["h_out", "h_next"]
