"""Trained runs that the host tests share."""

import os
from pathlib import Path

import pytest
import torch
from conversions import read_operators_once
from gallery import FEW, SMALL, write_gallery

from edgernn.tasks import TASKS
from edgernn.training import Trainer

# Networks as small as these are slower with several threads, and much slower where others want the processor too.
torch.set_num_threads(1)
os.environ.setdefault("OMP_NUM_THREADS", "1")  # of processes that tests start

TEXT = "the quick brown fox jumps over the lazy dog.\n" * 60


@pytest.fixture(scope="session", autouse=True)
def _operators_read_once():
    with read_operators_once():
        yield


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("corpus") / "fox.txt"
    path.write_text(TEXT, encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def small():
    """Settings of a language model that trains in a second."""
    model = {"embedding": 8, "hidden": 24, "layers": 2, "dropout": 0.1}
    training = {"batch_size": 4, "bptt": 16, "steps": 60, "evaluations": 3, "learning_rate": 0.02, "autocast": "off"}
    return {**model, **training}


@pytest.fixture(scope="session")
def trained(corpus: Path, small, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "fox"
    for _ in Trainer.begin(TASKS["language"], [str(corpus)], path, **small).fit():
        pass
    return path


@pytest.fixture(scope="session")
def gallery(tmp_path_factory: pytest.TempPathFactory):
    """A folder with images and the run of a captioner, its trainer, and what happened in its training."""
    folder = tmp_path_factory.mktemp("captions")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGERNN_CACHE", str(folder / "cache"))
        data = write_gallery(folder)
        trainer = Trainer.begin(TASKS["caption"], [str(data)], folder / "run", **SMALL, **FEW)
        yield folder, trainer, list(trainer.fit())
