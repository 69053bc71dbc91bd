import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import CONDITIONED, TinyLanguage

from edgernn.contract import (
    BATCH,
    DTYPES,
    ConditionSpec,
    Contract,
    FeedCheck,
    FromFile,
    FromGraph,
    GraphSpec,
    StateSpec,
    TensorSpec,
    canonical_json,
    check,
    check_tensor,
    contract_from_json,
    contract_to_json,
    graph_from_json,
    graph_to_json,
    select,
    stack,
    unstack,
)
from edgernn.errors import ContractError, FormatError

names = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)
axes = st.lists(st.one_of(st.integers(1, 9), names.filter(lambda n: n != BATCH)), max_size=3).flatmap(
    lambda rest: st.integers(0, len(rest)).map(lambda at: (*rest[:at], BATCH, *rest[at:]))
)
tensors = st.builds(TensorSpec, names, st.sampled_from(DTYPES), axes)
conditions = st.builds(ConditionSpec, names.map("cond_{}".format), st.sampled_from(DTYPES), axes)
states = st.builds(
    StateSpec,
    names.map("state_{}".format),
    st.sampled_from(DTYPES),
    axes,
    initial=st.one_of(st.builds(FromFile, st.just("initial/x.npy"))),
)


@st.composite
def graphs(draw) -> GraphSpec:
    def unique(kind):
        return draw(st.lists(kind, max_size=3, unique_by=lambda spec: spec.name))

    return GraphSpec(draw(names), unique(tensors), unique(tensors.map(_output)), unique(states), unique(conditions))


def _output(spec: TensorSpec) -> TensorSpec:
    return TensorSpec(f"out_{spec.name}", spec.dtype, spec.axes)


@given(graphs())
def test_json_goes_both_ways(graph):
    contract = Contract((graph,))
    through_text = json.loads(json.dumps(contract_to_json(contract)))
    assert contract_from_json(through_text) == contract
    assert canonical_json(contract_from_json(through_text)) == canonical_json(contract)


def test_json_of_every_kind_of_source():
    assert contract_from_json(contract_to_json(CONDITIONED)) == CONDITIONED
    step = contract_to_json(CONDITIONED)["graphs"][1]
    assert step["conditions"][0]["source"] == {"graph": "encode", "output": "features"}
    assert step["conditions"][1]["source"] is None
    assert [state["initial"] for state in step["states"]] == [
        {"graph": "encode", "output": "h0"},
        {"file": "initial/p.npy"},
    ]


def test_a_state_is_an_input_and_an_output():
    step = TinyLanguage.random().contract["step"]
    assert step.input_names == ("token", "h_in", "c_in")
    assert step.output_names == ("logits", "h_out", "c_out")
    state = StateSpec("h", "float32", (BATCH,), input="state", output="stateN")
    assert graph_to_json(GraphSpec("g", (), (), (state,)))["states"][0]["output"] == "stateN"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: TensorSpec("a b", "float32", (1,)), "'a b' is no name"),
        (lambda: TensorSpec("x", "float31", (1,)), "dtype 'float31'"),
        (lambda: TensorSpec("x", "float32", (0,)), "axis 0"),
        (lambda: TensorSpec("x", "float32", (True,)), "axis True"),
        (lambda: TensorSpec("x", "float32", (BATCH, BATCH)), "batch axis twice"),
        (lambda: TensorSpec("x", "float32", (1,), bound=float("nan")), "float32 cannot have the bound nan"),
        (lambda: TensorSpec("x", "float32", (1,), low=float("-inf")), "float32 cannot have the low -inf"),
        (lambda: TensorSpec("x", "float32", (1,), bound="3"), "float32 cannot have the bound '3'"),
        (lambda: TensorSpec("x", "float32", (1,), bound=1.0, low=1.0), r"no value lies between 1\.0 and 1\.0"),
        (lambda: TensorSpec("x", "float32", (1,), bound=-1.0), r"no value lies between 1\.0 and -1\.0"),
        (lambda: TensorSpec("x", "int64", (1,), bound=3.0), r"int64 cannot have the bound 3\.0"),
        (lambda: TensorSpec("x", "int64", (1,), bound=0), "no value lies between 0 and 0"),
        (lambda: TensorSpec("x", "uint8", (1,), low=-1), "uint8 begins at 0, and has no low -1"),
        (lambda: TensorSpec("x", "int8", (1,), bound=129), "int8 begins at -128, and has no bound 129"),
        (lambda: TensorSpec("x", "bool", (1,), bound=1), "bool cannot have the bound 1"),
        (lambda: GraphSpec("g", (TensorSpec("x", "bool", ()),) * 2, ()), "input 'x' is declared twice"),
        (
            lambda: GraphSpec("g", (), (), (h,), (ConditionSpec("h", "bool", ()),)),
            "condition or state 'h' is declared twice",
        ),
        (lambda: Contract(()), "at least one graph"),
        (lambda: _sourced(FromGraph("nowhere", "y")), "no graph 'nowhere'"),
        (lambda: _sourced(FromGraph("encode", "z")), "no output 'z'"),
        (lambda: _sourced(FromGraph("encode", "y"), axes=(BATCH, 5)), r"h of graph step is float32\['batch', 5\]"),
        (lambda: _sourced(FromGraph("step", "y")), "needs more than inputs to run"),
    ],
)
def test_impossible_contracts_are_refused(make, words):
    with pytest.raises(ContractError, match=words):
        make()


