"""Random small modules through every target: equal to torch, or refused with a reason that a second check confirms."""

import numpy as np
import pytest
import torch
from targets import TARGETS
from torch import nn

from edgernn.contract import BATCH, GraphSpec, StateSpec, TensorSpec
from edgernn.engines import ENGINES
from edgernn.errors import ExportError
from edgernn.exporters import export_module
from edgernn.runtime import Model
from edgernn.runtime.parity import TOLERANCES

SIZE = 8


class Part(nn.Module):
    """One part of a module: (x, states) -> (x, states), each x (batch, 8)."""

    def states(self, name):
        """The specifications of its states."""
        return []


class Cell(Part):
    def __init__(self, kind) -> None:
        super().__init__()
        self.cell = kind(SIZE, SIZE)

    def states(self, name):
        names = [f"{name}_h", f"{name}_c"] if isinstance(self.cell, nn.LSTMCell) else [f"{name}_h"]
        return [StateSpec(each, "float32", (BATCH, SIZE)) for each in names]

    def forward(self, x, *states):
        if len(states) > 1:
            h, c = self.cell(x, states)
            return h, (h, c)
        h = self.cell(x, *states)
        return h, (h,)


class Layer(Part):
    """One of torch's recurrent layers, one frame at a time."""

    def __init__(self, kind) -> None:
        super().__init__()
        self.layer = kind(SIZE, SIZE)

    def states(self, name):
        return [StateSpec(f"{name}_h", "float32", (1, BATCH, SIZE))]

    def forward(self, x, h):
        y, h = self.layer(x.unsqueeze(0), h)
        return y[0], (h,)


