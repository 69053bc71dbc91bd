"""Update formulas: their text, their canonical form, their mutants, and the cells that are generated from them."""

import importlib.util
from random import Random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edgernn.errors import ConfigError
from edgernn.models.cells import CELLS, cell_class
from edgernn.models.cells.user import load_cell
from edgernn.search.canonical import canonical, faults, simplified
from edgernn.search.formula import (
    FUNCTIONS,
    Assignment,
    Binary,
    Call,
    Formula,
    Linear,
    Name,
    Number,
    parse,
    walk,
)
from edgernn.search.known import KNOWN
from edgernn.search.mutation import is_small, mutated
from edgernn.search.source import cell_source

INPUTS, HIDDEN, BATCH = 3, 5, 4


# Any formulas, and cells


@st.composite
def formulas(draw):
    """Any formula that can be written, most of which are no cells."""
    states = draw(st.sampled_from([("h",), ("h", "c")]))
    names = [*draw(st.lists(st.sampled_from("zrnq"), unique=True, max_size=3)), *(f"{state}'" for state in states)]
    known, assignments = list(states), []
    for name in draw(st.permutations(names)):
        assignments.append(Assignment(name, draw(expressions(known))))
        known.append(name)
    return Formula(tuple(assignments))


def expressions(known):
    leaves = st.builds(Name, st.sampled_from(known)) | st.builds(Number, st.floats(0, 4, allow_subnormal=False))
    return st.recursive(leaves, larger, max_leaves=8)


def larger(inner):
    operands = st.lists(inner | st.just(Name("x")), min_size=1, max_size=3)
    return (
        st.builds(Call, st.sampled_from(FUNCTIONS), inner)
        | st.builds(Binary, st.sampled_from("+-*"), inner, inner)
        | st.builds(Linear, operands.map(tuple))
    )


def cells(seeds=10**6):
    """Cells: known ones, after some mutations."""
    return st.builds(_cell, st.integers(0, seeds))


def _cell(seed):
    random = Random(seed)
    formula = random.choice(list(KNOWN.values()))
    for _ in range(random.randrange(5)):
        formula = mutated(random, formula)
    return formula


# Oracles in numpy


def sigmoid(x):
    return (1 + np.tanh(x / 2)) / 2


ARITHMETIC = {
    **{"sigmoid": sigmoid, "tanh": np.tanh, "relu": lambda x: np.maximum(0, x)},
    **{"+": np.add, "-": np.subtract, "*": np.multiply},
}


def evaluate(formula, x, states, linear):
    """The next states of a formula. linear: what an occurrence is, given its operands' values."""
    values = {"x": x, **states}

    def value(node):
        match node:
            case Number(number):
                return np.float64(number)
            case Name(name):
                return values[name]
            case Call(function, operand):
                return ARITHMETIC[function](value(operand))
            case Binary(operator, left, right):
                return ARITHMETIC[operator](value(left), value(right))
            case Linear(operands):
                return linear(node, operands, value)

    with np.errstate(all="ignore"):
        for name, node in formula.assignments:
            values[name] = value(node)
    return [values[f"{state}'"] for state in formula.states]


def shared_weights(random, inputs=INPUTS, hidden=HIDDEN):
    """Products whose weights are those of all other products too, without biases."""
    of_input, of_state = random.normal(0, 0.3, (inputs, hidden)), random.normal(0, 0.3, (hidden, hidden))

    def linear(_, operands, value):
        parts = [
            value(each) @ of_input if each == Name("x") else np.broadcast_to(value(each), (BATCH, hidden)) @ of_state
            for each in operands
        ]
        return sum(parts)

    return linear


def weights_of(formula, cell):
    """Products with the weights of a generated cell: `products1`, … by operands, each with a part per occurrence."""
    places, shared, counts = [], {}, []
    for node in formula.products():
        pure = not any(isinstance(each, Linear) for operand in node.operands for each in walk(operand))
        number = shared.get(node.operands) if pure else None
        if number is None:
            number = len(counts)
            counts.append(0)
        if pure:
            shared[node.operands] = number
        places.append((number, counts[number]))
        counts[number] += 1
    left = iter(places)

    def linear(_, operands, value):
        number, place = next(left)
        module = getattr(cell, f"products{number + 1}")
        read = np.concatenate([value(each) for each in operands], axis=1)
        part = slice(place * HIDDEN, (place + 1) * HIDDEN)
        return read @ module.weight.numpy()[:, part] + module.bias.numpy()[part]

    return linear


