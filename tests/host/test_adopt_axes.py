"""Which axes of adopted files count streams, which sizes the others take, and what real inputs are for."""

import numpy as np
import onnx
import pytest
from graphs import I32, I64, F, save
from onnx import helper

from edgernn.arrays import from_npy
from edgernn.bundle import Bundle
from edgernn.contract import BATCH
from edgernn.engines import ENGINES
from edgernn.errors import ConfigError, ExportError
from edgernn.exporters.adoption import AdoptSpec, adopt
from edgernn.runtime import Model
from edgernn.runtime.golden import verify

RANDOM = np.random.default_rng(0)


def taken(tmp_path, path, spec=None):
    """The contract's graph and the notes of an adopted file."""
    adoption = adopt([path], spec or AdoptSpec(), tmp_path / "b")
    verify(Bundle.load(tmp_path / "b"), ENGINES["onnx"])
    return adoption.contract.graphs[0], adoption.notes


def axes(spec):
    return {name: tensor.axes for name, tensor in {**spec.feeds, **spec.results}.items()}


def weights(**shapes):
    return {name: RANDOM.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


def lstm(path, x, h, y, *, hidden=5, **attributes):
    """An LSTM over axes of any names; x: (time, batch, 3)."""
    return save(
        path,
        {"x": (F, x), "h": (F, h), "c": (F, h)},
        {"y": (F, y), "h_out": (F, h), "c_out": (F, h)},
        [("LSTM", ["x", "w", "r", "", "", "h", "c"], ["y", "h_out", "c_out"], {"hidden_size": hidden, **attributes})],
        weights(w=(1, 4 * hidden, 3), r=(1, 4 * hidden, hidden)),
    )


@pytest.mark.parametrize("names", [("seq", "batch"), ("T", "N"), (None, None), ("batch", "time"), ("a", "b")])
def test_time_first_models_are_batched_along_their_second_axis(tmp_path, names):
    """Also where the file calls the axis of time the batch: names are hints, and trials decide."""
    time, batch = names
    path = lstm(tmp_path / "f.onnx", [time, batch, 3], [1, batch, 5], [time, 1, batch, 5])
    spec, _ = taken(tmp_path, path)
    assert axes(spec)["h"] == (1, BATCH, 5)
    assert axes(spec)["x"][1:] == (BATCH, 3)
    assert axes(spec)["y"] == (axes(spec)["x"][0], 1, BATCH, 5)
    assert axes(spec)["x"][0] == {"seq": "seq", "T": "T", None: "x_0", "batch": "x_0", "a": "a"}[time]


def scan(path, operator, shape=("T", 4)):
    """Rows that depend on others: on all before (CumSum), on the next, on one far before, or on the mean of all."""
    nodes, constants = {
        "before": ([("CumSum", ["x", "zero"], ["y"])], {"zero": np.array(0)}),
        "after": ([("CumSum", ["x", "zero"], ["y"], {"reverse": 1})], {"zero": np.array(0)}),
        "mean": (
            [("ReduceMean", ["x"], ["m"], {"axes": [0], "keepdims": 1}), ("Sub", ["x", "m"], ["y"])],
            {},
        ),
        "far": (
            [
                ("Pad", ["x", "pads"], ["p"]),
                ("Slice", ["p", "zero", "end", "zero"], ["s"]),
                ("Sum", ["x", "s"], ["y"]),
            ],
            {"pads": np.array([9, 0, 0, 0]), "zero": np.array([0]), "end": np.array([-9])},
        ),
        "faint": (
            [("CumSum", ["x", "zero"], ["s"]), ("Mul", ["s", "little"], ["l"]), ("Add", ["x", "l"], ["y"])],
            {"zero": np.array(0), "little": np.float32([1e-4])},
        ),
    }[operator]
    return save(path, {"x": (F, shape)}, {"y": (F, shape)}, nodes, constants)


@pytest.mark.parametrize("operator", ["before", "after", "mean", "far", "faint"])
def test_rows_that_depend_on_others_are_no_batch(tmp_path, operator):
    path = scan(tmp_path / "f.onnx", operator)
    spec, notes = taken(tmp_path, path, AdoptSpec([]))
    assert axes(spec) == {"x": ("T", 4), "y": ("T", 4)}
    assert not spec.batched
    assert "streams cannot be batched: the rows along T of x depend on each other" in " ".join(notes)
    with pytest.raises(
        ExportError, match="the axes that --axes calls batch count no streams: the rows along batch of x"
    ):
        adopt([path], AdoptSpec([], axes={"x": (BATCH, 4)}), tmp_path / "c")


def test_rows_that_do_not_are_a_batch(tmp_path):
    nodes = [("MatMul", ["x", "w"], ["m"]), ("Tanh", ["m"], ["y"])]
    path = save(tmp_path / "f.onnx", {"x": (F, ["rows", 4])}, {"y": (F, ["rows", 2])}, nodes, weights(w=(4, 2)))
    spec, notes = taken(tmp_path, path)
    assert (axes(spec), notes) == ({"x": (BATCH, 4), "y": (BATCH, 2)}, ())
    assert axes(taken(tmp_path / "c", path, AdoptSpec(axes={"x": (1, 4)}))[0]) == {"x": (1, 4), "y": (1, 2)}


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_batch_at_any_place_of_many_nameless_states_is_found(tmp_path, place):
    states = [f"s{number}" for number in range(12)]
    shape = [None, None, None]
    path = save(
        tmp_path / "f.onnx",
        {"x": (F, [None, 2]), **{f"{name}_in": (F, shape) for name in states}},
        {"y": (F, [None, 2]), **{f"{name}_out": (F, shape) for name in states}},
        [
            ("Unsqueeze", ["x", "axes"], ["u"]),
            ("Transpose", ["u"], ["t"], {"perm": {0: [0, 1, 2], 1: [1, 0, 2], 2: [1, 2, 0]}[place]}),
            *(("Add", ["t", f"{name}_in"], [f"{name}_out"]) for name in states),
            ("Transpose", ["s0_out"], ["b"], {"perm": {0: [0, 1, 2], 1: [1, 0, 2], 2: [2, 0, 1]}[place]}),
            ("ReduceSum", ["b", "axes"], ["y"], {"keepdims": 0}),
        ],
        {"axes": np.array([1])},
    )
    spec, _ = taken(tmp_path, path)
    assert spec.batched
    assert {state.batch_axis for state in spec.states} == {place}


def test_what_does_not_change_shows_nothing_of_rows(tmp_path):
    nodes = [("Mul", ["x", "zero"], ["y"])]
    path = save(tmp_path / "f.onnx", {"x": (F, ["N", 4])}, {"y": (F, ["N", 4])}, nodes, {"zero": np.float32([0])})
    spec, notes = taken(tmp_path, path, AdoptSpec([]))
    assert not spec.batched
    assert "nothing that comes out changes with the inputs" in notes[0]


def test_examples_of_several_graphs_are_told_apart_by_their_names(tmp_path):
    for name, width in (("one", 2), ("two", 5)):
        nodes = [("MatMul", ["x", "w"], ["y"])]
        save(tmp_path / f"{name}.onnx", {"x": (F, ["N", width])}, {"y": (F, ["N", 3])}, nodes, weights(w=(width, 3)))
    files = [tmp_path / "one.onnx", tmp_path / "two.onnx"]
    arrays = {
        f"{name}.x": RANDOM.standard_normal((4, 1, size)).astype(np.float32) for name, size in (("one", 2), ("two", 5))
    }
    spec = AdoptSpec([], example=tmp_path / "e.npz")
    np.savez(tmp_path / "e.npz", **arrays)
    adopt(files, spec, tmp_path / "b")
    bundle = Bundle.load(tmp_path / "b")
    np.testing.assert_array_equal(from_npy(bundle.files["golden/two/inputs.x.npy"], "x"), arrays["two.x"])
    np.savez(tmp_path / "e.npz", **arrays, z=np.zeros(4))
    with pytest.raises(ConfigError, match="the graphs have no input z; they have x"):
        adopt(files, spec, tmp_path / "c")


def test_conditions_of_examples_are_the_same_at_every_step(tmp_path):
    nodes = [("Mul", ["x", "gain"], ["y"])]
    path = save(tmp_path / "f.onnx", {"x": (F, [2]), "gain": (F, [])}, {"y": (F, [2])}, nodes)
    x = RANDOM.standard_normal((3, 2)).astype(np.float32)
    spec = AdoptSpec([], conditions=["gain"], example=tmp_path / "e.npz")
    np.savez(tmp_path / "e.npz", x=x, gain=np.float32([2, 2, 3]))
    with pytest.raises(ConfigError, match="gain is a condition, but changes from step to step"):
        adopt([path], spec, tmp_path / "b")
    np.savez(tmp_path / "e.npz", x=x, gain=np.float32([2, 2, 2]))
    taken(tmp_path, path, spec)
    files = Bundle.load(tmp_path / "b").files
    assert from_npy(files["golden/step/conditions.gain.npy"], "gain") == 2


def test_axes_that_are_one_in_the_file_stay_one(tmp_path):
    path = lstm(tmp_path / "f.onnx", [1, 1, 3], [1, 1, 5], [1, 1, 1, 5])
    assert axes(taken(tmp_path, path)[0])["h"] == (1, 1, 5)
    path = lstm(tmp_path / "g.onnx", ["T", "batch", 3], [1, 1, 5], ["T", 1, "batch", 5])
    spec, notes = taken(tmp_path / "c", path)
    assert (axes(spec)["x"], axes(spec)["y"]) == (("T", 1, 3), ("T", 1, 1, 5))
    assert "x is fixed at batch = 1" in " ".join(notes)


def test_the_layers_of_a_state_are_one_unless_the_caller_says_more(tmp_path):
    path = save(
        tmp_path / "f.onnx",
        {"x": (F, ["batch", 8]), "h": (F, ["layers", "batch", 8])},
        {"y": (F, ["batch", 8]), "h_out": (F, ["layers", "batch", 8])},
        [("Add", ["h", "x"], ["h_out"]), ("ReduceMean", ["h_out"], ["y"], {"axes": [0], "keepdims": 0})],
    )
    spec, notes = taken(tmp_path, path)
    assert axes(spec)["h"] == (1, BATCH, 8)
    assert notes == (
        "h is fixed at layers = 1: a state has one size; --axes h=1,batch,8 with other numbers sets others",
    )
    spec, notes = taken(tmp_path / "c", path, AdoptSpec(axes={"h": (3, BATCH, 8)}))
    assert (axes(spec)["h"], axes(spec)["x"], notes) == ((3, BATCH, 8), (BATCH, 8), ())


@pytest.fixture
def matting(tmp_path):
    """Pictures of any size at first, halved by a convolution, and a recurrent state of half their size."""
    sizes = ["batch_size", "channels", "h1", "w1"]
    return save(
        tmp_path / "matting.onnx",
        {"src": (F, ["batch_size", 3, "height", "width"]), "r1i": (F, sizes)},
        {"pha": (F, ["batch_size", 1, "height", "width"]), "r1o": (F, sizes)},
        [
            ("Conv", ["src", "encode"], ["e"], {"strides": [2, 2], "pads": [1, 1, 1, 1], "kernel_shape": [3, 3]}),
            ("Concat", ["e", "r1i"], ["both"], {"axis": 1}),
            ("Conv", ["both", "gate"], ["g"], {"kernel_shape": [1, 1]}),
            ("Sigmoid", ["g"], ["z"]),
            ("Mul", ["z", "r1i"], ["kept"]),
            ("Add", ["kept", "e"], ["r1o"]),
            ("Resize", ["r1o", "", "scales"], ["large"], {"mode": "nearest"}),
            ("ReduceMean", ["large"], ["pha"], {"axes": [1]}),
        ],
        {**weights(encode=(6, 3, 3, 3), gate=(6, 12, 1, 1)), "scales": np.float32([1, 1, 2, 2])},
    )


def test_sizes_of_states_follow_from_those_of_pictures(matting, tmp_path):
    spec, notes = taken(tmp_path, matting)
    assert axes(spec) == {
        "src": (BATCH, 3, 64, 96),
        "r1i": (BATCH, 6, 32, 48),
        "pha": (BATCH, 1, 64, 96),
        "r1o": (BATCH, 6, 32, 48),
    }
    assert "src is fixed at height = 64, width = 96: the size of a state follows; --axes src=batch,3,64,96" in notes[0]
    said = AdoptSpec(axes={"src": (BATCH, 3, 10, 12)})
    spec, _ = taken(tmp_path / "c", matting, said)
    assert axes(spec)["r1i"] == (BATCH, 6, 5, 6)
    np.savez(tmp_path / "e.npz", src=np.zeros((2, 1, 3, 8, 20), np.float32))
    spec, _ = taken(tmp_path / "d", matting, AdoptSpec(example=tmp_path / "e.npz"))
    assert axes(spec)["r1i"] == (BATCH, 6, 4, 10)


def test_one_name_for_axes_of_several_sizes_is_no_hindrance(tmp_path):
    """As the matting networks are exported: every state has channels, height and width, each of another size."""
    pixels = ["batch_size", "channels", "height", "width"]
    path = save(
        tmp_path / "f.onnx",
        {"src": (F, ["batch_size", 3, "height", "width"]), "r1i": (F, pixels), "r2i": (F, pixels)},
        {"pha": (F, ["batch_size", 4, None, None]), "r1o": (F, pixels), "r2o": (F, pixels)},
        [
            ("Conv", ["src", "w1"], ["a"], {"strides": [2, 2], "pads": [1, 1, 1, 1]}),
            ("Concat", ["a", "r1i"], ["b"], {"axis": 1}),
            ("Conv", ["b", "w2"], ["pha"], {"pads": [1, 1, 1, 1]}),
            ("Tanh", ["pha"], ["r1o"]),
            ("Conv", ["r1o", "w3"], ["d"], {"strides": [2, 2], "pads": [1, 1, 1, 1]}),
            ("Concat", ["d", "r2i"], ["e"], {"axis": 1}),
            ("Conv", ["e", "w4"], ["r2o"], {"pads": [1, 1, 1, 1]}),
        ],
        weights(w1=(4, 3, 3, 3), w2=(4, 8, 3, 3), w3=(6, 4, 3, 3), w4=(6, 12, 3, 3)),
    )
    spec, _ = taken(tmp_path, path)
    assert spec.batched
    assert axes(spec)["r1i"] == (BATCH, 4, 32, 48)
    assert axes(spec)["r2i"] == (BATCH, 6, 16, 24)


def test_a_stream_that_cannot_be_batched_is_one_row(tmp_path):
    nodes = [
        ("ReduceMax", ["x"], ["m"], {"keepdims": 1}),
        ("Sub", ["x", "m"], ["s"]),
        ("Add", ["s", "h_in"], ["h_out"]),
        ("Tanh", ["h_out"], ["y"]),
    ]
    tensors = {name: (F, ["N", 4]) for name in ("x", "h_in", "y", "h_out")}
    inputs, outputs = ({n: tensors[n] for n in names} for names in (("x", "h_in"), ("y", "h_out")))
    spec, notes = taken(tmp_path, save(tmp_path / "f.onnx", inputs, outputs, nodes))
    assert set(axes(spec).values()) == {(1, 4)}
    assert "x is fixed at N = 1: a state has this axis too, and one size" in notes[0]


def test_a_counter_that_all_streams_share_keeps_them_apart(tmp_path):
    nodes = [("Add", ["x", "h"], ["hn"]), ("Cast", ["step"], ["f"], {"to": F}), ("Mul", ["hn", "f"], ["y"])]
    path = save(
        tmp_path / "f.onnx",
        {"x": (F, ["N", 4]), "h": (F, ["N", 4]), "step": (I64, [])},
        {"y": (F, ["N", 4]), "hn": (F, ["N", 4]), "step_next": (I64, [])},
        [*nodes, ("Add", ["step", "one"], ["step_next"])],
        {"one": np.array(1)},
    )
    spec, notes = taken(tmp_path, path)
    assert axes(spec)["h"] == (1, 4)
    assert notes[-1] == "streams cannot be batched: the state step has no axis of unknown size to count them"


def test_an_input_that_all_streams_share_is_named(tmp_path):
    nodes = [("Mul", ["x", "gain"], ["a"]), ("Add", ["a", "h"], ["hn"]), ("Tanh", ["hn"], ["y"])]
    path = save(
        tmp_path / "f.onnx",
        {"x": (F, ["N", 4]), "gain": (F, []), "h": (F, ["N", 4])},
        {"y": (F, ["N", 4]), "hn": (F, ["N", 4])},
        nodes,
    )
    spec, notes = taken(tmp_path, path)
    assert not spec.batched
    assert notes[0].startswith("streams cannot be batched: the input gain has no axis that counts them")
    assert taken(tmp_path / "c", path, AdoptSpec(constants={"gain": 2.0}))[0].batched


def test_sizes_that_only_the_weights_tell_are_found(tmp_path):
    path = save(
        tmp_path / "f.onnx",
        {"x": (F, [None, None]), "h": (F, [None, None])},
        {"y": (F, [None, None]), "h_out": (F, [None, None])},
        [
            ("MatMul", ["x", "w"], ["a"]),
            ("MatMul", ["h", "r"], ["b"]),
            ("Add", ["a", "b"], ["s"]),
            ("Tanh", ["s"], ["h_out"]),
            ("MatMul", ["h_out", "o"], ["y"]),
        ],
        weights(w=(13, 6), r=(6, 6), o=(6, 2)),
    )
    spec, _ = taken(tmp_path, path)
    assert axes(spec) == {"x": (BATCH, 13), "h": (BATCH, 6), "y": (BATCH, 2), "h_out": (BATCH, 6)}


def test_an_output_has_the_name_of_an_axis_only_if_it_follows_it(tmp_path):
    """Seven scores are no time axis of size seven; a concatenation of 2 and T is an axis of its own."""
    path = save(
        tmp_path / "f.onnx",
        {"x": (F, ["batch", "t", 8]), "u": (F, ["batch", "k"]), "h": (F, ["batch", 8])},
        {
            "scores": (F, ["batch", 7]),
            "h_out": (F, ["batch", 8]),
            "more": (F, ["batch", "m"]),
            "same": (F, ["batch", None]),
        },
        [
            ("ReduceMean", ["x"], ["m"], {"axes": [1], "keepdims": 0}),
            ("Add", ["m", "h"], ["h_out"]),
            ("MatMul", ["h_out", "w"], ["scores"]),
            ("Concat", ["u", "scores"], ["more"], {"axis": 1}),
            ("ReduceSum", ["x", "two"], ["same"], {"keepdims": 0}),
        ],
        {**weights(w=(8, 7)), "two": np.array([2])},
    )
    spec, _ = taken(tmp_path, path)
    assert axes(spec)["scores"] == (BATCH, 7)
    assert axes(spec)["more"] == (BATCH, "m")
    assert axes(spec)["same"] == (BATCH, "t")
    assert (axes(spec)["x"], axes(spec)["u"]) == ((BATCH, "t", 8), (BATCH, "k"))


def test_axes_of_one_size_under_two_names_have_one_name(tmp_path):
    path = save(
        tmp_path / "f.onnx",
        {"x": (F, ["B", "t", 2]), "mask": (F, ["B", "s", 2]), "u": (F, ["B", "k"])},
        {"y": (F, ["B", 2]), "v": (F, ["B", "k"])},
        [
            ("Mul", ["x", "mask"], ["m"]),
            ("ReduceMean", ["m"], ["y"], {"axes": [1], "keepdims": 0}),
            ("Neg", ["u"], ["v"]),
        ],
    )
    spec, _ = taken(tmp_path, path, AdoptSpec([]))
    assert axes(spec) == {
        "x": (BATCH, "t", 2), "mask": (BATCH, "t", 2), "u": (BATCH, "k"), "y": (BATCH, 2), "v": (BATCH, "k"),
    }  # fmt: skip


def test_axes_that_the_caller_names_are_so_in_the_contract(tmp_path):
    path = save(
        tmp_path / "f.onnx",
        {"x": (F, [None, None, 8]), "h": (F, [None, 8])},
        {"y": (F, [None, 8]), "h_out": (F, [None, 8])},
        [
            ("ReduceMean", ["x"], ["m"], {"axes": [1], "keepdims": 0}),
            ("Add", ["m", "h"], ["h_out"]),
            ("Neg", ["h_out"], ["y"]),
        ],
    )
    spec, _ = taken(tmp_path, path, AdoptSpec(axes={"x": (BATCH, "samples", 8)}))
    assert axes(spec) == {"x": (BATCH, "samples", 8), "h": (BATCH, 8), "y": (BATCH, 8), "h_out": (BATCH, 8)}
    spec, _ = taken(tmp_path / "c", path, AdoptSpec(axes={"x": (1, 160, 8)}))
    assert axes(spec) == {"x": (1, 160, 8), "h": (1, 8), "y": (1, 8), "h_out": (1, 8)}


def test_axes_of_a_tensor_of_unknown_rank_are_the_callers(tmp_path):
    path = save(tmp_path / "f.onnx", {"x": (F, None)}, {"y": (F, None)}, [("Softmax", ["x"], ["y"], {"axis": -1})])
    spec, _ = taken(tmp_path, path, AdoptSpec([], axes={"x": (BATCH, "classes")}))
    assert axes(spec) == {"x": (BATCH, "classes"), "y": (BATCH, "classes")}


@pytest.mark.parametrize("told", [True, False])
def test_a_length_that_an_exporter_fixed_is_not_mistaken_for_any(tmp_path, told):
    """The file takes any length, and then reshapes to 5 steps: twice 5 of one stream would pass as 5 of two."""
    made = ([5, "batch", 4], [1, "batch", 4]) if told else ([None, None, 4], [1, None, 4])
    path = save(
        tmp_path / "f.onnx",
        {"x": (F, ["time", "batch", 4]), "h": (F, [1, "batch", 4])},
        {"y": (F, made[0]), "h_out": (F, made[1])},
        [
            ("Add", ["x", "h"], ["s"]),
            ("Reshape", ["s", "shape"], ["y"]),
            ("Slice", ["s", "minus", "end", "zero"], ["h_out"]),
        ],
        {"shape": np.array([5, -1, 4]), "minus": np.array([-1]), "end": np.array([99999]), "zero": np.array([0])},
    )
    spec, _ = taken(tmp_path, path)
    assert axes(spec) == {"x": (5, BATCH, 4), "h": (1, BATCH, 4), "y": (5, BATCH, 4), "h_out": (1, BATCH, 4)}


def test_a_constant_has_the_size_of_the_inputs_that_share_its_axes(tmp_path):
    path = save(
        tmp_path / "f.onnx",
        {"x": (F, ["T", "N", 3]), "lens": (I32, ["N"]), "h": (F, [1, "N", 5])},
        {"y": (F, ["T", 1, "N", 5]), "h_out": (F, [1, "N", 5])},
        [("GRU", ["x", "w", "r", "", "lens", "h"], ["y", "h_out"], {"hidden_size": 5})],
        weights(w=(1, 15, 3), r=(1, 15, 5)),
    )
    spec, _ = taken(tmp_path, path, AdoptSpec(constants={"lens": 1}))
    assert axes(spec)["x"] == ("T", BATCH, 3)
    model = Model.load(tmp_path / "b")
    x = RANDOM.standard_normal((4, 3, 3)).astype(np.float32)
    outputs, _ = model.step({"x": x}, model.begin(batch=3)[1])
    assert np.all(outputs["y"][0] != 0)
    assert np.all(outputs["y"][1:] == 0)  # one step is all that counts


@pytest.mark.parametrize("opset", [9, 17])
def test_a_carry_has_a_batch_too(tmp_path, opset):
    path = save(
        tmp_path / "f.onnx",
        {"x": (F, ["N", 1, "samples"])},
        {"y": (F, ["N", 1, "out"])},
        [("Conv", ["x", "w"], ["y"], {"kernel_shape": [5]})],
        weights(w=(1, 1, 5)),
        opset=opset,
    )
    spec, _ = taken(tmp_path, path, AdoptSpec([], carries={"x": 4}))
    assert axes(spec) == {
        "x": (BATCH, 1, "samples"), "x_carry": (BATCH, 1, 4), "y": (BATCH, 1, "samples"), "x_carry_next": (BATCH, 1, 4),
    }  # fmt: skip


# Values


@pytest.mark.parametrize("view", ["plain", "cast", "squeeze", "reshape"])
def test_whole_numbers_that_choose_rows_of_a_table_are_bound(tmp_path, view):
    nodes = {
        "plain": [("Gather", ["table", "tok"], ["e"])],
        "cast": [("Cast", ["tok"], ["i"], {"to": I32}), ("Gather", ["table", "i"], ["e"])],
        "squeeze": [
            ("Unsqueeze", ["tok", "one"], ["u"]),
            ("Squeeze", ["u", "one"], ["i"]),
            ("Gather", ["table", "i"], ["e"]),
        ],
        "reshape": [("Reshape", ["tok", "minus"], ["i"]), ("Gather", ["table", "i"], ["e"])],
    }[view]
    path = save(
        tmp_path / "f.onnx",
        {"tok": (I64, ["batch"]), "h": (F, ["batch", 8])},
        {"y": (F, ["batch", 8]), "h_out": (F, ["batch", 8])},
        [*nodes, ("Add", ["e", "h"], ["h_out"]), ("Tanh", ["h_out"], ["y"])],
        {**weights(table=(3, 8)), "one": np.array([1]), "minus": np.array([-1])},
    )
    spec, _ = taken(tmp_path, path)
    assert (spec.inputs[0].axes, spec.inputs[0].bound) == ((BATCH,), 3)


def test_values_that_cannot_be_guessed_come_from_examples(tmp_path):
    """The sizes to reshape to are an input."""
    path = save(
        tmp_path / "f.onnx",
        {"x": (F, ["N", 6]), "size": (I64, [2])},
        {"y": (F, [None, None])},
        [("Reshape", ["x", "size"], ["r"]), ("ReduceSum", ["r"], ["s"]), ("Reshape", ["s", "ones"], ["y"])],
        {"ones": np.array([1, 1])},
    )
    with pytest.raises(ExportError, match="other values than random ones, give some with --example"):
        adopt([path], AdoptSpec([]), tmp_path / "b")
    x = RANDOM.standard_normal((4, 1, 6)).astype(np.float32)
    np.savez(tmp_path / "e.npz", x=x, size=np.tile(np.array([-1, 3]), (4, 1)))
    spec, _ = taken(tmp_path, path, AdoptSpec([], example=tmp_path / "e.npz"))
    assert spec.outputs[0].axes == (1, 1)
    files = Bundle.load(tmp_path / "b").files
    assert Bundle.load(tmp_path / "b").manifest.golden["step"]["steps"] == 4
    np.testing.assert_array_equal(from_npy(files["golden/step/inputs.x.npy"], "x"), x)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"x": np.zeros((3, 1, 2), np.float32)}, "has no array for the input u:0"),
        ({"x": np.zeros((3, 1, 2), np.float32), "z": np.zeros(3)}, "the graphs have no input z; they have h, u:0, x"),
        ({"x": np.zeros((3, 1, 2)), "u:0": np.zeros((3, 1), np.float32)}, "x holds float64; the graph takes float32"),
        (
            {"x": np.zeros((1, 2), np.float32)},
            "x has shape [1, 2]; the graph takes x float[N, 2] after an axis of steps",
        ),
        ({"x": np.zeros((3, 1, 4), np.float32)}, "x has shape [3, 1, 4]; the graph takes"),
        ({"x": np.zeros((0, 1, 2), np.float32)}, "x has no steps"),
        ({"x": np.zeros((3, 0, 2), np.float32)}, "x has shape [3, 0, 2]: it holds no elements"),
        ({"x": np.zeros((3, 1, 2), np.float32), "u:0": np.zeros((2, 1), np.float32)}, "u:0 has 2 steps, others have 3"),
        ({"x": np.zeros((3, 1, 2), np.float32), "u:0": np.zeros((3, 5), np.float32)}, "has size 5, and 1 before"),
        ({"h": np.zeros((3, 1, 2), np.float32)}, "h is a state, which begins as zeros: leave it out"),
        ({"x": np.array([{}], object)}, "no .npz file of plain arrays"),
    ],
)
def test_examples_that_do_not_fit_are_named(tmp_path, arrays, words):
    path = save(
        tmp_path / "f.onnx",
        {"x": (F, ["N", 2]), "u:0": (F, ["N"]), "h": (F, ["N", 2])},
        {"y": (F, ["N", 2]), "h_out": (F, ["N", 2])},
        [("Add", ["x", "h"], ["h_out"]), ("Neg", ["h_out"], ["y"])],
    )
    np.savez(tmp_path / "e.npz", **arrays)
    with pytest.raises(ConfigError) as caught:
        adopt([path], AdoptSpec(example=tmp_path / "e.npz"), tmp_path / "b")
    assert words in str(caught.value)
    for content, message in ((b"PK\x03\x04", "no .npz file"), (b"junk", "no .npz file"), (None, "cannot be read")):
        if content is None:
            (tmp_path / "e.npz").unlink()
        else:
            (tmp_path / "e.npz").write_bytes(content)
        with pytest.raises(ConfigError, match=message):
            adopt([path], AdoptSpec(example=tmp_path / "e.npz"), tmp_path / "b")


