"""The stages of a training: samples that a run keeps, early ones, and the command that shows them."""

import json
import math
import re
import shutil

import pytest

from edgernn.cli import execute
from edgernn.errors import RunError
from edgernn.score import Score
from edgernn.tasks import TASKS
from edgernn.training import Evaluated, Run, Trainer
from edgernn.training.run import CHECKPOINT, METRICS, SAMPLES, WEIGHTS
from edgernn.training.stages import Stage, is_early, side_by_side, spread


def stage(step, sample="text"):
    return Stage(step, step / 10, {"nats_per_char": 2.0}, "2 nats", {"sample": sample})


def begin(corpus, path, small, **changes):
    return Trainer.begin(TASKS["language"], [str(corpus)], path, **{**small, **changes})


def files(path):
    return {name: (path / name).read_bytes() for name in (WEIGHTS, SAMPLES)}


def test_early_steps_are_ones_and_threes():
    assert [step for step in range(2000) if is_early(step)] == [1, 3, 10, 30, 100, 300, 1000]


@pytest.mark.parametrize(
    ("steps", "count", "chosen"),
    [
        ([1, 3, 10, 30, 100], 3, [1, 10, 100]),
        ([1, 3, 10, 30, 100], 9, [1, 3, 10, 30, 100]),
        ([1, 3, 10, 30, 100], 2, [1, 100]),
        ([1, 3, 10, 30, 100], 1, [100]),
        ([90, 95, 100], 2, [90, 100]),
        ([1, 2, 3, 4, 1000], 4, [1, 4, 1000]),  # the last is also nearest to 100, and none is shown twice
        ([], 3, []),
    ],
)
def test_stages_are_spread_by_ratios(steps, count, chosen):
    assert [each.step for each in spread([stage(step) for step in steps], count)] == chosen


def test_texts_stand_side_by_side():
    table = side_by_side([("a < b", "x & y\n\n \t\nz"), ("c", ""), ("d", "<!-- end -->")])
    assert table.splitlines() == [
        "<table>",
        "<tr><th>a &lt; b</th><th>c</th></tr>",
        "<tr><td valign='top'><pre>x &amp; y",
        "&nbsp;",
        "&nbsp;",
        "z</pre></td><td valign='top'><pre>&nbsp;</pre></td></tr>",
        "<tr><th>d</th></tr>",
        "<tr><td valign='top'><pre>&lt;!-- end --&gt;</pre></td></tr>",
        "</table>",
    ]


def test_a_run_keeps_the_samples_of_each_evaluation(corpus, small, tmp_path):
    events = [each for each in begin(corpus, tmp_path / "run", small).fit() if isinstance(each, Evaluated)]
    run = Run.load(tmp_path / "run")
    stages = run.stages()
    assert [(each.step, each.samples, each.score) for each in stages] == [
        (event.step, event.samples, str(event.score)) for event in events
    ]
    assert [each.step for each in stages] == [20, 40, 60]
    assert [each.figures for each in stages] == [{"nats_per_char": line["nats_per_char"]} for line in run.metrics()]
    assert [each.passes for each in stages] == pytest.approx([step / 37 for step in (20, 40, 60)])
    assert all(len(each.samples["sample"]) == 500 for each in stages)


def test_early_samples_change_nothing_else(corpus, small, tmp_path):
    settings = {"average": 0.9, "patience": 3}
    expected = list(begin(corpus, tmp_path / "plain", small, **settings).fit())
    events = list(begin(corpus, tmp_path / "early", small, **settings).fit(early=True))
    added = [event for event in events if isinstance(event, Evaluated) and event.step < 20]
    assert [event.step for event in added] == [1, 3, 10]
    assert not any(event.best for event in added)
    assert [event.step for event in events if event not in added] == [event.step for event in expected]
    assert [each.step for each in Run.load(tmp_path / "early").stages()] == [1, 3, 10, 20, 40, 60]
    for name in (WEIGHTS, CHECKPOINT):
        ours, theirs = (Run.load(tmp_path / which).read(name) for which in ("early", "plain"))
        assert ours[0].keys() == theirs[0].keys()
        assert all((ours[0][key] == theirs[0][key]).all() for key in ours[0])
        assert ours[1].get("best") == theirs[1].get("best")
    lines = [json.loads(line) for line in (tmp_path / "early" / METRICS).read_text().splitlines()]
    assert [line["step"] for line in lines] == [20, 40, 60]


