import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from edgernn.errors import ConfigError, FormatError
from edgernn.models.cells import CELLS, LSTM
from edgernn.models.stack import INITIALS
from edgernn.tasks.language.network import LanguageConfig, LanguageModel

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
    model = LanguageModel(LanguageConfig.of(vocabulary, **shape)).eval().requires_grad_(False)
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
    model = LanguageModel(LanguageConfig.of(5, hidden=4, layers=2, initial="learned", dropout=0.0))
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
        ({"cell": "lstn"}, "--cell lstn: there is lstm, gru, elman, elman-relu"),
        ({"initial": "ones"}, "--initial ones: there is zeros, learned"),
        ({"input": "two-hot"}, "--input two-hot: there is embedding, one-hot"),
        ({"input": "one-hot", "embedding": 3}, "--input one-hot has no --embedding"),
        ({"input": "one-hot", "tied": True}, "--tied needs the weights of an embedding"),
        ({"residual": True, "layers": 1}, "--residual adds up layers from the second on"),
        ({"depth": 3}, "no model setting 'depth'"),
        ({"hidden": 0}, "--hidden 0"),
        ({"layers": 1.5}, r"--layers 1\.5"),
        ({"dropout": 1.0}, r"--dropout 1\.0"),
    ],
)
def test_impossible_shapes_are_named(settings, words):
    with pytest.raises(ConfigError, match=words):
        LanguageConfig.of(65, **settings)


def test_the_shape_goes_to_json_and_back():
    config = LanguageConfig(65, hidden=3)
    assert LanguageConfig.from_json(config.to_json()) == config
    with pytest.raises(FormatError, match="unknown 'depth'"):
        LanguageConfig.from_json({**config.to_json(), "depth": 1})
