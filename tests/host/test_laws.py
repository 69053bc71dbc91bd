"""Laws that hold for every task, on every target and at every precision, by construction.

What is general is never written for one task: each law here is tested on the data of `tests/tasks.py`.
"""

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from conversions import convert_once
from tasks import EXAMPLES
from torch import nn

from edgernn.bundle import Bundle
from edgernn.cli.load import load_model
from edgernn.engines.eager import eager_model
from edgernn.execution import Execution
from edgernn.exporters import TARGETS, export, verify
from edgernn.exporters.targets.c import CodeOptions, c_target
from edgernn.exporters.targets.wasm import wasm_target
from edgernn.runtime.pipelines import PIPELINES
from edgernn.settings import declared_options
from edgernn.tasks import TASKS
from edgernn.tasks.learner import Placement
from edgernn.tasks.task import Task
from edgernn.training import Run, Trainer
from edgernn.training.run import CHECKPOINT, METRICS, WEIGHTS, open_learner
from edgernn.training.trainer import ignore_progress

ROOT = Path(__file__).parents[2]
MATRIX = [(target.name, precision) for target in TARGETS.values() for precision in target.precisions]
QUICK = [("onnx", "fp32"), ("onnx", "int8")]  # of all tasks; of language models, what is made at fp32 within a second
CODE = {"c": c_target, "wasm": wasm_target}
NEEDS_CLANG = pytest.mark.skipif(not shutil.which("clang") and "CI" not in os.environ, reason="clang is not installed")


def marks(task: str, target: str, precision: str):
    if target == "wasm":
        return pytest.mark.matrix, NEEDS_CLANG
    return () if (target, precision) in QUICK or (task, precision) == ("language", "fp32") else (pytest.mark.matrix,)


def meets(task: str, target: str, precision: str) -> bool:
    """Return whether a task is tested on a target at a precision; it is on every target, and at every precision.

    Lowering to ExecuTorch takes longest, at int8 twice as long as at fp32: there small networks are tested at int8, the
    others at fp32. One generator writes the code for C and WebAssembly: each has every other precision, in turns.
    """
    if target == "executorch":
        return (precision == "int8") == (task in ("language", "classify", "tag", "pens"))
    if target in CODE:
        at = [*TASKS].index(task) + TARGETS[target].precisions.index(precision)
        return at % 2 == (target == "wasm")
    return True


PAIRS = [
    pytest.param(task, target, precision, marks=marks(task, target, precision))
    for task in TASKS
    for target, precision in MATRIX
    if meets(task, target, precision)
]
SCORED = [pair for pair in PAIRS if EXAMPLES[pair.values[0]].evaluation]


@pytest.fixture(scope="module", autouse=True)
def _cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGERNN_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module", autouse=True)
def _converted_once():
    with convert_once(nn.Module):
        yield


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """By task: the sources of its tiny data set."""
    found = {}
    for name, example in EXAMPLES.items():
        found[name] = example.write(tmp_path_factory.mktemp(name))
    return found


@pytest.fixture(scope="module")
def runs(sources, tmp_path_factory):
    """By task: a run that was never interrupted, made when it is first asked for."""
    folder, made = tmp_path_factory.mktemp("runs"), {}

    def run(task: str) -> Path:
        if task not in made:
            for _ in begin(task, sources, folder / task).fit():
                pass
            made[task] = folder / task
        return made[task]

    return run


@pytest.fixture(scope="module")
def bundles(runs, tmp_path_factory):
    """By task, target and precision: a bundle of the run, made when it is first asked for."""
    folder, made = tmp_path_factory.mktemp("bundles"), {}

    def bundle(task: str, target: str, precision: str) -> Path:
        key = (task, target, precision)
        if key not in made:
            made[key] = folder / "-".join(key)
            to = CODE[target](CodeOptions(sizes=EXAMPLES[task].sizes)) if target in CODE else target
            export(Run.load(runs(task)).source(), made[key], target=to, precision=precision, steps=64)
        return made[key]

    return bundle


def begin(task: str, sources, out: Path, **settings) -> Trainer:
    return Trainer.begin(TASKS[task], sources[task], out, **{**EXAMPLES[task].settings, **settings})


