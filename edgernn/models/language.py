"""A language model: embedding, recurrent stack, projection to the vocabulary."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor, nn

from edgernn import records
from edgernn.contract import BATCH, GraphSpec, TensorSpec
from edgernn.errors import ConfigError
from edgernn.models.base import Graph, Network
from edgernn.models.cells import CELLS
from edgernn.models.stack import RecurrentStack, StackState

__all__ = ["LanguageConfig", "LanguageModel"]

_LARGEST = 1_000_000


@dataclass(frozen=True)
class LanguageConfig:
    """The shape of a language model; the names are those of the command line's options."""

    vocabulary: int
    cell: str = "lstm"
    embedding: int = 128
    hidden: int = 256
    layers: int = 2
    dropout: float = 0.3

    def __post_init__(self) -> None:
        if self.cell not in CELLS:
            raise ConfigError(f"--cell {self.cell}: there is {', '.join(CELLS)}")
        for option in ("vocabulary", "embedding", "hidden", "layers"):
            size = getattr(self, option)
            if type(size) is not int or not 1 <= size <= _LARGEST:
                raise ConfigError(f"--{option} {str(size)[:40]} is not a size from 1 to {_LARGEST:,}")
        if not isinstance(self.dropout, int | float) or not 0 <= self.dropout < 1:
            raise ConfigError(f"--dropout {self.dropout} is outside 0..1")

    @classmethod
    def of(cls, vocabulary: int, **settings: Any) -> LanguageConfig:
        """The default shape but for these settings. Raises ConfigError for one that does not exist."""
        if unknown := sorted(settings.keys() - cls.__dataclass_fields__.keys()):
            raise ConfigError(f"there is no model setting {unknown[0]!r}")
        return cls(vocabulary, **settings)

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Any) -> LanguageConfig:
        """Read what `to_json` wrote. Raises FormatError or ConfigError for anything else."""
        return records.construct(cls, value, "the model")


class LanguageModel(Network):
    """Predicts the next token. `forward` is the step that is deployed, `sequence` the path that is trained."""

    task = "language"

    def __init__(self, config: LanguageConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocabulary, config.embedding)
        self.stack = RecurrentStack(config.cell, config.embedding, config.hidden, config.layers, dropout=config.dropout)
        self.dropout = nn.Dropout(config.dropout)
        self.output = nn.Linear(config.hidden, config.vocabulary)

    def initial_state(self, batch: int) -> StackState:
        """The state before the first token, a tensor (layers, batch, hidden) for each of the cell's states."""
        return self.stack.initial_state(batch)

    def forward(self, token: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """Logits (batch, vocabulary) and the next state from token (batch,), in primitives."""
        x, carried = self.stack.step(self.embedding(token), state)
        return (self.output(x), *carried)

    def sequence(self, tokens: Tensor, state: StackState) -> tuple[Tensor, StackState]:
        """Logits (time, batch, vocabulary) and the last state from tokens (time, batch), by the fused path."""
        x = self.dropout(self.embedding(tokens))
        x, carried = self.stack.sequence(x, state)
        return self.output(self.dropout(x)), carried

    def graphs(self) -> tuple[Graph, ...]:
        """One graph, `step`: token to logits."""
        vocabulary = self.config.vocabulary
        spec = GraphSpec(
            name="step",
            inputs=(TensorSpec("token", "int64", (BATCH,), bound=vocabulary),),
            outputs=(TensorSpec("logits", "float32", (BATCH, vocabulary)),),
            states=self.stack.state_specs(),
        )
        return (Graph(spec, module=self, source=_OneStepSequence(self)),)


class _OneStepSequence(nn.Module):
    """The trained path driven like the step: sequences of one token."""

    def __init__(self, model: LanguageModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, token: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        logits, carried = self.model.sequence(token.unsqueeze(0), state)
        return (logits.squeeze(0), *carried)
