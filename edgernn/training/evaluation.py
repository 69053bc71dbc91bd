"""The loss of a network on a text."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from edgernn.data.tokens import TokenArray
from edgernn.errors import CorpusError
from edgernn.score import Score
from edgernn.tasks.language.data import Tokens
from edgernn.tasks.language.network import LanguageModel
from edgernn.tokenizer import Tokenizer

__all__ = ["evaluate", "score_tokens"]

_CHUNK = 512  # tokens of a lane at once
_LOGITS = 1 << 22  # or fewer, so that no more logits are made at once: a large vocabulary must not fill the memory


@torch.no_grad()
def score_tokens(model: LanguageModel, tokens: Tokens, chars: int, unknown_id: int | None, lanes: int = 1) -> Score:
    """Score `tokens` in one stream, or faster in several lanes.

    chars: the characters that all but the first token spell. The first token of a lane has nothing before it and is
    not scored; with more lanes than one the last tokens that fill no row are left out too, and the characters are
    scaled to what was scored.
    """
    predicted = len(tokens) - 1
    lanes = max(1, min(lanes, predicted // _CHUNK))
    length = predicted // lanes
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    nats, unknown, state = 0.0, 0, model.initial_state(lanes)
    chunk = max(1, min(_CHUNK, _LOGITS // (lanes * model.config.vocabulary)))
    for begin in range(0, length, chunk):
        count = min(chunk, length - begin)
        window = np.stack([tokens.read(lane * length + begin, count + 1) for lane in range(lanes)], axis=1)
        ids = torch.from_numpy(window).to(device)  # (time + 1, lanes)
        logits, state = model.sequence(ids[:-1], state)
        losses = nn.functional.cross_entropy(logits.flatten(0, 1), ids[1:].flatten(), reduction="none")
        nats += losses.double().sum().item()
        unknown += int((window[1:] == unknown_id).sum())
    model.train(was_training)
    scored = lanes * length
    return Score(nats, scored, max(1, round(chars * scored / predicted)), unknown)


def evaluate(model: LanguageModel, tokenizer: Tokenizer, text: str) -> Score:
    """Score `text` as one stream. Raises CorpusError for a text of under two tokens."""
    ids = tokenizer.encode(text, strict=False)
    if len(ids) < 2:
        raise CorpusError("a text of fewer than two tokens cannot be scored")
    return score_tokens(model, TokenArray(ids), len(text) - tokenizer.first_chars(text), tokenizer.unknown_id)
