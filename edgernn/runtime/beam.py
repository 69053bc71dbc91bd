"""The most likely continuations of a stream: beam search, with several candidates in a batch, and greedy search."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgernn.contract import Array, select
from edgernn.errors import ConfigError, StreamError
from edgernn.runtime.stream import Stream
from edgernn.sampling import log_probabilities

__all__ = ["Candidate", "beam_search", "candidates_per_beam", "greedy_search"]


@dataclass(frozen=True)
class Candidate:
    """A continuation of a stream.

    log_probability: the sum over its tokens. score: log_probability divided by the number of tokens to the power of the
    length penalty.
    """

    tokens: tuple[int, ...]
    text: str
    log_probability: float
    score: float


def greedy_search(
    stream: Stream, max_tokens: int, show: Callable[[str], object], *, length_penalty: float = 0.0
) -> Candidate:
    """Return the greedy continuation of `stream`, which must choose the most likely tokens, with its score.

    show: called with each piece of text as it is decoded; the search ends if it returns False.
    """
    tokens: list[int] = []
    pieces: list[str] = []
    total = 0.0
    for token, text, log_probability in stream.tokens(max_tokens):
        tokens.append(token)
        pieces.append(text)
        total += log_probability
        if text and show(text) is False:
            break
    return Candidate(tuple(tokens), "".join(pieces), total, total / max(1, len(tokens)) ** length_penalty)


def beam_search(
    stream: Stream, width: int = 5, max_tokens: int = 50, *, length_penalty: float = 0.7
) -> list[Candidate]:
    """Return the best continuations found with a beam of `width`, best first. The stream itself is not changed.

    A continuation ends at the end token, which its text omits, or after `max_tokens`. Its score is the log-probability
    divided by length to the power of `length_penalty` (after Wu et al. 2016): 0 prefers short texts, 1 compares the
    mean per token. A width of 1 is greedy decoding.

    Raises ConfigError for impossible settings, StreamError before the first prefill, or for a graph that cannot be
    batched or does not read and predict one token at each step.
    """
    if not (_is_count(width) and _is_count(max_tokens)) or not 0 <= length_penalty < math.inf:
        raise ConfigError("a beam needs a width and max_tokens of at least 1, and a length penalty of at least 0")
    text = stream.model.text_of(stream.spec.name)
    text.require_token()
    text.require_next_token()
    if stream.logits is None:
        raise StreamError("there are no logits yet: prefill a prompt first")
    if not stream.spec.batched:
        raise StreamError(f"graph {stream.spec.name} has no batch axis, which a beam needs: decode without a beam")
    beam = _Beam(stream, width, max_tokens, length_penalty)
    while beam.live and not beam.settled:
        beam.step()
    return beam.best()


def candidates_per_beam(width: int) -> int:
    """Return the number of extensions that a beam of `width` considers at each step.

    It is 2 * width, since up to half of them may end; a width of 1 is greedy decoding and considers only the best one.
    """
    return 2 * width if width > 1 else 1


def _largest(values: Array, count: int) -> Array:
    """Return the places of the `count` largest values, the largest first, and of equal ones the first first."""
    places = np.arange(len(values))
    if len(values) > count:  # sorting a vocabulary takes longer than the step of a small network
        places = np.flatnonzero(values >= np.partition(values, -count)[-count])
    return places[np.argsort(-values[places], kind="stable")][:count]


def _is_count(value: object) -> bool:
    return isinstance(value, int) and value >= 1


class _Beam:
    def __init__(self, stream: Stream, width: int, max_tokens: int, length_penalty: float) -> None:
        assert stream.logits is not None
        text = stream.model.text_of(stream.spec.name)
        self._stream, self._width, self._longest, self._penalty = stream, width, max_tokens, length_penalty
        self._tokenizer, self._token, self._next_token = (
            text.require_tokenizer(),
            text.require_token(),
            text.require_next_token(),
        )
        self._logits = stream.logits[None]
        self._state: Mapping[str, Array] = stream.state
        self._conditions: Mapping[str, Array] = stream.conditions
        self.live: list[tuple[tuple[int, ...], float]] = [((), 0.0)]
        self._ended: list[Candidate] = []

    @property
    def settled(self) -> bool:
        """Whether no live candidate can become one of the best, even if all its further tokens have probability 1."""
        if len(self._ended) < self._width:
            return False
        worst = sorted((candidate.score for candidate in self._ended), reverse=True)[self._width - 1]
        return all(self._score(probability, self._longest) <= worst for _, probability in self.live)

    def step(self) -> None:
        """Extend the live candidates by one token and keep the best."""
        last = len(self.live[0][0]) + 1 == self._longest
        scores = log_probabilities(self._logits)
        scores[:, list(self._tokenizer.never_sampled)] = -np.inf
        totals = scores + np.array([[probability] for _, probability in self.live])
        order = _largest(totals.ravel(), candidates_per_beam(self._width))
        rows: list[int] = []
        live: list[tuple[tuple[int, ...], float]] = []
        for row, token in zip(*(part.tolist() for part in np.unravel_index(order, totals.shape)), strict=True):
            total = float(totals[row, token])
            if total == -np.inf or len(live) == self._width:
                break
            tokens = (*self.live[row][0], token)
            if token == self._tokenizer.end_id or last:
                self._ended.append(self._candidate(tokens, total))
            else:
                rows.append(row)
                live.append((tokens, total))
        self.live = live
        if live:
            self._advance(rows, [tokens[-1] for tokens, _ in live])

    def _advance(self, rows: Sequence[int], tokens: Sequence[int]) -> None:
        spec = self._stream.spec
        model, graph = self._stream.model, spec.name
        ids = np.array(tokens, self._token.numpy_dtype)
        state = select(spec.states, self._state, rows)
        self._conditions = select(spec.conditions, self._conditions, rows)
        outputs, self._state = model.step({self._token.name: ids}, state, conditions=self._conditions, graph=graph)
        self._logits = outputs[self._next_token.name]

    def _candidate(self, tokens: tuple[int, ...], probability: float) -> Candidate:
        shown = tokens[:-1] if tokens[-1] == self._tokenizer.end_id else tokens
        decoder = self._tokenizer.decoder()
        text = "".join(map(decoder.push, shown))  # without an incomplete character at the end
        return Candidate(tokens, text, probability, self._score(probability, len(tokens)))

    def _score(self, probability: float, length: int) -> float:
        return float(probability / max(1, length) ** self._penalty)

    def best(self) -> list[Candidate]:
        """Return the best of the candidates that have ended, best first."""
        return sorted(self._ended, key=lambda candidate: -candidate.score)[: self._width]
