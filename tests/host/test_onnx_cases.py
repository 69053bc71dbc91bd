"""ONNX's own backend tests of what recurs, branches or holds sequences: adopted and equal, or refused by name."""

import warnings
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from onnx.backend.test.loader import load_model_tests

from edgernn.errors import EdgeRNNError
from edgernn.exporters.adoption import AdoptSpec, adopt
from edgernn.exporters.capture.rewrite import all_nodes
from edgernn.runtime import Model

KINDS = ("simple", "pytorch-converted", "pytorch-operator")  # of cases that are files
OPERATORS = {"LSTM", "GRU", "RNN", "Scan", "Loop", "If"}
PARTS = ("Sequence", "Optional")  # of the names of operators
TENSORS_ONLY = "a contract holds tensors only"
BY_VALUES = "depends on values"
LAYOUT = "cannot be loaded: [ONNXRuntimeError] : 1 : FAIL"
NOT_THERE = "NOT_IMPLEMENTED : Could not find an implementation"
EXAMPLE = "give some with --example"  # and then they are adopted
# What is refused, by the beginning of the name, and the words that say why. All other cases are adopted.
REFUSED = {
    "test_affine_grid_": EXAMPLE,  # sizes are inputs, and random ones fit nothing
    "test_sequence_model8": "split_size_sum (2) != split_dim_size (1)",  # its own tensor has no elements
    "test_gru_batchwise": LAYOUT,  # onnxruntime has no such layout on the CPU
    "test_lstm_batchwise": LAYOUT,
    "test_simple_rnn_batchwise": LAYOUT,
    "test_if_opt": TENSORS_ONLY,
    "test_if_seq": TENSORS_ONLY,
    "test_loop11": BY_VALUES,  # how often it turns is an input
    "test_loop13_seq": TENSORS_ONLY,
    "test_loop16_seq_none": TENSORS_ONLY,
    "test_optional_get_element_tensor": NOT_THERE,
    "test_optional_has_element_empty_no_input": NOT_THERE,
    "test_optional_": TENSORS_ONLY,
    "test_range_bfloat16": "elements of type bfloat16",
    "test_range_": BY_VALUES,
    "test_reversesequence_bfloat16": "elements of type bfloat16",
    "test_sequence_insert_at_": TENSORS_ONLY,
    "test_sequence_map_": TENSORS_ONLY,
    "test_split_to_sequence_": TENSORS_ONLY,
}


def chosen():
    """The cases of operators that recur, branch or hold sequences, with their models and data."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # casts of its own overflow while it makes cases of other operators
        made = load_model_tests(kind="node")
    for cases in (made, *(load_model_tests(kind=kind) for kind in KINDS)):
        for case in cases:
            model = case.model or onnx.load(Path(case.model_dir) / "model.onnx")
            found = {node.op_type for node in all_nodes(model.graph)}
            if found & OPERATORS or any(part in operator for operator in found for part in PARTS):
                yield model, case


def data(case):
    """Inputs and outputs of a case, in order."""
    if case.data_sets is not None:
        yield from case.data_sets
        return
    for folder in sorted(Path(case.model_dir).glob("test_data_set_*")):
        yield [
            [
                numpy_helper.to_array(onnx.TensorProto.FromString((folder / f"{kind}_{number}.pb").read_bytes()))
                for number in range(len(list(folder.glob(f"{kind}_*.pb"))))
            ]
            for kind in ("input", "output")
        ]


def outcome(path, out, **options):
    """What came of it, or the message with which it is refused."""
    try:
        return adopt([path], AdoptSpec(**options), out)
    except EdgeRNNError as error:
        return str(error)


def check_equal(adoption, folder, model, case):
    """Assert that the bundle returns what the case expects."""
    here = {own: name for name, own in adoption.renamed.get("step", {}).items()}
    bundle = Model.load(folder)
    (spec,) = adoption.contract.graphs
    constants = {tensor.name for tensor in model.graph.initializer}
    names = [here.get(v.name, v.name) for v in model.graph.input if v.name not in constants]
    for given, expected in data(case):
        feeds = dict(zip(names, map(np.asarray, given), strict=True))
        state = {state.name: feeds[state.input] for state in spec.states}
        outputs, after = bundle.step({tensor.name: feeds[tensor.name] for tensor in spec.inputs}, state)
        results = {**outputs, **{state.output: after[state.name] for state in spec.states}}
        for value, array in zip(model.graph.output, expected, strict=True):
            actual = results[here.get(value.name, value.name)]
            assert actual.dtype == np.asarray(array).dtype
            np.testing.assert_allclose(actual, array, rtol=case.rtol, atol=max(case.atol, 1e-5))


@pytest.mark.slow
def test_every_case_is_adopted_and_equal_or_refused_by_name(tmp_path):
    refused, taken = {}, 0
    for model, case in chosen():
        path, folder = tmp_path / f"{case.name}.onnx", tmp_path / case.name
        onnx.save(model, path)
        expected = next((words for name, words in REFUSED.items() if case.name.startswith(name)), "")
        found = outcome(path, folder)
        if isinstance(found, str) and found.startswith("which of these are states?"):
            assert "--no-states" in found
            found = outcome(path, folder, states=[])
        if isinstance(found, str):
            assert expected, f"{case.name} is refused: {found}"
            assert expected in found
            assert "\n" not in found
            assert not folder.exists()
            refused[case.name] = found
        if expected == EXAMPLE:
            names = [value.name for value in model.graph.input]
            given = next(iter(data(case)))[0]
            np.savez(tmp_path / "e.npz", **{n: np.asarray(a)[None] for n, a in zip(names, given, strict=True)})
            found = outcome(path, folder, states=[], example=tmp_path / "e.npz")
            assert not isinstance(found, str), found
        if not isinstance(found, str):
            assert expected in ("", EXAMPLE), f"{case.name} is adopted, but the table says that it is refused"
            check_equal(found, folder, model, case)
            taken += 1
    assert taken > 30
    assert [name for name in REFUSED if not any(case.startswith(name) for case in refused)] == []
