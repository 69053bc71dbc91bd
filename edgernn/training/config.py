"""How a language model is trained."""

from __future__ import annotations

from dataclasses import dataclass

from edgernn.training.schedule import Schedule

__all__ = ["TrainingConfig"]

OPTIMIZERS = ("muon", "adamw")


@dataclass(frozen=True, kw_only=True)
class TrainingConfig(Schedule):
    """Settings of one training; the names are those of the command line's options.

    lanes, chunk: parallel readers of the text, and tokens between two detachments of the carried state.
    reset: probability that a lane forgets its state at a chunk, so that the model learns to begin.
    optimizer: "muon" for the matrices of recurrent layers and AdamW for the rest, or "adamw" for all.
    weight_decay: of the matrices of recurrent layers, as a part of the learning rate.
    """

    lanes: int = 32
    chunk: int = 128
    reset: float = 0.02
    passes: float | None = 24.0
    optimizer: str = "muon"
    learning_rate: float = 6e-3
    warmup: float = 0.1
    weight_decay: float = 0.16
    evaluations: int = 24

    def __post_init__(self) -> None:
        super().__post_init__()
        self._counts("lanes", "chunk")
        self._hold(["reset"], lambda value: 0 <= value <= 1, "within 0..1")
        self._choices("optimizer", OPTIMIZERS)
