"""The training loop and its runs, with a language model as the vehicle."""

import copy
import dataclasses
import errno
import gc
import json
import math
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
import safetensors.torch
import torch

from edgernn.atomic import replace_file
from edgernn.errors import ConfigError, CorpusError, OutputExistsError, RunError, TrainingError
from edgernn.tasks import TASKS
from edgernn.tasks.language.data import HELD_OUT as HELD_OUT_TOKENS
from edgernn.tasks.language.data import TRAIN
from edgernn.tasks.settings import one_cycle
from edgernn.training import Evaluated, Run, Stepped, Trainer
from edgernn.training.device import find_autocast, find_device
from edgernn.training.run import CHECKPOINT, CONFIG, DATA, HELD_OUT, METRICS, SAMPLES, WEIGHTS

LANGUAGE = TASKS["language"]


def begin(corpus, path, **settings):
    return Trainer.begin(LANGUAGE, [str(corpus)], path, **settings)


def fit(trainer, until=None):
    """Train, stopping abruptly after step `until`."""
    for event in trainer.fit():
        if event.step == until:
            break
    return trainer


def contents(path):
    return {each.relative_to(path).as_posix(): each.read_bytes() for each in path.rglob("*") if each.is_file()}


def weights(path):
    return {name: (path / name).read_bytes() for name in (WEIGHTS, METRICS)}


