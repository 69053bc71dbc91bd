import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from edgernn.errors import ConfigError, FormatError
from edgernn.models import LanguageConfig, LanguageModel


@given(st.integers(2, 20), st.integers(1, 3), st.integers(1, 8))
def test_the_step_that_is_deployed_is_the_path_that_is_trained(vocabulary, layers, hidden):
    torch.manual_seed(0)
    model = LanguageModel(LanguageConfig(vocabulary, embedding=3, hidden=hidden, layers=layers)).eval()
    model.requires_grad_(False)
    tokens = torch.randint(vocabulary, (12, 2))
    logits, last = model.sequence(tokens, model.initial_state(2))
    state = model.initial_state(2)
    (graph,) = model.graphs()
    source = model.initial_state(2)
    for token, expected in zip(tokens, logits, strict=True):
        ours, *state = model(token, *state)
        theirs, *source = graph.source(token, *source)
        torch.testing.assert_close(ours, expected, atol=1e-5, rtol=0)
        torch.testing.assert_close(theirs, expected, atol=1e-5, rtol=0)
    for ours, theirs in zip(state, last, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)


def test_the_reference_size():
    """The published reference: vocabulary 65, embedding 128, 2 x 256."""
    model = LanguageModel(LanguageConfig(65))
    assert sum(parameter.numel() for parameter in model.parameters()) == 946_625 - 2 * 4 * 256  # one bias, not two


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"cell": "lstn"}, "--cell lstn: there is lstm"),
        ({"hidden": 0}, "--hidden 0"),
        ({"layers": 1.5}, r"--layers 1\.5"),
        ({"dropout": 1.0}, r"--dropout 1\.0"),
    ],
)
def test_impossible_shapes_are_named(settings, words):
    with pytest.raises(ConfigError, match=words):
        LanguageConfig(65, **settings)


def test_the_shape_goes_to_json_and_back():
    config = LanguageConfig(65, hidden=3)
    assert LanguageConfig.from_json(config.to_json()) == config
    with pytest.raises(FormatError, match="unknown 'depth'"):
        LanguageConfig.from_json({**config.to_json(), "depth": 1})
