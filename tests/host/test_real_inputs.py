"""Examples: what the gate, the checks and the golden vectors make of the inputs that a caller gives."""

import re

import numpy as np
import pytest
import torch
from conversions import convert_once
from torch import nn

from edgernn.arrays import from_npy
from edgernn.bundle import Bundle
from edgernn.contract import BATCH, ConditionSpec, Contract, FromFile, FromGraph, GraphSpec, StateSpec, TensorSpec
from edgernn.engines import EagerEngine
from edgernn.errors import ConfigError, ExportError, ParityError
from edgernn.exporters import export_module
from edgernn.exporters.gate.real_inputs import RealInputs
from edgernn.exporters.gate.streams import example_streams
from edgernn.models import Graph
from edgernn.runtime import Model

X = TensorSpec("x", "float32", (BATCH, 2))
SUM = GraphSpec("step", (X,), (TensorSpec("y", "float32", (BATCH, 2)),), (StateSpec("h", "float32", (BATCH, 2)),))


def x(value, batch=1):
    return {"x": np.full((batch, 2), value, np.float32)}


def of(given, spec=SUM):
    return RealInputs(given, Contract((spec,))).of(spec)


def values(steps):
    return [each["x"][:, 0].tolist() for each in steps]


def test_one_stream_begins_again_after_its_end():
    examples = of([x(1), x(2), x(3)])
    assert len(examples) == 1
    assert examples.longest == 3
    assert values(examples.alone(0, 5)) == [[1], [2], [3], [1], [2]]


def test_copies_of_one_stream_follow_a_few_steps_behind():
    rows, steps = of(lambda step: x(step)).together(12)
    assert rows == (0, 0, 0, 0)
    assert values(steps)[9:] == [[9, 6, 3, 0], [10, 7, 4, 1], [11, 8, 5, 2]]


def test_several_streams_stand_side_by_side_each_with_its_own_length():
    examples = of([[x(1), x(2)], [x(10), x(20), x(30)], [x(7, batch=2)]])
    rows, steps = examples.together(4)
    assert rows == (0, 1, 2, 3)
    assert values(steps) == [[1, 10, 7, 7], [2, 20, 7, 7], [1, 30, 7, 7], [2, 10, 7, 7]]


def test_a_function_that_comes_to_its_end_ends_the_stream():
    assert values(of([x(n) for n in range(3)].__getitem__).alone(0, 9)) == [[0], [1], [2]]


def test_tensors_are_taken_like_arrays():
    assert values(of([{"x": torch.full((1, 2), 4.0, requires_grad=True)}]).alone(0, 1)) == [[4]]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"x": 1}, "examples are a sequence of mappings by input name"),
        (3, "examples are a sequence of mappings by input name"),
        ([3], "a stream is a sequence of mappings with a step at least, not 3"),
        ([[]], "a stream is a sequence of mappings with a step at least"),
        ([[x(1)], "no"], "a stream is a sequence of mappings with a step at least, not 'no'"),
        ([x(1), 4], "step 1 is int, not a mapping by input name"),
        ([{**x(1), "z": 1}], "there is no input 'z'; there is x"),
        ([{"x": np.zeros((1, 2))}], "step 0: x has dtype float64; the contract says float32"),
        ([{"x": np.zeros((1, 3), np.float32)}], r"step 0: x has shape \(1, 3\)"),
        ([x(1), {"x": np.full((1, 2), np.nan, np.float32)}], "step 1: x holds nan"),
        (lambda step: 1 / 0, "step 0: ZeroDivisionError: division by zero"),
        (lambda step: [][step], "the function gives no step 0"),
        (lambda step: x(1) if step < 2 else {}, "step 2 lacks the input x"),
        (lambda step: x(1) if step < 2 else 1 / 0, "step 2: ZeroDivisionError"),
    ],
)
def test_what_are_no_examples_is_named(given, words):
    with pytest.raises(ConfigError, match=words):
        list(of(given).alone(0, 4))


