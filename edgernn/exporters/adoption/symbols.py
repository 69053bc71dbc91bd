"""The named axes of a graph, and candidates for the batch axis."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from edgernn.contract import BATCH
from edgernn.exporters.adoption.graph import OpenGraph, Port

__all__ = ["Group", "Sizes", "Symbols"]

Sizes = dict[str, int]
Group = frozenset[str]

_LIKE_BATCH = re.compile(r"(batch|b|n|bs|bsz|streams?)(_?(size|dim|axis))?", re.IGNORECASE)
_PLACEMENTS = 24  # candidates to try


@dataclass(frozen=True)
class Symbols:
    """The named axes of the inputs of a graph.

    names: in the order of the file. held: the axes of states. unsaid: axes that only states have, whose sizes may
    depend on those of other axes.
    """

    ports: Mapping[str, Port]
    states: Sequence[str]
    names: Sequence[str]
    held: frozenset[str]
    unsaid: frozenset[str]

    @classmethod
    def of(cls, graph: OpenGraph, states: Sequence[str], example: Mapping[str, int]) -> Symbols:
        """Return the named axes of `graph`. states: inputs that are states. example: sizes that the caller gave."""
        ports = graph.inputs
        named = {name: [axis for axis in port.known_axes if isinstance(axis, str)] for name, port in ports.items()}
        held = frozenset(axis for name in states for axis in named[name])
        shared = {axis for name, axes in named.items() if name not in states for axis in axes}
        return cls(
            ports,
            states,
            list(dict.fromkeys(itertools.chain.from_iterable(named.values()))),
            held,
            held - shared - example.keys(),
        )

    def groups(self) -> list[Group]:
        """Return sets of axes that could be the batch, the most likely first, with at most one axis of each tensor."""
        candidates = itertools.chain(self.singles(), self._aligned(), self._combined())
        return list(dict.fromkeys(group for group in candidates if self._could_be(group)))[:_PLACEMENTS]

    def forced_groups(self) -> list[Group]:
        """Return the axes that the caller calls batch, combined with one axis of every state that has none."""
        given = frozenset([BATCH])
        groups = [given, *(group | given for group in itertools.islice(self._combined(), _PLACEMENTS))]
        return list(dict.fromkeys(group for group in groups if self._could_be(group)))

    def singles(self) -> list[Group]:
        """Return sets of one axis each; axes with a typical name of a batch, or of many tensors, come first."""
        singles = [frozenset([axis]) for axis in self.names]
        return sorted(singles, key=lambda g: (not _LIKE_BATCH.fullmatch(next(iter(g))), -self._covered(g)))

    def _aligned(self) -> Iterator[Group]:
        """Yield the axes at one position of all inputs and at one position of all states."""
        places = range(max((len(port.known_axes) for port in self.ports.values()), default=0))
        for of_inputs, of_states in itertools.product(places, repeat=2):
            chosen = (
                axis
                for name, port in self.ports.items()
                for place, axis in enumerate(port.known_axes)
                if isinstance(axis, str) and place == (of_states if name in self.states else of_inputs)
            )
            yield frozenset(chosen)

    def _combined(self) -> Iterator[Group]:
        """Yield one axis of each tensor without an axis called batch, first axes first; inputs may have none."""
        options: list[list[str | None]] = []
        for name, port in self.ports.items():
            named: list[str | None] = [axis for axis in port.known_axes if isinstance(axis, str)]
            if BATCH not in named:
                options.append(named if name in self.states and named else [*named, None])
        for chosen in itertools.islice(itertools.product(*options), 4 * _PLACEMENTS):
            yield frozenset(axis for axis in chosen if axis is not None)

    def _could_be(self, group: Group) -> bool:
        if not group:
            return False
        counts = {name: sum(axis in group for axis in port.known_axes) for name, port in self.ports.items()}
        given = [count for name, count in counts.items() if name not in self.states]
        return max(counts.values()) == 1 and all(counts[name] for name in self.states) and (not given or any(given))

    def _covered(self, group: Group) -> int:
        return sum(bool(group.intersection(map(str, port.known_axes))) for port in self.ports.values())