def _sourced(source: FromGraph, axes=(BATCH, 4)) -> Contract:
    y = TensorSpec("y", "float32", (BATCH, 4))
    return Contract(
        (GraphSpec("encode", (), (y,)), GraphSpec("step", (), (y,), (StateSpec("h", "float32", axes, initial=source),)))
    )


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "not an object"),
        ({}, "lacks 'graphs'"),
        ({"graphs": 3}, "not a list"),
        ({"graphs": [], "extra": 1}, "unknown 'extra'"),
        ({"graphs": [{"name": "g"}]}, "lacks 'conditions'"),
    ],
)
def test_other_json_is_refused(value, words):
    with pytest.raises(FormatError, match=words):
        contract_from_json(value)


token = TensorSpec("token", "int64", (BATCH,), bound=5)
h = StateSpec("h", "float32", (2, BATCH, 3))


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros(2, np.int32), "dtype int32; the contract says int64"),
        (np.zeros((2, 1), np.int64), r"shape \(2, 1\); the contract says \(batch\)"),
        (np.array([0, 5]), r"holds 5, outside 0\.\.4"),
        (np.array([-1]), r"holds -1, outside 0\.\.4"),
        ([0], "list, not a numpy array"),
    ],
)
def test_tensors_that_do_not_fit_are_named(array, words):
    with pytest.raises(ContractError, match=words):
        check_tensor(token, array, {})


def test_named_axes_must_agree():
    with pytest.raises(ContractError, match=r"h has shape \(2, 1, 3\).*with batch = 4"):
        check("state", [h], {"h": np.zeros((2, 1, 3), np.float32)}, {BATCH: 4})
    with pytest.raises(ContractError, match="the state 'h' is missing"):
        check("state", [h], {}, {})
    with pytest.raises(ContractError, match="there is no state 'g'"):
        check("state", [h], {"h": np.zeros((2, 1, 3), np.float32), "g": np.zeros(1)}, {})


@given(st.integers(1, 5), st.randoms(use_true_random=False))
def test_stack_and_unstack_are_inverses(batch, random):
    specs = (h, StateSpec("p", "int64", (BATCH,)))
    whole = {
        "h": np.array([random.randrange(99) for _ in range(2 * batch * 3)], np.float32).reshape(2, batch, 3),
        "p": np.array([random.randrange(9) for _ in range(batch)]),
    }
    parts = unstack(specs, whole)
    assert [part["h"].shape for part in parts] == [(2, 1, 3)] * batch
    again = stack(specs, parts)
    rows = [random.randrange(batch) for _ in range(4)]
    chosen = select(specs, whole, rows)
    for name, array in whole.items():
        np.testing.assert_array_equal(again[name], array)
    np.testing.assert_array_equal(chosen["h"], whole["h"][:, rows])
    np.testing.assert_array_equal(chosen["p"], whole["p"][rows])