def test_streams_begin_at_their_initial_states_and_with_the_conditions_given():
    contract = Contract(
        (
            GraphSpec(
                "look", (TensorSpec("image", "float32", (BATCH, 2)),), (TensorSpec("start", "float32", (BATCH, 2)),)
            ),
            GraphSpec(
                "step",
                (X,),
                (TensorSpec("y", "float32", (BATCH, 2)),),
                (
                    StateSpec("h", "float32", (BATCH, 2), initial=FromGraph("look", "start")),
                    StateSpec("k", "float32", (BATCH, 2), initial=FromFile("k.npy")),
                ),
                (ConditionSpec("gain", "float32", (BATCH, 2)),),
            ),
        )
    )

    class Look(nn.Module):
        def forward(self, image):
            return 2 * image

    class Step(nn.Module):
        def forward(self, x, gain, h, k):
            return x * gain + h + k, 0.5 * h + x, 0.5 * k + x

    look, step = Look(), Step()
    graphs = [
        Graph(contract["look"], look, look),
        Graph(contract["step"], step, step, {"k.npy": torch.tensor([3.0, 4.0])}),
    ]
    engines = {graph.spec.name: EagerEngine(graph.module, graph.spec) for graph in graphs}
    image, gain = np.array([[5, 6]], np.float32), np.array([[9, 9]], np.float32)
    given = [{"image": image, "gain": gain, **x(1)}, x(2)]
    examples = RealInputs(given, contract).of(contract["step"])
    alone, recorded, together = example_streams(graphs[1], graphs, engines, examples, 4)
    np.testing.assert_array_equal(alone.states["h_in"], 2 * image)
    np.testing.assert_array_equal(alone.states["k_in"], [[3, 4]])
    np.testing.assert_array_equal(alone.conditions["gain"], gain)
    assert recorded.recorded
    assert not recorded.states["h_in"].any()
    np.testing.assert_array_equal(together.states["h_in"], np.repeat(2 * image, 4, axis=0))
    assert values(alone.inputs()) == [[1], [2], [1], [2]]


class UnitNorm(nn.Module):
    """Divides by the root of a running magnitude, and knows no number below zero."""

    def forward(self, power, level):
        level = 0.99 * level + 0.01 * power
        return power / torch.sqrt(level), level


def unit_norm(**limits):
    return GraphSpec(
        "step",
        (TensorSpec("power", "float32", (BATCH, 4), **limits),),
        (TensorSpec("y", "float32", (BATCH, 4)),),
        (StateSpec("level", "float32", (BATCH, 4), initial=FromFile("level.npy")),),
    )


INITIAL = {"level.npy": torch.full((4,), 0.01)}


def test_a_source_that_gives_no_number_says_at_which_input(tmp_path):
    words = (
        r"the source itself gives nan in y at step \d+, where power is from -\d.* to \d.*; give real inputs as examples"
    )
    with pytest.raises(ExportError, match=words):
        export_module(UnitNorm(), unit_norm(), out=tmp_path / "b", initial=INITIAL, steps=64)


def test_limits_and_examples_keep_to_what_the_network_takes(tmp_path):
    random = np.random.default_rng(0)
    real = [{"power": random.random((1, 4), np.float32)} for _ in range(40)]
    with convert_once(UnitNorm):
        limited = export_module(UnitNorm(), unit_norm(low=0.0), out=tmp_path / "a", initial=INITIAL, steps=64)
        given = export_module(UnitNorm(), unit_norm(), out=tmp_path / "b", initial=INITIAL, steps=64, examples=real)
    assert limited.parity.max_share < 0.1
    assert given.parity.max_share < 0.1
    recorded = Bundle.load(tmp_path / "b").files["golden/step/inputs.power.npy"]
    np.testing.assert_array_equal(from_npy(recorded, "power")[:40], [each["power"] for each in real])


def test_examples_that_give_no_number_are_the_networks_own_fault(tmp_path):
    real = [{"power": np.full((1, 4), -1, np.float32)}]
    with pytest.raises(ExportError, match="gives nan in y at step 1, where power is -1; the network itself is at"):
        export_module(UnitNorm(), unit_norm(), out=tmp_path / "b", initial=INITIAL, examples=real)