def built(formula, folder, seed=0, name="Found"):
    """A cell from the file that is written for a formula, in double precision, with random weights and biases."""
    path = folder / f"{name.lower()}.py"
    path.write_text(cell_source(formula, name, "A cell."), encoding="utf-8")
    spec = importlib.util.spec_from_file_location(name.lower(), path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    torch.manual_seed(seed)
    cell = getattr(module, name)(INPUTS, HIDDEN).double().requires_grad_(False)
    for parameter in cell.parameters():
        parameter.normal_(0, 0.5)
    return cell


# Text


@settings(max_examples=60)
@given(formulas())
def test_a_formula_is_read_as_it_was_written(formula):
    assert parse(str(formula)) == formula
    assert parse("; ".join(formula.lines)) == formula


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "does not say what h' is"),
        ("z = sigmoid(h)", "does not say what h' is"),
        ("h' = tanh(x)", "line 1, column 11: x has another size than the states"),
        ("h' = linear(x + h)", "column 13: x has another size"),
        ("z = h\nh' = z *\n", "line 2, column 9: the end stands where a value is needed"),
        ("z = h; h' = q", "line 1, column 13: there is no q yet"),
        ("h' = h'", "column 6: there is no h' yet"),
        ("h' = tanh(linear(x, h)", "column 23: the end stands where ) is needed"),
        ("h' = tanh h", "column 11: 'h' stands where ( after tanh is needed"),
        ("h' = h h", "column 8: h does not go on here"),
        ("h' = h; h' = h", "column 9: h' is assigned twice"),
        ("h = 1", "column 1: h cannot be assigned"),
        ("for = h", "column 1: for cannot be assigned"),
        ("self = h", "column 1: self cannot be assigned"),
        ("h_next = h", "column 1: h_next cannot be assigned"),
        ("h' = 2 * c", "column 10: it uses c and does not say what c' is"),
        ("h' = $", "column 6: '$' stands where a value is needed"),
        ("h' = 1e999", "column 6: 1e999 is too large"),
        ("h' = " + "(" * 50 + "h" + ")" * 50, "more than 40 brackets deep"),
        ("h' = " + "-" * 50 + "h", "more than 40 brackets deep"),
        ("h' = " + "h + " * 600 + "h", "at most 2,000 characters, not 2,406"),
    ],
)
def test_a_text_that_is_no_formula_is_refused_with_the_place(text, words):
    with pytest.raises(ConfigError) as caught:
        parse(text)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_formula_is_read_with_the_usual_precedence():
    assert str(parse("h' = 1 - h * h + -h;;\n\n")) == "h' = 1 - h * h + (0 - h)"
    assert parse("h' = h - h - h") == parse("h' = (h - h) - h") != parse("h' = h - (h - h)")


# The canonical form


@settings(max_examples=60)
@given(formulas(), st.integers(0, 99))
def test_simplification_keeps_every_value(formula, seed):
    random = np.random.default_rng(seed)
    x, states = random.uniform(-1, 1, (BATCH, INPUTS)), {s: random.uniform(-1, 1, (BATCH, HIDDEN)) for s in ("h", "c")}
    linear = shared_weights(random)
    before, after = (evaluate(each, x, states, linear) for each in (formula, simplified(formula)))
    for expected, value in zip(before, after, strict=True):
        np.testing.assert_allclose(
            np.broadcast_to(value, (BATCH, HIDDEN)), np.broadcast_to(expected, (BATCH, HIDDEN)), rtol=1e-6, atol=1e-6
        )


