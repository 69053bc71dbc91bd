"""Many streams through one graph at once: each has the result that it would have alone."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgernn.contract import Array, select, stack
from edgernn.errors import SamplingError, StreamError
from edgernn.runtime.program import STEP, Program
from edgernn.runtime.sampling_state import SamplingState
from edgernn.runtime.stopping import StopCriteria
from edgernn.runtime.stream import DetachedState, Stream
from edgernn.sampling import BatchSampler

__all__ = ["Batch", "Slot"]


@dataclass(eq=False)
class Slot:
    """The place of a stream in a batch.

    prompt: the tokens that it has yet to read. fresh: it has no logits yet. text: what it decoded in the batch; tokens:
    how many tokens that text took.
    """

    stream: Stream
    sampling: SamplingState
    prompt: deque[int]
    stop_criteria: StopCriteria
    fresh: bool
    text: str = ""
    tokens: int = 0

    @property
    def ended(self) -> str | None:
        """Why the text ended, "length", "stop" or "end", or None."""
        return self.stop_criteria.reason


class Batch:
    """Steps its streams together. They join and leave between any two steps.

    A stream in a batch refuses every other use. It leaves when its text ends or `leave` is called, and can then go on
    alone. A batch belongs to one thread at a time; the model can be shared.
    """

    def __init__(self, model: Program, *, graph: str = STEP) -> None:
        """An empty batch of streams of `graph`.

        Raises StreamError for a graph that takes one stream at a time, or cannot go on with a text.
        """
        self.model = model
        self._graph = graph
        self._spec = model.contract[graph]
        if not self._spec.batched:
            raise StreamError(
                f"graph {graph} has no batch axis, so it takes one stream at a time: step each stream by itself"
            )
        text = model.text_of(graph)
        self._tokenizer = text.require_tokenizer()
        self._token, self._next_token = text.require_token(), text.require_next_token()
        self._slots: list[Slot] = []
        self._drawing: list[int] = []  # the rows whose samplers `_samplers` has
        self._samplers = BatchSampler([])
        self._state: Mapping[str, Array] = {}
        self._conditions: Mapping[str, Array] = {}
        self._logits: Array = np.zeros((0, len(self._tokenizer)), self._next_token.numpy_dtype)

    def __len__(self) -> int:
        """How many streams are in the batch."""
        return len(self._slots)

    def join(
        self, stream: Stream, prompt: str = "", max_tokens: int | None = None, stop: str | Sequence[str] = ()
    ) -> Slot:
        """Take a stream in; it reads `prompt` and then decodes, as `Stream.decode` does.

        Raises StreamError for a stream of another model or graph, one in use, one that has read no prompt and is given
        none, or one whose conditions have other shapes than those in the batch; UnknownTokenError for a prompt that the
        vocabulary lacks.
        """
        if stream.model is not self.model or stream.spec is not self._spec:
            raise StreamError(
                "the stream belongs to another model or graph than the batch: begin it with the batch's model"
            )
        criteria = StopCriteria(max_tokens, stop, self._tokenizer.end_id)
        ids = self._tokenizer.encode(prompt).tolist()
        if criteria.reason is not None:
            raise StreamError("max_tokens is 0: a stream joins a batch to decode at least one token")
        if not ids and stream.logits is None:
            raise StreamError("the stream has read no prompt yet: give join a prompt")
        detached = stream.detach()
        try:
            self._add_slot(detached)
        except ValueError as error:
            stream.attach(detached.state, detached.logits)
            raise StreamError(f"the stream does not fit those in the batch: {error}") from None
        slot = Slot(stream, detached.sampling, deque(ids), criteria, detached.logits is None)
        self._slots.append(slot)
        return slot

    def _add_slot(self, detached: DetachedState) -> None:
        """Add the tensors of a stream as the last row, or change nothing."""
        unread = np.zeros_like(self._logits, shape=(1, self._logits.shape[1]))
        row = unread if detached.logits is None else detached.logits[None]
        state = stack(self._spec.states, [self._state, detached.state] if self._slots else [detached.state])
        held = [self._conditions, detached.conditions] if self._slots else [detached.conditions]
        conditions = stack(self._spec.conditions, held)
        self._logits, self._state, self._conditions = np.concatenate([self._logits, row]), state, conditions

    def leave(self, slot: Slot) -> Stream:
        """Take a stream out, at the state that it has reached. Raises StreamError for one that is not here."""
        if slot not in self._slots:
            raise StreamError("the stream is not in this batch")
        row = self._slots.index(slot)
        state = select(self._spec.states, self._state, [row])
        slot.stream.attach(state, None if slot.fresh else self._logits[row].copy(), slot.ended)
        self._keep([other for other in range(len(self)) if other != row])
        return slot.stream

    def step(self) -> list[tuple[Slot, str]]:
        """Step every stream by one token, of its prompt or drawn: the text that each decoded, where there is some.

        A stream whose text has ended has left when this returns. If nothing can be drawn from the logits of a stream,
        it leaves and SamplingError is raised. No stream has stepped where an exception is raised.
        """
        if not self._slots:
            return []
        drawing = [row for row, slot in enumerate(self._slots) if not slot.prompt]
        generators = [self._slots[row].sampling.generator for row in drawing]
        before = [generator.state for generator in generators]
        try:
            tokens = self._draw(drawing)
            tokens |= {row: slot.prompt[0] for row, slot in enumerate(self._slots) if slot.prompt}
            ids = np.array([tokens[row] for row in range(len(self))], self._token.numpy_dtype)
            outputs, carried = self.model.step(
                {self._token.name: ids}, self._state, conditions=self._conditions, graph=self._graph
            )
        except BaseException as error:
            for generator, state in zip(generators, before, strict=True):
                generator.state = state
            if isinstance(error, SamplingError):
                self._remove_invalid(drawing)
            raise
        self._state, self._logits = carried, outputs[self._next_token.name]
        for slot, token in zip(self._slots, ids.tolist(), strict=True):
            slot.sampling.consume(token)
            slot.fresh = False
            if slot.prompt:
                slot.prompt.popleft()
        decoded = [(self._slots[row], self._append_text(self._slots[row], tokens[row])) for row in drawing]
        for slot, _ in decoded:
            if slot.ended is not None:
                self.leave(slot)
        return [(slot, text) for slot, text in decoded if text]

    def close(self) -> None:
        """Take every stream out, so that each can be used alone again."""
        for slot in list(self._slots):
            self.leave(slot)

    def __enter__(self) -> Batch:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(self) -> Iterator[tuple[Slot, str]]:
        """Step until every stream has left: the text of each, as it is decided."""
        while self._slots:
            yield from self.step()

    def _draw(self, rows: list[int]) -> dict[int, int]:
        """Draw the next tokens of the streams at `rows`."""
        if not rows:
            return {}
        states = [self._slots[row].sampling for row in rows]
        if rows != self._drawing:
            self._drawing, self._samplers = rows, BatchSampler([sampling.sampler for sampling in states])
        logits = self._logits if len(rows) == len(self) else self._logits[rows]
        generators, recent = [sampling.generator for sampling in states], [sampling.recent for sampling in states]
        drawn = self._samplers(logits, generators, recent, self._tokenizer.never_sampled)
        return dict(zip(rows, drawn, strict=True))

    def _remove_invalid(self, rows: Sequence[int]) -> None:
        """Remove the first stream of `rows` from whose logits nothing can be drawn, and raise its SamplingError."""
        for row in rows:
            slot = self._slots[row]
            try:
                slot.sampling.fork().draw(self._logits[row])
            except SamplingError:
                self.leave(slot)
                raise

    @staticmethod
    def _append_text(slot: Slot, token: int) -> str:
        text = slot.stop_criteria.push(token, slot.sampling.text(token))
        slot.text += text
        slot.tokens += 1
        return text

    def _keep(self, rows: list[int]) -> None:
        self._drawing = []
        self._slots = [self._slots[row] for row in rows]
        self._logits = self._logits[rows]
        self._state = select(self._spec.states, self._state, rows)
        self._conditions = select(self._spec.conditions, self._conditions, rows)
