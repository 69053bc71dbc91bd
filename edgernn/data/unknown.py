"""Count the unknown tokens of a text that is encoded with the vocabulary of another text."""

from __future__ import annotations

from edgernn.errors import CorpusError
from edgernn.tokenizer import Ids, Tokenizer, named

__all__ = ["UnknownTokens"]

_KEPT = 100  # distinct unknown parts of the text, from which examples are shown
_MANY = 0.1  # with a larger fraction of unknown tokens, the vocabulary does not suit the text


class UnknownTokens:
    """Counts the tokens of a text, and the unknown ones among them."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer, self._tokens, self._unknown = tokenizer, 0, 0
        self._found: dict[str, None] = {}

    def count(self, text: str, ids: Ids) -> None:
        """Count `ids`, the tokens of `text`."""
        unknown = 0 if self._tokenizer.unknown_id is None else int((ids == self._tokenizer.unknown_id).sum())
        self._tokens, self._unknown = self._tokens + len(ids), self._unknown + unknown
        if unknown and len(self._found) < _KEPT:
            self._found.update(dict.fromkeys(self._tokenizer.unknown_in(text)))

    def notes(self, name: str) -> list[str]:
        """Return sentences about the unknown tokens, or [] if there are none.

        name: the run that the vocabulary comes from.
        Raises CorpusError if all tokens are unknown.
        """
        if not self._unknown:
            return []
        if self._unknown == self._tokens:
            raise CorpusError(f"the vocabulary of {name} has no character or word of the text: train from new weights")
        part = self._unknown / self._tokens
        lacks = f"the vocabulary of {name} has no {named(list(self._found))}"
        count = (
            f"{self._unknown:,} of {self._tokens:,} tokens of the training text ({part:.2%}) become the unknown token"
        )
        many = "; that is a lot: a run from new weights learns a vocabulary that suits the text" if part > _MANY else ""
        return [f"{lacks}: {count}{many}"]
