"""The loss of a network on a text."""

from __future__ import annotations

import torch
from torch import nn

from edgernn.models import LanguageModel
from edgernn.score import Score
from edgernn.tokenizer import Ids

__all__ = ["evaluate"]

_CHUNK = 512


@torch.no_grad()
def evaluate(model: LanguageModel, ids: Ids, chars: int, lanes: int = 1) -> Score:
    """Score `ids` (tokens,), which spell `chars` characters, in one stream, or faster in several lanes.

    The first token of a lane has nothing before it and is not scored; with more lanes than one the last tokens that
    fill no row are left out too, and `chars` is scaled to what was scored. Memory does not grow with the text.
    """
    lanes = max(1, min(lanes, (len(ids) - 1) // _CHUNK))
    length = (len(ids) - 1) // lanes
    device = next(model.parameters()).device
    starts = torch.arange(lanes) * length
    was_training = model.training
    model.eval()
    nats, state = 0.0, model.initial_state(lanes)
    for begin in range(0, length, _CHUNK):
        window = starts + torch.arange(begin, min(begin + _CHUNK, length) + 1)[:, None]  # (time + 1, lanes)
        tokens = torch.as_tensor(ids[window.numpy()].astype("int64"), device=device)
        logits, state = model.sequence(tokens[:-1], state)
        nats += nn.functional.cross_entropy(logits.flatten(0, 1).double(), tokens[1:].flatten(), reduction="sum").item()
    model.train(was_training)
    scored = lanes * length
    return Score(nats, scored, max(1, round((chars - 1) * scored / (len(ids) - 1))))
