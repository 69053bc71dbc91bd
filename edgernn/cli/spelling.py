"""What somebody meant who typed a name that does not exist."""

from __future__ import annotations

from collections.abc import Collection
from difflib import get_close_matches

__all__ = ["did_you_mean"]

_CLOSE = 0.7  # the least similarity of two spellings, of 1
_SHOWN = 3


def did_you_mean(typed: str, names: Collection[str]) -> str:
    """Return "did you mean NAME?", with the names that `typed` stands for; "" if it stands for none.

    These are the names that begin with it; if there are none, those whose words begin with its letters; if there are
    none, the one that is spelled most alike. Leading dashes and slashes are not compared.
    """
    bare = {name.lstrip("-/"): name for name in names}
    text = typed.lstrip("-/").lower()
    meant = (
        [name for name in bare if text and name.startswith(text)]
        or [name for name in bare if len(text) > 1 and "".join(word[:1] for word in name.split("-")) == text]
        or get_close_matches(text, bare, 1, _CLOSE)
    )
    shown = [bare[name] for name in sorted(meant, key=len)[:_SHOWN]]
    return f"did you mean {' or '.join(shown)}?" if shown else ""
