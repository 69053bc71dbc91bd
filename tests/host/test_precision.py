"""Precision is what the label says: every matrix has its bits, or the reason why not, and nothing at all is refused."""

import itertools

import numpy as np
import onnx
import pytest
import torch
from conversions import convert_once
from matrices import IN, MATRICES, OUT, Function, recurrent, stateless
from onnx import TensorProto, helper, numpy_helper
from targets import TARGETS
from torch import nn

from edgernn.bundle import Bundle
from edgernn.contract import BATCH, GraphSpec, StateSpec, TensorSpec
from edgernn.errors import ExportError
from edgernn.exporters import Quantization, export_module
from edgernn.exporters.quantisation.quantise import PRECISIONS, quantise
from edgernn.exporters.quantisation.rounding import harm, round_closest
from edgernn.exporters.report import BITS, check_quantised, larger, summary
from edgernn.exporters.target import NO_WEIGHT, Weight
from edgernn.exporters.targets import executorch
from edgernn.runtime import Model
from edgernn.runtime.parity import TOLERANCES

REFUSED = {
    ("executorch", "einsum"): "weight stays in 32 bits: only linear layers, convolutions and tables",
    ("executorch", "grouped einsum"): "weight stays in 32 bits: only linear layers, convolutions and tables",
    ("executorch", "batched"): "weight stays in 32 bits: only linear layers, convolutions and tables",
    ("executorch", "bilinear"): "_trilinear",
    ("executorch", "float64"): r"layer\.weight stays in 64 bits: its elements are float64.*call \.float\(\)",
    ("executorch", "float64 recurrent"): r"layer\.weight_ih, layer\.weight_hh stay in 64 bits: .*float64",
}
BELOW = [(name, each) for name, target in TARGETS.items() for each in target.precisions if each != "fp32"]
SLOW = ("LSTM num_layers=2 bidirectional=True", "executorch")  # the same path as the GRU and the LSTM with projections
CASES = [(name, *each) for name in MATRICES for each in BELOW if (name, each[0]) != SLOW]

projections = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")


@projections
@pytest.mark.matrix
@pytest.mark.parametrize(("name", "target", "precision"), CASES)
def test_every_matrix_has_the_bits_of_the_label_or_a_reason(tmp_path, name, target, precision, monkeypatch):
    # To know the size at fp32 is to lower the graph once more.
    monkeypatch.setattr(executorch, "_single_bytes", lambda plain, spec, size: size)
    made = MATRICES[name]()
    if words := REFUSED.get((target, name)):
        with pytest.raises(ExportError, match=words):
            export_module(made.module, made.spec, out=tmp_path / "b", target=target, precision=precision, steps=4)
        assert list(tmp_path.iterdir()) == []
        return
    with convert_once(Function, name=name):
        exported = export_module(
            made.module, made.spec, out=tmp_path / "b", target=target, precision=precision, steps=4
        )
    assert 0 < exported.parity.rms_diff_outputs < TOLERANCES[precision].rms
    (weights,) = exported.weights.values()
    assert any(weight.bits == BITS[precision] for weight in weights)
    assert all((weight.bits > BITS[precision]) == bool(weight.reason) for weight in weights)
    check_bytes(Bundle.load(tmp_path / "b").graph("step"), made.module, weights)


def check_bytes(data, module, weights):
    """That the file holds no row or column of a rounded matrix, and that it holds those of others."""
    bits = {}
    for weight in weights:
        for name in weight.name.split("+"):
            bits[name] = max(bits.get(name, 0), weight.bits)
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        if tensor.ndim != 2 or not tensor.is_floating_point() or name not in bits:
            continue
        array = tensor.detach().numpy()
        lines = (array[1], array[-1], array[:, 0], array[:, -1])  # the first row is all zeros where it is padding
        rows = [np.ascontiguousarray(line).tobytes() for line in lines]
        whole = bits[name] == 8 * array.dtype.itemsize
        assert any(row in data for row in rows) == whole, name


@pytest.mark.parametrize("target", ["onnx", "torchscript"])
def test_a_mask_is_kept_and_named(tmp_path, call, target):
    made = MATRICES["mask of infinities"]()
    exported = export_module(made.module, made.spec, out=tmp_path / "b", target=target, precision="int8", steps=4)
    assert exported.report[0] == f"1 of 2 matrices are stored in 8 bits; mask stays in 32 bits: {NO_WEIGHT}"
    stored = {weight["name"]: weight for weight in Bundle.load(tmp_path / "b").manifest.weights["step"]}
    assert (stored["mask"]["reason"], stored["layer.weight"]["reason"]) == (NO_WEIGHT, "")
    status, out, _ = call("inspect", tmp_path / "b")
    assert status == 0
    assert f"  mask [9, 9]: 32 bits, since {NO_WEIGHT}; scales: none; products: fp32\n" in out


