import copy
import gc
import json
import math
import resource
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import safetensors.torch
import torch
from edgernn.training.evaluation import score_tokens

from edgernn.data.tokens import TokenArray
from edgernn.errors import ConfigError, CorpusError, OutputExistsError, RunError, TrainingError
from edgernn.tasks.language.network import LanguageConfig, LanguageModel
from edgernn.tokenizer import Tokenizer
from edgernn.training import Evaluated, Run, Trainer, TrainingConfig, evaluate
from edgernn.training.run import CHECKPOINT, CONFIG, HELD_OUT, METRICS, TRAIN, WEIGHTS


def fit(trainer, until=None):
    """Train, stopping abruptly after step `until`."""
    for event in trainer.fit():
        if until is not None and event.step == until:
            return


def weights(path):
    return {name: (path / name).read_bytes() for name in (WEIGHTS, METRICS)}


def without_times(path):
    lines = [json.loads(line) for line in (path / METRICS).read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


def test_a_model_learns(trained):
    run = Run.load(trained)
    lines = without_times(trained)
    assert [line["step"] for line in lines] == [20, 40, 60]
    assert lines[-1]["nats_per_char"] < 2.5 < math.log(run.model.vocabulary)
    files = {CHECKPOINT, CONFIG, METRICS, "tokenizer.json", WEIGHTS, TRAIN, HELD_OUT}
    assert {path.name for path in trained.iterdir()} == files


def test_equal_seeds_give_equal_weights(trained, corpus, small, tmp_path):
    fit(Trainer.begin([str(corpus)], tmp_path / "again", **small))
    assert (tmp_path / "again" / WEIGHTS).read_bytes() == (trained / WEIGHTS).read_bytes()
    other = {**small, "training": {**small["training"], "seed": 1}}
    fit(Trainer.begin([str(corpus)], tmp_path / "other", **other))
    assert (tmp_path / "other" / WEIGHTS).read_bytes() != (trained / WEIGHTS).read_bytes()


@pytest.mark.parametrize("until", [1, 19, 20, 33, 59])
def test_a_resumed_run_is_one_never_interrupted(trained, corpus, small, tmp_path, until):
    path = tmp_path / "run"
    fit(Trainer.begin([str(corpus)], path, **small), until)
    torch.manual_seed(1234)  # whatever happened in between
    fit(Trainer.resume(path))
    assert (path / WEIGHTS).read_bytes() == (trained / WEIGHTS).read_bytes()
    assert without_times(path) == without_times(trained)


@pytest.mark.parametrize("shape", [{"cell": "gru", "initial": "learned"}, {"cell": "elman", "tied": True}], ids=str)
def test_other_shapes_resume_exactly_too(corpus, small, tmp_path, shape):
    settings = {"model": {**small["model"], **shape}, "training": {**small["training"], "reset": 0.3}}
    fit(Trainer.begin([str(corpus)], tmp_path / "whole", **settings))
    fit(Trainer.begin([str(corpus)], tmp_path / "cut", **settings), 33)
    fit(Trainer.resume(tmp_path / "cut"))
    assert (tmp_path / "cut" / WEIGHTS).read_bytes() == (tmp_path / "whole" / WEIGHTS).read_bytes()
    if "initial" in shape:
        assert float(Run.load(tmp_path / "cut").network().stack.initial["h"].detach().abs().min()) > 0


def test_training_ends_when_it_gets_no_better(corpus, small, tmp_path):
    """A rate so high that the loss soon rises, evaluated at every step; and the same when interrupted in between."""
    training = {**small["training"], "learning_rate": 3.0, "evaluations": 60, "patience": 3}
    settings = {"model": small["model"], "training": training}
    trainer = Trainer.begin([str(corpus)], tmp_path / "whole", **settings)
    fit(trainer)
    nats = [line["nats_per_char"] for line in without_times(tmp_path / "whole")]
    assert len(nats) == trainer.step < 60
    assert min(nats) == nats[-4] < min(nats[-3:])
    fit(Trainer.begin([str(corpus)], tmp_path / "cut", **settings), trainer.step - 1)
    fit(Trainer.resume(tmp_path / "cut"))
    assert without_times(tmp_path / "cut") == without_times(tmp_path / "whole")


def test_autocast_trains_in_bfloat16_and_keeps_float32(corpus, small, tmp_path):
    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        pytest.skip("this processor has no bfloat16")
    settings = {"model": small["model"], "training": {**small["training"], "autocast": "bf16"}}
    trainer = Trainer.begin([str(corpus)], tmp_path / "run", **settings)
    steps = [event for event in trainer.fit() if not isinstance(event, Evaluated)]
    exact = list(Trainer.begin([str(corpus)], tmp_path / "exact", **small).fit())
    assert all(tensor.dtype == torch.float32 for tensor in (*trainer.model.parameters(), *trainer._state))
    assert steps[0].nats != exact[0].nats
    assert steps[0].nats == pytest.approx(exact[0].nats, rel=0.01)
    assert steps[-1].nats < 0.8 * steps[0].nats


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_a_device_that_is_not_there_is_named(corpus, small, tmp_path, device):
    if getattr(torch, device).is_available():
        pytest.skip(f"there is {device} here")
    with pytest.raises(ConfigError, match=f"--device {device}: there is none here"):
        Trainer.begin([str(corpus)], tmp_path / "run", model={}, training={**small["training"], "device": device})
    assert not (tmp_path / "run").exists()


def test_every_evaluation_shows_a_sample(corpus, small, tmp_path):
    events = list(Trainer.begin([str(corpus)], tmp_path / "run", **small).fit())
    samples = [event.sample for event in events if isinstance(event, Evaluated)]
    assert [len(sample) for sample in samples] == [160] * 3
    assert set("".join(samples)) <= set(corpus.read_text())
    assert samples[0] != samples[2]


RESUME = """
import sys
from pathlib import Path
from edgernn.training import Trainer
for event in Trainer.resume(Path(sys.argv[1])).fit():
    print(event.step, flush=True)
"""


@pytest.mark.slow
def test_a_run_killed_at_any_moment_is_one_never_interrupted(corpus, small, tmp_path):
    """SIGKILL, again and again, while checkpoints are written almost all the time."""
    settings = {"model": small["model"], "training": {**small["training"], "steps": 300, "evaluations": 100}}
    fit(Trainer.begin([str(corpus)], tmp_path / "whole", **settings))
    path = tmp_path / "killed"
    Trainer.begin([str(corpus)], path, **settings)
    kills = 0
    for lines in (7, 31, 2, 60, 11):
        process = subprocess.Popen([sys.executable, "-c", RESUME, str(path)], stdout=subprocess.PIPE, text=True)
        for _ in range(lines):
            process.stdout.readline()
        process.kill()
        kills += process.wait() == -signal.SIGKILL
        process.stdout.close()
    assert kills == 5
    fit(Trainer.resume(path))
    assert (path / WEIGHTS).read_bytes() == (tmp_path / "whole" / WEIGHTS).read_bytes()
    assert without_times(path) == without_times(tmp_path / "whole")
    assert {each.name for each in path.iterdir()} == {each.name for each in (tmp_path / "whole").iterdir()}


def test_a_full_disk_leaves_the_last_checkpoint(corpus, small, tmp_path):
    """A limit on the size of files stands in for a full disk: the write fails part of the way."""
    path = tmp_path / "run"
    events = Trainer.begin([str(corpus)], path, **small).fit()
    while not isinstance(next(events), Evaluated):
        pass
    before = {each.name: each.read_bytes() for each in path.iterdir()}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, limits[1]))
    try:
        with pytest.raises(TrainingError, match=r"cannot be written: File too large; the last good checkpoint is kept"):
            list(events)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    after = {each.name: each.read_bytes() for each in path.iterdir()}
    assert {**after, METRICS: b""} == {**before, METRICS: b""}
    fit(Trainer.resume(path))
    assert len(Run.load(path).metrics()) == 3


