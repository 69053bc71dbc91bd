"""Training: corpora, the loop, and the run directories that it writes."""

from edgernn.training.config import TrainingConfig
from edgernn.training.corpus import Corpus, open_corpus
from edgernn.training.evaluation import evaluate
from edgernn.training.loop import Evaluated, Stepped, Trainer
from edgernn.training.run import Run

__all__ = ["Corpus", "Evaluated", "Run", "Stepped", "Trainer", "TrainingConfig", "evaluate", "open_corpus"]
