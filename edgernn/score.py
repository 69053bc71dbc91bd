"""The score of a model on a text."""

from __future__ import annotations

import math
from dataclasses import dataclass

from edgernn.errors import CheckFailedError, counted

__all__ = ["Score"]


@dataclass(frozen=True)
class Score:
    """The negative log-likelihood of a text in nats, over its predicted tokens and the characters that they spell.

    unknown: the number of tokens that stand for characters outside the vocabulary.
    Raises CheckFailedError if the nats are not a number.
    """

    nats: float
    tokens: int
    chars: int
    unknown: int = 0

    def __post_init__(self) -> None:
        if not math.isfinite(self.nats):
            raise CheckFailedError(f"the loss of the text is {self.nats}: the model's logits are not numbers")

    @property
    def nats_per_char(self) -> float:
        """Nats per character, which can be compared between tokenizers."""
        return self.nats / self.chars

    @property
    def bits_per_char(self) -> float:
        """Bits per character."""
        return self.nats_per_char / math.log(2)

    @property
    def perplexity(self) -> float:
        """Perplexity per token."""
        return math.exp(min(self.nats / self.tokens, 700.0))

    @property
    def figures(self) -> dict[str, float]:
        """The figures to log, by name."""
        return {"nats_per_char": self.nats_per_char}

    def __str__(self) -> str:
        """Return the figures in words."""
        return (
            f"{self.nats_per_char:.4f} nats per character ({self.bits_per_char:.3f} bits), "
            f"perplexity {self.perplexity:.2f} per token, over {counted(self.chars, 'character')}"
        )

    def to_json(self) -> dict[str, float | int]:
        """Return the figures as `evaluate --json` prints them."""
        return {
            "nats_per_char": self.nats_per_char,
            "bits_per_char": self.bits_per_char,
            "perplexity": self.perplexity,
            "chars": self.chars,
            "tokens": self.tokens,
            "unknown": self.unknown,
        }
