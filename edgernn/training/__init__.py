"""Training: one loop for every task, and the run directories that it writes."""

from edgernn.training.run import Run
from edgernn.training.trainer import Evaluated, Stepped, Trainer

__all__ = ["Evaluated", "Run", "Stepped", "Trainer"]