def test_resuming_a_finished_run_changes_nothing(trained):
    before = weights(trained)
    trainer = Trainer.resume(trained)
    assert list(trainer.fit()) == []
    assert weights(trained) == before
    assert trainer.step == 60


def plain(corpus, path, **training):
    """A trainer without dropout, whose steps can be recomputed by hand."""
    model = {"embedding": 5, "hidden": 7, "layers": 2, "dropout": 0.0}
    settings = {"lanes": 3, "chunk": 16, "optimizer": "adamw", "autocast": "off", **training}
    return Trainer.begin([str(corpus)], path, model=model, training=settings)


def test_each_step_is_the_one_computed_by_hand(corpus, tmp_path):
    """State carried within a pass and fresh at the next, gradients cut at the chunk, clipped, and the rate followed."""
    trainer = plain(corpus, tmp_path / "run", passes=2.0, learning_rate=0.05, clip=0.1, evaluations=1, reset=0.2)
    twin = copy.deepcopy(trainer.model).train()
    config = trainer.run.training
    matrices = [layer.weight for layer in twin.stack.layers]
    others = [p for p in twin.parameters() if all(p is not matrix for matrix in matrices)]
    groups = [{"params": others, "weight_decay": 0.0}, {"params": matrices, "weight_decay": config.weight_decay}]
    optimizer = torch.optim.AdamW(groups, fused=True)
    per_pass, total = trainer.lanes.chunks_per_pass, 2 * trainer.lanes.chunks_per_pass
    assert per_pass > 3
    state = None
    steps = (event for event in trainer.fit() if not isinstance(event, Evaluated))
    for number, (event, chunk) in enumerate(zip(steps, trainer.lanes.chunks(), strict=False)):
        if number % per_pass == 0:
            state = (torch.zeros(2, 3, 7), torch.zeros(2, 3, 7))
        state = tuple(s.detach().clone() for s in state)
        for lane in np.flatnonzero(chunk.fresh):
            for s in state:
                s[:, lane] = 0
        logits, state = twin.sequence(torch.from_numpy(chunk.inputs), state)
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), torch.from_numpy(chunk.targets).flatten())
        assert event.nats == pytest.approx(loss.item(), rel=1e-6), number
        optimizer.zero_grad()
        loss.backward()
        norm = torch.sqrt(sum(p.grad.square().sum() for p in twin.parameters()))
        for parameter in twin.parameters():
            parameter.grad *= min(1.0, 0.1 / (norm.item() + 1e-6))
        assert norm > 0.1  # or nothing was clipped
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate_at(number / total)
        optimizer.step()
    assert number == total - 1
    for ours, theirs in zip(trainer.model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


def test_muon_makes_the_steps_of_recurrent_matrices_orthogonal(corpus, tmp_path):
    """All directions of the averaged gradient count the same, and a step is as large as one of AdamW's."""
    trainer = plain(corpus, tmp_path / "run", steps=1, learning_rate=0.05, weight_decay=0.0, optimizer="muon")
    before = {name: p.detach().clone() for name, p in trainer.model.named_parameters()}
    for _ in trainer.fit():
        pass
    moved = {name: p.detach() - before[name] for name, p in trainer.model.named_parameters()}
    rate = trainer.run.training.learning_rate_at(0.0)
    for layer in range(2):
        step = moved[f"stack.layers.{layer}.weight"]
        gradient = dict(trainer.model.named_parameters())[f"stack.layers.{layer}.weight"].grad
        (high, middle), (steep, usual) = (torch.linalg.svdvals(m)[[0, 6]] for m in (step, gradient))
        assert high / middle < 2 < 4 < steep / usual
        assert step.square().mean().sqrt().item() == pytest.approx(0.2 * rate, rel=0.3)
    for name, step in moved.items():
        if "weight" not in name or "stack" not in name:
            torch.testing.assert_close(step.abs().max(), torch.tensor(rate), rtol=1e-2, atol=0)  # AdamW's first


def test_the_graph_of_gradients_ends_with_the_chunk(corpus, tmp_path):
    trainer = plain(corpus, tmp_path / "run", steps=3)
    for _ in trainer.fit():
        assert all(s.grad_fn is None and not s.requires_grad for s in trainer._state)


def test_memory_does_not_grow_with_the_length_of_training(corpus, tmp_path):
    trainer = plain(corpus, tmp_path / "run", steps=120, evaluations=1)
    live = []
    for event in trainer.fit():
        if event.step in (20, 45, 70, 95, 119):
            gc.collect()
            live.append(sum(type(t) in (torch.Tensor, torch.nn.Parameter) for t in gc.get_objects()))
    assert max(live[1:]) <= live[0] + 10  # AdamW's moments may come late; a graph kept alive would be hundreds


def test_dropout_acts_on_embeddings_and_outputs_in_training_only():
    torch.manual_seed(0)
    model = LanguageModel(LanguageConfig(9, embedding=50, hidden=50, layers=1, dropout=0.5)).requires_grad_(False)
    inputs = []
    sequence = model.stack.sequence
    model.stack.sequence = lambda x, state: (inputs.append(x), sequence(x, state))[1]
    outputs = []
    model.output.register_forward_pre_hook(lambda module, given: outputs.append(given[0]))
    model.sequence(torch.ones(4, 2, dtype=torch.int64), model.initial_state(2))
    for dropped in (inputs[0], outputs[0]):
        assert 0.3 < float((dropped == 0).float().mean()) < 0.7
    model.eval()
    model.sequence(torch.ones(4, 2, dtype=torch.int64), model.initial_state(2))
    for whole in (inputs[1], outputs[1]):
        assert float((whole == 0).float().mean()) == 0


def test_the_best_weights_are_kept(corpus, small, tmp_path):
    bad = {**small, "training": {**small["training"], "learning_rate": 3.0, "evaluations": 6}}
    trainer = Trainer.begin([str(corpus)], tmp_path / "run", **bad)
    scores = [event for event in trainer.fit() if isinstance(event, Evaluated)]
    best = min(scores, key=lambda each: each.score.nats_per_char)
    tensors, about = Run.load(tmp_path / "run").read(WEIGHTS)
    assert about["step"] == best.step
    assert about["nats_per_char"] == best.score.nats_per_char == trainer.best
    assert tensors.keys() == trainer.model.state_dict().keys()


def test_a_limit_in_minutes_ends_in_time(corpus, small, tmp_path):
    limited = {key: value for key, value in small["training"].items() if key != "steps"}
    trainer = Trainer.begin(
        [str(corpus)], tmp_path / "run", model=small["model"], training={**limited, "minutes": 0.02}
    )
    begun = time.perf_counter()
    events = list(trainer.fit())
    assert isinstance(events[-1], Evaluated)
    assert 1.2 <= trainer.seconds <= time.perf_counter() - begun
    assert events[-1].progress == 1


def test_a_loss_that_is_no_number_stops_and_keeps_the_checkpoint(corpus, small, tmp_path):
    path = tmp_path / "run"
    trainer = Trainer.begin([str(corpus)], path, **small)
    events = trainer.fit()
    while not isinstance(next(events), Evaluated):
        pass
    before = weights(path)
    with torch.no_grad():
        trainer.model.output.bias[0] = math.nan
    with pytest.raises(TrainingError, match=r"not a number at step 21; .* train anew with a smaller --learning-rate"):
        next(events)
    assert weights(path) == before
    assert Trainer.resume(path).step == 20


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"passes": None}, "training needs an end"),
        ({"steps": 1.5}, r"--steps 1\.5 is not a whole number"),
        ({"steps": 10**400}, "--steps 1000"),
        ({"speed": 1}, "no training setting 'speed'"),
        ({"lanes": 0}, "--lanes 0 is not a whole number from 1"),
        ({"steps": 0}, "--steps 0 is not above 0"),
        ({"minutes": math.nan}, "--minutes nan"),
        ({"learning_rate": 0}, "--learning-rate 0"),
        ({"warmup": 1}, "--warmup 1"),
        ({"reset": 1.1}, r"--reset 1\.1"),
        ({"clip": 0}, "--clip 0"),
        ({"patience": 0}, "--patience 0"),
        ({"device": "abacus"}, "--device abacus is not one of auto, cpu, cuda, mps"),
        ({"autocast": "fp8"}, "--autocast fp8 is not one of auto, off, bf16"),
        ({"seed": -1}, "--seed -1"),
    ],
)
def test_impossible_settings_are_named(settings, words):
    with pytest.raises(ConfigError, match=words):
        TrainingConfig().but(**settings)


