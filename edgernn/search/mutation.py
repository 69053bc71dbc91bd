"""Random changes of formulas."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from edgernn.search.canonical import canonical, faults, inlined, spelled
from edgernn.search.formula import (
    FUNCTIONS,
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
    rebuilt,
    walk,
)

__all__ = ["is_small", "mutated"]

_NODES, _PRODUCTS = 48, 8  # the most that a formula has
_AGAIN = 0.4  # the probability of one more change
_STATES_CHANGE = 0.05  # the probability that a change adds or removes the second state
_TRIES = 200  # for a change that leads to a cell
_NUMBERS = (0.5, 1.0, 2.0)

_Change = Callable[[Random, Expression, "_Place"], Expression | None]


class _Place:
    """What can be used at the place of a change: the names above it, and parts of the formula to copy."""

    def __init__(self, formula: Formula, index: int) -> None:
        self.states = [Name(state) for state in formula.states]
        self.above = [Name(name) for name, _ in formula.assignments[:index]]
        self.parts = [node for _, value in formula.assignments[: index + 1] for node in walk(value)]

    @property
    def names(self) -> list[Name]:
        """The states, and the values that are assigned above."""
        return self.states + self.above


def mutated(random: Random, formula: Formula) -> Formula:
    """Return another cell, in canonical form, that differs from `formula` by one random change or a few."""
    for _ in range(_TRIES):
        child = _changed(random, inlined(formula))
        while random.random() < _AGAIN:
            child = _changed(random, inlined(spelled(child)))
        child = canonical(child)
        if child != formula and is_small(child) and not faults(child):
            return child
    return formula


def is_small(formula: Formula) -> bool:
    """Whether a formula has no more parts and products than the search looks at."""
    nodes = sum(1 for _, value in formula.assignments for _ in walk(value))
    return nodes <= _NODES and 1 <= len(formula.products()) <= _PRODUCTS


def _changed(random: Random, formula: Formula) -> Formula:
    """Change a formula in one place; what comes of it need not be a cell."""
    if random.random() < _STATES_CHANGE:
        return _without_second_state(formula) if len(formula.states) == len(STATES) else _with_second_state(formula)
    index = random.randrange(len(formula.assignments))
    place = _Place(formula, index)
    name, value = formula.assignments[index]
    at = random.randrange(sum(1 for _ in walk(value)))
    change = random.choice(_CHANGES)

    def change_there(node: Expression) -> Expression:
        return change(random, node, place) or node

    values = list(formula.assignments)
    values[index] = Assignment(name, _with_node(value, at, change_there))
    if change is _interpolate:
        values.insert(index, Assignment(_MIX, _gate(random, place)))
    return Formula(tuple(values))


def _with_node(expression: Expression, at: int, change: Callable[[Expression], Expression]) -> Expression:
    """Return an expression with its node number `at`, as `walk` counts, changed; the input x stays where it stands."""
    if at == 0:
        return expression if expression == Name(INPUT) else change(expression)
    operands, at = list(children(expression)), at - 1
    for place, operand in enumerate(operands):
        size = sum(1 for _ in walk(operand))
        if at < size:
            operands[place] = _with_node(operand, at, change)
            return rebuilt(expression, operands)
        at -= size
    raise AssertionError("the number of a node is below their count")


# Parts to insert


def _gate(random: Random, place: _Place) -> Expression:
    return Call("sigmoid", _product(random, place))


def _product(random: Random, place: _Place) -> Linear:
    """A product with weights that reads the input, a state, or both."""
    state = random.choice(place.states)
    both, one = [Linear((Name(INPUT), state))], [Linear((Name(INPUT),)), Linear((state,))]
    return random.choice([*both, *both, *one])


def _leaf(random: Random, place: _Place) -> Expression:
    """A small value."""
    return random.choice(
        [
            random.choice(place.names),
            random.choice(place.names),
            _gate(random, place),
            Call("tanh", _product(random, place)),
            _product(random, place),
            Number(random.choice(_NUMBERS)),
        ]
    )


# Changes: each returns what replaces a node, or None where it does not apply


def _other_operator(random: Random, node: Expression, place: _Place) -> Expression | None:
    if not isinstance(node, Binary):
        return None
    return Binary(random.choice([each for each in "+-*" if each != node.operator]), node.left, node.right)


def _other_function(random: Random, node: Expression, place: _Place) -> Expression | None:
    if not isinstance(node, Call):
        return None
    return Call(random.choice([each for each in FUNCTIONS if each != node.function]), node.operand)


def _applied(random: Random, node: Expression, place: _Place) -> Expression:
    return Call(random.choice(FUNCTIONS), node)


def _operand(random: Random, node: Expression, place: _Place) -> Expression | None:
    """Keep one operand, which removes a function, an operator or a product."""
    operands = [child for child in children(node) if child != Name(INPUT)]
    return random.choice(operands) if operands else None


def _other_reads(random: Random, node: Expression, place: _Place) -> Expression | None:
    """Let a product read something else too, or one operand less."""
    if not isinstance(node, Linear):
        return None
    if len(node.operands) > 1 and random.random() < 0.5:
        left_out = random.randrange(len(node.operands))
        return Linear(tuple(each for index, each in enumerate(node.operands) if index != left_out))
    gated = _gated(random, random.choice(place.states), place)
    return Linear((*node.operands, random.choice([Name(INPUT), *place.names, gated])))


def _gated(random: Random, node: Expression, place: _Place) -> Expression:
    gates: list[Expression] = [*place.above, _gate(random, place)]
    return Binary("*", random.choice(gates), node)


def _summed(random: Random, node: Expression, place: _Place) -> Expression:
    return Binary(random.choice("+-"), node, _leaf(random, place))


def _replaced(random: Random, node: Expression, place: _Place) -> Expression:
    return _leaf(random, place)


def _copied(random: Random, node: Expression, place: _Place) -> Expression | None:
    """Put a copy of another part here, with weights of its own."""
    known = {name.name for name in place.names}
    parts = [part for part in place.parts if all(_is_known(each, known) for each in walk(part)) and part != Name(INPUT)]
    return random.choice(parts) if parts else None


def _is_known(node: Expression, known: set[str]) -> bool:
    return not isinstance(node, Name) or node.name in known or node.name == INPUT


def _interpolate(random: Random, node: Expression, place: _Place) -> Expression:
    """Mix a value with a state, by a new gate."""
    gate, state = Name(_MIX), random.choice(place.states)
    kept = Binary("*", Binary("-", Number(1.0), gate), state)
    return Binary("+", Binary("*", gate, node), kept)


_MIX = "mix"  # the name of a new value until the formula is spelled
_CHANGES: tuple[_Change, ...] = (
    *(_other_operator, _other_function, _applied, _operand, _other_reads, _other_reads),
    *(_gated, _summed, _replaced, _copied, _interpolate),
)


# Changes of the states


def _with_second_state(formula: Formula) -> Formula:
    """Keep the state of a formula in c, of which h shows a gated part."""
    values = [Assignment(name, _elementwise_renamed(value)) for name, value in formula.assignments]
    kept = [Assignment(NEXT[1] if name == NEXT[0] else name, value) for name, value in values]
    gate = Call("sigmoid", Linear((Name(INPUT), Name(STATES[0]))))
    return Formula((*kept, Assignment(NEXT[0], Binary("*", gate, Call("tanh", Name(NEXT[1]))))))


def _elementwise_renamed(expression: Expression) -> Expression:
    """Return an expression in which c stands for h, except where a product reads it."""
    if expression == Name(STATES[0]):
        return Name(STATES[1])
    if isinstance(expression, Linear):
        return expression
    return rebuilt(expression, [_elementwise_renamed(child) for child in children(expression)])


def _without_second_state(formula: Formula) -> Formula:
    """Let one state be both."""
    return Formula(
        tuple(
            Assignment(_MIX if name == NEXT[1] else name, _with_one_state(value)) for name, value in formula.assignments
        )
    )


def _with_one_state(expression: Expression) -> Expression:
    if isinstance(expression, Name):
        return {STATES[1]: Name(STATES[0]), NEXT[1]: Name(_MIX)}.get(expression.name, expression)
    return rebuilt(expression, [_with_one_state(child) for child in children(expression)])
