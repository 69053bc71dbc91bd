"""Update formulas of recurrent cells: immutable expression trees, their text, and the parser of that text.

A formula is a list of assignments. It computes the next state h', and c' if it has a second state, from the input x and
the states h and c:

    z = sigmoid(linear(x, h))
    n = tanh(linear(x, z * h))
    h' = z * n + (1 - z) * h

`linear(a, b)` is W a + U b + v with matrices W and U and a bias v of its own; the input x, whose size differs from the
states', occurs only there. Everything else is elementwise: sums, differences, products, numbers, and the functions
tanh, sigmoid and relu. Assignments stand on lines of their own or are separated by semicolons.
"""

from __future__ import annotations

import keyword
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias, TypeVar

from edgernn.errors import ConfigError

__all__ = [
    "FUNCTIONS",
    "INPUT",
    "NEXT",
    "STATES",
    "Assignment",
    "Binary",
    "Call",
    "Expression",
    "Formula",
    "Linear",
    "Name",
    "Number",
    "children",
    "is_pure",
    "names_in",
    "parse",
    "rebuilt",
    "walk",
    "written",
]

FUNCTIONS = ("sigmoid", "tanh", "relu")
INPUT = "x"
STATES = ("h", "c")
NEXT = ("h'", "c'")  # the next values of `STATES`
_LINEAR = "linear"
_RESERVED = {INPUT, *STATES, *FUNCTIONS, _LINEAR, "self", "state", "torch"}  # the last three occur in generated code
_LONGEST = 2000  # characters of a text
_DEEPEST = 40  # brackets within each other
_PRECEDENCE = {"+": 1, "-": 1, "*": 2}

T = TypeVar("T")


@dataclass(frozen=True)
class Number:
    """A number of at least 0; negative ones are differences."""

    value: float


@dataclass(frozen=True)
class Name:
    """The input, a state, or the value of an assignment."""

    name: str


@dataclass(frozen=True)
class Call:
    """One of `FUNCTIONS` of an operand."""

    function: str
    operand: Expression


@dataclass(frozen=True)
class Binary:
    """A sum, a difference or an elementwise product."""

    operator: str
    left: Expression
    right: Expression


@dataclass(frozen=True)
class Linear:
    """The sum of products of each operand with a matrix, and a bias; every occurrence has weights of its own."""

    operands: tuple[Expression, ...]


Expression: TypeAlias = Number | Name | Call | Binary | Linear


class Assignment(NamedTuple):
    """A name, and the expression of its value."""

    name: str
    value: Expression


@dataclass(frozen=True)
class Formula:
    """The assignments of one step of a cell, each of which uses names above it. `parse` reads what `str` writes."""

    assignments: tuple[Assignment, ...]

    def __str__(self) -> str:
        return "\n".join(self.lines)

    @property
    def lines(self) -> list[str]:
        """The text of each assignment."""
        return [f"{name} = {_text(value)}" for name, value in self.assignments]

    @property
    def states(self) -> tuple[str, ...]:
        """The names of the states that it has."""
        assigned = {name for name, _ in self.assignments}
        return tuple(state for state, following in zip(STATES, NEXT, strict=True) if following in assigned)

    def values(self) -> dict[str, Expression]:
        """The assignments as a mapping, in order."""
        return dict(self.assignments)

    def products(self) -> list[Linear]:
        """All occurrences of `linear`, in the order of the text."""
        return [node for _, value in self.assignments for node in walk(value) if isinstance(node, Linear)]


def children(expression: Expression) -> tuple[Expression, ...]:
    """The operands of an expression."""
    match expression:
        case Call(_, operand):
            return (operand,)
        case Binary(_, left, right):
            return (left, right)
        case Linear(operands):
            return operands
        case _:
            return ()


def rebuilt(expression: Expression, operands: Sequence[Expression]) -> Expression:
    """Return an expression with other operands."""
    match expression:
        case Call(function, _):
            return Call(function, *operands)
        case Binary(operator, _, _):
            return Binary(operator, *operands)
        case Linear():
            return Linear(tuple(operands))
        case _:
            return expression


