"""Every cell against a naive oracle in numpy, and its step against its fused sequence path."""

import functools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import sigmoid
from torch import nn

from edgernn.models.cells import CELLS
from edgernn.models.stack import RecurrentStack

sizes = st.integers(1, 9)
few = settings(max_examples=30)  # for each of the cells, which share most of their code


def normalised(x, norm):
    """Layer normalisation, written out; `norm` is a LayerNorm, or an Identity."""
    if isinstance(norm, nn.Identity):
        return x
    parts = x.reshape(len(x), norm.parts, norm.size)
    mean = parts.mean(axis=2, keepdims=True)
    parts = (parts - mean) / np.sqrt(((parts - mean) ** 2).mean(axis=2, keepdims=True) + 1e-5)
    scaled = parts.reshape(x.shape) * norm.gain.numpy()
    return scaled if norm.bias is None else scaled + norm.bias.numpy()


def product(linear, x):
    values = normalised(x @ linear.weight.numpy(), linear.norm)
    return values if linear.bias is None else values + linear.bias.numpy()


def lstm_oracle(cell, x, h, c):
    i, f, g, o = np.split(product(cell.gates, np.concatenate([x, h], axis=1)), 4, axis=1)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(normalised(c, cell.cell_norm)), c


def gru_oracle(cell, x, h):
    xr, xz, xn = np.split(product(cell.from_input, x), 3, axis=1)
    hr, hz, hn = np.split(product(cell.from_state, h), 3, axis=1)
    r, z = sigmoid(xr + hr), sigmoid(xz + hz)
    n = np.tanh(xn + r * (hn + cell.candidate_bias.numpy()))
    return ((1 - z) * n + z * h,)


def elman_oracle(cell, x, h):
    return (np.tanh(product(cell.gates, np.concatenate([x, h], axis=1))),)


def elman_relu_oracle(cell, x, h):
    return (np.maximum(0, product(cell.gates, np.concatenate([x, h], axis=1))),)


def mut_oracle(update, candidate):
    def oracle(cell, x, h):
        xz, xr, xn = np.split(product(cell.from_input, x), 3, axis=1)
        z = sigmoid(update(cell, xz, h))
        r = sigmoid(xr + product(cell.reset_from_state, h))
        n = np.tanh(product(cell.candidate_from_state, r * h) + candidate(xn))
        return (z * n + (1 - z) * h,)

    return oracle


def nas_oracle(cell, x, h, c):
    a = np.split(product(cell.from_input, x), 8, axis=1)
    u = np.split(product(cell.from_state, h), 8, axis=1)
    first = np.tanh(np.tanh(sigmoid(a[0] + u[0]) * np.maximum(0, a[1] + u[1])) + c)
    second = np.tanh(sigmoid(a[2] + u[2]) + np.maximum(0, a[3] * u[3]))
    third = np.tanh(np.tanh(a[4] + u[4]) * sigmoid(a[5] + u[5]))
    fourth = sigmoid(np.tanh(a[6] + u[6]) + sigmoid(a[7] + u[7]))
    c = first * second
    return np.tanh(c * np.tanh(third + fourth)), c


def mingru_oracle(cell, x, h):
    z, n = np.split(product(cell.gates, x), 2, axis=1)
    return ((1 - sigmoid(z)) * h + sigmoid(z) * n,)


def minlstm_oracle(cell, x, h):
    f, i, n = np.split(product(cell.gates, x), 3, axis=1)
    f, i = sigmoid(f), sigmoid(i)
    return (f / (f + i) * h + i / (f + i) * n,)


def mogrifier_oracle(cell, x, h, c):
    for index, (left, right) in enumerate(cell.rounds):
        scale = 2 * sigmoid(product(right, product(left, x if index % 2 else h)))
        x, h = (x, scale * h) if index % 2 else (scale * x, h)
    return lstm_oracle(cell, x, h, c)


ORACLES = {
    "lstm": lstm_oracle,
    "gru": gru_oracle,
    "elman": elman_oracle,
    "elman-relu": elman_relu_oracle,
    "mut1": mut_oracle(lambda cell, xz, h: xz, np.tanh),
    "mut2": mut_oracle(lambda cell, xz, h: xz + product(cell.update_from_state, h), lambda xn: xn),
    "mut3": mut_oracle(lambda cell, xz, h: xz + product(cell.update_from_state, np.tanh(h)), lambda xn: xn),
    "nas": nas_oracle,
    "mingru": mingru_oracle,
    "minlstm": minlstm_oracle,
    "mogrifier": mogrifier_oracle,
}


def random_cell(name, inputs, hidden, batch, seed, layer_norm=False):
    torch.manual_seed(seed)
    cell = CELLS[name](inputs, hidden, layer_norm).requires_grad_(False)
    for parameter in cell.parameters():
        parameter.add_(0.1 * torch.randn_like(parameter))  # biases start at constants, which would hide mistakes
    return cell, tuple(torch.randn(batch, hidden) for _ in cell.states)


