"""The gradient by distance, against what calculus and finite differences say."""

import numpy as np
import pytest
import torch

from edgernn.errors import ConfigError
from edgernn.models.cells import CELLS
from edgernn.models.source import HeldOut, Source
from edgernn.tasks.language.network import LanguageModel
from edgernn.tasks.language.settings import LanguageConfig
from edgernn.training.gradients import gradient_norms


def model(cell, **shape):
    torch.manual_seed(0)
    return LanguageModel(LanguageConfig(5, cell=cell, embedding=3, hidden=4, layers=1, **shape)).double().eval()


def norms_of(network, windows, distance):
    """Of tokens (time, places): the only window of each place ends with its last token."""
    targets = np.full_like(windows[1:].T, -1)
    targets[:, -1] = windows[-1]
    return gradient_norms(Source(network, held_out=HeldOut({"token": windows[:-1].T}, {"logits": targets})), distance)


@pytest.mark.parametrize("cell", CELLS)
def test_the_norm_is_that_of_finite_differences(cell):
    network = model(cell)
    windows = np.random.default_rng(0).integers(0, 5, (12, 1))
    distance, step = 4, 1e-6
    norms = norms_of(network, windows, distance)
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
            network.stack.layers[0].gates.weight[3:] = scale * torch.eye(4)
            network.stack.layers[0].gates.weight[:3] = network.stack.layers[0].gates.weight[:3].abs()
            network.embedding.weight.abs_()
        norms = norms_of(network, windows, 8)
        ratios.append(norms[7] / norms[0])
    assert ratios[0] == pytest.approx(0.3**7, rel=1e-3)
    assert ratios[1] == pytest.approx(3.0**7, rel=1e-3)


def test_a_captioner_has_gradients_too_and_what_cannot_be_measured_is_named(gallery):
    _, trainer, _ = gallery
    source = trainer.run.source()
    norms = gradient_norms(source, 3)
    assert len(norms) == 3
    assert all(norm > 0 for norm in norms)
    for distance, words in (
        (0, "distance 0 is not a whole number"),
        (500, "the longest held-out sequence has 5 steps"),
    ):
        with pytest.raises(ConfigError, match=words):
            gradient_norms(source, distance)
