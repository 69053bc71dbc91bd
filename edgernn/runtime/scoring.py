"""Score a model on a text on the device, one step at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgernn.errors import StreamError
from edgernn.runtime.model import STEP, Model
from edgernn.runtime.stream import Stream
from edgernn.sampling import log_probabilities
from edgernn.score import Score
from edgernn.tokenizer import Ids, whole_pieces

__all__ = ["Prediction", "predictions", "score", "score_tokens"]


@dataclass(frozen=True)
class Prediction:
    """The tokens of a piece of text, and the natural logarithm of the probability of each.

    The first token of a text has no context, so its logarithm is NaN.
    """

    tokens: Ids
    log_probabilities: npt.NDArray[np.float64]


def score(model: Model, text: str | Iterable[str]) -> Score:
    """Return the score of `text`, given whole or in pieces of any size, read as one stream in constant memory.

    The first token is not scored; characters outside the vocabulary count as the unknown token. Raises StreamError for
    a text of fewer than two tokens, or a model that predicts no next token.
    """
    tokenizer = model.text_of(STEP).require_tokenizer()
    nats, tokens, unknown, chars, first = 0.0, 0, 0, 0, 0
    for piece, predicted in _predicted(model, text):
        if not tokens:
            first = tokenizer.first_chars(piece)
        after = predicted.log_probabilities[0 if tokens else 1 :]
        nats -= float(after.sum())
        unknown += int((predicted.tokens[-len(after) :] == tokenizer.unknown_id).sum()) if len(after) else 0
        tokens += len(predicted.tokens)
        chars += len(piece)
    if tokens < 2:
        raise StreamError("a text of fewer than two tokens cannot be scored")
    return Score(nats, tokens - 1, max(1, chars - first), unknown)


def score_tokens(model: Model, pieces: Iterable[Ids], chars: int) -> Score:
    """Return the score of token ids, given in pieces of any size and read as one stream.

    chars: the number of characters that all tokens but the first spell. Raises StreamError as `score` does.
    """
    unknown_id, stream = model.text_of(STEP).require_tokenizer().unknown_id, model.stream()
    nats, tokens, unknown = 0.0, 0, 0
    for ids in pieces:
        first = 0 if tokens else 1
        nats -= float(_read(stream, ids)[first:].sum())
        unknown += int((ids[first:] == unknown_id).sum())
        tokens += len(ids)
    if tokens < 2:
        raise StreamError("a text of fewer than two tokens cannot be scored")
    return Score(nats, tokens - 1, chars, unknown)


def predictions(model: Model, text: str | Iterable[str]) -> Iterator[Prediction]:
    """Yield the tokens of `text` with their log-probabilities, piece by piece.

    Raises StreamError for a model that predicts no next token.
    """
    model.text_of(STEP).require_next_token()
    return (predicted for _, predicted in _predicted(model, text))


def _predicted(model: Model, text: str | Iterable[str]) -> Iterator[tuple[str, Prediction]]:
    tokenizer, stream = model.text_of(STEP).require_tokenizer(), model.stream()
    for piece in whole_pieces([text] if isinstance(text, str) else text):
        ids = tokenizer.encode(piece, unknown="replace")
        yield piece, Prediction(ids, _read(stream, ids))


def _read(stream: Stream, ids: Ids) -> npt.NDArray[np.float64]:
    """Step over token ids, and return the log-probability of each before it was read, NaN without a context."""
    tensors = stream.model.text_of(STEP)
    token, _ = tensors.require_token(), tensors.require_next_token()
    known = np.full(len(ids), np.nan)
    inputs = ids.astype(token.numpy_dtype)
    for index in range(len(ids)):
        logits = stream.logits
        if logits is not None:
            known[index] = log_probabilities(logits)[ids[index]]
        stream.step({token.name: inputs[index : index + 1]})
    return known