def test_the_learning_rate_is_one_cycle():
    config = TrainingConfig().but(steps=10, learning_rate=1.0, warmup=0.25)
    rates = [config.learning_rate_at(progress / 100) for progress in range(101)]
    assert rates[25] == max(rates) == 1.0
    assert rates[:26] == sorted(rates[:26])
    assert rates[25:] == sorted(rates[25:], reverse=True)
    assert rates[0] == pytest.approx(0.04)
    assert rates[100] == pytest.approx(0.001)
    assert TrainingConfig.from_json(config.to_json()) == config


def test_a_start_that_fails_leaves_the_old_run(trained, corpus, tmp_path, small):
    before = {path.name: path.read_bytes() for path in trained.iterdir()}
    (tmp_path / "short.txt").write_text("abcdefghijkl")
    (tmp_path / "one.txt").write_text("a")
    with pytest.raises(OutputExistsError):
        Trainer.begin([str(corpus)], trained, **small)
    for name, held_out in ((tmp_path / "short.txt", "0.1"), (corpus, str(tmp_path / "one.txt"))):
        with pytest.raises(CorpusError):
            Trainer.begin([str(name)], trained, held_out, **small, overwrite=True)
    huge = {**small, "model": {"hidden": 1_000_000, "layers": 9}}
    with pytest.raises(ConfigError, match="the model cannot be built"):
        Trainer.begin([str(corpus)], trained, **huge, overwrite=True)
    assert {path.name: path.read_bytes() for path in trained.iterdir()} == before


