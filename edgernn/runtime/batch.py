"""Many streams through one graph: each has the result that it would have alone."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgernn.contract import Array, select, stack
from edgernn.errors import SamplingError, StreamError
from edgernn.runtime.ending import Ending
from edgernn.runtime.model import STEP, Model
from edgernn.runtime.stream import LOGITS, TOKEN, Loan, Stream
from edgernn.runtime.voice import Voice
from edgernn.sampling import Samplers

__all__ = ["Batch", "Seat"]


@dataclass(eq=False)
class Seat:
    """The place of a stream in a batch.

    text, tokens: what it decoded here, and of how many tokens.
    """

    stream: Stream
    voice: Voice
    prompt: deque[int]
    ending: Ending
    fresh: bool  # has no logits yet
    text: str = ""
    tokens: int = 0

    @property
    def ended(self) -> str | None:
        """Why the text ended, "length", "stop" or "end", or None."""
        return self.ending.why


class Batch:
    """Steps its streams together. They join and leave between any two steps.

    While a stream is here nobody else can use it. It leaves when its text ends or it is told to, and can go on alone. A
    batch belongs to one thread at a time; the model can be shared.
    """

    def __init__(self, model: Model, *, graph: str = STEP) -> None:
        """Raises StreamError for a graph that takes one stream at a time, or a bundle without text."""
        self.model = model
        self._graph = graph
        self._spec = model.contract[graph]
        if not self._spec.batched:
            raise StreamError(f"the graph {graph} takes one stream at a time")
        if model.tokenizer is None:
            raise StreamError(f"the bundle's task, {model.manifest.task}, has no text: call step")
        self._tokenizer = model.tokenizer
        self._seats: list[Seat] = []
        self._drawing: list[int] = []  # the rows for which the samplers stand side by side
        self._samplers = Samplers([])
        self._state: Mapping[str, Array] = {}
        self._conditions: Mapping[str, Array] = {}
        self._logits: Array = np.zeros((0, len(model.tokenizer)), np.float32)

    def __len__(self) -> int:
        """How many streams are here."""
        return len(self._seats)

    def join(
        self, stream: Stream, prompt: str = "", max_tokens: int | None = None, stop: str | Sequence[str] = ()
    ) -> Seat:
        """Take a stream in; it reads `prompt` and then decodes, as `Stream.decode` does.

        Raises StreamError for a stream of another model or graph, one in use, one with nothing to go on, or one whose
        conditions do not go together with those here, UnknownTokenError for a prompt that the vocabulary lacks.
        """
        if stream.model is not self.model or stream.spec is not self._spec:
            raise StreamError("the stream is of another model, or another graph, than the batch")
        ending = Ending(max_tokens, stop, self._tokenizer.end_id)
        ids = self._tokenizer.encode(prompt).tolist()
        if ending.why is not None:
            raise StreamError("a stream that decodes nothing has no place in a batch")
        if not ids and stream.logits is None:
            raise StreamError("nothing to go on: the stream has read no prompt, and is given none")
        loan = stream.lend()
        try:
            self._seat(loan)
        except ValueError as error:
            stream.take_back(loan.state, loan.logits)
            raise StreamError(f"the stream does not go together with those in the batch: {error}") from None
        seat = Seat(stream, loan.voice, deque(ids), ending, loan.logits is None)
        self._seats.append(seat)
        return seat

    def _seat(self, loan: Loan) -> None:
        """Put the tensors of a stream behind those that are here, or change nothing."""
        row = (
            np.zeros_like(self._logits, shape=(1, self._logits.shape[1])) if loan.logits is None else loan.logits[None]
        )
        state = stack(self._spec.states, [self._state, loan.state] if self._seats else [loan.state])
        held = [self._conditions, loan.conditions] if self._seats else [loan.conditions]
        conditions = stack(self._spec.conditions, held)
        self._logits, self._state, self._conditions = np.concatenate([self._logits, row]), state, conditions

    def leave(self, seat: Seat) -> Stream:
        """Take a stream out, which stands where the batch brought it. Raises StreamError for one that is not here."""
        if seat not in self._seats:
            raise StreamError("the stream is not in this batch")
        row = self._seats.index(seat)
        state = select(self._spec.states, self._state, [row])
        seat.stream.take_back(state, None if seat.fresh else self._logits[row].copy(), seat.ended)
        self._keep([other for other in range(len(self)) if other != row])
        return seat.stream

    def step(self) -> list[tuple[Seat, str]]:
        """One token for every stream here, of its prompt or drawn: the text that each decoded, where there is some.

        A stream whose text has ended has left when this returns. One from which nothing can be drawn leaves before the
        step is taken, which raises SamplingError. After whatever is raised the others stand where they stood.
        """
        if not self._seats:
            return []
        drawing = [row for row, seat in enumerate(self._seats) if not seat.prompt]
        generators = [self._seats[row].voice.generator for row in drawing]
        before = [generator.state for generator in generators]
        try:
            tokens = self._draw(drawing)
            tokens |= {row: seat.prompt[0] for row, seat in enumerate(self._seats) if seat.prompt}
            ids = np.array([tokens[row] for row in range(len(self))], np.int64)
            outputs, carried = self.model.step(
                {TOKEN: ids}, self._state, conditions=self._conditions, graph=self._graph
            )
        except BaseException as error:
            for generator, state in zip(generators, before, strict=True):
                generator.state = state
            if isinstance(error, SamplingError):
                self._expel(drawing)
            raise
        self._state, self._logits = carried, outputs[LOGITS]
        for seat, token in zip(self._seats, ids.tolist(), strict=True):
            seat.voice.consume(token)
            seat.fresh = False
            if seat.prompt:
                seat.prompt.popleft()
        spoken = [(self._seats[row], self._hear(self._seats[row], tokens[row])) for row in drawing]
        for seat, _ in spoken:
            if seat.ended is not None:
                self.leave(seat)
        return [(seat, text) for seat, text in spoken if text]

    def close(self) -> None:
        """Let every stream leave: while a batch has one, nobody else can use it."""
        for seat in list(self._seats):
            self.leave(seat)

    def __enter__(self) -> Batch:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(self) -> Iterator[tuple[Seat, str]]:
        """Step until no stream is left: the text of each as it is decided."""
        while self._seats:
            yield from self.step()

    def _draw(self, rows: list[int]) -> dict[int, int]:
        """The next tokens of the streams at `rows`."""
        if not rows:
            return {}
        voices = [self._seats[row].voice for row in rows]
        if rows != self._drawing:
            self._drawing, self._samplers = rows, Samplers([voice.sampler for voice in voices])
        logits = self._logits if len(rows) == len(self) else self._logits[rows]
        generators, recent = [voice.generator for voice in voices], [voice.recent for voice in voices]
        drawn = self._samplers(logits, generators, recent, self._tokenizer.never)
        return dict(zip(rows, drawn, strict=True))

    def _expel(self, rows: Sequence[int]) -> None:
        """Let the first of `rows` from which nothing can be drawn leave, and raise what is wrong with it."""
        for row in rows:
            seat = self._seats[row]
            try:
                seat.voice.fork().draw(self._logits[row])
            except SamplingError:
                self.leave(seat)
                raise

    @staticmethod
    def _hear(seat: Seat, token: int) -> str:
        text = seat.ending.push(token, seat.voice.text(token))
        seat.text += text
        seat.tokens += 1
        return text

    def _keep(self, rows: list[int]) -> None:
        self._drawing = []
        self._seats = [self._seats[row] for row in rows]
        self._logits = self._logits[rows]
        self._state = select(self._spec.states, self._state, rows)
        self._conditions = select(self._spec.conditions, self._conditions, rows)
