"""The search for cells: trials, generations, resuming, the comparison, the report and the command."""

import json
import math
import re
import shutil
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from edgernn.errors import ConfigError, OutputExistsError, RunError
from edgernn.exporters import export
from edgernn.models.cells import user
from edgernn.models.cells.user import load_cell
from edgernn.runtime import Model
from edgernn.search import trial as trials
from edgernn.search.canonical import canonical
from edgernn.search.evolution import Candidate, Trial, limits, next_formulas, ranked
from edgernn.search.formula import parse
from edgernn.search.known import KNOWN
from edgernn.search.report import Entry
from edgernn.search.search import Compared, Search, Tried
from edgernn.search.settings import SearchSettings
from edgernn.search.trial import Job, Laboratory, fitted
from edgernn.tasks import TASKS
from edgernn.tasks.language.network import LanguageModel
from edgernn.tasks.language.settings import LanguageData
from edgernn.training import Run, Trainer

SETTINGS = SearchSettings(
    candidates=14, parameters=3000, steps=8, final_steps=8, best=2, batch_size=4, bptt=8, learning_rate=0.02
)
OPTIONS = [
    *("--candidates", 14, "--parameters", 3000, "--steps", 8, "--final-steps", 8, "--best", 2),
    *("--batch-size", 4, "--bptt", 8, "--learning-rate", 0.02),
]
EXPLOSIVE = "h' = h + h + relu(linear(x, h))"


def never():
    return False


def search(corpus, out, **changes):
    return Search([str(corpus)], out, SETTINGS.but(**changes))


@pytest.fixture(scope="module")
def found(corpus, tmp_path_factory):
    """A finished search, and its events."""
    own = search(corpus, tmp_path_factory.mktemp("search") / "found")
    return own, list(own.run())


@pytest.fixture(scope="module")
def laboratory(found):
    own, _ = found
    return Laboratory(own._prepared, own.directory.path / "data", 3000)


def untimed(candidates):
    return [replace(each, trial=replace(each.trial, seconds=0.0)) for each in candidates]


def compared(own):
    return [(seed, replace(trial, seconds=0.0)) for seed, trial in own.state.comparison.trials]


# Trials


@pytest.mark.parametrize("name", KNOWN)
@pytest.mark.parametrize("parameters", [3000, 20_000, 250_000])
def test_no_size_of_the_state_comes_closer_to_the_number_of_parameters(found, name, parameters):
    with trials._cell(str(KNOWN[name])) as cell:
        config = found[0]._prepared.chosen.model.but(cell=cell)
        hidden, count = fitted(found[0]._prepared, parameters, cell=cell)
        counts = [
            sum(parameter.numel() for parameter in LanguageModel(config.but(hidden=size)).parameters())
            for size in (hidden - 1, hidden, hidden + 1)
            if size > 0
        ]
    assert count in counts
    assert min(counts, key=lambda each: abs(each - parameters)) == count
    assert abs(count - parameters) < 0.06 * parameters


def test_a_trial_is_the_same_again_and_differs_by_seed(laboratory):
    job = Job(str(KNOWN["GRU"]), 8, 0, reports=True)
    one, other = (laboratory.try_formula(job, never) for _ in range(2))
    assert replace(one, seconds=0.0) == replace(other, seconds=0.0)
    assert (one.outcome, one.steps, len(one.rungs)) == ("finished", 8, 2)
    assert one.loss < one.rungs[1] < one.rungs[0] < math.log(60)
    assert one.reported == one.loss  # the halves of this text are alike
    assert laboratory.try_formula(replace(job, seed=1), never).loss != one.loss


def test_a_trial_ends_at_the_rung_whose_limit_it_does_not_reach(laboratory):
    job = Job(str(KNOWN["GRU"]), 8, 0)
    full = laboratory.try_formula(job, never)
    first, second = full.rungs
    stopped = laboratory.try_formula(replace(job, limits=(first, second - 1e-6)), never)
    assert (stopped.outcome, stopped.steps, stopped.rungs, stopped.loss) == ("stopped", 4, full.rungs, None)
    assert stopped.reason == "worse than the median after 4 steps"
    stopped = laboratory.try_formula(replace(job, limits=(first - 1e-6, None)), never)
    assert (stopped.steps, stopped.rungs) == (2, (first,))
    assert laboratory.try_formula(replace(job, limits=full.rungs), never).outcome == "finished"


def test_a_trial_that_is_asked_to_stop_has_no_result(laboratory):
    asked = iter([False, False, True])
    assert laboratory.try_formula(Job(str(KNOWN["GRU"]), 8, 0), lambda: next(asked)) is None


