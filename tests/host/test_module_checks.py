"""What is refused of a module before anything is exported, with its reason, and what is only warned of."""

import linecache
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from targets import TARGETS
from torch import nn

from edgernn.contract import BATCH, GraphSpec, StateSpec, TensorSpec
from edgernn.errors import ExportError, ExportWarning
from edgernn.exporters import export_module
from edgernn.exporters.checks import check_graphs
from edgernn.models import Graph

SIX = (TensorSpec("x", "float32", (BATCH, 6)),)


def step(states=(), outputs=None, inputs=SIX):
    outputs = (TensorSpec("y", "float32", (BATCH, 6)),) if outputs is None else outputs
    return GraphSpec("step", inputs, outputs, states)


H = StateSpec("h", "float32", (BATCH, 6))


def module(forward, **parts):
    made = nn.Module()
    for name, part in parts.items():
        if isinstance(part, torch.Tensor):
            made.register_buffer(name, part)
        else:
            setattr(made, name, part)
    made.forward = forward.__get__(made)
    return made.eval()


def check(forward, spec=None, **parts):
    made = module(forward, **parts)
    return check_graphs([Graph(spec or step((H,)), made, made)], None)


def loud_reset(self, x, h):
    if x.abs().max() > 8:
        h = torch.zeros_like(h)
    return x, h * 0.5 + x


def quick_exit(self, x, h):
    while (h.sum() > 3).any():
        h = h / 2
    return x, h + x


def careful(self, x, h):
    assert torch.isfinite(x).all(), "no numbers"
    return x, h + x


def larger(self, x, h):
    return max(x.sum(), h.sum()) + x, h + x


def itemised(self, x, h):
    return x * x.mean().item(), h + x


def rounded(self, x, h):
    return x + float(h[0, 0]), h + x


def through_numpy(self, x, h):
    return torch.from_numpy(np.tanh(x.detach().numpy())), h + x


def listed(self, x, h):
    return x + sum(x[0].tolist()), h + x


def copied(self, x, h):
    return x + torch.tensor(x[0, 0]), h + x


def ranged(self, x, h):
    for _ in range(int(x[0, 0].abs()) + 1):
        h = h * 0.5
    return x, h + x


def viewed(self, x, h):
    y = torch.zeros_like(x)
    y[:] = x
    if y.sum() > 0:
        y = y * 2
    return y, h + x


READS = {
    loud_reset: ("if x.abs().max() > 8:", "use torch.where"),
    quick_exit: ("while (h.sum() > 3).any():", "Python loop that ends on the value"),
    careful: (
        "assert torch.isfinite(x).all()",
        "assertion about the value of a tensor, and cannot be exported: leave it",
    ),
    larger: ("return max(x.sum(), h.sum()) + x", "Python condition on the value"),
    itemised: ("return x * x.mean().item(), h + x", "reads the value of a tensor into Python"),
    rounded: ("return x + float(h[0, 0]), h + x", "reads the value of a tensor into Python"),
    through_numpy: ("np.tanh(x.detach().numpy())", "reads the value of a tensor into Python"),
    listed: ("return x + sum(x[0].tolist()), h + x", "reads the value of a tensor into Python"),
    copied: ("return x + torch.tensor(x[0, 0]), h + x", "copies the value of a tensor into a constant"),
    ranged: ("for _ in range(int(x[0, 0].abs()) + 1):", "reads the value of a tensor into Python"),
    viewed: ("if y.sum() > 0:", "use torch.where"),
}


@pytest.mark.filterwarnings("ignore:To copy construct from a tensor")
@pytest.mark.parametrize(("forward", "quoted", "reason"), [(f, *about) for f, about in READS.items()])
def test_python_code_that_reads_values_is_refused_with_its_line(forward, quoted, reason):
    with pytest.raises(ExportError) as caught:
        check(forward)
    text = str(caught.value)
    lines = Path(__file__).read_text().splitlines()
    first = forward.__code__.co_firstlineno
    number = next(n for n in range(first, first + 9) if quoted in lines[n])
    assert f"test_module_checks.py, line {number + 1}: " in text
    assert quoted in text
    assert reason in text


