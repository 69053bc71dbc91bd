"""What a stream has beside its state: sampler, random generator, the last tokens, and characters not yet whole."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Sequence

from edgernn.contract import Array
from edgernn.errors import ConfigError, SamplingError
from edgernn.sampling import Generator, Sampler
from edgernn.tokenizer import TextDecoder, Tokenizer

__all__ = ["SamplingState"]


class SamplingState:
    """Turns the logits of one stream into tokens, and its tokens into text.

    seed: the first state of the random generator. generator: its present state. recent: the last tokens, read or drawn,
    as far as the sampler looks back. tail: tokens that the text decoder still needs. steps: how many the stream took.

    Raises ConfigError for a bias of a token that the vocabulary lacks.
    """

    def __init__(
        self,
        tokenizer: Tokenizer | None,
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
        seed = sampler.seed if seed is None else seed
        self.seed = int.from_bytes(os.urandom(8)) if seed is None else seed
        self.generator = Generator(self.seed if generator is None else generator)
        self.recent: deque[int] = deque(recent, maxlen=sampler.history)
        self.steps = steps
        self._decoder: TextDecoder | None = None if tokenizer is None else tokenizer.decoder(tail)

    @property
    def tail(self) -> list[int]:
        """The tokens from which another text decoder can go on."""
        return [] if self._decoder is None else self._decoder.tail

    def fresh(self) -> SamplingState:
        """The state of a stream that has taken no step: no tokens, the random generator at its seed."""
        return SamplingState(self._tokenizer, self.sampler, self.seed)

    def fork(self) -> SamplingState:
        """An independent copy."""
        return self.with_sampler(self.sampler)

    def with_sampler(self, sampler: Sampler) -> SamplingState:
        """A copy with another sampler. The random generator goes on, unless the sampler has another seed."""
        reseeded = sampler.seed is not None and sampler.seed != self.seed
        return SamplingState(
            self._tokenizer,
            sampler,
            sampler.seed if reseeded else self.seed,
            generator=sampler.seed if reseeded else self.generator.state,
            recent=self.recent,
            tail=self.tail,
            steps=self.steps,
        )

    def draw(self, logits: Array) -> int:
        """Draw the next token from `logits` (vocabulary,). Raises SamplingError, naming the step, if none can be."""
        never_sampled = () if self._tokenizer is None else self._tokenizer.never_sampled
        try:
            return self.sampler(logits, self.generator, self.recent, never_sampled)
        except SamplingError as error:
            raise SamplingError(f"after step {self.steps}: {error}") from None

    def consume(self, token: int | None) -> None:
        """Count a step, and remember the token that it read, if it read one."""
        self.steps += 1
        if token is not None:
            self.recent.append(token)

    def interrupt(self) -> None:
        """Drop the beginning of a character that is not whole: other text follows."""
        self._decoder = None if self._tokenizer is None else self._tokenizer.decoder([])

    def text(self, token: int) -> str:
        """The text that a drawn `token` completes."""
        return "" if self._decoder is None else self._decoder.push(token)
