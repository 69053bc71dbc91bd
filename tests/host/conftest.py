"""A trained run that the host tests share."""

from pathlib import Path

import pytest
from edgernn.training.captioning import CaptionTrainer
from gallery import ENCODER, FEW, SMALL, write_gallery

from edgernn.training import Trainer

TEXT = "the quick brown fox jumps over the lazy dog.\n" * 60


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("corpus") / "fox.txt"
    path.write_text(TEXT, encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def small():
    """Settings of a model that trains in a second."""
    return {
        "model": {"embedding": 8, "hidden": 24, "layers": 2, "dropout": 0.1},
        "training": {"lanes": 4, "chunk": 16, "steps": 60, "evaluations": 3, "learning_rate": 0.02, "autocast": "off"},
    }


@pytest.fixture(scope="session")
def trained(corpus: Path, small, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "fox"
    for _ in Trainer.begin([str(corpus)], path, **small).fit():
        pass
    return path


@pytest.fixture(scope="session")
def gallery(tmp_path_factory: pytest.TempPathFactory):
    """A folder with pictures and the run of a captioner, its trainer, and what happened in its training."""
    folder = tmp_path_factory.mktemp("captions")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGERNN_CACHE", str(folder / "cache"))
        data = write_gallery(folder)
        trainer = CaptionTrainer.begin(str(data), folder / "run", model=SMALL, encoder=ENCODER, training=FEW)
        yield folder, trainer, list(trainer.fit())
