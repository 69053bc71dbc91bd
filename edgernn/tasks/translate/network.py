"""A translator: a recurrent encoder reads a sentence token by token, and a recurrent decoder writes its translation.

Each has its own weights, and the encoder's last state is the decoder's first one (Sutskever et al. 2014). With
attention, each word also depends on the outputs of the encoder that the decoder attends to, weighted by a layer of tanh
units (Bahdanau et al. 2015) or by scaled dot products, after the first recurrent layer (Luong et al. 2015). Without it,
the encoder's last output is an input of every step of the decoder (Cho et al. 2014). The encoder is unidirectional, so
that it can read a sentence that arrives piece by piece.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from edgernn.contract import BATCH, ConditionSpec, FromGraph, FromSteps, GraphSpec, StateSpec, TensorSpec
from edgernn.errors import ConfigError
from edgernn.models.base import Graph, Network
from edgernn.models.stack import RecurrentStack, StackState
from edgernn.tasks.translate.settings import READ, STEP, TranslateConfig

__all__ = ["Decoder", "Encoder", "Memory", "Translator"]

SOURCE = "source"  # the name of the input of `read`, and of the axis of its steps
_FAR = 1e4  # is subtracted from the scores of padding, whose weights are then 0, at fp16 too


@dataclass(frozen=True)
class Memory:
    """What the decoder knows of a batch of sentences.

    With attention, the conditions of its steps: outputs (batch, source, hidden) of the encoder, keys (batch, source,
    embedding), and a mask (batch, source, 1), which is 1 where a token was read and 0 where there is padding. Without
    attention, the encoder's last output (batch, hidden). state: the encoder's last state.
    """

    conditions: tuple[Tensor, ...]
    state: StackState

    @classmethod
    def join(cls, parts: Sequence[Memory]) -> Memory:
        """Join batches of sentences; shorter ones are padded with zeros."""
        conditions = [_joined(each) for each in zip(*(part.conditions for part in parts), strict=True)]
        states = [torch.cat(each, dim=1) for each in zip(*(part.state for part in parts), strict=True)]
        return cls(tuple(conditions), tuple(states))

    def take(self, rows: Tensor) -> Memory:
        """Return the sentences `rows`, in that order; a row may be repeated."""
        return Memory(tuple(each[rows] for each in self.conditions), tuple(each[:, rows] for each in self.state))


def _joined(parts: Sequence[Tensor]) -> Tensor:
    longest = max(part.shape[1] for part in parts)
    padding = [(0, 0) * (part.ndim - 2) + (0, longest - part.shape[1]) for part in parts]
    return torch.cat([nn.functional.pad(part, widths) for part, widths in zip(parts, padding, strict=True)])


class Translator(Network):
    """Translates a sentence: `encoder` takes a step for each token that is read, `decoder` for each that is written."""

    task = "translate"

    def __init__(self, config: TranslateConfig) -> None:
        super().__init__()
        if not (config.source_vocabulary and config.vocabulary):
            raise ConfigError("a translator needs the size of its vocabulary")
        self.config = config
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)

    def graphs(self) -> tuple[Graph, ...]:
        """Return two graphs: `read`, from a token to what the decoder attends to, and `step`, from token to logits."""
        config, encoder, decoder = self.config, self.encoder, self.decoder
        token = TensorSpec("token", "int64", (BATCH,), bound=config.vocabulary, kind="token")
        source = replace(token, name=SOURCE, bound=config.source_vocabulary)
        made = encoder.output_specs()
        read = GraphSpec(READ, (source,), made, states=encoder.state_specs())
        logits = TensorSpec("logits", "float32", (BATCH, config.vocabulary), kind="next-token")
        attention = TensorSpec("attention", "float32", (BATCH, SOURCE), bound=1.0, kind="alignment")
        step = GraphSpec(
            STEP,
            inputs=(token,),
            outputs=(logits, attention) if decoder.attends else (logits,),
            states=tuple(
                replace(ours, initial=FromGraph(READ, theirs.output))
                for ours, theirs in zip(decoder.state_specs(), read.states, strict=True)
            ),
            conditions=tuple(decoder.condition(each) for each in made),
        )
        return Graph(read, encoder, _OneTokenRead(encoder)), Graph(step, decoder, _OneTokenStep(decoder))


class _Stacks(nn.Module):
    """The embeddings and recurrent layers of encoder or decoder: `stack`, and `above`, which is above the attention."""

    def __init__(self, config: TranslateConfig, vocabulary: int, input_size: int, above_size: int) -> None:
        super().__init__()
        self.config, hidden = config, config.hidden
        self.attends = config.attention != "none"
        beneath = 1 if self.attends else config.layers
        stack = partial(RecurrentStack, config.cell, dropout=config.dropout, layer_norm=config.layer_norm)
        self.stack = stack(input_size, hidden, beneath)
        self.above: RecurrentStack | None = None
        if config.layers > beneath:
            self.above = stack(above_size, hidden, config.layers - beneath, prefix="above_")
        self.embedding = nn.Embedding(vocabulary, config.embedding)
        nn.init.normal_(self.embedding.weight, std=config.embedding**-0.5)
        self.dropout = nn.Dropout(config.dropout)

    @property
    def _stacks(self) -> tuple[RecurrentStack, ...]:
        return (self.stack,) if self.above is None else (self.stack, self.above)

    def state_specs(self) -> tuple[StateSpec, ...]:
        """Return the specifications of the states."""
        return tuple(spec for stack in self._stacks for spec in stack.state_specs())

    def embed(self, tokens: Tensor) -> Tensor:
        """Return the embeddings of tokens, scaled to a variance of about 1, with which the layers learn much faster."""
        embedded: Tensor = self.embedding(tokens)
        return embedded * math.sqrt(self.config.embedding)

    def initial_state(self, batch: int) -> StackState:
        """Return zeros for `batch` sentences."""
        return tuple(tensor for stack in self._stacks for tensor in stack.initial_state(batch))

    def _parted(self, state: Sequence[Tensor]) -> tuple[StackState, StackState]:
        """Split the states into those of `stack` and those of `above`."""
        count = len(self.stack.states)
        return tuple(state[:count]), tuple(state[count:])


class Encoder(_Stacks):
    """Reads a sentence: `forward` is the deployed step, `sequence` the path for training."""

    def __init__(self, config: TranslateConfig) -> None:
        super().__init__(config, config.source_vocabulary, config.embedding, config.hidden)
        self.key = nn.Linear(config.hidden, config.embedding) if self.attends else None

    def output_specs(self) -> tuple[TensorSpec, ...]:
        """Return the specifications of the outputs of one step."""
        config = self.config
        memory = TensorSpec("memory", "float32", (BATCH, config.hidden), bound=self.stack.bounds[0])
        if not self.attends:
            return (memory,)
        return (
            memory,
            TensorSpec("keys", "float32", (BATCH, config.embedding)),
            TensorSpec("mask", "float32", (BATCH, 1), 1.0),
        )

    def forward(self, source: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """Return the outputs of one step, from tokens (batch,), and the next state."""
        beneath, above = self._parted(state)
        x, carried = self.stack.step(self.embed(source), beneath)
        if self.above is not None:
            x, more = self.above.step(x, above)
            carried = (*carried, *more)
        return (*self._outputs(x), *carried)

    def sequence(self, tokens: Tensor, state: StackState) -> tuple[tuple[Tensor, ...], StackState]:
        """Return the outputs of all steps, (batch, time, ...), and the last state. tokens: (batch, time)."""
        beneath, above = self._parted(state)
        x, carried = self.stack.sequence(self.dropout(self.embed(tokens)).transpose(0, 1), beneath)
        if self.above is not None:
            x, more = self.above.sequence(self.dropout(x), above)
            carried = (*carried, *more)
        return self._outputs(self.dropout(x.transpose(0, 1))), carried

    def read(self, sentences: Sequence[Tensor]) -> Memory:
        """Return the memory of sentences, each (tokens,), of any lengths."""
        memories, rows = [], []
        lengths = [len(sentence) for sentence in sentences]
        for length in sorted(set(lengths)):
            group = [row for row, each in enumerate(lengths) if each == length]
            tokens = torch.stack([sentences[row] for row in group])
            outputs, state = self.sequence(tokens, self.initial_state(len(group)))
            memories.append(Memory(outputs if self.attends else (outputs[0][:, -1],), state))
            rows += group
        return Memory.join(memories).take(torch.tensor(rows, device=tokens.device).argsort())

    def _outputs(self, x: Tensor) -> tuple[Tensor, ...]:
        return (x,) if self.key is None else (x, self.key(x), torch.ones_like(x[..., :1]))


class Decoder(_Stacks):
    """Predicts the next token: `forward` is the deployed step, `sequence` the path for training."""

    def __init__(self, config: TranslateConfig) -> None:
        width, hidden = config.embedding, config.hidden
        attends = config.attention != "none"
        super().__init__(config, config.vocabulary, width if attends else width + hidden, 2 * hidden)
        if attends:
            self.query = nn.Linear(hidden, width)
        if config.attention == "additive":
            self.score = nn.Parameter(torch.empty(width).uniform_(-(width**-0.5), width**-0.5))
        self.join = nn.Linear(2 * hidden if attends else hidden, width)
        self.bias = nn.Parameter(torch.zeros(config.vocabulary))

    def condition(self, made: TensorSpec) -> ConditionSpec:
        """Return the condition of the steps that is the encoder's output `made`."""
        name, dtype, bound = made.name, made.dtype, made.bound
        if not self.attends:
            return ConditionSpec(name, dtype, made.axes, bound, source=FromGraph(READ, name))
        source, largest = FromSteps(READ, name, SOURCE), {SOURCE: self.config.longest}
        return ConditionSpec(name, dtype, (BATCH, SOURCE, *made.axes[1:]), bound, source=source, max_sizes=largest)

    def forward(self, token: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        """Return logits (batch, vocabulary), attention weights (batch, source) with attention, and the next state."""
        count = 3 if self.attends else 1
        conditions, state = rest[:count], rest[count:]
        beneath, above = self._parted(state)
        x = self.embed(token)
        if not self.attends:
            x, carried = self.stack.step(torch.cat([x, *conditions], dim=1), beneath)
            return (self.logits(x), *carried)
        memory, keys, mask = conditions
        x, carried = self.stack.step(x, beneath)
        # An axis of size 1 is kept, since XNNPACK adds none to a tensor with two free axes.
        scores = self._scores(self.query(x).unsqueeze(1), keys, keepdim=True)
        weights = torch.softmax(scores + (mask - 1) * _FAR, dim=1)
        found = (weights * memory).sum(dim=1)
        if self.above is not None:
            x, more = self.above.step(torch.cat([x, found], dim=1), above)
            carried = (*carried, *more)
        return (self.logits(torch.cat([x, found], dim=1)), weights.sum(dim=2), *carried)

    def sequence(self, tokens: Tensor, memory: Memory) -> tuple[Tensor, Tensor | None, StackState]:
        """Return the inputs of `logits` (batch, time, size), attention weights (batch, time, source), the last state.

        tokens: (batch, time). memory: of the sentences, with the state before the first token.
        """
        x = self.dropout(self.embed(tokens))
        beneath, above = self._parted(memory.state)
        if not self.attends:
            (last,) = memory.conditions
            x = torch.cat([x, last[:, None].expand(-1, tokens.shape[1], -1)], dim=2)
            x, carried = self.stack.sequence(x.transpose(0, 1), beneath)
            return self.dropout(x.transpose(0, 1)), None, carried
        values, keys, mask = memory.conditions
        x, carried = self.stack.sequence(x.transpose(0, 1), beneath)
        x = self.dropout(x.transpose(0, 1))
        scores = self._scores(self.query(x).unsqueeze(2), keys.unsqueeze(1))
        weights = torch.softmax(scores + (mask - 1).transpose(1, 2) * _FAR, dim=2)
        found = weights @ values
        if self.above is not None:
            y, more = self.above.sequence(torch.cat([x, found], dim=2).transpose(0, 1), above)
            x, carried = self.dropout(y.transpose(0, 1)), (*carried, *more)
        return torch.cat([x, found], dim=2), weights, carried

    def _scores(self, query: Tensor, keys: Tensor, *, keepdim: bool = False) -> Tensor:
        """Return scores (..., source) of queries (..., 1, size) and keys (..., source, size)."""
        if self.config.attention == "additive":
            return (torch.tanh(query + keys) * self.score).sum(dim=-1, keepdim=keepdim)
        return (query * keys).sum(dim=-1, keepdim=keepdim) / math.sqrt(self.config.embedding)

    def logits(self, x: Tensor) -> Tensor:
        """Return scores (..., vocabulary) of the next token."""
        return nn.functional.linear(self.dropout(torch.tanh(self.join(x))), self.embedding.weight, self.bias)


class _OneTokenRead(nn.Module):
    """The encoder's path for training as a step: it runs on sentences of one token."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, source: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        outputs, carried = self.encoder.sequence(source[:, None], state)
        return (*(each[:, 0] for each in outputs), *carried)


class _OneTokenStep(nn.Module):
    """The decoder's path for training as a step: it runs on sentences of one token."""

    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, token: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        count = 3 if self.decoder.attends else 1
        x, weights, carried = self.decoder.sequence(token[:, None], Memory(rest[:count], rest[count:]))
        attention = () if weights is None else (weights[:, 0],)
        return (self.decoder.logits(x[:, 0]), *attention, *carried)
