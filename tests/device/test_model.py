import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import CONDITIONED_START, CONDITIONED_WEIGHT, TinyLanguage, write_conditioned

from edgernn.bundle import Bundle
from edgernn.contract import State
from edgernn.errors import BundleError, ConfigError, ContractError, EngineError, StreamError
from edgernn.runtime import Batch, Model, OnnxEngine, Sampler


@given(st.integers(0, 3), st.integers(1, 5), st.integers(1, 30))
def test_a_step_is_the_oracles_step(tmp_path_factory, seed, batch, steps):
    tiny = TinyLanguage.random(seed, hidden=3 + seed)
    model = Model.load(tiny.write(tmp_path_factory.mktemp("b") / "b"))
    tokens = np.random.default_rng(seed).integers(0, len(tiny.tokenizer), (steps, batch))
    _, state = model.begin(batch=batch)
    h = c = np.zeros((batch, tiny.hidden), np.float32)
    for token in tokens:
        outputs, state = model.step({"token": token}, state)
        logits, h, c = tiny.step(token, h, c)
        np.testing.assert_allclose(outputs["logits"], logits, atol=1e-4)
    np.testing.assert_allclose(state["h"][0], h, atol=1e-5)
    np.testing.assert_allclose(state["c"][0], c, atol=1e-4)


def test_a_step_changes_none_of_its_arguments(model):
    _, state = model.begin()
    before = {name: array.copy() for name, array in state.items()}
    token = np.array([3])
    first, _ = model.step({"token": token}, state)
    second, _ = model.step({"token": token}, state)
    np.testing.assert_array_equal(first["logits"], second["logits"])
    for name, array in state.items():
        np.testing.assert_array_equal(array, before[name])
    assert repr(state) == "State(h: float32[1, 1, 8], c: float32[1, 1, 8])"


@pytest.mark.parametrize(
    ("token", "batch", "words"),
    [
        (np.array([1, 2]), 1, r"h has shape \(1, 1, 8\).*with batch = 2"),
        (np.array([99]), 1, "token holds 99"),
        (np.array([-1]), 1, "token holds -1"),
        (np.array([1.0]), 1, "token has dtype float64"),
    ],
)
def test_inputs_that_do_not_fit_are_named(model, token, batch, words):
    _, state = model.begin(batch=batch)
    with pytest.raises(ContractError, match=words):
        model.step({"token": token}, state)


def test_missing_and_unknown_names_are_named(model):
    _, state = model.begin()
    token = np.array([1])
    with pytest.raises(ContractError, match="the input 'token' is missing"):
        model.step({}, state)
    with pytest.raises(ContractError, match="the state 'c' is missing"):
        model.step({"token": token}, State({"h": state["h"]}))
    with pytest.raises(ContractError, match="no input 'other'"):
        model.step({"token": token, "other": token}, state)
    with pytest.raises(ContractError, match="no graph 'other'; there is step"):
        model.step({"token": token}, state, graph="other")
    with pytest.raises(ContractError, match="a stream of step does not take 'image'"):
        model.stream(inputs={"image": token})


def test_conditions_and_first_states_come_from_other_graphs_and_files(conditioned):
    model = Model.load(conditioned)
    image, gain = np.float32([[1, 2, 3]]), np.float32([[10]])
    stream = model.stream(inputs={"image": image, "gain": gain})
    features = image @ CONDITIONED_WEIGHT
    np.testing.assert_array_equal(stream.conditions["features"], features)
    np.testing.assert_array_equal(stream.state["h"], 2 * features)
    np.testing.assert_array_equal(stream.state["p"], CONDITIONED_START[None])
    x = np.float32([[0.5, -1.0]])
    first, second = stream.step({"x": x})["y"], stream.step({"x": x})["y"]
    np.testing.assert_array_equal(first, 3 * features + 10 * x + CONDITIONED_START)
    np.testing.assert_array_equal(second, 3 * features + 20 * x + CONDITIONED_START + 1)
    resumed = model.stream(inputs={"image": image * 0, "gain": gain})
    resumed.restore(stream.snapshot())
    np.testing.assert_array_equal(resumed.step({"x": x})["y"], stream.step({"x": x})["y"])
    resumed.reset()
    np.testing.assert_array_equal(resumed.step({"x": x})["y"], first)


def test_a_batch_of_streams_begins_together(conditioned):
    model = Model.load(conditioned)
    conditions, state = model.begin({"image": np.eye(3, dtype=np.float32), "gain": np.ones((3, 1), np.float32)})
    outputs, _ = model.step({"x": np.zeros((3, 2), np.float32)}, state, conditions=conditions)
    np.testing.assert_array_equal(outputs["y"], 3 * CONDITIONED_WEIGHT + CONDITIONED_START)


