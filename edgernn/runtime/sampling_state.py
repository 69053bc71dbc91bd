"""What a stream holds besides its state: sampler, random generator, recent tokens, and incomplete characters."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from edgernn.contract import Array
from edgernn.errors import ConfigError, SamplingError
from edgernn.sampling import Draw, Generator, Sampler
from edgernn.tokenizer import TextDecoder, Tokenizer

__all__ = ["SamplingState"]


class SamplingState:
    """Samples tokens from the logits of one stream, and decodes its tokens to text.

    draw: returns what draws tokens as a sampler does. seed: the first state of the random generator. generator: the
    random generator. recent: the last tokens, read or sampled, as many as the sampler needs. tail: tokens that the text
    decoder still needs. steps: the number of steps that the stream has taken.

    Raises ConfigError for a bias of a token outside the vocabulary.
    """

    def __init__(
        self,
        tokenizer: Tokenizer | None,
        draw: Callable[[Sampler], Draw],
        sampler: Sampler,
        seed: int | None = None,
        *,
        generator: int | None = None,
        recent: Iterable[int] = (),
        tail: Sequence[int] = (),
        steps: int = 0,
    ) -> None:
        if tokenizer is not None and any(token >= len(tokenizer) for token in sampler.bias):
            raise ConfigError(
                f"a bias is given for token {max(sampler.bias)}, and the vocabulary ends at {len(tokenizer) - 1}"
            )
        self._tokenizer = tokenizer
        self.sampler = sampler
        self._draw_with, self._draw = draw, draw(sampler)
        seed = sampler.seed if seed is None else seed
        self.seed = int.from_bytes(os.urandom(8)) if seed is None else seed
        self.generator = Generator(self.seed if generator is None else generator)
        self.recent: deque[int] = deque(recent, maxlen=sampler.history)
        self.steps = steps
        self._decoder: TextDecoder | None = None if tokenizer is None else tokenizer.decoder(tail)

    @property
    def tail(self) -> list[int]:
        """The tokens that another text decoder needs to continue."""
        return [] if self._decoder is None else self._decoder.tail

    def fresh(self) -> SamplingState:
        """Return the state of a stream that has taken no step: no tokens, and the random generator at its seed."""
        return SamplingState(self._tokenizer, self._draw_with, self.sampler, self.seed)

    def fork(self) -> SamplingState:
        """Return an independent copy."""
        return self.with_sampler(self.sampler)

    def with_sampler(self, sampler: Sampler) -> SamplingState:
        """Return a copy with another sampler. The random generator continues, unless the sampler has another seed."""
        reseeded = sampler.seed is not None and sampler.seed != self.seed
        return SamplingState(
            self._tokenizer,
            self._draw_with,
            sampler,
            sampler.seed if reseeded else self.seed,
            generator=sampler.seed if reseeded else self.generator.state,
            recent=self.recent,
            tail=self.tail,
            steps=self.steps,
        )

    def draw(self, logits: Array) -> int:
        """Sample the next token from `logits` (vocabulary,).

        Raises SamplingError, naming the step, if that is impossible.
        """
        never_sampled = () if self._tokenizer is None else self._tokenizer.never_sampled
        try:
            return self._draw(logits, self.generator, self.recent, never_sampled)
        except SamplingError as error:
            raise SamplingError(f"after step {self.steps}: {error}") from None

    def consume(self, token: int | None) -> None:
        """Count a step, and record the token that it read, if any."""
        self.steps += 1
        if token is not None:
            self.recent.append(token)

    def interrupt(self) -> None:
        """Discard an incomplete character, because other text follows."""
        self._decoder = None if self._tokenizer is None else self._tokenizer.decoder([])

    def text(self, token: int) -> str:
        """Return the text that a sampled `token` completes."""
        return "" if self._decoder is None else self._decoder.push(token)