def without_times(path):
    lines = [json.loads(line) for line in (path / METRICS).read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


def rewrite(path, file, change):
    """Change the tensors and the metadata of a file of the run at `path`."""
    run = Run.load(path)
    tensors, about = run.read(file)
    change(tensors, about)
    run.write(file, tensors, about)


@pytest.fixture
def damaged(trained, tmp_path):
    """A copy of a run, to be damaged."""
    return shutil.copytree(trained, tmp_path / "run")


# What a training makes


def test_a_model_learns(trained):
    run = Run.load(trained)
    lines = without_times(trained)
    assert [line["step"] for line in lines] == [20, 40, 60]
    assert lines[-1]["nats_per_char"] < 2.5 < math.log(run.prepared.chosen.model.vocabulary)
    assert all(line.keys() == {"step", "nats_per_char", "train_nats", "train_bits_per_char"} for line in lines)
    files = {CHECKPOINT, CONFIG, METRICS, SAMPLES, WEIGHTS, HELD_OUT, "assets/tokenizer.json", "data/train.tokens"}
    assert contents(trained).keys() == files | {"data/held-out.tokens"}


def test_equal_seeds_give_equal_weights(trained, corpus, small, tmp_path):
    fit(begin(corpus, tmp_path / "again", **small))
    assert (tmp_path / "again" / WEIGHTS).read_bytes() == (trained / WEIGHTS).read_bytes()
    fit(begin(corpus, tmp_path / "other", **{**small, "seed": 1}))
    assert (tmp_path / "other" / WEIGHTS).read_bytes() != (trained / WEIGHTS).read_bytes()


def test_the_best_weights_are_kept(corpus, small, tmp_path):
    trainer = begin(corpus, tmp_path / "run", **{**small, "learning_rate": 3.0, "steps": 10, "evaluations": 10})
    scores = [event for event in trainer.fit() if isinstance(event, Evaluated)]
    best = min(scores, key=lambda each: each.score.nats_per_char)
    assert best is not scores[-1]
    tensors, about = Run.load(tmp_path / "run").read(WEIGHTS)
    assert about["step"] == best.step
    assert about["nats_per_char"] == best.score.nats_per_char == trainer.best
    assert tensors.keys() == trainer.network.state_dict().keys()
    assert [event.best for event in scores] == [
        event.score.nats_per_char < min([math.inf, *(each.score.nats_per_char for each in scores[:number])])
        for number, event in enumerate(scores)
    ]


def test_the_score_at_the_end_is_that_of_the_best_weights_as_one_stream(trained, corpus):
    trainer = Trainer.resume(trained)
    score = trainer.score()
    held_out = corpus.read_text()[-270:]
    ids = torch.from_numpy(trainer.learner.tokenizer.encode(held_out))
    network = trainer.run.network()
    with torch.no_grad():
        logits, _ = network.sequence(ids[:-1, None], network.initial_state(1))
    expected = torch.nn.functional.cross_entropy(logits[:, 0].double(), ids[1:], reduction="sum").item()
    assert score.nats == pytest.approx(expected, rel=1e-6)
    assert (score.chars, score.tokens) == (269, 269)


def test_every_evaluation_shows_a_sample(corpus, small, tmp_path):
    events = list(begin(corpus, tmp_path / "run", **small).fit())
    samples = [event.samples["sample"] for event in events if isinstance(event, Evaluated)]
    assert [len(sample) for sample in samples] == [500] * 3
    assert set("".join(samples)) <= set(corpus.read_text())
    assert samples[0] != samples[2]


def test_events_say_how_far_it_is(corpus, small, tmp_path):
    trainer = begin(corpus, tmp_path / "run", **{**small, "steps": 4, "evaluations": 2})
    events = list(trainer.fit())
    assert [(type(event), event.step, event.progress) for event in events] == [
        (Stepped, 1, 0.25),
        (Stepped, 2, 0.5),
        (Evaluated, 2, 0.5),
        (Stepped, 3, 0.75),
        (Stepped, 4, 1.0),
        (Evaluated, 4, 1.0),
    ]
    steps = [event for event in events if isinstance(event, Stepped)]
    assert [event.learning_rate for event in steps] == [trainer.learner.learning_rate(each / 4) for each in range(4)]
    assert [list(event.figures) for event in steps] == [["nats", "bits_per_char"]] * 4
    assert all(event.figures["bits_per_char"] == pytest.approx(event.figures["nats"] / math.log(2)) for event in steps)
    assert [event.seconds for event in events] == sorted(event.seconds for event in events)
    means = [sum(event.figures["nats"] for event in steps[at : at + 2]) / 2 for at in (0, 2)]
    assert [line["train_nats"] for line in trainer.run.metrics()] == pytest.approx(means)
    learning = steps[-1].seconds - (events[2].seconds - steps[1].seconds)  # or less, since evaluations take time
    assert steps[-1].rate > 0.5 * 4 * 4 * 16 / learning


def test_a_run_holds_no_pickle(trained):
    for name in (WEIGHTS, CHECKPOINT, HELD_OUT):
        assert safetensors.torch.load((trained / name).read_bytes())


def test_what_is_held_out_for_exports_is_text_that_was_not_learned_from(trained, corpus):
    run = Run.load(trained)
    held_out = run.source().held_out
    tokens, targets = held_out.steps["token"], held_out.targets["logits"]
    assert tokens.shape == targets.shape == (16, 1024)
    np.testing.assert_array_equal(tokens[:, 1:], targets[:, :-1])
    text = corpus.read_text()[-270:]
    ring = Trainer.resume(trained).learner.tokenizer.encode(text)
    for number, row in enumerate(tokens):
        start = number * len(ring) // 16
        np.testing.assert_array_equal(row, np.take(ring, range(start, start + 1024), mode="wrap"))
    assert run.source().provenance["settings"]["training"]["steps"] == 60


# Going on


@pytest.mark.parametrize("until", [1, 19, 20, 33, 59])
def test_a_resumed_run_is_one_never_interrupted(trained, corpus, small, tmp_path, until):
    path = tmp_path / "run"
    fit(begin(corpus, path, **small), until)
    torch.manual_seed(1234)  # whatever happened in between
    fit(Trainer.resume(path))
    assert (path / WEIGHTS).read_bytes() == (trained / WEIGHTS).read_bytes()
    assert without_times(path) == without_times(trained)


@pytest.mark.parametrize(
    "shape",
    [
        {"cell": "gru", "initial": "learned"},
        {"cell": "elman", "tied": True},
        {"initial": "learned", "batch_size": 1},
        {"average": 0.9},
    ],
    ids=str,
)
def test_other_settings_resume_exactly_too(corpus, small, tmp_path, shape):
    settings = {**small, "reset": 0.3, **shape}
    whole = fit(begin(corpus, tmp_path / "whole", **settings))
    fit(begin(corpus, tmp_path / "cut", **settings), 33)
    fit(Trainer.resume(tmp_path / "cut"))
    assert (tmp_path / "cut" / WEIGHTS).read_bytes() == (tmp_path / "whole" / WEIGHTS).read_bytes()
    network = Run.load(tmp_path / "cut").network()
    if "initial" in shape:
        assert float(network.stack.initial["h"].detach().abs().min()) > 0
    if "average" in shape:
        assert not torch.equal(network.output.bias, whole.network.output.bias)
        torch.testing.assert_close(network.output.bias, whole.average.output.bias, atol=0, rtol=0)


def test_a_checkpoint_between_evaluations_is_exact(trained, corpus, small, tmp_path):
    path = tmp_path / "run"
    fit(begin(corpus, path, **small), 33).save()
    trainer = Trainer.resume(path)
    assert trainer.step == 33
    fit(trainer)
    assert (path / WEIGHTS).read_bytes() == (trained / WEIGHTS).read_bytes()
    assert without_times(path) == without_times(trained)


def test_a_training_that_is_stopped_says_so_and_goes_on_exactly(trained, corpus, small, tmp_path):
    trainer = begin(corpus, tmp_path / "run", **small)
    for event in trainer.fit():
        if event.step == 7:
            trainer.stop()
    assert (trainer.step, trainer.stopped) == (7, True)
    assert list(trainer.fit()) == []
    trainer.save()
    trainer = fit(Trainer.resume(tmp_path / "run"))
    assert (trainer.step, trainer.stopped) == (60, False)
    assert (tmp_path / "run" / WEIGHTS).read_bytes() == (trained / WEIGHTS).read_bytes()


def test_resuming_a_finished_run_changes_nothing(trained):
    before = weights(trained)
    trainer = Trainer.resume(trained)
    assert list(trainer.fit()) == []
    assert weights(trained) == before
    assert trainer.step == 60
    assert trainer.best == trainer.run.read(WEIGHTS)[1]["nats_per_char"]


def test_a_run_goes_on_with_its_own_text(corpus, small, trained, tmp_path):
    """The corpus was encoded once: what becomes of its file is no matter."""
    text = tmp_path / "t.txt"
    text.write_text(corpus.read_text())
    fit(begin(text, tmp_path / "run", **small), 30)
    text.unlink()
    fit(Trainer.resume(tmp_path / "run"))
    assert (tmp_path / "run" / WEIGHTS).read_bytes() == (trained / WEIGHTS).read_bytes()


RESUME = """
import os, sys
from pathlib import Path
import torch._dynamo, edgernn.tasks.language.learner  # which optimizers and runs import later
from edgernn.training import Trainer
for _ in sys.stdin:  # a new process at each line, without importing everything again
    child = os.fork()
    if not child:
        for event in Trainer.resume(Path(sys.argv[1])).fit():
            print(event.step, flush=True)
        os._exit(0)
    print(child, flush=True)
    print("ended by", os.waitpid(child, 0)[1], flush=True)
"""


@pytest.mark.slow
def test_a_run_killed_at_any_moment_is_one_never_interrupted(corpus, small, tmp_path):
    """SIGKILL, again and again, while checkpoints are written almost all the time."""
    settings = {**small, "steps": 40, "evaluations": 20}
    fit(begin(corpus, tmp_path / "whole", **settings))
    path = tmp_path / "killed"
    begin(corpus, path, **settings)
    kills = 0
    command = [sys.executable, "-c", RESUME, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        for lines in (5, 13, 2, 8, 1):
            process.stdin.write("\n")
            process.stdin.flush()
            child = int(process.stdout.readline())
            for _ in range(lines):
                process.stdout.readline()
            os.kill(child, signal.SIGKILL)
            while not (line := process.stdout.readline()).startswith("ended by"):
                pass
            kills += line == f"ended by {signal.SIGKILL:d}\n"
        process.stdin.close()
    assert kills == 5
    fit(Trainer.resume(path))
    assert (path / WEIGHTS).read_bytes() == (tmp_path / "whole" / WEIGHTS).read_bytes()
    assert without_times(path) == without_times(tmp_path / "whole")
    assert contents(path).keys() == contents(tmp_path / "whole").keys()


@pytest.mark.slow
def test_an_interrupted_training_says_how_to_resume(corpus, tmp_path):
    path = tmp_path / "run"
    options = ["--hidden", "16", "--bptt", "16", "--batch-size", "2", "--minutes", "5", "--evaluations", "500"]
    command = [sys.executable, "-m", "edgernn", "train", "language", str(corpus), "--out", str(path), *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not ((path / METRICS).exists() and (path / METRICS).read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    output, talk = process.communicate(timeout=60)
    assert process.returncode == 130
    assert output == ""
    assert f"to continue: edgernn train language --resume {path}" in talk
    assert talk.startswith("stopping after this step; Ctrl-C again ends it now\nstopped at step ")
    assert "Traceback" not in talk
    step = int(talk.split("stopped at step ")[1].split(";")[0].replace(",", ""))
    trainer = Trainer.resume(path)
    assert trainer.step == step > json.loads((path / METRICS).read_text().splitlines()[-1])["step"] - 1
    assert np.isfinite(next(trainer.fit()).figures["nats"])


def test_a_full_disk_leaves_the_last_checkpoint(corpus, small, tmp_path):
    """A limit on the size of files stands in for a full disk: the write fails part of the way."""
    path = tmp_path / "run"
    events = begin(corpus, path, **small).fit()
    while not isinstance(next(events), Evaluated):
        pass
    before = contents(path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, limits[1]))
    try:
        with pytest.raises(TrainingError, match=r"cannot be written: File too large; the last good checkpoint is kept"):
            list(events)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert {**contents(path), METRICS: b""} == {**before, METRICS: b""}
    fit(Trainer.resume(path))
    assert len(Run.load(path).metrics()) == 3


def test_a_disk_that_is_full_before_the_first_checkpoint_is_named_so(corpus, small, tmp_path, monkeypatch):
    """The message says that there is no checkpoint yet, and the command in it begins the training."""
    path = tmp_path / "run"

    def full(place, data):
        if place.name == CHECKPOINT:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace_file(place, data)

    with monkeypatch.context() as patch:
        patch.setattr("edgernn.training.run.replace_file", full)
        with pytest.raises(TrainingError) as caught:
            begin(corpus, path, **small)
    assert str(caught.value) == (
        f"{path / CHECKPOINT} cannot be written: No space left on device; training stands at its beginning: "
        f"make room, then continue with edgernn train language --resume {path}"
    )
    assert Trainer.resume(path).step == 0


def test_what_a_crash_left_half_written_is_removed(damaged):
    for name in (f".{WEIGHTS}.ab12", f".{METRICS}.x"):
        (damaged / name).write_bytes(b"half")
    (damaged / ".notes").write_text("mine")
    Trainer.resume(damaged)
    assert {path.name for path in damaged.iterdir() if path.name.startswith(".")} == {".notes"}


def test_better_weights_survive_a_checkpoint_that_was_cut_off(damaged):
    """Killed between the weights and the checkpoint of one evaluation."""
    run = Run.load(damaged)
    tensors, about = run.read(WEIGHTS)
    run.write(WEIGHTS, tensors, {**about, "nats_per_char": 0.5})
    trainer = Trainer.resume(damaged)
    assert trainer.best > 0.5
    trainer.best = math.inf
    trainer._evaluate(1.0)
    assert run.read(WEIGHTS)[1]["nats_per_char"] == 0.5


def test_a_cut_between_weights_and_checkpoint_is_forgotten_by_patience(corpus, small, tmp_path, monkeypatch):
    settings = {**small, "patience": 1, "evaluations": 6}
    fit(begin(corpus, tmp_path / "whole", **settings))
    trainer = begin(corpus, tmp_path / "cut", **settings)
    write = Run.write

    def cut_off(run, name, *rest):
        write(run, name, *rest)
        if name == WEIGHTS and trainer.step > 10:
            raise KeyboardInterrupt

    monkeypatch.setattr(Run, "write", cut_off)
    with pytest.raises(KeyboardInterrupt):
        fit(trainer)
    monkeypatch.undo()
    fit(Trainer.resume(tmp_path / "cut"))
    assert (tmp_path / "cut" / WEIGHTS).read_bytes() == (tmp_path / "whole" / WEIGHTS).read_bytes()
    assert without_times(tmp_path / "cut") == without_times(tmp_path / "whole")


# Its end


def test_training_ends_when_it_gets_no_better(corpus, small, tmp_path):
    """A rate so high that the loss soon rises, evaluated at every step; and the same when interrupted in between."""
    settings = {**small, "learning_rate": 3.0, "evaluations": 60, "patience": 3}
    trainer = fit(begin(corpus, tmp_path / "whole", **settings))
    nats = [line["nats_per_char"] for line in without_times(tmp_path / "whole")]
    assert len(nats) == trainer.step < 60
    assert min(nats) == nats[-4] < min(nats[-3:])
    fit(begin(corpus, tmp_path / "cut", **settings), trainer.step - 1)
    fit(Trainer.resume(tmp_path / "cut"))
    assert without_times(tmp_path / "cut") == without_times(tmp_path / "whole")
    assert list(Trainer.resume(tmp_path / "cut").fit()) == []


def test_a_limit_in_minutes_ends_in_time_however_often_it_is_resumed(corpus, small, tmp_path):
    limited = {key: value for key, value in small.items() if key != "steps"}
    begun = time.perf_counter()
    trainer = begin(corpus, tmp_path / "run", **limited, minutes=0.02)
    fit(trainer, 5).save()
    assert 0 < trainer.seconds < 1.2
    trainer = Trainer.resume(tmp_path / "run")
    events = list(trainer.fit())
    assert isinstance(events[-1], Evaluated)
    assert 1.2 <= trainer.seconds <= time.perf_counter() - begun
    assert events[-1].progress == 1
    assert list(Trainer.resume(tmp_path / "run").fit()) == []


def test_the_first_of_several_limits_ends_training(corpus, small, tmp_path):
    for limits, steps in (({"steps": 7, "minutes": 60.0}, 7), ({"steps": 9000, "passes": 0.5}, None)):
        trainer = fit(begin(corpus, tmp_path / "run", **{**small, **limits}, overwrite=True))
        assert trainer.step == (steps or round(trainer.learner.steps_per_pass / 2)) > 2


def test_a_loss_that_is_no_number_stops_and_keeps_the_checkpoint(corpus, small, tmp_path):
    path = tmp_path / "run"
    trainer = begin(corpus, path, **small)
    events = trainer.fit()
    while not isinstance(next(events), Evaluated):
        pass
    before = weights(path)
    with torch.no_grad():
        trainer.network.output.bias[0] = math.nan
    with pytest.raises(TrainingError, match=r"not finite at step 21; .* train again with a smaller --learning-rate"):
        next(events)
    assert weights(path) == before
    assert Trainer.resume(path).step == 20


def test_a_gradient_that_is_no_number_moves_no_weight(corpus, small, tmp_path):
    """The loss is a number, and its gradient is not: the square root of zero."""
    path = tmp_path / "run"
    trainer = begin(corpus, path, **small)
    events = trainer.fit()
    while not isinstance(next(events), Evaluated):
        pass
    before, loss = weights(path), trainer.learner.loss
    bias = trainer.network.output.bias

    def without_gradient(step, progress):
        given = loss(step, progress)
        return dataclasses.replace(given, value=given.value + (0 * bias).sum().sqrt())

    trainer.learner.loss = without_gradient
    with pytest.raises(TrainingError, match="the gradient is not finite at step 21; the checkpoint"):
        next(events)
    assert weights(path) == before
    assert all(bool(parameter.isfinite().all()) for parameter in trainer.network.parameters())
    assert Trainer.resume(path).step == 20


def test_a_metric_that_is_no_number_is_written_nowhere(corpus, small, tmp_path, monkeypatch):
    path = tmp_path / "run"
    trainer = begin(corpus, path, **small)
    score = SimpleNamespace(figures={"nats_per_char": math.nan})
    monkeypatch.setattr(trainer.learner, "evaluate", lambda network: score)
    with pytest.raises(TrainingError, match="the nats per char is not finite on the held-out data"):
        fit(trainer)
    assert Trainer.resume(path).step == 0
    assert Run.load(path).metrics() == []


def test_weights_that_are_gone_are_no_reason_to_go_on(damaged):
    (damaged / WEIGHTS).unlink()
    with pytest.raises(RunError, match=r"after an evaluation, and weights\.safetensors is missing: train again"):
        Trainer.resume(damaged)


def test_a_score_that_is_no_number_stops_and_keeps_the_checkpoint(corpus, small, tmp_path):
    path = tmp_path / "run"
    trainer = begin(corpus, path, **small, average=0.9)
    for event in trainer.fit():
        if isinstance(event, Evaluated):
            break
    before = weights(path)
    with torch.no_grad():
        trainer.average.output.bias[0] = math.nan
    with pytest.raises(TrainingError, match="not finite on the held-out data"):
        fit(trainer)
    assert weights(path) == before
    assert Trainer.resume(path).step == 20


# Its steps


def plain(corpus, path, **training):
    """A trainer without dropout, whose steps can be recomputed by hand."""
    model = {"embedding": 5, "hidden": 7, "layers": 2, "dropout": 0.0}
    settings = {"batch_size": 3, "bptt": 16, "optimizer": "adamw", "autocast": "off", **training}
    return begin(corpus, path, **model, **settings)


def test_each_step_is_the_one_computed_by_hand(corpus, tmp_path):
    """State carried within a pass and fresh at the next, gradients cut at bptt, clipped, and the rate followed."""
    trainer = plain(corpus, tmp_path / "run", passes=2.0, learning_rate=0.05, clip=0.1, evaluations=1, reset=0.2)
    twin = copy.deepcopy(trainer.network).train()
    matrices = [layer.gates.weight for layer in twin.stack.layers]
    others = [p for p in twin.parameters() if all(p is not matrix for matrix in matrices)]
    decay = trainer.settings.weight_decay
    groups = [{"params": others, "weight_decay": 0.0}, {"params": matrices, "weight_decay": decay}]
    optimizer = torch.optim.AdamW(groups, fused=True)
    batches = trainer.learner.batches
    per_pass, total = batches.per_pass, 2 * batches.per_pass
    assert per_pass > 3
    state = None
    steps = (event for event in trainer.fit() if not isinstance(event, Evaluated))
    for number, event in enumerate(steps):
        batch = batches.read(number)
        if number % per_pass == 0:
            state = (torch.zeros(2, 3, 7), torch.zeros(2, 3, 7))
        state = tuple(s.detach().clone() for s in state)
        for place in np.flatnonzero(batch.fresh):
            for s in state:
                s[:, place] = 0
        logits, state = twin.sequence(torch.from_numpy(batch.inputs), state)
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), torch.from_numpy(batch.targets).flatten())
        assert event.figures["nats"] == pytest.approx(loss.item(), rel=1e-6), number
        optimizer.zero_grad()
        loss.backward()
        norm = torch.sqrt(sum(p.grad.square().sum() for p in twin.parameters()))
        for parameter in twin.parameters():
            parameter.grad *= min(1.0, 0.1 / (norm.item() + 1e-6))
        assert norm > 0.1  # or nothing was clipped
        for group in optimizer.param_groups:
            group["lr"] = one_cycle(0.05, number / total, 0.1)
        optimizer.step()
    assert number == total - 1
    for ours, theirs in zip(trainer.network.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


def test_muon_makes_the_steps_of_recurrent_matrices_orthogonal(corpus, tmp_path):
    """All directions of the averaged gradient count the same, and a step is as large as one of AdamW's."""
    trainer = plain(corpus, tmp_path / "run", steps=1, learning_rate=0.05, weight_decay=0.0, optimizer="muon")
    before = {name: p.detach().clone() for name, p in trainer.network.named_parameters()}
    fit(trainer)
    moved = {name: p.detach() - before[name] for name, p in trainer.network.named_parameters()}
    rate = trainer.learner.learning_rate(0.0)
    for layer in range(2):
        step = moved[f"stack.layers.{layer}.gates.weight"]
        gradient = dict(trainer.network.named_parameters())[f"stack.layers.{layer}.gates.weight"].grad
        (high, middle), (steep, usual) = (torch.linalg.svdvals(m)[[0, 6]] for m in (step, gradient))
        assert high / middle < 2 < 4 < steep / usual
        assert step.square().mean().sqrt().item() == pytest.approx(0.2 * rate, rel=0.3)
    for name, step in moved.items():
        if "weight" not in name or "stack" not in name:
            torch.testing.assert_close(step.abs().max(), torch.tensor(rate), rtol=1e-2, atol=0)  # AdamW's first


def test_the_graph_of_gradients_ends_with_the_batch(corpus, tmp_path):
    trainer = plain(corpus, tmp_path / "run", steps=3)
    for _ in trainer.fit():
        assert all(s.grad_fn is None and not s.requires_grad for s in trainer.learner.carried().values())


def test_memory_does_not_grow_with_the_length_of_training(corpus, tmp_path):
    trainer = plain(corpus, tmp_path / "run", steps=60, evaluations=1)
    live = []
    for event in trainer.fit():
        if event.step in (10, 35, 59):
            gc.collect()
            live.append(sum(type(t) in (torch.Tensor, torch.nn.Parameter) for t in gc.get_objects()))
    assert max(live[1:]) <= live[0] + 10  # AdamW's moments may come late; a graph kept alive would be hundreds


def test_averaged_weights_follow_slowly(corpus, small, tmp_path):
    trainer = begin(corpus, tmp_path / "run", **small, average=0.95)
    expected = {name: tensor.clone() for name, tensor in trainer.network.state_dict().items()}
    for event in trainer.fit():
        if event.step == 12:
            break
        decay = min(0.95, event.step / (9 + event.step))  # at first it forgets what weights began as
        for name, tensor in trainer.network.state_dict().items():
            expected[name] = decay * expected[name] + (1 - decay) * tensor
        for name, tensor in trainer.average.state_dict().items():
            torch.testing.assert_close(tensor, expected[name], msg=name)
    assert trainer.average is not trainer.network
    trainer.step = 10**9
    before = trainer.average.output.bias.detach().clone()
    trainer._update_average()
    torch.testing.assert_close(
        trainer.average.output.bias, 0.95 * before + 0.05 * trainer.network.output.bias, atol=1e-7, rtol=1e-5
    )


def test_without_averages_the_network_itself_is_kept(corpus, small, tmp_path):
    trainer = begin(corpus, tmp_path / "run", **small)
    assert trainer.average is trainer.network


@pytest.mark.parametrize("average", [0.0, 0.9])
def test_a_later_phase_begins_from_the_average_with_a_new_optimizer(corpus, small, tmp_path, monkeypatch, average):
    kind = LANGUAGE.learner()
    monkeypatch.setattr(kind, "phase", lambda learner, progress: int(progress >= 0.5))
    monkeypatch.setattr(kind, "average_decay", lambda learner, phase: 0.9 if phase else average)
    trainer = begin(corpus, tmp_path / "run", **{**small, "steps": 8, "evaluations": 4, "patience": 4})
    assert trainer.average is not trainer.network  # the second phase averages, whatever the first one does
    for event in trainer.fit():
        if event.step == 4 and isinstance(event, Evaluated):
            break
    averaged = {name: tensor.clone() for name, tensor in trainer.average.state_dict().items()}
    assert torch.equal(averaged["output.bias"], trainer.network.output.bias) == (average == 0)
    trainer._stale, begun = 3, trainer.optimizer
    seen = []
    loss = kind.loss
    monkeypatch.setattr(kind, "loss", lambda each, *rest: (seen.append(weights_of(each.network)), loss(each, *rest))[1])
    fit(trainer, 5)
    assert trainer.phase == 1
    assert trainer._stale == 0
    assert trainer.optimizer is not begun
    assert trainer.optimizer.tensors()["output.bias.step"] == 1
    torch.testing.assert_close(seen[0], averaged, atol=0, rtol=0)
    trainer.save()
    resumed = Trainer.resume(tmp_path / "run")
    assert (resumed.step, resumed.phase) == (5, 1)
    monkeypatch.undo()


def weights_of(network):
    return {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}


# Devices and arithmetic


def test_autocast_trains_in_bfloat16_and_keeps_float32(corpus, small, tmp_path):
    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        pytest.skip("this processor has no bfloat16")
    trainer = begin(corpus, tmp_path / "run", **{**small, "autocast": "bf16"})
    steps = [event for event in trainer.fit() if not isinstance(event, Evaluated)]
    exact = next(begin(corpus, tmp_path / "exact", **small).fit())
    carried = trainer.learner.carried().values()
    assert all(tensor.dtype == torch.float32 for tensor in (*trainer.network.parameters(), *carried))
    assert steps[0].figures["nats"] != exact.figures["nats"]
    assert steps[0].figures["nats"] == pytest.approx(exact.figures["nats"], rel=0.01)
    assert steps[-1].figures["nats"] < 0.8 * steps[0].figures["nats"]


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_a_device_that_is_not_there_is_named(corpus, small, tmp_path, device):
    if getattr(torch, device).is_available():
        pytest.skip(f"there is {device} here")
    with pytest.raises(ConfigError, match=f"--device {device} is not available on this machine"):
        begin(corpus, tmp_path / "run", **small, device=device)
    assert not (tmp_path / "run").exists()


def test_each_process_has_a_gpu_of_its_own(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for rank in ("0", "1"):
        monkeypatch.setenv("LOCAL_RANK", rank)
        assert find_device("auto") == torch.device("cuda", int(rank))
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(ConfigError, match="process 3 on this machine has no GPU of its own: start 2 or fewer"):
        find_device("cuda")
    assert find_device("cpu") == torch.device("cpu")


def test_bfloat16_is_used_where_it_is_fast_or_asked_for(monkeypatch):
    cpu = torch.device("cpu")
    for able, fast, expected in ((True, True, True), (True, False, False), (False, True, False)):
        monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda able=able: able)
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda fast=fast: fast)
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
        assert find_autocast("auto", cpu) == expected
        assert not find_autocast("off", cpu)
        if able:
            assert find_autocast("bf16", cpu)
    for device in (cpu, torch.device("mps")):
        with pytest.raises(
            ConfigError, match=f"--autocast bf16 is not possible: the {device.type} device has no bfloat16"
        ):
            find_autocast("bf16", device)


def test_a_run_begun_on_another_kind_of_device_goes_on(damaged):
    """Its generator drew other numbers, which cannot be drawn here."""
    run = Run.load(damaged)
    tensors, about = run.read(CHECKPOINT)
    tensors["generator.cuda"] = tensors.pop("generator.cpu")[:, :16].clone()
    run.write(CHECKPOINT, tensors, {**about, "step": 40})
    trainer = Trainer.resume(damaged)
    assert trainer.step == 40
    assert np.isfinite(next(trainer.fit()).figures["nats"])


# How it begins


def test_a_start_that_fails_leaves_the_old_run(trained, corpus, tmp_path, small):
    before = contents(trained)
    (tmp_path / "short.txt").write_text("abcdefghijkl")
    (tmp_path / "one.txt").write_text("a")
    around = set(trained.parent.iterdir())
    with pytest.raises(OutputExistsError):
        begin(corpus, trained, **small)
    for name, held_out in ((tmp_path / "short.txt", "0.1"), (corpus, str(tmp_path / "one.txt"))):
        with pytest.raises(CorpusError):
            begin(name, trained, **small, held_out=held_out, overwrite=True)
    huge = {**small, "hidden": 1_000_000, "layers": 9}
    with pytest.raises(ConfigError, match="the model cannot be built"):
        begin(corpus, trained, **huge, overwrite=True)
    with pytest.raises(ConfigError, match="--preset huge is not one of small, tiny, medium"):
        begin(corpus, trained, **small, preset="huge", overwrite=True)
    assert contents(trained) == before
    assert set(trained.parent.iterdir()) == around


@pytest.mark.parametrize("place", ["prepare", "__init__"])
def test_a_start_that_is_cut_off_leaves_nothing(corpus, small, tmp_path, monkeypatch, place):
    def cut_off(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(LANGUAGE.learner(), place, cut_off)
    with pytest.raises(KeyboardInterrupt):
        begin(corpus, tmp_path / "new" / "run", **small)
    assert list(tmp_path.iterdir()) == []


def test_a_run_may_replace_one(trained, corpus, damaged, small):
    (damaged / f".{CHECKPOINT}.k3").write_bytes(b"half")
    trainer = begin(corpus, damaged, **{**small, "steps": 3}, overwrite=True)
    assert trainer.run.prepared.chosen.training.steps == 3
    assert contents(damaged).keys() == contents(trained).keys() - {WEIGHTS}


def test_overwriting_spares_what_is_not_a_runs(damaged, corpus, small):
    def refused():
        with pytest.raises(OutputExistsError, match="holds files that edgernn did not write"):
            begin(corpus, damaged, **small, overwrite=True)

    for name in ("notes.txt", "data/notes.txt", "assets/notes.txt"):
        (damaged / name).write_text("dear diary")
        refused()
        (damaged / name).unlink()
    (damaged / "home").symlink_to(damaged.parent, target_is_directory=True)
    refused()
    (damaged / "home").unlink()
    config = (damaged / CONFIG).read_text()
    for other in ('{"name": "a project of somebody else"}', '{"assets": {}, "files": [], "settings": 3}', "junk"):
        (damaged / CONFIG).write_text(other)
        refused()
    (damaged / CONFIG).write_text(config)
    begin(corpus, damaged, **small, overwrite=True)


OLD = {"format": 1, "edgernn": "0.1", "task": "language", "model": {}, "training": {}, "corpus": {}}


def test_a_run_of_format_1_is_refused_by_name_and_may_be_replaced(corpus, small, tmp_path):
    path = tmp_path / "old"
    path.mkdir()
    (path / CONFIG).write_text(json.dumps(OLD))
    for name in ("tokenizer.json", "train.tokens", "held-out.tokens", WEIGHTS, CHECKPOINT, METRICS):
        (path / name).write_bytes(b"x")
    (path / ".tokenizer.json.ab1").write_bytes(b"half")
    for read in (Run.load, Trainer.resume):
        with pytest.raises(
            RunError, match=r"old is a run of format 1, and this edgernn reads format 3: train it again"
        ):
            read(path)
    (path / "notes.txt").write_text("dear diary")
    with pytest.raises(OutputExistsError, match="holds files that edgernn did not write"):
        begin(corpus, path, **small, overwrite=True)
    (path / "notes.txt").unlink()
    begin(corpus, path, **small, overwrite=True)
    assert Run.load(path).task is LANGUAGE
    assert contents(path).keys() & {"tokenizer.json", "train.tokens", ".tokenizer.json.ab1"} == set()


def test_a_name_that_is_not_utf_8_is_refused(corpus, small, tmp_path):
    with pytest.raises(ConfigError, match=r"the path .* is not UTF-8"):
        begin(corpus, tmp_path / os.fsdecode(b"\xff"), **small)


def test_a_run_that_was_never_evaluated_has_no_weights(corpus, small, tmp_path):
    fit(begin(corpus, tmp_path / "run", **small), 5)
    with pytest.raises(RunError, match=r"not come to its first evaluation, .*; continue with: .* --resume"):
        Run.load(tmp_path / "run").network()


# Runs that are damaged, or lie


def test_a_run_without_its_tokens_is_named(damaged):
    (damaged / DATA / TRAIN).write_bytes(b"")
    with pytest.raises(CorpusError, match=r"run/data/train.tokens has 0 bytes"):
        Trainer.resume(damaged)
    (damaged / DATA / TRAIN).write_bytes(b"\0" * 7)
    with pytest.raises(CorpusError, match=r"run/data/train.tokens has 7 tokens, not 2,430: it was cut or changed"):
        Trainer.resume(damaged)
    (damaged / DATA / TRAIN).unlink()
    with pytest.raises(CorpusError, match=r"run/data/train.tokens cannot be read"):
        Trainer.resume(damaged)
    shutil.copy(damaged / DATA / HELD_OUT_TOKENS, damaged / DATA / TRAIN)
    with pytest.raises(CorpusError, match=r"run/data/train.tokens has 270 tokens, not 2,430: it was cut or changed"):
        Trainer.resume(damaged)


def test_a_checkpoint_of_another_shape_is_named(damaged):
    config = json.loads((damaged / CONFIG).read_text())
    config["settings"]["model"]["hidden"] = 25
    (damaged / CONFIG).write_text(json.dumps(config))
    for read in (lambda: Run.load(damaged).network(), lambda: Trainer.resume(damaged)):
        with pytest.raises(RunError, match=r"does not fit .*: .* is torch.float32 \[.*24\], not .* \[.*25\]"):
            read()
    config["settings"]["model"]["layers"] = 1
    (damaged / CONFIG).write_text(json.dumps(config))
    with pytest.raises(RunError, match=r"stack.layers.1.gates.bias is in one and not in the other"):
        Run.load(damaged).network()
    config["settings"]["model"]["vocabulary"] = 0
    (damaged / CONFIG).write_text(json.dumps(config))
    with pytest.raises(RunError, match=r"run: a language model needs the size of its vocabulary"):
        Run.load(damaged).network()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t, a: a.update(step="x"), "step: x is not a whole number"),
        (lambda t, a: a.update(step=-3), "step: -3 is not"),
        (lambda t, a: a.update(step=10**30), "step: 1000"),
        (lambda t, a: a.update(seconds=None), "seconds: None"),
        (lambda t, a: a.update(seconds=math.nan), "seconds: nan"),
        (lambda t, a: a.pop("evaluations"), "lacks 'evaluations'"),
        (lambda t, a: a.update(evaluations=None), "evaluations: None"),
        (lambda t, a: a.update(mood="good"), "unknown 'mood'"),
        (lambda t, a: a.update(phase=0.5), "phase: 0.5"),
        (lambda t, a: a.update(stale=True), "stale: True"),
        (lambda t, a: a.update(best="low"), "best: low"),
        (lambda t, a: a.update(sums={"nats": 3}), "nats: not a list"),
        (lambda t, a: a.update(sums={"nats": [3.0]}), "not enough values"),
        (lambda t, a: a.update(sums={"nats": [3.0, -1]}), "nats: -1 is not a whole number"),
        (lambda t, a: t.pop("carried.1"), r"carried\.1 is in one"),
        (lambda t, a: t.pop("optimizer.output.bias.exp_avg"), r"optimizer\.output\.bias\.exp_avg is in one"),
        (lambda t, a: t.update({"optimizer.x": torch.ones(1)}), r"optimizer\.x is in one"),
        (
            lambda t, a: t.update({"optimizer.output.bias.exp_avg": torch.ones(1)}),
            r"optimizer\.output\.bias\.exp_avg is torch.float32 \[1\]",
        ),
        (lambda t, a: t.update({"generator.cpu": torch.cat([t["generator.cpu"]] * 2)}), "written by 2 processes"),
        (lambda t, a: t.update({"generator.cpu": t["generator.cpu"].float()}), r"generator\.cpu is torch\.float32"),
        (lambda t, a: t.update({"generator.cpu": 0 * t["generator.cpu"]}), "is damaged: "),
    ],
)
def test_a_checkpoint_that_lies_is_named(damaged, change, words):
    rewrite(damaged, CHECKPOINT, change)
    with pytest.raises(RunError, match=rf"checkpoint\.safetensors .*{words}"):
        Trainer.resume(damaged)


