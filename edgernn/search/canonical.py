"""The canonical form of formulas, so that one function is searched and trained once, however it is written.

`simplified` keeps every value. `canonical` also drops weights that add nothing, such as the sign of a product with a
matrix of its own, and names the gates.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import reduce
from itertools import count

from edgernn.search.formula import (
    INPUT,
    NEXT,
    STATES,
    Assignment,
    Binary,
    Call,
    Expression,
    Formula,
    Linear,
    Name,
    Number,
    children,
    is_pure,
    names_in,
    rebuilt,
    walk,
)

__all__ = ["canonical", "faults", "inlined", "simplified", "spelled"]

_LETTERS = {"sigmoid": "zrfiopqs", "tanh": "nmkl", "relu": "abde", "": "uvwy"}  # of gates, candidates and other values

_Term = tuple[float, tuple[Expression, ...]]  # of a sum: a coefficient and factors


def canonical(formula: Formula) -> Formula:
    """Return the formula of the same cells that all its variants have in common, with a name for every gate."""
    return spelled(simplified(formula, free_weights=True))


def simplified(formula: Formula, *, free_weights: bool = False) -> Formula:
    """Return a formula of the same values, without what can be computed beforehand, is not used, or cancels.

    The operands of sums and products are sorted, and values that are used once are put where they are used.
    free_weights: also drop signs, factors and repetitions of products that weights of their own can make up for.
    """
    while True:
        before = formula
        formula = inlined(formula)
        rewriter = _Rewriter(formula, free_weights=free_weights)
        formula = Formula(tuple(Assignment(name, rewriter.rewrite(value)) for name, value in formula.assignments))
        if formula == before:
            return formula


def inlined(formula: Formula) -> Formula:
    """Return the formula without names that are used once, or not at all, or stand for a name or a number."""
    values = formula.values()
    uses = Counter(name for value in values.values() for name in names_in(value))
    made: dict[str, Expression] = {}
    for name, value in values.items():  # a state would be computed twice
        made[name] = _replaced(
            value, {n: v for n, v in made.items() if n not in NEXT and (uses[n] == 1 or isinstance(v, Name | Number))}
        )
    return _ordered(made)


def spelled(formula: Formula) -> Formula:
    """Return the formula with an assignment for every gate: each function of products that stands within a value."""
    return _Speller(inlined(formula)).spell()


def faults(formula: Formula) -> str:
    """What a canonical formula lacks to be a recurrent cell, as the end of a sentence; empty for nothing."""
    values = formula.values()
    used = {name for value in values.values() for name in names_in(value)}
    for state, following in zip(STATES, NEXT, strict=True):
        if following not in values:
            continue
        if not names_in(values[following]):
            return f"{following} is always the same number"
        if state not in used:
            return f"the state {state} is not read"
    numbers = [node.value for value in values.values() for node in walk(value) if isinstance(node, Number)]
    if not all(map(math.isfinite, numbers)):
        return "its numbers are too large"
    reached = _reached(values, NEXT[0])
    if missing := next((each for each in (INPUT, *formula.states) if each not in reached), None):
        return f"the output h' does not depend on {missing}"
    return ""


def _reached(values: Mapping[str, Expression], start: str) -> set[str]:
    """The names on which a value depends, also by way of the states of earlier steps."""
    following = dict(zip(STATES, NEXT, strict=True))
    reached, left = set[str](), [start]
    while left:
        name = left.pop()
        if name not in reached:
            reached.add(name)
            left += names_in(values[name]) if name in values else []
            left += [following[name]] if name in following else []
    return reached


def _replaced(expression: Expression, values: Mapping[str, Expression]) -> Expression:
    """Return an expression with the names in `values` replaced."""
    if isinstance(expression, Name):
        return values.get(expression.name, expression)
    return rebuilt(expression, [_replaced(child, values) for child in children(expression)])


def _ordered(values: Mapping[str, Expression]) -> Formula:
    """Return the assignments on which the next states depend, each as soon as it is needed."""
    found: dict[str, Expression] = {}

    def add(name: str) -> None:
        if name in values and name not in found:
            for used in names_in(values[name]):
                add(used)
            found[name] = values[name]

    for name in NEXT:
        add(name)
    return Formula(tuple(Assignment(name, value) for name, value in found.items()))


class _Rewriter:
    """Rewrites the expressions of one formula in their normal form."""

    def __init__(self, formula: Formula, *, free_weights: bool) -> None:
        self._values, self._free = formula.values(), free_weights
        self._digests: dict[str, str] = {}

    def rewrite(self, expression: Expression) -> Expression:
        """Return the normal form of an expression."""
        match expression:
            case Call(function, operand):
                return self._called(function, self.rewrite(operand))
            case Linear(operands):
                return self._linear([self.rewrite(each) for each in operands])
            case Binary():
                return self._of_terms(self._terms(expression))
            case _:
                return expression

    def _called(self, function: str, operand: Expression) -> Expression:
        match function, self._resolved(operand):
            case "relu", Call("relu" | "sigmoid"):
                return operand
            case _, Number(value):
                return _constant(_FUNCTIONS[function](value))
            case _, Binary("-", Number(0.0), Number(value)):
                return _constant(_FUNCTIONS[function](-value))
            case _:
                return Call(function, operand)

    def _resolved(self, expression: Expression) -> Expression:
        """Return the value of a name, unless it is the input or a state."""
        return self._values.get(expression.name, expression) if isinstance(expression, Name) else expression

    def _linear(self, operands: Sequence[Expression]) -> Expression:
        if not self._free:
            return Linear(tuple(operands))
        kept = [each for each in self._distinct([*map(self._unscaled, operands)]) if each != Number(0.0)]
        return (
            Linear(tuple(sorted(kept, key=lambda each: (each != Name(INPUT), self._key(each)))))
            if kept
            else Number(0.0)
        )

    def _unscaled(self, operand: Expression) -> Expression:
        """Return an operand of `linear` without the number that is added to it, or the factor that it is scaled by."""
        terms = [term for term in self._terms_of_normal(operand) if term[1]]
        return self._of_terms([(1.0, terms[0][1])] if len(terms) == 1 else terms)

    def _terms(self, expression: Expression) -> list[_Term]:
        """Return the terms whose sum an expression is."""
        match expression:
            case Binary("*", left, right):
                return [self._multiplied(self.rewrite(left), self.rewrite(right))]
            case Binary(operator, left, right):
                sign = -1.0 if operator == "-" else 1.0
                return self._terms(left) + [(sign * factor, factors) for factor, factors in self._terms(right)]
            case _:
                return self._terms_of_normal(self.rewrite(expression))

    def _terms_of_normal(self, expression: Expression) -> list[_Term]:
        """The terms of an expression that is in normal form."""
        match expression:
            case Number(value):
                return [(value, ())]
            case Binary("*"):
                return [self._multiplied(expression.left, expression.right)]
            case Binary(operator, left, right):
                sign = -1.0 if operator == "-" else 1.0
                return self._terms_of_normal(left) + [(sign * f, fs) for f, fs in self._terms_of_normal(right)]
            case _:
                return [(1.0, (expression,))]

    def _multiplied(self, *operands: Expression) -> _Term:
        """Return a product of normal forms as a term."""
        coefficient, factors = 1.0, list[Expression]()
        for operand in operands:
            match operand:
                case Number(value):
                    coefficient *= value
                case Binary("*", left, right):
                    inner, more = self._multiplied(left, right)
                    coefficient *= inner
                    factors += more
                case Binary("-", Number(0.0), right):
                    inner, more = self._multiplied(right)
                    coefficient *= -inner
                    factors += more
                case _:
                    factors.append(operand)
        return coefficient, tuple(sorted(factors, key=self._key))

    def _of_terms(self, terms: Sequence[_Term]) -> Expression:
        """Return the normal form of a sum."""
        terms = list(self._collected(terms))
        if self._free:
            terms = list(self._merged(terms))
        terms = [(coefficient, factors) for coefficient, factors in terms if coefficient]
        terms.sort(key=lambda term: (_order(term), [self._key(factor) for factor in term[1]]))
        added = [_product(term) for term in terms if term[0] > 0] or [Number(0.0)]
        taken = [_product((-coefficient, factors)) for coefficient, factors in terms if coefficient < 0]
        match added, taken:
            case [Number(1.0)], [Call("sigmoid", operand)] if self._free and _takes_sign(operand):
                return taken[0]
        total = reduce(lambda left, right: Binary("+", left, right), added)
        return reduce(lambda left, right: Binary("-", left, right), taken, total)

    def _collected(self, terms: Sequence[_Term]) -> Iterator[_Term]:
        """Add the coefficients of terms that have the same value."""
        sums: dict[tuple[Expression, ...], float] = {}
        for coefficient, factors in terms:
            if all(map(is_pure, factors)):
                sums[factors] = sums.get(factors, 0.0) + coefficient
            else:
                yield coefficient, factors
        for factors, coefficient in sums.items():
            yield coefficient, factors

    def _merged(self, terms: Sequence[_Term]) -> Iterator[_Term]:
        """Join terms that are `linear` of anything, and drop the coefficients and signs that weights make up for."""
        operands: list[Expression] = []
        for coefficient, factors in terms:
            if not coefficient:
                continue
            match factors:
                case (Linear(own),):
                    operands += own
                case _ if any(isinstance(factor, Linear) for factor in factors):
                    yield 1.0, factors
                case _ if any(map(_takes_sign, factors)):
                    yield abs(coefficient), factors
                case _:
                    yield coefficient, factors
        if operands:
            yield 1.0, (self._linear(operands),)

    def _distinct(self, expressions: Sequence[Expression]) -> list[Expression]:
        """Return expressions without those that have the value of an earlier one."""
        return [each for place, each in enumerate(expressions) if not (is_pure(each) and each in expressions[:place])]

    def _key(self, expression: Expression) -> tuple[int, str]:
        """What operands are sorted by, which does not depend on the names of values: gates before states."""
        match self._resolved(expression):
            case Binary():
                rank = 0
            case Call("sigmoid"):
                rank = 1
            case Call():
                rank = 2
            case Name():
                rank = 3
            case _:
                rank = 4
        return rank, self._structure(expression)

    def _structure(self, expression: Expression) -> str:
        match expression:
            case Name(name) if name in self._values and name not in NEXT:
                if name not in self._digests:
                    text = self._structure(self._values[name])
                    self._digests[name] = hashlib.sha256(text.encode()).hexdigest()[:12]
                return self._digests[name]
            case Name(name):
                return name
            case Number(value):
                return repr(value)
            case _:
                about = getattr(expression, "function", getattr(expression, "operator", "linear"))
                return f"{about}({','.join(map(self._structure, children(expression)))})"


def _takes_sign(expression: Expression) -> bool:
    """Whether other weights, which are as likely at first, turn an expression into its negative."""
    match expression:
        case Linear():
            return True
        case Call("tanh", operand):
            return _takes_sign(operand)
        case Binary("+" | "-", left, right):
            return _takes_sign(left) and _takes_sign(right)
        case _:
            return False


def _order(term: _Term) -> int:
    """The place of a term in a sum: products with matrices first, numbers last."""
    match term[1]:
        case (Linear(),):
            return 0
        case ():
            return 2
        case _:
            return 1


def _product(term: _Term) -> Expression:
    coefficient, factors = term
    parts = [*([Number(coefficient)] if coefficient != 1 or not factors else []), *factors]
    return reduce(lambda left, right: Binary("*", left, right), parts)


def _constant(value: float) -> Expression:
    return Number(value) if value >= 0 else Binary("-", Number(0.0), Number(-value))


_FUNCTIONS: Mapping[str, Callable[[float], float]] = {
    "tanh": math.tanh,
    "sigmoid": lambda value: (1 + math.tanh(value / 2)) / 2,
    "relu": lambda value: max(0.0, value),
}


class _Speller:
    """Gives every gate of a formula an assignment and a letter."""

    def __init__(self, formula: Formula) -> None:
        self._values = formula.values()
        self._made: list[Assignment] = []
        self._names: dict[str, Expression] = {}  # of shared values, in what is spelled
        self._used: set[str] = set()

    def spell(self) -> Formula:
        """Return the formula with the assignments."""
        for name, value in self._values.items():
            own = self._spell(value, outermost=True)
            if name in NEXT:
                self._made.append(Assignment(name, own))
            else:
                self._names[name] = self._assigned(own)
        return Formula(tuple(self._made))

    def _spell(self, expression: Expression, *, outermost: bool = False) -> Expression:
        if isinstance(expression, Name):
            return self._names.get(expression.name, expression)
        own = rebuilt(expression, [self._spell(child) for child in children(expression)])
        is_gate = isinstance(own, Call) and not is_pure(own)
        return self._assigned(own) if is_gate and not outermost else own

    def _assigned(self, value: Expression) -> Name:
        letters = _LETTERS[value.function if isinstance(value, Call) else ""]
        numbered = (f"{letter}{number or ''}" for number in count() for letter in letters)
        name = next(each for each in numbered if each not in self._used)
        self._used.add(name)
        self._made.append(Assignment(name, value))
        return Name(name)