def test_a_formula_that_explodes_at_once_is_hopeless(laboratory):
    trial = laboratory.try_formula(Job(EXPLOSIVE, 8, 0), never)
    assert (trial.outcome, trial.loss, trial.steps) == ("exploded", None, 0)
    assert "grows without limit" in trial.reason


@pytest.mark.parametrize("formula", [str(KNOWN["GRU"]), EXPLOSIVE])
def test_a_trial_keeps_no_cell_in_memory(laboratory, formula):
    loaded, modules = dict(user._loaded), set(sys.modules)
    laboratory.try_formula(Job(formula, 2, 0), never)
    assert user._loaded == loaded
    assert not [name for name in sys.modules.keys() - modules if name.startswith("edgernn_cell")]


def test_a_state_that_grows_in_training_is_hopeless(laboratory, monkeypatch):
    monkeypatch.setattr(trials, "_LARGEST_STATE", 0.3)
    trial = laboratory.try_formula(Job(str(KNOWN["Elman"]), 8, 0), never)
    assert trial.outcome == "exploded"
    assert re.fullmatch(r"a state grew to 0\.\d+ by step [1-8]", trial.reason)


@pytest.mark.parametrize("what", ["loss", "gradient", "loss of the held-out text"])
def test_a_figure_that_is_not_finite_is_hopeless(laboratory, monkeypatch, what):
    def poison(network):
        network.output.bias.data.fill_(math.nan)

    if what == "loss":
        _before(monkeypatch, trials.LanguageLearner, "loss", lambda self, step, progress: poison(self.network))
    elif what == "gradient":
        monkeypatch.setattr(trials.nn.utils, "clip_grad_norm_", lambda parameters, norm: torch.tensor(math.inf))
    else:
        _before(monkeypatch, Laboratory, "_score", lambda self, network, tokens: poison(network))
    trial = laboratory.try_formula(Job(str(KNOWN["Elman"]), 8, 0), never)
    assert trial.outcome == "exploded"
    assert trial.reason.startswith(f"the {what} is not finite")


def _before(monkeypatch, kind, name, action):
    method = getattr(kind, name)

    def both(self, *arguments):
        action(self, *arguments)
        return method(self, *arguments)

    monkeypatch.setattr(kind, name, both)


def test_a_formula_without_a_gradient_is_refused(laboratory):
    trial = laboratory.try_formula(Job("h' = relu(h * 0 - 1) + tanh(linear(x))", 8, 0), never)
    assert (trial.outcome, trial.steps) == ("refused", 0)
    assert "does not depend on the state h" in trial.reason


# Generations


def candidate(place, loss, *, generation=0, rungs=(), formula=None):
    text = formula or f"h' = tanh(linear(x, {'+ '.join(['h'] * (place + 1))}))"
    outcome = "stopped" if loss is None else "finished"
    return Candidate(generation, place, Trial(text, outcome, loss, rungs=rungs))


def test_a_limit_is_the_median_of_all_that_reached_the_rung():
    before = [candidate(place, None, rungs=(float(place), 10.0 + place)[: 1 + place % 2]) for place in range(9)]
    assert limits(before, 2) == (4.0, 14.0)
    assert limits(before[:7], 2) == (3.0, None)  # three are too few
    assert limits([], 2) == (None, None)


def test_candidates_are_ranked_by_loss_and_those_that_did_not_finish_are_left_out():
    before = [candidate(0, 2.0), candidate(1, None), candidate(2, 1.0), candidate(3, 2.0)]
    assert [each.place for each in ranked(before)] == [2, 0, 3]


def test_a_generation_is_determined_by_the_seed_and_the_generations_before():
    first = list(KNOWN.values())
    before = [candidate(n, 2.0 + n, formula=str(each)) for n, each in enumerate(first)]
    children = next_formulas(1, first, before, 0)
    assert children == next_formulas(1, first, before, 0)
    assert len(children) == len(set(children)) == 8
    assert not set(children) & set(first)
    assert next_formulas(1, first, before, 1) != children
    assert next_formulas(2, first, before, 0) != children
    assert next_formulas(0, [*first, first[0]], [], 0) == first


def test_a_search_in_which_everything_explodes_goes_on():
    first = [KNOWN["Elman"]]
    before = [Candidate(0, 0, Trial(str(first[0]), "exploded", reason="…"))]
    assert len(next_formulas(1, first, before, 0)) == 8


# Searches