@pytest.mark.parametrize("line", [b"junk", b"3", b'{"a": 1}', b'{"step": "x"}', b'{"step": 1}', b"\xff"])
def test_a_damaged_log_is_named(damaged, line):
    with (damaged / METRICS).open("ab") as file:
        file.write(line + b"\n")
    with pytest.raises(RunError, match=r"metrics.jsonl is damaged"):
        Trainer.resume(damaged)
    (damaged / METRICS).unlink()
    with pytest.raises(RunError, match=r"metrics.jsonl cannot be read: No such file"):
        Trainer.resume(damaged)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c.update(format=True), "format True"),
        (lambda c: c.update(format=7), "format 7, and this edgernn reads format 3"),
        (lambda c: c.update(task="dance"), "is a run of 'dance'; this edgernn knows language, caption"),
        (lambda c: c.update(task=3), "task: '3' is not a string"),
        (lambda c: c.update(task="caption"), "settings.data lacks 'encoder_weights'"),
        (lambda c: c.update(mood="good"), "unknown 'mood'"),
        (lambda c: c.pop("files"), "lacks 'files'"),
        (lambda c: c.update(data=3), "data is not an object"),
        (lambda c: c.update(data={}), "the corpus lacks"),
        (lambda c: c["data"].update(name=3), "name: '3' is not a string"),
        (lambda c: c["data"].update(predicted_chars=10**6), "predicts 1000000 of 270 characters"),
        (lambda c: c["settings"]["training"].update(steps=20.5), r"--steps 20\.5 is not a whole number"),
        (lambda c: c["settings"]["training"].update(steps="many"), "--steps many"),
        (lambda c: c["settings"]["training"].update(steps=[3]), r"--steps \(3,\)"),
        (lambda c: c["settings"]["training"].pop("clip"), "settings.training lacks 'clip'"),
        (lambda c: c["settings"]["model"].update(depth=1), "settings.model has an unknown 'depth'"),
        (lambda c: c["settings"]["model"].update(hidden=10**12), "--hidden 1000000000000"),
        (lambda c: c["settings"]["model"].update(dropout="x"), "--dropout x"),
        (lambda c: c["settings"].pop("data"), "settings lacks 'data'"),
        (lambda c: c["assets"].update({"tokenizer.json": "0"}), r"tokenizer.json was changed"),
        (lambda c: c["assets"].update({"tokenizer.json": 3}), r"the digest of tokenizer.json: '3' is not a string"),
        (lambda c: c.update(assets={"../config.json": "0"}), r"'\.\./config\.json' is no name of an asset"),
        (lambda c: c.update(assets={"a\0b": "0"}), r"is no name of an asset"),
        (lambda c: c.update(assets={"labels.json": "0"}), r"labels.json cannot be read: No such file"),
        (lambda c: c.update(assets={}), ": there is no tokenizer.json"),
    ],
)
def test_a_configuration_that_lies_is_named(damaged, change, words):
    config = json.loads((damaged / CONFIG).read_text())
    change(config)
    (damaged / CONFIG).write_text(json.dumps(config))
    with pytest.raises(RunError, match=rf"/run.*{words}"):
        Trainer.resume(damaged)


