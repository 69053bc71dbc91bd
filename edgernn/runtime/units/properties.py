"""Properties of a text at each of its characters, which a unit may tell.

A property is what is so once a character has been read, as the state of the network is what it is after that character.
"""

from __future__ import annotations

import re
import runpy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgernn.contract import Array
from edgernn.errors import ConfigError, counted, first_line
from edgernn.runtime.units.source import read_source

__all__ = ["PROPERTIES", "TAB", "Property", "codes", "from_file", "matching", "named"]

TAB = 8  # columns between tab stops


@dataclass(frozen=True)
class Property:
    """A property of a text.

    meaning: what it says of a character, in words that follow the name. measure: returns an array (characters,) for a
    text: of truth values for a property that holds or does not, otherwise of numbers.
    """

    name: str
    meaning: str
    measure: Callable[[str], Array]

    def __call__(self, text: str) -> Array:
        """Return the property of a text (characters,), as truth values or as float64."""
        values = self.measure(text)
        return values if values.dtype == bool else values.astype(np.float64)


def named(text: str) -> Property:
    """Return the property that `text` names: NAME of one in PROPERTIES, NAME=REGEX, or FILE.py:FUNCTION.

    The file is executed. Raises ConfigError for a name that does not exist, a regular expression that is none, and a
    file without such a function.
    """
    name, equals, pattern = text.partition("=")
    if equals and _NAME.fullmatch(name):
        return matching(name, pattern)
    file, colon, function = text.rpartition(":")
    if colon and file.endswith(".py"):
        return from_file(Path(file), function)
    if text in PROPERTIES:
        return PROPERTIES[text]
    raise ConfigError(
        f"there is no property {text[:60]!r}: it is one of {', '.join(PROPERTIES)}; NAME=REGEX; or FILE.py:FUNCTION"
    )


def matching(name: str, pattern: str) -> Property:
    """Return the property that holds at each character of a match of a regular expression; ^ and $ match at lines.

    Raises ConfigError for an empty expression, and for one that Python cannot read.
    """
    try:
        expression = re.compile(pattern, re.MULTILINE)
    except (re.error, OverflowError, RecursionError) as error:
        raise ConfigError(f"the property {name} is no regular expression: {error}, in {pattern[:80]!r}") from None
    if not pattern:
        raise ConfigError(f"the property {name} is an empty regular expression: write NAME=REGEX")

    def matches(text: str) -> Array:
        found = np.zeros(len(text), bool)
        for match in expression.finditer(text):
            found[match.start() : match.end()] = True
        return found

    return Property(name, f"inside a match of {pattern}", matches)


def from_file(path: Path, function: str) -> Property:
    """Return the property that a function of a Python file computes: from a text, one value for each character.

    The file is executed. The values are True and False, or numbers. Raises ConfigError if the file cannot be executed
    or has no such function; the property raises it for a function that fails, or returns anything else.
    """
    if not path.is_file():
        raise ConfigError(f"there is no file {path}")
    try:
        names = runpy.run_path(str(path))
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever somebody else's file raises
        raise ConfigError(f"{path} fails: {_raised(error)}") from None
    called = names.get(function)
    if not callable(called):
        own = [name for name, each in names.items() if callable(each) and not name.startswith("_")]
        has = f"it has {', '.join(own[:_SHOWN])}" if own else "it has none"
        raise ConfigError(f"{path} has no function {function[:60]!r}: {has}")

    def measured(text: str) -> Array:
        try:
            found = called(text)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever somebody else's function raises
            raise ConfigError(f"{function} of {path} fails: {_raised(error)}") from None
        return _one_a_character(found, text, f"{function} of {path}")

    return Property(function, f"what {function} of {path.name} returns", measured)


