"""Units: the single numbers of the states of a graph, each with a number and a name."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgernn.contract import BATCH, Array, GraphSpec, State, StateSpec
from edgernn.errors import ConfigError, StreamError

__all__ = ["Unit", "Units"]


@dataclass(frozen=True)
class Unit:
    """One number of a state.

    number: its place among all units of the graph, from 0. layer: the first index, in states that have several axes
    besides the batch; None in others. index: its place within the layer, from 0.
    """

    number: int
    state: str
    layer: int | None
    index: int

    @property
    def name(self) -> str:
        """State, layer and index, as in "c.1.56"."""
        return ".".join([self.state, *([] if self.layer is None else [str(self.layer)]), str(self.index)])

    def __str__(self) -> str:
        """Return number and name, as in "184 (c.1.56)"."""
        return f"{self.number} ({self.name})"

    def to_json(self) -> dict[str, Any]:
        """Return the unit as commands print it with --json."""
        return {"unit": self.number, "state": self.state, "layer": self.layer, "index": self.index}


class Units:
    """All units of a graph, in the order of its states."""

    def __init__(self, spec: GraphSpec) -> None:
        """Raise StreamError for a graph without states, or with one that is not a fixed number of floats."""
        if not spec.states:
            raise StreamError(f"graph {spec.name} has no state, and so no units")
        for state in spec.states:
            if state.numpy_dtype.kind != "f" or any(isinstance(axis, str) for axis in _sizes(state)):
                raise StreamError(
                    f"state {state.name} is not a fixed number of floating-point numbers, so it has no units"
                )
        self._states = spec.states
        counts: list[int] = [math.prod(_sizes(state)) for state in spec.states]
        self._starts = dict(zip((state.name for state in spec.states), np.cumsum([0, *counts]).tolist(), strict=False))
        self._count = sum(counts)

    def __len__(self) -> int:
        """Return the number of units."""
        return self._count

    def __getitem__(self, number: int) -> Unit:
        """Return the unit `number`, from 0. Raises IndexError for others."""
        if not 0 <= number < self._count:
            raise IndexError(number)
        state = [state for state in self._states if self._starts[state.name] <= number][-1]
        place, width = number - self._starts[state.name], _width(state)
        layered = len(_sizes(state)) > 1
        return Unit(number, state.name, place // width if layered else None, place % width)

    def __iter__(self) -> Iterator[Unit]:
        return (self[number] for number in range(self._count))

    def find(self, text: str) -> Unit:
        """Return the unit with this number or name, such as "184" or "c.1.56".

        Raises ConfigError, which says what there is, for one that does not exist.
        """
        if text.isascii() and text.isdigit():
            if len(text) < _DIGITS and int(text) < self._count:
                return self[int(text)]
            raise ConfigError(f"there is no unit {text[:40]}: units are numbered from 0 to {self._count - 1}")
        for state in self._states:
            head, rest = text[: len(state.name) + 1], text[len(state.name) + 1 :].split(".")
            if head == f"{state.name}." and all(part.isascii() and part.isdigit() for part in rest):
                return self._in_state(state, text, rest)
        names = [self[self._starts[state.name] + math.prod(_sizes(state)) - 1].name for state in self._states]
        raise ConfigError(
            f"there is no unit {text[:40]!r}: a unit is a number from 0 to {self._count - 1}, or a name, "
            f"up to {' and '.join(names)}"
        )

    def values(self, state: Mapping[str, Array]) -> Array:
        """Return the values (units,) of all units in the state of one stream."""
        return np.concatenate([state[each.name].ravel() for each in self._states])

    def states(self, values: Array) -> State:
        """Return the states of a batch of streams, from their values (streams, units)."""
        found = {}
        for each in self._states:
            start, sizes = self._starts[each.name], _sizes(each)
            part = values[:, start : start + math.prod(sizes)].astype(each.numpy_dtype).reshape(-1, *sizes)
            axis = each.batch_axis
            found[each.name] = part[0] if axis is None else np.ascontiguousarray(np.moveaxis(part, 0, axis))
        return State(found)

    def hold(self, state: Mapping[str, Array], unit: Unit, values: Array) -> State:
        """Return `state` with `unit` at `values` (streams,), one for each stream; NaN leaves a stream as it is."""
        spec = next(each for each in self._states if each.name == unit.state)
        place = np.unravel_index(unit.number - self._starts[unit.state], _sizes(spec))
        held = np.array(state[unit.state])
        streams = held[None] if spec.batch_axis is None else np.moveaxis(held, spec.batch_axis, 0)  # a view
        before = streams[:, *place]
        streams[:, *place] = np.where(np.isnan(values), before, values)
        return State({**state, unit.state: held})

    def _in_state(self, state: StateSpec, text: str, rest: list[str]) -> Unit:
        """Return the unit of a state with the indices `rest`."""
        sizes, width = _sizes(state), _width(state)
        limits = [math.prod(sizes) // width, width] if len(sizes) > 1 else [width]
        if len(rest) != len(limits):
            form = "STATE.LAYER.INDEX" if len(limits) > 1 else "STATE.INDEX"
            raise ConfigError(f"there is no unit {text[:40]}: units of the state {state.name} are named {form}")
        for what, part, limit in zip(("layers", "units")[-len(limits) :], rest, limits, strict=True):
            if len(part) >= _DIGITS or int(part) >= limit:
                where = f"{'a layer of ' if what == 'units' and len(limits) > 1 else ''}the state {state.name}"
                raise ConfigError(f"there is no unit {text[:40]}: the {what} of {where} are 0 to {limit - 1}")
        place = 0
        for part, limit in zip(rest, limits, strict=True):
            place = place * limit + int(part)
        return self[self._starts[state.name] + place]


_DIGITS = 12  # a number of as many digits is above every unit


def _sizes(state: StateSpec) -> list[Any]:
    """The axes of a state without that of the batch."""
    return [axis for axis in state.axes if axis != BATCH]


def _width(state: StateSpec) -> int:
    """The number of units in a layer of a state, or in all of it, if it has no layers."""
    sizes = _sizes(state)
    return math.prod(sizes[1:]) if len(sizes) > 1 else math.prod(sizes)