def test_a_damaged_run_is_named(damaged):
    for name in (WEIGHTS, CHECKPOINT, HELD_OUT):
        data = (damaged / name).read_bytes()
        (damaged / name).write_bytes(data[:100])
        with pytest.raises(RunError, match=f"{name} is damaged"):
            Trainer.resume(damaged)
        (damaged / name).write_bytes(data)
    (damaged / WEIGHTS).unlink()
    with pytest.raises(RunError, match=r"weights.safetensors is missing"):
        Run.load(damaged).network()
    (damaged / CONFIG).write_bytes(b"{")
    with pytest.raises(RunError, match="is not JSON"):
        Run.load(damaged)
    with pytest.raises(RunError, match=r"is not a run: it has no config\.json"):
        Run.load(damaged.parent)
    with pytest.raises(RunError, match=r"there is no .*nowhere"):
        Run.load(damaged / "nowhere")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t, a: t.update({"x": torch.ones(2)}), "'x' is no held-out array"),
        (lambda t, a: t.update({"steps.token": t["steps.token"][:3]}), "not of one number of sequences"),
        (lambda t, a: t.update({"steps.token": torch.tensor(3)}), ""),
        (lambda t, a: t.update({"steps.token": t["steps.token"].bfloat16()}), ""),
        (lambda t, a: a.clear(), "the held-out data lacks 'feedback'"),
    ],
)
def test_held_out_data_that_lies_is_named(damaged, change, words):
    rewrite(damaged, HELD_OUT, change)
    with pytest.raises(RunError, match=rf"held-out\.safetensors is damaged: .*{words}"):
        Run.load(damaged)


def test_dropout_falls_in_the_second_half_of_training(corpus, tmp_path):
    settings = {"hidden": 4, "batch_size": 3, "bptt": 16, "dropout": 0.4, "final_dropout": 0.25, "steps": 8}
    trainer = begin(corpus, tmp_path / "run", **settings)
    probabilities = []
    for event in trainer.fit():
        if not isinstance(event, Evaluated):
            assert trainer.network.dropout.p == trainer.network.stack.dropout.p
            probabilities.append(trainer.network.dropout.p)
    assert probabilities == pytest.approx([0.4, 0.4, 0.4, 0.4, 0.4, 0.325, 0.25, 0.175])
