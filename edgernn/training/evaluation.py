"""The loss of a network on a text."""

from __future__ import annotations

import torch
from torch import nn

from edgernn.errors import CorpusError
from edgernn.models import LanguageModel
from edgernn.score import Score
from edgernn.tokenizer import Tokenizer

__all__ = ["HeldOut", "evaluate"]

_CHUNK = 512


class HeldOut:
    """An encoded text to be scored again and again."""

    def __init__(self, tokenizer: Tokenizer, text: str) -> None:
        """Raises CorpusError for a text of under two tokens. What the vocabulary lacks counts as the unknown token."""
        ids = tokenizer.encode(text, strict=False)
        if len(ids) < 2:
            raise CorpusError("a text of fewer than two tokens cannot be scored")
        self._ids = ids.astype("int32")
        self._chars = len(text) - tokenizer.first_chars(text)  # those that are predicted
        self._unknown_id = tokenizer.unknown_id

    @torch.no_grad()
    def score(self, model: LanguageModel, lanes: int = 1) -> Score:
        """Score the text in one stream, or faster in several lanes.

        The first token of a lane has nothing before it and is not scored; with more lanes than one the last tokens
        that fill no row are left out too, and the characters are scaled to what was scored.
        """
        predicted = len(self._ids) - 1
        lanes = max(1, min(lanes, predicted // _CHUNK))
        length = predicted // lanes
        starts = torch.arange(lanes) * length
        device = next(model.parameters()).device
        was_training = model.training
        model.eval()
        nats, state = 0.0, model.initial_state(lanes)
        for begin in range(0, length, _CHUNK):
            window = starts + torch.arange(begin, min(begin + _CHUNK, length) + 1)[:, None]  # (time + 1, lanes)
            tokens = torch.as_tensor(self._ids[window.numpy()], dtype=torch.int64, device=device)
            logits, state = model.sequence(tokens[:-1], state)
            losses = nn.functional.cross_entropy(logits.flatten(0, 1), tokens[1:].flatten(), reduction="none")
            nats += losses.double().sum().item()
        model.train(was_training)
        scored = lanes * length
        chars = max(1, round(self._chars * scored / predicted))
        return Score(nats, scored, chars, int((self._ids[1 : scored + 1] == self._unknown_id).sum()))


def evaluate(model: LanguageModel, tokenizer: Tokenizer, text: str) -> Score:
    """Score `text` as one stream. Memory does not grow with its length beyond four bytes a token."""
    return HeldOut(tokenizer, text).score(model)
