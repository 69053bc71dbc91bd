"""A stream: one running sequence, which owns its state."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from edgernn.atomic import replace_file
from edgernn.contract import BATCH, Array, GraphSpec, State, check, check_tensor
from edgernn.errors import ContractError, SnapshotError, StreamError
from edgernn.pens import START, draw_point
from edgernn.runtime.cursor import Cursor
from edgernn.runtime.program import Program
from edgernn.runtime.reading import Reading
from edgernn.runtime.sampling_state import SamplingState
from edgernn.runtime.snapshot import Snapshot
from edgernn.runtime.stopping import StopCriteria
from edgernn.sampling import Sampler, log_probabilities
from edgernn.tokenizer import Ids

__all__ = ["DetachedState", "SampledToken", "Stream"]


class SampledToken(NamedTuple):
    """A decoded token: its id, the text that it completes, and the natural logarithm of its probability.

    The probability is the model's own, before any sampler.
    """

    token: int
    text: str
    log_probability: float


class DetachedState(NamedTuple):
    """The state that a stream gives to a batch, which steps it from then on.

    logits: scores of the next token, if any.
    """

    sampling: SamplingState
    state: State
    conditions: Mapping[str, Array]
    logits: Array | None


class Stream:
    """One running sequence of a model, created by `Model.stream`. A stream must be used by one thread at a time."""

    def __init__(
        self,
        model: Program,
        sampler: Sampler,
        inputs: Mapping[str, Array],
        graph: str,
        readings: Sequence[Reading] = (),
    ) -> None:
        self.model = model
        self.ended: str | None = None  # why the last decoding ended: "length", "stop" or "end"
        self._graph = graph
        self._spec = model.contract[graph]
        self._text = model.text_of(graph)
        self._scores = self._text.next_token or self._spec.output_of("next-point")
        self._conditions: Mapping[str, Array]
        self._conditions, self._initial = model.begin(inputs, graph=graph, readings=readings)
        self._draw_with = partial(model.draw, graph=graph)
        self._sampling = SamplingState(self._text.tokenizer, self._draw_with, _checked(sampler))
        self._turn = _Turn()
        self._token = self._token_feed()
        self.reset()

    def __repr__(self) -> str:
        after = f"{self.steps:,} step{'' if self.steps == 1 else 's'}"
        return f"<Stream of {self.model.title}: graph {self._graph}, {after}, {self.sampler!r}>"

    @property
    def state(self) -> State:
        """A copy of the state after the last step."""
        with self._turn:
            return self._cursor.state()

    @property
    def steps(self) -> int:
        """The number of steps taken since the beginning."""
        return self._sampling.steps

    @property
    def seed(self) -> int:
        """The seed of the random generator: the sampler's, or the one that was taken in its place."""
        return self._sampling.seed

    @property
    def conditions(self) -> Mapping[str, Array]:
        """The conditions of the stream, as read-only arrays."""
        return _read_only(self._conditions)

    @property
    def logits(self) -> Array | None:
        """A copy of what predicts the next token or point; None before the first step or without such output.

        Of a token, its scores (vocabulary,); of a point, the mixture (6 components + 3,) that `pens` describes.
        """
        with self._turn:
            return self._copied_logits()

    @property
    def spec(self) -> GraphSpec:
        """The specification of the graph that the stream steps."""
        return self._spec

    @property
    def sampler(self) -> Sampler:
        """The sampler of the stream's tokens."""
        return self._sampling.sampler

    @sampler.setter
    def sampler(self, sampler: Sampler) -> None:
        _checked(sampler)
        with self._turn:
            self._sampling = self._sampling.with_sampler(sampler)

    def step(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run one step, carry the state, and return the outputs by name.

        Raises ContractError for inputs that do not fit.
        """
        check("input", self._spec.inputs, inputs, {BATCH: 1})
        with self._turn:
            outputs = self._step(inputs)
            token = self._text.token
            self._sampling.consume(None if token is None else int(inputs[token.name][0]))
            return {name: array.copy() for name, array in outputs.items()}

    def noise(self) -> dict[str, Array]:
        """Draw the inputs of kind noise of the next step: normal deviates, multiplied by the sampler's temperature.

        They come from the stream's random generator, so that snapshots and forks go on with the same ones.
        Raises StreamError for a graph without such an input.
        """
        specs = [tensor for tensor in self._spec.inputs if tensor.kind == "noise"]
        if not specs:
            raise StreamError(f"graph {self._graph} has no input of the kind noise")
        with self._turn:
            found = {}
            for tensor in specs:
                shape = tensor.shape({BATCH: 1})
                drawn = self._sampling.generator.normal(math.prod(shape)) * self.sampler.temperature
                found[tensor.name] = drawn.reshape(shape).astype(tensor.numpy_dtype)
            return found

    def next_point(self) -> dict[str, Array]:
        """Draw the input of kind point of the next step, from what the last step predicted; at first, it is the start.

        The random numbers come from the stream's generator, so that snapshots and forks go on with the same ones.
        Raises StreamError for a graph that does not read and predict points, ConfigError and SamplingError as
        `pens.draw_point`.
        """
        spec = self._spec.input_of("point")
        if spec is None or self._spec.output_of("next-point") is None:
            raise StreamError(f"graph {self._graph} does not read and predict points of a pen")
        with self._turn:
            found = START
            if self._logits is not None:
                found = draw_point(self._logits, self.sampler.temperature, self._sampling.generator)
            return {spec.name: found[None].astype(spec.numpy_dtype)}

    def prefill(self, prompt: str | Ids, *, unknown: str = "refuse") -> None:
        """Consume a prompt, text or token ids (tokens,), whole: a prompt that is refused changes nothing.

        unknown: "refuse", "skip" or "replace": what becomes of characters of a text that are outside the vocabulary, as
        `Tokenizer.encode` describes it.
        Raises UnknownTokenError for such characters if they are refused, ContractError for ids outside the vocabulary,
        StreamError for a graph that does not read one token at each step.
        """
        self._text.require_token()
        tokenizer = self._text.require_tokenizer()
        ids = tokenizer.encode(prompt, unknown=unknown) if isinstance(prompt, str) else np.asarray(prompt)
        self._check_ids(ids)
        with self._turn:
            self._sampling.interrupt()
            for token in ids.tolist():
                self._consume(token)

    def decode(self, max_tokens: int | None = None, stop: str | Sequence[str] = ()) -> Iterator[str]:
        """Sample tokens and yield their text, in whole characters, as it is decoded.

        Decoding ends after `max_tokens`, before a stop string, which is not yielded, or at the end token; `ended` says
        which. Each token is read before its text is yielded, so a caller that breaks off can fork, save or continue the
        stream; only text that was held back as the possible beginning of a stop string is lost.
        Raises StreamError before the first prefill or for a graph that predicts no next token, SamplingError for logits
        that are not numbers.
        """
        return (drawn.text for drawn in self._decode(max_tokens, stop, scored=False) if drawn.text)

    def tokens(self, max_tokens: int | None = None, stop: str | Sequence[str] = ()) -> Iterator[SampledToken]:
        """Decode like `decode`, but yield tokens with probabilities; the last token of a character has its text."""
        return self._decode(max_tokens, stop, scored=True)

    async def adecode(self, max_tokens: int | None = None, stop: str | Sequence[str] = ()) -> AsyncIterator[str]:
        """Decode like `decode`, and let other asyncio tasks run after each piece of text."""
        for text in self.decode(max_tokens, stop):
            yield text
            await asyncio.sleep(0)

    def complete(
        self,
        prompt: str,
        max_tokens: int | None = None,
        stop: str | Sequence[str] = (),
        *,
        echo: bool = False,
        unknown: str = "refuse",
    ) -> str:
        """Consume `prompt` and decode to the end. Returns the text, after the prompt itself if `echo` is set.

        unknown: as in `prefill`.
        """
        self.prefill(prompt, unknown=unknown)
        return (prompt if echo else "") + "".join(self.decode(max_tokens, stop))

    def reset(self) -> None:
        """Return to the initial state, without any text, and with the random generator at its seed."""
        with self._turn:
            self._cursor = self._new_cursor(self._initial)
            self._logits: Array | None = None
            self._sampling = self._sampling.fresh()

    def fork(self) -> Stream:
        """Return an independent copy of the stream."""
        with self._turn:
            return self._twin()

    def _twin(self) -> Stream:
        twin = object.__new__(Stream)
        twin.__dict__.update(self.__dict__)
        twin._turn = _Turn()
        twin._token = self._token_feed()
        twin._cursor = self._new_cursor(self._cursor.state())
        twin._logits = self._copied_logits()
        twin._sampling = self._sampling.fork()
        return twin

    def snapshot(self) -> bytes:
        """Return the stream as bytes, from which `restore` continues exactly. The format is in `export/CONTRACT.md`."""
        with self._turn:
            sampling = self._sampling
            return Snapshot(
                digest=self.model.manifest.digest,
                precision=self.model.manifest.precision,
                graph=self._graph,
                sampler=sampling.sampler,
                seed=sampling.seed,
                generator=sampling.generator.state,
                steps=sampling.steps,
                recent=list(sampling.recent),
                tail=sampling.tail,
                state=self._cursor.state(),
                conditions=self._conditions,
                initial=self._initial,
                logits=self._logits,
            ).to_bytes()

    def restore(self, data: bytes, *, any_precision: bool = False) -> None:
        """Continue from the snapshot `data`. If it is refused, nothing is changed.

        Raises SnapshotError if it is damaged, was taken with other weights, or was taken at another precision and
        `any_precision` is not set.
        """
        saved = Snapshot.from_bytes(data)
        manifest = self.model.manifest
        if (saved.digest, saved.graph) != (manifest.digest, self._graph):
            raise SnapshotError(
                "the snapshot was taken from a model of another run: load a bundle of the run that it was taken from"
            )
        if saved.precision != manifest.precision and not any_precision:
            raise SnapshotError(
                f"the snapshot was taken at {saved.precision} and the model is {manifest.precision}: load a bundle at "
                f"{saved.precision}, or set any_precision to go on all the same"
            )
        self._check_saved(saved)
        sampling = SamplingState(
            self._text.tokenizer,
            self._draw_with,
            saved.sampler,
            saved.seed,
            generator=saved.generator,
            recent=saved.recent,
            tail=saved.tail,
            steps=saved.steps,
        )
        with self._turn:
            self._sampling = sampling
            self._conditions, self._initial = saved.conditions, saved.initial
            self._cursor = self._new_cursor(saved.state)
            self._logits = None if self._scores is None else saved.logits

    def save(self, path: str | Path) -> None:
        """Write a snapshot to `path` atomically. Raises SnapshotError if that is impossible."""
        try:
            replace_file(Path(path), self.snapshot())
        except OSError as error:
            raise SnapshotError(f"{path}: cannot be written: {error.strerror}") from None

    def load(self, path: str | Path, *, any_precision: bool = False) -> None:
        """Continue from the snapshot at `path`, as `restore` does. Raises SnapshotError also if it cannot be read."""
        try:
            data = Path(path).read_bytes()
        except OSError as error:
            raise SnapshotError(f"{path}: cannot be read: {error.strerror}") from None
        try:
            self.restore(data, any_precision=any_precision)
        except SnapshotError as error:
            raise SnapshotError(f"{path}: {error}") from None

    def _decode(self, max_tokens: int | None, stop: str | Sequence[str], *, scored: bool) -> Iterator[SampledToken]:
        self._text.require_token()
        self._text.require_next_token()
        criteria = StopCriteria(max_tokens, stop, self._text.require_tokenizer().end_id)
        self.ended = criteria.reason
        while criteria.reason is None:
            with self._turn:
                token, score = self._draw(scored)
                self._consume(token)
                text = criteria.push(token, self._sampling.text(token))
                self.ended = criteria.reason
            yield SampledToken(token, text, score)

    def _draw(self, scored: bool) -> tuple[int, float]:
        logits = self._logits
        if logits is None:
            raise StreamError("there are no logits yet: prefill a prompt first")
        token = self._sampling.draw(logits)
        return token, float(log_probabilities(logits)[token]) if scored else math.nan

    def _consume(self, token: int) -> None:
        for array in self._token.values():
            array[0] = token
        self._step(self._token)
        self._sampling.consume(token)

    def _token_feed(self) -> dict[str, Array]:
        """Return reusable arrays for a step that reads one token; empty for a graph that reads none."""
        token = self._text.token
        return {} if token is None else {token.name: np.zeros(1, token.numpy_dtype)}

    def _step(self, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        outputs = self._cursor.step(inputs)
        self._logits = None if self._scores is None else outputs[self._scores.name][0]
        return outputs

    def _new_cursor(self, state: Mapping[str, Array]) -> Cursor:
        return self.model.cursor(self._conditions, state, graph=self._graph)

    def _copied_logits(self) -> Array | None:
        return None if self._logits is None else self._logits.copy()

    def _check_ids(self, ids: Ids) -> None:
        if ids.ndim != 1 or not (np.issubdtype(ids.dtype, np.integer) or ids.size == 0):
            raise ContractError(f"token ids must be an array of whole numbers (tokens,), not {ids.dtype} {ids.shape}")
        size = len(self._text.require_tokenizer())
        if outside := [int(token) for token in ids if not 0 <= token < size]:
            raise ContractError(f"token {outside[0]} is outside the vocabulary, 0..{size - 1}")

    def detach(self) -> DetachedState:
        """Detach state and sampler, for a batch. Until `attach`, any use of the stream raises StreamError."""
        self._turn.__enter__()
        return DetachedState(self._sampling, self._cursor.state(), self._conditions, self._copied_logits())

    def attach(self, state: Mapping[str, Array], logits: Array | None, ended: str | None = None) -> None:
        """Attach the state that a batch has reached. ended: why the text ended there, or None."""
        self.ended = ended
        self._cursor = self._new_cursor(state)
        self._logits = logits
        self._turn.__exit__()

    def _check_saved(self, saved: Snapshot) -> None:
        try:
            for state in (saved.state, saved.initial):
                sizes = {BATCH: 1}
                check("condition", self._spec.conditions, saved.conditions, sizes)
                check("state", self._spec.states, state, sizes)
            if saved.logits is not None and self._scores is not None:
                check_tensor(self._scores, saved.logits[None], {BATCH: 1})
        except ContractError as error:
            raise SnapshotError(f"the snapshot does not fit the contract: {error}") from None
        tokenizer = self._text.tokenizer
        if tokenizer is not None and any(token >= len(tokenizer) for token in (*saved.tail, *saved.recent)):
            raise SnapshotError(f"the snapshot's text has tokens outside the vocabulary, 0..{len(tokenizer) - 1}")


class _Turn:
    """A lock that is held while a stream is used.

    Raises StreamError if it is held, since waiting would mix two texts.
    """

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        if not self._lock.acquire(blocking=False):
            raise StreamError("the stream is in use: it belongs to one thread, or one batch, at a time")

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def _checked(sampler: Sampler) -> Sampler:
    """The sampler. Raises StreamError for anything else, such as a temperature."""
    if isinstance(sampler, Sampler):
        return sampler
    raise StreamError(
        f"a stream takes a Sampler and not {str(sampler)[:40]!r}: write, for example, Sampler(temperature=0.8)"
    )


def _read_only(arrays: Mapping[str, Array]) -> dict[str, Array]:
    views = {name: array.view() for name, array in arrays.items()}
    for view in views.values():
        view.flags.writeable = False
    return views
