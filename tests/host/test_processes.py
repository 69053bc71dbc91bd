"""Two processes that train one network, as torchrun starts them."""

import json
import subprocess
import sys

import pytest
import safetensors.torch
import torch

from edgernn.errors import ConfigError
from edgernn.training.processes import ProcessGroup
from edgernn.training.run import METRICS, WEIGHTS

MODEL = ["--hidden", "12", "--embedding", "4", "--layers", "1", "--lanes", "4", "--chunk", "16", "--evaluations", "4"]
BEGIN = """
import sys
from pathlib import Path
from edgernn.training import Trainer
model, training = {"hidden": 12, "embedding": 4, "layers": 1}, {"lanes": 4, "chunk": 16, "evaluations": 4, "steps": 24}
trainer = Trainer.begin([sys.argv[1]], Path(sys.argv[2]), model=model, training=training)
for event in trainer.fit():
    if event.step == 9 and trainer.ranks.rank == 1:
        trainer.stop()
trainer.save()
assert trainer.stopped and trainer.step < 24, trainer.step
"""


def torchrun(*arguments):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", *arguments]
    return subprocess.run([str(each) for each in command], capture_output=True, text=True, timeout=300, check=False)


def train(corpus, out, *options, processes=2):
    command = ["-m", "edgernn", "train", "language", corpus, "--out", out, *MODEL, "--steps", "24", "--json", *options]
    if processes == 2:
        return torchrun(*command)
    command = [sys.executable, *map(str, command)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def losses(path):
    lines = [json.loads(line) for line in (path / METRICS).read_text().splitlines()]
    return [(line["step"], line["nats_per_char"], line["train_nats"]) for line in lines]


@pytest.mark.slow
def test_two_processes_train_what_one_does(corpus, tmp_path):
    """Without dropout the averaged gradients of two halves are those of the whole; one process writes and speaks."""
    exact = ["--dropout", "0", "--optimizer", "adamw", "--autocast", "off"]
    done = [train(corpus, tmp_path / str(n), *exact, processes=n) for n in (1, 2)]
    answers = []
    for each in done:
        assert each.returncode == 0, each.stderr
        (line,) = each.stdout.splitlines()
        answers.append(json.loads(line))
    assert answers[1]["steps"] == 24
    one, two = (safetensors.torch.load((tmp_path / n / WEIGHTS).read_bytes()) for n in "12")
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, atol=1e-4, rtol=1e-3)
    for ours, theirs in zip(losses(tmp_path / "1"), losses(tmp_path / "2"), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4)


@pytest.mark.slow
def test_two_processes_resume_exactly(corpus, tmp_path):
    assert train(corpus, tmp_path / "whole").returncode == 0
    (tmp_path / "begin.py").write_text(BEGIN)
    done = torchrun(tmp_path / "begin.py", corpus, tmp_path / "stopped")
    assert done.returncode == 0, done.stderr
    command = ["-m", "edgernn", "train", "language", "--resume", tmp_path / "stopped"]
    alone = [sys.executable, *map(str, command)]
    refused = subprocess.run(alone, capture_output=True, text=True, timeout=300, check=False)
    assert refused.returncode == 2
    assert "was written by 2 processes: go on with as many" in refused.stderr
    done = torchrun(*command)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "stopped" / WEIGHTS).read_bytes() == (tmp_path / "whole" / WEIGHTS).read_bytes()
    assert losses(tmp_path / "stopped") == losses(tmp_path / "whole")


def test_lanes_that_cannot_be_split_are_named():
    assert [ProcessGroup(rank, 2).share(6) for rank in (0, 1)] == [slice(0, 3), slice(3, 6)]
    with pytest.raises(ConfigError, match="5 lanes cannot be split evenly between 2 processes"):
        ProcessGroup(0, 2).share(5)
