"""Bundles from ONNX files that somebody else exported: states, names, options, and what is refused."""

import json
import re
import wave

import numpy as np
import onnx
import pytest
from graphs import I32, I64, F, save
from onnx import TensorProto, helper

from edgernn.bundle import Bundle
from edgernn.contract import BATCH
from edgernn.engines import ENGINES
from edgernn.errors import ConfigError, EngineError, ExportError
from edgernn.exporters.adoption import AdoptSpec, adopt
from edgernn.runtime import Model
from edgernn.runtime.golden import verify

NO_STATES = AdoptSpec(states=[])


def take(tmp_path, path, spec=None):
    """Adopt one file, check the bundle against its golden vectors, and return what came of it and the model."""
    adoption = adopt([path], spec or AdoptSpec(), tmp_path / "b")
    parity = verify(Bundle.load(tmp_path / "b"), ENGINES["onnx"])
    assert parity.max_abs_diff_outputs < 1e-5  # the order of a sum depends on where an array lies in memory
    return adoption, Model.load(tmp_path / "b")


def refusal(tmp_path, path, spec=None):
    """The message with which a file is refused; nothing is written."""
    with pytest.raises((ConfigError, EngineError, ExportError)) as caught:
        adopt([path], spec or AdoptSpec(), tmp_path / "b")
    assert not (tmp_path / "b").exists()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def summer(tmp_path):
    """y = gain * sum of x over its samples + h; h' = y / 2; the gain is an input."""
    return save(
        tmp_path / "summer.onnx",
        {"x": (F, [None, None]), "gain": (F, []), "h_in": (F, [None, 1])},
        {"y": (F, [None, 1]), "h_out": (F, [None, 1])},
        [
            ("ReduceSum", ["x", "axes"], ["s"], {"keepdims": 1}),
            ("Mul", ["s", "gain"], ["m"]),
            ("Add", ["m", "h_in"], ["y"]),
            ("Mul", ["y", "half"], ["h_out"]),
        ],
        {"axes": np.array([1]), "half": np.array(0.5, np.float32)},
    )


def test_a_file_becomes_a_bundle_that_streams_and_batches(summer, tmp_path):
    adoption, model = take(tmp_path, summer, AdoptSpec(constants={"gain": 2.0}))
    assert adoption.states == {"h_in": "h_out"}
    (spec,) = adoption.contract.graphs
    assert [t.name for t in spec.inputs] == ["x"]
    assert (spec.inputs[0].axes, spec.outputs[0].axes) == ((BATCH, "x_1"), (BATCH, 1))
    assert (spec.states[0].axes, spec.states[0].output) == ((BATCH, 1), "h_out")
    stream, h = model.stream(), 0.0
    for x in ([1.0, 2.0], [3.0], [0.5, 0.25, 4.0]):
        y = stream.step({"x": np.array([x], np.float32)})["y"]
        assert y.item() == 2 * sum(x) + h
        h = y.item() / 2
    outputs, state = model.step({"x": np.ones((3, 5), np.float32)}, model.begin(batch=3)[1])
    np.testing.assert_array_equal(outputs["y"], np.full((3, 1), 10.0))
    np.testing.assert_array_equal(state["h_in"], np.full((3, 1), 5.0))


def test_a_carry_puts_the_last_samples_before_the_next_ones(summer, tmp_path):
    adoption, model = take(tmp_path, summer, AdoptSpec(conditions=("gain",), carries={"x": 2}))
    assert {state.name: state.axes for state in adoption.contract["step"].states} == {
        "h_in": (BATCH, 1),
        "x_carry": (BATCH, 2),
    }
    stream = model.stream(inputs={"gain": np.array(1.0, np.float32)})
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
    node = ("If", ["yes"], ["y"], {"then_branch": branch, "else_branch": branch})
    path = save(tmp_path / "f.onnx", {"x": (F, [1, None])}, {"y": (F, [])}, [node], {"yes": np.array(True)})
    _, model = take(tmp_path, path, AdoptSpec(carries={"x": 4}))
    stream = model.stream()
    sums = [stream.step({"x": np.full((1, 2), value, np.float32)})["y"].item() for value in (1.0, 2.0, 3.0)]
    assert sums == [2.0, 6.0, 12.0]


# States


def identity(tmp_path, inputs, outputs):
    """A graph whose outputs show inputs of their shape, doubled."""
    shapes = {tuple(shape): name for name, (_, shape) in reversed(inputs.items())}
    nodes = [("Add", [shapes[tuple(shape)]] * 2, [name]) for name, (_, shape) in outputs.items()]
    return save(tmp_path / "f.onnx", inputs, outputs, nodes)


@pytest.mark.parametrize(
    ("given", "made"),
    [
        ("state_in", "state_out"),
        ("state", "stateN"),
        ("state_ins", "state_outs"),
        ("h", "h_next"),
        ("h", "new_h"),
        ("h0", "hn"),
        ("h_0", "h_n"),
        ("r1i", "r1o"),
        ("prev_hidden", "hidden"),
        ("hiddenIn", "hiddenOut"),
        ("cache_in_3", "cache_out_3"),
        ("past_key_values.0.key", "present.0.key"),
        ("past", "present"),
        ("c/in", "c/out"),
        ("serving_default_h:0", "h_out:0"),
    ],
)
def test_like_names_are_states(tmp_path, given, made):
    path = identity(tmp_path, {"x": (F, [1, 3]), given: (F, [1, 4])}, {"y": (F, [1, 3]), made: (F, [1, 4])})
    adoption, _ = take(tmp_path, path)
    assert adoption.states == {given: made}