@settings(max_examples=60)
@given(formulas())
def test_the_canonical_form_is_canonical(formula):
    form = canonical(formula)
    assert canonical(form) == form
    assert parse(str(form)) == form


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("z = sigmoid(linear(x)); h' = z * h", "q = sigmoid(linear(x)); h' = h * q"),
        ("z = sigmoid(linear(x)); u = 3 * z; h' = z * h", "h' = h * sigmoid(linear(x))"),
        ("h' = tanh(linear(x) + linear(h))", "h' = tanh(linear(h, x))"),
        ("h' = tanh(linear(x, h, x, 2) - linear(h))", "h' = tanh(linear(x, h))"),
        ("h' = tanh(0 - linear(x, h))", "h' = tanh(2 * linear(x, h))"),
        ("h' = h - tanh(linear(x))", "h' = h + tanh(linear(x))"),
        ("h' = (1 - sigmoid(linear(x))) * h", "h' = sigmoid(linear(x)) * h"),
        ("h' = linear(x) * h * 3", "h' = h * linear(x)"),
        ("h' = linear(x, 2 * h + 1)", "h' = linear(x, h)"),
        ("h' = relu(sigmoid(linear(x))) + h - h", "h' = sigmoid(linear(x)) + 0 * h + tanh(0)"),
        (
            "z = sigmoid(linear(x)); n = tanh(linear(x)); h' = z * n + (1 - z) * h",
            "a = sigmoid(linear(x)); h' = h * (1 - a) + tanh(linear(x)) * a",
        ),
    ],
)
def test_cells_that_are_the_same_have_one_form(one, other):
    assert canonical(parse(one)) == canonical(parse(other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("z = sigmoid(linear(x)); h' = z * h + z", "h' = sigmoid(linear(x)) * h + sigmoid(linear(x))"),
        ("h' = tanh(linear(x) * linear(x))", "h' = tanh(linear(x))"),
        ("h' = sigmoid(linear(x, h) + 1)", "h' = sigmoid(linear(x, h))"),
        ("h' = relu(0 - sigmoid(linear(x)))", "h' = relu(sigmoid(linear(x)))"),
    ],
)
def test_cells_that_differ_have_several_forms(one, other):
    assert canonical(parse(one)) != canonical(parse(other))


def test_gates_have_names_and_shared_values_are_computed_once():
    form = canonical(parse("h' = tanh(linear(x, h * sigmoid(linear(x, h)))) * (1 - h) + h * relu(h)"))
    assert form.lines == [
        "z = sigmoid(linear(x, h))",
        "n = tanh(linear(x, z * h))",
        "h' = (1 - h) * n + relu(h) * h",
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("h' = 1", "h' is always the same number"),
        ("h' = tanh(2) - 3", "h' is always the same number"),
        ("h' = tanh(h)", "the output h' does not depend on x"),
        ("h' = tanh(linear(x))", "the state h is not read"),
        ("h' = tanh(linear(x, h)); c' = c + h", "the output h' does not depend on c"),
        ("h' = tanh(linear(x, h, c)); c' = c - c + 1", "c' is always the same number"),
        ("h' = tanh(linear(x)) + h * 1e300 * 1e300", "its numbers are too large"),
        ("h' = tanh(linear(h)) + c; c' = c * linear(x)", ""),
    ],
)
def test_what_is_no_cell_is_known(text, words):
    assert faults(canonical(parse(text))) == words


# Mutants


@settings(max_examples=15)
@given(st.integers(0, 10**6))
def test_a_mutant_is_another_small_cell_in_canonical_form(seed):
    parent = _cell(seed)
    child = mutated(Random(seed), parent)
    assert child != parent
    assert child == canonical(child) == mutated(Random(seed), parent)
    assert parse(str(child)) == child
    assert is_small(child)
    assert faults(child) == ""


# Generated cells


@settings(max_examples=15)
@given(cells(), st.integers(0, 99))
def test_a_generated_cell_computes_its_formula(tmp_path, formula, seed):
    cell = built(formula, tmp_path, seed)
    assert cell.states == formula.states
    x, state = torch.randn(BATCH, INPUTS).double(), [torch.randn(BATCH, HIDDEN).double() for _ in formula.states]
    named = {name: each.numpy() for name, each in zip(formula.states, state, strict=True)}
    expected = evaluate(formula, x.numpy(), named, weights_of(formula, cell))
    for ours, theirs in zip(cell.step(x, tuple(state)), expected, strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs, rtol=1e-9, atol=1e-9)