def walk(expression: Expression) -> Iterator[Expression]:
    """Yield an expression and all its parts, each before its operands, as they are written from left to right."""
    left = [expression]
    while left:
        node = left.pop()
        yield node
        left += reversed(children(node))


def names_in(expression: Expression) -> list[str]:
    """The names that an expression uses, with repetitions."""
    return [node.name for node in walk(expression) if isinstance(node, Name)]


def is_pure(expression: Expression) -> bool:
    """Whether an expression has no weights of its own, so that equal expressions have equal values."""
    return not any(isinstance(node, Linear) for node in walk(expression))


def written(expression: Expression, write: Callable[[Name | Call | Linear], str], above: int = 0) -> str:
    """The text of an expression, with brackets where they are needed.

    write: returns the text of what neither is a number nor has an operator. above: the precedence of the operator that
    the text is an operand of.
    """
    match expression:
        case Number(value):
            return repr(value).removesuffix(".0")
        case Binary(operator, left, right):
            own = _PRECEDENCE[operator]
            text = f"{written(left, write, own)} {operator} {written(right, write, own + 1)}"
            return f"({text})" if own < above else text
        case _:
            return write(expression)


def _text(expression: Expression) -> str:
    return written(expression, _without_operator)


def _without_operator(expression: Name | Call | Linear) -> str:
    match expression:
        case Name(name):
            return name
        case Call(function, operand):
            return f"{function}({_text(operand)})"
        case Linear(operands):
            return f"{_LINEAR}({', '.join(map(_text, operands))})"


def parse(text: str) -> Formula:
    """Return the formula that `text` writes. Raises ConfigError, which names the place of the fault."""
    if len(text) > _LONGEST:
        raise ConfigError(f"a formula has at most {_LONGEST:,} characters, not {len(text):,}")
    return _Parser(text).formula()


class _Token(NamedTuple):
    """kind: "number", "name", "sign", or "end", also of a line."""

    kind: str
    text: str
    at: int


_TOKENS = re.compile(
    r"(?P<number>\d+(?:\.\d+)?(?:e[+-]?\d+)?)|(?P<name>[A-Za-z_]\w*'?)"
    r"|(?P<sign>[-+*(),=])|(?P<end>[\n;])|[ \t\r]+|(?P<other>.)"
)


