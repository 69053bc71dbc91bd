"""Sampling: how the next token is drawn from logits.

The steps, in this order: repetition penalty, bias, top-k, temperature, top-p, min-p, the random draw.
`export/CONTRACT.md` specifies them for runtimes in other languages.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np

from edgernn.contract import Array
from edgernn.errors import ConfigError, SamplingError
from edgernn.exponential import exponentiate

__all__ = ["COLDEST", "BatchSampler", "Draw", "Generator", "Sampler", "log_probabilities"]

_MASK = (1 << 64) - 1
_WEYL = 0x9E3779B97F4A7C15  # by which the state of the generator grows
_RATIO = 1.7155277699214135  # sqrt(8 / e)
_PAIRS = 8  # of uniform numbers that are drawn at once, beside half as many again as there are deviates
COLDEST = 0.001  # smaller temperatures could overflow when logits are divided by them
_LARGEST_BIAS = 1e6
_LARGEST_COUNT = 1 << 31
_STRIPES = 16
_WHOLE = ("top_k", "repetition_window")
_REAL = ("temperature", "top_p", "min_p", "repetition_penalty")


class Generator:
    """The random generator SplitMix64 (Steele, Lea and Flood 2014): 64 bits of state, easy to port to any language."""

    __slots__ = ("state",)

    def __init__(self, state: int) -> None:
        self.state = state & _MASK

    def uniform(self) -> float:
        """Return the next number in [0, 1), a multiple of 2**-53."""
        self.state = (self.state + _WEYL) & _MASK
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
        return ((z ^ (z >> 31)) >> 11) * 2.0**-53

    def normal(self, count: int) -> Array:
        """Return the next `count` standard normal deviates, float64 (count,), by the ratio of two uniform numbers.

        After Kinderman and Monahan 1977. It needs no function but the exponential, so the bits are the same everywhere.
        """
        found, needed = [], count
        while needed > 0:
            before, pairs = self.state, needed + needed // 2 + _PAIRS
            u, v = np.array([self.uniform() for _ in range(2 * pairs)]).reshape(pairs, 2).T
            u = 1.0 - u
            x = _RATIO * (v - 0.5) / u
            density = x * x * -0.25
            exponentiate(density)
            accepted = (u <= density).nonzero()[0][:needed]
            if len(accepted) == needed:  # the numbers after the last pair are drawn again
                self.state = (before + 2 * (int(accepted[-1]) + 1) * _WEYL) & _MASK
            found.append(x[accepted])
            needed -= len(accepted)
        return np.concatenate([np.empty(0), *found])


class Draw(Protocol):
    """What draws the tokens of a stream: a `Sampler`, or code that draws the same tokens as one."""

    def __call__(
        self, logits: Array, generator: Generator, recent: Collection[int] = (), forbidden: Sequence[int] = ()
    ) -> int:
        """Draw a token id from `logits` (vocabulary,), with the arguments and the errors of a `Sampler`."""
        ...


@dataclass(frozen=True)
class Sampler:
    """The settings with which a stream samples its tokens. The random generator belongs to the stream.

    temperature: logits are divided by it; 0 is greedy: the most likely token, and of ties the lowest id.
    top_k: sample from the k most likely tokens only; 0 for all.
    seed: equal seeds draw equal tokens; None takes a seed from the operating system.
    top_p: sample from the most likely tokens whose probabilities add up to this value (Holtzman et al. 2020); 1 for
    all.
    min_p: sample from tokens at least this fraction as likely as the most likely one (Nguyen et al. 2024); 0 for all.
    repetition_penalty: positive logits of the last `repetition_window` tokens are divided by it, negative ones are
    multiplied by it (Keskar et al. 2019); 1 disables it.
    bias: a value to add to the logit of each of some token ids; -inf forbids a token.

    Ties at the limit of top_k or top_p are all kept.
    Raises ConfigError for impossible settings.
    """

    temperature: float = 1.0
    top_k: int = 0
    seed: int | None = None
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    repetition_window: int = 64
    bias: Mapping[int, float] = field(default_factory=dict)
    _biases: tuple[Array, Array] | None = field(init=False, repr=False, compare=False, default=None)

    def __post_init__(self) -> None:
        try:
            self._set(_REAL, float)
            self._set(_WHOLE, operator.index)
            self._set(("seed",), lambda seed: None if seed is None else operator.index(seed))
            biases = {operator.index(token): float(value) for token, value in self.bias.items()}
            object.__setattr__(self, "bias", MappingProxyType(biases))
        except (TypeError, ValueError, OverflowError, AttributeError) as error:
            raise ConfigError(f"a setting of the sampler is not a number: {error}") from None
        self._check()
        if self.bias:
            ids, values = np.array([*self.bias], np.int64), np.array([*self.bias.values()])
            object.__setattr__(self, "_biases", (ids, values))

    def _set(self, names: Iterable[str], kind: Any) -> None:
        for name in names:
            object.__setattr__(self, name, kind(getattr(self, name)))

    def _check(self) -> None:
        if self.temperature != 0 and not COLDEST <= self.temperature < math.inf:
            raise ConfigError(f"temperature {self.temperature} is neither 0 nor a number of at least {COLDEST}")
        for name in _WHOLE:
            if not 0 <= getattr(self, name) <= _LARGEST_COUNT:
                raise ConfigError(f"{name} {getattr(self, name)} is below 0 or above {_LARGEST_COUNT}")
        if not 0 < self.top_p <= 1:
            raise ConfigError(f"top_p {self.top_p} is not above 0 and at most 1")
        if not 0 <= self.min_p <= 1:
            raise ConfigError(f"min_p {self.min_p} is not from 0 to 1")
        if not 0 < self.repetition_penalty < math.inf:
            raise ConfigError(f"repetition_penalty {self.repetition_penalty} is not a number above 0")
        if self.seed is not None and not 0 <= self.seed <= _MASK:
            raise ConfigError(f"seed {self.seed} is outside 0..2**64-1")
        for token, value in self.bias.items():
            if token < 0 or not (abs(value) <= _LARGEST_BIAS or value == -math.inf):
                raise ConfigError(
                    f"the bias {value} for token {token} is neither -inf nor within 1e6, or the token is below 0"
                )

    @property
    def history(self) -> int:
        """The number of last tokens that the sampler needs to know."""
        return self.repetition_window

    def __repr__(self) -> str:
        """The settings that differ from the defaults, as Python code."""
        values = {name: getattr(self, name) for name in (*_REAL, *_WHOLE, "seed")}
        changed = {name: value for name, value in values.items() if value != getattr(Sampler, name)}
        changed |= {"bias": dict(self.bias)} if self.bias else {}
        return f"Sampler({', '.join(f'{name}={value!r}' for name, value in changed.items())})"

    def __hash__(self) -> int:
        return hash((*(getattr(self, name) for name in (*_REAL, *_WHOLE, "seed")), frozenset(self.bias.items())))

    def __call__(
        self, logits: Array, generator: Generator, recent: Collection[int] = (), forbidden: Sequence[int] = ()
    ) -> int:
        """Draw a token id from `logits` (vocabulary,).

        recent: the preceding tokens, in order. forbidden: tokens that are never drawn.
        Raises SamplingError if a logit is NaN or infinity, or all tokens are forbidden.
        """
        weights = logits.astype(np.float64)
        self._adjust(weights, recent, forbidden)
        highest = weights.max()
        if not math.isfinite(highest):
            raise _undrawable(highest)
        if self.temperature == 0:
            return int(weights.argmax())
        kept = None
        if 0 < self.top_k < len(weights):
            kept = _largest(weights, self.top_k)  # the steps below use these tokens only
            weights = weights[kept]
        weights -= highest
        weights /= self.temperature
        exponentiate(weights)
        if self.top_p < 1:
            weights[weights < _least_of_top_p(weights, self.top_p)] = 0.0
        if self.min_p:
            weights[weights < self.min_p] = 0.0  # the most likely token has a weight of 1
        sums = weights.cumsum()
        place = sums.searchsorted(generator.uniform() * sums[-1], side="right")
        return int(place if kept is None else kept[place])

    def _adjust(self, weights: Array, recent: Collection[int], forbidden: Sequence[int]) -> None:
        if self.repetition_penalty != 1 and self.repetition_window and recent:
            penalised = list(recent)[-self.repetition_window :]
            weights[penalised] = _penalised(weights[penalised], self.repetition_penalty)
        if self._biases is not None:
            ids, values = self._biases
            _check_biased(ids, len(weights))
            weights[ids] += values
        for token in forbidden:
            weights[token] = -np.inf


class BatchSampler:
    """The samplers of several streams, vectorised: each stream draws exactly the tokens that it would draw alone."""

    def __init__(self, samplers: Sequence[Sampler]) -> None:
        self._greedy = np.array([sampler.temperature == 0 for sampler in samplers])
        self._temperatures = _column(sampler.temperature or 1.0 for sampler in samplers)
        self._top_k = np.array([sampler.top_k for sampler in samplers])
        self._ranks = sorted({sampler.top_k for sampler in samplers} - {0})
        self._top_p = _column(sampler.top_p for sampler in samplers)
        self._min_p = _column(sampler.min_p for sampler in samplers)
        self._limited = bool((self._top_p < 1).any()), bool(self._min_p.any())
        self._penalised = [
            (row, sampler.repetition_window, sampler.repetition_penalty)
            for row, sampler in enumerate(samplers)
            if sampler.repetition_penalty != 1 and sampler.repetition_window
        ]
        biased = [(row, *pair) for row, sampler in enumerate(samplers) for pair in sampler.bias.items()]
        rows, ids, values = zip(*biased, strict=True) if biased else ((), (), ())
        self._biased = (np.array(rows), np.array(ids), np.array(values)) if biased else None

    def __call__(
        self,
        logits: Array,
        generators: Sequence[Generator],
        recent: Sequence[Collection[int]],
        forbidden: Sequence[int] = (),
    ) -> list[int]:
        """Draw a token id for each row of `logits` (streams, vocabulary).

        generators, recent: one for each row, as for a Sampler. forbidden: tokens that are never drawn.
        Raises SamplingError if a logit is NaN or infinity, or all tokens of a row are forbidden.
        """
        weights = logits.astype(np.float64)
        self._adjust(weights, recent, forbidden)
        highest = weights.max(axis=-1, keepdims=True)
        if not np.isfinite(highest).all():
            raise _undrawable(highest[~np.isfinite(highest)][0])
        likeliest = weights.argmax(axis=-1) if self._greedy.any() else None
        if likeliest is not None and self._greedy.all():
            return [int(token) for token in likeliest]
        self._limit_to_top_k(weights)
        weights -= highest
        weights /= self._temperatures
        exponentiate(weights)
        by_top_p, by_min_p = self._limited
        if by_top_p:
            weights[weights < np.where(self._top_p < 1, _least_of_top_p(weights, self._top_p), 0.0)] = 0.0
        if by_min_p:
            weights[weights < self._min_p] = 0.0
        sums = weights.cumsum(axis=-1)
        drawn = zip(generators, self._greedy.tolist(), strict=True)
        at = _column(0.0 if greedy else generator.uniform() for generator, greedy in drawn) * sums[:, -1:]
        places = (sums <= at).sum(axis=-1)
        return [int(token) for token in (places if likeliest is None else np.where(self._greedy, likeliest, places))]

    def _adjust(self, weights: Array, recent: Sequence[Collection[int]], forbidden: Sequence[int]) -> None:
        if self._penalised:
            tokens = [list(recent[row])[-window:] for row, window, _ in self._penalised]
            counts = [len(each) for each in tokens]
            rows = np.repeat([row for row, _, _ in self._penalised], counts)
            penalties = np.repeat([penalty for _, _, penalty in self._penalised], counts)
            at = rows, np.array([*chain.from_iterable(tokens)], np.int64)
            weights[at] = _penalised(weights[at], penalties)
        if self._biased is not None:
            rows, ids, values = self._biased
            _check_biased(ids, weights.shape[-1])
            weights[rows, ids] += values
        for token in forbidden:
            weights[:, token] = -np.inf

    def _limit_to_top_k(self, weights: Array) -> None:
        size = weights.shape[-1]
        places = [size - k for k in self._ranks if k < size]
        if not places:
            return
        limited = (self._top_k > 0) & (self._top_k < size)
        ordered = np.partition(weights, places, axis=-1)
        least = np.take_along_axis(ordered, np.where(limited, size - self._top_k, 0)[:, None], axis=-1)
        weights[weights < np.where(limited[:, None], least, -np.inf)] = -np.inf


def _undrawable(highest: float) -> SamplingError:
    return SamplingError(f"no token can be drawn: the highest logit is {highest}")


def _column(values: Iterable[float]) -> Array:
    return np.array([*values])[:, None]


def _penalised(weights: Array, penalty: Any) -> Array:
    """Return the logits of recent tokens after the penalty, which is applied once to a token that occurs twice."""
    return np.asarray(np.where(weights > 0, weights / penalty, weights * penalty))


def _check_biased(ids: Array, vocabulary: int) -> None:
    if ids.max() >= vocabulary:
        raise SamplingError(f"a bias is given for token {ids.max()}, and the vocabulary ends at {vocabulary - 1}")


def _least_of_top_p(weights: Array, top_p: Any) -> Array:
    """Return the smallest of the weights (…, vocabulary) that top-p keeps, as (…, 1)."""
    falling = -np.sort(-weights, axis=-1)
    sums = falling.cumsum(axis=-1)
    last = (sums < top_p * sums[..., -1:]).sum(axis=-1, keepdims=True)
    return np.take_along_axis(falling, last, axis=-1)


def _largest(values: Array, k: int) -> Array:
    """Return the indices of the k largest of values (n,), in order, including ties with the k-th."""
    rows = len(values) // _STRIPES
    if rows < 4 * k:
        return np.flatnonzero(values >= np.partition(values, -k)[-k])
    # The k-th largest of the stripes' maxima is at most the k-th largest of all values, and leaves few candidates.
    stripes = values[: rows * _STRIPES].reshape(_STRIPES, rows).max(axis=0)
    some = np.flatnonzero(values >= np.partition(stripes, -k)[-k])
    few = values[some]
    return np.asarray(some[few >= np.partition(few, -k)[-k]])


def log_probabilities(logits: Array) -> Array:
    """Return the natural logarithms of the probabilities of logits (…, vocabulary), before any sampler."""
    wide = logits.astype(np.float64)
    wide -= wide.max(axis=-1, keepdims=True)
    return np.asarray(wide - np.log(np.exp(wide).sum(axis=-1, keepdims=True)))
