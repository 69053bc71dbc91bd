"""The figures of a training as TensorBoard shows them."""

from __future__ import annotations

from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from edgernn.training.loop import Evaluated, Stepped

__all__ = ["TensorBoardLogger"]


class TensorBoardLogger:
    """Event files of one training in a directory of their own, which `tensorboard --logdir` shows."""

    def __init__(self, directory: Path, step: int) -> None:
        """Log from `step` on; what the directory holds of later steps, from before a resume, is struck out."""
        self._writer = SummaryWriter(str(directory), purge_step=step + 1)

    def log(self, event: Stepped | Evaluated) -> None:
        """Write down one event of `Trainer.fit`."""
        if isinstance(event, Stepped):
            self._writer.add_scalar("training/nats_per_token", event.nats, event.step)
            self._writer.add_scalar("training/learning_rate", event.learning_rate, event.step)
            self._writer.add_scalar("training/chars_per_second", event.chars_per_second, event.step)
        else:
            self._writer.add_scalar("held-out/nats_per_char", event.score.nats_per_char, event.step)
            self._writer.add_text("sample", event.sample, event.step)

    def close(self) -> None:
        """Write what is still held back."""
        self._writer.close()