def test_a_search_tries_known_cells_then_mutants_and_compares_the_best(found):
    own, events = found
    tried = [event for event in events if isinstance(event, Tried)]
    assert [event.number for event in tried] == list(range(1, 15))
    candidates = [event.candidate for event in tried]
    assert candidates == own.state.candidates
    assert [each.trial.formula for each in candidates[: len(KNOWN)]] == [str(each) for each in KNOWN.values()]
    assert {each.generation for each in candidates} == {0, 1}
    losses = [each.trial.loss or math.inf for each in candidates]
    assert [event.best for event in tried] == [loss == min(losses[: n + 1]) for n, loss in enumerate(losses)]
    compared = [event for event in events if isinstance(event, Compared)]
    assert [(event.name, event.number, event.total) for event in compared] == [
        *(("best1", 1, 4), ("best2", 2, 4), ("LSTM", 3, 4), ("GRU", 4, 4))
    ]
    best = [each.trial.formula for each in ranked(candidates) if each.trial.formula not in _beside()]
    assert [event.trial.formula for event in compared[:2]] == best[:2]
    assert all(event.trial.reported is not None and event.trial.steps == 8 for event in compared)


def _beside():
    return {str(KNOWN[name]) for name in ("LSTM", "GRU")}


@pytest.mark.parametrize("after", [1, 11, 15])
def test_an_interrupted_search_continues_to_the_same_result(corpus, tmp_path, found, after):
    whole, _ = found
    first = search(corpus, tmp_path / "found")
    for number, _ in enumerate(first.run(), start=1):
        if number == after:
            first.stop()
    assert first.stopped
    kept = search(corpus, tmp_path / "found")
    assert len(kept.state.candidates) == min(after, 14)
    assert untimed(kept.state.candidates) == untimed(whole.state.candidates)[:after]
    events = list(kept.run())
    assert len(events) == 18 - after
    assert untimed(kept.state.candidates) == untimed(whole.state.candidates)
    assert compared(kept) == compared(whole)


def test_fewer_candidates_are_the_first_ones_and_more_follow_them(corpus, tmp_path, found):
    whole, _ = found
    few = search(corpus, tmp_path / "found", candidates=4)
    list(few.run())
    assert untimed(few.state.candidates) == untimed(whole.state.candidates)[:4]
    more = search(corpus, tmp_path / "found")
    events = list(more.run())
    assert [type(event) for event in events] == [Tried] * 10 + [Compared] * 4
    assert compared(more) == compared(whole)


def test_a_finished_search_is_only_reported_again(corpus, found):
    own, _ = found
    again = search(corpus, own.directory.path)
    assert list(again.run()) == []
    assert again.report.to_json() == own.report.to_json()


@pytest.mark.slow
def test_several_processes_find_what_one_does(corpus, tmp_path, found):
    whole, _ = found
    own = search(corpus, tmp_path / "found", processes=2)
    list(own.run())
    assert untimed(own.state.candidates) == untimed(whole.state.candidates)
    assert compared(own) == compared(whole)


def test_minutes_end_a_search_and_its_time_is_counted_on(corpus, tmp_path):
    short = {"candidates": None, "minutes": 1e-3, "steps": 10**6}  # no candidate ends within the time
    own = search(corpus, tmp_path / "found", **short)
    assert all(isinstance(event, Compared) for event in own.run())
    assert own.state.candidates == []
    assert [entry.name for entry in own.report.entries] == ["LSTM", "GRU"]
    assert own.report.verdict == "There is nothing to compare."
    assert own.state.seconds >= 0.6 * 0.06
    assert search(corpus, tmp_path / "found", **short).state.seconds >= 0.6 * 0.06