def test_overwriting_spares_what_is_not_a_runs(damaged, corpus, small):
    (damaged / "notes.txt").write_text("dear diary")
    with pytest.raises(OutputExistsError, match="holds files that edgernn did not write"):
        Trainer.begin([str(corpus)], damaged, **small, overwrite=True)
    (damaged / "notes.txt").unlink()
    (damaged / CONFIG).write_text('{"name": "a project of somebody else"}')
    with pytest.raises(OutputExistsError, match="holds files that edgernn did not write"):
        Trainer.begin([str(corpus)], damaged, **small, overwrite=True)


def test_a_run_that_was_never_evaluated_has_no_weights(corpus, small, tmp_path):
    fit(Trainer.begin([str(corpus)], tmp_path / "run", **small), 5)
    with pytest.raises(RunError, match=r"stopped before its first evaluation; go on with: .* --resume"):
        Run.load(tmp_path / "run").network()


def test_a_checkpoint_between_evaluations_is_exact(trained, corpus, small, tmp_path):
    path = tmp_path / "run"
    trainer = Trainer.begin([str(corpus)], path, **small)
    fit(trainer, 33)
    trainer.save()
    trainer = Trainer.resume(path)
    assert trainer.step == 33
    fit(trainer)
    assert (path / WEIGHTS).read_bytes() == (trained / WEIGHTS).read_bytes()
    assert without_times(path) == without_times(trained)


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
    settings = {**small, "training": {**small["training"], "patience": 1, "evaluations": 20}}
    fit(Trainer.begin([str(corpus)], tmp_path / "whole", **settings))
    trainer = Trainer.begin([str(corpus)], tmp_path / "cut", **settings)
    write = Run.write

    def cut_off(run, name, *rest):
        write(run, name, *rest)
        if name == WEIGHTS and trainer.step > 5:
            raise KeyboardInterrupt

    monkeypatch.setattr(Run, "write", cut_off)
    with pytest.raises(KeyboardInterrupt):
        fit(trainer)
    monkeypatch.undo()
    fit(Trainer.resume(tmp_path / "cut"))
    assert (tmp_path / "cut" / WEIGHTS).read_bytes() == (tmp_path / "whole" / WEIGHTS).read_bytes()
    assert without_times(tmp_path / "cut") == without_times(tmp_path / "whole")


