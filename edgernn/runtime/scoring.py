"""How well a model predicts a text, on the device, one step after the other."""

from __future__ import annotations

import numpy as np

from edgernn.contract import Array
from edgernn.errors import StreamError
from edgernn.runtime.model import Model
from edgernn.runtime.stream import LOGITS, TOKEN
from edgernn.score import Score

__all__ = ["score"]


def score(model: Model, text: str) -> Score:
    """Score `text` in one stream; its first token has nothing before it and is not scored.

    Characters outside the vocabulary count as the unknown token. Raises StreamError for a text of under two tokens or
    a model without text.
    """
    if model.tokenizer is None:
        raise StreamError(f"the bundle's task, {model.manifest.task}, has no text to score")
    ids = model.tokenizer.encode(text, strict=False)
    if len(ids) < 2:
        raise StreamError("a text of fewer than two tokens cannot be scored")
    stream = model.stream()
    nats = 0.0
    for index in range(len(ids) - 1):
        logits = stream.step({TOKEN: ids[index : index + 1]})[LOGITS][0]
        nats += _log_sum_exp(logits) - float(logits[ids[index + 1]])
    chars = max(1, len(text) - model.tokenizer.first_chars(text))
    return Score(nats, len(ids) - 1, chars, int((ids[1:] == model.tokenizer.unknown_id).sum()))


def _log_sum_exp(logits: Array) -> float:
    highest = float(logits.max())
    return highest + float(np.log(np.exp(logits - highest, dtype=np.float64).sum()))
