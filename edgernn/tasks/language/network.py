"""A language model: embedding, recurrent stack, projection to the vocabulary."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from edgernn.contract import BATCH, GraphSpec, TensorSpec
from edgernn.errors import ConfigError
from edgernn.models.base import Graph, Network
from edgernn.models.stack import RecurrentStack, StackState
from edgernn.tasks.language.settings import LanguageConfig

__all__ = ["LanguageModel"]


class LanguageModel(Network):
    """Predicts the next token. `forward` is the deployed step, `sequence` the path for training."""

    task = "language"

    def __init__(self, config: LanguageConfig) -> None:
        super().__init__()
        if not config.vocabulary:
            raise ConfigError("a language model needs the size of its vocabulary")
        self.config = config
        size = config.embedding_size
        width = config.vocabulary if size is None else size
        self.embedding = None if size is None else nn.Embedding(config.vocabulary, size)
        self.stack = RecurrentStack(
            config.cell,
            width,
            config.hidden,
            config.layers,
            dropout=config.dropout,
            residual=config.residual,
            initial=config.initial,
            layer_norm=config.layer_norm,
        )
        self.dropout = nn.Dropout(config.dropout)
        if self.embedding is not None and config.tied:
            nn.init.normal_(self.embedding.weight, std=width**-0.5)  # limits the size of the first logits
            self.project = nn.Linear(config.hidden, width, bias=False) if config.hidden != width else nn.Identity()
            self.bias = nn.Parameter(torch.zeros(config.vocabulary))
        else:
            self.output = nn.Linear(config.hidden, config.vocabulary)

    def set_dropout(self, probability: float) -> None:
        """Set the dropout probability after the embedding, between layers and before the output."""
        self.dropout.p = self.stack.dropout.p = probability

    def initial_state(self, batch: int) -> StackState:
        """Return the state before the first token: a tensor (layers, batch, hidden) for each of the cell's states."""
        return self.stack.initial_state(batch)

    def forward(self, token: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """Return logits (batch, vocabulary) and the next state from token (batch,), in primitive operations."""
        x, carried = self.stack.step(self._input(token), state)
        return (self._logits(x), *carried)

    def sequence(self, tokens: Tensor, state: StackState) -> tuple[Tensor, StackState]:
        """Return logits (time, batch, vocabulary) and the last state from tokens (time, batch), by the fused path."""
        x = self.dropout(self._input(tokens))
        x, carried = self.stack.sequence(x, state)
        return self._logits(self.dropout(x)), carried

    def graphs(self) -> tuple[Graph, ...]:
        """Return one graph, `step`: from token to logits."""
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
    """The path for training as a step: it runs on sequences of one token."""

    def __init__(self, model: LanguageModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, token: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        logits, carried = self.model.sequence(token.unsqueeze(0), state)
        return (logits.squeeze(0), *carried)