def without_times(path: Path):
    lines = [json.loads(line) for line in (path / METRICS).read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


def evaluate(task: Task, model, sources):
    evaluation = EXAMPLES[task.name].evaluation
    assert evaluation is not None
    settings = task.evaluation(**evaluation(sources[task.name]))
    return task.evaluate(model, settings, ignore_progress).score.to_json()


@pytest.mark.parametrize("task", TASKS)
def test_without_data_a_run_is_scored_on_what_its_training_held_out(task, runs):
    run = Run.load(runs(task))
    greedy = {"beam": 1} if "beam" in declared_options(TASKS[task].evaluation) else {}
    found = TASKS[task].evaluate(eager_model(run.source()), TASKS[task].evaluation(**greedy), ignore_progress, run.data)
    trained = open_learner(run, Placement(), ignore_progress).evaluate(run.network(), whole=True)
    assert found.score.figures == pytest.approx(trained.figures, rel=1e-4, abs=1e-6)
    assert found.score.to_json().keys() == trained.to_json().keys()
    assert any("that the training held out" in note for note in found.notes)


def test_every_task_has_an_example_and_a_pipeline():
    assert EXAMPLES.keys() == TASKS.keys() == PIPELINES.keys()
    assert all(task.name == name for name, task in TASKS.items())


def test_every_two_of_task_target_and_precision_meet():
    met = [pair.values for pair in PAIRS]
    assert {(task, target) for task, target, _ in met} == {(task, target) for task in TASKS for target in TARGETS}
    precisions = {precision for _, precision in MATRIX}
    assert {(task, precision) for task, _, precision in met} == {(task, each) for task in TASKS for each in precisions}
    assert {(target, precision) for _, target, precision in met} == {*MATRIX}


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("at", [1, 5])
def test_a_resumed_training_is_one_that_was_never_interrupted(task, at, runs, sources, tmp_path):
    trainer = begin(task, sources, tmp_path / "run")
    for event in trainer.fit():
        if event.step == at:
            trainer.stop()
    trainer.save()
    torch.manual_seed(99)  # whatever happens in between
    resumed = Trainer.resume(tmp_path / "run")
    assert resumed.step == at
    for _ in resumed.fit():
        pass
    assert (tmp_path / "run" / WEIGHTS).read_bytes() == (runs(task) / WEIGHTS).read_bytes()
    assert without_times(tmp_path / "run") == without_times(runs(task))


@pytest.mark.parametrize("task", TASKS)
def test_a_run_that_goes_on_beyond_its_end_is_resumed_exactly(task, runs, tmp_path):
    whole, cut = (shutil.copytree(runs(task), tmp_path / name) for name in ("whole", "cut"))
    end = EXAMPLES[task].settings["steps"]
    later = Trainer.resume(whole, steps=end + 7)
    phase = later.phase
    for event in later.fit():
        assert later.phase >= phase, event
    trainer = Trainer.resume(cut, steps=end + 7)
    for event in trainer.fit():
        if event.step == end + 4:
            trainer.stop()
    trainer.save()
    torch.manual_seed(99)  # whatever happens in between
    for _ in Trainer.resume(cut).fit():
        pass
    assert trainer.step == end + 4
    assert Run.load(cut).read(CHECKPOINT)[1]["step"] == end + 7
    ours, theirs = (Run.load(path).read(CHECKPOINT)[0] for path in (whole, cut))
    assert all(torch.equal(ours[name], tensor) for name, tensor in theirs.items())
    assert without_times(cut) == without_times(whole)


@pytest.mark.parametrize("task", TASKS)
def test_a_run_starts_from_another_one(task, runs, sources, tmp_path):
    model = {each.field.name for each in declared_options(TASKS[task].data, TASKS[task].model).values()}
    settings = {name: value for name, value in EXAMPLES[task].settings.items() if name not in model}
    trainer = Trainer.begin(TASKS[task], sources[task], tmp_path / "run", start_from=runs(task), **settings)
    old = Run.load(runs(task))
    before = old.network().state_dict()
    assert all(torch.equal(tensor, before[name]) for name, tensor in trainer.network.state_dict().items())
    for _ in trainer.fit():
        pass
    assert trainer.run.prepared.assets == old.prepared.assets
    assert trainer.run.origin["run"] == task
    export(trainer.run.source(), tmp_path / "bundle", target="torchscript", steps=16)  # the fastest to write


@pytest.mark.parametrize("task", TASKS)
def test_averaged_weights_are_what_is_kept(task, sources, tmp_path):
    trainer = begin(task, sources, tmp_path / "run", average=0.5)
    for _ in trainer.fit():
        pass
    assert trainer.average is not trainer.network
    kept, trained = trainer.run.network().state_dict(), trainer.network.state_dict()
    assert any(not torch.equal(kept[name], tensor) for name, tensor in trained.items() if tensor.is_floating_point())


@pytest.mark.parametrize(("task", "target", "precision"), PAIRS)
def test_a_bundle_is_verified_against_its_run_and_alone(task, target, precision, runs, bundles, capsys):
    from edgernn.cli import execute

    path = bundles(task, target, precision)
    parity = verify(path, Run.load(runs(task)).source(), steps=32)
    assert parity.max_share <= 1
    assert execute(["verify", str(path), "--engine", "c", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["passed"] is True


@pytest.mark.parametrize(("task", "target", "precision"), SCORED)
def test_a_bundle_scores_as_its_run_does(task, target, precision, runs, bundles, sources):
    run = evaluate(TASKS[task], eager_model(Run.load(runs(task)).source()), sources)
    bundle = evaluate(TASKS[task], load_model(bundles(task, target, precision), Execution(engine="c")), sources)
    assert bundle.keys() == run.keys()
    for name, value in run.items():
        if value is None or isinstance(value, list):
            assert precision != "fp32" or bundle[name] == value, name
        elif precision == "fp32":
            assert bundle[name] == pytest.approx(value, rel=1e-3, abs=1e-3), name
        elif name == TASKS[task].metric and task == "language":
            assert bundle[name] == pytest.approx(value, rel=0.05), name


@pytest.mark.parametrize("task", TASKS)
def test_a_bundle_carries_the_assets_of_its_run(task, runs, bundles):
    files = Bundle.load(bundles(task, "onnx", "fp32")).files
    assets = Run.load(runs(task)).prepared.assets
    assert assets or task == "paint"  # whose bundles have no vocabulary and no classes
    assert all(files[name] == content for name, content in assets.items())


PIPELINE = """
import sys, json
from edgernn.runtime import Model
from edgernn.runtime.pipelines import pipeline_for
pipeline = pipeline_for(Model.load(sys.argv[1]))
options = {key: tuple(value) if isinstance(value, list) else value for key, value in json.loads(sys.argv[3]).items()}
options = pipeline.options(**options)
read = (lambda text: pipeline.read_typed(text, options)) if pipeline.takes_text else pipeline.read
inputs = {} if pipeline.takes_nothing else read(sys.argv[2])
print(json.dumps(pipeline(inputs, options).to_json()))
"""

BLOCK = """
import sys
class Wall:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "onnx", "safetensors") or name.startswith(("edgernn.tasks", "edgernn.cli")):
            raise ImportError("behind the wall: " + name)
sys.meta_path.insert(0, Wall())
"""


@pytest.mark.parametrize("task", TASKS)
def test_the_pipeline_runs_without_torch(task, bundles, tmp_path):
    bundle, example = bundles(task, "onnx", "fp32"), EXAMPLES[task]
    arguments = [bundle, example.item(tmp_path), json.dumps(dict(example.options))]
    results = []
    for code in (PIPELINE, BLOCK + PIPELINE):
        command = [sys.executable, "-c", code, *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        results.append(json.loads(done.stdout))
    assert results[0] == results[1]
    assert results[0]


@pytest.mark.parametrize("task", TASKS)
def test_help_needs_no_torch(task):
    code = BLOCK.replace('"edgernn.tasks", "edgernn.cli"', '"edgernn.engines", "edgernn.exporters"')
    code += "from edgernn.cli import execute\nsys.exit(execute(['train', sys.argv[1], '--help']))"
    done = subprocess.run([sys.executable, "-c", code, task], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    for flag in (
        "--preset",
        "--tensorboard",
        "--clip",
        "--average",
        "--weight-decay",
        "--steps",
        "--passes",
        "--minutes",
    ):
        assert flag in done.stdout
    for flag in ("--resume", "--overwrite", "--json"):
        assert flag in done.stdout


@pytest.mark.parametrize("task", TASKS)
def test_there_is_a_recipe_and_a_page(task):
    recipes = [tomllib.loads(path.read_text()) for path in (ROOT / "export" / "recipes").glob("*.toml")]
    assert task in {recipe["task"] for recipe in recipes}
    pages = [path.read_text("utf-8") for path in (ROOT / "docs").glob("*.md")]
    assert any(f"edgernn train {task} " in page for page in pages)


@pytest.mark.parametrize("task", TASKS)
def test_curves_and_a_board_are_drawn(task, runs, sources, tmp_path, capsys):
    from edgernn.cli import execute

    assert execute(["plot", str(runs(task)), "--out", str(tmp_path / "curves.png")]) == 0
    assert (tmp_path / "curves.png").read_bytes()[:4] == b"\x89PNG"
    shutil.copytree(runs(task), tmp_path / "run")
    options = ["--resume", str(tmp_path / "run"), "--tensorboard", str(tmp_path / "board"), "--json"]
    assert execute(["train", task, *options]) == 0, capsys.readouterr().err
    assert list((tmp_path / "board").iterdir())
    assert np.isfinite(json.loads(capsys.readouterr().out.splitlines()[-1])["best"][TASKS[task].metric])
