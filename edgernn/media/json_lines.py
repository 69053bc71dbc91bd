"""Read the text in one field of JSON lines: files with a JSON object on each line."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from edgernn.errors import CorpusError, few

__all__ = ["field_texts", "looks_like_json"]

_ABSENT = object()
_LOOKED_AT = 8  # lines that are examined
_MOST = 0.5  # the lowest fraction of these that are objects in a file that looks like JSON lines
_QUOTED = 40  # characters of a name in a message
_HALF = re.compile("[\ud800-\udfff]")
_BEGINS = re.compile(r'\s*(\[\s*)?\{\s*"(?:[^"\\\n]|\\.)*"\s*:')  # an object, or an array of objects


def field_texts(pieces: Iterable[str], field: str, name: str, checked: Callable[[str, str], str]) -> Iterator[str]:
    """Yield the text in `field` of each line; the texts are separated by line breaks.

    pieces: the content of the file, in pieces of any size. checked: normalises and checks a text, given its name in
    messages.
    Raises CorpusError, naming the line, for a line that is not an object, or whose field is missing or not a string.
    """
    last, empty = "\n", True
    for number, line in _lines(pieces, name):
        where = f"{name}, line {number}"
        text = checked(_text(_parsed(line, where), field, where), f"{where}: the field {field!r}")
        if not text:
            continue
        yield text if last.endswith("\n") else f"\n{text}"
        last, empty = text, False
    if empty:
        raise CorpusError(f"{name} is empty: the field {field[:_QUOTED]!r} holds no text in any of its lines")


def looks_like_json(text: str, *, whole: bool) -> str:
    """Describe what the beginning of a file looks like, as the predicate of a sentence; "" for text that is not JSON.

    whole: whether `text` is the whole file, so that its last line is complete.
    """
    lines = text.split("\n")
    if not whole and len(lines) > 1:
        lines.pop()
    looked_at = [_object(line) for line in [line for line in lines if line.strip()][:_LOOKED_AT]]
    objects = [found for found in looked_at if found is not None]
    if any(objects) and len(objects) >= _MOST * len(looked_at):
        fields = _names({key: None for found in objects for key in found})
        return (
            "looks like JSON lines, since its first lines are objects, and is read as plain text: "
            f"--field takes the text of one field (there is {fields})"
        )
    if not any(looked_at[:1]) and (begins := _BEGINS.match(text)):
        what = "a JSON array, since it begins with [ and an object" if begins[1] else "JSON, since it begins an object"
        return (
            f"looks like {what}, and is read as plain text: --field takes the text of one field, "
            f"if each object is on a line of its own{', without the array' if begins[1] else ''}"
        )
    return ""


def _lines(pieces: Iterable[str], name: str) -> Iterator[tuple[int, str]]:
    """Yield the lines that are not blank with their numbers, from 1.

    Raises CorpusError for a line that does not begin an object, before the rest of that line is read.
    """
    number, parts = 1, [""]
    for piece in pieces:
        *whole, rest = piece.split("\n")
        for end in whole:
            if line := "".join([*parts, end]).strip():
                yield number, line
            number, parts = number + 1, []
        parts.append(rest)
        begun = "".join(parts[:2]).lstrip()
        if begun and not begun.startswith("{"):
            _parsed(begun, f"{name}, line {number}")
    if line := "".join(parts).strip():
        yield number, line


def _parsed(line: str, where: str) -> dict[str, Any]:
    """Return the object on a line."""
    if line.startswith("["):
        raise CorpusError(
            f"{where}, is a JSON array: --field reads JSON lines, so write each object on a line of its own"
        )
    if not line.startswith("{"):
        raise CorpusError(f"{where}, is no JSON object: --field reads JSON lines; leave it out to read plain text")
    try:
        found: dict[str, Any] = json.loads(line)
    except json.JSONDecodeError as error:
        wrong = f"{error.msg.removesuffix(' at')} at character {error.pos}"
        raise CorpusError(f"{where}, is no JSON object: {wrong}; --field reads an object on each line") from None
    except RecursionError:
        raise CorpusError(f"{where}, cannot be read: its arrays or objects are nested too deeply") from None
    except ValueError:
        raise CorpusError(f"{where}, cannot be read: a number in it has thousands of digits") from None
    return found


def _object(line: str) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _text(record: Mapping[str, Any], field: str, where: str) -> str:
    value, quoted = _found(record, field), repr(field[:_QUOTED])
    if value is _ABSENT:
        raise CorpusError(f"{where}, has no field {quoted}; it has {_names(record)}")
    if isinstance(value, dict):
        raise CorpusError(f"{where}: the field {quoted} is an object; within it is {_names(value)}: {field}.NAME")
    if not isinstance(value, str):
        kind = "null" if value is None else "a list" if isinstance(value, list) else json.dumps(value)[:_QUOTED]
        raise CorpusError(f"{where}: the field {quoted} is {kind}, which is no text")
    if half := _HALF.search(value):
        raise CorpusError(f"{where}: the field {quoted} has half of a character, U+{ord(half[0]):04X}")
    return value


def _found(record: Mapping[str, Any], field: str) -> Any:
    """Return the value of a field, or of a field within objects, written as outer.inner."""
    if field in record:
        return record[field]
    for at, sign in enumerate(field):
        inner = record.get(field[:at]) if sign == "." else None
        if isinstance(inner, dict) and (value := _found(inner, field[at + 1 :])) is not _ABSENT:
            return value
    return _ABSENT


def _names(record: Mapping[str, Any]) -> str:
    return few(key[:_QUOTED] for key in record) or "none"