class Convolution(Part):
    """A causal convolution over the last frames."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(SIZE, SIZE, 3)

    def states(self, name):
        return [StateSpec(f"{name}_cache", "float32", (BATCH, SIZE, 2))]

    def forward(self, x, cache):
        frames = torch.cat([cache, x.unsqueeze(2)], dim=2)
        return torch.tanh(self.conv(frames)[:, :, 0]), (frames[:, :, 1:],)


class Counter(Part):
    """Lets every fourth frame through."""

    def states(self, name):
        return [StateSpec(f"{name}_t", "int64", (BATCH,))]

    def forward(self, x, t):
        return torch.where((t % 4 == 0).unsqueeze(1), x, 0.5 * x), (t + 1,)


class Latch(Part):
    """Turns the sign of everything after a loud frame."""

    def states(self, name):
        return [StateSpec(f"{name}_on", "bool", (BATCH,))]

    def forward(self, x, on):
        on = on | (x.abs().amax(dim=1) > 1.5)
        return torch.where(on.unsqueeze(1), -x, x), (on,)


class Normaliser(Part):
    """By running mean and variance."""

    def states(self, name):
        return [StateSpec(f"{name}_{each}", "float32", (BATCH, SIZE), low=0.0) for each in ("mean", "variance")]

    def forward(self, x, mean, variance):
        mean = 0.9 * mean + 0.1 * x.abs()
        variance = 0.9 * variance + 0.1 * x * x
        return (x - mean) / torch.sqrt(variance + 1e-2), (mean, variance)


class Mask(Part):
    """Attention over the last frames, as many as there were."""

    def __init__(self) -> None:
        super().__init__()
        self.query = nn.Linear(SIZE, SIZE)

    def states(self, name):
        return [
            StateSpec(f"{name}_past", "float32", (BATCH, 4, SIZE)),
            StateSpec(f"{name}_n", "int64", (BATCH,), bound=5),
        ]

    def forward(self, x, past, n):
        past = torch.cat([past[:, 1:], x.unsqueeze(1)], dim=1)
        n = torch.clamp(n + 1, max=4)
        scores = (past @ self.query(x).unsqueeze(2))[:, :, 0]
        hidden = torch.arange(4).unsqueeze(0) < 4 - n.unsqueeze(1)
        weights = torch.softmax(scores.masked_fill(hidden, float("-inf")), dim=1)
        return (weights.unsqueeze(1) @ past)[:, 0], (past, n)


class Loud(Part):
    """A condition in Python, which nothing can export."""

    def states(self, name):
        return [StateSpec(f"{name}_h", "float32", (BATCH, SIZE))]

    def forward(self, x, h):
        if x.abs().max() > 3:
            h = torch.zeros_like(h)
        return x + h, (0.5 * h + x,)


class Noisy(Part):
    def states(self, name):
        return [StateSpec(f"{name}_h", "float32", (BATCH, SIZE))]

    def forward(self, x, h):
        return x + 0.1 * torch.randn_like(x), (0.5 * h + x,)


class Mixing(Part):
    """Lets the streams of a batch see each other."""

    def states(self, name):
        return [StateSpec(f"{name}_h", "float32", (BATCH, SIZE))]

    def forward(self, x, h):
        return x - x.mean(dim=0, keepdim=True), (0.5 * h + x,)


SOUND = [
    lambda: Cell(nn.LSTMCell),
    lambda: Cell(nn.GRUCell),
    lambda: Cell(nn.RNNCell),
    lambda: Layer(nn.GRU),
    Convolution,
    Counter,
    Latch,
    Normaliser,
    Mask,
]
WRONG = {
    Loud: "is a Python condition on the value of a tensor",
    Noisy: "two calls with equal inputs give different outputs",
    Mixing: "of a stream changes with the inputs of the others in its batch",
}


class Chain(nn.Module):
    """Parts, one after the other, and a product at the end."""

    def __init__(self, parts) -> None:
        super().__init__()
        self.parts, self.out = nn.ModuleList(parts), nn.Linear(SIZE, SIZE)

    def forward(self, x, *states):
        following, states = [], list(states)
        for place, part in enumerate(self.parts):
            own = [states.pop(0) for _ in part.states(f"p{place}")]
            x, new = part(x, *own)
            following += new
        return self.out(x), *following


def drawn(seed):
    """A module of two or three parts, and the part that nothing can export, where it has one."""
    random = np.random.default_rng(seed)
    torch.manual_seed(seed)
    parts = [SOUND[place]() for place in random.choice(len(SOUND), random.integers(2, 4), replace=False)]
    wrong = None
    if seed % 4 == 3:
        wrong = list(WRONG)[random.integers(len(WRONG))]
        parts[random.integers(len(parts))] = wrong()
    module = Chain(parts).eval()
    x, y = (TensorSpec(name, "float32", (BATCH, SIZE)) for name in "xy")
    states = [state for place, part in enumerate(parts) for state in part.states(f"p{place}")]
    return module, GraphSpec("step", (x,), (y,), states), wrong


PAIRS = [(target, precision) for target, about in TARGETS.items() for precision in about.precisions]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::edgernn.errors.ExportWarning")
@pytest.mark.parametrize("seed", range(16))
def test_a_random_module_is_equal_to_torch_or_refused(tmp_path, seed):
    module, spec, wrong = drawn(seed)
    target, precision = PAIRS[(5 * seed + 1) % len(PAIRS)]
    about = {"target": target, "precision": precision, "out": tmp_path / "b", "steps": 64}
    if wrong is not None:
        with pytest.raises(ExportError, match=WRONG[wrong]):
            export_module(module, spec, **about)
        assert _is_unsound(module, spec)
        return
    export_module(module, spec, **about)
    model = Model.load(tmp_path / "b", ENGINES[target])
    _, state = model.begin(batch=2)
    tensors = [torch.from_numpy(state[each.name].copy()) for each in spec.states]
    off, size = [], []
    for x in torch.randn(40, 2, SIZE, generator=torch.Generator().manual_seed(seed)):
        with torch.no_grad():
            y, *tensors = module(x, *tensors)
        outputs, state = model.step({"x": x.numpy()}, state)
        off.append(outputs["y"] - y.numpy())
        size.append(y.numpy())
    limit = TOLERANCES[precision]
    if precision == "fp32":
        assert np.abs(off).max() <= max(limit.absolute, limit.relative * np.abs(size).max())
    else:  # a latch that closes a step later turns what follows it
        agree = np.abs(off).max(axis=(1, 2)) < 0.5
        assert agree[:10].all() or agree.mean() > 0.5


def _is_unsound(module, spec):
    """Whether torch itself shows that a module depends on chance, on its neighbours, or on a condition."""
    shapes = [[2 if axis == BATCH else axis for axis in state.axes] for state in spec.states]
    states = [torch.zeros(shape, dtype=getattr(torch, s.dtype)) for shape, s in zip(shapes, spec.states, strict=True)]
    x = torch.ones(2, SIZE)
    with torch.no_grad():
        once, again = (module(x, *states)[0] for _ in range(2))
        beside = module(torch.cat([x[:1], 3 * x[1:]]), *states)[0]
        try:
            torch.export.export(module, (x, *states))
        except Exception:  # noqa: BLE001 - torch's own exceptions have no common root
            return True
    return not torch.equal(once, again) or not torch.equal(once[0], beside[0])