def _one_a_character(found: object, text: str, what: str) -> Array:
    """Check what a function returned for a text. Raises ConfigError unless it is a truth value or number for each."""
    wanted = f"return one value for each of the {len(text):,} characters of the text, True and False or numbers"
    try:
        values = np.array(list(found))  # type: ignore[call-overload] # what is no iterable is refused here
    except (TypeError, ValueError):
        raise ConfigError(f"{what} returns {type(found).__name__[:40]}: {wanted}") from None
    if values.shape != (len(text),):
        size = counted(len(values), "value") if values.ndim == 1 else f"an array of shape {values.shape}"
        raise ConfigError(f"{what} returns {size}: {wanted}")
    if values.dtype != bool and values.dtype.kind not in "iuf":
        raise ConfigError(f"{what} returns values such as {str(values[0])[:40]!r}: {wanted}")
    if not np.isfinite(values).all():
        raise ConfigError(f"{what} returns {values[~np.isfinite(values)][0]} for a character: {wanted}")
    return values


def _raised(error: BaseException) -> str:
    return f"{type(error).__name__}: {first_line(error)[:200]}" if isinstance(error, Exception) else "it exits"


def _quotes(text: str) -> Array:
    """Inside a pair of quotation marks; an empty line ends one that is not closed."""
    found = np.zeros(len(text), bool)
    for match in _QUOTED.finditer(text):
        is_closed = match["closed"] or match["curly"]
        found[match.start() : match.end() - bool(is_closed)] = match["constant"] is None
    return found


def _since_newline(text: str) -> Array:
    """The number of characters since the last line break, or since the beginning."""
    places = np.arange(len(text))
    breaks = codes(text) == ord("\n")
    return places - np.maximum.accumulate(np.where(breaks, places, -1))


def _columns(text: str) -> Array:
    """The column that has been reached; a tab goes on to the next multiple of eight."""
    found, column = np.empty(len(text), int), 0
    for place, character in enumerate(text):
        column = 0 if character == "\n" else column + (TAB - column % TAB if character == "\t" else 1)
        found[place] = column
    return found


def _indentation(text: str) -> Array:
    """The level of indentation: how many of the lines above are the nearest that begin further to the left.

    A line counts once its first character beside spaces and tabs is read; a line without such a character does not.
    """
    columns, levels = _columns(text), np.zeros(len(text), int)
    widths, level = [0], 0
    for match in _LINE.finditer(text):
        start, end = match.span("space")
        levels[start:end] = level
        if end < match.end():
            width = columns[end - 1] if end > start else 0
            while widths[-1] > width:
                widths.pop()
            if width > widths[-1]:
                widths.append(width)
            level = len(widths) - 1
        levels[end : match.end() + 1] = level  # with the line break
    return levels


def _words(text: str) -> Array:
    return np.array([character.isalnum() or character == "_" for character in text], bool)


def codes(text: str) -> Array:
    """The code points of a text (characters,)."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


_NAME = re.compile(r"[A-Za-z_][\w-]*")
_QUOTED = re.compile(
    r"""
      (?P<constant>'\\?"')                                     # a quotation mark as a constant of C
    | "(?:\\.|[^"\\\n]|\n(?![ \t]*\n))*(?P<closed>")?
    | “(?:[^”\n]|\n(?![ \t]*\n))*(?P<curly>”)?
    """,
    re.DOTALL | re.VERBOSE,
)
_LINE = re.compile(r"^(?P<space>[ \t]*)[^\n]*", re.MULTILINE)
_SHOWN = 8

PROPERTIES: Mapping[str, Property] = {
    each.name: each
    for each in (
        Property("quotes", "inside a pair of quotation marks", _quotes),
        Property("position", "the column in the line", _columns),
        Property("newline-distance", "the number of characters since the last line break", _since_newline),
        Property("indentation", "the level of indentation of the line", _indentation),
        Property("word", "a word has begun and may go on", _words),
        Property("comment", "inside a comment, /* */ or //", lambda text: read_source(text).comment),
        Property("string", "inside a string or a character constant", lambda text: read_source(text).string),
        Property("brackets", "inside round or square brackets", lambda text: read_source(text).brackets > 0),
        Property("bracket-depth", "how many round and square brackets are open", lambda t: read_source(t).brackets),
        Property("brace-depth", "how many braces are open", lambda text: read_source(text).braces),
        Property("if-condition", "inside the condition of an if", lambda text: read_source(text).conditions > 0),
    )
}