@projections
def test_an_lstm_with_a_projection_equals_torch_over_a_sequence(tmp_path):
    made = recurrent("LSTM", proj_size=12, num_layers=2, bidirectional=True)
    export_module(made.module, made.spec, out=tmp_path / "b", steps=16)
    model = Model.load(tmp_path / "b")
    _, state = model.begin(batch=3)
    h, c = torch.zeros(4, 3, 12), torch.zeros(4, 3, OUT)
    for x in torch.randn(8, 3, IN):
        with torch.no_grad():
            y, h, c = made.module(x, h, c)
        outputs, state = model.step({"x": x.numpy()}, state)
        np.testing.assert_allclose(outputs["y"], y, atol=1e-5)


@pytest.mark.parametrize("kind", ["weight_norm", "spectral_norm", "orthogonal"])
def test_parametrised_weights_are_stored_as_what_they_stand_for(tmp_path, kind):
    made = MATRICES[kind]()
    weight = made.module.layer.weight.detach().clone()
    exported = export_module(
        made.module, made.spec, out=tmp_path / "b", target="torchscript", precision="int8", steps=4
    )
    (stored,) = exported.weights["step"]
    assert (stored.name, stored.shape, stored.bits) == ("layer.weight", (OUT, IN), 8)
    assert nn.utils.parametrize.is_parametrized(made.module.layer)  # the module is as it was
    torch.testing.assert_close(made.module.layer.weight, weight)


@pytest.mark.parametrize(("target", "precision"), [("onnx", "fp16"), ("onnx", "int8"), ("torchscript", "int8")])
def test_matrices_of_float64_are_stored_in_fewer_bits(tmp_path, target, precision):
    made = MATRICES["float64 recurrent"]()
    exported = export_module(made.module, made.spec, out=tmp_path / "b", target=target, precision=precision, steps=4)
    assert {(weight.bits, weight.arithmetic) for weight in exported.weights["step"]} == {(BITS[precision], "fp64")}
    assert exported.bytes < 0.35 * exported.single_bytes
    check_bytes(Bundle.load(tmp_path / "b").graph("step"), made.module, exported.weights["step"])


def test_float64_for_executorch_is_refused_with_the_remedy(tmp_path):
    made = MATRICES["float64"]()
    with pytest.raises(ExportError, match=REFUSED["executorch", "float64"]):
        export_module(made.module, made.spec, out=tmp_path / "b", target="executorch", precision="int8")
    assert list(tmp_path.iterdir()) == []


class Frames(nn.Module):
    """Any number of frames at once."""

    def __init__(self, layer) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x, *state):
        y, state = self.layer(x, state if len(state) > 1 else state[0])
        return (y[:, -1], *state) if isinstance(state, tuple) else (y[:, -1], state)


@projections
@pytest.mark.parametrize(
    ("target", "layer", "sizes", "words"),
    [
        ("onnx", nn.LSTM(8, 16, proj_size=4, batch_first=True), (4, 16), "an LSTM with proj_size .* fixed number"),
        (
            "executorch",
            nn.GRU(8, 16, batch_first=True),
            (16,),
            "its forward does not take every size of the axis time: declare a number for it$",
        ),
    ],
)
def test_what_is_written_out_takes_a_fixed_number_of_steps(tmp_path, target, layer, sizes, words):
    states = tuple(StateSpec(n, "float32", (1, BATCH, size)) for n, size in zip("hc", sizes, strict=False))
    x = TensorSpec("x", "float32", (BATCH, "time", 8))
    spec = GraphSpec("step", (x,), (TensorSpec("y", "float32", (BATCH, sizes[0])),), states)
    with pytest.raises(ExportError, match=words):
        export_module(Frames(layer), spec, out=tmp_path / "b", target=target)


@pytest.mark.parametrize("target", ["onnx", "torchscript", "executorch"])
def test_a_graph_without_matrices_is_no_graph_of_a_lower_precision(tmp_path, target):
    made = stateless(lambda s, x: torch.tanh(x * s.scale), 4, scale=torch.ones(4))
    words = "no weight matrix of graph step can be stored at int8: it has no floating-point matrix of two axes or more"
    with pytest.raises(ExportError, match=words):
        export_module(made.module, made.spec, out=tmp_path / "b", target=target, precision="int8")
    assert list(tmp_path.iterdir()) == []


