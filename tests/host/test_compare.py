"""Comparisons of cells: equal parameters, results that do not depend on interruptions, and what is left out."""

import json
import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from edgernn.bundle import Bundle
from edgernn.cell_names import CELLS
from edgernn.comparison import comparison as compared
from edgernn.comparison.comparison import Comparison
from edgernn.comparison.picture import plot_comparison
from edgernn.comparison.plan import Plan
from edgernn.comparison.report import rows_of, table
from edgernn.comparison.results import RECORD, Artifact, Results, Size, Training
from edgernn.comparison.settings import ComparisonSettings
from edgernn.comparison.sizes import count_parameters, largest_size, largest_state
from edgernn.errors import ConfigError, CorpusError, DivergedError, MissingExtraError, ParityError
from edgernn.exporters import export
from edgernn.tasks.language.network import LanguageModel
from edgernn.training import Run, Stepped, Trainer

SMALL = {
    "embedding": 6,
    "layers": 1,
    "batch_size": 4,
    "bptt": 16,
    "steps": 12,
    "evaluations": 2,
    "learning_rate": 0.02,
    "autocast": "off",
}
OPTIONS = [word for name, value in SMALL.items() for word in (f"--{name.replace('_', '-')}", value)]


@pytest.fixture(autouse=True)
def brief(monkeypatch):
    """Exports are compared over a few steps, and measured once."""
    monkeypatch.setitem(export.__kwdefaults__, "steps", 8)
    monkeypatch.setattr(Comparison.measure, "__defaults__", (1,))


def plan_of(corpus, *, cells="gru,elman", seeds=2, parameters=900, targets="onnx", precisions="fp32", **options):
    comparison = ComparisonSettings(
        cells=cells, seeds=seeds, parameters=parameters, targets=targets, precisions=precisions
    )
    return Plan.of([str(corpus)], comparison, **{**SMALL, **options})


def fit(trainer):
    for _ in trainer.fit():
        pass
    return trainer.score()


def train_all(comparison, fit=fit):
    for contender, seed in comparison.untrained:
        comparison.train(contender, seed, fit)


def without_times(comparison):
    """The rows of a comparison, without what differs between two equal ones."""
    rows = [row.to_json() for row in comparison.rows]
    for row in rows:
        del row["rate"]
        for artifact in row["artifacts"].values():
            del artifact["micros"]
    return rows


# Equal parameters


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(
    ("wanted", "layer_norm", "changes"),
    [(3_000, False, {}), (50_000, False, {"layers": 2, "tied": True}), (30_000, True, {})],
)
def test_a_network_has_at_most_the_parameters_and_with_one_unit_more_has_more(
    trained, cell, wanted, layer_norm, changes
):
    prepared = Run.load(trained).prepared
    model = prepared.chosen.model.but(**changes)
    prepared = replace(prepared, chosen=replace(prepared.chosen, model=model))
    hidden = largest_state(prepared, wanted, cell=cell, layer_norm=layer_norm)
    counts = [
        sum(
            parameter.numel()
            for parameter in LanguageModel(model.but(cell=cell, layer_norm=layer_norm, hidden=size)).parameters()
        )
        for size in (hidden, hidden + 1)
    ]
    assert counts[0] <= wanted < counts[1]
    assert count_parameters(prepared, hidden, cell=cell, layer_norm=layer_norm) == counts[0]


def test_too_few_parameters_for_a_cell_are_refused(trained):
    prepared = Run.load(trained).prepared
    least = count_parameters(prepared, 1, cell="gru")
    assert largest_state(prepared, least, cell="gru") == 1
    with pytest.raises(ConfigError, match=rf"\(--parameters\) are too few: .* one unit there are {least:,}"):
        largest_state(prepared, least - 1, cell="gru")


@given(st.lists(st.integers(1, 50), min_size=1, max_size=40), st.integers(0, 2500))
def test_the_largest_size_is_found_also_where_the_count_falls(counts, wanted):
    def count(size):
        return counts[size - 1] if size <= len(counts) else 100 * size

    size = largest_size(count, wanted)
    assert size == 0 or count(size) <= wanted
    assert count(size + 1) > wanted


# Results that do not depend on interruptions