def test_a_resumed_training_draws_its_samples_again(corpus, small, tmp_path):
    whole = begin(corpus, tmp_path / "whole", small)
    for _ in whole.fit(early=True):
        pass
    for event in begin(corpus, tmp_path / "cut", small).fit(early=True):
        if event.step == 27:
            break
    run = Run.load(tmp_path / "cut")
    run.write_stages([*run.stages(), stage(40)])  # of an evaluation after which no checkpoint was written
    for _ in Trainer.resume(tmp_path / "cut").fit():
        pass
    assert files(tmp_path / "cut") == files(tmp_path / "whole")


def test_a_run_without_samples_is_read(trained, tmp_path, capsys):
    path = shutil.copytree(trained, tmp_path / "run")
    (path / SAMPLES).unlink()
    assert Run.load(path).stages() == []
    assert execute(["samples", str(path)]) == 2
    assert (
        "has no samples: continue it up to its first evaluation with edgernn train language" in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[]",
        '{"step": 1}',
        json.dumps({**stage(1).to_json(), "step": "one"}),
        json.dumps({**stage(1).to_json(), "samples": {"sample": 3}}),
        json.dumps({**stage(1).to_json(), "figures": {"nats_per_char": None}}),
        json.dumps({**stage(1).to_json(), "more": 1}),
    ],
)
def test_damaged_samples_are_refused(trained, tmp_path, line):
    path = shutil.copytree(trained, tmp_path / "run")
    (path / SAMPLES).write_text(line + "\n")
    with pytest.raises(RunError, match=r"samples\.jsonl is damaged"):
        Run.load(path).stages()


def test_samples_are_shown_and_written(trained, tmp_path, capsys):
    stages = Run.load(trained).stages()
    assert execute(["samples", str(trained), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["stages"] == [each.to_json() for each in stages]
    assert execute(["samples", str(trained), "--stages", "2"]) == 0
    shown = capsys.readouterr().out
    assert re.findall(r"^step (\d+) ", shown, re.M) == ["20", "60"]
    assert stages[-1].score in shown
    assert f"    | {stages[-1].samples['sample'].splitlines()[0]}" in shown
    assert execute(["samples", str(trained), "--out", str(tmp_path / "samples.html")]) == 0
    assert (tmp_path / "samples.html").read_text().count("<pre>") == 3


def test_a_figure_that_is_not_a_number_is_not_kept(corpus, small, tmp_path, monkeypatch):
    figures = property(lambda score: {"nats_per_char": score.nats_per_char, "recall": math.nan})
    monkeypatch.setattr(Score, "figures", figures)
    for _ in begin(corpus, tmp_path / "run", small, steps=4, evaluations=2).fit():
        pass
    assert [each.figures.keys() for each in Run.load(tmp_path / "run").stages()] == [{"nats_per_char"}] * 2


def test_a_stage_without_samples_is_its_score(trained, tmp_path, capsys):
    path = shutil.copytree(trained, tmp_path / "run")
    Run.load(path).write_stages([Stage(2, 0.2, {}, "2 nats", {}), Stage(4, 0.4, {}, "1 nat", {})])
    assert execute(["samples", str(path)]) == 0
    assert capsys.readouterr().out == "step 2 (0.2 passes): 2 nats\n\nstep 4 (0.4 passes): 1 nat\n"


def test_samples_cannot_control_the_terminal(trained, tmp_path, capsys):
    path = shutil.copytree(trained, tmp_path / "run")
    Run.load(path).write_stages([stage(1, "a\x1b[2J\tb\0\n\nc")])
    assert execute(["samples", str(path)]) == 0
    assert capsys.readouterr().out == "step 1 (0.1 passes): 2 nats\n    | a\\x1b[2J     b\\x00\n    | \n    | c\n"


def test_early_samples_are_an_option_of_every_training(corpus, tmp_path, capsys):
    options = [
        "--hidden",
        "8",
        "--embedding",
        "4",
        "--layers",
        "1",
        "--bptt",
        "8",
        "--steps",
        "8",
        "--evaluations",
        "1",
    ]
    run = tmp_path / "run"
    assert execute(["train", "language", str(corpus), "--out", str(run), *options, "--early-samples"]) == 0
    assert [each.step for each in Run.load(run).stages()] == [1, 3, 8]