def test_without_a_batch_axis_streams_cannot_be_batched():
    fixed = StateSpec("s", "float32", (1, 2))
    whole = {"s": np.zeros((1, 2), np.float32)}
    for operate, arguments in ((stack, [[whole]]), (unstack, [whole]), (select, [whole, [0]])):
        with pytest.raises(ContractError, match="s declares no batch axis"):
            operate([fixed], *arguments)
    assert not GraphSpec("g", (), (), (fixed,)).batched
    assert TinyLanguage.random().contract["step"].batched


@pytest.mark.parametrize(
    ("tensor", "good", "bad", "words"),
    [
        (TensorSpec("t", "int64", (2,), bound=5), [0, 4], [0, 5], r"t holds 5, outside 0\.\.4"),
        (TensorSpec("t", "int64", (2,), bound=5), [4, 0], [-1, 4], r"t holds -1, outside 0\.\.4"),
        (TensorSpec("t", "int32", (2,), bound=5, low=-3), [-3, 4], [-4, 4], r"t holds -4, outside -3\.\.4"),
        (TensorSpec("t", "int16", (2,), low=2), [2, 9999], [3, 1], "t holds 1, below 2"),
        (TensorSpec("t", "int64", (2,), bound=-1, low=-3), [-3, -2], [-2, -1], r"t holds -1, outside -3\.\.-2"),
    ],
)
def test_integers_are_held_within_their_limits(tensor, good, bad, words):
    """Both by the check of one tensor, and by that of a step, which is quick once such arrays have passed."""
    check = FeedCheck(GraphSpec("g", (tensor,), ()))
    for _ in range(2):
        check({"t": np.array(good, tensor.dtype)}, {}, {})
        for refuse in (
            lambda: check_tensor(tensor, np.array(bad, tensor.dtype), {}),
            lambda: check({"t": np.array(bad, tensor.dtype)}, {}, {}),
        ):
            with pytest.raises(ContractError, match=words):
                refuse()


@pytest.mark.parametrize(
    ("tensor", "limits", "magnitude"),
    [
        (TensorSpec("x", "float32", (1,)), (None, None), None),
        (TensorSpec("x", "float32", (1,), bound=2), (-2.0, 2.0), 2.0),
        (TensorSpec("x", "float32", (1,), bound=2.0, low=0), (0.0, 2.0), 2.0),
        (TensorSpec("x", "float32", (1,), bound=2.0, low=-3.5), (-3.5, 2.0), 3.5),
        (TensorSpec("x", "float32", (1,), low=0.0), (0.0, None), None),
        (TensorSpec("x", "int64", (1,), bound=7), (0, 7), None),
        (TensorSpec("x", "int64", (1,), bound=7, low=3), (3, 7), None),
    ],
)
def test_the_limits_of_a_tensor(tensor, limits, magnitude):
    """`low` takes the place of 0 and of minus the bound, and survives JSON."""
    assert (tensor.limits, tensor.magnitude) == (limits, magnitude)
    graph = GraphSpec("g", (tensor,), ())
    assert graph_from_json(json.loads(json.dumps(graph_to_json(graph)))) == graph


def test_scores_of_classes_may_come_late():
    spec = TensorSpec("scores", "float32", (BATCH, 3), kind="label", delay=4)
    graph = GraphSpec("step", (TensorSpec("x", "float32", (BATCH,)),), (spec,), (StateSpec("h", "float32", (BATCH,)),))
    assert graph_from_json(graph_to_json(graph)) == graph
    assert graph_to_json(graph)["outputs"][0]["delay"] == 4
    assert "delay" not in graph_to_json(graph)["inputs"][0]
    with pytest.raises(ContractError, match="a delay in steps belongs to the kind label"):
        TensorSpec("x", "float32", (BATCH,), delay=1)
    for wrong in (-1, True, 1.5, 10**7):
        with pytest.raises(ContractError, match="is not from 0 to 1000000"):
            TensorSpec("scores", "float32", (BATCH, 3), kind="label", delay=wrong)


def test_a_state_that_begins_as_a_tensor_of_a_file_is_laid_out_in_order():
    """Engines write to the memory of states, which a copy in another order would not be."""
    spec = StateSpec("canvas", "float32", (BATCH, 4, 5, 3), initial=FromFile("colour.npy"))
    first = spec.first({BATCH: 2}, {"colour.npy": np.arange(3, dtype=np.float32)})
    assert first.flags.c_contiguous
    assert first.flags.writeable
    assert first[1, 3, 4].tolist() == [0, 1, 2]
