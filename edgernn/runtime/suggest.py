"""Suggestions for a keyboard: the most likely next words or tokens."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from edgernn.contract import Array
from edgernn.errors import ConfigError, StreamError
from edgernn.runtime.model import STEP, Model
from edgernn.runtime.stream import Stream
from edgernn.sampling import log_probabilities

__all__ = ["UNITS", "Suggestion", "suggest"]

UNITS = ("word", "token")
_LONGEST = 32  # tokens of a word; longer words are not suggested
_HALF = "\ufffd"
_BREADTH = 4  # candidate prefixes that are followed for each suggestion


@dataclass(frozen=True)
class Suggestion:
    """A possible continuation of a text, with the probability that the model assigns to it."""

    text: str
    probability: float


def suggest(model: Model, prefix: str, k: int = 3, *, unit: str = "word", unknown: str = "refuse") -> list[Suggestion]:
    """The `k` likeliest next words after `prefix`, or ends of the word that it is in, or next tokens; the best first.

    A word ends before the first character that is no letter, digit, apostrophe or underscore; one that has not ended
    after 32 tokens is left out. Tokens that are parts of one character count as one.
    unknown: what becomes of characters of the prefix that are outside the vocabulary, as in `Stream.prefill`; a
    keyboard gives "skip".
    Raises ConfigError for another unit or a `k` below 1, StreamError for an empty prefix or a model that predicts no
    next token, UnknownTokenError as `Stream.prefill` does.
    """
    if unit not in UNITS or not isinstance(k, int) or k < 1:
        raise ConfigError(
            f"the number of suggestions, {k}, is below 1, or the unit {unit!r} is not one of {', '.join(UNITS)}"
        )
    model.text_of(STEP).require_next_token()
    stream = model.stream()
    stream.prefill(prefix, unknown=unknown)
    if stream.logits is None:
        why = "has no character of the vocabulary" if prefix else "is empty"
        raise StreamError(f"the prefix {why}: suggestions follow at least one token")
    return _likeliest(stream, k, _first_word if unit == "word" else _whole)


def _likeliest(stream: Stream, k: int, ended: Callable[[str], str | None]) -> list[Suggestion]:
    """Extend the most likely candidates token by token until the best `k` have ended.

    ended: returns the suggestion that a text has become, "" if it cannot become one, or None while it is incomplete.
    """
    found: dict[str, float] = {}
    begun: list[tuple[float, tuple[int, ...], Stream]] = [(0.0, (), stream)]
    for _ in range(_LONGEST):
        longer: list[tuple[float, tuple[int, ...], Stream]] = []
        for probability, tokens, here in begun:
            scores = _scores(here) + probability
            for token in np.argsort(-scores, kind="stable")[: _BREADTH * k].tolist():
                text = ended(_text(stream, (*tokens, token)))
                if text is None:
                    longer.append((float(scores[token]), (*tokens, token), here))
                elif text and _HALF not in text and np.isfinite(scores[token]):
                    found[text] = found.get(text, 0.0) + math.exp(scores[token])
        longer.sort(key=lambda beginning: -beginning[0])
        least = sorted(found.values(), reverse=True)[k - 1] if len(found) >= k else 0.0
        begun = [(p, t, _after(here, t[-1])) for p, t, here in longer[: _BREADTH * k] if math.exp(p) > least]
        if not begun:
            break
    best = sorted(found.items(), key=lambda item: -item[1])[:k]
    return [Suggestion(text, probability) for text, probability in best]


def _whole(text: str) -> str | None:
    """Return `text`, or None while its last character is incomplete."""
    return None if text.endswith(_HALF) else text


def _first_word(text: str) -> str | None:
    """Return the first word of `text` and what precedes it, None while it is incomplete, "" if there is no word."""
    begun = False
    for at, character in enumerate(text.rstrip(_HALF)):
        if character.isalnum() or character in "_'’":
            begun = True
        elif begun or at > 0:
            return text[:at] if begun else ""
    return None


def _scores(stream: Stream) -> Array:
    assert stream.logits is not None
    scores = log_probabilities(stream.logits)
    tokenizer = stream.model.tokenizer
    if tokenizer is not None:
        scores[[token for token in (*tokenizer.never_sampled, tokenizer.end_id) if token is not None]] = -np.inf
    return scores


def _text(stream: Stream, tokens: tuple[int, ...]) -> str:
    assert stream.model.tokenizer is not None
    return stream.model.tokenizer.decode(tokens)


def _after(stream: Stream, token: int) -> Stream:
    twin = stream.fork()
    twin.prefill(np.array([token]))
    return twin