class Alarm(nn.Module):
    """Rings at what is louder than any random number."""

    def __init__(self, threshold=30.0) -> None:
        super().__init__()
        self.register_buffer("threshold", torch.tensor(threshold))

    def forward(self, x, h):
        return torch.where(x > self.threshold, 10 * torch.ones_like(x), h), 0.5 * h + 0.1 * x


class Deaf(nn.Module):
    def forward(self, x, h):
        return h * 1, 0.5 * h + 0.1 * x


@pytest.mark.parametrize(
    ("spec", "given"),
    [
        (SUM, {"examples": [x(0.5)] * 2000 + [x(40)]}),
        (GraphSpec("step", (TensorSpec("x", "float32", (BATCH, 2), bound=40.0, low=-1),), SUM.outputs, SUM.states), {}),
    ],
)
def test_what_is_rare_is_seen(tmp_path, monkeypatch, spec, given):
    """A rare input among the examples, however late, and the ends of the limits."""
    deaf = {"step": EagerEngine(Deaf(), spec)}
    monkeypatch.setattr("edgernn.runtime.OnnxEngine.run", lambda self, feeds: deaf["step"].run(feeds))
    with pytest.raises(ParityError, match=r"y at step .*: the artifact gives .* where its source gives 10"):
        export_module(Alarm(), spec, out=tmp_path / "b", steps=16, **given)


class Counter(nn.Module):
    """The share of a long cycle, which single precision loses count of."""

    def forward(self, x, t):
        return x + (t % 1000).to(torch.float32).unsqueeze(1) / 1000, t + 1


def test_long_counters_are_seen(tmp_path, monkeypatch):
    class Rounded(nn.Module):
        def forward(self, x, t):
            return x + (t.to(torch.float32) % 1000).unsqueeze(1) / 1000, t + 1

    spec = GraphSpec("step", (X,), SUM.outputs, (StateSpec("t", "int64", (BATCH,)),))
    exported = export_module(Counter(), spec, out=tmp_path / "a", steps=16)
    assert exported.parity.mismatches == 0 < exported.parity.compared
    rounded = EagerEngine(Rounded(), spec)
    monkeypatch.setattr("edgernn.runtime.OnnxEngine.run", lambda self, feeds: rounded.run(feeds))
    with pytest.raises(ParityError, match="y at step 1 with 4 streams"):
        export_module(Counter(), spec, out=tmp_path / "b", steps=16)


def test_a_tiny_constant_is_not_optimised_away(tmp_path):
    """onnxscript takes x + 1e-10 for x, and the logarithm of zero is far from that of 1e-10."""

    class Decibels(nn.Module):
        def forward(self, x, h):
            return torch.log(x * x + 1e-10), h * 0.999999 + x

    export_module(Decibels(), SUM, out=tmp_path / "b", steps=16)
    zero = np.zeros((1, 2), np.float32)
    outputs, state = Model.load(tmp_path / "b").step({"x": zero}, {"h": zero + 1})
    np.testing.assert_allclose(outputs["y"], np.log(1e-10), rtol=1e-6)
    assert state["h"][0, 0] == np.float32(0.999999)