@pytest.mark.slow
def test_a_comparison_that_was_cut_off_finds_what_one_that_was_not_finds(corpus, tmp_path):
    """The first call is cut off within the second training, the second one before anything is exported."""
    plan = plan_of(corpus)
    whole, cut = Comparison.open(tmp_path / "whole", plan), Comparison.open(tmp_path / "cut", plan)
    for each in (whole, cut):
        (first, *_) = each.untrained
        each.train(*first, fit)
    train_all(whole)

    def interrupted(trainer):
        for event in trainer.fit():
            if isinstance(event, Stepped) and event.step == 5:
                trainer.stop()
        trainer.save()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_all(cut, interrupted)
    again = Comparison.open(tmp_path / "cut", plan)
    assert [(each.name, seed) for each, seed in again.untrained] == [("elman", 0), ("gru", 1), ("elman", 1)]
    assert again.results.trainings["elman", 0].steps == 5
    train_all(again)
    assert again.results.trainings["elman", 0].measured == 12
    for each in (whole, Comparison.open(tmp_path / "cut", plan)):
        each.export()
        each.measure()
    last = Comparison.open(tmp_path / "cut", plan)
    assert last.untrained == []
    assert without_times(last) == without_times(whole)
    digests = [Bundle.load(each.path / "bundles" / "elman-onnx-fp32").manifest.digest for each in (whole, last)]
    assert digests[0] == digests[1]


def test_what_is_measured_is_not_measured_again(corpus, tmp_path, monkeypatch):
    plan = plan_of(corpus, cells="elman", seeds=1)
    comparison = Comparison.open(tmp_path / "c", plan)
    train_all(comparison)
    comparison.export()
    comparison.measure()
    again = Comparison.open(tmp_path / "c", plan)
    assert again.results == comparison.results
    for name in ("export", "measure"):
        monkeypatch.setattr(compared, name, None)
    again.export()
    again.measure()
    (artifact,) = again.rows[0].artifacts.values()
    graph = Bundle.load(tmp_path / "c" / "bundles" / "elman-onnx-fp32").graph("step")
    assert artifact.bytes == len(graph)
    assert artifact.micros > 0


def test_the_rate_of_several_parts_is_that_of_all_their_steps():
    """100 steps at 50 characters a second and 300 at 200 take the time of 400 steps at 400 / 3.5."""
    whole = Training().measure(100, 50.0).measure(300, 200.0)
    assert whole.measured == 400
    assert whole.rate == pytest.approx(400 / (100 / 50 + 300 / 200))
    assert whole.measure(0, 0.0) == whole


def test_every_cell_is_trained_once_before_one_is_trained_twice(corpus):
    comparison = Comparison(corpus, plan_of(corpus), Results({}, "", {}))
    assert [(each.name, seed) for each, seed in comparison.trainings] == [
        *(("gru", 0), ("elman", 0)),
        *(("gru", 1), ("elman", 1)),
    ]


def test_the_networks_differ_in_cell_size_and_seed_alone(corpus, tmp_path):
    comparison = Comparison.open(tmp_path / "c", plan_of(corpus))
    train_all(comparison)
    runs = [Run.load(tmp_path / "c" / f"{each.name}-{seed}") for each, seed in comparison.trainings]
    chosen = [run.prepared.chosen for run in runs]
    assert len({each.model.but(cell="lstm", hidden=1) for each in chosen}) == 1
    assert len({each.training.but(seed=0) for each in chosen}) == 1
    assert [each.training.seed for each in chosen] == [0, 0, 1, 1]
    sizes = comparison.results.sizes
    assert [each.model.hidden for each in chosen] == [sizes[each.model.cell].hidden for each in chosen]
    assert {name: size.parameters <= 900 for name, size in sizes.items()} == {"gru": True, "elman": True}


def test_the_default_is_the_number_of_parameters_of_an_lstm(corpus, tmp_path):
    plan = plan_of(corpus, cells="elman,lstm", parameters=None)
    assert plan.limits == "--steps 12"
    sizes = Comparison.open(tmp_path / "c", plan).results.sizes
    assert sizes["lstm"].hidden == 256
    assert sizes["elman"].parameters <= sizes["lstm"].parameters


def test_a_training_takes_four_minutes_unless_another_limit_is_given(corpus):
    comparison = ComparisonSettings(cells="lstm")
    assert Plan.of([str(corpus)], comparison).limits == "--minutes 4"
    assert Plan.of([str(corpus)], comparison, passes=2.5).limits == "--passes 2.5"


def test_the_preset_is_that_of_language_models(corpus, tmp_path):
    plan = Plan.of([str(corpus)], ComparisonSettings(cells="lstm", targets="onnx"), "tiny", **SMALL)
    assert plan.settings["dropout"] == 0.1
    assert plan.limits == "--steps 12"
    assert Comparison.open(tmp_path / "c", plan).results.sizes["lstm"].hidden == 128