def test_the_index_in_a_name_tells_many_states_apart(tmp_path):
    names = [f"cache_{word}_{n}" for word in ("in", "out") for n in range(24)]
    inputs = {"x": (F, [1, 2]), **{name: (F, [1, 5]) for name in names[:24]}}
    path = save(
        tmp_path / "f.onnx",
        inputs,
        {"y": (F, [1, 2]), **{name: (F, [1, 5]) for name in reversed(names[24:])}},
        [
            ("Neg", ["x"], ["y"]),
            *(("Neg", [given], [made]) for given, made in zip(names[:24], names[24:], strict=True)),
        ],
    )
    adoption, _ = take(tmp_path, path)
    assert adoption.states == dict(zip(names[:24], names[24:], strict=True))
    (tmp_path / "b" / "bundle.json").unlink()
    pattern = AdoptSpec(states=["cache_in_*:cache_out_*"])
    assert adopt([path], pattern, tmp_path / "c").states == adoption.states
    message = refusal(tmp_path / "d", path, AdoptSpec(states=["cache_in_*:cache_*"]))
    assert message == "--state cache_in_*:cache_*: the input cache_in_0 fits, but there is no output cache_0"


def lstm(tmp_path, given, made, names=("w", "r")):
    """An LSTM of whatever names, with time first; the rows of its output follow."""
    random = np.random.default_rng(0)
    weights = {"w": random.standard_normal((1, 20, 3)), "r": random.standard_normal((1, 20, 5))}
    shape = (F, [1, 1, 5])
    return save(
        tmp_path / "f.onnx",
        {"input": (F, [1, 1, 3]), **dict.fromkeys(given, shape)},
        {"out": (F, [1, 1, 1, 5]), **dict.fromkeys(made, shape)},
        [
            ("LSTM", ["input", "w", "r", "", "", *given], ["out", "h_made", "c_made"], {"hidden_size": 5}),
            ("Identity", ["h_made"], [made[0]]),
            ("Identity", ["c_made"], [made[1]]),
        ],
        {name: array.astype(np.float32) for name, array in weights.items()},
    )


def test_the_states_of_a_recurrent_operator_are_found_by_the_data_flow(tmp_path):
    """Both have one shape, and their names say nothing; the output's even lie."""
    path = lstm(tmp_path, ["onnx::LSTM_1", "2"], ["70", "onnx::LSTM_1_out"])
    adoption, model = take(tmp_path, path)
    assert adoption.states == {"onnx::LSTM_1": "70", "2": "onnx::LSTM_1_out"}
    assert adoption.renamed["step"]["_2"] == "2"
    assert [state.name for state in model.contract["step"].states] == ["onnx__LSTM_1", "_2"]
    names = Bundle.load(tmp_path / "b").manifest.provenance["names"]
    assert names == {
        "step": {"onnx__LSTM_1": "onnx::LSTM_1", "_2": "2", "_70": "70", "onnx__LSTM_1_out": "onnx::LSTM_1_out"}
    }


def test_states_packed_into_one_tensor_are_found_by_the_data_flow(tmp_path):
    random = np.random.default_rng(0)
    path = save(
        tmp_path / "f.onnx",
        {"input": (F, [1, 1, 3]), "13": (F, [2, 1, 5])},
        {"out": (F, [1, 1, 1, 5]), "77": (F, [2, 1, 5])},
        [
            ("Split", ["13"], ["h", "c"], {"axis": 0}),
            ("LSTM", ["input", "w", "r", "", "", "h", "c"], ["out", "hn", "cn"], {"hidden_size": 5}),
            ("Concat", ["hn", "cn"], ["77"], {"axis": 0}),
        ],
        {n: random.standard_normal((1, 20, k)).astype(np.float32) for n, k in (("w", 3), ("r", 5))},
        opset=13,
    )
    assert take(tmp_path, path)[0].states == {"13": "77"}


def test_a_file_of_one_shape_is_a_question_with_both_answers(tmp_path, call):
    path = save(tmp_path / "f.onnx", {"x": (F, [1, 4])}, {"y": (F, [1, 4])}, [("Tanh", ["x"], ["y"])])
    status, out, err = call("adopt", path, "--out", tmp_path / "b")
    assert (status, out) == (2, "")
    assert "--no-states" in err
    assert "--state x:y" in err
    assert not (tmp_path / "b").exists()
    assert call("adopt", path, "--no-states", "--out", tmp_path / "b")[0] == 0
    assert Model.load(tmp_path / "b").contract["step"].states == ()
    assert call("adopt", path, "--state", "x:y", "--out", tmp_path / "c")[0] == 0
    assert [tensor.name for tensor in Model.load(tmp_path / "c").contract["step"].inputs] == []
    status, _, err = call("adopt", path, "--state", "x:y", "--no-states", "--out", tmp_path / "d")
    assert (status, err) == (2, "edgernn: --state and --no-states exclude each other: leave one of them out\n")


PARTS = "--state 'state:packed[0:4]' --state 'state:packed[4:8]' --state 'state:packed[5:9]'"
SURE = "--state h:h_out for certain, and"


