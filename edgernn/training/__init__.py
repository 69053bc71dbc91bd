"""Training: one loop for all tasks, and the run directories that it writes."""

from edgernn.training.events import Evaluated, Stepped
from edgernn.training.run import Run
from edgernn.training.trainer import Trainer

__all__ = ["Evaluated", "Run", "Stepped", "Trainer"]
