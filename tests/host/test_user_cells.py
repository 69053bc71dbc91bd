"""Cells from files of the user: what is refused, what a run keeps, and that every part of a cell can be exported."""

import gc
import hashlib
import json
import shlex
import sys
import textwrap
import weakref

import pytest
import torch
from tiny import sigmoid

from edgernn.errors import ConfigError, GrowingStateError, RunError
from edgernn.exporters import TARGETS, export
from edgernn.models import Source
from edgernn.models.cells import cell_class
from edgernn.models.cells.checks import OPERATORS
from edgernn.models.cells.user import load_cell, loaded_cell
from edgernn.tasks import LANGUAGE
from edgernn.tasks.language.network import LanguageModel
from edgernn.tasks.language.settings import LanguageConfig
from edgernn.training import Run, Trainer

GATED = '''
import torch
from edgernn.models.cells import Cell


class Gated(Cell):
    """One gate that decides how much of the state is replaced."""

    def __init__(self, input_size, hidden_size, layer_norm=False):
        super().__init__(input_size, hidden_size, layer_norm)
        self.gates = self.linear(input_size + hidden_size, 2 * hidden_size)

    def step(self, x, state):
        (h,) = state
        gates = self.gates(torch.cat([x, h], dim=1))
        z, n = torch.sigmoid(self.part(gates, 0)), torch.tanh(self.part(gates, 1))
        return (h + z * (n - h),)
'''
EVERY_PART = """
import torch
from edgernn.models.cells import Cell


class EveryPart(Cell):
    states = ("h", "c")
    bounds = (1.0, None)

    def __init__(self, input_size, hidden_size, layer_norm=False):
        super().__init__(input_size, hidden_size, layer_norm)
        self.gates = self.linear(input_size + hidden_size, 4 * hidden_size)

    def step(self, x, state):
        h, c = state
        gates = self.gates(torch.cat([x, h], dim=1))
        a, b, d, e = (self.part(gates, index) for index in range(4))
        up = torch.relu(b) + torch.nn.functional.silu(d)
        up = torch.sqrt(up * up + 1) + torch.abs(e) / (1 + torch.exp(-torch.clamp(d, -3, 3)))
        up = torch.where(b > 0, up, torch.where(b < -1, 0.5 * up, torch.where(a >= 1, a, torch.where(d <= -1, d, up))))
        mean = up.mean(dim=1, keepdim=True) + torch.softmax(a, dim=1).sum(dim=1, keepdim=True)
        c = 0.3 * torch.maximum(-c, 0.5 * c) + 0.3 * torch.minimum(up, 1 - mean) * torch.rsqrt(1 + up.pow(2))
        c = c + 0.1 * torch.nn.functional.layer_norm(a, (self.hidden_size,)) - torch.reciprocal(2 + up * up)
        pair = torch.stack([torch.tanh(c), torch.sigmoid(e)], dim=1)
        return pair[:, 0] * pair[:, 1] * torch.ones_like(h), torch.clamp_min(torch.clamp_max(c, 5.0), -5.0)
"""


@pytest.fixture
def write(tmp_path):
    def write(text, name="my_cell.py"):
        (tmp_path / name).write_text(textwrap.dedent(text), encoding="utf-8")
        return tmp_path / name

    return write


def interrupted(*_, **__):
    raise KeyboardInterrupt


def changed(*changes):
    text = GATED
    for before, after in changes:
        assert before in text
        text = text.replace(before, after)
    return text