@pytest.mark.parametrize(
    ("inputs", "outputs", "listed"),
    [
        # Names that say nothing.
        ({"a": [1, 3], "b": [1, 3]}, {"c": [1, 3], "d": [1, 3]}, "--state a:c --state a:d --state b:c --state b:d"),
        # Nothing would be left to be given.
        ({"frame": [1, 4], "h": [1, 4]}, {"frame_out": [1, 4], "h_out": [1, 4]}, f"{SURE} --state frame:frame_out"),
        # A named batch hides nothing.
        ({"obs": ["N", 4], "core": ["N", 8]}, {"act": ["N", 2], "kernel": ["N", 8]}, "--state core:kernel"),
        # One output for two inputs.
        ({"x": [1, 2], "h": [1, 4], "h_in": [1, 4]}, {"h_out": [1, 4]}, "--state h:h_out --state h_in:h_out"),
        # A state is sure, but another input has its shape.
        ({"x": [1, 2], "h": [1, 4], "z": [1, 4]}, {"h_out": [1, 4], "q": [1, 4]}, f"{SURE} --state z:q"),
        # Only numbers are like each other.
        ({"input_1": [1, 2], "input_2": [1, 2]}, {"output_1": [1, 2]}, "--state input_1:output_1"),
        # The state is called one, and is in an output that is larger.
        ({"x": [1, 3], "state": [1, 4]}, {"packed": [1, 9]}, PARTS),
    ],
)
def test_what_could_be_a_state_is_listed_where_it_is_not_certain(tmp_path, inputs, outputs, listed):
    made = [("Expand", ["one", f"{name}_shape"], [name]) for name in outputs]
    shapes = {f"{n}_shape": np.array([s if isinstance(s, int) else 1 for s in shape]) for n, shape in outputs.items()}
    path = save(
        tmp_path / "f.onnx",
        {name: (F, shape) for name, shape in inputs.items()},
        {name: (F, shape) for name, shape in outputs.items()},
        made,
        {"one": np.ones(1, np.float32), **shapes},
    )
    message = refusal(tmp_path, path)
    assert message.startswith("which of these are states?")
    assert message.endswith(f": {listed}")
    assert "--no-states" in message


def test_a_question_about_many_like_names_is_one_pattern(tmp_path):
    names = [f"frame_{word}_{n}" for word in ("in", "out") for n in range(20)]
    path = save(
        tmp_path / "f.onnx",
        {name: (F, [1, 5]) for name in names[:20]},
        {name: (F, [1, 5]) for name in names[20:]},
        [("Neg", [given], [made]) for given, made in zip(names[:20], names[20:], strict=True)],
    )
    message = refusal(tmp_path, path)
    assert message.endswith("each input and each output once: --state 'frame_in_*:frame_out_*'")
    assert len(take(tmp_path, path, AdoptSpec(["frame_in_*:frame_out_*"]))[0].states) == 20


def test_like_names_of_other_shapes_do_not_pass_in_silence(tmp_path):
    path = save(
        tmp_path / "f.onnx",
        {"x": (F, [1, 3]), "h_in": (F, [1, 3])},
        {"y": (F, [3, 1]), "h_out": (F, [3])},
        [
            ("Add", ["x", "h_in"], ["s"]),
            ("Squeeze", ["s", "zero"], ["h_out"]),
            ("Transpose", ["s"], ["y"], {"perm": [1, 0]}),
        ],
        {"zero": np.array([0])},
    )
    assert "h_in float[1, 3] and h_out float[3] are called like a state, but differ" in refusal(tmp_path, path)
    assert take(tmp_path, path, NO_STATES)[0].states == {}


def test_a_state_that_was_not_named_is_said(tmp_path):
    path = identity(
        tmp_path,
        {"x": (F, [1, 2]), "h": (F, [1, 4]), "c": (F, [1, 3])},
        {"y": (F, [1, 2]), "h_out": (F, [1, 4]), "c_out": (F, [1, 3])},
    )
    adoption, _ = take(tmp_path, path, AdoptSpec(states=["h:h_out"]))
    assert "c and c_out look like a state too: --state c:c_out" in adoption.notes


def test_states_are_cut_out_of_an_output_in_which_they_are_packed(tmp_path):
    path = save(
        tmp_path / "f.onnx",
        {"x": (F, ["B", 2]), "h": (F, ["B", 2]), "c": (F, ["B", 2])},
        {"packed": (F, ["B", 6])},
        [
            ("Add", ["x", "h"], ["y"]),
            ("Add", ["h", "one"], ["hn"]),
            ("Sub", ["c", "one"], ["cn"]),
            ("Concat", ["y", "hn", "cn"], ["packed"], {"axis": 1}),
        ],
        {"one": np.ones(1, np.float32)},
    )
    adoption, model = take(tmp_path, path, AdoptSpec(states=["h:packed[2:4]", "c:packed[4:6]"]))
    assert [state.axes for state in adoption.contract["step"].states] == [(BATCH, 2)] * 2
    stream = model.stream()
    for step in range(3):
        packed = stream.step({"x": np.zeros((1, 2), np.float32)})["packed"]
        np.testing.assert_array_equal(packed, [[step, step, step + 1, step + 1, -step - 1, -step - 1]])
    for state, words in (
        ("h:packed[5:7]", "has no such part of its last axis"),
        ("h:packed[2:5]", "h float[B, 2] goes in, but packed float[B, 3] comes out"),
    ):
        assert words in refusal(tmp_path / "c", path, AdoptSpec(states=[state]))
    twice = AdoptSpec(states=["h:packed[2:4]", "c:packed[3:5]"])
    assert "the output already feeds the state h" in refusal(tmp_path / "c", path, twice)


def test_states_that_do_nothing_are_flagged(tmp_path):
    path = save(
        tmp_path / "f.onnx",
        {"x": (F, [1, 4]), "h": (F, [1, 4]), "n": (F, [])},
        {"y": (F, [1, 4]), "h_out": (F, [1, 4]), "n_out": (F, [])},
        [("Tanh", ["x"], ["y"]), ("Identity", ["h"], ["h_out"]), ("Add", ["n", "one"], ["n_out"])],
        {"one": np.array(1, np.float32)},
    )
    notes = take(tmp_path, path, AdoptSpec(states=["h:h_out", "n:n_out"]))[0].notes
    assert [note.partition(":")[0] for note in notes if "never changed" in note] == ["the state h never changed"]
    assert len([note for note in notes if "had no effect on outputs" in note]) == 2