def test_a_run_goes_on_with_its_own_text(corpus, small, trained, tmp_path):
    """The corpus was encoded once: what becomes of its file is no matter."""
    text = tmp_path / "t.txt"
    text.write_text(corpus.read_text())
    fit(Trainer.begin([str(text)], tmp_path / "run", **small), 30)
    text.unlink()
    fit(Trainer.resume(tmp_path / "run"))
    assert (tmp_path / "run" / WEIGHTS).read_bytes() == (trained / WEIGHTS).read_bytes()


def test_a_run_without_its_tokens_is_named(damaged):
    (damaged / TRAIN).write_bytes(b"")
    with pytest.raises(RunError, match=r"train.tokens has 0 bytes"):
        Trainer.resume(damaged)
    (damaged / TRAIN).unlink()
    with pytest.raises(RunError, match=r"train.tokens cannot be read"):
        Trainer.resume(damaged)


@pytest.fixture
def damaged(trained, tmp_path):
    import shutil

    return shutil.copytree(trained, tmp_path / "run")


def test_a_checkpoint_of_another_shape_is_named(damaged):
    config = json.loads((damaged / CONFIG).read_text())
    config["model"]["hidden"] = 25
    (damaged / CONFIG).write_text(json.dumps(config))
    for read in (lambda: Run.load(damaged).network(), lambda: Trainer.resume(damaged)):
        with pytest.raises(RunError, match=r"does not fit .*: .* is torch.float32 \[\d+, 24\], not .* \[\d+, 25\]"):
            read()
    config["model"]["layers"] = 1
    (damaged / CONFIG).write_text(json.dumps(config))
    with pytest.raises(RunError, match=r"stack.layers.1.bias is in one and not in the other"):
        Run.load(damaged).network()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t, a: a.update(step="x"), "step: x is not a whole number"),
        (lambda t, a: a.update(step=-3), "step: -3 is not"),
        (lambda t, a: a.update(step=10**30), "step: 1000"),
        (lambda t, a: a.update(seconds=None), "seconds: None"),
        (lambda t, a: a.pop("evaluations"), "evaluations: None"),
        (lambda t, a: a.update(nats_per_char="low"), "nats_per_char: low"),
        (lambda t, a: t.pop("state.1"), r"state\.1 is in one"),
        (lambda t, a: t.pop("optimizer.output.bias.exp_avg"), r"optimizer\.output\.bias\.exp_avg is in one"),
        (lambda t, a: t.update({"optimizer.x": torch.ones(1)}), r"optimizer\.x is in one"),
        (
            lambda t, a: t.update({"optimizer.output.bias.exp_avg": torch.ones(1)}),
            r"optimizer\.output\.bias\.exp_avg is torch.float32 \[1\]",
        ),
        (lambda t, a: t.update({"generator.cpu": torch.cat([t["generator.cpu"]] * 2)}), "written by 2 processes"),
        (lambda t, a: t.update({"generator.cpu": t["generator.cpu"].float()}), r"generator\.cpu is torch\.float32"),
    ],
)
def test_a_checkpoint_that_lies_is_named(damaged, change, words):
    run = Run.load(damaged)
    tensors, about = run.read(CHECKPOINT)
    change(tensors, about)
    run.write(CHECKPOINT, tensors, about)
    with pytest.raises(RunError, match=words):
        Trainer.resume(damaged)