STEP = "return (h + z * (n - h),)"
REFUSED = [
    ("class Gated(Cell)", "class Gated", "Gated is no subclass of edgernn.models.cells.Cell"),
    ("class Gated", "class Other", r"my_cell.py has no class Gated: it has Other"),
    (
        "import torch\n",
        "import torch\nimport no_such_module\n",
        r"line 3: ModuleNotFoundError: No module named 'no_such_",
    ),
    ("def step", "def stop(:", r"line 13: SyntaxError: "),
    ("import torch\n", "import torch\nraise SystemExit(3)\n", r"line 3: SystemExit: 3"),
    ('"""One', 'states = ()\n    """One', r"states is \(\), not a tuple of names"),
    ('"""One', 'states = ("h", "h")\n    """One', "two of its states have the same name"),
    ('"""One', 'states = ("h", "c")\n    """One', r"bounds is \(1.0,\); give one number or None for each state: h, c"),
    ('"""One', 'bounds = (-1,)\n    """One', "the bound of the state h is -1, not a finite number above 0 or None"),
    ('"""One', 'bounds = (float("inf"),)\n    """One', "is inf, not a finite number above 0 or None"),
    (STEP, "return h + z * (n - h)", "step returns Tensor, not a tuple of one tensor for each state: h"),
    (STEP, "return (h, h)", "step returns 2 values, not a tuple"),
    (STEP, "return (torch.cat([h, n], 1),)", r"the state h after a step is torch.float32 \(4, 10\), not torch.float32"),
    (STEP, "return (n.double(),)", r"step uses _to_copy in line 17"),
    (STEP, "return (z,)", None),
    (
        STEP,
        "return (torch.tanh(self.part(self.gates(torch.cat([x, 0 * h], 1)), 1)),)",
        "does not depend on the state h",
    ),
    (STEP, "return (0.5 * h + 0 * n,)", "the next state does not depend on the input x"),
    (STEP, "h += n\n        return (h,)", "step changes a tensor in place in line 17"),
    (
        STEP,
        "self.last = getattr(self, 'last', 0) + 0.1\n        return (h + self.last * (n - h),)",
        "a second call of step",
    ),
    (STEP, "return (n * torch.tanh(h.mean()),)", "depends on the other sequences of the batch"),
    (STEP, "return (h + n,)", "bounds says that the state h is at most 1 in absolute value, and it is"),
    (STEP, "return (torch.erf(n + h),)", "step uses erf in line 17, which not every target has"),
    (STEP, "return (n if h.sum() > 0 else z,)", "step reads the value of a tensor in Python in line 17"),
    (STEP, "return (h @ n,)", "step fails: RuntimeError: mat1 and mat2 shapes cannot be multiplied"),
    (STEP, "return (h.chunk(2, 1)[0] + n,)", "step uses split in line 17"),
    (
        STEP,
        STEP + "\n\n    def sequence(self, x, state):\n        return x.new_zeros(len(x), 4, 5), state",
        "of sequence",
    ),
    (STEP, STEP + "\n\n    def sequence(self, x, state):\n        return x", "sequence does not return two values"),
    (STEP, STEP + "\n\n    def sequence(self, x, state):\n        return None", "sequence does not return two values"),
    (
        STEP,
        STEP + "\n\n    def sequence(self, x, state):\n        return super().sequence(x[1:], state)",
        r"the outputs, \(time, batch, hidden\), and the last state, a tuple",
    ),
    (
        STEP,
        STEP + "\n\n    def sequence(self, x, state):\n        return super().sequence(x, state)[0], state[0]",
        "sequence does not return two values",
    ),
    (STEP, "raise SystemExit(3)", "step fails: SystemExit: 3"),
    (STEP, "return (n / (0 * h),)", "the state h after a step is not finite"),
    (
        ", layer_norm=False):\n        super().__init__(input_size, hidden_size, layer_norm)",
        "):\n        super().__init__(input_size, hidden_size)",
        r"__init__ fails: TypeError: Gated.__init__\(\) takes 3 positional arguments",
    ),
    ("(input_size, hidden_size, layer_norm)\n", "(input_size, hidden_size)\n", "does not pass its three arguments"),
    (
        "import torch\n",
        "import torch\n\0\n",
        r"my_cell.py: (SyntaxError|ValueError): source code string cannot contain",
    ),
    ("z, n = torch.sigmoid(self.part(gates, 0))", "z, n = torch.sigmoid(self.parts(gates)[0])", None),
    ("\nimport torch\n", "\ufeffimport torch\n", None),
]


@pytest.mark.parametrize(("before", "after", "said"), REFUSED, ids=[after for _, after, _ in REFUSED])
def test_a_class_that_is_no_cell_is_refused(write, before, after, said):
    path = write(changed((before, after)))
    if said is None:
        assert cell_class(load_cell(f"{path}:Gated")).states == ("h",)
        return
    with pytest.raises(ConfigError, match=said) as caught:
        load_cell(f"{path}:Gated")
    assert str(caught.value).startswith(f"--cell {path}")
    assert "\n" not in str(caught.value)


def test_a_formula_that_explodes_is_refused(write):
    text = changed((STEP, "return (3 * h + n,)"), ('"""One', 'bounds = (None,)\n    """One'))
    with pytest.raises(GrowingStateError, match=r"the state h grows without limit: [\d.e+]+ after \d+ steps"):
        load_cell(f"{write(text)}:Gated")


