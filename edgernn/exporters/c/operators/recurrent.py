"""ONNX's own recurrent layers, one step after another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from edgernn.contract import Array
from edgernn.exporters.c.folding import Node
from edgernn.exporters.c.operators.common import Matrix, Operator, UnsupportedError, fixed, weights
from edgernn.exporters.c.operators.products import multiply
from edgernn.exporters.c.packing import PANEL
from edgernn.exporters.c.program import Elementwise, Place, Program

__all__ = ["RECURRENT"]

_MOST = 64  # steps, each of which has statements of its own
_Cell = Callable[[str, list[Place], list[Place], list[Place], Place, Program], list[Place]]


def _recurrent(gates: int, states: int, cell: _Cell, *, reading: int | None = None) -> Operator:
    """Return the operator of a layer. cell: adds one step, and returns the next states.

    reading: the first gates, whose products with the state are given to the cell; None for all.
    """

    def operator(node: Node, program: Program) -> None:
        x, of_inputs, recurrent, *rest = node.inputs
        bias, lengths, *initial = [*rest, *[""] * 5][: 2 + states]
        steps, batch = program.shape(x).sizes[:2]
        directions, rows, size = program.shape(recurrent).sizes
        default = [b"Sigmoid", b"Tanh", b"Tanh"][: 1 + states]
        usual = {"direction": b"forward", "layout": 0, "clip": 0.0, "input_forget": 0}
        if any(node.attributes.get(name, value) != value for name, value in usual.items()) or directions != 1:
            raise UnsupportedError("another direction than forward, or a limit of gates")
        given = node.attributes.get("activations", default)
        if list(given) != default or any(rest[2 + states :]):
            raise UnsupportedError("other activations, or peepholes")
        if steps > _MOST or batch != 1 or (lengths and set(fixed(program, lengths).ravel()) != {steps}):
            raise UnsupportedError(f"more than {_MOST} steps, or steps that are left out")
        biases = fixed(program, bias).reshape(2, rows) if bias else np.zeros((2, rows), np.float32)
        (label, *_) = [name for name in node.outputs if name]
        of_x = program.scratch(f"{label}.x", "float32", steps * rows + -rows % PANEL)
        whole = weights(program, of_inputs).seen(lambda each: each[0].T)
        multiply(of_x, program.place(x), whole, biases[0], program, steps)
        carried = [_first(name, f"{label}.first_{at}", size, program) for at, name in enumerate(initial)]
        outputs = (
            program.make(node.outputs[0]) if node.outputs[0] else program.scratch(f"{label}.h", "float32", steps * size)
        )
        kept_gates = gates if reading is None else reading
        read = kept_gates * size
        matrix = weights(program, recurrent).seen(lambda each: each[0][:read].T)
        for step in range(steps):
            of_h = program.scratch(f"{label}.h_{step}", "float32", read + -read % PANEL)
            multiply(of_h, carried[0], matrix, biases[1][:read], program)
            given = [of_x.after(step * rows + gate * size) for gate in range(gates)]
            kept = [of_h.after(gate * size) for gate in range(kept_gates)]
            carried = cell(f"{label}, step {step}", given, kept, carried, outputs.after(step * size), program)
        for name, place in zip(node.outputs[1:], carried, strict=False):
            if name:
                program.places[name] = place

    return operator


def _first(name: str, label: str, size: int, program: Program) -> Place:
    """Return the place of the first state: zeros if it is left out."""
    if name:
        return program.place(name)
    place = program.scratch(label, "float32", size)
    program.copy(place, None, size, label)
    return place


def _lstm(
    comment: str, x: list[Place], h: list[Place], states: list[Place], to: Place, program: Program
) -> list[Place]:
    """Add c = f c + i g and h = o tanh(c), with the gates in the order i, o, f, g."""
    size = x[1].offset - x[0].offset
    cell = program.scratch(f"{to.buffer.name}.c", "float32", size)
    expression = "NAME_sigmoid({0} + {1}) * {2} + NAME_sigmoid({3} + {4}) * NAME_tanh({5} + {6})"
    _add(cell, size, expression, [x[2], h[2], states[1], x[0], h[0], x[3], h[3]], f"{comment}: c", program)
    _add(to, size, "NAME_sigmoid({0} + {1}) * NAME_tanh({2})", [x[1], h[1], cell], f"{comment}: h", program)
    return [to, cell]


def _gru(comment: str, x: list[Place], h: list[Place], states: list[Place], to: Place, program: Program) -> list[Place]:
    """Add h = n + z (h - n), where n = tanh(x + r h), with the gates in the order z, r, n."""
    size = x[1].offset - x[0].offset
    new = program.scratch(f"{to.buffer.name}.n", "float32", size)
    expression = "NAME_tanh({0} + NAME_sigmoid({1} + {2}) * {3})"
    _add(new, size, expression, [x[2], x[1], h[1], h[2]], f"{comment}: n", program)
    return _between(comment, size, [new, x[0], h[0], states[0]], to, program)


def _gru_of(matrix: Matrix, bias: Array) -> _Cell:
    """Return a cell that resets the state before its product with the matrix of n: n = tanh(x + W (r h) + bias)."""

    def cell(
        comment: str, x: list[Place], h: list[Place], states: list[Place], to: Place, program: Program
    ) -> list[Place]:
        size = x[1].offset - x[0].offset
        kept, product, new = (
            program.scratch(f"{to.buffer.name}.{name}", "float32", size + -size % PANEL) for name in ("r", "rh", "n")
        )
        _add(kept, size, "NAME_sigmoid({0} + {1}) * {2}", [x[1], h[1], states[0]], f"{comment}: r h", program)
        multiply(product, kept, matrix, bias, program)
        _add(new, size, "NAME_tanh({0} + {1})", [x[2], product], f"{comment}: n", program)
        return _between(comment, size, [new, x[0], h[0], states[0]], to, program)

    return cell


def _between(comment: str, size: int, operands: list[Place], to: Place, program: Program) -> list[Place]:
    """Add h = n + z (h - n), where z is a sigmoid. operands: n, the two terms of z's argument, and h."""
    _add(to, size, "{0} + NAME_sigmoid({1} + {2}) * ({3} - {0})", operands, f"{comment}: h", program)
    return [to]


def _add(to: Place, count: int, expression: str, operands: list[Place], comment: str, program: Program) -> None:
    indices = ("i",) * len(operands)
    program.statements.append(Elementwise(to, count, expression, tuple(operands), indices, comment))


def _gated(node: Node, program: Program) -> None:
    if node.attributes.get("linear_before_reset", 0):
        _recurrent(3, 1, _gru)(node, program)
        return
    recurrent, bias = node.inputs[2], node.inputs[3] if len(node.inputs) > 3 else ""
    size = program.shape(recurrent).sizes[2]
    matrix = replace(weights(program, recurrent).seen(lambda each: each[0][2 * size :].T), name=f"{recurrent}.n")
    added = fixed(program, bias).reshape(2, -1)[1][2 * size :] if bias else np.zeros(size, np.float32)
    _recurrent(3, 1, _gru_of(matrix, added), reading=2)(node, program)


RECURRENT: dict[str, Operator] = {"GRU": _gated, "LSTM": _recurrent(4, 2, _lstm)}