def test_a_recurrence_inside_that_starts_anew_is_said(tmp_path):
    random = np.random.default_rng(0)
    weights = {n: random.standard_normal((1, 15, k)).astype(np.float32) for n, k in (("w", 3), ("r", 5))}
    path = save(
        tmp_path / "f.onnx",
        {"input": (F, ["T", "B", 3]), "h": (F, [1, "B", 5])},
        {"out": (F, ["T", 1, "B", 5]), "h_out": (F, [1, "B", 5]), "other": (F, [1, "B", 5])},
        [
            helper.make_node("GRU", ["input", "w", "r", "", "", "h"], ["out", "h_out"], name="kept", hidden_size=5),
            helper.make_node("GRU", ["input", "w", "r"], ["", "other"], name="/lost", hidden_size=5),
        ],
        weights,
    )
    adoption, _ = take(tmp_path, path)
    assert adoption.contract["step"].inputs[0].axes == ("T", BATCH, 3)
    assert adoption.notes == ("GRU /lost starts anew at each step: its state comes from no state of the graph",)
    assert adoption.warnings == ()


def test_a_recurrent_graph_that_carries_no_state_is_warned_of(tmp_path, call):
    random = np.random.default_rng(0)
    weights = {n: random.standard_normal((1, 20, k)).astype(np.float32) for n, k in (("w", 3), ("r", 5))}
    node = helper.make_node("LSTM", ["input", "w", "r"], ["out"], name="/r/LSTM", hidden_size=5)
    inputs, outputs = {"input": (F, ["T", 1, 3])}, {"out": (F, ["T", 1, 1, 5])}
    path = save(tmp_path / "f.onnx", inputs, outputs, [node], weights)
    status, _, err = call("adopt", path, "--out", tmp_path / "b")
    assert status == 0
    (warning,) = (line for line in err.splitlines() if line.startswith("warning: "))
    assert warning == (
        "warning: graph step carries no state, so that a stream forgets what it has read: LSTM /r/LSTM starts anew at "
        "each step: its state comes from no state of the graph; unless each step is a whole sequence, export the model "
        "again with the state as an input and as an output"
    )
    assert warning.removeprefix("warning: ") in Bundle.load(tmp_path / "b").manifest.provenance["notes"]
    assert "starts anew" in take(tmp_path / "c", path, AdoptSpec(states=[]))[0].notes[0]  # the caller has said so


# Names


@pytest.mark.parametrize("name", ["9lives", "a b", "héllo", "x:0", "/r/Out", "n" * 120, "a=b", "日本"])
def test_names_that_are_none_in_a_contract_are_changed_and_options_take_the_files(tmp_path, call, name):
    other = f"{name}_out"
    path = save(
        tmp_path / "f.onnx",
        {"x": (F, [1, 4]), name: (F, [1, 4]), f"{name}:s": (F, [1])},
        {"y": (F, [1, 4]), other: (F, [1, 4])},
        [("Mul", [name, f"{name}:s"], ["m"]), ("Add", ["x", "m"], [other]), ("Neg", [other], ["y"])],
    )
    options = ["--state", f"{name}:{other}", "--constant", f"{name}:s=0.5"]
    status, out, err = call("adopt", path, *options, "--out", tmp_path / "b", "--json")
    assert status == 0
    model = Model.load(tmp_path / "b")
    (state,) = model.contract["step"].states
    names = json.loads(out)["names"]["step"]
    assert (names[state.input], names[state.output]) == (name, other)
    assert f"is now {state.input}" in err
    stream = model.stream()
    sums = [stream.step({"x": np.ones((1, 4), np.float32)})["y"][0, 0] for _ in range(3)]
    assert sums == [-1, -1.5, -1.75]


def test_changed_names_stay_apart_from_those_that_are_there(tmp_path):
    """`a:b` becomes `a_b`, which there is already, as an input, inside, and in a branch, which hides it."""
    hidden = helper.make_graph(
        [helper.make_node("Add", ["a:b", "a:b"], ["a_b_2"])], "b", [], [helper.make_tensor_value_info("a_b_2", F, [2])]
    )
    path = save(
        tmp_path / "f.onnx",
        {"a:b": (F, [2]), "a_b": (F, [2]), "a/b": (F, [2])},
        {"y": (F, [2])},
        [
            ("If", ["yes"], ["z"], {"then_branch": hidden, "else_branch": hidden}),
            ("Sum", ["z", "a_b", "a/b"], ["y"]),
        ],
        {"yes": np.array(True)},
    )
    adoption, model = take(tmp_path, path, NO_STATES)
    own = {"a_b": "a_b", **adoption.renamed["step"]}
    values = {"a:b": 1.0, "a_b": 10.0, "a/b": 100.0}
    feeds = {name: np.full(2, values[own[name]], np.float32) for name in own}
    np.testing.assert_array_equal(model.stream().step(feeds)["y"], [112, 112])