@pytest.mark.parametrize("line", [b"junk", b"3", b'{"a": 1}', b'{"step": "x"}', b"\xff"])
def test_a_damaged_log_is_named(damaged, line):
    with (damaged / METRICS).open("ab") as file:
        file.write(line + b"\n")
    with pytest.raises(RunError, match=r"metrics.jsonl is damaged"):
        Trainer.resume(damaged)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c.update(format=True), "format True"),
        (lambda c: c.update(task="caption"), "is a run of caption, not of language"),
        (lambda c: c.update(corpus={}), "the corpus lacks"),
        (lambda c: c["corpus"].update(name=3), "name: '3' is not a string"),
        (lambda c: c["training"].update(steps=20.5), r"--steps 20\.5"),
        (lambda c: c["training"].update(steps="many"), "the training"),
        (lambda c: c["model"].update(hidden=10**12), "--hidden 1000000000000"),
        (lambda c: c["model"].update(dropout="x"), "--dropout x"),
        (lambda c: c.update(tokenizer_sha256="0"), r"tokenizer.json was changed"),
    ],
)
def test_a_configuration_that_lies_is_named(damaged, change, words):
    config = json.loads((damaged / CONFIG).read_text())
    change(config)
    (damaged / CONFIG).write_text(json.dumps(config))
    with pytest.raises(RunError, match=words):
        Run.load(damaged)