def test_convolutions_of_executorch_are_quantised_where_there_are_examples(tmp_path):
    made = MATRICES["Conv2d"]()
    examples = [{"x": np.random.default_rng(n).standard_normal((1, IN, 7, 7)).astype(np.float32)} for n in range(4)]
    options = {"target": "executorch", "precision": "int8", "steps": 4}
    exported = export_module(made.module, made.spec, out=tmp_path / "b", examples=examples, **options)
    assert exported.report == ("2 of 2 matrices are stored in 8 bits",)
    assert exported.bytes < 0.5 * 4 * sum(parameter.numel() for parameter in made.module.parameters())
    bits = {weight.name: (weight.bits, weight.arithmetic) for weight in exported.weights["step"]}
    assert bits["conv.weight"] == (8, "int8, static quantisation")
    assert 0 < exported.parity.rms_diff_outputs < 0.05


def test_small_weights_of_executorch_keep_all_their_levels(tmp_path):
    """The quantiser's own least scale would leave a handful of levels to these."""
    layer = nn.Linear(IN, OUT)
    with torch.no_grad():
        layer.weight *= 0.01
        layer.bias.zero_()
    made = stateless(lambda s, x: s.layer(x) * 100, IN, layer=layer)
    exported = export_module(made.module, made.spec, out=tmp_path / "b", target="executorch", precision="int8", steps=4)
    assert exported.parity.rms_diff_outputs < 0.02


@pytest.mark.parametrize("target", ["onnx", "torchscript", "executorch"])
def test_what_fp32_would_have_taken_is_measured(tmp_path, target):
    made = MATRICES["linear"]()
    whole, rounded = (
        export_module(made.module, made.spec, out=tmp_path / each, target=target, precision=each, steps=4)
        for each in ("fp32", "int8")
    )
    assert (whole.single_bytes, whole.report) == (None, ())
    assert rounded.single_bytes == pytest.approx(whole.bytes, rel=0.02 if target != "executorch" else 0.3)
    assert bool(rounded.report[1:]) == (rounded.bytes >= whole.bytes)


def test_the_report_counts_names_and_explains():
    weights = {
        "encode": [Weight("a", (2, 2), 8, "", ""), Weight("b", (2, 2), 32, "", "", "why")],
        "step": [
            Weight("a", (2, 2), 8, "", ""),
            Weight("a", (2, 2), 8, "", ""),
            Weight("c", (2, 2), 32, "", "", "why"),
        ],
    }
    words = "2 of 4 matrices are stored in 8 bits; encode: b, step: c stay in 32 bits: why"
    assert summary("int8", weights) == words
    assert summary("fp32", weights) == ""
    check_quantised("int8", weights)
    check_quantised("fp32", {"step": []})
    with pytest.raises(
        ExportError, match=r"no weight matrix of graph step can be stored at int4: a stays in 8 bits: r"
    ):
        check_quantised("int4", {"step": [Weight("a", (2, 2), 8, "", "", "r")]})
    assert larger("int8", 1000, 1000).startswith("int8 takes 1,000 bytes and fp32 1,000: ")
    assert not any((larger("int8", 999, 1000), larger("int8", 1000, None), larger("fp32", 1000, 1000)))


NORMAL = np.random.default_rng(0).standard_normal((6, 8)).astype(np.float32)


def beside(value, *, places=3):
    array = NORMAL.copy()
    array[:, :places] = value
    return array


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (NORMAL, ""),
        (np.zeros((3, 4), np.float32), ""),
        (NORMAL * 1e6, ""),
        (NORMAL * np.logspace(0, 2, 6, dtype=np.float32)[:, None], ""),
        (np.where(NORMAL > 0, np.float32(-1e9), 0), ""),  # of zeros and one value nothing is lost
        (beside(-1e9), r"its values reach 1e\+09"),
        (beside(-3.4e38), r"its values reach 3.4e\+38"),
        (np.full((3, 4), -3.4e38, np.float32), r"its values reach 3.4e\+38"),
        (beside(np.inf), "not finite"),
        (beside(np.nan, places=1), "not finite"),
    ],
)
def test_values_that_would_not_survive_are_found(array, words):
    assert bool(harm(array)) == bool(words)
    assert words.removeprefix("its").replace("\\", "") in harm(array)


@pytest.mark.parametrize(("value", "harmed"), [(1.0, False), (6e4, False), (7e4, True), (np.inf, True)])
def test_half_precision_has_a_largest_value(value, harmed):
    assert bool(harm(beside(value), half=True)) == harmed