@pytest.mark.parametrize(
    ("kind", "shape"), [(F, [1, 8]), (I64, []), (I64, [1]), (I32, ["N"]), (TensorProto.UINT8, [1, 2, 2, 3])]
)
@pytest.mark.parametrize("made", [(F, []), (I64, [1]), (F, [1, 2, 3])])
def test_names_of_text_mean_nothing(tmp_path, call, kind, shape, made):
    path = save(
        tmp_path / "f.onnx",
        {"token": (kind, shape), "h": (F, [1, 8])},
        {"logits": made, "h_out": (F, [1, 8])},
        [
            ("Cast", ["token"], ["f"], {"to": F}),
            ("ReduceMean", ["f"], ["m"], {"keepdims": 0}),
            ("Add", ["h", "m"], ["h_out"]),
            ("ReduceSum", ["h_out"], ["s"], {"keepdims": 0}),
            ("Cast", ["s"], ["c"], {"to": made[0]}),
            ("Expand", ["c", "shape"], ["logits"]),
        ],
        {"shape": np.array(made[1], np.int64)},
    )
    _, model = take(tmp_path, path)
    feeds = {"token": np.ones([1 if size == "N" else size for size in shape], model.contract["step"].inputs[0].dtype)}
    stream = model.stream()
    for _ in range(3):
        stream.step(feeds)
    other = model.stream()
    other.restore(stream.snapshot())
    np.testing.assert_array_equal(other.step(feeds)["logits"], np.full(made[1], 32))
    assert call("bench", tmp_path / "b", "--rounds", "1", "--json")[0] == 0


def test_scalars_are_inputs_conditions_states_and_outputs(tmp_path):
    path = save(
        tmp_path / "f.onnx",
        {"x": (F, []), "gain": (F, []), "sum_in": (F, []), "n": (I64, [])},
        {"y": (F, []), "sum_out": (F, []), "n_out": (I64, [])},
        [
            ("Mul", ["x", "gain"], ["m"]),
            ("Add", ["m", "sum_in"], ["sum_out"]),
            ("Add", ["n", "one"], ["n_out"]),
            ("Cast", ["n_out"], ["count"], {"to": F}),
            ("Div", ["sum_out", "count"], ["y"]),
        ],
        {"one": np.array(1)},
    )
    adoption, model = take(tmp_path, path, AdoptSpec(states=["sum_in:sum_out", "n:n_out"], conditions=["gain"]))
    assert not adoption.contract["step"].batched
    stream = model.stream(inputs={"gain": np.array(2, np.float32)})
    assert [stream.step({"x": np.array(x, np.float32)})["y"].item() for x in (1, 2, 6)] == [2, 3, 6]
    fork = stream.fork()
    again = model.stream(inputs={"gain": np.array(9, np.float32)})
    again.restore(stream.snapshot())
    assert again.step({"x": np.array(1, np.float32)})["y"] == fork.step({"x": np.array(1, np.float32)})["y"] == 5


# Options


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (AdoptSpec(["z:y"]), r"--state z: there is no such input; there is gain, h_in, x"),
        (AdoptSpec(["h_in:z"]), "--state h_in:z: there is no output z of step; there is h_out, y"),
        (AdoptSpec(["h_in"]), "--state 'h_in' is not of the form INPUT:OUTPUT"),
        (AdoptSpec(["h_in:h_out", "h_in:y"]), "--state names h_in twice"),
        (AdoptSpec(["gain:h_out"]), "--state gain:h_out: gain float[] goes in, but h_out float["),
        (AdoptSpec(["h_in:h_out"], conditions=("z",)), "--condition z: there is no such input"),
        (AdoptSpec(constants={"z": 1}), "--constant z: there is no such input"),
        (AdoptSpec(constants={"x": 1}), "--constant x=1: its shape is not known; say it with --axes x="),
        (AdoptSpec(constants={"gain": 1e60}), "--constant gain=1e+60 is no float32"),
        (AdoptSpec(carries={"z": 1}), "--carry z: there is no such input"),
        (AdoptSpec(carries={"x": 0}), "--carry x:0 needs"),
        (AdoptSpec(carries={"gain": 2}), "--carry gain:2 needs"),
        (AdoptSpec(axes={"z": (1,)}), "--axes z: there is no such input"),
        (AdoptSpec(axes={"x": (1,)}), "--axes x=1: the file says x float[x_0, x_1], which has 2 axes"),
        (AdoptSpec(axes={"h_in": (BATCH, 2)}), "--axes h_in=batch,2: the file fixes axis 1 at 1"),
        (AdoptSpec(axes={"x": ("x_1", BATCH)}), "the axes that --axes calls batch count no streams"),
    ],
)  # fmt: skip
def test_wishes_that_cannot_be_fulfilled_are_named(summer, tmp_path, spec, words):
    assert words in refusal(tmp_path, summer, spec)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--constant", "gain=1", "--condition", "gain"], "gain is named by both --condition and --constant"),
        (["--state", "h_in:h_out", "--carry", "h_in:2"], "h_in is named by both --state and --carry"),
        (["--constant", "gain=1", "--constant", "gain=2"], "--constant names gain twice"),
        (["--constant", "gain"], "--constant 'gain' is not of the form INPUT=VALUE"),
        (["--carry", "x:2.7"], "--carry '2.7' is not a whole number"),
        (["--carry", "x:nan"], "--carry 'nan' is not a whole number"),
        (["--carry", "x:1000000000000"], "--carry x:1000000000000 needs an input"),
        (["--axes", "x=batch,batch"], "--axes x=batch,batch names batch twice"),
        (["--axes", "x=batch,0"], "--axes x=batch,0: a size is at least 1"),
        (["--axes", "x=batch,a b"], "--axes x=batch,a b: 'a b' is no name for an axis of x"),
        (["--axes", "x"], "--axes 'x' is not of the form INPUT=AXIS,AXIS…"),
    ],
)
def test_wishes_that_contradict_each_other_are_named(summer, tmp_path, call, options, words):
    status, out, err = call("adopt", summer, *options, "--out", tmp_path / "b")
    assert (status, out) == (2, "")
    assert words in err
    assert not (tmp_path / "b").exists()


