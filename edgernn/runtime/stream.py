"""A stream: one running sequence, the owner of one state."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from edgernn.contract import BATCH, Array, State, check
from edgernn.errors import ContractError, SnapshotError, StreamError
from edgernn.runtime.snapshot import Snapshot
from edgernn.sampling import Generator, Sampler
from edgernn.tokenizer import Ids, TextDecoder, Tokenizer

if TYPE_CHECKING:
    from edgernn.runtime.model import Model

__all__ = ["LOGITS", "TOKEN", "Stream"]

TOKEN = "token"  # the input of a graph that reads tokens
LOGITS = "logits"  # the output of a graph that predicts them


class Stream:
    """One running sequence of a model, begun with `Model.stream`.

    State arrays are replaced by a step and never written to, so a fork costs nothing and cannot see its origin.
    """

    def __init__(self, model: Model, sampler: Sampler, inputs: Mapping[str, Array], graph: str) -> None:
        self.model = model
        self.sampler = sampler
        self._graph = graph
        self._conditions: Mapping[str, Array]
        self._conditions, self._initial = model.begin(inputs, graph=graph)
        self._state = self._initial
        self._logits: Array | None = None
        self._seed = int.from_bytes(os.urandom(8)) if sampler.seed is None else sampler.seed
        self.reset()

    @property
    def state(self) -> State:
        """The state after the last step, to look at."""
        return State(_read_only(self._state))

    @property
    def conditions(self) -> Mapping[str, Array]:
        """What stays the same for the life of the stream, to look at."""
        return _read_only(self._conditions)

    @property
    def logits(self) -> Array | None:
        """Scores (vocabulary,) of the next token, to look at, or None before the first token."""
        return None if self._logits is None else _read_only({LOGITS: self._logits})[LOGITS]

    def step(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run one step and carry the state: the outputs by name. Raises ContractError for inputs that do not fit."""
        outputs, self._state = self.model.step(inputs, self._state, conditions=self._conditions, graph=self._graph)
        self._logits = outputs[LOGITS][0] if LOGITS in outputs else None
        return outputs

    def prefill(self, prompt: str | Ids) -> None:
        """Consume a prompt, text or token ids (tokens,), whole: a prompt that is refused changes nothing.

        Raises UnknownTokenError for characters outside the vocabulary and ContractError for ids outside it.
        """
        ids = self._tokenizer().encode(prompt) if isinstance(prompt, str) else np.asarray(prompt)
        self._check_ids(ids)
        for token in ids:
            self._consume(token)

    def decode(self, max_tokens: int) -> Iterator[str]:
        """Draw up to `max_tokens` tokens and yield their text, in whole characters, as it is decided.

        A token is consumed before its text is yielded: whoever stops listening can fork, save or go on.
        Raises StreamError before the first prefill.
        """
        unknown = self._tokenizer().unknown_id
        for _ in range(max_tokens):
            token = self._draw(unknown)
            self._consume(token)
            if text := self._text(token):
                yield text

    def reset(self) -> None:
        """Go back to the beginning: initial state, no text, the random generator at its seed."""
        self._state = self._initial
        self._logits = None
        self._generator = Generator(self._seed)
        self._decoder = self._new_decoder([])

    def fork(self) -> Stream:
        """An independent stream that stands where this one stands."""
        twin = object.__new__(Stream)
        twin.__dict__.update(self.__dict__)
        twin._generator = Generator(self._generator.state)
        twin._decoder = self._new_decoder(self._tail())
        return twin

    def snapshot(self) -> bytes:
        """The stream as bytes, from which `restore` goes on exactly; see `edgernn.runtime.snapshot`."""
        return Snapshot(
            digest=self.model.manifest.digest,
            precision=self.model.manifest.precision,
            graph=self._graph,
            sampler=self.sampler,
            seed=self._seed,
            generator=self._generator.state,
            tail=self._tail(),
            state=self._state,
            conditions=self._conditions,
            initial=self._initial,
            logits=self._logits,
        ).to_bytes()

    def restore(self, data: bytes, *, any_precision: bool = False) -> None:
        """Go on from where `data` was taken. A snapshot that is refused changes nothing.

        Raises SnapshotError if it is damaged or is of other weights, or, unless `any_precision`, of another precision.
        """
        saved = Snapshot.from_bytes(data)
        manifest = self.model.manifest
        if (saved.digest, saved.graph) != (manifest.digest, self._graph):
            raise SnapshotError("the snapshot was taken from another model")
        if saved.precision != manifest.precision and not any_precision:
            raise SnapshotError(
                f"the snapshot was taken at {saved.precision} and the model is {manifest.precision}; "
                "pass any_precision=True to go on all the same"
            )
        self._check_saved(saved)
        decoder = self._new_decoder(saved.tail)
        self._decoder, self.sampler, self._seed = decoder, saved.sampler, saved.seed
        self._generator = Generator(saved.generator)
        self._state, self._conditions, self._initial = saved.state, saved.conditions, saved.initial
        self._logits = saved.logits

    def _tokenizer(self) -> Tokenizer:
        if self.model.tokenizer is None:
            raise StreamError(f"the bundle's task, {self.model.manifest.task}, has no text: call step")
        return self.model.tokenizer

    def _check_ids(self, ids: Ids) -> None:
        if ids.ndim != 1 or not (np.issubdtype(ids.dtype, np.integer) or ids.size == 0):
            raise ContractError(f"token ids are whole numbers (tokens,), not {ids.dtype} {ids.shape}")
        size = len(self._tokenizer())
        if outside := [int(token) for token in ids if not 0 <= token < size]:
            raise ContractError(f"token {outside[0]} is outside the vocabulary, 0..{size - 1}")

    def _draw(self, unknown: int | None) -> int:
        if self._logits is None:
            raise StreamError("nothing to go on: prefill a prompt first")
        logits = self._logits
        if unknown is not None:
            logits = logits.copy()
            logits[unknown] = -np.inf
        return self.sampler(logits, self._generator)

    def _consume(self, token: int) -> None:
        self.step({TOKEN: np.array([token], np.int64)})

    def _text(self, token: int) -> str:
        assert self._decoder is not None
        return self._decoder.push(token)

    def _new_decoder(self, tail: list[int]) -> TextDecoder | None:
        tokenizer = self.model.tokenizer
        return None if tokenizer is None else tokenizer.decoder(tail)

    def _tail(self) -> list[int]:
        return [] if self._decoder is None else self._decoder.tail

    def _check_saved(self, saved: Snapshot) -> None:
        spec = self.model.contract[self._graph]
        try:
            for state in (saved.state, saved.initial):
                sizes = {BATCH: 1}
                check("condition", spec.conditions, saved.conditions, sizes)
                check("state", spec.states, state, sizes)
            if saved.logits is not None:
                spec.output(LOGITS).check(saved.logits[None], sizes)
        except ContractError as error:
            raise SnapshotError(f"the snapshot does not fit the contract: {error}") from None
        size = 0 if self.model.tokenizer is None else len(self.model.tokenizer)
        if any(token >= size for token in saved.tail):
            raise SnapshotError(f"the snapshot's text has tokens outside the vocabulary, 0..{size - 1}")


def _read_only(arrays: Mapping[str, Array]) -> dict[str, Array]:
    views = {name: array.view() for name, array in arrays.items()}
    for view in views.values():
        view.flags.writeable = False
    return views
