"""Muon, which must make the steps of torch's, in single precision too."""

import pytest
import torch

from edgernn.training import muon

SHAPES = [(24, 40), (40, 24), (16, 16)]


def steps(optimizer, **settings):
    """The matrices after three steps of `optimizer`, each from the same gradients."""
    generator = torch.Generator().manual_seed(0)
    matrices = [torch.nn.Parameter(torch.randn(shape, generator=generator)) for shape in SHAPES]
    made = optimizer(matrices, lr=0.01, weight_decay=0.1, **settings)
    for _ in range(3):
        for matrix in matrices:
            matrix.grad = torch.randn(matrix.shape, generator=generator)
        made.step()
    return [matrix.detach() for matrix in matrices]


@pytest.mark.parametrize(("fast", "tolerance"), [(True, 0.0), (False, 1e-3)])
def test_its_steps_are_those_of_torch(monkeypatch, fast, tolerance):
    monkeypatch.setattr(muon, "find_autocast", lambda name, device: fast)
    theirs = steps(torch.optim.Muon, adjust_lr_fn="match_rms_adamw")
    torch.testing.assert_close(steps(muon.Muon), theirs, rtol=tolerance, atol=tolerance)


def test_a_matrix_without_a_gradient_stays():
    matrix = torch.nn.Parameter(torch.ones(3, 2))
    muon.Muon([matrix], lr=0.1).step()
    assert torch.equal(matrix, torch.ones(3, 2))