@pytest.mark.slow
def test_a_cell_with_layer_normalisation_is_another_contender(corpus, tmp_path):
    comparison = Comparison.open(tmp_path / "c", plan_of(corpus, cells="gru,gru+ln", seeds=1, parameters=2000))
    train_all(comparison)
    plain, normalised = (Run.load(tmp_path / "c" / f"{name}-0") for name in ("gru", "gru+ln"))
    assert [run.prepared.chosen.model.layer_norm for run in (plain, normalised)] == [False, True]
    assert {run.prepared.chosen.model.cell for run in (plain, normalised)} == {"gru"}
    sizes = comparison.results.sizes
    assert sizes["gru"].hidden > sizes["gru+ln"].hidden
    comparison.export()
    assert {row.name: list(row.artifacts) for row in comparison.rows} == {"gru": ["onnx fp32"], "gru+ln": ["onnx fp32"]}


USER = """
import torch
from edgernn.models.cells import Cell

class Simple(Cell):
    def __init__(self, input_size, hidden_size, layer_norm=False):
        super().__init__(input_size, hidden_size, layer_norm)
        self.product = self.linear(input_size + hidden_size, hidden_size)

    def step(self, x, state):
        return (torch.tanh(self.product(torch.cat([x, state[0]], dim=1))),)
"""


def test_a_cell_of_a_file_is_compared_until_the_file_changes(corpus, tmp_path):
    (tmp_path / "cells.py").write_text(USER)
    plan = plan_of(corpus, cells=f"elman,{tmp_path}/cells.py:Simple", seeds=1)
    comparison = Comparison.open(tmp_path / "c", plan)
    train_all(comparison)
    assert comparison.untrained == []
    sizes = comparison.results.sizes
    assert (sizes["Simple"].hidden, sizes["Simple"].parameters) == (sizes["elman"].hidden, sizes["elman"].parameters)
    assert Comparison.open(tmp_path / "c", plan).untrained == []
    (tmp_path / "cells.py").write_text(USER + "# changed\n")
    with pytest.raises(ConfigError, match=r"the file of Simple has changed since .* was begun: choose another"):
        Comparison.open(tmp_path / "c", plan)


# What does not succeed


def test_a_training_that_diverges_is_a_result(corpus, tmp_path):
    comparison = Comparison.open(tmp_path / "c", plan_of(corpus))

    def fit_or_diverge(trainer):
        cell, seed = trainer.run.prepared.chosen.model.cell, trainer.settings.seed
        if cell == "gru" or seed == 0:
            with torch.no_grad():
                trainer.network.output.bias[0] = math.nan
        return fit(trainer)

    train_all(comparison, fit_or_diverge)
    assert comparison.untrained == []
    comparison.export()
    assert list(comparison.results.artifacts) == [("elman", "onnx", "fp32")]
    assert Bundle.load(tmp_path / "c" / "bundles" / "elman-onnx-fp32").manifest.provenance["run"] == "elman-1"
    elman, gru = comparison.rows
    assert (elman.name, len(elman.losses), elman.diverged) == ("elman", 1, 1)
    assert (gru.name, gru.loss, gru.diverged) == ("gru", None, 2)
    assert "not finite at step 1" in comparison.results.trainings["gru", 1].diverged
    shown = table(comparison.plan, comparison.results)
    assert f"| {elman.loss:.4f}; 1 training diverged |" in shown
    assert "| 2 trainings diverged |  |  |" in shown
    plot_comparison(comparison.rows, tmp_path / "c.png")


def test_what_cannot_be_exported_is_named_and_left_out(corpus, tmp_path, monkeypatch):
    plan = plan_of(corpus, cells="elman", seeds=1, targets="executorch,onnx", precisions="fp32,int8")
    comparison = Comparison.open(tmp_path / "c", plan)
    train_all(comparison)
    tried = []

    def some(source, out, *, target, precision, overwrite):
        tried.append((target, precision))
        if target == "executorch":
            raise MissingExtraError("executorch", "executorch")
        if precision == "int8":
            raise ParityError("the outputs differ")
        return export(source, out, target=target, precision=precision, overwrite=overwrite)

    monkeypatch.setattr(compared, "export", some)
    comparison.export()
    assert tried == [("executorch", "fp32"), ("onnx", "fp32"), ("onnx", "int8")]
    refused, missing = comparison.left_out
    assert refused == "elman onnx int8 is left out: the outputs differ"
    assert missing.startswith("executorch is left out: executorch is not installed")
    assert list(comparison.rows[0].artifacts) == ["onnx fp32"]
    assert table(plan, comparison.results, comparison.left_out).endswith(f"\n\n{refused}\n\n{missing}\n")
    tried.clear()
    Comparison.open(tmp_path / "c", plan).export()
    assert tried == [("executorch", "fp32"), ("onnx", "int8")]