def test_a_cell_that_is_loaded_for_a_block_is_forgotten_after_it(write, monkeypatch):
    monkeypatch.setattr("edgernn.models.cells.user._loaded", {})
    path = write(GATED)
    modules = set(sys.modules)
    with loaded_cell(f"{path}:Gated") as name:
        kept = weakref.ref(cell_class(name))
        assert kept().__module__ in sys.modules.keys() - modules
    gc.collect()
    assert kept() is None
    assert sys.modules.keys() == modules
    with pytest.raises(ConfigError, match="is Python code of a user"):
        cell_class(name)
    for text in (changed((STEP, "return (h + n,)")), changed(("import torch\n", "import torch\n1 / 0\n"))):
        with pytest.raises(ConfigError), loaded_cell(f"{write(text)}:Gated"):
            pass
        assert sys.modules.keys() == modules


def test_a_cell_that_was_loaded_before_stays_loaded(write, monkeypatch):
    monkeypatch.setattr("edgernn.models.cells.user._loaded", {})
    both = GATED + "\n\nclass Twin(Gated):\n    pass\n"
    path = write(both)
    cell = cell_class(load_cell(f"{path}:Gated"))
    with loaded_cell(f"{path}:Gated") as name:
        assert cell_class(name) is cell
    assert cell_class(name) is cell
    with loaded_cell(f"{path}:Twin") as twin:
        assert cell_class(twin).__name__ == "Twin"
    assert cell_class(name) is cell
    assert cell.__module__ in sys.modules