def test_graphs_with_equal_names_inside_have_their_own_states(summer, tmp_path):
    one, other = (tmp_path / f"{name}.onnx" for name in ("one", "other"))
    one.write_bytes(summer.read_bytes())
    model = onnx.load(summer)
    for node in model.graph.node:
        node.output[:] = ["h_next" if name == "h_out" else name for name in node.output]
    model.graph.output[1].name = "h_next"
    onnx.save(model, other)
    adoption = adopt([one, other], AdoptSpec(constants={"gain": 1.0}), tmp_path / "b")
    assert [graph.states[0].output for graph in adoption.contract.graphs] == ["h_out", "h_next"]
    assert adoption.states == {"one.h_in": "h_out", "other.h_in": "h_next"}
    states = AdoptSpec(["one.h_in:h_out", "other.h_in:h_next"], constants={"one.gain": 1, "other.gain": 2})
    assert adopt([one, other], states, tmp_path / "c").contract == adoption.contract
    twin = tmp_path / "twin" / "one.onnx"
    twin.parent.mkdir()
    twin.write_bytes(one.read_bytes())
    with pytest.raises(ConfigError, match="another file gives its graph the name one too"):
        adopt([one, twin], AdoptSpec(), tmp_path / "d")


# What is refused


def test_files_that_are_no_models_are_named(tmp_path):
    (tmp_path / "x.onnx").write_bytes(b"nothing")
    assert "not an ONNX file" in refusal(tmp_path, tmp_path / "x.onnx")
    assert "there is no" in refusal(tmp_path, tmp_path / "y.onnx")
    (tmp_path / "z.onnx").write_bytes(b"")
    assert "z.onnx is an empty file, and not an ONNX file" in refusal(tmp_path, tmp_path / "z.onnx")


def test_damaged_files_are_named(summer, tmp_path, call):
    """Bytes that are no UTF-8 in a name, an element type that ONNX lacks, and a file that is cut."""
    content = summer.read_bytes()
    for damaged, words in (
        (content.replace(b"gain", b"g\xdan\xff"), "not an ONNX file"),
        (content.replace(b"half", b"h\xdaf\xff"), "not an ONNX file"),
        (content[: len(content) // 2], "not an ONNX file"),
    ):
        (tmp_path / "d.onnx").write_bytes(damaged)
        assert words in refusal(tmp_path, tmp_path / "d.onnx")
        assert call("inspect", tmp_path / "d.onnx")[0] == 2
    model = onnx.load(summer)
    model.graph.initializer[0].data_type = 77
    (tmp_path / "d.onnx").write_bytes(model.SerializeToString())
    assert "'axes' has no element type of ONNX" in refusal(tmp_path, tmp_path / "d.onnx")
    model = onnx.load(summer)
    model.graph.input[0].type.tensor_type.elem_type = 77
    (tmp_path / "d.onnx").write_bytes(model.SerializeToString())
    assert "input x holds elements of type number 77" in refusal(tmp_path, tmp_path / "d.onnx")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ((TensorProto.STRING, [1]), "input s holds elements of type string; a contract has float32, float16"),
        ((TensorProto.BFLOAT16, [1]), "input s holds elements of type bfloat16"),
        ((TensorProto.COMPLEX64, [1]), "input s holds elements of type complex64"),
        ((TensorProto.FLOAT8E4M3FN, [1]), "input s holds elements of type float8e4m3fn"),
        ((TensorProto.UINT16, [1]), "input s holds elements of type uint16"),
        ((F, [0, 2]), "input s has no elements: the size of its axis 0 is 0"),
        ((F, None), "the file does not say how many axes the input s has; --axes s=… says it"),
    ],
)
def test_inputs_that_no_contract_describes_are_named(tmp_path, value, words):
    nodes = [("Neg", ["x"], ["y"]), ("Identity", ["s"], ["unused"])]
    path = save(tmp_path / "f.onnx", {"x": (F, [1, 3]), "s": value}, {"y": (F, [1, 3])}, nodes, opset=19, ir_version=9)
    assert words in refusal(tmp_path, path, NO_STATES)


def test_sequences_and_optionals_are_named(tmp_path):
    tensor = helper.make_tensor_type_proto(F, [2])
    for kind, words in (
        (helper.make_sequence_type_proto(tensor), "input s is of the type sequence: a contract holds tensors only"),
        (helper.make_optional_type_proto(tensor), "input s is of the type optional: a contract holds tensors only"),
    ):
        model = onnx.load(save(tmp_path / "f.onnx", {"x": (F, [2])}, {"y": (F, [2])}, [("Neg", ["x"], ["y"])]))
        model.graph.input.append(helper.make_value_info("s", kind))
        onnx.save(model, tmp_path / "f.onnx")
        assert words in refusal(tmp_path, tmp_path / "f.onnx")


