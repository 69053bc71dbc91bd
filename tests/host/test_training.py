import json
import math
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import safetensors.torch
import torch

from edgernn.errors import ConfigError, CorpusError, OutputExistsError, RunError, TrainingError
from edgernn.models import LanguageConfig, LanguageModel
from edgernn.tokenizer import Tokenizer
from edgernn.training import Evaluated, Run, Trainer, TrainingConfig, evaluate
from edgernn.training.evaluation import HeldOut
from edgernn.training.run import CHECKPOINT, CONFIG, METRICS, WEIGHTS


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
    assert {path.name for path in trained.iterdir()} == {CHECKPOINT, CONFIG, METRICS, "tokenizer.json", WEIGHTS}


def test_equal_seeds_give_equal_weights(trained, corpus, small, tmp_path):
    fit(Trainer.begin(str(corpus), tmp_path / "again", **small))
    assert (tmp_path / "again" / WEIGHTS).read_bytes() == (trained / WEIGHTS).read_bytes()
    other = {**small, "training": {**small["training"], "seed": 1}}
    fit(Trainer.begin(str(corpus), tmp_path / "other", **other))
    assert (tmp_path / "other" / WEIGHTS).read_bytes() != (trained / WEIGHTS).read_bytes()


@pytest.mark.parametrize("until", [1, 19, 20, 33, 59])
def test_a_resumed_run_is_one_never_interrupted(trained, corpus, small, tmp_path, until):
    path = tmp_path / "run"
    fit(Trainer.begin(str(corpus), path, **small), until)
    torch.manual_seed(1234)  # whatever happened in between
    fit(Trainer.resume(path))
    assert (path / WEIGHTS).read_bytes() == (trained / WEIGHTS).read_bytes()
    assert without_times(path) == without_times(trained)


def test_resuming_a_finished_run_changes_nothing(trained):
    before = weights(trained)
    trainer = Trainer.resume(trained)
    assert list(trainer.fit()) == []
    assert weights(trained) == before
    assert trainer.step == 60


def test_no_gradient_and_no_memory_flow_from_chunk_to_chunk(corpus, small, tmp_path):
    trainer = Trainer.begin(str(corpus), tmp_path / "run", **small)
    states = []
    for event in trainer.fit():
        if not isinstance(event, Evaluated):
            states.append(trainer._state)
            assert all(not s.requires_grad and s.grad_fn is None for s in states[-1])
        if event.step == 3:
            break
    assert all(float(s.abs().sum()) > 0 for s in states[-1])  # and yet it is carried


def test_the_best_weights_are_kept(corpus, small, tmp_path):
    bad = {**small, "training": {**small["training"], "learning_rate": 3.0, "evaluations": 6}}
    trainer = Trainer.begin(str(corpus), tmp_path / "run", **bad)
    scores = [event for event in trainer.fit() if isinstance(event, Evaluated)]
    best = min(scores, key=lambda each: each.score.nats_per_char)
    tensors, about = Run.load(tmp_path / "run").read(WEIGHTS)
    assert about["step"] == best.step
    assert about["nats_per_char"] == best.score.nats_per_char == trainer.best
    assert tensors.keys() == trainer.model.state_dict().keys()


def test_a_limit_in_minutes_ends_in_time(corpus, small, tmp_path):
    limited = {key: value for key, value in small["training"].items() if key != "steps"}
    trainer = Trainer.begin(str(corpus), tmp_path / "run", model=small["model"], training={**limited, "minutes": 0.02})
    begun = time.perf_counter()
    events = list(trainer.fit())
    assert isinstance(events[-1], Evaluated)
    assert 1.2 <= trainer.seconds <= time.perf_counter() - begun
    assert events[-1].progress == 1


def test_a_loss_that_is_no_number_stops_and_keeps_the_checkpoint(corpus, small, tmp_path):
    path = tmp_path / "run"
    trainer = Trainer.begin(str(corpus), path, **small)
    events = trainer.fit()
    while not isinstance(next(events), Evaluated):
        pass
    before = weights(path)
    with torch.no_grad():
        trainer.model.output.bias[0] = math.nan
    with pytest.raises(TrainingError, match=r"the loss is nan at step 21; .* try a smaller --learning-rate"):
        next(events)
    assert weights(path) == before
    assert Trainer.resume(path).step == 20


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"steps": 1, "minutes": 1.0}, "not by 2 of them"),
        ({"lanes": 0}, "--lanes 0 is not at least 1"),
        ({"steps": 0}, "--steps 0 is not above 0"),
        ({"minutes": math.nan}, "--minutes nan"),
        ({"learning_rate": 0}, "--learning-rate 0"),
        ({"warmup": 1}, "--warmup 1"),
        ({"clip": 0}, "--clip 0"),
        ({"seed": -1}, "--seed -1"),
    ],
)
def test_impossible_settings_are_named(settings, words):
    with pytest.raises(ConfigError, match=words):
        TrainingConfig.of(**settings)


def test_the_learning_rate_is_one_cycle():
    config = TrainingConfig.of(steps=10, learning_rate=1.0, warmup=0.25)
    rates = [config.learning_rate_at(progress / 100) for progress in range(101)]
    assert rates[25] == max(rates) == 1.0
    assert rates[:26] == sorted(rates[:26])
    assert rates[25:] == sorted(rates[25:], reverse=True)
    assert rates[0] == pytest.approx(0.04)
    assert rates[100] == pytest.approx(0.001)
    assert TrainingConfig.from_json(config.to_json()) == config


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_start_that_fails_leaves_the_old_run(trained, tmp_path, small, overwrite):
    before = {path.name: path.read_bytes() for path in trained.iterdir()}
    short = tmp_path / "short.txt"
    short.write_text("abcdefghijkl")
    error = CorpusError if overwrite else OutputExistsError
    with pytest.raises(error):
        Trainer.begin(str(short), trained, **small, overwrite=overwrite)
    assert {path.name: path.read_bytes() for path in trained.iterdir()} == before


def test_a_run_goes_on_with_its_own_text_only(small, tmp_path):
    text = tmp_path / "t.txt"
    text.write_text("some text " * 100)
    fit(Trainer.begin(str(text), tmp_path / "run", **small), 1)
    text.write_text("some test " * 100)
    with pytest.raises(RunError, match=r"t.txt has changed since"):
        Trainer.resume(tmp_path / "run")


@pytest.fixture
def damaged(trained, tmp_path):
    import shutil

    return shutil.copytree(trained, tmp_path / "run")


def test_a_checkpoint_of_another_shape_is_named(damaged):
    config = json.loads((damaged / CONFIG).read_text())
    config["model"]["hidden"] = 25
    (damaged / CONFIG).write_text(json.dumps(config))
    for read in (lambda: Run.load(damaged).network(), lambda: Trainer.resume(damaged)):
        with pytest.raises(RunError, match=r"does not fit .*: output.weight is \[\d+, 24\], not \[\d+, 25\]"):
            read()
    config["model"]["layers"] = 1
    (damaged / CONFIG).write_text(json.dumps(config))
    with pytest.raises(RunError, match=r"stack.layers.1.bias is in one and not in the other"):
        Run.load(damaged).network()


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
    lanes = HeldOut(tokenizer, text + "é").score(model, lanes=2)
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
    trainer = Trainer.resume(path)
    assert trainer.step > 0
    assert np.isfinite(next(trainer.fit()).nats)
