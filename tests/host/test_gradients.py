"""The gradient by distance, against what calculus and finite differences say."""

import numpy as np
import pytest
import torch

from edgernn.data.tokens import TokenArray
from edgernn.errors import ConfigError
from edgernn.models.cells import CELLS
from edgernn.tasks.language.gradients import gradient_norms, measure_gradients
from edgernn.tasks.language.network import LanguageModel
from edgernn.tasks.language.settings import LanguageConfig


def model(cell, **shape):
    torch.manual_seed(0)
    return LanguageModel(LanguageConfig(5, cell=cell, embedding=3, hidden=4, layers=1, **shape)).double().eval()


@pytest.mark.parametrize("cell", CELLS)
def test_the_norm_is_that_of_finite_differences(cell):
    network = model(cell)
    windows = np.random.default_rng(0).integers(0, 5, (12, 1))
    distance, step = 4, 1e-6
    norms = gradient_norms(network, windows, distance)
    tokens = torch.from_numpy(windows)

    def loss(state, begin):
        for token in tokens[begin:-1]:
            logits, *state = network(token, *state)
        return torch.nn.functional.cross_entropy(logits, tokens[-1]).item()

    with torch.no_grad():
        for d in (1, 3, 4):
            begin = len(tokens) - 1 - d
            _, state = network.sequence(tokens[:begin], tuple(s.double() for s in network.initial_state(1)))
            squares = 0.0
            for index, part in enumerate(state):
                for unit in range(part.numel()):
                    ends = []
                    for sign in (1, -1):
                        moved = [s.clone() for s in state]
                        moved[index].view(-1)[unit] += sign * step
                        ends.append(loss(moved, begin))
                    squares += ((ends[0] - ends[1]) / (2 * step)) ** 2
            assert norms[d - 1] == pytest.approx(squares**0.5, rel=1e-4)


def test_small_recurrent_weights_make_it_vanish_and_large_ones_explode():
    windows = np.random.default_rng(0).integers(0, 5, (41, 3))
    ratios = []
    for scale in (0.3, 3.0):
        network = model("elman-relu")
        with torch.no_grad():
            network.stack.layers[0].weight[3:] = scale * torch.eye(4)
            network.stack.layers[0].weight[:3] = network.stack.layers[0].weight[:3].abs()
            network.embedding.weight.abs_()
        norms = gradient_norms(network, windows, 8)
        ratios.append(norms[7] / norms[0])
    assert ratios[0] == pytest.approx(0.3**7, rel=1e-3)
    assert ratios[1] == pytest.approx(3.0**7, rel=1e-3)


def test_norms_are_measured_at_equal_distances_of_a_text():
    network, ids = model("gru"), np.random.default_rng(0).integers(0, 5, 500)
    starts = np.linspace(0, 500 - 38, 32).astype(int)
    windows = np.stack([ids[start : start + 38] for start in starts], axis=1)
    assert measure_gradients(network, TokenArray(ids), 5) == pytest.approx(gradient_norms(network, windows, 5))
    for distance, words in ((0, "--distance 0 is below 1"), (468, "needs 501 held-out tokens, and there are 500")):
        with pytest.raises(ConfigError, match=words):
            measure_gradients(network, TokenArray(ids), distance)
