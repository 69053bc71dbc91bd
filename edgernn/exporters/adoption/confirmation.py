"""Determine the axes in the contract, by trying other sizes, and describe them in notes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from edgernn.contract import BATCH, Axis
from edgernn.errors import ExportError, few
from edgernn.exporters.adoption.attempts import Attempts, ResultShapes
from edgernn.exporters.adoption.names import contract_name
from edgernn.exporters.adoption.symbols import Group, Sizes
from edgernn.exporters.adoption.trial import MisfitError

__all__ = ["STREAMS", "Axes", "confirmed"]

STREAMS = (2, 3)  # batch sizes to try

_NONE: Group = frozenset()
_FAILED = "the other sizes that were tried failed"
_FOLLOWS = "the size of a state follows"
_STATE = "a state has one size"
_SHARED = "a state has this axis too, and one size"


@dataclass(frozen=True)
class Axes:
    """The axes of a graph's inputs and outputs in the contract.

    sizes: sizes of the model's named axes with which one stream runs. free: the named axes whose size can vary. notes:
    sentences about decisions.
    """

    inputs: Mapping[str, tuple[Axis, ...]]
    outputs: Mapping[str, tuple[Axis, ...]]
    sizes: Sizes
    free: Group
    notes: tuple[str, ...] = ()


def confirmed(
    attempts: Attempts, sizes: Sizes, group: Group, fixed: Group = _NONE, mixing: Sequence[MisfitError] = ()
) -> Axes:
    """Try the graph with other sizes: axes are named if their size can vary, and axes of outputs if they follow one.

    sizes: sizes with which one stream runs. group: the axes that count streams. fixed: other axes of size 1. mixing:
    why rows along other axes are not independent. Raises ExportError for outputs that no contract describes.
    """
    return _Confirmation(attempts, sizes, group, fixed).axes(mixing)


class _Confirmation:
    def __init__(self, attempts: Attempts, sizes: Sizes, group: Group, fixed: Group) -> None:
        self.attempts, self.trial, self.symbols = attempts, attempts.trial, attempts.symbols
        self.sizes, self.group = sizes, group
        self.runs: list[tuple[Sizes, ResultShapes]] = [(sizes, self.trial.one(sizes))]
        for count in STREAMS if group else ():
            self.runs.append(({**sizes, **dict.fromkeys(group, count)}, self.trial.rows(sizes, group, count)))
        given = [axis for axis in self.symbols.names if axis not in group | fixed | self.symbols.held]
        self.leading = {axis for axis in given if self._leads(axis)}
        free = [axis for axis in given if axis not in self.leading]
        # The axis that gives each free axis its size: itself, or the one that it is tied to.
        classes = {axis: axis for axis in free if self._changes([axis])}
        tied = [axis for axis in free if axis not in classes]
        if len(tied) > 1 and self._changes(tied):
            classes |= dict.fromkeys(tied, tied[0])
        self.free = frozenset(classes)
        self.names = {axis: self._name(kept) for axis, kept in classes.items()} | dict.fromkeys(group, BATCH)

    def axes(self, mixing: Sequence[MisfitError]) -> Axes:
        """Return the axes. mixing: why rows along other axes are not independent streams."""
        inputs = {name: self._input(name) for name in self.symbols.ports}
        outputs = {name: self._output(name) for name in self.trial.graph.outputs}
        notes = (*self._fixed(inputs), *self._single(inputs, outputs, mixing))
        return Axes(inputs, outputs, self.sizes, self.free, notes)

    def _leads(self, axis: str) -> bool:
        """Return whether sizes of states depend on the size of an axis."""
        unsaid = self.symbols.unsaid
        if not unsaid:
            return False
        now = self.attempts.followed(self.sizes)
        then = self.attempts.followed({**self.sizes, axis: 2 * self.sizes[axis]})
        return any(now.get(held) != then.get(held) for held in unsaid)

    def _changes(self, axes: Sequence[str]) -> bool:
        """Return whether the graph, and a batch of streams if there is one, runs with another size of `axes`."""
        size = self.sizes[axes[0]]
        for other in (size + 4, 2 * size, 3 * size, size + 1, size // 2):  # not 1, which broadcasts to any size
            if other < 2:
                continue
            changed = {**self.sizes, **dict.fromkeys(axes, other)}
            shapes = self.attempts.one(changed)
            if shapes is not None and self._are_streams(changed):
                self.runs.append((changed, shapes))
                return True
        return False

    def _are_streams(self, sizes: Sizes) -> bool:
        try:
            if self.group:
                self.trial.rows(sizes, self.group, STREAMS[0])
        except MisfitError:
            return False
        return True

    def _name(self, axis: str) -> str:
        """Return the name in the contract of an axis that is not the batch axis, even if the file calls it so."""
        if axis != BATCH:
            return axis
        ports = self.symbols.ports
        tensor, place = next((t, p.known_axes.index(axis)) for t, p in ports.items() if axis in p.known_axes)
        return contract_name(f"{tensor[:80]}_{place}")

    def _input(self, name: str) -> tuple[Axis, ...]:
        axes = self.symbols.ports[name].known_axes
        return tuple(axis if isinstance(axis, int) else self.names.get(axis, self.sizes[axis]) for axis in axes)

    def _output(self, name: str) -> tuple[Axis, ...]:
        shapes = [shapes[name] for _, shapes in self.runs]
        graph = self.trial.graph
        if len({len(shape) for shape in shapes}) > 1:
            raise ExportError(
                f"graph {graph.name}: output {graph.own(name)} has {len(shapes[0])} axes, and then others"
            )
        axes = []
        for place, seen in enumerate(zip(*shapes, strict=True)):
            if 0 in seen:
                raise ExportError(f"graph {graph.name}: output {graph.own(name)} has no elements: {list(shapes[0])}")
            axes.append(self._output_axis(name, place, seen))
        return tuple(axes)

    def _output_axis(self, name: str, place: int, seen: Sequence[int]) -> Axis:
        if len(set(seen)) == 1:
            return seen[0]
        for axis, known in self.names.items():
            if all(sizes[axis] == size for (sizes, _), size in zip(self.runs, seen, strict=True)):
                return known
        port = self.trial.graph.outputs[name]
        own = port.axes[place] if port.axes is not None and len(port.axes) > place else 0
        taken = {*self.names.values(), BATCH}
        return own if isinstance(own, str) and own not in taken else contract_name(f"{name[:80]}_{place}")

    # Notes

    def _fixed(self, inputs: Mapping[str, tuple[Axis, ...]]) -> Iterator[str]:
        """Yield notes about sizes that are fixed though the file leaves them open; similar tensors share one note."""
        own = self.trial.graph.own
        alike: dict[tuple[str, str], list[str]] = {}
        for name in self.symbols.ports:
            if self._of_one_size(name):
                alike.setdefault((self._why(name), ",".join(map(str, inputs[name]))), []).append(name)
        for (why, said), names in alike.items():
            sizes = ", ".join(f"{axis} = {self.sizes[axis]}" for axis in self._of_one_size(names[0]))
            fixed = f"is fixed at {sizes}" if len(names) == 1 else f"are fixed at [{said.replace(',', ', ')}]"
            option = f"--axes {own(names[0])}={said}"
            yield f"{few(map(own, names))} {fixed}: {why}; {option} with other numbers sets others"

    def _of_one_size(self, name: str) -> list[str]:
        axes = self.symbols.ports[name].known_axes
        return [axis for axis in axes if isinstance(axis, str) and axis not in self.names]

    def _why(self, name: str) -> str:
        fixed = self._of_one_size(name)
        if name in self.symbols.states:
            return _STATE
        if self.leading.intersection(fixed):
            return _FOLLOWS
        return _SHARED if self.symbols.held.intersection(fixed) else _FAILED

    def _single(
        self,
        inputs: Mapping[str, tuple[Axis, ...]],
        outputs: Mapping[str, tuple[Axis, ...]],
        mixing: Sequence[MisfitError],
    ) -> Iterator[str]:
        """Yield the reason why streams cannot be batched, if the file leaves any axis open."""
        own = self.trial.graph.own
        lacking = [name for name, axes in inputs.items() if BATCH not in axes]
        if self.group and lacking:
            name = own(lacking[0])
            yield (
                f"streams cannot be batched: the input {name} has no axis that counts them; if it never changes, "
                f"--constant {name}=VALUE makes it a constant"
            )
        elif self.group:
            shared = [name for name, axes in outputs.items() if BATCH not in axes]
            if shared:
                yield f"streams cannot be batched: the output {own(shared[0])} has no axis that counts them"
        elif mixing:
            yield f"streams cannot be batched: {mixing[0]}"
        else:
            ports = self.symbols.ports
            sized = [n for n in self.symbols.states if not any(isinstance(axis, str) for axis in ports[n].known_axes)]
            if self.symbols.names and sized:
                yield f"streams cannot be batched: the state {own(sized[0])} has no axis of unknown size to count them"
