"""Hold a unit while texts are generated: do they change as the unit says?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from edgernn.contract import Array
from edgernn.errors import ConfigError
from edgernn.runtime.model import STEP, Model
from edgernn.runtime.sampling_state import SamplingState
from edgernn.runtime.units.finding import Finding, is_so
from edgernn.runtime.units.properties import codes
from edgernn.runtime.units.recording import Recording
from edgernn.sampling import Sampler

__all__ = ["Held", "Measured", "hold"]

_PROMPTS = 16
_CERTAIN = 2.0  # standard errors of a difference that is no accident


@dataclass(frozen=True)
class Measured:
    """The mean of a figure over generated texts.

    free: with the unit as the network computes it. high, low: with the unit held at its mean where the property holds
    (of a number: is above its mean), and where not. error: the standard error of high - low over the prompts.
    """

    free: float
    high: float
    low: float
    error: float

    @classmethod
    def of(cls, figures: Array) -> Measured:
        """The means of figures (3, prompts): with the unit free, held high and held low."""
        free, high, low = figures
        error = float((high - low).std(ddof=1) / math.sqrt(len(free)))
        return cls(float(free.mean()), float(high.mean()), float(low.mean()), error)

    @property
    def difference(self) -> float:
        """By how much the figure is larger with the unit held high than with it held low."""
        return self.high - self.low

    @property
    def direction(self) -> int:
        """1 if the figure changes as it should, -1 if it changes the other way, 0 within two standard errors."""
        return 0 if abs(self.difference) <= _CERTAIN * self.error else 1 if self.difference > 0 else -1

    def to_json(self) -> dict[str, Any]:
        """Return the figures as commands print them with --json."""
        return {**asdict(self), "difference": self.difference, "direction": self.direction}


@dataclass(frozen=True)
class Held:
    """What holding a unit changes in generated texts.

    prompts: the number of texts with the unit free, as many with it held high, and as many with it held low; the
    prompts and seeds are the same. tokens: of each text. mean: of the property in the text, which for one that holds or
    not is the share of characters at which it holds. likeness: how much more the text reads like what follows where the
    property holds than like what follows where it does not, in bits a character.
    """

    prompts: int
    tokens: int
    mean: Measured
    likeness: Measured

    def to_json(self) -> dict[str, Any]:
        """Return the figures as commands print them with --json."""
        figures = {"mean": self.mean.to_json(), "likeness": self.likeness.to_json()}
        return {"prompts": self.prompts, "tokens": self.tokens, **figures}


class _Row(NamedTuple):
    """A text to generate. start: the last token that is read before it. value: of the unit; NaN leaves it free."""

    start: int
    seed: int
    value: float


def hold(
    model: Model,
    recording: Recording,
    finding: Finding,
    sampler: Sampler,
    tokens: int,
    *,
    graph: str = STEP,
) -> Held:
    """Generate texts with the unit of `finding` free, held high and held low, and measure how they differ.

    The prompts are the recorded text up to places that are spread evenly over its second half. The unit is held in the
    state between any two steps; what a step computes before that from its own new state, such as the prediction of an
    output layer that reads the unit, is as it is. sampler: its seed, or 0, is that of the first prompt; the next one
    gets the next seed, and so on. tokens: of each text.
    Raises SamplingError where no token can be drawn, ConfigError for tokens that spell nothing.
    """
    half, size = recording.half, len(recording.tokens)
    starts = (half + np.arange(_PROMPTS) * (size - half) // _PROMPTS).tolist()
    seeds = [(sampler.seed or 0) + number for number in range(_PROMPTS)]
    values = (math.nan, finding.high, finding.low)
    rows = [_Row(start, seed, value) for value in values for start, seed in zip(starts, seeds, strict=True)]
    at_once = len(rows) if model.contract[graph].batched else 1
    texts: list[str] = []
    while len(texts) < len(rows):
        part = rows[len(texts) : len(texts) + at_once]
        texts += _Generation(model, recording, finding, part, sampler, graph).run(tokens)
    if not all(texts):
        raise ConfigError("a generated text has no characters: take more of them with --max-tokens")
    likeness = _Likeness(recording, finding)
    befores = [recording.text[: recording.places[row.start] + 1] for row in rows]
    pairs = list(zip(befores, texts, strict=True))
    means = [float(finding.property(before + text)[len(before) :].mean()) for before, text in pairs]
    figures = (np.reshape(each, (len(values), _PROMPTS)) for each in (means, [likeness(text) for text in texts]))
    return Held(_PROMPTS, tokens, *map(Measured.of, figures))


class _Generation:
    """Texts that are generated in one batch, from the states that were recorded, with a unit held in some of them."""

    def __init__(
        self,
        model: Model,
        recording: Recording,
        finding: Finding,
        rows: Sequence[_Row],
        sampler: Sampler,
        graph: str,
    ) -> None:
        self._units, self._unit = recording.units, finding.unit
        self._values = np.array([row.value for row in rows])
        starts = np.array([row.start for row in rows])
        self._state = self._units.states(recording.values[starts - 1])
        self._ids = recording.tokens[starts]
        tensors = model.text_of(graph)
        self._token, self._scores = tensors.require_token(), tensors.require_next_token().name
        draw = partial(model.draw, graph=graph)
        self._sampling = [SamplingState(tensors.tokenizer, draw, sampler, row.seed) for row in rows]
        self._step = partial(model.step, conditions=model.begin(graph=graph, batch=len(rows))[0], graph=graph)

    def run(self, tokens: int) -> list[str]:
        """Return the text of each row."""
        pieces = [self._next() for _ in range(tokens)]
        return ["".join(row) for row in zip(*pieces, strict=True)]

    def _next(self) -> list[str]:
        """Step all texts, and return what each of them goes on with."""
        held = self._units.hold(self._state, self._unit, self._values)
        outputs, self._state = self._step({self._token.name: self._ids.astype(self._token.numpy_dtype)}, held)
        pairs = list(zip(self._sampling, outputs[self._scores], strict=True))
        drawn = [sampling.draw(logits) for sampling, logits in pairs]
        for (sampling, _), token in zip(pairs, drawn, strict=True):
            sampling.consume(token)
        self._ids = np.array(drawn)
        return [sampling.text(token) for (sampling, _), token in zip(pairs, drawn, strict=True)]


class _Likeness:
    """How much more a text reads like what follows where a property holds than like what follows where it does not.

    This is the mean of log2 p / q over its characters. p and q are the frequencies of the character after the places of
    the recorded text where the property holds (of a number: is above its mean), and after the others; each character is
    counted once more than it occurs.
    """

    def __init__(self, recording: Recording, finding: Finding) -> None:
        told = is_so(finding.property(recording.text))[:-1]
        following = codes(recording.text)[1:]
        self._alphabet, numbers = np.unique(following, return_inverse=True)
        size = len(self._alphabet)
        p, q = (np.bincount(numbers[where], minlength=size) + 1 for where in (told, ~told))
        self._bits = np.log2(p / p.sum()) - np.log2(q / q.sum())

    def __call__(self, text: str) -> float:
        """The bits a character; characters that the recorded text lacks have none."""
        found = codes(text)
        at = np.minimum(np.searchsorted(self._alphabet, found), len(self._alphabet) - 1)
        return float(np.where(self._alphabet[at] == found, self._bits[at], 0).mean())