def test_a_damaged_run_is_named(damaged):
    data = (damaged / WEIGHTS).read_bytes()
    (damaged / WEIGHTS).write_bytes(data[:100])
    with pytest.raises(RunError, match=r"weights.safetensors is damaged"):
        Run.load(damaged).network()
    (damaged / WEIGHTS).unlink()
    with pytest.raises(RunError, match=r"weights.safetensors is missing"):
        Run.load(damaged).network()
    for content, words in ((b"{", "is not JSON"), (b'{"format": 7}', "format 7; this edgernn reads format 1")):
        (damaged / CONFIG).write_bytes(content)
        with pytest.raises(RunError, match=words):
            Run.load(damaged)
    with pytest.raises(RunError, match="is not a run"):
        Run.load(damaged / "nowhere")


def test_a_run_holds_no_pickle(trained):
    for name in (WEIGHTS, CHECKPOINT):
        assert safetensors.torch.load((trained / name).read_bytes())


def test_the_score_is_the_mean_loss_of_one_stream():
    torch.manual_seed(0)
    text = "hello world, " * 90
    tokenizer = Tokenizer.characters(text)
    model = LanguageModel(LanguageConfig(len(tokenizer), embedding=4, hidden=8))  # in training mode, with dropout
    score = evaluate(model, tokenizer, text + "é")
    assert model.training
    ids = torch.from_numpy(tokenizer.encode(text + "é", strict=False))
    model.eval()
    with torch.no_grad():
        logits, _ = model.sequence(ids[:-1, None], model.initial_state(1))
    expected = torch.nn.functional.cross_entropy(logits[:, 0].double(), ids[1:], reduction="sum").item()
    assert score.nats == pytest.approx(expected, rel=1e-6)
    assert (score.tokens, score.chars, score.unknown) == (len(ids) - 1, len(text), 1)
    lanes = score_tokens(model, TokenArray(ids.numpy()), len(text), 0, lanes=2)
    assert lanes.unknown == 1
    assert lanes.nats_per_char == pytest.approx(score.nats_per_char, abs=0.02)
    with pytest.raises(CorpusError, match="fewer than two tokens"):
        evaluate(model, tokenizer, "h")


@pytest.mark.slow
def test_an_interrupted_training_says_how_to_resume(corpus, tmp_path):
    path = tmp_path / "run"
    options = ["--hidden", "16", "--chunk", "16", "--lanes", "2", "--minutes", "5", "--evaluations", "500"]
    command = [sys.executable, "-m", "edgernn", "train", "language", str(corpus), "--out", str(path), *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not ((path / METRICS).exists() and (path / METRICS).read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    output, talk = process.communicate(timeout=60)
    assert process.returncode == 130
    assert output == ""
    assert f"to go on: edgernn train language --resume {path}" in talk
    assert "Traceback" not in talk
    step = int(talk.split("stopped at step ")[1].split(";")[0].replace(",", ""))
    trainer = Trainer.resume(path)
    assert trainer.step == step > json.loads((path / METRICS).read_text().splitlines()[-1])["step"] - 1
    assert np.isfinite(next(trainer.fit()).nats)
