"""A captioner: a convolutional encoder runs once per image, and a recurrent decoder predicts the caption word by word.

The image vector v is an input of the recurrence at every step, beside the word: [x, v] W is W_x x + W_v v for each gate
of each cell (Vinyals et al. 2015, but at every step as in Karpathy and Fei-Fei 2015). With soft attention (Bahdanau et
al. 2015; after the recurrence, as in Luong et al. 2015 and Lu et al. 2017) each word also depends on the parts of the
image that the decoder attends to.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from edgernn.contract import BATCH, ConditionSpec, FromGraph, GraphSpec, StateSpec, TensorSpec
from edgernn.errors import ConfigError
from edgernn.models.base import Graph, Network
from edgernn.models.encoder import EncoderConfig, ImageEncoder
from edgernn.models.mobilenet import PADDINGS
from edgernn.models.stack import RecurrentStack, StackState
from edgernn.tasks.caption.settings import CaptionConfig

__all__ = ["Captioner", "Decoder", "ImageFeatures", "encoder_config"]

_TANH = 1.0  # the bound of tanh
ENCODE, STEP = "encode", "step"


def encoder_config(config: CaptionConfig) -> EncoderConfig:
    """Return the configuration of a captioner's encoder. Raises ConfigError for an impossible one."""
    return EncoderConfig(
        config.encoder,
        config.size,
        config.encoder_padding or PADDINGS[0],
        config.encoder_scaling or "imagenet",
        config.largest_side,
    )


@dataclass(frozen=True)
class ImageFeatures:
    """The features of images on which the decoder is conditioned.

    vector: one for each image, (batch, embedding). cells: one for each cell of the feature grid, (batch, cells,
    hidden); None without attention.
    """

    vector: Tensor
    cells: Tensor | None

    def take(self, rows: Sequence[int]) -> ImageFeatures:
        """Return the features of the images `rows`, in that order; a row may be repeated."""
        index = torch.tensor(rows, device=self.vector.device)
        return ImageFeatures(self.vector[index], None if self.cells is None else self.cells[index])

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """The tensors that are the conditions of the step."""
        return (self.vector,) if self.cells is None else (self.vector, self.cells)


class Captioner(Network):
    """Describes an image in a sentence: `encoder` and `projection` run once per image, `decoder` once per word."""

    task = "caption"

    def __init__(self, config: CaptionConfig) -> None:
        super().__init__()
        if not config.vocabulary:
            raise ConfigError("a captioner needs the size of its vocabulary")
        self.config = config
        self.encoder = ImageEncoder(encoder_config(config))
        self.projection = ImageProjection(config)
        self.decoder = Decoder(config)

    def graphs(self) -> tuple[Graph, ...]:
        """Return two graphs: `encode`, from image to conditions, and `step`, from word to logits."""
        config = self.config
        conditions = [
            ConditionSpec(
                "vector", "float32", (BATCH, config.embedding), bound=_TANH, source=FromGraph(ENCODE, "vector")
            )
        ]
        outputs = [TensorSpec("logits", "float32", (BATCH, config.vocabulary), kind="next-token")]
        if config.attention == "soft":
            cells = self.encoder.config.grid**2
            axes = (BATCH, cells, config.hidden)
            conditions.append(ConditionSpec("cells", "float32", axes, bound=_TANH, source=FromGraph(ENCODE, "cells")))
            outputs.append(TensorSpec("attention", "float32", (BATCH, cells), kind="attention"))
        side = config.largest_side
        image = TensorSpec(
            "image", "uint8", (BATCH, "height", "width", 3), max_sizes={"height": side, "width": side}, kind="image"
        )
        encode = GraphSpec(
            ENCODE,
            (image,),
            tuple(TensorSpec(each.name, each.dtype, each.axes, bound=each.bound) for each in conditions),
        )
        step = GraphSpec(
            STEP,
            inputs=(TensorSpec("token", "int64", (BATCH,), bound=config.vocabulary, kind="token"),),
            outputs=tuple(outputs),
            states=self.decoder.state_specs(),
            conditions=tuple(conditions),
        )
        source = EncodeGraph(self.encoder, self.projection)
        deployed = EncodeGraph(self.encoder.folded(), self.projection)
        sizes = dict.fromkeys(("height", "width"), config.size)  # to which the encoder resizes every image
        return Graph(encode, deployed, source, sizes=sizes), Graph(step, self.decoder, _OneStepSequence(self.decoder))


class ImageProjection(nn.Module):
    """Projects the encoder's features (batch, cells, channels) to the features that the decoder is conditioned on.

    place: a learned vector that is added to each cell, which tells the decoder its position.
    """

    def __init__(self, config: CaptionConfig) -> None:
        super().__init__()
        encoder, hidden = encoder_config(config), config.hidden
        self.soft = config.attention == "soft"
        self.global_projection = nn.Linear(encoder.channels, config.embedding)
        if self.soft:
            self.cell = nn.Linear(encoder.channels, hidden)
            self.place = nn.Parameter(0.1 * torch.randn(encoder.grid**2, hidden))
            self.pool = nn.Linear(hidden, config.embedding, bias=False)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, features: Tensor) -> ImageFeatures:
        """Return the features for all words of a caption."""
        if self.training:  # drops whole channels, since neighbouring cells have similar values
            features = features * self.dropout(torch.ones_like(features[:, :1]))
        vector = self.global_projection(features.mean(dim=1))
        if not self.soft:
            return ImageFeatures(torch.tanh(vector), None)
        rows = self.cell(features.flatten(0, 1))  # two axes, since ExecuTorch quantises only plain matrix products
        cells = torch.tanh(rows.unflatten(0, (-1, features.shape[1])) + self.place)
        return ImageFeatures(torch.tanh(vector + self.pool(cells.mean(dim=1))), cells)


