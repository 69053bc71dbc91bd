"""A finished run that goes on beyond its end."""

import json
import shutil
import time

import pytest
import torch

from edgernn.errors import ConfigError, RunError
from edgernn.tasks import TASKS
from edgernn.tasks.settings import one_cycle
from edgernn.training import Evaluated, Run, Stepped, Trainer
from edgernn.training.run import CHECKPOINT, CONFIG, METRICS, WEIGHTS

LANGUAGE = TASKS["language"]


def fit(trainer, until=None):
    """Train, stopping abruptly after step `until`."""
    for event in trainer.fit():
        if event.step == until:
            break
    return trainer


def without_times(path):
    lines = [json.loads(line) for line in (path / METRICS).read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


@pytest.fixture
def finished(trained, tmp_path):
    """A copy of a run of 60 steps with 3 evaluations."""
    return shutil.copytree(trained, tmp_path / "finished")


@pytest.fixture(scope="module")
def extended(trained, tmp_path_factory):
    """A run that went on from 60 to 90 steps, and what was reported of it."""
    path = shutil.copytree(trained, tmp_path_factory.mktemp("extended") / "run")
    return path, list(Trainer.resume(path, steps=90).fit())


def test_a_finished_run_goes_on_from_where_it_was(extended, trained):
    path, events = extended
    steps = [event for event in events if isinstance(event, Stepped)]
    assert [event.step for event in steps] == list(range(61, 91))
    assert [event.step for event in events if isinstance(event, Evaluated)] == [70, 80, 90]
    lines = without_times(path)
    assert lines[:3] == without_times(trained)
    assert [line["step"] for line in lines] == [20, 40, 60, 70, 80, 90]
    assert lines[-1]["nats_per_char"] < lines[2]["nats_per_char"]
    assert Run.load(path).read(WEIGHTS)[1]["step"] == 90


def test_the_learning_rate_begins_a_new_cycle(extended, small):
    """Its rate, its progress and its evaluations are those of a training of the steps that were added."""
    _, events = extended
    steps = [event for event in events if isinstance(event, Stepped)]
    rates = [one_cycle(small["learning_rate"], done / 30, 0.1) for done in range(30)]
    assert [event.learning_rate for event in steps] == rates
    assert [event.progress for event in steps] == [(done + 1) / 30 for done in range(30)]


@pytest.mark.parametrize("until", [60, 61, 70, 77, 89])
def test_going_on_is_resumed_exactly(extended, finished, until):
    """Cut off anywhere, with a checkpoint or without, once more by the same command."""
    trainer = Trainer.resume(finished, steps=90)
    if until > 60:
        fit(trainer, until)
    torch.manual_seed(1234)  # whatever happened in between
    resumed = Trainer.resume(finished) if until % 2 else Trainer.resume(finished, steps=90)
    assert 60 <= resumed.step <= until
    fit(resumed)
    assert (finished / WEIGHTS).read_bytes() == (extended[0] / WEIGHTS).read_bytes()
    assert without_times(finished) == without_times(extended[0])
    assert json.loads((finished / CONFIG).read_text())["extensions"][0]["steps"] == 90


def test_a_run_goes_on_again_and_again(extended, tmp_path):
    whole, cut = (shutil.copytree(extended[0], tmp_path / name) for name in ("whole", "cut"))
    fit(Trainer.resume(whole, passes=4.0))
    fit(Trainer.resume(cut, passes=4.0), 101)
    fit(Trainer.resume(cut))
    assert (cut / WEIGHTS).read_bytes() == (whole / WEIGHTS).read_bytes()
    run = Run.load(whole)
    assert [(each.step, each.steps, each.passes) for each in run.extensions] == [(60, 90, None), (90, None, 4.0)]
    assert (run.training.steps, run.training.passes) == (None, 4.0)
    assert run.prepared.chosen.training.steps == 60  # what it was begun with
    trainer = Trainer.resume(whole)
    assert (trainer.finished, trainer.step) == (True, 4 * trainer.learner.steps_per_pass)
    provenance = run.source().provenance
    assert [each["steps"] for each in provenance["extensions"]] == [90, None]


def test_a_limit_in_minutes_is_of_the_whole_training(finished):
    before = Trainer.resume(finished).seconds
    trainer = fit(Trainer.resume(finished, minutes=(before + 0.3) / 60))
    assert before + 0.3 <= trainer.seconds < before + 10
    assert trainer.finished


def test_patience_begins_anew(corpus, small, tmp_path):
    settings = {**small, "learning_rate": 3.0, "evaluations": 60, "patience": 3}
    trainer = fit(Trainer.begin(LANGUAGE, [str(corpus)], tmp_path / "run", **settings))
    assert trainer.step < 60
    assert Trainer.resume(tmp_path / "run").finished
    later = Trainer.resume(tmp_path / "run", steps=trainer.step + 2)
    assert not later.finished
    assert fit(later).step == trainer.step + 2


def test_a_run_that_patience_ended_goes_on_to_the_end_that_it_had(corpus, small, tmp_path):
    settings = {**small, "learning_rate": 3.0, "evaluations": 60, "patience": 3}
    begun = fit(Trainer.begin(LANGUAGE, [str(corpus)], tmp_path / "run", **settings))
    assert begun.step < 60
    later = Trainer.resume(tmp_path / "run", steps=60)
    assert not later.finished
    fit(later, begun.step + 1)
    again = Trainer.resume(tmp_path / "run", steps=60)  # which is under way
    assert again.run.extensions == later.run.extensions
    assert [(each.step, each.steps) for each in again.run.extensions] == [(begun.step, 60)]


def test_a_run_whose_time_ran_out_in_an_evaluation_is_finished(corpus, small, tmp_path, monkeypatch):
    """Its last checkpoint knows the time that the evaluation took."""
    limited = {name: value for name, value in small.items() if name != "steps"}
    trainer = Trainer.begin(LANGUAGE, [str(corpus)], tmp_path / "run", **limited, minutes=0.02)
    evaluate = trainer.learner.evaluate

    def slow(*args, **options):
        time.sleep(1.3)
        return evaluate(*args, **options)

    monkeypatch.setattr(trainer.learner, "evaluate", slow)
    events = list(trainer.fit())
    assert isinstance(events[-1], Evaluated)
    assert events[-1].progress < 1
    resumed = Trainer.resume(tmp_path / "run")
    assert (resumed.finished, resumed.step) == (True, trainer.step)
    assert not Trainer.resume(tmp_path / "run", minutes=1.0).finished


def test_large_numbers_are_written_out(finished):
    trainer = Trainer.resume(finished)
    with pytest.raises(ConfigError, match=r"--steps 2000000 --minutes 0\.0001 is not beyond"):
        Trainer.resume(finished, minutes=1e-4, steps=2_000_000)
    trainer.step, trainer.seconds = 1_000_000, 1e6
    assert trainer.trained == "1,000,000 steps (27,027 passes) in 16,667 minutes"
    assert trainer.further.endswith("--passes N, where N is above 27,027")


@pytest.mark.parametrize(
    "limits", [{"steps": 60}, {"steps": 5}, {"passes": 0.5}, {"minutes": 1e-4}, {"steps": 5, "passes": 99}]
)
def test_an_end_that_is_no_later_one_is_refused(finished, limits):
    before = {path.name: path.read_bytes() for path in finished.iterdir() if path.is_file()}
    if limits == {"steps": 60}:
        assert Trainer.resume(finished, **limits).finished  # the end that it has
    else:
        with pytest.raises(ConfigError, match=r"is not beyond what .* was trained for: 60 steps \(1\.622 passes\)"):
            Trainer.resume(finished, **limits)
    assert {path.name: path.read_bytes() for path in finished.iterdir() if path.is_file()} == before


def test_only_a_finished_run_goes_on_beyond_its_end(corpus, small, tmp_path):
    fit(Trainer.begin(LANGUAGE, [str(corpus)], tmp_path / "run", **small), 30)
    with pytest.raises(
        ConfigError, match=r"--steps 90: .* has not come to its end, .* first with edgernn train language --res"
    ):
        Trainer.resume(tmp_path / "run", steps=90)
    assert Trainer.resume(tmp_path / "run", steps=60).step == 20  # the end that it has


def test_resuming_a_finished_run_says_so(call, finished):
    status, out, err = call("train", "language", "--resume", finished, "--json")
    assert status == 0
    assert json.loads(out)["steps"] == 60
    said, how = err.splitlines()
    assert said.startswith(f"{finished} is finished: it was trained for 60 steps (1.622 passes) in ")
    command = f"edgernn train language --resume {finished} --passes N"
    assert how == f"to train it further: {command}, where N is above 1.622"
    status, out, err = call("train", "language", "--resume", finished, "--passes", 2, "--json")
    assert (status, err) == (0, "")
    assert json.loads(out)["steps"] == 74
    status, _, err = call("train", "language", "--resume", finished, "--passes", 1)
    assert (status, "--passes 1 is not beyond what" in err) == (2, True)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"step": -1}, "step: -1 is not a whole number"),
        ({"steps": None}, "an extension has no limit"),
        ({"steps": "90"}, "steps: 90 is not a whole number"),
        ({"steps": 0}, "--steps 0 is not a whole number of at least 1"),
        ({"mood": 1}, "unknown 'mood'"),
        ({"step": 71}, "is damaged: it is of step 60, and the training went on from step 71"),
    ],
)
def test_an_extension_that_lies_is_named(finished, change, words):
    Trainer.resume(finished, steps=90)
    config = json.loads((finished / CONFIG).read_text())
    config["extensions"][0].update(change)
    (finished / CONFIG).write_text(json.dumps(config))
    with pytest.raises((RunError, ConfigError), match=words):
        Trainer.resume(finished)


def test_a_run_that_went_on_needs_its_checkpoint(extended, tmp_path):
    path = shutil.copytree(extended[0], tmp_path / "run")
    (path / CHECKPOINT).unlink()
    with pytest.raises(RunError, match=r"checkpoint\.safetensors is missing, and the training went on from it"):
        Trainer.resume(path)