@pytest.mark.parametrize("target", TARGETS)
def test_no_target_freezes_a_condition_on_a_value(tmp_path, target):
    with pytest.raises(ExportError, match=r"line \d+: 'if x\.abs\(\)\.max\(\) > 8:' is a Python condition"):
        export_module(module(loud_reset), step((H,)), out=tmp_path / "b", target=target)
    assert not (tmp_path / "b").exists()


def constant_reads(self, x, h):
    if self.scale.item() > 1 and self.layer.weight.sum() != 0 and x.shape[0] > 0 and len(x):
        x = x * float(self.scale)
    return torch.where(x > 0, x, -x), h + x


def test_what_is_the_same_at_every_step_may_be_read(tmp_path):
    """Parameters, buffers and sizes."""
    parts = {"scale": torch.tensor(3.0), "layer": nn.Linear(2, 2)}
    assert check(constant_reads, **parts) == []


def indexed(self, x, t):
    return self.table[t] + x, (t + 1) % 4


def test_an_index_is_no_value_that_is_read(tmp_path):
    """A table that is looked up at a counter without axes exports as it is."""
    spec = step(
        (StateSpec("t", "int64", (), bound=4),),
        (TensorSpec("y", "float32", (1, 6)),),
        (TensorSpec("x", "float32", (1, 6)),),
    )
    export_module(module(indexed, table=torch.randn(4, 6)), spec, out=tmp_path / "b", steps=16)


def shifted(self, x, h):
    h[:, 1:] = h[:, :-1].clone()
    h[:, 0] = x[:, 0]
    return x, h


def added(self, x, h):
    x += 1
    return x, h + x


@pytest.mark.parametrize(("forward", "name"), [(shifted, "h"), (added, "x")])
@pytest.mark.parametrize("axis", [BATCH, 1])
def test_inputs_changed_in_place_are_named(forward, name, axis):
    state, x, y = (
        kind(n, "float32", (axis, 6)) for kind, n in ((StateSpec, "h"), (TensorSpec, "x"), (TensorSpec, "y"))
    )
    with pytest.raises(ExportError, match=f"the module changes its input {name} in place; .* {name}.clone()"):
        check(forward, step((state,), (y,), (x,)))


def noisy(self, x, h):
    return x + torch.randn_like(x), h + x


def dropped(self, x, h):
    return torch.nn.functional.dropout(x, 0.5), h + x


def drawn_for_nothing(self, x, h):
    torch.rand(1)
    return x, h + x


@pytest.mark.parametrize(
    ("forward", "words"),
    [
        (noisy, "two calls with equal inputs give different outputs in y; it draws random numbers"),
        (dropped, "two calls with equal inputs give different outputs in y; it draws random numbers"),
        (drawn_for_nothing, "the module draws random numbers in its forward"),
    ],
)
def test_random_numbers_are_refused(forward, words):
    with pytest.raises(ExportError, match=words):
        check(forward)


def kept_in_buffer(self, x, h):
    self.last.copy_(x[:1])
    return x + self.last, h + x


def kept_in_attribute(self, x, h):
    self.total = getattr(self, "total", 0) + x.sum()
    return x + self.total, h + x


def kept_in_list(self, x, h):
    self.past.append(x)
    return x + len(self.past), h + x


@pytest.mark.parametrize(
    ("forward", "parts", "words"),
    [
        (
            kept_in_buffer,
            {"last": torch.zeros(1, 6)},
            "keeps state in last, which a call changes; declare it as a state",
        ),
        (kept_in_attribute, {}, "different outputs in y; it keeps total between them: declare it as a state"),
        (kept_in_list, {"past": []}, r"different outputs in y; it keeps past \(its length\)"),
    ],
)
def test_state_that_is_kept_between_calls_is_named(forward, parts, words):
    with pytest.raises(ExportError, match=words):
        check(forward, **parts)


