"""A language model: embedding, recurrent stack, projection to the vocabulary."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from edgernn import records
from edgernn.contract import BATCH, GraphSpec, TensorSpec
from edgernn.errors import ConfigError
from edgernn.models.base import Graph, Network
from edgernn.models.cells import CELLS
from edgernn.models.stack import INITIALS, RecurrentStack, StackState

__all__ = ["LanguageConfig", "LanguageModel"]

INPUTS = ("embedding", "one-hot")
_LARGEST = 1_000_000


@dataclass(frozen=True)
class LanguageConfig:
    """The shape of a language model; the names are those of the command line's options.

    input: "embedding" of size `embedding`, or "one-hot", and then `embedding` is None.
    tied: the output uses the embedding's weights (Press and Wolf 2017), through a projection where sizes differ.
    residual, initial: see RecurrentStack.
    """

    vocabulary: int
    cell: str = "lstm"
    input: str = "embedding"
    embedding: int | None = 128
    hidden: int = 256
    layers: int = 2
    dropout: float = 0.3
    residual: bool = False
    initial: str = "zeros"
    tied: bool = False

    def __post_init__(self) -> None:
        for option, choices in (("cell", CELLS), ("input", INPUTS), ("initial", INITIALS)):
            if getattr(self, option) not in tuple(choices):
                raise ConfigError(f"--{option} {str(getattr(self, option))[:40]}: there is {', '.join(choices)}")
        if self.input == "one-hot" and self.embedding is not None:
            raise ConfigError("--input one-hot has no --embedding: leave one of them out")
        if self.input == "one-hot" and self.tied:
            raise ConfigError("--tied needs the weights of an embedding, and --input one-hot has none")
        for option in ("vocabulary", "hidden", "layers", *(["embedding"] if self.input == "embedding" else [])):
            size = getattr(self, option)
            if type(size) is not int or not 1 <= size <= _LARGEST:
                raise ConfigError(f"--{option} {str(size)[:40]} is not a size from 1 to {_LARGEST:,}")
        if not isinstance(self.dropout, int | float) or not 0 <= self.dropout < 1:
            raise ConfigError(f"--dropout {self.dropout} is not at least 0 and below 1")
        if self.residual and self.layers == 1:
            raise ConfigError("--residual adds up layers from the second on, and --layers is 1")

    @classmethod
    def of(cls, vocabulary: int, **settings: Any) -> LanguageConfig:
        """The default shape but for these settings. Raises ConfigError for one that does not exist."""
        if unknown := sorted(settings.keys() - cls.__dataclass_fields__.keys()):
            raise ConfigError(f"there is no model setting {unknown[0]!r}")
        if settings.get("input") == "one-hot":
            settings = {"embedding": None, **settings}
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
        width = config.vocabulary if config.embedding is None else config.embedding
        self.embedding = None if config.embedding is None else nn.Embedding(config.vocabulary, config.embedding)
        self.stack = RecurrentStack(
            config.cell,
            width,
            config.hidden,
            config.layers,
            dropout=config.dropout,
            residual=config.residual,
            initial=config.initial,
        )
        self.dropout = nn.Dropout(config.dropout)
        if self.embedding is not None and config.tied:
            nn.init.normal_(self.embedding.weight, std=width**-0.5)  # or the logits would start far too large
            self.project = nn.Linear(config.hidden, width, bias=False) if config.hidden != width else nn.Identity()
            self.bias = nn.Parameter(torch.zeros(config.vocabulary))
        else:
            self.output = nn.Linear(config.hidden, config.vocabulary)

    def initial_state(self, batch: int) -> StackState:
        """The state before the first token, a tensor (layers, batch, hidden) for each of the cell's states."""
        return self.stack.initial_state(batch)

    def forward(self, token: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """Logits (batch, vocabulary) and the next state from token (batch,), in primitives."""
        x, carried = self.stack.step(self._input(token), state)
        return (self._logits(x), *carried)

    def sequence(self, tokens: Tensor, state: StackState) -> tuple[Tensor, StackState]:
        """Logits (time, batch, vocabulary) and the last state from tokens (time, batch), by the fused path."""
        x = self.dropout(self._input(tokens))
        x, carried = self.stack.sequence(x, state)
        return self._logits(self.dropout(x)), carried

    def graphs(self) -> tuple[Graph, ...]:
        """One graph, `step`: token to logits."""
        vocabulary = self.config.vocabulary
        spec = GraphSpec(
            name="step",
            inputs=(TensorSpec("token", "int64", (BATCH,), bound=vocabulary, kind="token"),),
            outputs=(TensorSpec("logits", "float32", (BATCH, vocabulary), kind="next-token"),),
            states=self.stack.state_specs(),
        )
        return (Graph(spec, module=self, source=_OneStepSequence(self), tensors=self.stack.initial_files()),)

    def _input(self, tokens: Tensor) -> Tensor:
        if self.embedding is None:
            return nn.functional.one_hot(tokens, self.config.vocabulary).to(torch.float32)
        return cast(Tensor, self.embedding(tokens))

    def _logits(self, x: Tensor) -> Tensor:
        if self.embedding is not None and self.config.tied:
            return nn.functional.linear(self.project(x), self.embedding.weight, self.bias)
        return cast(Tensor, self.output(x))


class _OneStepSequence(nn.Module):
    """The trained path driven like the step: sequences of one token."""

    def __init__(self, model: LanguageModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, token: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        logits, carried = self.model.sequence(token.unsqueeze(0), state)
        return (logits.squeeze(0), *carried)
