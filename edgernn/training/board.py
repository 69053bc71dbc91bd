"""Write the figures of a training to TensorBoard."""

from __future__ import annotations

from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from edgernn.training.events import Evaluated, Stepped

__all__ = ["TensorBoardLogger"]


class TensorBoardLogger:
    """Writes the event files of one training to a directory, for `tensorboard --logdir`."""

    def __init__(self, directory: Path, step: int, unit: str) -> None:
        """Log from `step` on; events of later steps, from before a resume, are removed from the directory.

        unit: what rates count, in the plural.
        """
        self._writer = SummaryWriter(str(directory), purge_step=step + 1)
        self._unit = unit

    def log(self, event: Stepped | Evaluated) -> None:
        """Log one event of `Trainer.fit`."""
        if isinstance(event, Stepped):
            figures = {**event.figures, "learning_rate": event.learning_rate, f"{self._unit}_per_second": event.rate}
            for name, value in figures.items():
                self._writer.add_scalar(f"training/{name}", value, event.step)
        else:
            for name, value in event.score.figures.items():
                self._writer.add_scalar(f"held-out/{name}", value, event.step)
            for name, text in event.samples.items():
                self._writer.add_text(name, text, event.step)

    def close(self) -> None:
        """Write buffered events and close the files."""
        self._writer.close()