@few
@pytest.mark.parametrize("name", CELLS)
@given(inputs=sizes, hidden=st.integers(2, 9), batch=sizes, seed=st.integers(0, 99), layer_norm=st.booleans())
def test_a_step_is_the_oracles(name, inputs, hidden, batch, seed, layer_norm):
    cell, state = random_cell(name, inputs, hidden, batch, seed, layer_norm)
    x = torch.randn(batch, inputs)
    expected = ORACLES[name](cell, x.numpy(), *(s.numpy() for s in state))
    for ours, theirs in zip(cell.step(x, state), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4 if layer_norm else 1e-6)


@few
@pytest.mark.parametrize("name", CELLS)
@given(
    inputs=sizes,
    hidden=sizes,
    batch=sizes,
    time=st.integers(1, 40),
    seed=st.integers(0, 99),
    layer_norm=st.booleans(),
)
def test_the_sequence_is_the_steps(name, inputs, hidden, batch, time, seed, layer_norm):
    cell, state = random_cell(name, inputs, hidden, batch, seed, layer_norm)
    cell, state = cell.double(), tuple(each.double() for each in state)  # a normalised layer of two units amplifies
    x = torch.randn(time, batch, inputs, dtype=torch.float64)
    outputs, last = cell.sequence(x, state)
    for x_t, output in zip(x, outputs, strict=True):
        state = cell.step(x_t, state)
        torch.testing.assert_close(output, state[0], atol=1e-10, rtol=0)
    for ours, theirs in zip(last, state, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-10, rtol=0)


MODULES = {
    "lstm": nn.LSTM,
    "gru": nn.GRU,
    "elman": nn.RNN,
    "elman-relu": functools.partial(nn.RNN, nonlinearity="relu"),
}


@pytest.mark.parametrize("name", MODULES)
@given(inputs=sizes, hidden=sizes, seed=st.integers(0, 99))
def test_a_cell_is_torchs_module(name, inputs, hidden, seed):
    cell, state = random_cell(name, inputs, hidden, 3, seed)
    reference = MODULES[name](inputs, hidden).requires_grad_(False)
    first = cell.from_input if name == "gru" else cell.gates
    recurrent = cell.from_state.weight if name == "gru" else cell.gates.weight[inputs:]
    reference.weight_ih_l0.copy_(first.weight[:inputs].t())
    reference.weight_hh_l0.copy_(recurrent.t())
    reference.bias_ih_l0.copy_(first.bias)
    reference.bias_hh_l0.zero_()
    if name == "gru":
        reference.bias_hh_l0[2 * hidden :] = cell.candidate_bias
    x = torch.randn(7, 3, inputs)
    start = tuple(s.unsqueeze(0) for s in state)
    expected, last = reference(x, start if name == "lstm" else start[0])
    outputs, ours = cell.sequence(x, state)
    torch.testing.assert_close(outputs, expected, atol=1e-6, rtol=1e-6)
    for mine, theirs in zip(ours, last if name == "lstm" else (last,), strict=True):
        torch.testing.assert_close(mine, theirs[0], atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("name", CELLS)
def test_gradients_are_the_same_on_both_paths(name):
    cell, first = random_cell(name, 3, 4, 2, 0)
    cell.requires_grad_(True)
    x = torch.randn(6, 2, 3, requires_grad=True)
    state = tuple(each.requires_grad_() for each in first)
    leaves = [x, *first, *cell.parameters()]
    fused = torch.autograd.grad(cell.sequence(x, state)[0].square().sum(), leaves)
    loss = torch.zeros(())
    for x_t in x:
        state = cell.step(x_t, state)
        loss = loss + state[0].square().sum()
    stepped = torch.autograd.grad(loss, leaves)
    for ours, theirs in zip(fused, stepped, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


@few
@pytest.mark.parametrize("name", CELLS)
@given(layers=st.integers(1, 4), hidden=sizes, time=st.integers(2, 20), cut=st.integers(1, 19))
def test_a_sequence_cut_anywhere_is_the_whole(name, layers, hidden, time, cut):
    torch.manual_seed(0)
    stack = RecurrentStack(name, 3, hidden, layers, dropout=0.5).eval().requires_grad_(False)
    x = torch.randn(time, 2, 3)
    whole, last = stack.sequence(x, stack.initial_state(2))
    cut = min(cut, time - 1)
    head, state = stack.sequence(x[:cut], stack.initial_state(2))
    tail, state = stack.sequence(x[cut:], state)
    torch.testing.assert_close(torch.cat([head, tail]), whole, atol=1e-6, rtol=0)
    assert [spec.shape({"batch": 2}) for spec in stack.state_specs()] == [tuple(s.shape) for s in state]
    state = stack.initial_state(2)
    for x_t, expected in zip(x, whole, strict=True):
        output, state = stack.step(x_t, state)
        torch.testing.assert_close(output, expected, atol=1e-5, rtol=0)
    for ours, theirs in zip(state, last, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)


def test_dropout_acts_between_layers_and_only_in_training():
    torch.manual_seed(0)
    stack = RecurrentStack("lstm", 3, 16, 2, dropout=0.5).requires_grad_(False)
    x, state = torch.randn(5, 2, 3), stack.initial_state(2)
    assert not torch.equal(stack.sequence(x, state)[0], stack.sequence(x, state)[0])
    stack.eval()
    assert torch.equal(stack.sequence(x, state)[0], stack.sequence(x, state)[0])
