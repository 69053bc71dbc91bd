"""Small modules with matrices wherever modules have them, for the lower precisions."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from edgernn.contract import BATCH, GraphSpec, StateSpec, TensorSpec

__all__ = ["MATRICES", "Function", "Made"]

IN, OUT = 32, 48


@dataclass(frozen=True)
class Made:
    """A module and its contract."""

    module: nn.Module
    spec: GraphSpec


class Function(nn.Module):
    """Calls a function of itself and its inputs; has the modules, parameters and buffers that it is given."""

    def __init__(self, function: Callable, **parts) -> None:
        super().__init__()
        self.function = function
        for name, part in parts.items():
            if isinstance(part, torch.Tensor) and not isinstance(part, nn.Parameter):
                self.register_buffer(name, part)
            else:
                setattr(self, name, part)

    def forward(self, *tensors):
        return self.function(self, *tensors)


def stateless(function, *shape, dtype="float32", kind=torch.float32, bound=None, batch=BATCH, **parts) -> Made:
    """y = function(x), with x of (batch, *shape)."""
    torch.manual_seed(0)
    module = Function(function, **parts).eval()
    x = torch.zeros(3 if batch == BATCH else batch, *shape, dtype=kind)
    with torch.no_grad():
        sizes = module(x).shape[1:]
    given = TensorSpec("x", dtype, (batch, *shape), bound=bound)
    floats = "float64" if dtype == "float64" else "float32"
    return Made(module, GraphSpec("step", (given,), (TensorSpec("y", floats, (batch, *sizes)),), ()))


def recurrent(kind: str, *, batch=BATCH, **options) -> Made:
    """One step of a recurrent layer of torch."""
    torch.manual_seed(0)
    layer = getattr(nn, kind)(IN, OUT, **options)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter *= 2
    lstm, first = kind.startswith("LSTM"), options.get("batch_first", False)
    if kind.endswith("Cell"):
        step, sizes = _cell, [(batch, OUT)] * (1 + lstm)
        width = OUT
    else:
        step = _layer
        rows, size = (
            options.get("num_layers", 1) * (1 + options.get("bidirectional", False)),
            options.get("proj_size", 0),
        )
        sizes = [(rows, batch, size or OUT), *([(rows, batch, OUT)] if lstm else [])]
        width = (size or OUT) * (1 + options.get("bidirectional", False))
    states = tuple(StateSpec(name, "float32", axes) for name, axes in zip("hc", sizes, strict=False))
    spec = GraphSpec(
        "step", (TensorSpec("x", "float32", (batch, IN)),), (TensorSpec("y", "float32", (batch, width)),), states
    )
    return Made(Function(step, layer=layer, first=first).eval(), spec)


def _cell(self, x, *state):
    state = self.layer(x, state if len(state) > 1 else state[0])
    state = state if isinstance(state, tuple) else (state,)
    return state[0] * 1.5, *state


def _layer(self, x, *state):
    axis = 1 if self.first else 0
    y, state = self.layer(x.unsqueeze(axis), state if len(state) > 1 else state[0])
    state = state if isinstance(state, tuple) else (state,)
    return y.squeeze(axis) * 1.5, *state


def matrix(*shape):
    """Reproducible weights."""
    return nn.Parameter(torch.randn(*shape, generator=torch.Generator().manual_seed(len(shape) + shape[0])) / 4)


def tied(look_up, multiply):
    """An embedding whose table the output uses too."""
    table = nn.Embedding(OUT, IN)
    return stateless(
        lambda s, x: multiply(torch.tanh(look_up(s.table, x)), s.table.weight),
        dtype="int64",
        kind=torch.int64,
        bound=OUT,
        table=table,
    )


def shared_parameter():
    """Two modules with one matrix."""
    one, two = nn.Linear(IN, IN), nn.Linear(IN, IN)
    two.weight = one.weight
    return stateless(lambda s, x: s.two(torch.tanh(s.one(x))), IN, one=one, two=two)


def by_two_names():
    """One module that has a matrix by two names."""
    weight = matrix(IN, IN)
    return stateless(lambda s, x: torch.tanh(x @ s.one) @ s.two, IN, one=weight, two=weight)


def parametrized(wrap):
    """A linear layer whose weights are computed from others."""
    return stateless(lambda s, x: s.layer(x), IN, layer=wrap(nn.Linear(IN, OUT)))


def attention():
    """Over nine places of one stream."""
    layer = nn.MultiheadAttention(IN, 4, batch_first=True)
    return stateless(lambda s, x: s.layer(x, x, x, need_weights=False)[0], 9, IN, layer=layer)


def convolution(kind, *shape, outputs=OUT, batch=BATCH, **options):
    """A convolution, then a linear layer."""
    return stateless(
        lambda s, x: s.out(torch.relu(s.conv(x)).flatten(2).mean(2)),
        IN,
        *shape,
        batch=batch,
        conv=getattr(nn, kind)(IN, outputs, 3, **options),
        out=nn.Linear(outputs, 8),
    )


def linear(function, **parts):
    """A linear layer, with a function of its output."""
    return stateless(lambda s, x: function(s, s.layer(x)), 9, IN, layer=nn.Linear(IN, 9), **parts)


MATRICES: dict[str, Callable[[], Made]] = {
    **{
        f"{kind} {' '.join(f'{key}={value}' for key, value in options.items())}".strip(): (
            lambda kind=kind, options=options: recurrent(kind, **options)
        )
        for kind, options in (
            *((kind, {}) for kind in ("LSTM", "GRU", "RNN", "LSTMCell", "GRUCell", "RNNCell")),
            ("LSTMCell", {"bias": False}),
            ("LSTM", {"num_layers": 2, "bidirectional": True}),
            ("LSTM", {"bias": False, "batch_first": True}),
            ("LSTM", {"proj_size": 12}),
            ("LSTM", {"proj_size": 12, "num_layers": 2, "bidirectional": True, "batch_first": True, "bias": False}),
            ("GRU", {"num_layers": 2, "bidirectional": True, "batch_first": True}),
            ("RNN", {"num_layers": 2, "bias": False, "nonlinearity": "relu"}),
        )
    },
    "linear": lambda: stateless(lambda s, x: s.layer(x), IN, layer=nn.Linear(IN, OUT)),
    "float64": lambda: stateless(
        lambda s, x: s.layer(x), IN, dtype="float64", kind=torch.float64, layer=nn.Linear(IN, OUT).double()
    ),
    "float64 recurrent": lambda: stateless(
        lambda s, x: s.layer(x), IN, dtype="float64", kind=torch.float64, layer=nn.GRUCell(IN, OUT).double()
    ),
    "large transposed": lambda: stateless(lambda s, x: x @ s.weight.t(), 1100, weight=matrix(1200, 1100)),
    "tied linear": lambda: tied(lambda table, x: table(x), functional.linear),
    "tied transpose": lambda: tied(lambda table, x: table(x), lambda x, weight: x @ weight.t()),
    "tied in 3 axes": lambda: tied(lambda table, x: table(x).unsqueeze(1), lambda x, weight: x @ weight.t()),
    "tied by index": lambda: tied(lambda table, x: table.weight[x], functional.linear),
    "shared": shared_parameter,
    "by two names": by_two_names,
    "scaled": lambda: stateless(lambda s, x: functional.linear(x, s.weight * 0.5), IN, weight=matrix(OUT, IN)),
    "masked": lambda: stateless(
        lambda s, x: functional.linear(x, s.weight * s.mask),
        IN,
        weight=matrix(OUT, IN),
        mask=torch.ones(OUT, IN).tril(),
    ),
    "slices": lambda: stateless(
        lambda s, x: functional.linear(x, s.weight[:8]) + functional.linear(x, s.weight[8:16]),
        IN,
        weight=matrix(OUT, IN),
    ),
    "made in forward": lambda: stateless(
        lambda s, x: s.layer(x) @ torch.tensor([[1.0, 2.0], [3.0, 4.5]]).repeat(OUT // 2, 1),
        IN,
        layer=nn.Linear(IN, OUT),
    ),
    "weight_norm": lambda: parametrized(nn.utils.parametrizations.weight_norm),
    "spectral_norm": lambda: parametrized(nn.utils.parametrizations.spectral_norm),
    "orthogonal": lambda: parametrized(nn.utils.parametrizations.orthogonal),
    "bilinear": lambda: stateless(lambda s, x: s.layer(x, torch.tanh(x)), IN, layer=nn.Bilinear(IN, IN, 12)),
    "einsum": lambda: stateless(lambda s, x: torch.einsum("bi,ij->bj", x, s.weight), IN, weight=matrix(IN, OUT)),
    "grouped einsum": lambda: stateless(
        lambda s, x: torch.einsum("bgi,gij->bgj", x, s.weight), 3, IN, weight=matrix(3, IN, OUT)
    ),
    "on the left": lambda: stateless(lambda s, x: s.weight @ x, IN, 3, weight=matrix(OUT, IN)),
    "batched": lambda: stateless(
        lambda s, x: torch.matmul(x.unsqueeze(2), s.weight).squeeze(2), 3, IN, weight=matrix(3, IN, OUT)
    ),
    "attention": attention,
    "padding": lambda: stateless(
        lambda s, x: s.out(s.table(x)),
        dtype="int64",
        kind=torch.int64,
        bound=OUT,
        table=nn.Embedding(OUT, 33, padding_idx=0),
        out=nn.Linear(33, OUT),
    ),
    "Conv1d": lambda: convolution("Conv1d", 9),
    "Conv1d of one stream": lambda: convolution("Conv1d", 9, batch=1),
    "Conv1d in groups": lambda: convolution("Conv1d", 9, groups=8),
    "Conv2d": lambda: convolution("Conv2d", 7, 7),
    "depthwise": lambda: convolution("Conv2d", 7, 7, outputs=IN, groups=IN),
    "ConvTranspose1d": lambda: convolution("ConvTranspose1d", 9),
    "ConvTranspose2d": lambda: convolution("ConvTranspose2d", 7, 7),
    "norm of two axes": lambda: stateless(
        lambda s, x: s.out(s.norm(x)), 3, IN, norm=nn.LayerNorm((3, IN)), out=nn.Linear(IN, OUT)
    ),
    "mask of infinities": lambda: linear(
        lambda s, y: torch.softmax(y + s.mask, -1), mask=torch.full((9, 9), float("-inf")).triu(1)
    ),
    "mask of large numbers": lambda: linear(
        lambda s, y: torch.softmax(y + s.mask, -1), mask=torch.full((9, 9), -1e9).triu(1) + torch.randn(9, 9).tril()
    ),
    "rows of a mask": lambda: stateless(
        lambda s, x: torch.softmax(s.out(s.table(x)) + s.mask[x], -1),
        dtype="int64",
        kind=torch.int64,
        bound=9,
        table=nn.Embedding(9, 33),
        out=nn.Linear(33, 9),
        mask=torch.full((9, 9), -3.4e38).triu(1) + torch.randn(9, 9).tril(),
    ),
    "flags and places": lambda: stateless(
        lambda s, x: torch.where(s.flags, s.layer(x), s.places.float()),
        9,
        IN,
        layer=nn.Linear(IN, 9),
        flags=torch.ones(9, 9, dtype=torch.bool).tril(),
        places=torch.arange(81).view(9, 9),
    ),
}