class Weather(nn.Module):
    """Kelvin, pascals and per cent, in and out."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.out = nn.LSTMCell(3, 16), nn.Linear(16, 3)
        self.register_buffer("mean", torch.tensor([288.15, 101325.0, 60.0]))
        self.register_buffer("std", torch.tensor([9.0, 900.0, 20.0]))

    def forward(self, x, h, c):
        h, c = self.cell((x - self.mean) / self.std, (h, c))
        return self.out(h) * self.std + self.mean, h, c


HC = tuple(StateSpec(name, "float32", (BATCH, 16)) for name in "hc")


def test_physical_units_are_held_to_their_size(tmp_path):
    torch.manual_seed(0)
    module, random = Weather(), np.random.default_rng(0)
    spec = GraphSpec("step", *((TensorSpec(name, "float32", (BATCH, 3)),) for name in "xy"), HC)
    real = [
        {"x": (random.normal(size=(1, 3)) * [9, 900, 20] + [288, 101325, 60]).astype(np.float32)} for _ in range(50)
    ]
    parity = export_module(module, spec, out=tmp_path / "b", examples=real).parity
    assert parity.max_abs_diff_outputs < 0.1  # of pascals
    assert parity.max_share < 0.05


class Policy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell, self.out = nn.LSTMCell(6, 16), nn.Linear(16, 5)

    def forward(self, x, h, c):
        h, c = self.cell(x, (h, c))
        logits = 5 * self.out(h)
        return logits.argmax(1), logits, h, c


POLICY = GraphSpec(
    "step",
    (TensorSpec("x", "float32", (BATCH, 6)),),
    (TensorSpec("action", "int64", (BATCH,)), TensorSpec("logits", "float32", (BATCH, 5))),
    HC,
)


def test_an_action_that_is_off_by_one_fails_at_fp32(tmp_path, monkeypatch):
    torch.manual_seed(0)
    module = Policy()
    right = EagerEngine(module, POLICY)

    def off(self, feeds):
        action, *rest = right.run(feeds)
        return [np.minimum(action + (feeds["x"][:, 0] > 2), 4), *rest]

    assert export_module(module, POLICY, out=tmp_path / "a").parity.mismatches == 0
    monkeypatch.setattr("edgernn.runtime.OnnxEngine.run", off)
    with pytest.raises(ParityError, match=r"action at step .* elements differ, and int64 must be equal"):
        export_module(module, POLICY, out=tmp_path / "b")


def test_actions_that_differ_at_a_lower_precision_are_counted_and_recorded(tmp_path):
    torch.manual_seed(0)
    exported = export_module(Policy(), POLICY, out=tmp_path / "b", precision="int4", tolerance={"mismatches": 0.75})
    assert 0 < exported.parity.mismatches < 0.5 * exported.parity.compared
    manifest = Bundle.load(tmp_path / "b").manifest
    assert manifest.golden["step"]["tolerance"]["mismatches"] == 0.75
    assert manifest.parity["mismatches"] == exported.parity.mismatches
    assert manifest.parity["tolerance_mismatches"] == 0.75
    with pytest.raises(ParityError, match=r"action: \d+ of \d+ elements over \d+ steps differ"):
        export_module(Policy(), POLICY, out=tmp_path / "c", precision="int4", tolerance={"mismatches": 1e-4})
    with pytest.raises(ConfigError, match="there is no tolerance 'largest'"):
        export_module(Policy(), POLICY, out=tmp_path / "c", tolerance={"largest": 1})


@pytest.mark.parametrize(
    ("limits", "value", "words"),
    [
        ({"bound": 1.0}, 1.5, "step 2: x holds 1.5, which is outside its limits in the contract: -1 to 1"),
        ({"low": 0.0, "bound": 2.0}, -0.5, "holds -0.5, which is outside its limits in the contract: 0 to 2"),
        ({"low": 0.0}, -0.25, "holds -0.25, which is outside its limits in the contract: 0 to no greatest"),
    ],
)
def test_examples_outside_the_limits_of_a_real_input_are_refused(tmp_path, limits, value, words):
    class Sum(nn.Module):
        def forward(self, x, h):
            return (h, x + h)

    spec = GraphSpec(
        "step",
        inputs=(TensorSpec("x", "float32", (BATCH, 2), **limits),),
        outputs=(TensorSpec("y", "float32", (BATCH, 2)),),
        states=(StateSpec("h", "float32", (BATCH, 2)),),
    )
    steps = [{"x": np.full((1, 2), each, np.float32)} for each in (0.5, 1.0, value)]
    with pytest.raises(ConfigError, match=re.escape(words)):
        export_module(Sum(), spec, out=tmp_path / "b", examples=steps, steps=8)
    assert list(tmp_path.iterdir()) == []


def test_an_array_is_no_examples(tmp_path):
    with pytest.raises(ConfigError, match="examples are a sequence of mappings by input name"):
        export_module(Policy(), POLICY, out=tmp_path / "b", examples=np.zeros((4, 2)), steps=8)