class _Parser:
    """Reads a text from left to right, by recursive descent."""

    def __init__(self, text: str) -> None:
        self._source, self._place, self._depth = text, 0, 0
        self._known = set(STATES)  # the names that can be used at this place
        self._assigned: set[str] = set()
        self._second: _Token | None = None  # the first use of the second state
        self._tokens = [
            _Token(found.lastgroup, found.group(), found.start())
            for found in _TOKENS.finditer(text)
            if found.lastgroup is not None
        ]
        self._tokens.append(_Token("end", "", len(text)))

    def formula(self) -> Formula:
        """Read the whole text."""
        assignments = []
        while self._place < len(self._tokens):
            if self._now.kind == "end":
                self._place += 1
                continue
            assignments.append(self._assignment())
        if NEXT[0] not in self._assigned:
            raise ConfigError(f"the formula {self._quoted} does not say what h' is: add h' = …")
        if self._second is not None and NEXT[1] not in self._assigned:
            raise self._fault(self._second, "it uses c and does not say what c' is")
        return Formula(tuple(assignments))

    def _assignment(self) -> Assignment:
        name = self._take("name", "a name, as in h' = …")
        if not _can_be_assigned(name.text):
            raise self._fault(name, f"{name.text} cannot be assigned: next states are h' and c', other names z, r, n …")
        if name.text in self._assigned:
            raise self._fault(name, f"{name.text} is assigned twice")
        self._take("=", "=")
        value = self._sum()
        if self._now.kind != "end":
            raise self._fault(self._now, f"{self._now.text} does not go on here: an operator or a new line is missing")
        self._place += 1
        self._assigned.add(name.text)
        self._known.add(name.text)
        return Assignment(name.text, value)

    def _sum(self) -> Expression:
        value = self._product()
        while self._now.text in ("+", "-"):
            value = Binary(self._next().text, value, self._product())
        return value

    def _product(self) -> Expression:
        value = self._factor()
        while self._now.text == "*":
            value = Binary(self._next().text, value, self._factor())
        return value

    def _factor(self) -> Expression:
        token = self._next()
        if token.text == "-":
            return Binary("-", Number(0.0), self._within(token, self._factor))
        if token.text == "(":
            value = self._within(token, self._sum)
            self._take(")", ")")
            return value
        if token.kind == "number":
            number = float(token.text)
            if not math.isfinite(number):
                raise self._fault(token, f"{token.text} is too large")
            return Number(number)
        if token.kind != "name":
            raise self._fault(token, f"{_shown(token)} stands where a value is needed")
        if token.text == _LINEAR:
            return self._linear(token)
        if token.text in FUNCTIONS:
            self._take("(", f"( after {token.text}")
            operand = self._within(token, self._sum)
            self._take(")", ")")
            return Call(token.text, operand)
        return self._name(token)

    def _linear(self, token: _Token) -> Linear:
        self._take("(", "( after linear")
        operands = [self._within(token, self._operand)]
        while self._now.text == ",":
            self._place += 1
            operands.append(self._within(token, self._operand))
        self._take(")", ")")
        return Linear(tuple(operands))

    def _operand(self) -> Expression:
        """Read an operand of linear, which can be the input."""
        following = self._tokens[min(self._place + 1, len(self._tokens) - 1)]
        if self._now.text == INPUT and (following.text in (",", ")") or following.kind == "end"):
            self._place += 1
            return Name(INPUT)
        return self._sum()

    def _name(self, token: _Token) -> Name:
        if token.text == INPUT:
            raise self._fault(token, "x has another size than the states: it stands alone in linear(x) or linear(x, …)")
        if token.text not in self._known:
            raise self._fault(
                token, f"there is no {token.text} yet: a value is x, a state h or c, or assigned above its use"
            )
        if token.text == STATES[1] and self._second is None:
            self._second = token
        return Name(token.text)

    def _within(self, token: _Token, read: Callable[[], T]) -> T:
        """Read something one bracket deeper."""
        self._depth += 1
        if self._depth > _DEEPEST:
            raise self._fault(token, f"it is more than {_DEEPEST} brackets deep")
        value = read()
        self._depth -= 1
        return value

    @property
    def _now(self) -> _Token:
        return self._tokens[self._place]

    def _next(self) -> _Token:
        token = self._now
        if token.kind != "end":
            self._place += 1
        return token

    def _take(self, wanted: str, said: str) -> _Token:
        """Read a token of a kind or a text. said: what the message calls it."""
        token = self._next()
        if wanted not in (token.kind, token.text):
            raise self._fault(token, f"{_shown(token)} stands where {said} is needed")
        return token

    @property
    def _quoted(self) -> str:
        text = "; ".join(self._source.split("\n"))
        return repr(text if len(text) <= 80 else f"{text[:80]}…")

    def _fault(self, token: _Token, said: str) -> ConfigError:
        before = self._source[: token.at]
        line, column = before.count("\n") + 1, token.at - (before.rfind("\n") + 1) + 1
        return ConfigError(f"the formula {self._quoted}, line {line}, column {column}: {said}")


def _can_be_assigned(name: str) -> bool:
    return name in NEXT or (
        re.fullmatch(r"[a-z][a-z0-9]*", name) is not None and name not in _RESERVED and not keyword.iskeyword(name)
    )


def _shown(token: _Token) -> str:
    return "the end" if token.kind == "end" else repr(token.text)