@pytest.mark.parametrize("axis", range(3))
def test_the_axis_of_the_scales_is_the_one_of_the_smallest_error(axis):
    sizes = np.array([1, 100, 0.01], np.float32).reshape([3 if other == axis else 1 for other in range(3)])
    array = np.random.default_rng(axis).uniform(0.9, 1, (3, 3, 3)).astype(np.float32) * sizes
    chosen, levels, scales = round_closest(array)
    errors = {}
    for other in range(3):
        others = tuple({0, 1, 2} - {other})
        steps = np.abs(array).max(axis=others, keepdims=True) / 127
        errors[other] = np.sum((np.rint(array / steps) * steps - array) ** 2)
    assert errors[chosen] == min(errors.values()) == pytest.approx(np.sum((levels * scales - array) ** 2), rel=1e-3)


def branches(weight):
    """if flag: x @ weight, else: x + table, where a table that only the branch has lies inside."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 32]) for name in "xy")
    inside = numpy_helper.from_array(np.ones((1, 32), np.float32) * NORMAL[0, 0], "row")
    square = numpy_helper.from_array(np.eye(32, dtype=np.float32), "inside")
    then = helper.make_graph([helper.make_node("MatMul", ["x", "weight"], ["one"])], "then", [], [_value("one")])
    otherwise = helper.make_graph(
        [helper.make_node("MatMul", ["x", "inside"], ["two"])], "else", [], [_value("two")], [inside, square]
    )
    node = helper.make_node("If", ["flag"], ["y"], then_branch=then, else_branch=otherwise)
    flag = helper.make_tensor_value_info("flag", TensorProto.BOOL, [])
    graph = helper.make_graph([node], "step", [x, flag], [y], [numpy_helper.from_array(weight, "weight")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def _value(name):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 32])


@pytest.mark.parametrize("precision", PRECISIONS)
def test_branches_take_rounded_weights_from_outside_and_those_inside_are_named(precision):
    import onnxruntime

    weight = np.random.default_rng(0).standard_normal((32, 32)).astype(np.float32)
    model = branches(weight)
    spec = GraphSpec("step", (TensorSpec("x", "float32", (BATCH, 32)),), (TensorSpec("y", "float32", (BATCH, 32)),), ())
    weights = {each.name: each for each in quantise(model, spec, Quantization(precision))}
    assert (weights["weight"].bits, weights["weight"].reason) == (BITS[precision], "")
    assert (weights["inside"].bits, weights["inside"].reason) == (32, "it is a constant inside of a branch or a loop")
    onnx.checker.check_model(model)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    x = np.random.default_rng(1).standard_normal((5, 32)).astype(np.float32)
    for flag, expected in ((True, x @ weight), (False, x)):
        (y,) = session.run(None, {"x": x, "flag": np.array(flag)})
        assert np.sqrt(np.mean((y - expected) ** 2)) <= 0.15 * np.sqrt(np.mean(expected**2))


@pytest.mark.parametrize(("precision", "array"), [*itertools.product(PRECISIONS, [beside(-1e9), beside(np.inf)])])
def test_a_table_with_values_of_a_mask_is_kept_whole(precision, array):
    node = helper.make_node("Gather", ["table", "x"], ["y"])
    x = helper.make_tensor_value_info("x", TensorProto.INT64, ["batch"])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 8])
    constant = helper.make_node("Constant", [], ["table"], value=numpy_helper.from_array(array, "value"))
    graph = helper.make_graph([constant, node], "step", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    spec = GraphSpec("step", (TensorSpec("x", "int64", (BATCH,)),), (TensorSpec("y", "float32", (BATCH, 8)),), ())
    (weight,) = quantise(model, spec, Quantization(precision))
    assert (weight.name, weight.bits) == ("table", 32)
    assert weight.reason == harm(array, half=precision == "fp16")
    (kept,) = model.graph.initializer
    np.testing.assert_array_equal(numpy_helper.to_array(kept), array)


@pytest.mark.parametrize("target", ["onnx", "torchscript", "executorch"])
def test_counters_stay_whole_beside_quantised_layers(tmp_path, target):
    """XNNPACK's quantiser makes a float of every number that is added, counters included."""

    def forward(self, x, t):
        return self.layer(x) * (t % 4 == 0).unsqueeze(1), t + 1

    module = nn.Module()
    module.layer = nn.Linear(64, 64)
    module.forward = forward.__get__(module)
    x, y = (TensorSpec(name, "float32", (BATCH, 64)) for name in "xy")
    spec = GraphSpec("step", (x,), (y,), (StateSpec("t", "int64", (BATCH,)),))
    parity = export_module(module, spec, out=tmp_path / "b", target=target, precision="int8", steps=16).parity
    assert parity.mismatches == 0 < parity.compared
