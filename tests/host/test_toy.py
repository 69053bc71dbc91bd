"""A task that edgernn does not know goes the whole way: trained, resumed, exported, evaluated and run."""

import json
import shutil

import numpy as np
import pytest
import toy
from targets import TARGETS

from edgernn.cli import application
from edgernn.cli import execute as run_command
from edgernn.runtime.pipelines import PIPELINES
from edgernn.tasks import TASKS
from edgernn.training import Trainer
from edgernn.training.run import WEIGHTS

QUICK = ["--hidden", "6", "--passes", "3", "--evaluations", "3", "--learning-rate", "0.05"]


@pytest.fixture
def execute(monkeypatch, capsys):
    """Run a command of an application that knows the toy: status, standard output and standard error."""
    monkeypatch.setitem(TASKS, "toy", toy.TOY)
    monkeypatch.setitem(PIPELINES, "toy", toy.ToyPipeline)
    app = application()

    def run(*arguments):
        capsys.readouterr()
        status = run_command([*map(str, arguments)], app)
        return status, *capsys.readouterr()

    return run


@pytest.mark.slow
def test_a_third_task_goes_the_whole_way(execute, tmp_path):
    data, held_out = toy.write_data(tmp_path / "data.npz"), toy.write_data(tmp_path / "test.npz", seed=1)
    run, frames = tmp_path / "run", tmp_path / "frames.npy"
    status, printed, said = execute("train", "toy", data, "--out", run, *QUICK, "--average", "0.5", "--json")
    assert status == 0, said
    answer = json.loads(printed)
    assert answer["best"].keys() == {"accuracy", "count"}
    assert answer["steps"] == 9
    status, printed, said = execute("evaluate", run, "--data", held_out, "--json")
    assert status == 0, said
    score = json.loads(printed)
    assert score["count"] == 40
    np.save(frames, np.full((5, 2), (0.1, 3.0), np.float32))
    labels = set()
    for target in TARGETS:
        bundle = tmp_path / target
        status, _, said = execute("export", run, "--to", target, "--out", bundle)
        assert status == 0, said
        status, _, said = execute("verify", bundle, "--against", run)
        assert status == 0, said
        assert json.loads(execute("evaluate", bundle, "--data", held_out, "--json")[1]) == score
        status, printed, said = execute("run", bundle, frames, "--certain", "0.1", "--json")
        assert status == 0, said
        labels.add(json.loads(printed)["label"])
    assert len(labels) == 1
    assert labels < {"first", "second"}
    status, _, said = execute("export", run, "--precision", "int8", "--out", tmp_path / "int8")
    assert status == 0, said
    status, _, said = execute("plot", run, "--out", tmp_path / "curves.png")
    assert status == 0, said


def test_options_presets_and_errors_of_a_third_task_come_from_its_settings(execute, tmp_path):
    data = toy.write_data(tmp_path / "data.npz")
    status, printed, _ = execute("train", "toy", "--help")
    assert status == 0
    for words in ("The size of the state.", "8; large: 32", "--batch-size", "Tell which channel"):
        assert words in " ".join(printed.replace("│", " ").split())
    for options, words in (
        (["--hidden", "0"], "--hidden 0 is not a whole number of at least 1"),
        (["--cell", "abacus"], "--cell abacus is not one of lstm, gru"),
        (["--preset", "huge"], "--preset huge is not one of usual, large"),
        (["--bptt", "3"], "No such option: --bptt"),
    ):
        status, _, said = execute("train", "toy", data, "--out", tmp_path / "run", *options)
        assert (status, words in said) == (2, True), said
        assert not (tmp_path / "run").exists()
    status, _, said = execute("train", "toy", data, "--out", tmp_path / "run", "--preset", "large", *QUICK[2:])
    assert status == 0, said
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["settings"]["model"] == {"channels": 2, "cell": "gru", "hidden": 32}


def test_a_third_task_resumes_exactly(execute, tmp_path):
    data = toy.write_data(tmp_path / "data.npz")
    settings = {"hidden": 6, "passes": 3.0, "evaluations": 3, "average": 0.9}
    for _ in Trainer.begin(toy.TOY, [str(data)], tmp_path / "whole", **settings).fit():
        pass
    trainer = Trainer.begin(toy.TOY, [str(data)], tmp_path / "cut", **settings)
    for event in trainer.fit():
        if event.step == 4:
            break
    data.unlink()
    copy = shutil.copytree(tmp_path / "cut", tmp_path / "copy")
    for _ in Trainer.resume(copy).fit():
        pass
    assert (copy / WEIGHTS).read_bytes() == (tmp_path / "whole" / WEIGHTS).read_bytes()