def test_a_buffer_keeps_its_value():
    made = module(kept_in_buffer, last=torch.full((1, 6), 3.0))
    with pytest.raises(ExportError, match="keeps state in last"):
        check_graphs([Graph(step((H,)), made, made)], None)
    assert made.last.eq(3).all()


def remembers(self, x, h):
    self.seen = x.mean()
    return x, h + x


def test_an_attribute_that_nothing_reads_is_a_warning():
    (finding,) = check(remembers)
    assert finding.name == "seen"
    assert "a call changes the attribute seen, which an artifact does not keep" in finding.text


def centred(self, x, h):
    return x - x.mean(0), h + x


def summed(self, x, h):
    return x / len(x), h + x


@pytest.mark.parametrize(
    ("forward", "words"),
    [
        (centred, "y of a stream changes with the inputs of the others in its batch"),
        (summed, "y of a stream is not what it is alone, in a batch of one"),
    ],
)
def test_streams_that_see_each_other_are_refused(forward, words):
    with pytest.raises(ExportError, match=words):
        check(forward)


def mixed(self, x, h):
    return self.layer(x), h + x


def test_a_mixture_of_types_names_those_of_the_parameters():
    with pytest.raises(ExportError, match="the module's parameters are float64, its inputs float32"):
        check(mixed, layer=nn.Linear(6, 6).double())


def latch(self, x, h, woken, t):
    score = torch.sigmoid(x[:, 0] + h[:, 0])
    late = torch.where(t % 8 == 5, score, torch.zeros_like(score))
    return score + late, h * 0.5 + x, woken | (score > 0.9999), t + 1


LATCH = step(
    (H, StateSpec("woken", "bool", (BATCH,)), StateSpec("t", "int64", (BATCH,))),
    (TensorSpec("y", "float32", (BATCH,)),),
)


def test_a_latch_and_a_counter_export_and_the_latch_is_warned_of(tmp_path):
    with pytest.warns(ExportWarning, match="woken may be no state: in 16 steps it did not change") as caught:
        exported = export_module(module(latch), LATCH, out=tmp_path / "b", steps=64)
    assert exported.warnings == (str(caught[0].message),)
    assert Path(caught[0].filename) == Path(__file__)  # the caller's own line, and none of the product
    assert "export_module" in linecache.getline(caught[0].filename, caught[0].lineno)


def test_what_is_warned_of_can_be_confirmed(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        exported = export_module(module(latch), LATCH, out=tmp_path / "b", steps=64, confirm=["woken"])
    assert exported.warnings == ()


def test_examples_in_which_a_state_changes_leave_nothing_to_warn_of(tmp_path):
    loud = [{"x": np.full((1, 6), value, np.float32)} for value in (0, 1, 20, 0, -20, 1)]
    assert export_module(module(latch), LATCH, out=tmp_path / "b", steps=64, examples=loud).warnings == ()


def ignored(self, x, h):
    return x, torch.tanh(x)


def handed_on(self, x, h):
    return x + h, h * 1


@pytest.mark.parametrize(
    ("forward", "seen"),
    [(ignored, "no output and no other state depended on it"), (handed_on, "it did not change")],
)
def test_states_that_seem_to_be_none_are_warned_of(forward, seen):
    (finding,) = check(forward)
    assert finding.name == "h"
    assert finding.text == f"graph step: h may be no state: in 16 steps {seen}"


def test_a_buffer_that_is_replaced_is_named_and_put_back():
    def fading(self, x, h):
        self.mean = 0.9 * self.mean + x.mean(0)
        return x - self.mean, 0.5 * h + x

    made = module(fading, mean=torch.zeros(6))
    mean = made.mean
    with pytest.raises(ExportError, match="keeps state in mean, which a call changes; declare it as a state"):
        check_graphs([Graph(step((H,)), made, made)], None)
    assert made.mean is mean
    assert torch.equal(mean, torch.zeros(6))
