"""What a reader of C-like source code knows at each character: inside which comments, strings and brackets it is.

Every array has one value a character of the text: what is so once that character has been read. Inside begins with the
character that opens (of two characters, with the second) and ends before the character that closes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from edgernn.contract import Array

__all__ = ["Source", "read_source"]

_PARTS = re.compile(
    r"""
      (?P<block>    /\*.*?(?:(?P<ended>\*/)|\Z))
    | (?P<line>     //[^\n]*)
    | (?P<string>   "(?:\\.|[^"\\\n])*(?P<closed>")?)
    | (?P<letter>   '(?:\\.[^'\n]*|[^'\\\n])')
    | (?P<directive>\#[ \t]*\w+)
    | (?P<open>     [(\[{])
    | (?P<close>    [)\]}])
    | (?P<word>     \w+)
    """,
    re.DOTALL | re.VERBOSE,
)
_OPENS = {")": "(", "]": "[", "}": "{"}


@dataclass(frozen=True)
class Source:
    """Arrays (characters,). comment, string: whether inside one. brackets: how many of ( and [ are open, braces: of {.

    conditions: how many brackets of an `if` are open.
    """

    comment: Array
    string: Array
    brackets: Array
    braces: Array
    conditions: Array


@lru_cache(maxsize=2)
def read_source(text: str) -> Source:
    """Read a text as C-like source code.

    Brackets within comments and strings are not counted. A closing bracket that fits no open one is ignored, and a
    brace in the first column closes all that is open before it: alternatives of the preprocessor need not be balanced.
    """
    size = len(text)
    comment, string = np.zeros(size, bool), np.zeros(size, bool)
    brackets = _Brackets(size)
    for part in _PARTS.finditer(text):
        kind, (start, end) = part.lastgroup, part.span()
        if part["block"] or part["line"]:
            comment[start + 1 : end - (part["ended"] is not None)] = True
            continue  # a comment may stand between `if` and its condition
        if part["string"] or part["letter"]:
            string[start : end - (part["closed"] is not None or part["letter"] is not None)] = True
        at_margin = start == 0 or text[start - 1] == "\n"
        if kind == "open":
            brackets.open(part[0], start, at_margin=at_margin)
        elif kind == "close":
            brackets.close(part[0], start, at_margin=at_margin)
        brackets.condition_follows = part["word"] == "if"
    return Source(comment, string, *(np.cumsum(changes) for changes in brackets.changes))


class _Brackets:
    """The open brackets, and by how much the count of each kind changes at each character."""

    def __init__(self, size: int) -> None:
        self.changes = np.zeros((3, size), int)  # of ( and [, of {, of the conditions of `if`
        self.condition_follows = False
        self._stack: list[tuple[str, bool]] = []

    def open(self, bracket: str, at: int, *, at_margin: bool) -> None:
        if bracket == "{" and at_margin:
            self._pop(len(self._stack), at)
        self._stack.append((bracket, bracket == "(" and self.condition_follows))
        self._count(self._stack[-1], at, 1)

    def close(self, bracket: str, at: int, *, at_margin: bool) -> None:
        if bracket == "}" and at_margin:
            self._pop(len(self._stack), at)
            return
        for depth, (each, _) in enumerate(reversed(self._stack), start=1):
            if each == _OPENS[bracket]:
                self._pop(depth, at)
                return
            if each == "{":  # round and square brackets do not close what is around braces
                return

    def _pop(self, count: int, at: int) -> None:
        for _ in range(count):
            self._count(self._stack.pop(), at, -1)

    def _count(self, entry: tuple[str, bool], at: int, by: int) -> None:
        bracket, is_condition = entry
        self.changes[1 if bracket == "{" else 0, at] += by
        self.changes[2, at] += by * is_condition