@pytest.mark.parametrize(
    ("node", "words"),
    [
        (helper.make_node("RandomNormal", [], ["r"], shape=[1, 4]), "RandomNormal r draws"),
        (helper.make_node("RandomNormalLike", ["x"], ["r"], name="/noise"), "RandomNormalLike /noise draws"),
        (helper.make_node("RandomUniform", [], ["r"], shape=[1, 4], seed=1.0), "RandomUniform r draws"),
        (helper.make_node("RandomUniformLike", ["x"], ["r"]), "RandomUniformLike r draws"),
        (helper.make_node("Bernoulli", ["p"], ["r"]), "Bernoulli r draws"),
        (helper.make_node("Multinomial", ["x"], ["r"], sample_size=4, dtype=F), "Multinomial r draws"),
        (helper.make_node("Dropout", ["x", "half", "yes"], ["r"]), "Dropout r draws"),
        (helper.make_node("Dropout", ["x", "half", "no"], ["r"]), None),
        (helper.make_node("Dropout", ["x", "half"], ["r"]), None),
    ],
)
@pytest.mark.parametrize("place", ["graph", "branch", "function"])
def test_operators_that_draw_random_numbers_are_named(tmp_path, node, words, place):
    inner = [node, helper.make_node("Cast", ["r"], ["m"], to=F)]
    constants = {
        "half": np.float32(0.5),
        "yes": np.array(True),
        "no": np.array(False),
        "p": np.full((1, 4), 0.5, np.float32),
    }
    constants = {name: np.array(value) for name, value in constants.items()}
    rest = {}
    if place == "branch":
        body = helper.make_graph(inner, "b", [], [helper.make_tensor_value_info("m", F, None)])
        inner = [helper.make_node("If", ["yes"], ["i"], then_branch=body, else_branch=body)]
        inner.append(helper.make_node("Identity", ["i"], ["z"]))
    elif place == "function":
        names = ["x", *constants]
        opsets = [helper.make_opsetid("", 17)]
        rest = {"functions": [helper.make_function("own", "F", names, ["m"], inner, opsets)]}
        inner = [helper.make_node("F", names, ["z"], domain="own")]
    else:
        inner = [*inner, helper.make_node("Identity", ["m"], ["z"])]
    path = save(
        tmp_path / "f.onnx",
        {"x": (F, [1, 4]), "h": (F, [1, 4])},
        {"y": (F, [1, 4]), "h_out": (F, [1, 4])},
        [*inner, ("Add", ["x", "z"], ["y"]), ("Add", ["x", "h"], ["h_out"])],
        constants,
        **rest,
    )
    if place == "function":
        model = onnx.load(path)
        model.opset_import.append(helper.make_opsetid("own", 1))
        onnx.save(model, path)
    if words is None:
        take(tmp_path, path)
    else:
        message = refusal(tmp_path, path)
        assert " draws random numbers, so that two equal calls differ" in message
        assert words.split()[0] in message
        assert place == "function" or words in message


def test_what_onnxruntime_says_of_a_graph_that_does_not_load_or_run_is_quoted(tmp_path):
    shapes = {"x": (F, [1, 4])}, {"y": (F, [1, 3])}
    nodes = [("Frobnicate", ["x"], ["y"])]
    message = refusal(tmp_path, save(tmp_path / "a.onnx", *shapes, nodes), NO_STATES)
    assert "graph step cannot be loaded" in message
    assert "Frobnicate" in message
    new = save(tmp_path / "b.onnx", *shapes, [("Neg", ["x"], ["y"])], ir_version=99)
    assert "IR version: 99" in refusal(tmp_path, new, NO_STATES)
    old = save(tmp_path / "c.onnx", *shapes, [("Neg", ["x"], ["y"])], opset=999)
    assert "999" in refusal(tmp_path, old, NO_STATES)
    path = save(
        tmp_path / "d.onnx",
        {"x": (F, ["N", 4])},
        {"y": (F, [5])},
        [("Reshape", ["x", "shape"], ["y"])],
        {"shape": np.array([5])},
    )
    message = refusal(tmp_path, path)
    assert "runs neither with one stream nor with several; with x [1, 4]: [ONNXRuntimeError]" in message
    assert "Reshape" in message


def test_sizes_that_depend_on_values_or_change_from_step_to_step_are_named(tmp_path):
    path = save(
        tmp_path / "a.onnx",
        {"x": (F, [2, 3])},
        {"y": (I64, [2, None])},
        [("Relu", ["x"], ["r"]), ("NonZero", ["r"], ["y"])],
    )
    assert "the size of output y depends on values" in refusal(tmp_path, path)
    path = save(
        tmp_path / "b.onnx",
        {"x": (F, [1]), "n_in": (I64, [1])},
        {"y": (F, [None]), "n_out": (I64, [1])},
        [("Add", ["n_in", "one"], ["n_out"]), ("Min", ["n_out", "four"], ["n"]), ("Expand", ["x", "n"], ["y"])],
        {"one": np.array([1]), "four": np.array([4])},
    )
    message = refusal(tmp_path, path, AdoptSpec(["n_in:n_out"]))
    assert "output y changes its size from step to step: [1] at first, [2] at step 2" in message
    path = save(
        tmp_path / "c.onnx",
        {"x": (F, ["B", 1, 4]), "past": (F, ["B", "P", 4])},
        {"y": (F, ["B", 4]), "past_out": (F, ["B", "P1", 4])},
        [
            ("Concat", ["past", "x"], ["past_out"], {"axis": 1}),
            ("ReduceMean", ["past_out"], ["y"], {"axes": [1], "keepdims": 0}),
        ],
    )
    message = refusal(tmp_path, path)
    assert "the state past changes its shape: [1, 1, 4] goes in and [1, 2, 4] comes out as past_out" in message


def test_outputs_that_are_not_numbers_need_real_inputs(tmp_path):
    nodes = [("Sub", ["x", "ten"], ["d"]), ("Log", ["d"], ["y"])]
    path = save(tmp_path / "f.onnx", {"x": (F, [1, 4])}, {"y": (F, [1, 4])}, nodes, {"ten": np.float32([10])})
    assert "y is nan at the first step; give real inputs with --example" in refusal(tmp_path, path, NO_STATES)
    np.savez(tmp_path / "e.npz", x=np.full((3, 1, 4), 11, np.float32))
    take(tmp_path, path, AdoptSpec([], example=tmp_path / "e.npz"))
    positive = save(tmp_path / "g.onnx", {"x": (F, [1, 4])}, {"y": (F, [1, 4])}, [("Sqrt", ["x"], ["y"])])
    adopt([positive], NO_STATES, tmp_path / "c")
    assert verify(Bundle.load(tmp_path / "c"), ENGINES["onnx"]).steps > 100