class Decoder(nn.Module):
    """Predicts the next word: `forward` is the deployed step, `sequence` the path for training."""

    def __init__(self, config: CaptionConfig) -> None:
        super().__init__()
        self.config = config
        width, hidden = config.embedding, config.hidden
        self.embedding = nn.Embedding(config.vocabulary, width)
        nn.init.normal_(self.embedding.weight, std=width**-0.5)
        soft = config.attention == "soft"
        beneath = 1 if soft else config.layers
        stack = partial(RecurrentStack, config.cell, dropout=config.dropout, layer_norm=config.layer_norm)
        self.stack = stack(2 * width, hidden, beneath)
        self.above: RecurrentStack | None = None
        if soft and config.layers > 1:
            self.above = stack(2 * hidden, hidden, config.layers - 1, prefix="above_")
        if soft:
            self.query = nn.Linear(hidden, hidden)
            self.join = nn.Linear(2 * hidden, width)
        else:
            self.join = nn.Linear(hidden, width)
        self.bias = nn.Parameter(torch.zeros(config.vocabulary))
        self.dropout = nn.Dropout(config.dropout)

    def initial_state(self, batch: int) -> StackState:
        """Return the state before the first word."""
        return tuple(tensor for stack in self._stacks for tensor in stack.initial_state(batch))

    def state_specs(self) -> tuple[StateSpec, ...]:
        """Return the specifications of the states."""
        return tuple(spec for stack in self._stacks for spec in stack.state_specs())

    def forward(self, token: Tensor, vector: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        """Return logits (batch, vocabulary), attention weights (batch, cells) with attention, and the next state."""
        soft = self.config.attention == "soft"
        cells, state = (rest[0], rest[1:]) if soft else (None, rest)
        beneath, above = self._parted(state)
        x, carried = self.stack.step(torch.cat([self.embedding(token), vector], dim=1), beneath)
        if cells is None:
            return (self.logits(x), *carried)
        found, weights = self._attend(x.unsqueeze(1), cells)
        found, weights = found.squeeze(1), weights.squeeze(1)
        if self.above is not None:
            x, more = self.above.step(torch.cat([x, found], dim=1), above)
            carried = (*carried, *more)
        return (self.logits(torch.cat([x, found], dim=1)), weights, *carried)

    def sequence(
        self, tokens: Tensor, seen: ImageFeatures, state: StackState
    ) -> tuple[Tensor, Tensor | None, StackState]:
        """Return the inputs of `logits` (batch, time, size), attention weights (batch, time, cells) and the last state.

        tokens: (batch, time). Uses the fused kernels.
        """
        words = self.dropout(self.embedding(tokens))
        vector = seen.vector[:, None].expand(-1, tokens.shape[1], -1)
        beneath, above = self._parted(state)
        x, carried = self.stack.sequence(torch.cat([words, vector], dim=2).transpose(0, 1), beneath)
        x = self.dropout(x.transpose(0, 1))
        if seen.cells is None:
            return x, None, carried
        found, weights = self._attend(x, seen.cells)
        if self.above is not None:
            y, more = self.above.sequence(torch.cat([x, found], dim=2).transpose(0, 1), above)
            x, carried = self.dropout(y.transpose(0, 1)), (*carried, *more)
        return torch.cat([x, found], dim=2), weights, carried

    @property
    def _stacks(self) -> tuple[RecurrentStack, ...]:
        return (self.stack,) if self.above is None else (self.stack, self.above)

    def _parted(self, state: StackState) -> tuple[StackState, StackState]:
        """Split the states into those of the layers below the attention and those of the layers above it."""
        count = len(self.stack.states)
        return tuple(state[:count]), tuple(state[count:])

    def _attend(self, x: Tensor, cells: Tensor) -> tuple[Tensor, Tensor]:
        """Return the attention's output for queries x (batch, time, hidden), and its weights, averaged over heads."""
        heads = self.config.heads
        size = self.config.hidden // heads
        queries = self.query(x).unflatten(2, (heads, size)).transpose(1, 2)  # (batch, heads, time, size)
        there = cells.unflatten(2, (heads, size)).transpose(1, 2)  # (batch, heads, cells, size)
        weights = torch.softmax(queries @ there.transpose(2, 3) / math.sqrt(size), dim=3)
        return (weights @ there).transpose(1, 2).flatten(2), weights.mean(dim=1)

    def logits(self, x: Tensor) -> Tensor:
        """Return scores (..., vocabulary) of the next word."""
        return nn.functional.linear(self.dropout(torch.tanh(self.join(x))), self.embedding.weight, self.bias)


class EncodeGraph(nn.Module):
    """The graph `encode`: from an image to the conditions of the step."""

    def __init__(self, encoder: ImageEncoder, projection: ImageProjection) -> None:
        super().__init__()
        self.encoder, self.projection = encoder, projection

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        seen: ImageFeatures = self.projection(self.encoder(image))
        return seen.tensors


class _OneStepSequence(nn.Module):
    """The path for training as a step: it runs on sequences of one word."""

    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, token: Tensor, vector: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        soft = self.decoder.config.attention == "soft"
        cells, state = (rest[0], rest[1:]) if soft else (None, rest)
        x, attention, carried = self.decoder.sequence(token[:, None], ImageFeatures(vector, cells), state)
        looked = () if attention is None else (attention.squeeze(1),)
        return (self.decoder.logits(x.squeeze(1)), *looked, *carried)