def test_the_comparison_has_as_many_steps_as_the_minutes_allow(corpus, tmp_path):
    own = search(corpus, tmp_path / "found", candidates=3, final_steps=None)
    own.state.candidates = [
        Candidate(0, place, Trial(str(KNOWN[name]), "finished", 2.0, steps=8, seconds=seconds))
        for place, (name, seconds) in enumerate({"LSTM": 8.0, "GRU": 16.0, "MUT1": 16.0}.items())
    ]
    plan = own._plan(own._finalists())
    assert list(plan.formulas) == ["best1", "LSTM", "GRU"]
    assert (plan.seeds, plan.steps) == (2, int(0.85 * 60 * 30 * 0.4 / 5) // 2)  # 5 seconds for a step of all three
    assert own.settings.minutes == 30


# Bad input


def test_a_search_is_continued_with_the_same_settings_and_text_only(corpus, tmp_path, found):
    own, _ = found
    path = own.directory.path
    for changes, words in (
        ({"steps": 9}, "was begun with --steps 8, not 9"),
        ({"formula": ("h' = tanh(linear(x, h)) + h",)}, "was begun with --formula nothing, not [\"h' ="),
        ({"seed": 7}, "was begun with --seed 0, not 7"),
    ):
        with pytest.raises(ConfigError, match=re.escape(words)):
            search(corpus, path, **changes)
    with pytest.raises(ConfigError, match=r"was begun with --held-out 0\.1, not 0\.2"):
        Search([str(corpus)], path, SETTINGS, LanguageData(held_out="0.2"))
    other = tmp_path / "fox.txt"
    other.write_text(corpus.read_text().replace("lazy", "idle"))
    with pytest.raises(ConfigError, match=r"was begun with another text than fox\.txt is now"):
        search(other, path)


def test_something_else_at_the_path_is_left_alone(corpus, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OutputExistsError, match="is a directory: choose another name"):
        search(corpus, tmp_path)
    with pytest.raises(OutputExistsError, match="is a file: choose another name"):
        search(corpus, tmp_path / "notes.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("search.json", "{"),
        ("search.json", "{}"),
        ("candidates.jsonl", '{"generation": 0}\n'),
        ("candidates.jsonl", "[]\n"),
        ("candidates.jsonl", '{"generation": 0, "place": 0, "formula": "h", "outcome": "won"}\n'),
    ],
)
def test_a_damaged_search_is_refused_in_one_line(corpus, tmp_path, found, name, text):
    shutil.copytree(found[0].directory.path, tmp_path / "found")
    (tmp_path / "found" / name).write_text(text)
    with pytest.raises(RunError, match="is damaged: ") as caught:
        search(corpus, tmp_path / "found")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"formula": ("h' = tanh(linear(x",)}, "line 1, column 19: the end stands where ) is needed"),
        ({"formula": ("h' = tanh(linear(x))",)}, "is no cell: the state h is not read"),
        ({"parameters": 500}, "--parameters 500 is too few: with a state of 1 unit there are 1,156"),
    ],
)
def test_impossible_settings_are_refused_before_anything_is_written(corpus, tmp_path, changes, words):
    with pytest.raises(ConfigError, match=re.escape(words)):
        search(corpus, tmp_path / "found", **changes)
    assert list(tmp_path.iterdir()) == []


def test_a_formula_of_the_user_is_tried_with_the_known_ones(corpus, tmp_path):
    own = search(corpus, tmp_path / "found", candidates=12, formula=(EXPLOSIVE, "h' = relu(linear(h, x))"))
    list(own.run())
    mutants = [each.trial for each in own.state.candidates[len(KNOWN) :]]
    assert [each.formula for each in mutants] == [str(canonical(parse(EXPLOSIVE))), "h' = relu(linear(x, h))"]
    assert [each.outcome for each in mutants] == ["exploded", "finished"]
    assert "1 exploded" in str(own.report)


def test_a_comparison_with_a_trial_of_something_else_is_damaged(corpus, tmp_path, found):
    path = shutil.copytree(found[0].directory.path, tmp_path / "found") / "search.json"
    values = json.loads(path.read_text())
    values["comparison"]["trials"][0]["formula"] = "h' = h"
    path.write_text(json.dumps(values))
    with pytest.raises(RunError, match=r"is damaged: the comparison has no formula \"h' = h\""):
        search(corpus, tmp_path / "found")


# The report


def test_the_report_says_how_much_better_the_best_is(found):
    own, _ = found
    report = own.report
    assert [entry.loss for entry in report.sorted] == sorted(entry.loss for entry in report.entries)
    page = (own.directory.path / "search.md").read_text()
    assert page == report.markdown()
    assert page.startswith("# Search\n\n14 candidates in 0.")
    for entry in report.entries:
        assert f"| {entry.title} | {entry.loss:.4f} |" in page
        assert entry.formula in page
    known = min(entry.loss for entry in report.entries if entry.name in KNOWN)
    best = min(entry.loss for entry in report.entries if entry.name not in KNOWN)
    than = "less" if best < known else "more"
    assert f"{abs(known - best):.4f} nats per character {than} than" in report.verdict
    values = report.to_json()
    assert sum(values["candidates"].values()) == 14
    assert {row["cell"] for row in values["cells"]} == {None, "cells/best1.py:Best1", "cells/best2.py:Best2"}


def test_an_entry_has_the_mean_and_the_spread_of_its_seeds():
    entry = Entry("best1", "…", [Trial("…", "finished", 1.0, 2.0, seconds=1.0), Trial("…", "finished", 1.0, 2.5)])
    assert (entry.loss, entry.spread, entry.seconds) == (2.25, 0.5, 0.5)
    exploded = Entry("best1", "…", [entry.trials[0], Trial("…", "exploded")])
    assert exploded.loss is None
    assert (entry.title, replace(entry, formula=str(KNOWN["MUT1"])).title) == ("best1", "best1 (MUT1)")
    assert Entry("LSTM", str(KNOWN["LSTM"]), []).title == "LSTM"


