"""Read JSON records from untrusted files: every deviation raises a FormatError."""

from __future__ import annotations

import json
from collections.abc import Set
from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypeVar

from edgernn.errors import FormatError

__all__ = ["construct", "integer", "items", "mapping", "number", "parse", "record", "text"]


if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    T = TypeVar("T", bound=DataclassInstance)


def parse(data: bytes, what: str) -> Any:
    """Return the JSON value in `data`. Raises FormatError for anything that is not one JSON text in UTF-8."""
    try:
        return json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{what} is not JSON: {error}") from None


def mapping(value: Any, what: str) -> dict[str, Any]:
    """Return `value` if it is an object, with any keys. Raises FormatError otherwise, like every function here."""
    if not isinstance(value, dict):
        raise FormatError(f"{what} is not an object")
    return dict(value)


def record(value: Any, what: str, required: Set[str], optional: Set[str] = frozenset()) -> dict[str, Any]:
    """Return `value` if it is an object that has all `required` keys and no others than these and `optional` ones."""
    values = mapping(value, what)
    missing, extra = required - values.keys(), values.keys() - required - optional
    if missing or extra:
        unknown = [key[:40] for key in sorted(extra)[:3]]
        wrong = [*(f"lacks {key!r}" for key in sorted(missing)), *(f"has an unknown {key!r}" for key in unknown)]
        raise FormatError(f"{what} {' and '.join(wrong)}")
    return values


def construct(kind: type[T], value: Any, what: str) -> T:
    """Return a dataclass `kind` from an object that has exactly its fields.

    Its own checks raise their own exceptions.
    """
    values = record(value, what, {field.name for field in fields(kind)})
    try:
        return kind(**values)
    except TypeError as error:
        raise FormatError(f"{what}: {error}") from None


def items(value: Any, what: str) -> list[Any]:
    """Return `value` if it is a list."""
    if not isinstance(value, list):
        raise FormatError(f"{what}: not a list")
    return value


def text(value: Any, what: str) -> str:
    """Return `value` if it is a string."""
    if not isinstance(value, str):
        raise FormatError(f"{what}: {str(value)[:40]!r} is not a string")
    return value


def number(value: Any, what: str) -> float:
    """Return `value` if it is a finite number."""
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300:
        return float(value)
    raise FormatError(f"{what}: {str(value)[:40]} is not a number")


def integer(value: Any, what: str) -> int:
    """Return `value` if it is an integer from 0 to 2**53: all JSON parsers read these exactly."""
    if type(value) is not int or not 0 <= value <= 1 << 53:
        raise FormatError(f"{what}: {str(value)[:40]} is not a whole number")
    return value
