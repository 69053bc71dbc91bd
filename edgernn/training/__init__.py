"""Training: corpora, the loop, and the run directories that it writes."""

from edgernn.data.corpus import Corpus, open_corpus
from edgernn.training.config import TrainingConfig
from edgernn.training.evaluation import evaluate
from edgernn.training.loop import Evaluated, Stepped, Trainer
from edgernn.training.presets import DEFAULT, PRESETS
from edgernn.training.run import Run
from edgernn.training.runs import load_run

__all__ = [
    "DEFAULT",
    "PRESETS",
    "Corpus",
    "Evaluated",
    "Run",
    "Stepped",
    "Trainer",
    "TrainingConfig",
    "evaluate",
    "load_run",
    "open_corpus",
]
