"""A run that starts from the weights of another one."""

import hashlib
import json

import pytest
import torch

from edgernn.errors import ConfigError, CorpusError, RunError
from edgernn.tasks import TASKS
from edgernn.training import Run, Trainer
from edgernn.training.run import CHECKPOINT, CONFIG, START, WEIGHTS

LANGUAGE = TASKS["language"]
FEW = {"batch_size": 4, "bptt": 16, "steps": 12, "evaluations": 2, "autocast": "off"}


def fit(trainer, until=None):
    for event in trainer.fit():
        if event.step == until:
            break
    return trainer


def start(trained, text, out, **settings):
    return Trainer.begin(LANGUAGE, [str(text)], out, start_from=trained, **{**FEW, **settings})


@pytest.fixture
def cats(tmp_path):
    path = tmp_path / "cats.txt"
    path.write_text("the lazy cat jumps over the quick dog.\n" * 60)
    return path


def test_it_starts_with_the_best_weights_and_the_vocabulary(trained, cats, tmp_path):
    trainer = start(trained, cats, tmp_path / "new")
    old = Run.load(trained)
    for ours, theirs in zip(trainer.network.state_dict().values(), old.network().state_dict().values(), strict=True):
        torch.testing.assert_close(ours, theirs, atol=0, rtol=0)
    assert all(not tensor.any() for tensor in trainer.optimizer.tensors().values())
    assert (trainer.step, trainer.notes) == (0, [])
    new = fit(trainer).run
    assert new.prepared.assets == old.prepared.assets
    assert new.prepared.chosen.model == old.prepared.chosen.model
    assert new.prepared.record["name"] == "cats.txt"
    assert new.prepared.chosen.training.steps == 12
    anew = fit(Trainer.begin(LANGUAGE, [str(cats)], tmp_path / "anew", hidden=24, embedding=8, **FEW))
    assert trainer.best < anew.best - 0.2


def test_what_it_came_from_is_kept(trained, cats, tmp_path):
    fit(start(trained, cats, tmp_path / "new"))
    origin = {"run": "fox", "sha256": hashlib.sha256((trained / WEIGHTS).read_bytes()).hexdigest(), "step": 60}
    assert json.loads((tmp_path / "new" / CONFIG).read_text())["origin"] == origin
    run = Run.load(tmp_path / "new")
    assert run.origin == run.source().provenance["origin"] == origin
    assert "origin" not in Run.load(trained).source().provenance


@pytest.mark.parametrize("until", [None, 3, 9])
@pytest.mark.parametrize("average", [0.0, 0.5])
def test_it_is_resumed_exactly(trained, cats, tmp_path, until, average):
    fit(start(trained, cats, tmp_path / "whole", average=average))
    cut = start(trained, cats, tmp_path / "cut", average=average)
    if until is None:
        (tmp_path / "cut" / CHECKPOINT).unlink()  # cut off before the first checkpoint
    else:
        fit(cut, until)
    fit(Trainer.resume(tmp_path / "cut"))
    assert (tmp_path / "cut" / WEIGHTS).read_bytes() == (tmp_path / "whole" / WEIGHTS).read_bytes()


def test_what_the_vocabulary_lacks_is_counted(trained, tmp_path):
    (tmp_path / "t.txt").write_text("the café\n" * 100)
    (note,) = start(trained, tmp_path / "t.txt", tmp_path / "new").notes
    assert note == (
        f"the vocabulary of {trained} has no 'é' (U+00E9): 90 of 810 tokens of the training text (11.11%) become the "
        "unknown token; that is a lot: a run from new weights learns a vocabulary that suits the text"
    )
    (tmp_path / "t.txt").write_text("the café over the lazy dog jumps\n" * 100)
    (note,) = start(trained, tmp_path / "t.txt", tmp_path / "few").notes
    assert note.endswith("90 of 2,970 tokens of the training text (3.03%) become the unknown token")
    assert Trainer.resume(tmp_path / "few").notes == []  # it is said once
    (tmp_path / "t.txt").write_text("жизнь" * 100)
    with pytest.raises(
        CorpusError, match=r"the vocabulary of .* has no character or word of the text: train from new weights"
    ):
        start(trained, tmp_path / "t.txt", tmp_path / "none")
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"hidden": 32}, "^--hidden cannot differ from that of the run"),
        ({"cell": "gru"}, "^--cell cannot differ from that of the run"),
        ({"layers": 1}, "^--layers cannot differ from that of the run"),
        ({"tied": True}, "^--tied cannot differ from that of the run"),
        ({"tokenizer": "bpe"}, "^--tokenizer cannot differ from that of the run"),
        ({"vocabulary": 500}, "^--vocabulary cannot differ from that of the run"),
        ({"preset": "medium"}, "^--preset medium sets --hidden, which cannot differ from that of the run"),
    ],
)
def test_what_would_change_the_network_is_refused(trained, cats, tmp_path, settings, words):
    with pytest.raises(ConfigError, match=words):
        start(trained, cats, tmp_path / "new", **settings)
    assert not (tmp_path / "new").exists()


def test_what_changes_nothing_may_be_said(trained, cats, tmp_path):
    trainer = start(trained, cats, tmp_path / "new", hidden=24, dropout=0.4, held_out="0.2", preset="small")
    chosen = trainer.run.prepared.chosen
    assert (chosen.model.hidden, chosen.model.dropout, chosen.data.held_out) == (24, 0.4, "0.2")
    assert Run.load(trained).prepared.chosen.model.dropout == 0.1


def test_a_run_may_replace_the_one_that_it_started_from(trained, cats, tmp_path):
    fit(start(trained, cats, tmp_path / "run"))
    before = Run.load(tmp_path / "run").network().state_dict()
    trainer = start(tmp_path / "run", cats, tmp_path / "run", overwrite=True)
    assert all(torch.equal(tensor, before[name]) for name, tensor in trainer.network.state_dict().items())
    assert trainer.step == 0


def test_what_is_no_start_is_refused(trained, cats, corpus, small, tmp_path):
    with pytest.raises(ConfigError, match="is a run of the task language, and cannot start one of the task caption"):
        Trainer.begin(TASKS["caption"], ["scenes"], tmp_path / "new", start_from=trained)
    with pytest.raises(RunError, match=r"there is no .*none"):
        start(tmp_path / "none", cats, tmp_path / "new")
    Trainer.begin(LANGUAGE, [str(corpus)], tmp_path / "young", **small)
    with pytest.raises(
        RunError, match=r"weights\.safetensors is missing: training has not come to its first evaluation"
    ):
        start(tmp_path / "young", cats, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_weights_to_start_from_that_are_gone_are_named(trained, cats, tmp_path):
    path = start(trained, cats, tmp_path / "new").run.path
    (path / CHECKPOINT).unlink()
    (path / START).unlink()
    with pytest.raises(RunError, match=r"start\.safetensors is missing"):
        Trainer.resume(path)
