"""Reading JSON records that somebody else may have written: every surprise is a FormatError."""

from __future__ import annotations

import json
from collections.abc import Set
from typing import Any

from edgernn.errors import FormatError

__all__ = ["integer", "items", "mapping", "parse", "record", "text"]


def parse(data: bytes, what: str) -> Any:
    """The JSON value in `data`. Raises FormatError for anything that is not one JSON text in UTF-8."""
    try:
        return json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{what} is not JSON: {error}") from None


def mapping(value: Any, what: str) -> dict[str, Any]:
    """`value` as an object with any keys."""
    if not isinstance(value, dict):
        raise FormatError(f"{what} is not an object")
    return dict(value)


def record(value: Any, what: str, required: Set[str], optional: Set[str] = frozenset()) -> dict[str, Any]:
    """`value` as an object with exactly these keys."""
    values = mapping(value, what)
    missing, extra = required - values.keys(), values.keys() - required - optional
    if missing or extra:
        wrong = [*(f"lacks {key!r}" for key in sorted(missing)), *(f"has an unknown {key!r}" for key in sorted(extra))]
        raise FormatError(f"{what} {' and '.join(wrong)}")
    return values


def items(value: Any, what: str) -> list[Any]:
    """`value` as a list."""
    if not isinstance(value, list):
        raise FormatError(f"{what}: not a list")
    return value


def text(value: Any, what: str) -> str:
    """`value` as a string."""
    if not isinstance(value, str):
        raise FormatError(f"{what}: {value!r} is not a string")
    return value


def integer(value: Any, what: str) -> int:
    """`value` as a whole number of at least 0."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise FormatError(f"{what}: {value!r} is not a whole number")
    return value