def test_what_a_stream_needs_is_named(conditioned):
    model = Model.load(conditioned)
    image, gain = np.ones((1, 3), np.float32), np.ones((2, 1), np.float32)
    with pytest.raises(ContractError, match="needs the condition 'gain'"):
        model.stream(inputs={"image": image})
    with pytest.raises(ContractError, match="a stream of this model begins with 'image'"):
        model.stream(inputs={"gain": gain})
    with pytest.raises(ContractError, match=r"gain has shape \(2, 1\).*with batch = 1"):
        model.stream(inputs={"image": image, "gain": gain})


def test_an_initial_tensor_that_does_not_fit_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("tiny.CONDITIONED_START", np.zeros(3, np.float32))
    model = Model.load(write_conditioned(tmp_path / "b"))
    with pytest.raises(BundleError, match=r"initial/p.npy does not fit state p"):
        model.begin({"image": np.ones((1, 3), np.float32), "gain": np.ones((1, 1), np.float32)})


@pytest.mark.parametrize(
    ("start", "words"),
    [(np.zeros(2), "is float64; the state p is declared as float32"), (np.array([None]), "holds Python objects")],
)
def test_an_initial_tensor_of_another_type_is_named(tmp_path, monkeypatch, start, words):
    monkeypatch.setattr("tiny.CONDITIONED_START", start)
    with pytest.raises(BundleError, match=f"initial/p.npy {words}"):
        Model.load(write_conditioned(tmp_path / "b"))


def test_a_damaged_graph_is_named(tiny):
    with pytest.raises(EngineError, match="graph step cannot be loaded"):
        OnnxEngine(tiny.onnx()[:100], tiny.contract["step"])
    with pytest.raises(EngineError, match="graph step cannot be loaded"):
        OnnxEngine(b"", tiny.contract["step"])


def test_threads_and_providers_change_no_output(tiny, bundle, model):
    inputs, state = {"token": tiny.tokenizer.encode("a")}, model.begin()[1]
    expected = model.step(inputs, state)[0]["logits"]
    other = Model.load(bundle, threads=2, providers=["cpu", "CPUExecutionProvider"])
    np.testing.assert_allclose(other.step(inputs, state)[0]["logits"], expected, rtol=1e-5)


def test_impossible_threads_and_providers_are_named(bundle):
    for settings, error, words in (
        ({"providers": ["Abacus"]}, EngineError, "this onnxruntime has no provider 'Abacus'; it has .*CPU"),
        ({"threads": 0}, ConfigError, "threads 0 is not a whole number of at least 1 and at most 1,024"),
        ({"threads": 1.5}, ConfigError, "threads 1.5 is not a whole number"),
        ({"threads": 10**6}, ConfigError, "threads 1000000 is not"),
    ):
        with pytest.raises(error, match=words):
            Model.load(bundle, **settings)


def test_what_a_person_prints_is_one_line(model, bundle):
    stream = model.stream(Sampler(0.8, seed=3))
    stream.prefill("ab")
    title = model.title
    assert title.startswith("language onnx fp32 ")
    assert repr(model.contract) == "<Contract step(token) -> logits, states h, c>"
    assert repr(model) == f"<Model {title}: {model.contract!r}, a vocabulary of {len(model.tokenizer)}>"
    assert repr(stream) == f"<Stream of {title}: graph step, 2 steps, Sampler(temperature=0.8, seed=3)>"
    batch = Batch(model)
    batch.join(stream, max_tokens=1)
    assert repr(batch) == f"<Batch of 1 stream of {title}: graph step>"
    loaded = Bundle.load(bundle)
    total = sum(map(len, loaded.files.values()))
    assert repr(loaded) == f"<Bundle {title}: {len(loaded.files)} files, {total:,} bytes>"
    assert repr(loaded.manifest) == f"<Manifest {title}: {model.contract!r}>"
    assert repr(Sampler()) == "Sampler()"
    assert repr(Sampler(0, 5, bias={1: 2.0})) == "Sampler(temperature=0.0, top_k=5, bias={1: 2.0})"


def test_a_stream_takes_a_sampler(model):
    stream = model.stream()
    for wrong in (0.8, "greedy", 40):
        with pytest.raises(
            StreamError, match=f"a stream takes a Sampler and not '{wrong}': write, for example, Sampler"
        ):
            model.stream(wrong)
        with pytest.raises(StreamError, match="a stream takes a Sampler"):
            stream.sampler = wrong
    assert stream.sampler == Sampler()
