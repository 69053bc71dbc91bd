"""Language models: the network, the batches that it learns from, and its score."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from edgernn.data.tokens import TokenArray
from edgernn.errors import CheckFailedError, ConfigError, CorpusError, FormatError
from edgernn.models.cells import CELLS, LSTM
from edgernn.models.stack import INITIALS
from edgernn.sampling import Generator
from edgernn.tasks.language import learner
from edgernn.tasks.language.data import TokenBatches
from edgernn.tasks.language.learner import sample_text, score_tokens
from edgernn.tasks.language.network import LanguageModel
from edgernn.tasks.language.settings import LanguageConfig
from edgernn.tokenizer import Tokenizer

SHAPES = st.fixed_dictionaries(
    {"cell": st.sampled_from(sorted(CELLS)), "hidden": st.integers(1, 8), "initial": st.sampled_from(INITIALS)},
    optional={"embedding": st.integers(1, 8), "residual": st.just(True), "tied": st.just(True)},
).map(lambda shape: {"layers": 3 if shape.get("residual") else 2, **shape})
ONE_HOT = st.builds(
    lambda cell, layers: {"cell": cell, "layers": layers, "input": "one-hot", "hidden": 5},
    st.sampled_from(sorted(CELLS)),
    st.integers(1, 3),
)


def random_model(vocabulary, **shape):
    torch.manual_seed(0)
    model = LanguageModel(LanguageConfig(vocabulary, **shape)).eval().requires_grad_(False)
    for parameter in model.parameters():
        parameter.add_(0.1 * torch.randn_like(parameter))
    return model


@given(st.integers(2, 20), SHAPES | ONE_HOT)
def test_the_step_that_is_deployed_is_the_path_that_is_trained(vocabulary, shape):
    model = random_model(vocabulary, **shape)
    tokens = torch.randint(vocabulary, (12, 2))
    logits, last = model.sequence(tokens, model.initial_state(2))
    state = model.initial_state(2)
    (graph,) = model.graphs()
    source = model.initial_state(2)
    for token, expected in zip(tokens, logits, strict=True):
        ours, *state = model(token, *state)
        theirs, *source = graph.source(token, *source)
        torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(theirs, expected, atol=1e-5, rtol=1e-5)
    for ours, theirs in zip(state, last, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


@given(SHAPES | ONE_HOT, st.integers(1, 11))
def test_a_text_cut_anywhere_is_the_whole_text(shape, cut):
    model = random_model(7, **shape)
    tokens = torch.randint(7, (12, 2))
    whole, _ = model.sequence(tokens, model.initial_state(2))
    head, state = model.sequence(tokens[:cut], model.initial_state(2))
    tail, _ = model.sequence(tokens[cut:], state)
    torch.testing.assert_close(torch.cat([head, tail]), whole, atol=1e-5, rtol=1e-5)


def test_a_residual_stack_adds_each_layers_input_to_its_output():
    model = random_model(5, hidden=4, layers=3, residual=True)
    x = torch.randn(2, 4)
    first, second, third = model.stack.layers
    state = tuple(torch.randn(3, 2, 4) for _ in range(2))
    model.stack.layers[0] = LSTM(4, 4).requires_grad_(False)
    first = model.stack.layers[0]
    y = first.step(x, (state[0][0], state[1][0]))[0]
    y = y + second.step(y, (state[0][1], state[1][1]))[0]
    y = y + third.step(y, (state[0][2], state[1][2]))[0]
    torch.testing.assert_close(model.stack.step(x, state)[0], y)


def test_a_tied_output_is_the_embedding():
    model = random_model(9, embedding=4, hidden=6, tied=True)
    token, state = torch.tensor([2]), model.initial_state(1)
    x, _ = model.stack.step(model.embedding.weight[token], state)
    expected = x @ model.project.weight.T @ model.embedding.weight.T + model.bias
    torch.testing.assert_close(model(token, *state)[0], expected)
    same = random_model(9, embedding=6, hidden=6, tied=True)
    assert sum(p.numel() for p in same.parameters()) == 9 * 6 + 9 + sum(p.numel() for p in same.stack.parameters())


def test_a_learned_initial_state_is_learned():
    model = LanguageModel(LanguageConfig(5, hidden=4, layers=2, initial="learned", dropout=0.0))
    logits, _ = model.sequence(torch.zeros(3, 2, dtype=torch.int64), model.initial_state(2))
    logits.square().sum().backward()
    assert {name for name, p in model.named_parameters() if "initial" in name} == {"stack.initial.h", "stack.initial.c"}
    assert all(float(p.grad.abs().sum()) > 0 for p in model.stack.initial.values())


def test_the_reference_size():
    """The published reference: vocabulary 65, embedding 128, 2 x 256."""
    model = LanguageModel(LanguageConfig(65))
    assert sum(parameter.numel() for parameter in model.parameters()) == 946_625 - 2 * 4 * 256  # one bias, not two


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"cell": "lstn"}, "--cell lstn is not one of lstm, gru, elman, elman-relu"),
        ({"initial": "ones"}, "--initial ones is not one of zeros, learned"),
        ({"input": "two-hot"}, "--input two-hot is not one of embedding, one-hot"),
        ({"input": "one-hot", "embedding": 3}, "--input one-hot has no --embedding"),
        ({"input": "one-hot", "tied": True}, "--tied needs the weights of an embedding"),
        ({"depth": 3}, "there is no setting 'depth'; there is cell, dropout"),
        ({"hidden": 0}, "--hidden 0 is not a whole number of at least 1 and at most 1,000,000"),
        ({"layers": 1.5}, r"--layers 1\.5 is not a whole number"),
        ({"embedding": 0}, "--embedding 0"),
        ({"dropout": 1.0}, r"--dropout 1\.0 is not a number of at least 0 and below 1"),
        ({"vocabulary": -1}, "a vocabulary of -1 tokens is not possible"),
        ({"vocabulary": True}, "a vocabulary of True tokens is not possible"),
        ({"vocabulary": 10**400}, "a vocabulary of 1000"),
    ],
)
def test_impossible_shapes_are_named(settings, words):
    with pytest.raises(ConfigError, match=words):
        LanguageConfig(65).but(**settings)


def test_a_network_without_a_vocabulary_is_named():
    with pytest.raises(ConfigError, match="needs the size of its vocabulary"):
        LanguageModel(LanguageConfig())


def test_the_shape_goes_to_json_and_back():
    config = LanguageConfig(65, hidden=3)
    assert LanguageConfig.from_json(config.to_json()) == config
    with pytest.raises(FormatError, match="unknown 'depth'"):
        LanguageConfig.from_json({**config.to_json(), "depth": 1})


def test_dropout_acts_on_embeddings_and_outputs_in_training_only():
    torch.manual_seed(0)
    model = LanguageModel(LanguageConfig(9, embedding=50, hidden=50, layers=1, dropout=0.5)).requires_grad_(False)
    inputs = []
    sequence = model.stack.sequence
    model.stack.sequence = lambda x, state: (inputs.append(x), sequence(x, state))[1]
    outputs = []
    model.output.register_forward_pre_hook(lambda module, given: outputs.append(given[0]))
    model.sequence(torch.ones(4, 2, dtype=torch.int64), model.initial_state(2))
    for dropped in (inputs[0], outputs[0]):
        assert 0.3 < float((dropped == 0).float().mean()) < 0.7
    model.eval()
    model.sequence(torch.ones(4, 2, dtype=torch.int64), model.initial_state(2))
    for whole in (inputs[1], outputs[1]):
        assert float((whole == 0).float().mean()) == 0


# Its score, and what it writes


def test_the_score_is_the_mean_loss_of_one_stream(monkeypatch):
    text = "hello world, " * 90
    tokenizer = Tokenizer.characters(text)
    model = random_model(len(tokenizer), embedding=4, hidden=8)
    ids = tokenizer.encode(text + "é", unknown="replace")
    with torch.no_grad():
        logits, _ = model.sequence(torch.from_numpy(ids)[:-1, None], model.initial_state(1))
    expected = torch.nn.functional.cross_entropy(
        logits[:, 0].double(), torch.from_numpy(ids)[1:], reduction="sum"
    ).item()
    score = score_tokens(model, TokenArray(ids), len(text), tokenizer.unknown_id)
    assert score.nats == pytest.approx(expected, rel=1e-6)
    assert (score.tokens, score.chars, score.unknown) == (len(ids) - 1, len(text), 1)
    places = score_tokens(model, TokenArray(ids), len(text), tokenizer.unknown_id, places=2)
    assert (places.tokens, places.unknown) == (2 * (len(text) // 2), 1)
    assert places.nats_per_char == pytest.approx(score.nats_per_char, abs=0.02)
    monkeypatch.setattr(learner, "_LOGITS", 7 * len(tokenizer))  # a large vocabulary: 7 tokens at once
    few = score_tokens(model, TokenArray(ids), len(text), tokenizer.unknown_id)
    assert few.nats == pytest.approx(score.nats, rel=1e-6)


def test_a_score_that_is_no_number_is_named():
    model = random_model(5, hidden=4)
    model.output.bias[0] = float("nan")
    with pytest.raises(CheckFailedError, match="logits are not numbers"):
        score_tokens(model, TokenArray(np.zeros(9, np.int64)), 8, None)


def test_a_sample_is_what_the_model_says_after_the_prompt():
    tokenizer = Tokenizer.characters("abcdef")
    model = random_model(len(tokenizer), hidden=4)
    prompt = tokenizer.encode("abc")
    text = sample_text(model, tokenizer, prompt, 9)
    assert text == sample_text(model, tokenizer, prompt, 9)
    assert len(text) == 9
    ids, generator = prompt.tolist(), Generator(0)
    for _ in range(9):
        logits, _ = model.sequence(torch.tensor(ids)[:, None], model.initial_state(1))
        ids.append(learner._SAMPLER(logits[-1, 0].numpy(), generator, forbidden=tokenizer.never_sampled))
    assert tokenizer.decode(ids[3:]) == text


# The batches that it learns from


@given(st.integers(20, 400), st.integers(1, 6), st.integers(1, 9), st.integers(0, 3))
def test_sequences_go_on_where_they_stopped(length, batch_size, bptt, seed):
    tokens = TokenArray(np.arange(length))
    batches = TokenBatches(tokens, batch_size, bptt, seed)
    read = [batches.read(number) for number in range(2 * batches.per_pass)]
    for number, each in enumerate(read):
        assert each.inputs.shape == each.targets.shape == (bptt, batches.batch_size)
        np.testing.assert_array_equal(each.targets, (each.inputs + 1) % length)
        assert each.fresh.tolist() == [number % batches.per_pass == 0] * batches.batch_size
        if not each.fresh.any():
            np.testing.assert_array_equal(each.inputs[0], read[number - 1].targets[-1])
    one_pass = np.concatenate([each.inputs for each in read[: batches.per_pass]])
    assert len(np.unique(one_pass)) == one_pass.size  # no token is read twice in a pass
    again = TokenBatches(tokens, batch_size, bptt, seed).read(len(read) // 2)
    np.testing.assert_array_equal(again.inputs, read[len(read) // 2].inputs)
    part = batches.read(1, slice(batches.batch_size // 2, None))  # what one of several processes reads
    np.testing.assert_array_equal(part.inputs, read[1].inputs[:, batches.batch_size // 2 :])
    assert part.fresh.shape == part.inputs.shape[1:]


def test_a_text_shorter_than_one_sequence_is_refused():
    with pytest.raises(CorpusError, match="has 8 tokens, and one sequence takes 9: give more text or a smaller"):
        TokenBatches(TokenArray(np.zeros(8)), 1, 8, 0)
    assert TokenBatches(TokenArray(np.zeros(20)), 4, 8, 0).batch_size == 2


def test_sequences_start_afresh_now_and_then():
    batches = TokenBatches(TokenArray(np.zeros(100_001)), 10, 10, 0, reset=0.1)
    fresh = np.array([batches.read(number).fresh for number in range(1000)])
    assert fresh[0].all()
    assert 0.08 < fresh[1:].mean() < 0.12
    np.testing.assert_array_equal(batches.read(700).fresh, fresh[700])
