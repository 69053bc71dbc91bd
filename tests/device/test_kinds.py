"""What a tensor means comes from its kind, and from its name only in old bundles of language and caption models."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import TinyLanguage, write_captioner, write_namesake, write_text_classifier

from edgernn.bundle import Bundle, check_text
from edgernn.contract import (
    BATCH,
    KINDS,
    ConditionSpec,
    Contract,
    GraphSpec,
    StateSpec,
    TensorSpec,
    canonical_json,
    contract_from_json,
    contract_to_json,
    with_kinds,
)
from edgernn.errors import BundleError, ContractError, FormatError, StreamError
from edgernn.runtime import Batch, Model, Sampler, beam_search, suggest
from edgernn.runtime.benchmark import measure
from edgernn.runtime.scoring import predictions, score
from edgernn.tokenizer import Tokenizer

GOLDEN = Path(__file__).parents[2] / "export" / "golden"

kinds = st.sampled_from(sorted(KINDS)).flatmap(
    lambda kind: st.builds(
        TensorSpec,
        st.just("x"),
        st.sampled_from(KINDS[kind]),
        st.just((BATCH, 3)),
        kind=st.just(kind),
        rate=st.integers(1, 1_000_000) if kind == "audio" else st.none(),
    )
)


def kinds_of(contract: Contract, graph: str = "step") -> dict[str, str]:
    spec = contract[graph]
    return {tensor.name: tensor.kind for tensor in (*spec.inputs, *spec.outputs) if tensor.kind}


def with_outputs(contract: Contract, *outputs: TensorSpec) -> Contract:
    return Contract((replace(contract["step"], outputs=outputs),))


@given(kinds)
def test_kinds_and_rates_go_through_json(tensor):
    contract = Contract((GraphSpec("step", (tensor,), (replace(tensor, name="y"),)),))
    text = canonical_json(contract)
    assert contract_from_json(json.loads(text)) == contract
    record = contract_to_json(contract)["graphs"][0]["inputs"][0]
    assert (record["kind"], record.get("rate")) == (tensor.kind, tensor.rate)


@pytest.mark.parametrize(
    ("dtype", "about", "words"),
    [
        ("float32", {"kind": "smell"}, "float32 cannot be of kind 'smell'; there is token"),
        ("float32", {"kind": "token"}, r"cannot be of kind 'token'; there is token \(int64 or int32\)"),
        ("int64", {"kind": "next-token"}, "int64 cannot be of kind 'next-token'"),
        ("float32", {"kind": "audio"}, "a rate in samples per second belongs to the kind audio"),
        ("float32", {"rate": 16000}, "a rate in samples per second belongs to the kind audio"),
        ("float32", {"kind": "label", "rate": 16000}, "a rate in samples per second belongs to the kind audio"),
        ("int16", {"kind": "audio", "rate": 0}, "a rate of 0 is not from 1"),
        ("int16", {"kind": "audio", "rate": True}, "a rate of True is not from 1"),
        ("int16", {"kind": "audio", "rate": 16000.0}, r"a rate of 16000\.0 is not from 1"),
    ],
)
def test_kinds_that_do_not_fit_are_refused(dtype, about, words):
    with pytest.raises(ContractError, match=words):
        TensorSpec("x", dtype, (BATCH,), **about)
    record = {"name": "x", "dtype": dtype, "axes": [BATCH], **about}
    graph = {"name": "g", "inputs": [record], "conditions": [], "states": [], "outputs": []}
    with pytest.raises(ContractError, match=words):
        contract_from_json({"graphs": [graph]})


@pytest.mark.parametrize("kind", [None, 3, [], {}])
def test_a_kind_that_is_not_a_word_is_refused(kind):
    record = {"name": "x", "dtype": "float32", "axes": [BATCH], "kind": kind}
    graph = {"name": "g", "inputs": [record], "conditions": [], "states": [], "outputs": []}
    with pytest.raises(FormatError, match=r"kind: .* is not a string"):
        contract_from_json({"graphs": [graph]})


@pytest.mark.parametrize(
    ("name", "digest"),
    [
        ("characters-fp32", "9bcd51ef2a5ef9ddc0751a1868dfc74a36f3c0b4b69157012e871aad300bd8d4"),
        ("looker", "8eda870762a086cce9461e3b28061304e87a12da24471648d3fedfa015458876"),
    ],
)
def test_the_text_of_a_contract_without_kinds_never_changes(name, digest):
    """Digests of bundles are made of it."""
    contract = Bundle.load(GOLDEN / name).manifest.contract
    assert hashlib.sha256(canonical_json(contract).encode()).hexdigest() == digest


def test_one_tensor_of_a_kind_is_found_and_two_are_not():
    scores = TensorSpec("a", "float32", (BATCH, 3), kind="label")
    spec = GraphSpec("step", (), (scores, replace(scores, name="b", kind="")))
    assert spec.output_of("label") == scores
    assert spec.output_of("next-token") is None
    assert spec.input_of("label") is None
    assert replace(spec, outputs=(scores, replace(scores, name="b"))).output_of("label") is None


def test_names_stand_for_kinds_in_old_bundles(tiny, captioner):
    assert kinds_of(with_kinds(tiny.contract, "language")) == {"token": "token", "logits": "next-token"}
    old = Bundle.load(captioner).manifest.contract
    both = with_kinds(old, "caption")
    assert kinds_of(both) == {"token": "token", "logits": "next-token", "attention": "attention"}
    assert kinds_of(both, "encode") == {"image": "image"}
    assert Model.load(captioner).contract == both
    assert Model.load(captioner).manifest.contract == old
    golden = Model.load(GOLDEN / "characters-int4")
    assert kinds_of(golden.contract) == {"token": "token", "logits": "next-token"}
    assert kinds_of(golden.manifest.contract) == {}


def test_names_stand_for_nothing_elsewhere(tiny):
    contract = tiny.contract
    assert with_kinds(contract, "adopted") is contract
    declared = with_outputs(contract, replace(contract["step"].outputs[0], kind="label"))
    assert with_kinds(declared, "language") is declared
    step = contract["step"]
    held = replace(step, conditions=(ConditionSpec("level", "float32", (BATCH,), kind="label"),))
    assert with_kinds(Contract((held,)), "language") == Contract((held,))
    for tensor in (
        TensorSpec("logits", "float64", (BATCH, 11)),
        TensorSpec("logits", "float32", (BATCH, 2, 11)),
        TensorSpec("logits", "float32", ("time", 11)),
        TensorSpec("logits", "float32", (11, BATCH)),
        TensorSpec("scores", "float32", (BATCH, 11)),
    ):
        assert kinds_of(with_kinds(with_outputs(contract, tensor), "language")) == {"token": "token"}
    states = (StateSpec("logits", "float32", (BATCH, 11)),)
    plain = GraphSpec("step", (TensorSpec("token", "float32", (BATCH,)),), (), states)
    assert kinds_of(with_kinds(Contract((plain,)), "language")) == {}


def test_text_must_fit_the_tokenizer(tiny, tmp_path):
    contract, tokenizer = with_kinds(tiny.contract, "language"), tiny.tokenizer
    check_text(contract, tokenizer)
    check_text(tiny.contract, Tokenizer.characters("a"))  # without kinds there is no text to fit
    (token,), (logits,) = contract["step"].inputs, contract["step"].outputs
    for wrong in (replace(token, bound=12), replace(token, bound=None), replace(token, axes=(BATCH, 1))):
        with pytest.raises(ContractError, match="graph step does not read the 11 tokens of the tokenizer: its input"):
            check_text(Contract((replace(contract["step"], inputs=(wrong,)),)), tokenizer)
    for axes in ((BATCH, 12), (BATCH,), (BATCH, 1, 11)):
        with pytest.raises(ContractError, match="graph step does not predict the 11 tokens of the tokenizer"):
            check_text(with_outputs(contract, replace(logits, axes=axes)), tokenizer)
    with pytest.raises(BundleError, match="does not read the 11 tokens"):
        Model.load(write_text_classifier(tmp_path / "a", bound=12))
    with pytest.raises(BundleError, match="does not predict the 11 tokens"):
        Model.load(write_text_classifier(tmp_path / "b", kind="next-token"))


def test_the_names_of_classes_are_as_many_as_their_scores(tmp_path):
    path = write_text_classifier(tmp_path / "bundle")
    bundle = Bundle.load(path)
    for labels, words in ((["a", "b"], "names 2 classes"), (["a", "b", "c", "d"], "names 4 classes")):
        with pytest.raises(BundleError, match=words):
            Model(replace(bundle, files={**bundle.files, "labels.json": json.dumps(labels).encode()}))
    model = Model(replace(bundle, files={**bundle.files, "labels.json": b'["a", "b", "c"]'}))
    assert model.labels == ("a", "b", "c")


def test_a_text_classifier_reads_and_predicts_nothing(tmp_path):
    model = Model.load(write_text_classifier(tmp_path / "b"))
    stream, by_hand = model.stream(Sampler(seed=0)), model.stream(Sampler(seed=0))
    stream.prefill("abc")
    for token in model.tokenizer.encode("abc"):
        outputs = by_hand.step({"token": np.array([token])})
    assert outputs["scores"].shape == (1, 3)
    assert stream.logits is None
    assert stream.steps == 3
    np.testing.assert_array_equal(stream.state["h"], by_hand.state["h"])
    saved = stream.snapshot()
    assert saved == by_hand.snapshot()
    stream.prefill("d")
    expected = stream.fork().step({"token": np.array([5])})["scores"]
    by_hand.restore(saved)
    by_hand.prefill("d")
    np.testing.assert_array_equal(by_hand.step({"token": np.array([5])})["scores"], expected)
    for ask in (
        lambda: next(stream.decode(1)),
        lambda: next(stream.tokens(1)),
        lambda: stream.complete("a", 1),
        lambda: beam_search(stream),
        lambda: suggest(model, "ab"),
        lambda: score(model, "abc"),
        lambda: list(predictions(model, "abc")),
        lambda: Batch(model),
    ):
        with pytest.raises(StreamError, match="graph step predicts no next token"):
            ask()
    figures = measure({"it": model}, rounds=1, steps=2, batches=(1, 4))["it"]
    assert [row.tokens_per_second for row in figures.rows] == [None, None]
    assert figures.first_token_ms is None


def test_the_names_and_types_of_text_are_the_graphs_own(tiny, tmp_path):
    """A language model whose tensors have other names, and whose ids have 32 bits, is like any other."""
    path = write_text_classifier(tmp_path / "b", dtype="int32", classes=11, kind="next-token")
    model = Model.load(path)
    alone = model.stream(Sampler(seed=3)).complete("abc", 12)
    with Batch(model) as batch:
        slots = [batch.join(model.stream(Sampler(seed=seed)), "abc", 12) for seed in (2, 3)]
        for _ in batch.run():
            pass
    assert slots[1].text == alone
    greedy = model.stream(Sampler(temperature=0))
    greedy.prefill("abc")
    (best,) = beam_search(greedy, 1, 6)
    assert best.text == "".join(greedy.fork().decode(6))
    restored = model.stream()
    restored.restore(greedy.snapshot())
    np.testing.assert_array_equal(restored.logits, greedy.logits)
    assert b'{"group": "logits", "name": "logits", "dtype": "float32", "shape": [11]}' in greedy.snapshot()
    assert len(suggest(model, "ab", 2, unit="token")) == 2
    assert score(model, "abca").tokens == 3


@pytest.mark.parametrize("axes", [(BATCH,), (BATCH, 2), (3, BATCH, 2)])
def test_a_graph_whose_tensors_happen_to_have_these_names_is_plain(tmp_path, axes):
    model = Model.load(write_namesake(tmp_path / "b", axes))
    given_ = np.ones([1 if axis == BATCH else axis for axis in axes], np.float32)
    stream = model.stream()
    stream.step({"token": given_})
    saved, fork = stream.snapshot(), stream.fork()
    for each in (stream, fork):
        np.testing.assert_array_equal(each.step({"token": given_})["logits"], 2 * given_)
    stream.restore(saved)
    assert stream.snapshot() == saved
    assert stream.logits is None
    assert stream.steps == 1
    np.testing.assert_array_equal(stream.step({"token": given_})["logits"], 2 * given_)
    with pytest.raises(
        StreamError, match="the bundle, of the task adopted, has no tokenizer and so reads no text: call step"
    ):
        stream.prefill("a")


def test_only_graphs_that_read_tokens_and_nothing_else_take_a_prompt(tmp_path, tiny):
    model = Model.load(write_captioner(tmp_path / "c"))
    encode = model.stream(graph="encode")
    with pytest.raises(StreamError, match="graph encode reads no token ids: call step"):
        encode.prefill("a")
    assert encode.step({"image": np.zeros((1, 2, 2, 3), np.uint8)})["vector"].shape == (1, 4)
    spec = tiny.contract["step"]
    extra = replace(spec, inputs=(*spec.inputs, TensorSpec("x", "float32", (BATCH,))))
    text = type(model.text_of("step"))(with_kinds(Contract((extra,)), "language")["step"], tiny.tokenizer, "language")
    with pytest.raises(StreamError, match="graph step reads more than a token at each step: call step"):
        text.require_token()
    assert not text.decodes


def test_an_old_language_model_without_tokenizer_only_steps(tmp_path):
    tiny = TinyLanguage.random()
    path = tiny.write(tmp_path / "b")
    files = {name: data for name, data in Bundle.load(path).files.items() if name != "tokenizer.json"}
    model = Model(Bundle(Bundle.load(path).manifest, files))
    stream = model.stream()
    stream.step({"token": np.array([3])})
    saved = stream.snapshot()
    expected = stream.step({"token": np.array([4])})["logits"]
    stream.restore(saved)
    np.testing.assert_array_equal(stream.step({"token": np.array([4])})["logits"], expected)
    with pytest.raises(StreamError, match="has no tokenizer and so reads no text"):
        next(stream.decode(1))