def test_the_best_are_written_as_cells(found):
    own, _ = found
    for name in ("best1", "best2"):
        path = own.directory.path / "cells" / f"{name}.py"
        load_cell(f"{path}:{name.capitalize()}")
        formula = own.state.comparison.formulas[name]
        assert all(line in path.read_text() for line in formula.splitlines())


# The command


def test_the_command_prints_the_report_and_a_line_for_each_candidate(call, corpus, tmp_path, found):
    picture = tmp_path / "search.png"
    status, out, err = call("search", corpus, "--out", tmp_path / "found", *OPTIONS, "--plot", picture, "--json")
    assert status == 0
    values = json.loads(out)
    untimed = {"search", "seconds"}
    assert values["search"] == str(tmp_path / "found")
    assert [row["nats_per_char"] for row in values["cells"]] == [
        row["nats_per_char"] for row in found[0].report.to_json()["cells"]
    ]
    assert untimed < values.keys()
    lines = err.splitlines()
    assert len(lines) == 18
    assert re.fullmatch(r" +1 +\d\.\d{4} \* z = .*; h' = .*", lines[0])
    assert lines[-1].startswith("4 of 4 trainings of the best: GRU ")
    assert picture.read_bytes().startswith(b"\x89PNG")
    status, out, err = call("search", corpus, "--out", tmp_path / "found", *OPTIONS)
    assert (status, err) == (0, f"{tmp_path / 'found'} has 14 candidates so far\n")
    assert "The best were trained anew for 8 steps beside LSTM and GRU, with 1 seed," in out


def test_ctrl_c_keeps_what_there_is(call, corpus, tmp_path, monkeypatch):
    tried = []

    def interrupted(self, job, stop):
        tried.append(job)
        if len(tried) == 3:
            signal.raise_signal(signal.SIGINT)
        return original(self, job, stop)

    original = Laboratory.try_formula
    monkeypatch.setattr(Laboratory, "try_formula", interrupted)
    monkeypatch.setattr("sys.argv", ["edgernn", "search", "fox.txt", "--out", "found"])
    status, out, err = call("search", corpus, "--out", tmp_path / "found", *OPTIONS)
    assert (status, out) == (130, "")
    assert "stopped; 2 candidates are kept\nto continue: edgernn search fox.txt --out found\n" in err
    assert len((tmp_path / "found" / "candidates.jsonl").read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "edgernn search needs a CORPUS and --out OUT"),
        (["nothing.txt", "--out", "found"], "nothing.txt"),
        (["{corpus}", "--out", "found", "--minutes", "0"], "--minutes 0 is not a number of at least 0.001"),
        (["{corpus}", "--out", "found", "--formula", "h' = q"], "column 6: there is no q yet"),
        (["{corpus}", "--out", "found", "--plot", "x.txt"], "a picture's name ends in .png or .svg"),
    ],
)
def test_bad_input_is_one_line(call, corpus, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    status, out, err = call("search", *(each.format(corpus=corpus) for each in arguments))
    assert (status, out) == (2, "")
    assert err.count("\n") == 1
    assert words in err
    assert not Path("found").exists()


@pytest.mark.parametrize("rank", [0, 1])
def test_several_processes_of_torchrun_are_refused(call, corpus, tmp_path, monkeypatch, rank):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", str(rank))
    said = (
        "edgernn: a search (edgernn search) starts its own processes (--processes), and torchrun started 2: leave out "
        "torchrun\n"
    )
    assert call("search", corpus, "--out", tmp_path / "found", *OPTIONS) == (2, "", "" if rank else said)
    assert not (tmp_path / "found").exists()


@pytest.mark.slow
def test_a_found_cell_is_trained_and_exported_to_int8(corpus, small, tmp_path, found):
    cell = load_cell(f"{found[0].directory.path / 'cells' / 'best1.py'}:Best1")
    trainer = Trainer.begin(TASKS["language"], [str(corpus)], tmp_path / "run", cell=cell, **{**small, "steps": 12})
    assert [event.step for event in trainer.fit()][-1] == 12
    export(Run.load(tmp_path / "run").source(), tmp_path / "bundle", target="onnx", precision="int8")
    model = Model.load(tmp_path / "bundle")
    assert model.manifest.precision == "int8"
    assert model.contract.graphs[0].states[0].name == "h"