def test_what_continues_a_training_names_the_file_with_its_folder(write, tmp_path, call, monkeypatch):
    """Each command that is printed is given again, in the same folder, and works."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my cells").mkdir()
    write(GATED, "my cells/my_cell.py")
    (tmp_path / "corpus.txt").write_text("the quick brown fox jumps over the lazy dog. " * 60)
    small = ["--hidden", "4", "--bptt", "8", "--batch-size", "4", "--evaluations", "1", "--steps", "2"]
    command = "edgernn train language --resume run --cell 'my cells/my_cell.py:Gated'"
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "resume", interrupted)
        said = call("train", "language", "corpus.txt", "--cell", "my cells/my_cell.py:Gated", *small, "--out", "run")[2]
    assert said.splitlines()[-2] == f"to continue: {command}"
    for line in ("to continue: {}", "to train it further: {} --passes N, where N is above 0.02667"):
        monkeypatch.setattr("edgernn.models.cells.user._loaded", {})
        with monkeypatch.context() as patch:
            patch.setattr(Trainer, "fit", interrupted)
            said = call(*shlex.split(command)[1:])[2]
        assert line.format(command) in said.splitlines()
        assert call(*shlex.split(command)[1:])[0] == 0


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"--cell .*none.py: No such file"):
        load_cell(f"{tmp_path}/none.py:Gated")
    (tmp_path / "binary.py").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match=r"binary.py is not UTF-8 text"):
        load_cell(f"{tmp_path}/binary.py:Gated")


def test_a_users_cell_computes_its_formula(write):
    torch.manual_seed(0)
    cell = cell_class(load_cell(f"{write(GATED)}:Gated"))(3, 4).requires_grad_(False)
    x, h = torch.randn(2, 3), torch.randn(2, 4)
    gates = torch.cat([x, h], 1).numpy() @ cell.gates.weight.numpy() + cell.gates.bias.numpy()
    z, n = sigmoid(gates[:, :4]), torch.tanh(torch.from_numpy(gates[:, 4:])).numpy()
    torch.testing.assert_close(cell.step(x, (h,))[0], torch.from_numpy((1 - z) * h.numpy() + z * n))


def test_a_run_keeps_the_text_and_executes_only_what_is_named(write, tmp_path, monkeypatch):
    monkeypatch.setattr("edgernn.models.cells.user._loaded", {})
    path = write(GATED)
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("the quick brown fox jumps over the lazy dog. " * 60)
    small = {"hidden": 4, "bptt": 8, "batch_size": 4, "evaluations": 1, "steps": 2}
    trainer = Trainer.begin(LANGUAGE, [str(corpus)], tmp_path / "run", cell=f"{path}:Gated", **small)
    list(trainer.fit())
    assert (tmp_path / "run/cell.py").read_text() == GATED
    digest = hashlib.sha256(GATED.encode()).hexdigest()
    config = json.loads((tmp_path / "run/config.json").read_text())
    assert config["settings"]["model"]["cell"] == f"my_cell.py:Gated@{digest}"
    assert trainer.run.resume.endswith(f" --cell {path}:Gated")

    monkeypatch.setattr("edgernn.models.cells.user._loaded", {})
    run = Run.load(tmp_path / "run")
    assert run.resume.endswith(" --cell FOLDER/my_cell.py:Gated")
    said = rf"my_cell.py:Gated is Python code of a user.*add --cell FILE.py:Gated, .*SHA-256 {digest[:12]}"
    with pytest.raises(RunError, match=said):
        run.source()
    load_cell(f"{write(GATED + '# another', 'other.py')}:Gated")
    with pytest.raises(RunError, match=r"and .*other.py has .*: give the file as it was in training"):
        run.source()
    load_cell(f"{write(GATED, 'renamed.py').rename(tmp_path / 'my_cell.py')}:Gated")
    assert run.network().stack.layers[0].gates.weight.shape == (132, 8)


def test_the_commands_need_the_cell_of_the_run(write, tmp_path, call, monkeypatch):
    monkeypatch.setattr("edgernn.models.cells.user._loaded", {})
    path, corpus, run, bundle = write(GATED), tmp_path / "corpus.txt", tmp_path / "run", tmp_path / "bundle"
    corpus.write_text("the quick brown fox jumps over the lazy dog. " * 60)
    small = ["--hidden", "4", "--bptt", "8", "--batch-size", "4", "--evaluations", "1", "--steps", "2"]
    cell = ["--cell", f"{path}:Gated"]
    assert call("train", "language", corpus, *cell, *small, "--out", run)[0] == 0
    needs = {
        "export": ["export", run, "--out", bundle],
        "evaluate": ["evaluate", run],
        "verify": ["verify", bundle, "--against", run],
        "gradients": ["inspect", "gradients", run, "--distance", "2", "--out", tmp_path / "gradients.png"],
        "resume": ["train", "language", "--resume", run, "--steps", "3"],
    }
    for command in needs.values():
        monkeypatch.setattr("edgernn.models.cells.user._loaded", {})
        status, _, said = call(*command)
        assert (status, said.count("\n")) == (2, 1)
        assert "add --cell FILE.py:Gated" in said
        status, _, said = call(*command, *cell)
        assert status == 0, said
    status, _, said = call("inspect", bundle, *cell)
    assert (status, said) == (2, "edgernn: --cell goes with edgernn inspect gradients: leave it out\n")
    status, _, said = call("evaluate", bundle, "--text", corpus, *cell)
    assert (status, said) == (
        2,
        f"edgernn: --cell {path}:Gated is for runs, and a bundle contains its recurrent cell: leave out --cell\n",
    )
    status, _, said = call("train", "language", corpus, "--cell", "my_cell.py", "--out", tmp_path / "other")
    assert status == 2
    assert "--cell my_cell.py is not one of lstm, gru" in said
    assert "or FILE.py:CLASS" in said


def test_a_fine_tuned_run_keeps_the_cell(write, tmp_path):
    path, corpus = write(GATED), tmp_path / "corpus.txt"
    corpus.write_text("the quick brown fox jumps over the lazy dog. " * 60)
    small = {"bptt": 8, "batch_size": 4, "evaluations": 1, "steps": 2}
    list(Trainer.begin(LANGUAGE, [str(corpus)], tmp_path / "a", cell=f"{path}:Gated", hidden=4, **small).fit())
    tuned = Trainer.begin(LANGUAGE, [str(corpus)], tmp_path / "b", start_from=tmp_path / "a", **small)
    assert (tmp_path / "b/cell.py").read_text() == GATED
    assert tuned.run.prepared.chosen.model.cell.startswith("my_cell.py:Gated@")


@pytest.mark.slow
@pytest.mark.parametrize("target", [target for target in TARGETS if target != "wasm"])  # whose code is that of c
def test_every_part_of_a_cell_exports_to_every_target(write, tmp_path, target):
    name = load_cell(f"{write(EVERY_PART)}:EveryPart")
    torch.manual_seed(0)
    network = LanguageModel(LanguageConfig(11, cell=name, hidden=8, layers=1)).eval()
    exported = export(Source(network), tmp_path / "b", target=target, steps=32)
    assert exported.parity.max_abs_diff_outputs <= 1e-4


def test_the_cell_of_every_part_uses_every_operator(write):
    seen = set()

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            seen.add(func.__name__.partition(".")[0])
            return func(*args, **(kwargs or {}))

    cell = cell_class(load_cell(f"{write(EVERY_PART)}:EveryPart"))(3, 4)
    x, h, c = torch.randn(2, 3), torch.randn(2, 4), torch.randn(2, 4)
    with Watch():
        cell.step(x, (h, c))
    shapes = {"alias", "clone", "detach", "expand", "permute", "reshape", "squeeze", "t", "transpose", "unsqueeze"}
    assert seen <= OPERATORS
    assert OPERATORS - seen <= shapes | {
        "view",
        "_unsafe_view",
        "full_like",
        "lift_fresh",
        "zeros_like",
        "addmm",
        "select",
    }
