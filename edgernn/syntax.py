"""Measures of the syntax of a text: brackets, environments and formulas of LaTeX, and lines of C.

They look at texts that a language model generates. Such a text is cut off at its end, so even a real text of the same
length does not always reach 1: compare the two.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

__all__ = ["Share", "c_brackets", "c_lines", "latex_brackets", "latex_environments", "latex_formulas"]

_CLOSES = {")": "(", "]": "[", "}": "{"}
_BRACKET = re.compile(r"[][(){}]")


class Share(NamedTuple):
    """How many of `total` things are right."""

    right: int
    total: int

    def __add__(self, other: object) -> Share:
        """Return the share among the things of both."""
        if not isinstance(other, Share):
            return NotImplemented
        return Share(self.right + other.right, self.total + other.total)

    def __str__(self) -> str:
        """Return the share in per cent, and "none" where there is nothing to count."""
        return f"{100 * self.right / self.total:.1f} %" if self.total else "none"


def _paired(signs: Iterable[tuple[str, bool]]) -> Share:
    """Return how many of `signs` are halves of a pair that is opened and closed in the right order.

    signs: what each sign opens or closes, and whether it opens it. A sign that closes something takes the last open
    sign of its kind; those that were opened after it stay without a partner.
    """
    stack: list[str] = []
    still_open: Counter[str] = Counter()
    right = total = 0
    for kind, opens in signs:
        total += 1
        if opens:
            stack.append(kind)
            still_open[kind] += 1
        elif still_open[kind]:
            while (last := stack.pop()) != kind:
                still_open[last] -= 1
            still_open[kind] -= 1
            right += 2
    return Share(right, total)


def _brackets(text: str) -> Share:
    signs = _BRACKET.findall(text)
    return _paired((_CLOSES.get(sign, sign), sign not in _CLOSES) for sign in signs)


# LaTeX

_NO_SYNTAX = re.compile(r"\\[^a-zA-Z]|%[^\n]*", re.S)  # such as \{, \$, \% and \[, and comments
_ENVIRONMENT = re.compile(r"\\(begin|end)\s*\{([^{}\n]*)\}")
_PARAGRAPH = re.compile(r"\n\s*\n")
_DOLLARS = re.compile(r"\$\$?")  # what is no syntax is a dot in the texts that these patterns search


def latex_brackets(text: str) -> Share:
    r"""Return how many of the brackets (), [] and {} are closed in the right order.

    Comments and escaped brackets such as \{ do not count.
    """
    return _brackets(_NO_SYNTAX.sub(".", text))


def latex_environments(text: str) -> Share:
    r"""Return how many of the commands \begin{X} and \end{X} belong together and are in the right order."""
    found = _ENVIRONMENT.findall(_NO_SYNTAX.sub(".", text))
    return _paired((name, command == "begin") for command, name in found)


def latex_formulas(text: str) -> Share:
    """Return how many of the signs $ and $$ begin or end a formula that ends in its paragraph, as TeX demands."""
    total = Share(0, 0)
    for paragraph in _PARAGRAPH.split(_NO_SYNTAX.sub(".", text)):
        total += _formulas(paragraph)
    return total


def _formulas(paragraph: str) -> Share:
    """The share of one paragraph. Within $…$, two dollars end this formula and begin another one."""
    inside, right, total, place = "", 0, 0, 0
    while found := _DOLLARS.search(paragraph, place):
        sign = "$" if inside == "$" else found[0]
        place = found.start() + len(sign)
        total += 1
        if not inside:
            inside = sign
        elif sign == inside:
            inside, right = "", right + 2
    return Share(right, total)


# C

_TOKEN = re.compile(
    r"""(?P<space>(?:[ \t\v\f\r\n]|\\\r?\n)+)
    |(?P<comment>/\*.*?\*/|//(?:[^\\\n]|\\\r?\n|\\)*)
    |(?P<literal>(?:u8|[uUL])?(?:"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)+'))
    |(?P<name>[^\W\d]\w*)
    |(?P<number>\.?\d(?:[eEpP][+-]|[\w.])*)
    |(?P<unended>/\*.*|["'][^\n]*)
    |(?P<sign>[][(){}.&*+\-~!/%<>=^|?:;,\#])
    |(?P<stray>.)""",
    re.S | re.X,
)
_NUMBER = re.compile(
    r"""(?: 0[xX][0-9a-fA-F]+ | 0[bB][01]+ | 0[0-7]* | [1-9][0-9]* ) (?: [uU](?:ll?|LL?)? | (?:ll?|LL?)[uU]? )?
    | (?: (?: [0-9]+\.[0-9]* | \.[0-9]+ ) (?:[eE][+-]?[0-9]+)? | [0-9]+[eE][+-]?[0-9]+ ) [fFlL]?
    | 0[xX] (?: [0-9a-fA-F]+\.?[0-9a-fA-F]* | \.[0-9a-fA-F]+ ) [pP][+-]?[0-9]+ [fFlL]?""",
    re.X,
)


def c_lines(text: str) -> Share:
    """Return how many lines consist of tokens of C. Lines of white space alone do not count.

    Tokens are those of C11 with binary numbers; directives of the preprocessor have the same ones. A line is refused
    for a character that begins no token, a number that C does not have, and a literal that does not end on its line.
    A comment that never ends refuses all of its lines.
    """
    line, refused = 0, set[int]()
    for found in _TOKEN.finditer(text):
        breaks = found[0].count("\n")
        if found.lastgroup in ("unended", "stray") or (found.lastgroup == "number" and not _NUMBER.fullmatch(found[0])):
            refused.update(range(line, line + breaks + 1))
        line += breaks
    counted = [number for number, each in enumerate(text.split("\n")) if each.strip()]
    return Share(len(counted) - len(refused.intersection(counted)), len(counted))


def c_brackets(text: str) -> Share:
    """Return how many of the brackets (), [] and {} are closed in the right order.

    Those in comments and literals do not count.
    """
    return _brackets("".join(found[0] for found in _TOKEN.finditer(text) if found.lastgroup == "sign"))
