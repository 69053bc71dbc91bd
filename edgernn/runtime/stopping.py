"""Stop criteria of decoding: the maximum number of tokens, stop strings, and the end token."""

from __future__ import annotations

import operator
from collections.abc import Sequence

from edgernn.errors import ConfigError

__all__ = ["StopCriteria"]


class StopCriteria:
    """Passes text on until it ends, and holds back text that may be the beginning of a stop string.

    reason: "length", "stop" or "end" once the text has ended, else None.
    Raises ConfigError for an empty stop string or a `max_tokens` below 0.
    """

    def __init__(self, max_tokens: int | None, stop: str | Sequence[str], end_id: int | None) -> None:
        try:
            self._stops = (stop,) if isinstance(stop, str) else tuple(stop)
            self._left = None if max_tokens is None else operator.index(max_tokens)
        except TypeError as error:
            raise ConfigError(
                f"max_tokens must be a whole number, and stop a text or a list of texts: {error}"
            ) from None
        if not all(isinstance(each, str) and each for each in self._stops):
            raise ConfigError("a stop string is empty: it would stop before the first character")
        if self._left is not None and self._left < 0:
            raise ConfigError(f"max_tokens {max_tokens} is below 0")
        self._end_id = end_id
        self._held = ""
        self.reason: str | None = "length" if self._left == 0 else None

    def push(self, token: int, text: str) -> str:
        """Return the text that is certain after `token`, which completes `text`, without any part of a stop string."""
        if token == self._end_id:
            self.reason = "end"
            return self._held
        shown = self._until_stop(text) if self._stops else text
        if self._left is not None:
            self._left -= 1
            if self._left == 0 and self.reason is None:
                self.reason = "length"
                return shown + self._held
        return shown

    def _until_stop(self, text: str) -> str:
        held = self._held + text
        found = [at for at in map(held.find, self._stops) if at >= 0]
        if found:
            self.reason = "stop"
            return held[: min(found)]
        begun = max(_begun(held, stop) for stop in self._stops)
        self._held = held[len(held) - begun :]
        return held[: len(held) - begun]


def _begun(text: str, stop: str) -> int:
    """Return the length of the longest suffix of `text` that is a prefix of `stop`."""
    return next((size for size in range(min(len(text), len(stop) - 1), 0, -1) if text.endswith(stop[:size])), 0)