@settings(max_examples=15)
@given(cells(), st.integers(0, 99))
def test_a_bound_of_a_generated_cell_holds(tmp_path, formula, seed):
    cell = built(formula, tmp_path, seed)
    state = tuple(torch.zeros(BATCH, HIDDEN).double() for _ in formula.states)
    for _ in range(30):
        state = cell.step(3 * torch.randn(BATCH, INPUTS).double(), state)
        if not all(each.isfinite().all() for each in state):
            return  # a state without a bound exploded
        for bound, value in zip(cell.bounds, state, strict=True):
            assert bound is None or value.abs().max() <= bound + 1e-9


@pytest.mark.parametrize(
    ("text", "bounds"),
    [
        ("h' = tanh(linear(x, h))", (1.0,)),
        ("h' = relu(linear(x, h))", (None,)),
        ("z = sigmoid(linear(x)); h' = z * tanh(linear(x)) + (1 - z) * h", (1.0,)),
        ("z = sigmoid(linear(x)); h' = z * tanh(linear(x)) + h", (None,)),
        ("z = tanh(linear(x)); h' = z * tanh(linear(x)) + (1 - z) * h", (None,)),
        ("h' = sigmoid(linear(x)) * h * h", (None,)),  # it holds from zeros, and not from a learned state of 2
        ("c' = c + linear(x); h' = sigmoid(linear(h)) * tanh(c')", (1.0, None)),
    ],
)
def test_a_bound_is_claimed_where_it_is_proven(tmp_path, text, bounds):
    assert built(parse(text), tmp_path).bounds == bounds


def test_the_lstm_of_its_formula_is_the_lstm(tmp_path):
    ours, theirs = built(KNOWN["LSTM"], tmp_path), CELLS["lstm"](INPUTS, HIDDEN).double().requires_grad_(False)
    order = [1, 0, 2, 3]  # i, f, g, o; the formula's text has f first, to whose product 1 is added
    parts = [slice(place * HIDDEN, (place + 1) * HIDDEN) for place in order]
    theirs.gates.weight.copy_(torch.cat([ours.products1.weight[:, part] for part in parts], dim=1))
    theirs.gates.bias.copy_(torch.cat([ours.products1.bias[part] for part in parts]))
    theirs.gates.bias[HIDDEN : 2 * HIDDEN] += 1
    x, state = torch.randn(7, BATCH, INPUTS).double(), tuple(torch.randn(BATCH, HIDDEN).double() for _ in "hc")
    assert ours.bounds == theirs.bounds
    for one, other in zip(ours.sequence(x, state), theirs.sequence(x, state), strict=True):
        torch.testing.assert_close(one, other)


def test_the_gru_of_its_formula_is_the_gru(tmp_path):
    ours, theirs = built(KNOWN["GRU"], tmp_path), CELLS["gru"](INPUTS, HIDDEN).double().requires_grad_(False)
    z, r = (slice(place * HIDDEN, (place + 1) * HIDDEN) for place in range(2))  # in the order of the formula's text
    both, of_input, of_state = ours.products1, ours.products2, ours.products3
    theirs.from_input.weight.copy_(
        torch.cat([both.weight[:INPUTS, r], both.weight[:INPUTS, z], of_input.weight], dim=1)
    )
    theirs.from_input.bias.copy_(torch.cat([both.bias[r], both.bias[z], of_input.bias]))
    theirs.from_state.weight.copy_(
        torch.cat([both.weight[INPUTS:, r], both.weight[INPUTS:, z], of_state.weight], dim=1)
    )
    theirs.candidate_bias.copy_(of_state.bias)
    x, state = torch.randn(7, BATCH, INPUTS).double(), (torch.randn(BATCH, HIDDEN).double(),)
    assert ours.bounds == theirs.bounds
    for one, other in zip(ours.sequence(x, state), theirs.sequence(x, state), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("name", KNOWN)
def test_the_formulas_of_known_cells_are_cells_that_can_be_exported(tmp_path, name):
    assert canonical(KNOWN[name]) == KNOWN[name]
    path = tmp_path / "known.py"
    path.write_text(cell_source(KNOWN[name], "Known", "A known cell."), encoding="utf-8")
    assert cell_class(load_cell(f"{path}:Known")).states == KNOWN[name].states