def test_a_text_that_changed_meanwhile_is_refused(tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("abcdefgh " * 200)
    comparison = Comparison.open(tmp_path / "c", plan_of(text, cells="elman"))
    comparison.train(*comparison.untrained[0], fit)
    text.write_text("abcdefgh " * 200 + "i")
    with pytest.raises(CorpusError, match=r"text.txt has changed since .* was begun: choose another directory"):
        comparison.train(*comparison.untrained[0], fit)
    assert not (tmp_path / "c" / "elman-1").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"cells": "gru"}, "--cells was gru,elman when .* was begun, and is gru now: give the same options"),
        ({"parameters": None}, "--parameters was 900 .*, and is not set now"),
        ({"steps": 13}, "--steps was 12 .*, and is 13 now"),
        ({"minutes": 1.0, "steps": None}, "--steps was 12 .*, and is not set now"),
    ],
)
def test_other_settings_for_a_comparison_are_refused(corpus, tmp_path, change, words):
    Comparison.open(tmp_path / "c", plan_of(corpus))
    before = (tmp_path / "c" / RECORD).read_bytes()
    with pytest.raises(ConfigError, match=words):
        Comparison.open(tmp_path / "c", plan_of(corpus, **change))
    assert (tmp_path / "c" / RECORD).read_bytes() == before


def test_a_plan_that_is_impossible_writes_nothing(corpus, tmp_path):
    for impossible, error in (
        (plan_of(corpus, bptt=100_000), CorpusError),
        (plan_of(corpus, parameters=10), ConfigError),
        (plan_of(corpus, targets="abacus"), ConfigError),
        (plan_of(corpus, targets="torchscript", precisions="int4"), ConfigError),
    ):
        with pytest.raises(error):
            Comparison.open(tmp_path / "c", impossible)
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize(
    "damage",
    [
        lambda record: {**record, "format": 2},
        lambda record: {**record, "trainings": [{"cell": "gru"}]},
        lambda record: {**record, "sizes": {"gru": {"cell": "gru", "hidden": "9", "parameters": 3}}},
        lambda record: {**record, "sizes": {"gru": {"cell": "gru", "hidden": 9, "parameters": 3}}},
        lambda record: {**record, "artifacts": [{"cell": "gru", "target": "onnx", "precision": "fp32", "bytes": 1.5}]},
        lambda record: {key: value for key, value in record.items() if key != "plan"},
        lambda record: [],
    ],
)
def test_a_damaged_record_is_refused(call, corpus, tmp_path, damage):
    out = tmp_path / "c"
    Comparison.open(out, plan_of(corpus))
    (out / RECORD).write_text(json.dumps(damage(json.loads((out / RECORD).read_text()))))
    status, _, message = call(
        *("compare", corpus, "--out", out, "--cells", "gru,elman", "--seeds", 2, "--parameters", 900),
        *("--targets", "onnx", "--precisions", "fp32", *OPTIONS),
    )
    assert status == 2
    assert f"{out / RECORD} is damaged: " in message


# Tables and the command line