# Weights in other files


@pytest.fixture
def external(tmp_path):
    weights = np.arange(2048, dtype=np.float32).reshape(4, 512) / 2048
    path = save(
        tmp_path / "f.onnx",
        {"x": (F, ["N", 4])},
        {"y": (F, ["N", 512])},
        [("MatMul", ["x", "w"], ["y"])],
        {"w": weights},
    )
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="f.onnx.data", size_threshold=0)
    return path


def test_weights_in_another_file_come_into_the_bundle_and_are_counted(external, tmp_path, call):
    _, model = take(tmp_path, external)
    y = model.step({"x": np.ones((1, 4), np.float32)})[0]["y"]
    assert y[0, 0] == (0 + 512 + 1024 + 1536) / 2048
    status, out, _ = call("inspect", external, "--json")
    assert status == 0
    assert json.loads(out)["bytes"] == external.stat().st_size + 4 * 2048


def test_weights_that_are_missing_cut_or_elsewhere_are_named(external, tmp_path, call):
    data = tmp_path / "f.onnx.data"
    data.write_bytes(data.read_bytes()[:-1])
    assert "the weights w are in 'f.onnx.data', which cannot be read" in refusal(tmp_path, external)
    data.unlink()
    assert "the weights w are in 'f.onnx.data', which is not beside it" in refusal(tmp_path, external)
    assert "which is not beside it" in call("inspect", external)[2]
    (tmp_path / "secret").write_bytes(bytes(8192))
    for place in ("../secret", str(tmp_path / "secret")):
        folder = tmp_path / "folder"
        folder.mkdir(exist_ok=True)
        model = onnx.load(external, load_external_data=False)
        model.graph.initializer[0].external_data[0].value = place
        (folder / "f.onnx").write_bytes(model.SerializeToString())
        assert "which cannot be read" in refusal(tmp_path, folder / "f.onnx")


def test_a_model_beyond_the_limit_of_a_file_is_named(external, tmp_path):
    model = onnx.load(external, load_external_data=False)
    model.graph.initializer[0].dims[:] = [4, 1 << 28]
    external.write_bytes(model.SerializeToString())
    assert "a graph file holds at most 2,147,483,647" in refusal(tmp_path, external)


# Files of strange form


def test_files_of_strange_form_work(tmp_path):
    """Constants among the inputs, an input as an output, a constant as an output, no inputs, only states."""
    path = save(
        tmp_path / "a.onnx",
        {"x": (F, ["N", 2]), "w": (F, [2, 3])},
        {"y": (F, ["N", 3]), "x": (F, ["N", 2]), "w": (F, [2, 3])},
        [("MatMul", ["x", "w"], ["y"])],
        {"w": np.ones((2, 3), np.float32)},
        ir_version=3,
    )
    adoption, model = take(tmp_path, path, NO_STATES)
    assert [tensor.name for tensor in adoption.contract["step"].inputs] == ["x"]
    assert adoption.renamed["step"] == {"x_out": "x", "w_out": "w"}
    outputs = model.stream().step({"x": np.array([[1, 2]], np.float32)})
    assert (outputs["y"].tolist(), outputs["x_out"].tolist()) == ([[3, 3, 3]], [[1, 2]])
    constant = save(tmp_path / "b.onnx", {}, {"y": (F, [2])}, [("Neg", ["w"], ["y"])], {"w": np.ones(2, np.float32)})
    adopt([constant], AdoptSpec(), tmp_path / "c")
    np.testing.assert_array_equal(Model.load(tmp_path / "c").stream().step({})["y"], [-1, -1])
    only = save(
        tmp_path / "d.onnx",
        {"x": (F, [1, 2]), "h": (F, [1, 2])},
        {"h_out": (F, [1, 2])},
        [("Add", ["x", "h"], ["h_out"])],
    )
    adopt([only], AdoptSpec(), tmp_path / "e")
    stream = Model.load(tmp_path / "e").stream()
    assert stream.step({"x": np.ones((1, 2), np.float32)}) == {}
    np.testing.assert_array_equal(stream.state["h"], [[1, 1]])


# Files from elsewhere


@pytest.mark.real_data
def test_a_voice_detector_from_elsewhere(real_data, tmp_path, call):
    folder = real_data / "stateful_onnx" / "silero_vad"
    (file,) = folder.glob("*.onnx")
    options = ["--constant", "sr=16000", "--carry", "input:64", "--out", tmp_path / "b", "--json"]
    status, out, err = call("adopt", file, *options)
    assert status == 0
    assert "states: state <- stateN" in err
    assert json.loads(out)["bundle"] == str(tmp_path / "b")
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
        adopt(files, AdoptSpec(), tmp_path / "b")
    states = ["input_3:tf_op_layer_stack_2", "input_5:tf_op_layer_stack_5"]
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


def test_a_question_about_many_states_cuts_no_option(tmp_path, call):
    given = {f"memory_{number}_of_the_left_side": (F, [1, 4]) for number in range(30)}
    made = {f"value_{number}_after_the_step": (F, [1, 4]) for number in range(30)}
    nodes = [("Tanh", [a], [b]) for a, b in zip(given, reversed(made), strict=True)]
    path = save(tmp_path / "many.onnx", given, made, nodes)
    status, _, err = call("adopt", path, "--out", tmp_path / "b")
    assert status == 2
    options = re.findall(r"--state (\S+)", err)
    assert len(options) > 2
    assert all(
        re.fullmatch(r"'?memory_(\d+|\*)_of_the_left_side:value_(\d+|\*)_after_the_step'?", option)
        for option in options
    )
    assert re.search(r"\(and \d+ more\)", err)
