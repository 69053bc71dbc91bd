"""Draws in compiled code, which are those of a sampler in Python and take a small part of its time."""

from __future__ import annotations

import ctypes
from collections.abc import Collection, Sequence
from functools import cache
from typing import Any

import numpy as np

from edgernn.contract import Array
from edgernn.sampling import Generator, Sampler

__all__ = ["CompiledDraw"]


class CompiledDraw:
    """Draws tokens as `sampler` does, in the function NAME_draw of a bundle in C.

    vocabulary, history: the constants with which the function was compiled. It never draws the start token and the
    unknown token of its bundle, whatever `forbidden` says.
    """

    def __init__(self, function: Any, sampler: Sampler, *, vocabulary: int, history: int) -> None:
        biases = len(sampler.bias)
        tokens, values = (ctypes.c_int32 * biases)(*sampler.bias), (ctypes.c_double * biases)(*sampler.bias.values())
        penalised = sampler.repetition_penalty != 1
        settings = _Settings(
            sampler.temperature,
            sampler.top_p,
            sampler.min_p,
            sampler.repetition_penalty,
            min(sampler.top_k, vocabulary),
            min(sampler.repetition_window, history) if penalised else 0,
            ctypes.addressof(tokens),
            ctypes.addressof(values),
            biases,
        )
        self._sampler, self._function = sampler, function
        self._text = _text(vocabulary, history)()
        self._recalls = penalised and sampler.repetition_window > 0
        self._logits = np.frombuffer(self._text.logits, np.float32)
        addresses = ctypes.addressof(settings), ctypes.addressof(self._text), self._logits.ctypes.data
        self._arguments = tuple(map(ctypes.c_void_p, addresses))
        self._kept = settings, tokens, values

    def __call__(
        self, logits: Array, generator: Generator, recent: Collection[int] = (), forbidden: Sequence[int] = ()
    ) -> int:
        """Draw a token id from `logits` (vocabulary,), float32. Raises SamplingError as `Sampler` does."""
        text = self._text
        text.generator = generator.state
        if self._recalls:
            self._recall(recent)
        self._logits[:] = logits
        token: int = self._function(*self._arguments)
        if token < 0:
            return self._sampler(logits, generator, recent, forbidden)  # which raises the error
        generator.state = text.generator
        return token

    def _recall(self, recent: Collection[int]) -> None:
        text, last = self._text, list(recent)[-len(self._text.recent) :]
        text.recent[: len(last)] = last
        text.recents, text.next = len(last), len(last) % len(text.recent)


class _Settings(ctypes.Structure):
    """The struct NAME_sampler of the header."""

    _fields_ = (
        ("temperature", ctypes.c_double),
        ("top_p", ctypes.c_double),
        ("min_p", ctypes.c_double),
        ("repetition_penalty", ctypes.c_double),
        ("top_k", ctypes.c_int32),
        ("repetition_window", ctypes.c_int32),
        ("bias_tokens", ctypes.c_void_p),
        ("bias_values", ctypes.c_void_p),
        ("biases", ctypes.c_int32),
    )


@cache
def _text(vocabulary: int, history: int) -> type[Any]:
    """Return the struct NAME_text of the header."""

    class Text(ctypes.Structure):
        _fields_ = (
            ("generator", ctypes.c_uint64),
            ("recent", ctypes.c_int32 * history),
            ("recents", ctypes.c_int32),
            ("next", ctypes.c_int32),
            ("ready", ctypes.c_int32),
            ("logits", ctypes.c_float * vocabulary),
            ("weights", ctypes.c_double * vocabulary),
            ("heap", ctypes.c_double * vocabulary),
            ("kept", ctypes.c_int32 * vocabulary),
        )

    return Text