def test_the_table_of_a_comparison(corpus):
    plan = plan_of("text.txt", cells="lstm,gru,elman", seeds=3, targets="onnx,c")
    results = Results(
        plan.to_json(),
        "",
        {"lstm": Size("lstm", 100, 9_000), "gru": Size("gru", 120, 8_990), "elman": Size("elman", 1200, 8_900)},
        {
            ("lstm", 0): Training(100, 4.0, 1000.0, 100, "a chip, 2 threads", 1.5),
            ("lstm", 1): Training(102, 4.0, 1100.0, 102, "a chip, 2 threads", 1.25),
            ("lstm", 2): Training(98, 4.0, 900.0, 98, "a chip, 2 threads", 1.75),
            ("gru", 0): Training(2000, 4.0, 12345.6, 2000, "a chip, 2 threads", 1.375),
            ("gru", 1): Training(7, 4.0, 12000.0, 7, "another chip, one thread", None, "the loss is not finite"),
        },
        {
            ("lstm", "onnx", "fp32"): Artifact(3_800_400, 71.6, "a chip, one thread"),
            ("lstm", "c", "fp32"): Artifact(3_700_000, 40.2, "a chip, one thread"),
            ("gru", "onnx", "fp32"): Artifact(1_499, 9.4, "a chip, one thread"),
        },
    )
    assert [row.name for row in rows_of(plan, results)] == ["gru", "lstm", "elman"]
    assert (
        table(plan, results, ["c is left out: no compiler"])
        == """\
Each cell was trained with 3 seeds on text.txt with --steps 12, in a network of at most 9,000 parameters.
The loss is measured on the whole held-out text, in nats per character; median, lowest and highest.
Trained on a chip, 2 threads and another chip, one thread.
Steps of one stream, medians, on a chip, one thread.

| cell | units | parameters | loss | lowest | highest | steps | characters/s |
| --- | --: | --: | --: | --: | --: | --: | --: |
| gru | 120 | 8,990 | 1.3750; 1 training diverged | 1.3750 | 1.3750 | 1,004 | 12,173 |
| lstm | 100 | 9,000 | 1.5000 | 1.2500 | 1.7500 | 100 | 1,000 |
| elman | 1,200 | 8,900 |  |  |  | 0 | 0 |

| µs a step | onnx fp32 | c fp32 |
| --- | --: | --: |
| gru | 9 |  |
| lstm | 72 | 40 |
| elman |  |  |

| kB | onnx fp32 | c fp32 |
| --- | --: | --: |
| gru | 1 |  |
| lstm | 3,800 | 3,700 |
| elman |  |  |

c is left out: no compiler
"""
    )


@pytest.mark.slow
def test_the_command_trains_exports_measures_and_reports(call, corpus, tmp_path):
    out = tmp_path / "cells"
    command = ["compare", corpus, "--out", out, "--cells", "elman,gru", "--seeds", 1, "--parameters", 900]
    command += ["--targets", "onnx", "--precisions", "fp32", *OPTIONS]
    status, text, messages = call(*command, "--json")
    assert status == 0
    found = json.loads(text)
    assert {row["name"] for row in found["rows"]} == {"elman", "gru"}
    assert (found["comparison"], found["left_out"]) == (str(out), [])
    assert found["rows"][0]["loss"] <= found["rows"][1]["loss"]
    for row in found["rows"]:
        assert row["losses"] == [row["loss"]] == [row["lowest"]] == [row["highest"]]
        assert row["rate"] > 0
        assert list(row["artifacts"]) == ["onnx fp32"]
    assert "training 2 of 2: gru, seed 0, " in messages
    assert json.loads((out / RECORD).read_text())["rows"] == found["rows"]
    assert (out / "compare.png").read_bytes().startswith(b"\x89PNG")
    assert Run.load(out / "gru-0").prepared.chosen.training.steps == 12

    status, text, messages = call(*command)
    assert (status, messages) == (0, "")
    assert text == (out / "compare.md").read_text() + "\n"
    assert call(*command, "--hidden", 3)[0] == 2
    assert call("compare", corpus, "--out", tmp_path, *OPTIONS) == (
        2,
        "",
        f"edgernn: {tmp_path} exists and is not a comparison, for it has no compare.json: "
        "choose another directory (--out)\n",
    )


@pytest.mark.parametrize("rank", [0, 1])
def test_several_processes_of_torchrun_are_refused(call, corpus, tmp_path, monkeypatch, rank):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", str(rank))
    said = "edgernn: a comparison (edgernn compare) runs in one process, and torchrun started 2: leave out torchrun\n"
    assert call("compare", corpus, "--out", tmp_path / "c", *OPTIONS) == (2, "", "" if rank else said)
    assert not (tmp_path / "c").exists()


@pytest.mark.slow
def test_ctrl_c_says_how_to_continue(call, corpus, tmp_path, monkeypatch):
    def interrupt(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(Comparison, "measure", interrupt)
    command = ["compare", corpus, "--out", tmp_path / "c", "--cells", "elman", "--seeds", 1, "--targets", "onnx"]
    status, text, messages = call(*command, "--precisions", "fp32", *OPTIONS)
    assert (status, text) == (130, "")
    assert "what was measured is kept; to continue: give the same command again\n" in messages


def test_the_command_says_that_a_training_diverged(call, corpus, tmp_path, monkeypatch):
    def diverge(trainer, **options):
        raise DivergedError("the loss is not finite at step 1")

    monkeypatch.setattr(Trainer, "fit", diverge)
    status, text, messages = call("compare", corpus, "--out", tmp_path / "c", "--cells", "elman", *OPTIONS)
    assert status == 0
    assert messages.count("  it diverged: the loss is not finite at step 1\n") == 3
    assert "| 3 trainings diverged |" in text