def test_streams_of_a_batch_are_those_that_run_alone(tmp_path):
    path = lstm(tmp_path / "f.onnx", ["seq", "batch", 3], [1, "batch", 5], ["seq", 1, "batch", 5])
    taken(tmp_path, path)
    model = Model.load(tmp_path / "b")
    inputs = RANDOM.standard_normal((4, 2, 6, 3)).astype(np.float32)
    _, state = model.begin(batch=6)
    streams = [model.stream() for _ in range(6)]
    for x in inputs:
        outputs, state = model.step({"x": x}, state)
        alone = [stream.step({"x": x[:, [row]]})["y"] for row, stream in enumerate(streams)]
        np.testing.assert_allclose(outputs["y"], np.concatenate(alone, axis=2), atol=1e-6)


def test_a_loop_whose_output_grows_with_a_state_is_named(tmp_path):
    body = helper.make_graph(
        [helper.make_node("Identity", ["cond_in"], ["cond_out"]), helper.make_node("Identity", ["x"], ["row"])],
        "body",
        [
            helper.make_tensor_value_info("i", I64, []),
            helper.make_tensor_value_info("cond_in", onnx.TensorProto.BOOL, []),
        ],
        [
            helper.make_tensor_value_info("cond_out", onnx.TensorProto.BOOL, []),
            helper.make_tensor_value_info("row", F, [2]),
        ],
    )
    path = save(
        tmp_path / "f.onnx",
        {"x": (F, [2]), "count": (I64, [])},
        {"rows": (F, [None, 2]), "count_out": (I64, [])},
        [("Add", ["count", "one"], ["count_out"]), ("Loop", ["count_out", ""], ["rows"], {"body": body})],
        {"one": np.array(1)},
    )
    with pytest.raises(ExportError, match=r"output rows (changes its size from step to step|depends on values)"):
        adopt([path], AdoptSpec(["count:count_out"]), tmp_path / "b")


@pytest.mark.real_data
def test_every_model_of_a_kind_that_strangers_sent_is_adopted_or_refused_by_name(real_data, tmp_path, call):
    for path in sorted((real_data.parent / "cases" / "onnx").glob("*.onnx")):
        status, out, err = call("adopt", path, "--out", tmp_path / path.stem)
        assert status in (0, 2), path.name
        assert (status == 0) == bool(out)
        assert status == 0 or err.count("\n") == 1
        if status == 0:
            assert call("verify", tmp_path / path.stem)[0] == 0, path.name
