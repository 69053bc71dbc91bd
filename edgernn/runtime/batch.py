"""Step many streams through one graph as a batch: each gets the result that it would get alone."""

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
    """A stream in a batch.

    prompt: the tokens of the prompt that the stream has not read yet. fresh: whether the stream has no logits yet.
    text: the text that it decoded in the batch. tokens: the number of tokens of that text.
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
        """Why the text ended: "length", "stop" or "end"; None while it has not."""
        return self.stop_criteria.reason


class Batch:
    """Steps streams together. Streams can join and leave between any two steps.

    A stream in a batch raises StreamError if it is used directly. It leaves the batch when its text ends or `leave` is
    called, and can then be used alone. A batch must be used by one thread at a time; several batches can share a model.
    """

    def __init__(self, model: Program, *, graph: str = STEP) -> None:
        """Create an empty batch for streams of `graph`.

        Raises StreamError for a graph that cannot be batched, or that does not read and predict one token at each step.
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
        self._drawing: list[int] = []  # the rows that `_samplers` was made for
        self._samplers = BatchSampler([])
        self._state: Mapping[str, Array] = {}
        self._conditions: Mapping[str, Array] = {}
        self._logits: Array = np.zeros((0, len(self._tokenizer)), self._next_token.numpy_dtype)

    def __len__(self) -> int:
        """Return the number of streams in the batch."""
        return len(self._slots)

    def __repr__(self) -> str:
        count = len(self)
        return f"<Batch of {count:,} stream{'' if count == 1 else 's'} of {self.model.title}: graph {self._graph}>"

    def join(
        self,
        stream: Stream,
        prompt: str = "",
        max_tokens: int | None = None,
        stop: str | Sequence[str] = (),
        *,
        unknown: str = "refuse",
    ) -> Slot:
        """Take a stream in; it reads `prompt` as `Stream.prefill` does, and then decodes as `Stream.decode` does.

        Raises StreamError for a stream of another model or graph, a stream in use, a stream without logits if `prompt`
        is empty, or one whose conditions have other shapes than those in the batch; UnknownTokenError for a prompt with
        characters outside the vocabulary.
        """
        if stream.model is not self.model or stream.spec is not self._spec:
            raise StreamError(
                "the stream belongs to another model or graph than the batch: begin it with the batch's model"
            )
        criteria = StopCriteria(max_tokens, stop, self._tokenizer.end_id)
        ids = self._tokenizer.encode(prompt, unknown=unknown).tolist()
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
        """Append the tensors of a stream as the last row. If they do not fit, nothing is changed."""
        unread = np.zeros_like(self._logits, shape=(1, self._logits.shape[1]))
        row = unread if detached.logits is None else detached.logits[None]
        state = stack(self._spec.states, [self._state, detached.state] if self._slots else [detached.state])
        held = [self._conditions, detached.conditions] if self._slots else [detached.conditions]
        conditions = stack(self._spec.conditions, held)
        self._logits, self._state, self._conditions = np.concatenate([self._logits, row]), state, conditions

    def leave(self, slot: Slot) -> Stream:
        """Remove a stream and return it at its present state.

        Raises StreamError for a stream that is not in the batch.
        """
        if slot not in self._slots:
            raise StreamError("the stream is not in this batch")
        row = self._slots.index(slot)
        state = select(self._spec.states, self._state, [row])
        slot.stream.attach(state, None if slot.fresh else self._logits[row].copy(), slot.ended)
        self._keep([other for other in range(len(self)) if other != row])
        return slot.stream

    def step(self) -> list[tuple[Slot, str]]:
        """Step every stream by one token, from its prompt or sampled.

        Returns the streams that decoded text, with the text.
        A stream whose text ends leaves the batch. If the logits of a stream cannot be sampled, it leaves and
        SamplingError is raised. After any exception no stream has been stepped.
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
        """Remove every stream, so that each can be used alone again."""
        for slot in list(self._slots):
            self.leave(slot)

    def __enter__(self) -> Batch:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(self) -> Iterator[tuple[Slot, str]]:
        """Step until every stream has left, and yield the text of each as it is decoded."""
        while self._slots:
            yield from self.step()

    def _draw(self, rows: list[int]) -> dict[int, int]:
        """Sample the next tokens of the streams `rows`, by row."""
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
        """Remove the first stream of `rows` whose logits cannot be sampled, and raise its SamplingError."""
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
